//! The bodies of messages between replicas: a version byte, then own structs, then entries as they stand in the log.
//!
//! Owns encoding and decoding. Entries carry their checksums over the wire, so that damage on the way or in memory is noticed
//! by the receiver. Refuses unknown versions by number; never panics on any bytes.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{self, CodecError, FORMAT, LogIdRecord, VoteRecord};
use crate::config::NodeId;
use crate::snapshot::SnapshotFile;
use crate::types::{LogId, RaftEntry, TypeConfig, Vote};

/// A message that is sent between replicas.
pub(crate) trait Message: Sized {
    fn encode(&self) -> Vec<u8>;
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

/// A message that asks for something, and names on whose behalf.
pub(crate) trait Ask: Message {
    /// The replica that claims to send it; must be the one of the greeting.
    fn sender(&self) -> NodeId;
}

impl Ask for AppendEntriesRequest<TypeConfig> {
    fn sender(&self) -> NodeId {
        self.vote.leader_id.node_id
    }
}

impl Ask for VoteRequest<TypeConfig> {
    fn sender(&self) -> NodeId {
        self.vote.leader_id.node_id
    }
}

impl Ask for TransferLeaderRequest<TypeConfig> {
    fn sender(&self) -> NodeId {
        self.from_leader().leader_id.node_id
    }
}

pub(super) fn versioned<T: Serialize>(record: &T) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.extend_from_slice(&codec::to_bytes(record));
    out
}

fn unversioned(bytes: &[u8]) -> Result<&[u8], CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Short),
        Some((&FORMAT, rest)) => Ok(rest),
        Some((&other, _)) => Err(CodecError::Version(other)),
    }
}

pub(super) fn record<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::from_bytes(unversioned(bytes)?)
}

fn id(record: Option<LogIdRecord>) -> Option<LogId> {
    record.map(LogId::from)
}

fn id_record(id: Option<&LogId>) -> Option<LogIdRecord> {
    id.map(|id| LogIdRecord::from(*id))
}

#[derive(Serialize, Deserialize)]
struct AppendHead {
    vote: VoteRecord,
    previous: Option<LogIdRecord>,
    committed: Option<LogIdRecord>,
    entries: u32,
}

impl Message for AppendEntriesRequest<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        let mut out = versioned(&AppendHead {
            vote: self.vote.into(),
            previous: id_record(self.prev_log_id.as_ref()),
            committed: id_record(self.leader_commit.as_ref()),
            entries: u32::try_from(self.entries.len()).unwrap_or(u32::MAX),
        });
        for entry in &self.entries {
            let bytes = codec::encode_entry(entry);
            out.extend_from_slice(&entry.log_id.index.to_le_bytes());
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(&bytes);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (head, mut rest) = codec::split::<AppendHead>(unversioned(bytes)?)?;
        let mut entries: Vec<RaftEntry> = Vec::new();
        for _ in 0..head.entries {
            let (index, after) = rest.split_first_chunk::<8>().ok_or(CodecError::Short)?;
            let (length, after) = after.split_first_chunk::<4>().ok_or(CodecError::Short)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (entry, after) = after.split_at_checked(length).ok_or(CodecError::Short)?;
            entries.push(codec::decode_entry(u64::from_le_bytes(*index), entry)?);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(CodecError::Shape(format!("{} bytes left over", rest.len())));
        }
        check_order(id(head.previous), &entries)?;
        Ok(AppendEntriesRequest {
            vote: head.vote.into(),
            prev_log_id: id(head.previous),
            entries,
            leader_commit: id(head.committed),
        })
    }
}

