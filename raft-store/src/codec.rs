//! Our own records for everything that is persisted or sent: a format version, a checksum, then postcard of own structs.
//!
//! Owns the translation between the consensus library's types and these records, so that a change of the library is not a
//! change of the disk format. Refuses unknown versions by number and anything whose checksum does not match; never panics.

use bytes::Bytes;
use openraft::EntryPayload;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::config::{NodeId, Peer};
use crate::seat::Seat;
use crate::types::{
    Command, LeaderId, LogId, Membership, Payload, RaftEntry, StoredMembership, Vote, log_id,
};

/// The version of every record written today.
pub(crate) const FORMAT: u8 = 1;

/// Why bytes are not a record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("record is cut short")]
    Short,
    #[error("unknown format version {0}")]
    Version(u8),
    #[error("checksum does not match")]
    Checksum,
    #[error("record does not decode: {0}")]
    Shape(String),
}

/// Version, then a checksum over version, place and body, then the body. The place (an index, a key's number) makes a record
/// that ended up where another belongs visible as damage.
pub(crate) fn seal(place: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + body.len());
    out.push(FORMAT);
    out.extend_from_slice(&checksum(place, body).to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// The body of a sealed record.
pub(crate) fn unseal(place: u64, bytes: &[u8]) -> Result<&[u8], CodecError> {
    let (head, body) = bytes.split_at_checked(5).ok_or(CodecError::Short)?;
    if head[0] != FORMAT {
        return Err(CodecError::Version(head[0]));
    }
    if head[1..] != checksum(place, body).to_le_bytes() {
        return Err(CodecError::Checksum);
    }
    Ok(body)
}

fn checksum(place: u64, body: &[u8]) -> u32 {
    let mut prefix = [FORMAT; 9];
    prefix[1..].copy_from_slice(&place.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&prefix), body)
}

/// Encodes a struct of ours. These structs have no failing field, so encoding cannot fail.
pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("own records always encode")
}

/// Decodes a struct of ours; bytes left over are an error.
pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, rest) = split(bytes)?;
    if !rest.is_empty() {
        return Err(CodecError::Shape(format!("{} bytes left over", rest.len())));
    }
    Ok(value)
}

