//! What masters read back from their own disks and from each other: log entries and snapshots. A damaged entry that can still be read must
//! be applied without a panic, and leave the tables consistent.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tepui_proto::v1::TaskState;
use tepui_scheduler_core::master::OperatorCall;
use tepui_scheduler_core::registry::{Envelope, Registry, decode_envelope, encode_envelope};
use tepui_scheduler_core::testing::{Harness, driver_spec, task, uuid};

use super::random::Chance;
use super::{Target, ensure};

pub(super) fn targets() -> Vec<Box<dyn Target>> {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024;ports:[1-100]");
    harness.agent("cpus:8;mem:2048;disk:10");
    let peer = harness.framework("f");
    harness.framework("g");
    let offers = harness.offers(&peer);
    let here = offers.iter().find(|offer| offer.agent_id == Some(agent.id.to_proto())).expect("an offer");
    harness.accept(&peer, &[here], vec![task("t", "cpus:1;mem:64"), task("u", "cpus:1;mem:64;ports:[5-6]")]);
    harness.take_launch(&mut agent);
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    harness.report(&mut agent, "u", TaskState::TaskFinished, uuid(2));
    harness.kill(&peer, "t");
    harness.operator(OperatorCall::SubmitDriver(driver_spec("d", "cpus:1;mem:64")), None);
    harness.advance(2_000);
    harness.break_stream(peer.connection);
    harness.advance(2_000);
    let (entries, registry) = (harness.log.clone(), harness.registry.clone());
    vec![
        Box::new(Entries { entries, registry: registry.clone() }),
        Box::new(Snapshots { whole: snapshot(&registry), registry }),
    ]
}

/// Entries of the log.
struct Entries {
    entries: Vec<Bytes>,
    registry: Registry,
}

impl Target for Entries {
    fn name(&self) -> &str {
        "envelope"
    }

    fn fresh(&mut self, seed: u64) -> Vec<u8> {
        Chance::new(seed).pick(&self.entries).to_vec()
    }

    fn words(&self) -> &[&'static str] {
        &["f", "g", "t", "u", "d", "d.g1", "*", "\u{0}\u{0}\u{0}\u{1}"]
    }

    fn feed(&mut self, input: &[u8]) -> Result<String, String> {
        let envelope = match decode_envelope(Bytes::copy_from_slice(input)) {
            Ok(envelope) => envelope,
            Err(error) => return Ok(error.to_string()),
        };
        let bytes = encode_envelope(&envelope);
        let again = decode_envelope(bytes.clone()).map_err(|error| format!("our own entry: {error}"))?;
        ensure(encode_envelope(&again) == bytes, "an entry is not the same after a turn")?;
        let mut answers = Vec::new();
        // As it is, and as if the leader of now had proposed it.
        for epoch in [envelope.epoch, self.registry.epoch] {
            let envelope = Envelope { epoch, ..envelope.clone() };
            let (mut one, mut other) = (self.registry.clone(), self.registry.clone());
            let (outcome, changes) = one.apply(&envelope);
            one.check_invariants();
            ensure(other.apply(&envelope).1 == changes, "two replicas differ in what changed")?;
            ensure(snapshot(&one) == snapshot(&other), "two replicas differ")?;
            answers.push(format!("{outcome:?}"));
        }
        Ok(answers.pop().unwrap_or_default())
    }
}

/// Snapshots, with a checksum that fits.
struct Snapshots {
    whole: Vec<u8>,
    registry: Registry,
}

const CHECKSUM: usize = 32;

impl Target for Snapshots {
    fn name(&self) -> &str {
        "snapshot"
    }

    fn fresh(&mut self, _seed: u64) -> Vec<u8> {
        self.whole.clone()
    }

    fn feed(&mut self, input: &[u8]) -> Result<String, String> {
        let _ = Registry::read_snapshot(&mut &*input);
        let mut fitting = input.to_vec();
        if let Some(end) = input.len().checked_sub(CHECKSUM) {
            let sum = Sha256::digest(&input[..end]);
            fitting[end..].copy_from_slice(&sum);
        }
        match Registry::read_snapshot(&mut &*fitting) {
            Ok(registry) => {
                let bytes = snapshot(&registry);
                let again =
                    Registry::read_snapshot(&mut &*bytes).map_err(|error| format!("our own: {error}"))?;
                ensure(snapshot(&again) == bytes, "a snapshot is not the same after a turn")?;
                Ok(format!("read {}", registry == self.registry))
            }
            Err(error) => Ok(error.to_string()),
        }
    }
}

fn snapshot(registry: &Registry) -> Vec<u8> {
    let mut bytes = Vec::new();
    registry.write_snapshot(&mut bytes).expect("writing to memory works");
    bytes
}
