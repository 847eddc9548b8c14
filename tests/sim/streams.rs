//! What travels on streams, and how their ends are noticed: soon when a process dies, late or never when the network swallows it.

use super::agenda::{MS, SECOND};
use super::event::{Event, ToClient, ToMaster};
use super::network::Place;
use super::world::World;

impl World {
    /// Opens a stream and sends its first call.
    pub(crate) fn open_stream(&mut self, client: Place, life: u64, node: usize, first: ToMaster) -> u64 {
        let master_life = self.nodes[node].life;
        let stream = self.network.open(client, life, node, master_life, self.now);
        self.send_to_master(stream, first);
        stream
    }

    /// Sends a call behind all earlier ones of the stream.
    pub(crate) fn send_to_master(&mut self, stream: u64, message: ToMaster) {
        let Some(client) = self.network.streams.get(&stream).map(|found| found.client) else { return };
        let delay = self.latency() + self.slowness(client);
        let Some(found) = self.network.streams.get_mut(&stream) else { return };
        let at = (self.now + delay).max(found.to_master_at);
        found.to_master_at = at;
        self.agenda.push(at, Event::ToMaster { stream, message });
    }

    /// Sends a record behind all earlier ones of the stream.
    pub(crate) fn send_to_client(&mut self, node: usize, stream: u64, message: ToClient) {
        let Some(client) = self.network.streams.get(&stream).map(|found| found.client) else { return };
        let delay = self.latency() + self.slowness(client);
        let life = self.nodes[node].life;
        let Some(found) = self.network.streams.get_mut(&stream) else { return };
        if found.broken || found.master != node || found.master_life != life {
            return;
        }
        let at = (self.now + delay).max(found.to_client_at);
        found.to_client_at = at;
        self.agenda.push(at, Event::ToClient { stream, message });
    }

    /// Nothing passes on this stream any more. Both ends notice after some time.
    pub(crate) fn break_stream(&mut self, stream: u64, soon_for_client: bool, soon_for_master: bool) {
        let Some(found) = self.network.streams.get_mut(&stream) else { return };
        if found.broken {
            return;
        }
        found.broken = true;
        let (client, master) = (found.client, found.master);
        let reached = self.network.reaches(Place::Master(master), self.address(client));
        let late = self.chance.between(500, 8_000) * MS;
        let soon = self.chance.between(0, 30) * MS;
        self.after(if soon_for_client && reached { soon } else { late }, Event::ClientNotices { stream });
        let late = self.chance.between(1, 20) * SECOND;
        self.after(if soon_for_master { soon } else { late }, Event::MasterNotices { stream });
    }

    /// The streams of a client that died, or that gave one up.
    pub(crate) fn end_streams_of_client(&mut self, client: Place, life: u64) {
        let ids: Vec<u64> = self
            .network
            .streams
            .iter()
            .filter(|(_, stream)| stream.client == client && stream.client_life == life && !stream.broken)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let master = self.network.streams[&id].master;
            let reached = self.network.reaches(self.address(client), Place::Master(master));
            self.break_stream(id, true, reached);
        }
    }

    pub(crate) fn client_hears(&mut self, stream: u64, message: ToClient) -> Result<(), String> {
        let Some(found) = self.network.streams.get(&stream).cloned() else { return Ok(()) };
        if !self.network.reaches(Place::Master(found.master), self.address(found.client)) {
            self.break_stream(stream, false, false);
            return Ok(());
        }
        if found.broken {
            return Ok(());
        }
        if matches!(message, ToClient::End) {
            self.break_stream(stream, true, true);
            return Ok(());
        }
        match found.client {
            Place::Agent(agent) => self.agent_hears(agent, found.client_life, stream, message),
            Place::Framework(framework) => {
                self.framework_hears(framework, found.client_life, stream, message)
            }
            Place::Driver(number) => self.driver_hears(number, stream, &message),
            Place::Master(_) | Place::Operator => Ok(()),
        }
    }

    pub(crate) fn client_notices(&mut self, stream: u64) -> Result<(), String> {
        let Some(found) = self.network.streams.get(&stream).cloned() else { return Ok(()) };
        match found.client {
            Place::Agent(agent) => self.agent_lost_stream(agent, found.client_life, stream),
            Place::Framework(framework) => self.framework_lost_stream(framework, found.client_life, stream),
            Place::Driver(_) | Place::Master(_) | Place::Operator => Ok(()),
        }
    }

    pub(crate) fn master_notices(&mut self, stream: u64) -> Result<(), String> {
        let Some(found) = self.network.streams.get(&stream).cloned() else { return Ok(()) };
        let input = tepui_scheduler_core::Input::ConnectionClosed { connection: stream };
        self.master_input(found.master, found.master_life, input)
    }
}
