//! What happened, as one number: FNV-1a over everything that is noted. With `TEPUI_SIM_TRACE=1` it is printed as well.

/// See the module head.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    hash: u64,
    shown: bool,
}

impl Trace {
    pub(super) fn new() -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, shown: std::env::var_os("TEPUI_SIM_TRACE").is_some() }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn note(&mut self, now: u64, what: &str, numbers: &[u64]) {
        self.hash = fold(self.hash, &now.to_le_bytes());
        self.hash = fold(self.hash, what.as_bytes());
        for number in numbers {
            self.hash = fold(self.hash, &number.to_le_bytes());
        }
        if self.shown {
            // Standard error, so that figures stay readable; a trace is asked for by a person.
            eprintln!("{now:>7} {what} {numbers:?}");
        }
    }
}

/// FNV-1a.
pub(super) fn fold(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
