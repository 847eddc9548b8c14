//! The bytes of a snapshot file: a header that says what it is, checksummed blocks of the body, a trailer that closes it.
//!
//! Owns writing and reading of that form over any stream. A reader hands out only bytes whose block has been verified, and
//! reports the place of what is wrong. Knows nothing of files or of what the body means.
//!
//! ```text
//! magic 8 | version 1 | header length u32 | header (postcard) | crc32c of all before
//! { block length u32, at least 1 | crc32c of the block | block } …
//! 0 u32 | body length u64 | crc32c over all block checksums and the body length | end magic 8
//! ```

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::codec::{self, LogIdRecord, PlainStoredMembershipRecord, StoredMembershipRecord};

const MAGIC: [u8; 8] = *b"TEPUISNP";
const END: [u8; 8] = *b"SNPEND\r\n";
/// The length of what follows the last block.
pub(super) const TRAILER: usize = 24;
const BLOCK: usize = 256 << 10;
/// What is written today …
const FORMAT: u8 = 2;
/// … and what was written before members were bound to folders, which is still read.
const PLAIN_FORMAT: u8 = 1;
/// A header is a membership and a few numbers.
const MAX_HEADER: u32 = 1 << 20;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) cluster_id: String,
    /// The last entry whose effect is contained; none if nothing was ever applied.
    pub(crate) last: Option<LogIdRecord>,
    pub(crate) membership: StoredMembershipRecord,
}

/// A header of [`PLAIN_FORMAT`].
#[derive(Serialize, Deserialize)]
struct PlainHeader {
    cluster_id: String,
    last: Option<LogIdRecord>,
    membership: PlainStoredMembershipRecord,
}

impl From<PlainHeader> for Header {
    fn from(plain: PlainHeader) -> Header {
        Header { cluster_id: plain.cluster_id, last: plain.last, membership: plain.membership.into() }
    }
}

impl Header {
    pub(crate) fn last_index(&self) -> Option<u64> {
        self.last.map(|id| id.index)
    }
}

/// Writes a snapshot: header at once, body through [`Write`], trailer with [`finish`](Self::finish).
pub(super) struct SnapshotWriter<W> {
    out: W,
    block: Vec<u8>,
    body: u64,
    seal: u32,
}

impl<W: Write> SnapshotWriter<W> {
    pub(super) fn new(mut out: W, header: &Header) -> io::Result<Self> {
        let header = codec::to_bytes(header);
        let length = u32::try_from(header.len()).map_err(|_| io::Error::other("header too long"))?;
        let mut head = MAGIC.to_vec();
        head.push(FORMAT);
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&header);
        let sum = crc32c::crc32c(&head);
        out.write_all(&head)?;
        out.write_all(&sum.to_le_bytes())?;
        Ok(SnapshotWriter { out, block: Vec::with_capacity(BLOCK), body: 0, seal: sum })
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_block()?;
        let body = self.body.to_le_bytes();
        self.out.write_all(&0u32.to_le_bytes())?;
        self.out.write_all(&body)?;
        self.out.write_all(&crc32c::crc32c_append(self.seal, &body).to_le_bytes())?;
        self.out.write_all(&END)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let sum = crc32c::crc32c(&self.block).to_le_bytes();
        let length = u32::try_from(self.block.len()).map_err(|_| io::Error::other("block too long"))?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&sum)?;
        self.out.write_all(&self.block)?;
        self.body += u64::from(length);
        self.seal = crc32c::crc32c_append(self.seal, &sum);
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for SnapshotWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.write_block()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Blocks are written when full or at the end; a short block in the middle would only cost space.
        Ok(())
    }
}

/// Reads a snapshot: header at once, body through [`Read`]. The end of the body is reported only after the trailer verified.
pub(super) struct SnapshotReader<R> {
    input: R,
    block: Vec<u8>,
    used: usize,
    body: u64,
    seal: u32,
    ended: bool,
}

