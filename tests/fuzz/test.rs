//! The fuzz targets as a test: a short run of each, always the same inputs. The long runs are a command, see `docs/testing.md`.

use tepui_tests::fuzz;

/// Inputs for each target.
const INPUTS: u64 = 20_000;

fn check(part: usize, of: usize) {
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for (index, target) in fuzz::targets().iter_mut().enumerate() {
            if index % of == part
                && let Err(failure) = fuzz::run(target.as_mut(), 1, INPUTS, None)
            {
                panic!("{failure}");
            }
        }
    });
    assert!(worker.expect("a thread").join().is_ok(), "see above");
}

// In two halves, so that both processors of a small machine are used.
#[test]
fn no_decoder_can_be_broken_one_half() {
    check(0, 2);
}

#[test]
fn no_decoder_can_be_broken_other_half() {
    check(1, 2);
}
