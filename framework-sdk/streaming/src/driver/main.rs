//! The driver's process: engine, executors' connections, framework and lease side by side, until one of them says it is over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use tepui_sdk::environment::DriverEnvironment;
use tepui_sdk::lease::{Lease, LeaseLost};
use tepui_sdk::scheduler;
use tepui_sdk::state::RegisterClient;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::engine::{Engine, Setup};
use super::error::EngineError;
use super::framework::{self, Framework};
use super::masters_register::MastersRegister;
use super::pool::{self, Gate, Listener, PoolSlots, Roster};
use super::probe::NoProbe;
use crate::environment;
use crate::files::{Disk, FileFault};
use crate::job::Job;
use crate::wire::auth::JobKey;

/// The job has finished: the masters do not launch the driver again.
pub const EXIT_FINISHED: u8 = 0;
/// Something went wrong that another launch may mend.
pub const EXIT_FAILED: u8 = 1;
/// The data or the job description is at fault; another launch would find the same.
pub const EXIT_DATA: u8 = 65;
/// Another generation has taken over: this process is a left-over and has touched nothing since.
pub const EXIT_REPLACED: u8 = 75;
/// No master has renewed the lease for very long.
pub const EXIT_ABANDONED: u8 = 76;

/// Masters that cannot be reached stop commits, not the driver: it goes on by itself when they are back. But not for ever.
const ABANDONED: Duration = Duration::from_secs(15 * 60);

/// Runs the hidden subcommand `stream-driver`: everything comes from the environment. Returns the exit code.
///
/// # Errors
/// If the environment is not that of a supervised driver.
pub async fn driver_main() -> anyhow::Result<u8> {
    let environment = DriverEnvironment::from_env()?;
    let job = environment::job().context("read the job")?;
    anyhow::ensure!(job.name == environment.name, "job {} runs as driver {}", job.name, environment.name);
    if let Some((key, path)) = job.relative_path() {
        error!(key, path = %path.display(), "a path has to be absolute");
        return Ok(EXIT_DATA);
    }
    info!(job = job.name, generation = environment.generation, "driver starts");
    let code = Box::pin(run(&job, &environment)).await?;
    info!(code, "driver ends");
    Ok(code)
}

/// Runs one driver generation and returns its exit code.
pub(super) async fn run(job: &Job, environment: &DriverEnvironment) -> anyhow::Result<u8> {
    let key = JobKey::load_or_create(&job.checkpoint.path)?;
    let listener =
        TcpListener::bind(SocketAddr::new(own_address().await, 0)).await.context("listen for executors")?;
    let address = listener.local_addr().context("read the own address")?.to_string();
    let (events, inbox) = pool::events();
    let roster = Roster::default();
    let gate = Gate::new(job, environment.generation, key);
    let listener = Listener::new(listener, gate, roster.clone(), events);
    let mut engine = Engine::new(Setup {
        job: job.clone(),
        store: MastersRegister::new(RegisterClient::from_environment(environment)?),
        slots: PoolSlots::new(inbox, job.batch.slot_timeout, NoProbe),
        probe: NoProbe,
        disk: Disk::DURABLE,
        generation: environment.generation,
        address: Some(address),
    });
    let lease = keep_lease(Lease::from_environment(environment)?);
    tokio::pin!(lease);
    // The claim comes first: it fences older generations, and a finished job needs no framework any more.
    let claimed = tokio::select! {
        claimed = engine.claim() => claimed,
        code = &mut lease => return Ok(code),
    };
    match claimed {
        Ok(false) => {}
        Ok(true) => return Ok(exit_code(engine.run().await)),
        Err(error) => return Ok(exit_code(Err(error))),
    }
    let (subscription, handle, events) = scheduler::Driver::builder(framework::info(job, environment))
        .masters(environment.masters.clone())
        .driver_token(environment.token.clone())
        .build()?;
    let finished = CancellationToken::new();
    let framework = Framework::new(job, environment, roster, handle).run(events, finished.clone());
    let work = async {
        let end = engine.run().await;
        if end.is_ok() {
            finished.cancel();
        }
        end
    };
    // Executors are sent home only by a job that has finished; after anything else the next generation needs them.
    let framework_ends = async {
        tokio::select! {
            ended = framework => ended,
            ended = subscription.run() => match ended {
                Err(refused) => Err(refused.to_string()),
                Ok(()) => Ok(()),
            },
        }
    };
    let listening = listener.run();
    tokio::pin!(framework_ends, listening);
    let end = tokio::select! {
        end = work => end,
        code = &mut lease => return Ok(code),
        ended = &mut framework_ends => {
            warn!(reason = ended.err().unwrap_or_default(), "the master refuses this driver");
            return Ok(EXIT_REPLACED);
        }
        () = &mut listening => return Ok(EXIT_FAILED),
    };
    let code = exit_code(end);
    if code == EXIT_FINISHED {
        tokio::select! {
            ended = framework_ends => if let Err(reason) = ended {
                // The work is done; the masters remove the framework and what is left of it.
                info!(reason, "executors were not all seen to end");
            },
            _ = lease => {}
            () = listening => {}
        }
    }
    Ok(code)
}

/// Keeps the lease; returns only with the exit code of a driver that must stop.
async fn keep_lease(lease: Lease) -> u8 {
    let mut held_at = Instant::now();
    loop {
        match lease.clone().keep().await {
            LeaseLost::Replaced { generation } => {
                warn!(generation, "another generation of this driver has been launched");
                return EXIT_REPLACED;
            }
            LeaseLost::Expired { unrenewed_ms } => {
                // Nothing can be committed meanwhile, and a successor would fence the next write.
                let unrenewed = Duration::from_millis(unrenewed_ms);
                held_at = held_at.max(Instant::now().checked_sub(unrenewed).unwrap_or(held_at));
                warn!(
                    unrenewed_ms,
                    "the masters have not renewed the lease; nothing is committed until they do"
                );
                if held_at.elapsed() >= ABANDONED {
                    return EXIT_ABANDONED;
                }
            }
        }
    }
}

fn exit_code(end: Result<(), EngineError>) -> u8 {
    let Err(error) = end else { return EXIT_FINISHED };
    error!(%error, "the stream stops");
    match error {
        EngineError::Fenced { .. } | EngineError::Superseded { .. } => EXIT_REPLACED,
        EngineError::OtherTopology { .. } | EngineError::OtherJob(_) => EXIT_DATA,
        EngineError::File(FileFault::Lost { .. }) => EXIT_DATA,
        EngineError::Source(source) if !source.is_transient() => EXIT_DATA,
        EngineError::Slot(slot) if !slot.transient => EXIT_DATA,
        _ => EXIT_FAILED,
    }
}

/// The address under which the agent of this driver is known; executors on other agents reach it there.
async fn own_address() -> IpAddr {
    let Ok(endpoint) = std::env::var("MESOS_AGENT_ENDPOINT") else { return Ipv4Addr::LOCALHOST.into() };
    let found = tokio::net::lookup_host(&endpoint).await.ok().and_then(|mut addresses| addresses.next());
    match found.map(|address| address.ip()).filter(|ip| !ip.is_unspecified()) {
        Some(ip) => ip,
        None => {
            warn!(
                endpoint,
                "the agent's address cannot be used; executors of other hosts will not find this driver"
            );
            Ipv4Addr::LOCALHOST.into()
        }
    }
}
