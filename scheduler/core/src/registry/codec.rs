//! The Registry's bytes: envelopes in the log, and snapshots.
//!
//! ```text
//! envelope   u32 format · protobuf
//! snapshot   "TEPUIREG" · u32 format · record* · trailer
//! record     u8 kind (1..) · u32 length · protobuf
//! trailer    u8 0 · u64 number of records · SHA-256 of everything before the hash
//! ```
//!
//! All numbers are big-endian. Whatever is wrong is named with its place; nothing here panics on foreign bytes, and nothing
//! allocates what a damaged length field claims.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::fleet::MaintenanceRecord;
use super::lineage::FormerCluster;
use super::operation::{Envelope, FORMAT};
use super::records::{
    AgentRecord, DriverRecord, ExecutorRecord, FrameworkRecord, LeaderRecord, OperationRecord,
    RegisterRecord, TaskRecord,
};
use super::settings::{QuotaRecord, WeightRecord};
use super::state_hash::{STATE_HASH_VERSION, StateDigest, StateHash};
use super::tables::{RegisterKey, Registry};

const MAGIC: &[u8; 8] = b"TEPUIREG";
const TRAILER: u8 = 0;

/// Why bytes are not an envelope or a snapshot of this version.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("format {found} is not known, only {FORMAT} is")]
    UnknownFormat { found: u32 },
    #[error("envelope of {length} bytes is too short")]
    ShortEnvelope { length: usize },
    #[error("the operation of this envelope is not known: a newer build wrote it")]
    UnknownOperation,
    #[error("decode envelope: {source}")]
    BadEnvelope { source: prost::DecodeError },
    #[error("snapshot does not begin with its mark")]
    NoMark,
    #[error("snapshot ends within {what} at byte {offset}")]
    Truncated { what: &'static str, offset: u64 },
    #[error("read snapshot at byte {offset}: {source}")]
    Io { offset: u64, source: io::Error },
    #[error("snapshot record {record} at byte {offset} has the unknown kind {kind}")]
    UnknownKind { record: u64, offset: u64, kind: u8 },
    #[error("decode snapshot record {record} of kind {kind} at byte {offset}: {source}")]
    BadRecord { record: u64, offset: u64, kind: u8, source: prost::DecodeError },
    #[error("snapshot says {told} records but has {found}")]
    WrongCount { told: u64, found: u64 },
    #[error("snapshot's checksum does not match its {length} bytes")]
    WrongChecksum { length: u64 },
    #[error("snapshot says that its state has the hash {told}, but it has {found}")]
    WrongState { told: StateDigest, found: StateDigest },
    #[error("snapshot goes on behind its trailer at byte {offset}")]
    Surplus { offset: u64 },
}

/// What is not in a table. A snapshot has it twice: at the beginning, and at the end with the hash of everything.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Meta {
    #[prost(string, tag = "1")]
    cluster_id: String,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(uint64, tag = "3")]
    cluster_ms: u64,
    #[prost(uint64, tag = "4")]
    wall_ms: u64,
    #[prost(message, optional, tag = "5")]
    leader: Option<LeaderRecord>,
    #[prost(message, repeated, tag = "80")]
    former_clusters: Vec<FormerCluster>,
    #[prost(uint32, tag = "81")]
    feature_level: u32,
    #[prost(uint64, tag = "85")]
    checkpoint: u64,
    /// Of the whole state, by the construction of this version.
    #[prost(bytes = "vec", optional, tag = "86")]
    state_hash: Option<Vec<u8>>,
    #[prost(uint32, tag = "87")]
    state_hash_version: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GoneAgent {
    #[prost(string, tag = "1")]
    pub(super) agent_id: String,
    #[prost(uint64, tag = "2")]
    pub(super) at_ms: u64,
}

