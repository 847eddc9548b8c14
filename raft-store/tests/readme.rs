//! What README.md shows is what runs: its code is that of the example, and the example does what it says.

#[cfg(test)]
#[path = "../examples/counter.rs"]
mod counter;

#[cfg(test)]
mod tests {
    const README: &str = include_str!("../README.md");
    const EXAMPLE: &str = include_str!("../examples/counter.rs");

    #[test]
    fn its_code_is_the_examples() {
        let mut blocks = 0;
        for block in README.split("```rust\n").skip(1) {
            let code = block.split("```").next().unwrap();
            assert!(EXAMPLE.contains(code), "not in examples/counter.rs:\n{code}");
            blocks += 1;
        }
        assert!(blocks >= 3, "only {blocks} blocks of code");
        assert!(README.contains("cargo run -p tepui-raft-store --example counter"));
    }

    #[test]
    fn the_counter_survives_the_death_of_its_leader() {
        super::counter::main().unwrap();
    }

    /// The package knows nothing of what it is used for.
    #[test]
    fn no_word_of_its_users() {
        for text in [README, EXAMPLE, include_str!("../src/lib.rs")] {
            let text = text.to_lowercase();
            for word in ["framework", "executor", "scheduler", "offer"] {
                assert!(!text.contains(word), "{word}");
            }
        }
    }
}
