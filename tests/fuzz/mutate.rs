//! Damage: what becomes of bytes on their way through broken, hostile or merely different peers.

use super::random::Chance;

/// Longest input after damage, bytes; deep nesting may reach it.
const MAX_BYTES: usize = 256 << 10;

const NUMBERS: &[&str] = &[
    "99999999999999999999",
    "-1",
    "0",
    "1e400",
    "1e-400",
    "-0",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "00",
    "0.1e1",
    "9223372036854775808",
    "1.7976931348623157e308",
];

/// Opening pieces that nest when they are repeated.
const NESTS: &[&[u8]] = &[
    b"[",
    b"{\"a\":",
    b"{\"subscribe\":",
    b"{\"labels\":[",
    b"(",
    b"{",
    b"\"",
    b"a/",
    b"\x0a\x7f",
    b"\x12\x80\x01",
    b"\x0b",
    b"[[{\"x\":[",
    b"{\"parent\":",
];

/// Damages `input` in one to eight places.
pub(super) fn damage(input: &mut Vec<u8>, other: &[u8], words: &[&str], chance: &mut Chance) {
    for _ in 0..=chance.below(8) {
        once(input, other, words, chance);
        input.truncate(MAX_BYTES);
    }
}

fn once(input: &mut Vec<u8>, other: &[u8], words: &[&str], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    match chance.below(14) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = *chance.pick(b"{}[]\",:0123456789-+.eE\\/utfn \n\x00\x7f\x80\xc0\xff");
            }
        }
        2 => insert(input, at, &[chance.byte()]),
        3 => {
            let end = (at + 1 + chance.below(16)).min(input.len());
            input.drain(at.min(end)..end);
        }
        4 => input.truncate(at),
        5 => {
            let end = (at + chance.below(64)).min(input.len());
            let piece = input[at.min(end)..end].to_vec();
            let to = chance.below(input.len() + 1);
            insert(input, to, &piece);
        }
        6 => {
            let from = chance.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        7 => {
            let from = chance.below(other.len() + 1);
            let piece = &other[from..(from + chance.below(64)).min(other.len())];
            insert(input, at, piece);
        }
        8 | 9 if !words.is_empty() => insert(input, at, chance.word(words).as_bytes()),
        10 => number(input, at, chance),
        11 => {
            let bad: &[&[u8]] = &[
                b"\xff",
                b"\xc3\x28",
                b"\xed\xa0\x80",
                b"\xf4\x90\x80\x80",
                b"\\ud800",
                b"\\u0000",
                b"\xef\xbb\xbf",
            ];
            insert(input, at, bad[chance.below(bad.len())]);
        }
        12 if chance.percent(4) => {
            let times = *chance.pick(&[10, 99, 100, 101, 127, 128, 129, 1000, 20_000]);
            let piece = NESTS[chance.below(NESTS.len())].repeat(times);
            insert(input, at, &piece);
        }
        12 => {
            let piece = chance.bytes(8);
            insert(input, at, &piece);
        }
        13 if chance.percent(4) => wrap(input, chance),
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = byte.wrapping_add(1);
            }
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let at = at.min(input.len());
    input.splice(at..at, piece.iter().copied());
}

/// Replaces the next number in the text.
fn number(input: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let Some(start) = input.iter().skip(at).position(u8::is_ascii_digit).map(|offset| at + offset) else {
        return;
    };
    let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let new = chance.pick(NUMBERS).bytes();
    input.splice(start..start + length, new);
}

/// Puts the whole into messages within messages.
fn wrap(input: &mut Vec<u8>, chance: &mut Chance) {
    let tag = *chance.pick(&[0x0a_u8, 0x12, 0x1a, 0x22, 0x2a]);
    for _ in 0..*chance.pick(&[1, 10, 99, 100, 101, 500]) {
        let mut length = input.len();
        let mut head = vec![tag];
        while length >= 0x80 {
            head.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        head.push(u8::try_from(length).unwrap_or_default());
        input.splice(0..0, head);
    }
}
