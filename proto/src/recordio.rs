//! RecordIO: `<decimal length>\n<bytes>`, repeated; how both directions of every stream are cut into messages.
//!
//! A record and its length line are one buffer, so that they become exactly one HTTP chunk: there are clients whose parser
//! loses records otherwise. The decoder accepts any cutting of the bytes, holds at most one record beyond what it was
//! given, and refuses garbage.

use bytes::{Buf, Bytes, BytesMut};

/// Digits of the largest length that can be written in 64 bits.
const MAX_LENGTH_DIGITS: usize = 20;

/// Why a stream of records cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Something other than digits and a line feed where a length belongs.
    #[error("record length is not a decimal number")]
    Length,
    /// Records are never empty.
    #[error("record is empty")]
    Empty,
    /// Longer than the reader is willing to hold.
    #[error("record has {length} bytes, more than {limit}")]
    TooLong {
        /// What the length line says.
        length: u64,
        /// What the reader allows.
        limit: usize,
    },
    /// The stream ended inside a record.
    #[error("stream ends inside a record")]
    Truncated,
}

/// Returns the record for a payload: length line and payload in one buffer.
#[must_use]
pub fn frame(payload: &[u8]) -> Bytes {
    let mut record = Vec::with_capacity(payload.len() + MAX_LENGTH_DIGITS + 1);
    record.extend_from_slice(payload.len().to_string().as_bytes());
    record.push(b'\n');
    record.extend_from_slice(payload);
    record.into()
}

/// Puts records together from pieces of any size.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limit: usize,
    /// Length of the record whose payload is being awaited.
    expected: Option<usize>,
    failure: Option<RecordError>,
}

impl Decoder {
    /// Makes a decoder that refuses records of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit, expected: None, failure: None }
    }

    /// Takes the next piece of the stream. Call [`Decoder::next_record`] until it returns `None` before pushing more.
    pub fn push(&mut self, data: &[u8]) {
        if self.failure.is_none() {
            self.buffer.extend_from_slice(data);
        }
    }

    /// Returns the next complete record, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// The stream is not RecordIO or a record is too long. There is no way on: the same error comes back ever after.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        match self.advance() {
            Ok(record) => Ok(record),
            Err(failure) => {
                self.buffer = BytesMut::new();
                self.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// Checks that the stream may end here.
    ///
    /// # Errors
    /// [`RecordError::Truncated`] inside a record, or the failure that happened before.
    pub fn finish(&self) -> Result<(), RecordError> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None if self.expected.is_some() || !self.buffer.is_empty() => Err(RecordError::Truncated),
            None => Ok(()),
        }
    }

    fn advance(&mut self) -> Result<Option<Bytes>, RecordError> {
        let expected = match self.expected {
            Some(expected) => expected,
            None => match self.take_length()? {
                Some(expected) => expected,
                None => return Ok(None),
            },
        };
        if self.buffer.len() < expected {
            self.expected = Some(expected);
            return Ok(None);
        }
        self.expected = None;
        Ok(Some(self.buffer.split_to(expected).freeze()))
    }

    fn take_length(&mut self) -> Result<Option<usize>, RecordError> {
        let window = &self.buffer[..self.buffer.len().min(MAX_LENGTH_DIGITS + 1)];
        let digits = window.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match window.get(digits) {
            None if digits > MAX_LENGTH_DIGITS => return Err(RecordError::Length),
            None => return Ok(None),
            Some(b'\n') if digits > 0 => {}
            Some(_) => return Err(RecordError::Length),
        }
        let text = std::str::from_utf8(&window[..digits]).map_err(|_| RecordError::Length)?;
        let length: u64 = text.parse().map_err(|_| RecordError::Length)?;
        self.buffer.advance(digits + 1);
        match usize::try_from(length) {
            Ok(0) => Err(RecordError::Empty),
            Ok(size) if size <= self.limit => Ok(Some(size)),
            _ => Err(RecordError::TooLong { length, limit: self.limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(decoder: &mut Decoder, pieces: &[&[u8]]) -> Result<Vec<Bytes>, RecordError> {
        let mut records = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(record) = decoder.next_record()? {
                records.push(record);
            }
        }
        decoder.finish()?;
        Ok(records)
    }

    #[test]
    fn a_frame_is_length_line_and_payload() {
        assert_eq!(&frame(b"{\"type\":\"HEARTBEAT\"}")[..], b"20\n{\"type\":\"HEARTBEAT\"}");
    }

    #[test]
    fn garbage_is_refused_and_stays_refused() {
        let cases: [(&[u8], RecordError); 9] = [
            (b"x", RecordError::Length),
            (b"\n", RecordError::Length),
            (b"-1\n", RecordError::Length),
            (b"1 \nx", RecordError::Length),
            (b"111111111111111111111", RecordError::Length),
            (b"99999999999999999999\n", RecordError::Length),
            (b"0\n", RecordError::Empty),
            (b"101\n", RecordError::TooLong { length: 101, limit: 100 }),
            (b"5\nabc", RecordError::Truncated),
        ];
        for (bytes, error) in cases {
            let mut decoder = Decoder::new(100);
            assert_eq!(read_all(&mut decoder, &[bytes]), Err(error.clone()));
            if error != RecordError::Truncated {
                decoder.push(b"1\nx");
                assert_eq!(decoder.next_record(), Err(error));
            }
        }
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_records(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cut in 1usize..30,
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
            let pieces: Vec<&[u8]> = stream.chunks(cut).collect();
            let records = read_all(&mut Decoder::new(64), &pieces).unwrap();
            prop_assert_eq!(records, payloads);
        }

        #[test]
        fn random_bytes_never_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = read_all(&mut Decoder::new(16), &pieces);
        }

        #[test]
        fn nearly_right_bytes_never_panic(text in "[0-9\\n]{0,60}", cut in 1usize..9) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            let _ = read_all(&mut Decoder::new(16), &pieces);
        }
    }
}
