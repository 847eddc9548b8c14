//! Knows the masters and which of them leads.
//!
//! Owns the list, the remembered leader and the question "who leads?". It never repeats a call. Any master may be asked: standbys
//! name the leader in a redirect. After a leader was lost it listens at all masters until one says that it leads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use thiserror::Error;
use tokio::time::Instant;
use tracing::debug;

use crate::masters::{Listener, Said};
use crate::transport::{Request, Transport};

/// The next master is asked as well when one has not answered for this long.
const STAGGER: Duration = Duration::from_millis(100);
/// One answer to "who leads?" is not waited for any longer than this.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// For this long after a failure, other masters naming the failed one again are not believed: they have not noticed yet.
const DISTRUST: Duration = Duration::from_millis(300);
/// A leader that was lost has a successor within this, or the question is asked anew.
const LISTEN: Duration = Duration::from_secs(2);
/// Masters that are remembered; no cluster has as many.
const LEARNED_MAX: usize = 64;

/// No master could name a leader.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no leading master found among {asked}: {reason}")]
pub struct NoLeader {
    /// The masters that were asked, comma-separated.
    pub asked: String,
    /// What the last of them said.
    pub reason: String,
}

/// A cheap, cloneable memory of who leads; clones share it.
#[derive(Debug, Clone)]
pub struct MasterDetector {
    /// As this program was told.
    masters: Arc<[String]>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    leader: Option<String>,
    failed: Option<(String, Instant)>,
    /// All masters, as a leading one named them last.
    learned: Vec<String>,
    /// Who is asked first next time; moves on with every failure.
    first: usize,
    /// How often the leader was checked.
    checks: usize,
}

impl MasterDetector {
    /// Takes the `host:port` of masters, in any order; not all of them need to be alive or even listed.
    pub fn new<S: Into<String>>(masters: impl IntoIterator<Item = S>) -> Self {
        let masters = masters.into_iter().map(|master| authority(&master.into()).to_owned()).collect();
        MasterDetector { masters, memory: Arc::default() }
    }

    /// Returns all masters that are known: those that the leading one named last, then those that this program was told of.
    pub fn masters(&self) -> Vec<String> {
        let mut all = self.memory(|memory| memory.learned.clone());
        for master in self.masters.iter() {
            if !all.contains(master) {
                all.push(master.clone());
            }
        }
        all
    }

    /// Remembers the masters that a leading one has named. An empty list says nothing.
    pub fn learn(&self, masters: &[String]) {
        if !masters.is_empty() && masters.len() <= LEARNED_MAX {
            self.memory(|memory| {
                if memory.learned != masters {
                    memory.learned = masters.to_vec();
                }
            });
        }
    }

    /// Returns the remembered leader, without asking anybody.
    pub fn leader(&self) -> Option<String> {
        self.memory(|memory| memory.leader.clone())
    }

    /// Remembers that `address` answered as the leader.
    pub fn confirmed(&self, address: &str) {
        self.memory(|memory| {
            memory.leader = Some(address.to_owned());
            memory.failed = None;
        });
    }

    /// Forgets `address` as the leader: it did not answer, or said that it does not lead.
    pub fn failed(&self, address: &str) {
        self.memory(|memory| {
            if memory.leader.as_deref() == Some(address) {
                memory.leader = None;
            }
            memory.failed = Some((address.to_owned(), Instant::now()));
            memory.first = memory.first.wrapping_add(1);
        });
    }

    /// Returns the remembered leader, or asks the masters, one after the other without waiting long for a silent one. If a leader was
    /// lost, waits up to two seconds for the next.
    pub async fn locate(&self, transport: &Transport) -> Result<String, NoLeader> {
        if let Some(leader) = self.leader() {
            return Ok(leader);
        }
        let lost = self.memory(|memory| memory.failed.is_some());
        match lost {
            true => self.listen(transport).await,
            false => self.ask_in_turn(transport).await,
        }
    }

    /// Waits until a master says that it leads.
    async fn listen(&self, transport: &Transport) -> Result<String, NoLeader> {
        let mut listener = Listener::new(transport, self.masters());
        let deadline = Instant::now() + LISTEN;
        let mut reason = String::from("no master says that it leads");
        loop {
            let Ok((master, said)) = tokio::time::timeout_at(deadline, listener.next()).await else {
                return Err(NoLeader { asked: self.masters().join(","), reason });
            };
            match said {
                Said::News(news) if news.serving() => {
                    debug!(%master, epoch = news.epoch(), "a master says that it leads");
                    self.learn(&news.masters);
                    self.memory(|memory| memory.leader = Some(master.clone()));
                    return Ok(master);
                }
                // Only hearsay, but a reason to listen there too.
                Said::News(news) => news.leader.into_iter().for_each(|leader| listener.add(leader)),
                Said::Gone => reason = format!("{master} cannot be heard"),
                Said::Unknown => return self.ask_in_turn(transport).await,
            }
        }
    }

