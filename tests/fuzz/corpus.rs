//! Inputs worth damaging: one for each kind of answer and order of size. Owns what is kept, and how much.

use std::collections::BTreeMap;

use super::random::Chance;

/// Inputs that are kept, and bytes of all together.
const MAX_INPUTS: usize = 4096;
const MAX_BYTES: usize = 64 << 20;
/// Characters of an answer that count.
const MAX_ANSWER: usize = 60;

#[derive(Debug, Default)]
pub(super) struct Corpus {
    by_shape: BTreeMap<(u32, String), usize>,
    inputs: Vec<Vec<u8>>,
    bytes: usize,
}

impl Corpus {
    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }

    pub(super) fn any<'a>(&'a self, chance: &mut Chance) -> Option<&'a [u8]> {
        (!self.inputs.is_empty()).then(|| chance.pick(&self.inputs).as_slice())
    }

    /// Keeps an input whose answer was new, and now and then one that was answered alike.
    pub(super) fn offer(&mut self, input: &[u8], answer: &str, chance: &mut Chance) {
        // Numbers and places differ from input to input and say nothing new.
        let words = answer.chars().filter(|one| !one.is_ascii_digit());
        let shape = (input.len().next_power_of_two().trailing_zeros(), words.take(MAX_ANSWER).collect());
        if let Some(place) = self.by_shape.get(&shape) {
            if chance.percent(2) {
                let kept = &mut self.inputs[*place];
                self.bytes = self.bytes + input.len() - kept.len();
                *kept = input.to_vec();
            }
        } else if self.inputs.len() < MAX_INPUTS && self.bytes + input.len() < MAX_BYTES {
            self.by_shape.insert(shape, self.inputs.len());
            self.bytes += input.len();
            self.inputs.push(input.to_vec());
        }
    }
}