/// Decodes a struct of ours from the front and returns what follows it.
pub(crate) fn split<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    postcard::take_from_bytes(bytes).map_err(|e| CodecError::Shape(e.to_string()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LogIdRecord {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) index: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        LogIdRecord { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(r: LogIdRecord) -> Self {
        log_id(r.term, r.node, r.index)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

impl From<Vote> for VoteRecord {
    fn from(v: Vote) -> Self {
        VoteRecord { term: v.leader_id.term, node: v.leader_id.node_id, committed: v.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(r: VoteRecord) -> Self {
        Vote { leader_id: LeaderId { term: r.term, node_id: r.node }, committed: r.committed }
    }
}

/// A membership: one list of voters, or two while it is being changed, and who everybody is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    voters: Vec<Vec<NodeId>>,
    nodes: Vec<(NodeId, Seat)>,
}

/// The same as it was written before members were bound to folders. Only read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PlainMembershipRecord {
    voters: Vec<Vec<NodeId>>,
    nodes: Vec<(NodeId, Peer)>,
}

impl From<PlainMembershipRecord> for MembershipRecord {
    fn from(r: PlainMembershipRecord) -> Self {
        let nodes = r.nodes.into_iter().map(|(id, peer)| (id, Seat::plain(peer))).collect();
        MembershipRecord { voters: r.voters, nodes }
    }
}

impl From<&Membership> for MembershipRecord {
    fn from(m: &Membership) -> Self {
        MembershipRecord {
            voters: m.get_joint_config().iter().map(|set| set.iter().copied().collect()).collect(),
            nodes: m.nodes().map(|(id, seat)| (*id, seat.clone())).collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = CodecError;

    fn try_from(r: MembershipRecord) -> Result<Self, CodecError> {
        if r.voters.is_empty() && r.nodes.is_empty() {
            return Ok(Membership::default());
        }
        let nodes: std::collections::BTreeMap<NodeId, Seat> = r.nodes.into_iter().collect();
        Membership::new(r.voters.into_iter().map(|v| v.into_iter().collect()).collect(), nodes)
            .map_err(|e| CodecError::Shape(e.to_string()))
    }
}

/// A membership and the entry that brought it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembershipRecord {
    log_id: Option<LogIdRecord>,
    membership: MembershipRecord,
}

/// The same with a [`PlainMembershipRecord`]. Only read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlainStoredMembershipRecord {
    log_id: Option<LogIdRecord>,
    membership: PlainMembershipRecord,
}

impl From<PlainStoredMembershipRecord> for StoredMembershipRecord {
    fn from(r: PlainStoredMembershipRecord) -> Self {
        StoredMembershipRecord { log_id: r.log_id, membership: r.membership.into() }
    }
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(m: &StoredMembership) -> Self {
        StoredMembershipRecord {
            log_id: m.log_id().as_ref().map(|id| LogIdRecord::from(*id)),
            membership: m.membership().into(),
        }
    }
}

impl TryFrom<StoredMembershipRecord> for StoredMembership {
    type Error = CodecError;

    fn try_from(r: StoredMembershipRecord) -> Result<Self, CodecError> {
        Ok(StoredMembership::new(r.log_id.map(LogId::from), r.membership.try_into()?))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Blank,
    Command {
        term: u64,
    },
    /// A [`PlainMembershipRecord`]; not written any more.
    PlainMembership,
    Membership,
}

#[derive(Serialize, Deserialize)]
struct EntryHead {
    id: LogIdRecord,
    kind: Kind,
}

/// One sealed log entry. Its place is its index.
pub(crate) fn encode_entry(entry: &RaftEntry) -> Vec<u8> {
    let id = LogIdRecord::from(entry.log_id);
    let head = |kind| to_bytes(&EntryHead { id, kind });
    let body = match &entry.payload {
        EntryPayload::Blank => head(Kind::Blank),
        EntryPayload::Normal(command) => {
            [head(Kind::Command { term: command.term }).as_slice(), &command.bytes].concat()
        }
        EntryPayload::Membership(m) => {
            [head(Kind::Membership), to_bytes(&MembershipRecord::from(m))].concat()
        }
    };
    seal(id.index, &body)
}

/// Reads back what [`encode_entry`] wrote for this index.
pub(crate) fn decode_entry(index: u64, bytes: &[u8]) -> Result<RaftEntry, CodecError> {
    let (head, rest) = split::<EntryHead>(unseal(index, bytes)?)?;
    if head.id.index != index {
        return Err(CodecError::Shape(format!("entry {} stands in the place of {index}", head.id.index)));
    }
    let payload: Payload = match head.kind {
        Kind::Blank if rest.is_empty() => EntryPayload::Blank,
        Kind::Blank => return Err(CodecError::Shape("blank entry with a payload".to_owned())),
        Kind::Command { term } => EntryPayload::Normal(Command { term, bytes: Bytes::copy_from_slice(rest) }),
        Kind::PlainMembership => {
            let record = MembershipRecord::from(from_bytes::<PlainMembershipRecord>(rest)?);
            EntryPayload::Membership(record.try_into()?)
        }
        Kind::Membership => EntryPayload::Membership(from_bytes::<MembershipRecord>(rest)?.try_into()?),
    };
    Ok(RaftEntry { log_id: head.id.into(), payload })
}

/// How many bytes of memory an entry roughly occupies.
pub(crate) fn entry_weight(entry: &RaftEntry) -> usize {
    96 + match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(command) => command.bytes.len(),
        EntryPayload::Membership(m) => 128 * m.nodes().count(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn entries() -> Vec<RaftEntry> {
        let peer = |n: u64| Peer { peer_addr: format!("h{n}:1"), api_addr: format!("h{n}:2") };
        let incarnation = |n: u64| (n > 2).then(crate::seat::Incarnation::draw);
        let seat = |n: u64| Seat { peer: peer(n), incarnation: incarnation(n), newest: 9 };
        let nodes: BTreeMap<u64, Seat> = (1..=4).map(|n| (n, seat(n))).collect();
        let joint = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Command { term: 7, bytes: Bytes::new() }),
            EntryPayload::Normal(Command { term: 300, bytes: Bytes::from_static(b"\x00launch\xff") }),
            EntryPayload::Membership(Membership::new(joint, nodes).unwrap()),
        ];
        payloads
            .into_iter()
            .enumerate()
            .map(|(i, payload)| RaftEntry { log_id: log_id(7, 3, 10 + i as u64), payload })
            .collect()
    }

    #[test]
    fn entries_survive_the_round_trip() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            assert_eq!(decode_entry(entry.log_id.index, &bytes).unwrap(), entry);
        }
    }

    #[test]
    fn a_membership_of_an_earlier_version_is_read() {
        let peer = Peer { peer_addr: "a:1".to_owned(), api_addr: "a:2".to_owned() };
        let membership = PlainMembershipRecord { voters: vec![vec![3]], nodes: vec![(3, peer.clone())] };
        let id = LogIdRecord { term: 1, node: 3, index: 5 };
        let head = to_bytes(&EntryHead { id, kind: Kind::PlainMembership });
        assert_eq!(head.last(), Some(&2), "the number under which it was written");
        let body = [head, to_bytes(&membership)].concat();
        let entry = decode_entry(5, &seal(5, &body)).unwrap();
        let nodes = BTreeMap::from([(3, Seat::plain(peer))]);
        let expected = Membership::new(vec![BTreeSet::from([3])], nodes).unwrap();
        assert_eq!(entry.payload, EntryPayload::Membership(expected.clone()));
        let stored = PlainStoredMembershipRecord { log_id: Some(id), membership };
        let stored = StoredMembership::try_from(StoredMembershipRecord::from(stored)).unwrap();
        assert_eq!(stored.membership(), &expected);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for entry in entries() {
            let good = encode_entry(&entry);
            for byte in 0..good.len() {
                for bit in 0..8 {
                    let mut bad = good.clone();
                    bad[byte] ^= 1 << bit;
                    let got = decode_entry(entry.log_id.index, &bad);
                    assert!(got.is_err(), "byte {byte} bit {bit} of {entry:?} went unnoticed");
                }
            }
            for cut in 0..good.len() {
                assert!(decode_entry(entry.log_id.index, &good[..cut]).is_err());
            }
        }
    }

    #[test]
    fn an_entry_in_the_wrong_place_is_refused() {
        let entry = &entries()[2];
        assert_eq!(decode_entry(99, &encode_entry(entry)).unwrap_err(), CodecError::Checksum);
    }

    #[test]
    fn an_unknown_version_is_named() {
        let mut bytes = encode_entry(&entries()[0]);
        bytes[0] = 9;
        assert_eq!(decode_entry(10, &bytes).unwrap_err(), CodecError::Version(9));
    }

    #[test]
    fn an_empty_membership_survives() {
        let record = StoredMembershipRecord::from(&StoredMembership::default());
        assert_eq!(StoredMembership::try_from(record).unwrap(), StoredMembership::default());
    }
}