pub(super) mod kind {
    pub(in crate::registry) const META: u8 = 1;
    pub(in crate::registry) const AGENT: u8 = 2;
    pub(in crate::registry) const GONE_AGENT: u8 = 3;
    pub(in crate::registry) const FRAMEWORK: u8 = 4;
    pub(in crate::registry) const COMPLETED_FRAMEWORK: u8 = 5;
    pub(in crate::registry) const TASK: u8 = 6;
    pub(in crate::registry) const HISTORY: u8 = 7;
    pub(in crate::registry) const DRIVER: u8 = 8;
    pub(in crate::registry) const REGISTER: u8 = 9;
    pub(in crate::registry) const MAINTENANCE: u8 = 50;
    pub(in crate::registry) const WEIGHT: u8 = 40;
    pub(in crate::registry) const QUOTA: u8 = 41;
    pub(in crate::registry) const OPERATION: u8 = 30;
    pub(in crate::registry) const EXECUTOR: u8 = 60;
}

/// Returns the bytes of a log entry.
pub fn encode_envelope(envelope: &Envelope) -> Bytes {
    let mut bytes = Vec::with_capacity(4 + envelope.encoded_len());
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    // Writing into a vector cannot fail: it grows.
    let _ = envelope.encode(&mut bytes);
    bytes.into()
}

/// Returns the envelope of a log entry.
///
/// # Errors
/// Another format, bytes that are no envelope, or an operation that this build does not know: a master never writes an envelope
/// without one.
pub fn decode_envelope(mut bytes: Bytes) -> Result<Envelope, CodecError> {
    if bytes.len() < 4 {
        return Err(CodecError::ShortEnvelope { length: bytes.len() });
    }
    let body = bytes.split_off(4);
    check_format(&bytes)?;
    let envelope = Envelope::decode(body).map_err(|source| CodecError::BadEnvelope { source })?;
    if envelope.operation.is_none() {
        return Err(CodecError::UnknownOperation);
    }
    Ok(envelope)
}

