//! One line of the checkpoint and its encoding. Owns the format number; an unknown one is refused.

use bytes::Bytes;
use prost::Message;
use tepui_proto::v1;

/// Format of the records that this build writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("malformed checkpoint record")]
    Malformed(#[from] prost::DecodeError),
    #[error("checkpoint record of format {0}, this build reads format {FORMAT}")]
    UnknownFormat(u32),
    #[error("checkpoint record of an unknown kind")]
    UnknownKind,
}

/// One line of the checkpoint.
#[derive(Clone, PartialEq, Message)]
pub struct Record {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(oneof = "Kind", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 30, 31, 32, 33, 50, 51, 60")]
    pub kind: Option<Kind>,
}

/// What a record says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(message, tag = "2")]
    Registered(Registered),
    /// Highest epoch seen.
    #[prost(uint64, tag = "3")]
    Epoch(u64),
    /// A framework of which tasks follow; replaces what was known of it.
    #[prost(message, boxed, tag = "4")]
    Framework(Box<v1::FrameworkInfo>),
    #[prost(message, boxed, tag = "5")]
    Accepted(Box<Accepted>),
    #[prost(message, boxed, tag = "6")]
    Updated(Box<Updated>),
    #[prost(message, tag = "7")]
    Acknowledged(Acknowledged),
    #[prost(message, tag = "8")]
    Forgotten(Forgotten),
    /// Highest launch sequence accepted, where the launches themselves are already forgotten.
    #[prost(uint64, tag = "9")]
    LaunchSeq(u64),
    /// Id of a framework that is gone: nobody acknowledges updates of the tasks that it has now.
    #[prost(string, tag = "10")]
    Abandoned(String),
    /// Replaces what was known of reservations and volumes.
    #[prost(message, tag = "30")]
    Resources(Resources),
    /// An executor that is started at most once; its tasks follow.
    #[prost(message, boxed, tag = "31")]
    Executor(Box<ExecutorLaunched>),
    /// Launches that are carried out all or none.
    #[prost(message, tag = "32")]
    AcceptedGroup(AcceptedGroup),
    #[prost(message, tag = "33")]
    ExecutorEnded(ExecutorEnded),
    /// Replaces what was known of the updates that an executor has sent.
    #[prost(message, tag = "50")]
    Seen(Seen),
    /// Replaces what was known of a drain.
    #[prost(message, tag = "51")]
    Drain(Drain),
    /// Replaces what was known of the masters' addresses.
    #[prost(message, tag = "60")]
    Masters(Masters),
}

/// Where the masters are, as the last of them said.
#[derive(Clone, PartialEq, Message)]
pub struct Masters {
    /// `host:port` each.
    #[prost(string, repeated, tag = "1")]
    pub addresses: Vec<String>,
}

/// Whether this agent is being drained.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Drain {
    /// Absent: it is not.
    #[prost(message, optional, tag = "1")]
    pub config: Option<v1::DrainConfig>,
    /// When it began, by the masters' clocks; milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub start_wall_ms: u64,
}

/// What the cluster made of this agent's resources.
#[derive(Clone, PartialEq, Message)]
pub struct Resources {
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// All dynamic reservations and volumes.
    #[prost(message, repeated, tag = "2")]
    pub made: Vec<v1::Resource>,
    /// Volumes that this agent holds and the cluster does not know.
    #[prost(message, repeated, tag = "3")]
    pub orphaned: Vec<v1::Resource>,
}

/// The identity that the cluster gave to this agent.
#[derive(Clone, PartialEq, Message)]
pub struct Registered {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(string, tag = "2")]
    pub cluster_id: String,
}

/// A launch that will be carried out at most once.
#[derive(Clone, PartialEq, Message)]
pub struct Accepted {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(uint64, tag = "2")]
    pub launch_seq: u64,
    #[prost(message, optional, tag = "3")]
    pub info: Option<v1::TaskInfo>,
    #[prost(string, tag = "4")]
    pub container_id: String,
}

/// Tasks that were launched together.
#[derive(Clone, PartialEq, Message)]
pub struct AcceptedGroup {
    #[prost(message, repeated, tag = "1")]
    pub accepted: Vec<Accepted>,
}

/// A custom executor, with the data that is left out of its tasks.
#[derive(Clone, PartialEq, Message)]
pub struct ExecutorLaunched {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(message, optional, tag = "2")]
    pub info: Option<v1::ExecutorInfo>,
    #[prost(string, tag = "3")]
    pub container_id: String,
}

/// Nothing is left of an executor.
#[derive(Clone, PartialEq, Message)]
pub struct ExecutorEnded {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub executor_id: String,
    #[prost(string, tag = "3")]
    pub container_id: String,
}

/// A status that the master has to acknowledge.
#[derive(Clone, PartialEq, Message)]
pub struct Updated {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(message, optional, tag = "2")]
    pub status: Option<v1::TaskStatus>,
}

/// Which updates of a task its executor has sent.
#[derive(Clone, PartialEq, Message)]
pub struct Seen {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub task_id: String,
    /// Newest last.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub uuids: Vec<Bytes>,
}

/// An acknowledgement of the oldest status of a task.
#[derive(Clone, PartialEq, Message)]
pub struct Acknowledged {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub task_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub uuid: Bytes,
}

/// The end of what the agent knows of a task.
#[derive(Clone, PartialEq, Message)]
pub struct Forgotten {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub task_id: String,
}

impl Record {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { format: FORMAT, kind: Some(kind) }
    }

    pub fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Refuses malformed bytes, an unknown format and an unknown kind.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let record = <Self as Message>::decode(bytes)?;
        if record.format != FORMAT {
            return Err(DecodeError::UnknownFormat(record.format));
        }
        if record.kind.is_none() {
            return Err(DecodeError::UnknownKind);
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_encoding_and_an_unknown_format_is_named() {
        let record = Record::new(Kind::Epoch(7));
        assert_eq!(Record::decode(&record.encode()).unwrap(), record);
        let future = Record { format: 9, ..record };
        assert!(Record::decode(&future.encode()).unwrap_err().to_string().contains("format 9"));
        assert!(matches!(Record::decode(&[0xff]), Err(DecodeError::Malformed(_))));
        let empty = Record { format: FORMAT, kind: None };
        assert!(matches!(Record::decode(&empty.encode()), Err(DecodeError::UnknownKind)));
    }
}