/// Entries must follow each other; raft relies on it without looking.
fn check_order(previous: Option<LogId>, entries: &[RaftEntry]) -> Result<(), CodecError> {
    let mut expected = previous.map_or(0, |id| id.index.saturating_add(1));
    for entry in entries {
        if entry.log_id.index != expected {
            let text = format!("entry {} where {expected} was expected", entry.log_id.index);
            return Err(CodecError::Shape(text));
        }
        expected = expected.saturating_add(1);
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
enum AppendReply {
    Success,
    Partial(Option<LogIdRecord>),
    Conflict,
    HigherVote(VoteRecord),
}

impl Message for AppendEntriesResponse<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        versioned(&match self {
            AppendEntriesResponse::Success => AppendReply::Success,
            AppendEntriesResponse::PartialSuccess(upto) => AppendReply::Partial(id_record(upto.as_ref())),
            AppendEntriesResponse::Conflict => AppendReply::Conflict,
            AppendEntriesResponse::HigherVote(vote) => AppendReply::HigherVote((*vote).into()),
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match record(bytes)? {
            AppendReply::Success => AppendEntriesResponse::Success,
            AppendReply::Partial(upto) => AppendEntriesResponse::PartialSuccess(id(upto)),
            AppendReply::Conflict => AppendEntriesResponse::Conflict,
            AppendReply::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote.into()),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct VoteAsk {
    vote: VoteRecord,
    last: Option<LogIdRecord>,
    transfer: bool,
}

impl Message for VoteRequest<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        let last = id_record(self.last_log_id.as_ref());
        versioned(&VoteAsk { vote: self.vote.into(), last, transfer: self.leadership_transfer })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let ask: VoteAsk = record(bytes)?;
        let mut request = VoteRequest::new(ask.vote.into(), id(ask.last));
        request.leadership_transfer = ask.transfer;
        Ok(request)
    }
}

#[derive(Serialize, Deserialize)]
struct VoteReply {
    vote: VoteRecord,
    granted: bool,
    last: Option<LogIdRecord>,
}

impl Message for VoteResponse<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        let last = id_record(self.last_log_id.as_ref());
        versioned(&VoteReply { vote: self.vote.into(), granted: self.vote_granted, last })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let reply: VoteReply = record(bytes)?;
        Ok(VoteResponse::new(Vote::from(reply.vote), id(reply.last), reply.granted))
    }
}

#[derive(Serialize, Deserialize)]
struct TransferAsk {
    from: VoteRecord,
    to: u64,
    last: Option<LogIdRecord>,
}

impl Message for TransferLeaderRequest<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        let last = id_record(self.last_log_id());
        versioned(&TransferAsk { from: (*self.from_leader()).into(), to: *self.to_node_id(), last })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let ask: TransferAsk = record(bytes)?;
        Ok(TransferLeaderRequest::new(ask.from.into(), ask.to, id(ask.last)))
    }
}

#[derive(Serialize, Deserialize)]
enum TransferReply {
    Accepted,
    VoteChanged { expected: VoteRecord, actual: VoteRecord },
    LogNotFlushed { expected: Option<LogIdRecord>, actual: Option<LogIdRecord> },
}

impl Message for TransferLeaderResponse<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        versioned(&match self {
            Ok(()) => TransferReply::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                TransferReply::VoteChanged { expected: (*expected).into(), actual: (*actual).into() }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => TransferReply::LogNotFlushed {
                expected: id_record(expected.as_ref()),
                actual: id_record(actual.as_ref()),
            },
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match record(bytes)? {
            TransferReply::Accepted => Ok(()),
            TransferReply::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            TransferReply::LogNotFlushed { expected, actual } => {
                Err(TransferLeaderError::LogNotFlushed { expected: id(expected), actual: id(actual) })
            }
        })
    }
}

/// Which snapshot file is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) last: LogIdRecord,
    /// Of the file, in bytes.
    pub(crate) length: u64,
    /// A checksum of its trailer, which covers all of it.
    pub(crate) seal: u32,
}

impl Label {
    /// Reads it off a file.
    pub(crate) fn of(file: &SnapshotFile) -> std::io::Result<Label> {
        let last = file.header.last.ok_or_else(|| std::io::Error::other("the snapshot is empty"))?;
        Ok(Label { last, length: file.size(), seal: crc32c::crc32c(&file.trailer()?) })
    }
}

/// Asks how much of a snapshot is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inquiry {
    pub(crate) vote: VoteRecord,
    pub(crate) label: Label,
}

impl Ask for Inquiry {
    fn sender(&self) -> NodeId {
        self.vote.node
    }
}

impl Message for Inquiry {
    fn encode(&self) -> Vec<u8> {
        versioned(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        record(bytes)
    }
}

/// So many bytes of it are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held(pub(crate) u64);

impl Message for Held {
    fn encode(&self) -> Vec<u8> {
        versioned(&self.0)
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        record(bytes).map(Held)
    }
}

/// What precedes the bytes of a snapshot file: under which vote it is sent, which it is and where in it the bytes begin. Always
/// [`SnapshotHead::SIZE`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotHead {
    pub(crate) vote: VoteRecord,
    pub(crate) label: Label,
    pub(crate) offset: u64,
}

impl SnapshotHead {
    pub(crate) const SIZE: usize = 62;
}