impl Registry {
    /// Writes everything that is not derived, in a fixed order.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_snapshot(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut writer = Writer { out, hash: Sha256::new(), records: 0 };
        writer.bytes(MAGIC)?;
        writer.bytes(&FORMAT.to_be_bytes())?;
        writer.record(kind::META, &self.meta())?;
        writer.all(kind::AGENT, self.agents.values())?;
        for (agent_id, at_ms) in &self.gone_agents {
            writer.record(kind::GONE_AGENT, &GoneAgent { agent_id: agent_id.to_string(), at_ms: *at_ms })?;
        }
        writer.all(kind::FRAMEWORK, self.frameworks.values())?;
        writer.all(kind::COMPLETED_FRAMEWORK, &self.completed_frameworks)?;
        writer.all(kind::TASK, self.tasks.values())?;
        for history in self.history.values() {
            writer.all(kind::HISTORY, history)?;
        }
        writer.all(kind::DRIVER, self.drivers.values())?;
        writer.all(kind::REGISTER, self.registers.values())?;
        if *self.maintenance != MaintenanceRecord::default() {
            writer.record(kind::MAINTENANCE, self.maintenance.as_ref())?;
        }
        for (role, weight) in &self.weights {
            writer.record(kind::WEIGHT, &WeightRecord { role: role.to_string(), weight: *weight })?;
        }
        writer.all(kind::QUOTA, self.quotas.values())?;
        writer.all(kind::OPERATION, self.operations.values())?;
        writer.all(kind::EXECUTOR, self.executors.values())?;
        let hash = StateHash::of(self).digest();
        let state_hash_version = STATE_HASH_VERSION;
        writer.record(
            kind::META,
            &Meta { state_hash: Some(hash.0.to_vec()), state_hash_version, ..self.meta() },
        )?;
        writer.finish()
    }

    /// What is not in a table.
    pub(super) fn meta(&self) -> Meta {
        Meta {
            cluster_id: self.cluster_id.to_string(),
            epoch: self.epoch,
            cluster_ms: self.cluster_ms,
            wall_ms: self.wall_ms,
            leader: self.leader.as_deref().cloned(),
            former_clusters: self.former_clusters.iter().map(|one| FormerCluster::clone(one)).collect(),
            feature_level: self.feature_level,
            checkpoint: self.checkpoint,
            state_hash: None,
            state_hash_version: 0,
        }
    }

    /// Reads a snapshot to its end and computes what is derived.
    ///
    /// # Errors
    /// Names what is wrong and where.
    pub fn read_snapshot(input: &mut dyn Read) -> Result<Self, CodecError> {
        let mut reader = Reader { input, hash: Sha256::new(), offset: 0 };
        let mut mark = [0; MAGIC.len()];
        reader.exact(&mut mark, "its mark")?;
        if mark != *MAGIC {
            return Err(CodecError::NoMark);
        }
        let mut format = [0; 4];
        reader.exact(&mut format, "its format number")?;
        check_format(&format)?;
        let mut registry = Self::default();
        let mut told = None;
        let mut records = 0;
        loop {
            let offset = reader.offset;
            let mut kind = [0];
            reader.exact(&mut kind, "the kind of a record")?;
            if kind[0] == TRAILER {
                break;
            }
            let body = reader.body()?;
            registry.restore(kind[0], body, &mut told).map_err(|error| match error {
                None => CodecError::UnknownKind { record: records, offset, kind: kind[0] },
                Some(source) => CodecError::BadRecord { record: records, offset, kind: kind[0], source },
            })?;
            records += 1;
        }
        reader.trailer(records)?;
        registry.check_hash(told)?;
        Ok(registry)
    }

    /// What was read is what was written, as far as this version can tell.
    fn check_hash(&self, told: Option<StateDigest>) -> Result<(), CodecError> {
        let Some(told) = told else { return Ok(()) };
        let found = StateHash::of(self).digest();
        if found == told { Ok(()) } else { Err(CodecError::WrongState { told, found }) }
    }

    fn restore(
        &mut self,
        kind: u8,
        body: Bytes,
        told: &mut Option<StateDigest>,
    ) -> Result<(), Option<prost::DecodeError>> {
        match kind {
            kind::META => {
                let meta = Meta::decode(body)?;
                self.cluster_id = Arc::from(meta.cluster_id);
                self.epoch = meta.epoch;
                self.cluster_ms = meta.cluster_ms;
                self.wall_ms = meta.wall_ms;
                self.leader = meta.leader.map(Arc::new);
                self.former_clusters = meta.former_clusters.into_iter().map(Arc::new).collect();
                self.feature_level = meta.feature_level;
                self.checkpoint = meta.checkpoint;
                let hash = meta.state_hash.filter(|_| meta.state_hash_version == STATE_HASH_VERSION);
                *told = hash.as_deref().and_then(StateDigest::from_slice);
            }
            kind::AGENT => {
                let record = AgentRecord::decode(body)?;
                self.put_agent(&record.id(), Some(Arc::new(record)));
            }
            kind::GONE_AGENT => {
                let gone = GoneAgent::decode(body)?;
                self.gone_agents.insert(gone.agent_id.into(), gone.at_ms);
            }
            kind::FRAMEWORK => {
                let record = FrameworkRecord::decode(body)?;
                self.frameworks.insert(record.id(), Arc::new(record));
            }
            kind::COMPLETED_FRAMEWORK => {
                self.completed_frameworks.push_back(Arc::new(FrameworkRecord::decode(body)?));
            }
            kind::TASK => {
                let record = TaskRecord::decode(body)?;
                self.put_task(&record.key(), Some(Arc::new(record)));
            }
            kind::HISTORY => {
                let record = TaskRecord::decode(body)?;
                self.history.entry(record.key().framework).or_default().push_back(Arc::new(record));
            }
            kind::DRIVER => {
                let record = DriverRecord::decode(body)?;
                self.drivers.insert(Arc::from(record.name()), Arc::new(record));
            }
            kind::REGISTER => {
                let record = RegisterRecord::decode(body)?;
                let key = RegisterKey {
                    scope: Arc::from(record.scope.as_str()),
                    key: Arc::from(record.key.as_str()),
                };
                self.registers.insert(key, Arc::new(record));
            }
            kind::MAINTENANCE => {
                self.maintenance = Arc::new(MaintenanceRecord::decode(body)?);
                self.index_machines();
            }
            kind::WEIGHT => {
                let record = WeightRecord::decode(body)?;
                self.weights.insert(Arc::from(record.role.as_str()), record.weight);
            }
            kind::QUOTA => {
                let record = QuotaRecord::decode(body)?;
                self.quotas.insert(Arc::from(record.role.as_str()), Arc::new(record));
            }
            kind::OPERATION => {
                let record = OperationRecord::decode(body)?;
                self.operations.insert(record.key(), Arc::new(record));
            }
            kind::EXECUTOR => {
                let record = ExecutorRecord::decode(body)?;
                self.put_executor(&record.key(), Some(Arc::new(record)));
            }
            _ => return Err(None),
        }
        Ok(())
    }
}