    async fn ask_in_turn(&self, transport: &Transport) -> Result<String, NoLeader> {
        let masters = self.masters();
        let first = self.memory(|memory| memory.first);
        let distrusted = self.memory(|memory| memory.failed.clone());
        let distrusted = distrusted.filter(|(_, at)| at.elapsed() < DISTRUST).map(|(address, _)| address);
        let mut waiting = in_turn(&masters, first);
        let mut asked = FuturesUnordered::new();
        let mut reason = String::from("the list of masters is empty");
        loop {
            if asked.is_empty() {
                let Some(master) = waiting.next() else { break };
                asked.push(ask(transport, master));
            }
            let Ok(answer) = tokio::time::timeout(STAGGER, asked.next()).await else {
                asked.extend(waiting.next().map(|master| ask(transport, master)));
                continue;
            };
            match answer {
                Some((master, Ok(leader))) if Some(&leader) == distrusted.as_ref() && leader != master => {
                    reason = format!("{master} still names {leader}, which does not answer");
                }
                Some((master, Ok(leader))) => {
                    debug!(%master, %leader, "found the leading master");
                    self.memory(|memory| memory.leader = Some(leader.clone()));
                    return Ok(leader);
                }
                Some((master, Err(said))) => reason = format!("{master}: {said}"),
                None => {}
            }
        }
        Err(NoLeader { asked: masters.join(","), reason })
    }

    /// Asks one of the other masters whether `leader` still leads, and returns who does instead. A leader that is frozen, or
    /// cut off on the way here, neither ends its streams nor sends anything. The new leader has to confirm it, so that two
    /// names of one master are not taken for two masters.
    pub async fn replaced(&self, transport: &Transport, leader: &str) -> Option<String> {
        let turn = self.memory(|memory| {
            memory.checks = memory.checks.wrapping_add(1);
            memory.checks
        });
        let masters = self.masters();
        let other = in_turn(&masters, turn).find(|master| *master != leader)?;
        let (_, named) = ask(transport, other).await;
        let named = named.ok().filter(|named| named != leader)?;
        let (_, confirmed) = ask(transport, &named).await;
        confirmed.ok().filter(|confirmed| confirmed != leader)
    }

    /// Returns who leads as soon as that is another master than `leader`, with a higher epoch, by its own word. Never returns if masters
    /// say nothing of the kind.
    pub(crate) async fn succeeded(&self, transport: &Transport, leader: &str) -> String {
        let mut listened = self.masters();
        let mut listener = Listener::new(transport, listened.clone());
        let mut epoch = None;
        loop {
            let (master, said) = listener.next().await;
            let Said::News(news) = said else { continue };
            if !news.serving() {
                news.leader.into_iter().for_each(|leader| listener.add(leader));
                continue;
            }
            self.learn(&news.masters);
            if master == leader {
                epoch = epoch.max(Some(news.epoch()));
            } else if epoch.is_some_and(|epoch| news.epoch() > epoch) {
                return master;
            }
            let now = self.masters();
            if now != listened {
                // Those that are no masters any more need not be listened to.
                listener = Listener::new(transport, now.clone());
                listened = now;
            }
        }
    }

    fn memory<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns every master once, beginning with the one whose turn it is.
fn in_turn(masters: &[String], first: usize) -> impl Iterator<Item = &str> {
    let count = masters.len();
    (0..count).map(move |position| masters[first.wrapping_add(position) % count].as_str())
}

/// Asks one master who leads.
async fn ask<'a>(transport: &Transport, master: &'a str) -> (&'a str, Result<String, String>) {
    let request = Request::get("/redirect").answer_within(ASK_TIMEOUT);
    let answer = match transport.send(master, &request).await {
        Ok(answer) if answer.status == 307 => match answer.location.as_deref().and_then(redirect_target) {
            Some(leader) => Ok(leader.to_owned()),
            None => Err("redirects without saying where".to_owned()),
        },
        // A single master without the redirect page leads, as far as anybody can tell.
        Ok(answer) if answer.status == 404 || answer.status == 405 => Ok(master.to_owned()),
        Ok(answer) => Err(format!("{} {}", answer.status, answer.reason())),
        Err(error) => Err(error.to_string()),
    };
    (master, answer)
}

/// Returns the `host:port` of a `Location`: `//host:port/path`, or the same with a scheme.
pub fn redirect_target(location: &str) -> Option<&str> {
    let target = authority(location);
    let (host, port) = target.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok()).then_some(target)
}

fn authority(address: &str) -> &str {
    let rest = address.trim();
    let rest = rest.strip_prefix("http:").unwrap_or(rest);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_locations_that_masters_send() {
        let cases = [
            ("//10.0.0.1:5050/api/v1/scheduler", Some("10.0.0.1:5050")),
            ("//leader.example:5050", Some("leader.example:5050")),
            ("http://10.0.0.1:5050/x?y=z", Some("10.0.0.1:5050")),
            ("//10.0.0.1/api/v1", None),
            ("/api/v1", None),
            ("", None),
        ];
        for (location, expected) in cases {
            assert_eq!(redirect_target(location), expected, "{location:?}");
        }
    }

    #[test]
    fn forgets_only_the_leader_that_failed() {
        let detector = MasterDetector::new(["http://a:1/", "b:2"]);
        assert_eq!(detector.masters(), ["a:1", "b:2"]);
        detector.learn(&["c:3".to_owned(), "b:2".to_owned()]);
        detector.learn(&[]);
        assert_eq!(
            detector.masters(),
            ["c:3", "b:2", "a:1"],
            "what was given helps where what was learned is out of date"
        );
        assert_eq!(detector.leader(), None);
        detector.confirmed("a:1");
        detector.failed("b:2");
        assert_eq!(detector.clone().leader().as_deref(), Some("a:1"));
        detector.failed("a:1");
        assert_eq!(detector.leader(), None);
    }
}
