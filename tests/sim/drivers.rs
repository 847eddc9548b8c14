//! Model driver processes: each keeps a number in a register and raises it by one, again and again, as its generation allows; it renews its
//! lease as long as it is let, may be paused or killed, and goes on with what it was doing when it is continued.

use tepui_proto::tepui::operator;
use tepui_proto::v1;
use tepui_scheduler_core as core;

use super::agenda::{MS, Micros, SECOND};
use super::event::{Event, ToClient, ToMaster};
use super::network::Place;
use super::tasks::variable;
use super::world::World;

/// The run's supervised driver.
pub(crate) const NAME: &str = "counter";
const KEY: &str = "position";
/// More than any run can use up.
const MAX_RESTARTS: u32 = 1_000;
/// What a fenced driver leaves as its exit code.
const FENCED: i32 = 75;

/// One process of the driver.
pub(crate) struct SimDriver {
    pub(crate) agent: usize,
    pub(crate) process: usize,
    pub(crate) generation: u64,
    token: String,
    framework_id: String,
    pub(crate) alive: bool,
    pub(crate) paused_until: Micros,
    /// Version and value of the register, as this process knows it.
    known: Option<(u64, u64)>,
    /// The write that waits for its answer: number of the call, value, and whether an answer was missed.
    writing: Option<(u64, u64)>,
    renewing: Option<u64>,
    renewed_at: Micros,
    stream: Option<u64>,
}

/// What is submitted.
pub(crate) fn spec() -> operator::DriverSpec {
    operator::DriverSpec {
        name: Some(NAME.to_owned()),
        command: Some(v1::CommandInfo { value: Some("driver".to_owned()), ..v1::CommandInfo::default() }),
        resources: super::agents::resources(0.5, 64.0),
        supervise: Some(operator::Supervise {
            policy: Some(operator::supervise::Policy::Always as i32),
            max_restarts: Some(MAX_RESTARTS),
            backoff_max_ms: Some(5_000),
            ..operator::Supervise::default()
        }),
        ..operator::DriverSpec::default()
    }
}

impl World {
    pub(crate) fn start_driver(&mut self, agent: usize, process: usize, info: &v1::TaskInfo) {
        let number = self.drivers.len();
        let generation = variable(info, "TEPUI_DRIVER_GENERATION").parse().unwrap_or(0);
        self.note(|| format!("driver generation {generation} runs on agent {agent}"));
        self.report.generations += 1;
        self.drivers.push(SimDriver {
            agent,
            process,
            generation,
            token: variable(info, "TEPUI_DRIVER_TOKEN"),
            framework_id: variable(info, "TEPUI_FRAMEWORK_ID"),
            alive: true,
            paused_until: 0,
            known: None,
            writing: None,
            renewing: None,
            renewed_at: self.now,
            stream: None,
        });
        self.after(20 * MS, Event::DriverStep { number });
    }

    pub(crate) fn driver_step(&mut self, number: usize) -> Result<(), String> {
        if !self.drivers[number].alive {
            return Ok(());
        }
        let paused_until = self.drivers[number].paused_until;
        if paused_until > self.now {
            self.agenda.push(paused_until, Event::DriverStep { number });
            return Ok(());
        }
        let delay = self.chance.between(100, 800) * MS;
        self.after(delay, Event::DriverStep { number });
        // A process that was paused may finish the write it was at before it looks at its lease.
        if self.drivers[number].writing.is_none() {
            self.driver_writes(number);
        }
        // Two loops of one process: none waits for the other.
        if self.chance.percent(50) {
            self.driver_renews(number);
        }
        self.driver_subscribes(number);
        Ok(())
    }

    fn reachable_leader(&self, number: usize) -> Option<usize> {
        let place = Place::Agent(self.drivers[number].agent);
        self.serving_node().filter(|node| {
            self.network.reaches(place, Place::Master(*node))
                && self.network.reaches(Place::Master(*node), place)
        })
    }

    fn driver_writes(&mut self, number: usize) {
        let Some(node) = self.reachable_leader(number) else { return };
        let driver = &self.drivers[number];
        let Some((version, value)) = driver.known else {
            // A linearizable read: the leader has a majority and has applied everything committed.
            let register = self.nodes[node].registry.register(NAME, KEY).cloned();
            let known = register.map_or((0, 0), |register| (register.version, number_in(&register.value)));
            self.drivers[number].known = Some(known);
            return;
        };
        let call = operator::call::StateCas {
            scope: Some(NAME.to_owned()),
            key: Some(KEY.to_owned()),
            expected_version: Some(version),
            generation: Some(driver.generation),
            value: Some((value + 1).to_string().into()),
        };
        let token = driver.token.clone();
        self.numbers += 1;
        let call_number = self.numbers;
        self.drivers[number].writing = Some((call_number, value + 1));
        let call = core::OperatorCall::StateCas(call);
        self.call_operator(node, Place::Driver(number), call_number, call, Some(token));
    }

    fn driver_renews(&mut self, number: usize) {
        // A driver whose lease has run out goes on, as the stream's driver does: a successor may not be there yet, and fences it if it is.
        let now = self.now;
        let due = now.saturating_sub(self.drivers[number].renewed_at) > 3 * SECOND;
        if !due || self.drivers[number].renewing.is_some() {
            return;
        }
        let Some(node) = self.reachable_leader(number) else { return };
        let driver = &self.drivers[number];
        let call =
            operator::call::RenewLease { name: Some(NAME.to_owned()), generation: Some(driver.generation) };
        let token = driver.token.clone();
        self.numbers += 1;
        let call_number = self.numbers;
        self.drivers[number].renewing = Some(call_number);
        let call = core::OperatorCall::RenewLease(call);
        self.call_operator(node, Place::Driver(number), call_number, call, Some(token));
    }

