//! A whole framework on one screen: takes the first offer, runs `echo hello` on it, waits for the end, and leaves.
//!
//! `cargo run -p tepui-sdk --example hello`, with `TEPUI_MASTERS` set to where the masters are, or that list behind `--`

use anyhow::Context;
use tepui_sdk::scheduler::{Driver, Event, Events, Handle};
use tepui_sdk::v1;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example talks to people")]
async fn main() -> anyhow::Result<()> {
    let masters = std::env::args().nth(1).or_else(|| std::env::var("TEPUI_MASTERS").ok());
    let masters = masters.unwrap_or_else(|| "127.0.0.1:5050".to_owned());
    let state = run(&masters).await?;
    println!("the task ended as {}", state.as_str_name());
    Ok(())
}

pub async fn run(masters: &str) -> anyhow::Result<v1::TaskState> {
    let framework = v1::FrameworkInfo {
        user: Some("nobody".to_owned()),
        name: Some("hello".to_owned()),
        ..Default::default()
    };
    let (driver, handle, events) = Driver::builder(framework).masters(masters.split(',')).build()?;
    // Both run in this task; the driver ends when its framework has been removed.
    let stay = async { driver.run().await.context("stay subscribed") };
    let (_, state) = tokio::try_join!(stay, hello(handle, events))?;
    Ok(state)
}

async fn hello(handle: Handle, mut events: Events) -> anyhow::Result<v1::TaskState> {
    let mut launched = false;
    while let Some(event) = events.next().await {
        match event {
            Event::Offers(offers) => {
                for offer in offers {
                    let offer_ids = offer.id.clone().into_iter().collect();
                    if launched {
                        handle.decline(offer_ids, None).await?;
                    } else {
                        handle.launch(offer_ids, vec![task(&offer)]).await?;
                        launched = true;
                    }
                }
            }
            Event::Update(status) if status.state().is_terminal() => {
                handle.teardown().await?;
                return Ok(status.state());
            }
            _ => {} // the driver has reconnected, acknowledged or reconciled already
        }
    }
    anyhow::bail!("the driver ended early")
}

fn task(offer: &v1::Offer) -> v1::TaskInfo {
    v1::TaskInfo {
        name: Some("hello".to_owned()),
        task_id: Some(v1::TaskId { value: Some("hello-1".to_owned()) }),
        agent_id: offer.agent_id.clone(),
        resources: [("cpus", 0.1), ("mem", 32.0)].map(|(name, value)| scalar(name, value)).to_vec(),
        command: Some(v1::CommandInfo { value: Some("echo hello".to_owned()), ..Default::default() }),
        ..Default::default()
    }
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: Some(name.to_owned()),
        r#type: Some(v1::value::Type::Scalar as i32),
        scalar: Some(v1::value::Scalar { value: Some(value) }),
        ..Default::default()
    }
}
