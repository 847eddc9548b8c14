//! Seeded chance, and the values that decoders most often get wrong.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A stream of choices; the same seed gives the same choices.
#[derive(Clone, Debug)]
pub(super) struct Chance(SmallRng);

/// Texts that mean something somewhere: ids, roles, resources, and what is nearly one of these.
const TEXTS: &[&str] = &[
    "",
    "f",
    "a",
    "t",
    "e",
    "*",
    "a/b",
    "a//b",
    "/a",
    "a/",
    ".",
    "..",
    "-x",
    "a/*",
    "a b",
    "role\t",
    "cpus",
    "mem",
    "disk",
    "ports",
    "gpus",
    "HOSTNAME",
    "REGION",
    "ZONE",
    "rack",
    "true",
    "false",
    "null",
    "NaN",
    "Infinity",
    "-1",
    "0",
    "1e3",
    "10mins",
    "5secs",
    "127.0.0.1",
    "http",
    "/",
    "\\",
    "\u{0}",
    "\u{7f}",
    "\u{e9}",
    "\u{1f600}",
    "\u{2028}",
    "\u{feff}",
    "{\"a\":1}",
    "[]",
    "\"",
    "(a|b)*c",
    "(((((a{9}){9}){9}){9}){9})",
    "[^a",
    "a{1000}",
    "x-y_z.1",
    "framework-0000",
    "root",
    "nobody",
];

const NUMBERS: &[i64] = &[
    0,
    1,
    2,
    3,
    5,
    7,
    100,
    255,
    256,
    1023,
    31_000,
    32_000,
    65_535,
    65_536,
    1 << 31,
    (1 << 31) - 1,
    (1 << 53) - 1,
    1 << 53,
    (1 << 53) + 1,
    i64::MAX,
    i64::MIN,
    -1,
    -2,
    -(1 << 31),
];

const DOUBLES: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    0.1,
    0.001,
    0.0004,
    0.0005,
    0.3,
    1.5,
    2.0,
    4.0,
    1024.0,
    1e9,
    1e15,
    9_007_199_254_740_993.0,
    1e18,
    1e100,
    1e300,
    f64::MAX,
    f64::MIN_POSITIVE,
    5e-324,
    -1.0,
    -0.5,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance(SmallRng::seed_from_u64(seed))
    }

    /// Reads a seed out of bytes, however many there are.
    pub(super) fn from_bytes(bytes: &[u8]) -> Chance {
        // FNV-1a.
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Chance::new(hash)
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.0.random()
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.0.random_ratio(percent.min(100), 100)
    }

    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    pub(super) fn word<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.0.random()
    }

    pub(super) fn signed(&mut self) -> i64 {
        match self.below(4) {
            0 => self.0.random(),
            1 => i64::from(self.byte()),
            _ => *self.pick(NUMBERS),
        }
    }

    pub(super) fn double(&mut self) -> f64 {
        let value = match self.below(8) {
            0 => f64::from_bits(self.0.random()),
            1 => f64::from(self.0.random::<i32>()) / 1000.0,
            2 => self.0.random::<f64>() * 100.0,
            _ => *self.pick(DOUBLES),
        };
        // There are many, which only protobuf tells apart.
        if value.is_nan() { f64::NAN } else { value }
    }

    pub(super) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| self.byte()).collect()
    }

    pub(super) fn text(&mut self) -> String {
        match self.below(20) {
            0 => (0..self.below(20)).map(|_| self.character()).collect(),
            1 => "x".repeat(self.below(600)),
            2 => format!("{}{}", self.pick(TEXTS), self.pick(TEXTS)),
            _ => self.word(TEXTS).to_owned(),
        }
    }

    fn character(&mut self) -> char {
        match self.below(4) {
            0 => char::from(self.byte()),
            1 => char::from_u32(self.0.random_range(0..0x11_0000)).unwrap_or('\u{fffd}'),
            _ => char::from(b' ' + self.byte() % 95),
        }
    }
}