    /// The driver is a framework too; an older generation must be refused.
    fn driver_subscribes(&mut self, number: usize) {
        let broken = |stream: &u64| self.network.streams.get(stream).is_none_or(|stream| stream.broken);
        if self.drivers[number].stream.is_some_and(|stream| !broken(&stream)) {
            return;
        }
        let Some(node) = self.reachable_leader(number) else { return };
        let driver = &self.drivers[number];
        let id = super::frameworks::framework_id(driver.framework_id.clone());
        let info = v1::FrameworkInfo {
            user: Some("nobody".to_owned()),
            name: Some(NAME.to_owned()),
            id: Some(id.clone()),
            failover_timeout: Some(3_600.0),
            checkpoint: Some(true),
            ..v1::FrameworkInfo::default()
        };
        let call = v1::scheduler::Call {
            framework_id: Some(id),
            r#type: Some(super::frameworks::SUBSCRIBE as i32),
            subscribe: Some(v1::scheduler::call::Subscribe {
                framework_info: Some(info),
                ..v1::scheduler::call::Subscribe::default()
            }),
            ..v1::scheduler::Call::default()
        };
        let token = Some(driver.token.clone());
        let first = ToMaster::Framework { call: Box::new(call), token };
        let stream = self.open_stream(Place::Driver(number), 0, node, first);
        self.drivers[number].stream = Some(stream);
    }

    pub(crate) fn driver_hears(
        &mut self,
        number: usize,
        stream: u64,
        message: &ToClient,
    ) -> Result<(), String> {
        if self.drivers[number].stream != Some(stream) || !self.drivers[number].alive {
            return Ok(());
        }
        let ToClient::Framework(told) = message else { return Ok(()) };
        let generation = self.drivers[number].generation;
        match told.r#type() {
            v1::scheduler::event::Type::Subscribed => {
                let newest = self.checks.generation;
                self.note(|| format!("driver generation {generation} is subscribed, newest is {newest}"));
                Ok(())
            }
            v1::scheduler::event::Type::Offers => {
                let offers = told.offers.as_ref().map(|offers| offers.offers.clone()).unwrap_or_default();
                let call = v1::scheduler::Call {
                    framework_id: Some(super::frameworks::framework_id(
                        self.drivers[number].framework_id.clone(),
                    )),
                    r#type: Some(v1::scheduler::call::Type::Decline as i32),
                    decline: Some(v1::scheduler::call::Decline {
                        offer_ids: offers.into_iter().filter_map(|offer| offer.id).collect(),
                        filters: Some(v1::Filters { refuse_seconds: Some(60.0) }),
                    }),
                    ..v1::scheduler::Call::default()
                };
                self.send_to_master(stream, ToMaster::Framework { call: Box::new(call), token: None });
                Ok(())
            }
            _other => Ok(()),
        }
    }

    pub(crate) fn driver_answered(
        &mut self,
        number: usize,
        call: u64,
        reply: Option<core::Reply>,
    ) -> Result<(), String> {
        if !self.drivers[number].alive {
            return Ok(());
        }
        if self.drivers[number].paused_until > self.now {
            let (at, to) = (self.drivers[number].paused_until, Place::Driver(number));
            let event = match reply {
                Some(reply) => Event::Answer { to, number: call, reply: Box::new(reply) },
                None => Event::NoAnswer { to, number: call },
            };
            self.agenda.push(at, event);
            return Ok(());
        }
        let response = match reply {
            Some(core::Reply::Operator(response)) => Some(response),
            _unknown_or_refused => None,
        };
        if self.drivers[number].renewing == Some(call) {
            self.drivers[number].renewing = None;
            match response.and_then(|response| response.renew_lease) {
                Some(renewed) if renewed.valid == Some(true) => self.drivers[number].renewed_at = self.now,
                Some(_refused) => self.driver_exits(number, FENCED),
                None => {}
            }
            return Ok(());
        }
        let Some((writing, value)) = self.drivers[number].writing else { return Ok(()) };
        if writing != call {
            return Ok(());
        }
        self.drivers[number].writing = None;
        let Some(cas) = response.and_then(|response| response.state_cas) else {
            // Unknown: the next write repeats the same version and value.
            return Ok(());
        };
        let generation = self.drivers[number].generation;
        match cas.result() {
            operator::response::state_cas::Result::Ok => {
                self.drivers[number].known = Some((cas.version.unwrap_or_default(), value));
                self.report.register_writes += 1;
                self.checks.acknowledged_write(generation, value)?;
            }
            operator::response::state_cas::Result::Conflict => self.drivers[number].known = None,
            operator::response::state_cas::Result::Fenced => {
                self.report.fenced += 1;
                self.note(|| format!("driver generation {generation} is fenced"));
                self.driver_exits(number, FENCED);
            }
            operator::response::state_cas::Result::Unknown => {
                return Err("a compare-and-set without result".into());
            }
        }
        Ok(())
    }

    fn driver_exits(&mut self, number: usize, code: i32) {
        let (agent, process) = (self.drivers[number].agent, self.drivers[number].process);
        self.drivers[number].alive = false;
        if let Some(stream) = self.drivers[number].stream {
            self.break_stream(stream, true, true);
        }
        self.after(MS, Event::ProcessEnd { agent, number: process, status: code << 8 });
    }
}

/// The number in a register's value.
pub(crate) fn number_in(value: &[u8]) -> u64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}