fn check_format(bytes: &[u8]) -> Result<(), CodecError> {
    let found = bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    if found == FORMAT { Ok(()) } else { Err(CodecError::UnknownFormat { found }) }
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    records: u64,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    fn record(&mut self, kind: u8, record: &impl Message) -> io::Result<()> {
        let body = record.encode_to_vec();
        let length = u32::try_from(body.len()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "a record of more than 4 GiB cannot be written")
        })?;
        self.bytes(&[kind])?;
        self.bytes(&length.to_be_bytes())?;
        self.bytes(&body)?;
        self.records += 1;
        Ok(())
    }

    fn all<'a, R: Message + 'a>(
        &mut self,
        kind: u8,
        records: impl IntoIterator<Item = &'a Arc<R>>,
    ) -> io::Result<()> {
        records.into_iter().try_for_each(|record| self.record(kind, record.as_ref()))
    }

    fn finish(mut self) -> io::Result<()> {
        self.bytes(&[TRAILER])?;
        self.bytes(&self.records.to_be_bytes())?;
        let hash = self.hash.finalize();
        self.out.write_all(&hash)?;
        self.out.flush()
    }
}

struct Reader<'a> {
    input: &'a mut dyn Read,
    hash: Sha256,
    offset: u64,
}

impl Reader<'_> {
    fn exact(&mut self, bytes: &mut [u8], what: &'static str) -> Result<(), CodecError> {
        self.input.read_exact(bytes).map_err(|source| self.failed(source, what))?;
        self.hash.update(&*bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn body(&mut self) -> Result<Bytes, CodecError> {
        let what = "a record";
        let mut length = [0; 4];
        self.exact(&mut length, what)?;
        let length = u64::from(u32::from_be_bytes(length));
        let mut body = Vec::new();
        let read = (&mut *self.input).take(length).read_to_end(&mut body);
        let read = read.map_err(|source| self.failed(source, what))?;
        if read as u64 != length {
            return Err(CodecError::Truncated { what, offset: self.offset + read as u64 });
        }
        self.hash.update(&body);
        self.offset += length;
        Ok(body.into())
    }

    fn trailer(mut self, records: u64) -> Result<(), CodecError> {
        let mut count = [0; 8];
        self.exact(&mut count, "its trailer")?;
        let told = u64::from_be_bytes(count);
        let expected: [u8; 32] = self.hash.clone().finalize().into();
        let length = self.offset;
        let mut hash = [0; 32];
        self.exact(&mut hash, "its checksum")?;
        if hash != expected {
            return Err(CodecError::WrongChecksum { length });
        }
        if told != records {
            return Err(CodecError::WrongCount { told, found: records });
        }
        let mut surplus = [0];
        match self.input.read(&mut surplus) {
            Ok(0) => Ok(()),
            Ok(_) => Err(CodecError::Surplus { offset: self.offset }),
            Err(source) => Err(CodecError::Io { offset: self.offset, source }),
        }
    }

    fn failed(&self, source: io::Error, what: &'static str) -> CodecError {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            CodecError::Truncated { what, offset: self.offset }
        } else {
            CodecError::Io { offset: self.offset, source }
        }
    }
}