impl Message for SnapshotHead {
    fn encode(&self) -> Vec<u8> {
        let SnapshotHead { vote, label, offset } = self;
        let last = label.last;
        let mut out = vec![FORMAT, u8::from(vote.committed)];
        for number in [vote.term, vote.node, last.term, last.node, last.index, label.length, *offset] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&label.seal.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (flag, mut rest) = unversioned(bytes)?.split_first_chunk::<1>().ok_or(CodecError::Short)?;
        let committed = match flag {
            [0] => false,
            [1] => true,
            _ => return Err(CodecError::Shape("vote flag".to_owned())),
        };
        let mut number = || {
            let (bytes, after) = rest.split_first_chunk::<8>().ok_or(CodecError::Short)?;
            rest = after;
            Ok::<_, CodecError>(u64::from_le_bytes(*bytes))
        };
        let vote = VoteRecord { term: number()?, node: number()?, committed };
        let last = LogIdRecord { term: number()?, node: number()?, index: number()? };
        let (length, offset) = (number()?, number()?);
        let seal =
            <[u8; 4]>::try_from(rest).map_err(|_| CodecError::Shape("length of the head".to_owned()))?;
        let label = Label { last, length, seal: u32::from_le_bytes(seal) };
        Ok(SnapshotHead { vote, label, offset })
    }
}

impl Message for SnapshotResponse<TypeConfig> {
    fn encode(&self) -> Vec<u8> {
        versioned(&VoteRecord::from(self.vote))
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(SnapshotResponse::new(record::<VoteRecord>(bytes)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use openraft::EntryPayload;

    use super::*;
    use crate::types::{Command, LeaderId, log_id};

    fn vote() -> Vote {
        Vote { leader_id: LeaderId { term: 300, node_id: 2 }, committed: true }
    }

    fn append() -> AppendEntriesRequest<TypeConfig> {
        let payload = |n: u8| EntryPayload::Normal(Command { term: 4, bytes: vec![n; 5].into() });
        AppendEntriesRequest {
            vote: vote(),
            prev_log_id: Some(log_id(3, 1, 6)),
            entries: (7..10)
                .map(|i| RaftEntry { log_id: log_id(4, 2, i), payload: payload(i as u8) })
                .collect(),
            leader_commit: None,
        }
    }

    fn survives<M: Message + Debug>(message: M) {
        let bytes = message.encode();
        let got = M::decode(&bytes).unwrap();
        assert_eq!(format!("{got:?}"), format!("{message:?}"));
        for cut in 0..bytes.len() {
            assert!(M::decode(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
        }
        let mut other = bytes.clone();
        other[0] = 99;
        assert_eq!(M::decode(&other).unwrap_err(), CodecError::Version(99));
        for byte in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[byte] ^= flip;
                // Anything may come out but a panic.
                drop(M::decode(&bad));
            }
        }
    }

    #[test]
    fn messages_survive_the_round_trip() {
        survives(append());
        survives(AppendEntriesResponse::<TypeConfig>::Success);
        survives(AppendEntriesResponse::<TypeConfig>::PartialSuccess(Some(log_id(1, 1, 500))));
        survives(AppendEntriesResponse::<TypeConfig>::Conflict);
        survives(AppendEntriesResponse::<TypeConfig>::HigherVote(vote()));
        let mut ask = VoteRequest::<TypeConfig>::new(vote(), Some(log_id(1, 2, 3)));
        ask.leadership_transfer = true;
        survives(ask);
        survives(VoteResponse::<TypeConfig>::new(vote(), None, true));
        survives(TransferLeaderRequest::<TypeConfig>::new(vote(), 3, Some(log_id(9, 9, 9))));
        survives::<TransferLeaderResponse<TypeConfig>>(Ok(()));
        let error = TransferLeaderError::LogNotFlushed { expected: Some(log_id(1, 1, 1)), actual: None };
        survives::<TransferLeaderResponse<TypeConfig>>(Err(error));
        survives(SnapshotResponse::<TypeConfig>::new(vote()));
        let last = LogIdRecord { term: 1, node: u64::MAX, index: 3 };
        let label = Label { last, length: 4, seal: u32::MAX };
        let head = SnapshotHead { vote: vote().into(), label, offset: u64::MAX };
        assert_eq!(head.encode().len(), SnapshotHead::SIZE);
        survives(head);
        survives(Inquiry { vote: vote().into(), label });
        survives(Held(u64::MAX));
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let mut message = append();
        message.entries.swap(0, 1);
        assert!(AppendEntriesRequest::<TypeConfig>::decode(&message.encode()).is_err());
        let mut message = append();
        message.prev_log_id = Some(log_id(3, 1, 5));
        assert!(AppendEntriesRequest::<TypeConfig>::decode(&message.encode()).is_err());
    }

    #[test]
    fn damage_of_an_entry_is_noticed() {
        let mut bytes = append().encode();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(AppendEntriesRequest::<TypeConfig>::decode(&bytes).unwrap_err(), CodecError::Checksum);
    }
}