impl<R: Read> SnapshotReader<R> {
    pub(super) fn new(mut input: R) -> io::Result<(Header, Self)> {
        let mut head = vec![0; 13];
        fill(&mut input, &mut head, "header")?;
        if head[..8] != MAGIC {
            return Err(wrong("it is not a snapshot: the first bytes are not its mark"));
        }
        let version = head[8];
        if ![FORMAT, PLAIN_FORMAT].contains(&version) {
            return Err(wrong(format!("unknown format version {version}")));
        }
        let length = u32_at(&head[9..]);
        if length > MAX_HEADER {
            return Err(wrong(format!("header of {length} bytes")));
        }
        head.resize(13 + length as usize, 0);
        fill(&mut input, &mut head[13..], "header")?;
        let mut stored = [0; 4];
        fill(&mut input, &mut stored, "header")?;
        let sum = crc32c::crc32c(&head);
        if u32::from_le_bytes(stored) != sum {
            return Err(wrong("checksum of the header does not match"));
        }
        let header = match version {
            PLAIN_FORMAT => codec::from_bytes::<PlainHeader>(&head[13..]).map(Header::from),
            _ => codec::from_bytes(&head[13..]),
        };
        let header = header.map_err(|e| wrong(format!("header: {e}")))?;
        Ok((header, SnapshotReader { input, block: Vec::new(), used: 0, body: 0, seal: sum, ended: false }))
    }

    /// Reads the next block, or the trailer.
    fn next_block(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        fill(&mut self.input, &mut length, "block")?;
        let length = u32::from_le_bytes(length);
        if length == 0 {
            return self.read_trailer();
        }
        let at = self.body;
        if length as usize > BLOCK {
            return Err(wrong(format!("block of {length} bytes at byte {at} of the body")));
        }
        let mut sum = [0; 4];
        fill(&mut self.input, &mut sum, "block")?;
        self.block.resize(length as usize, 0);
        self.used = 0;
        fill(&mut self.input, &mut self.block, "block")?;
        if u32::from_le_bytes(sum) != crc32c::crc32c(&self.block) {
            self.block.clear();
            return Err(wrong(format!("checksum of the block at byte {at} of the body does not match")));
        }
        self.seal = crc32c::crc32c_append(self.seal, &sum);
        self.body += u64::from(length);
        Ok(())
    }

    fn read_trailer(&mut self) -> io::Result<()> {
        let mut trailer = [0; 20];
        fill(&mut self.input, &mut trailer, "trailer")?;
        let body = u64::from_le_bytes(*trailer.first_chunk().unwrap_or(&[0; 8]));
        if body != self.body {
            return Err(wrong(format!("the body has {} bytes instead of {body}", self.body)));
        }
        if u32_at(&trailer[8..]) != crc32c::crc32c_append(self.seal, &body.to_le_bytes()) {
            return Err(wrong("checksum of the trailer does not match"));
        }
        if trailer[12..] != END {
            return Err(wrong("the end mark is missing"));
        }
        if self.input.read(&mut [0])? != 0 {
            return Err(wrong("something follows the end mark"));
        }
        self.block.clear();
        self.used = 0;
        self.ended = true;
        Ok(())
    }
}

impl<R: Read> Read for SnapshotReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.used == self.block.len() && !self.ended {
            self.next_block()?;
        }
        let taken = out.len().min(self.block.len() - self.used);
        out[..taken].copy_from_slice(&self.block[self.used..self.used + taken]);
        self.used += taken;
        Ok(taken)
    }
}

fn fill(input: &mut impl Read, out: &mut [u8], what: &str) -> io::Result<()> {
    input.read_exact(out).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => wrong(format!("it ends in the middle of a {what}")),
        _ => e,
    })
}

fn u32_at(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; 4]))
}

fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::StoredMembership;

    fn header() -> Header {
        Header {
            cluster_id: "c".to_owned(),
            last: Some(LogIdRecord { term: 2, node: 1, index: 77 }),
            membership: (&StoredMembership::default()).into(),
        }
    }

    fn write(body: &[u8]) -> Vec<u8> {
        let mut writer = SnapshotWriter::new(Vec::new(), &header()).unwrap();
        writer.write_all(body).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<(Header, Vec<u8>)> {
        let (header, mut reader) = SnapshotReader::new(bytes)?;
        let mut body = Vec::new();
        reader.read_to_end(&mut body)?;
        Ok((header, body))
    }

    #[test]
    fn bodies_of_all_sizes_survive() {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let (head, got) = read(&write(&body)).unwrap();
            assert_eq!((head, got.len()), (header(), size));
            assert!(got == body);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = write(b"a registry of some kind");
        for byte in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[byte] ^= 1 << bit;
                assert!(read(&bad).is_err(), "byte {byte} bit {bit} went unnoticed");
            }
            assert!(read(&good[..byte]).is_err(), "cut at {byte} went unnoticed");
        }
        let mut longer = good;
        longer.push(0);
        assert!(read(&longer).is_err());
    }

    #[test]
    fn an_unknown_version_is_named() {
        let mut bytes = write(b"");
        bytes[8] = 7;
        assert_eq!(read(&bytes).unwrap_err().to_string(), "unknown format version 7");
    }
}
