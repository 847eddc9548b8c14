//! What demo and tests read out of the live picture: how far the stream is, which driver runs where.
//! Reads defensively; a field that is missing is a thing not known yet.

use serde_json::Value;

use crate::live::Live;

/// How far the stream has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Records in committed batches.
    pub records: u64,
    /// Number of the last committed batch.
    pub batch: u64,
    /// The stream has ended and everything is published.
    pub finished: bool,
    /// Wall clock of the last batches' commits: batch, milliseconds since 1970.
    pub commits: Vec<(u64, u64)>,
}

/// The supervised driver.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Driver {
    pub state: String,
    pub generation: u64,
    pub agent_id: String,
    pub message: String,
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

fn text(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Reads the stream's register.
pub fn stream(live: &Live, job: &str) -> Stream {
    let registers = live.all("register");
    let found = registers.iter().find(|object| object["scope"] == job && object["key"] == "stream");
    let Some(value) = found.map(|object| &object["value"]) else { return Stream::default() };
    let commits = value["stats"].as_array().map(Vec::as_slice).unwrap_or_default();
    Stream {
        records: number(value, "/totals/records"),
        batch: number(value, "/committed/batch"),
        finished: value["finished"].as_bool().unwrap_or_default(),
        commits: commits.iter().map(|one| (number(one, "/batch"), number(one, "/at"))).collect(),
    }
}

/// Reads the driver.
pub fn driver(live: &Live, name: &str) -> Driver {
    let drivers = live.all("driver");
    let Some(object) = drivers.iter().find(|object| object["name"] == name) else { return Driver::default() };
    Driver {
        state: text(object, "/state").trim_start_matches("DRIVER_").to_owned(),
        generation: number(object, "/generation"),
        agent_id: text(object, "/agent_id"),
        message: text(object, "/message"),
    }
}

/// Number of agents that are registered.
pub fn registered_agents(live: &Live) -> usize {
    live.all("agent").iter().filter(|agent| agent["state"] == "registered").count()
}

/// `host:port` of an agent.
pub fn agent_address(live: &Live, agent_id: &str) -> Option<String> {
    let agents = live.all("agent");
    let agent = agents.iter().find(|agent| agent["agent_id"] == agent_id)?;
    Some(format!("{}:{}", agent["ip"].as_str()?, agent["port"].as_u64()?))
}
