//! A network that can be interrupted without privileges: whoever is to be reached is known to the others by a gateway in this process,
//! which carries bytes on as the weather on their way allows.
//!
//! Who opened a connection is found out from the system's tables, so nothing of what is carried needs to be understood.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::network::{Site, Trouble, Weather};

/// The work folders of all servers: by them the owner of a connection is found. Whoever is not found is a client.
type Folders = Arc<Vec<(Site, String)>>;

/// How long a piece is held up when it is to look as if a packet was lost: about what TCP takes to send it again.
const RESENT: Duration = Duration::from_millis(200);
/// One in so many losses ends the connection.
const FATAL: u32 = 20;
/// Bytes in a drop of [`Trouble::Drip`].
const DROP: usize = 16;

/// Where a gateway listens, and whom it leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) front: SocketAddr,
    pub(crate) target: SocketAddr,
}

/// All gateways of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    listeners: Vec<TcpListener>,
    folders: Folders,
    weather: watch::Sender<Weather>,
    work: JoinSet<()>,
}

impl Gateways {
    /// Takes a port for each master, for the other masters alone: clients and agents do not come through these.
    ///
    /// # Errors
    /// When there are no free ports.
    pub(crate) async fn listen(masters: usize) -> anyhow::Result<Self> {
        let mut gateways = Gateways::default();
        for _ in 0..masters {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("listen between the masters")?;
            gateways.listeners.push(listener);
        }
        Ok(gateways)
    }

    /// The ports, in the order of the masters.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn ports(&self) -> anyhow::Result<Vec<u16>> {
        self.listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
    }

    /// Begins to carry connections to these ports; the folders of the masters tell who is who.
    pub(crate) fn open(&mut self, targets: &[u16], folders: &[&Path]) {
        let named = folders.iter().enumerate();
        self.known(
            named.map(|(index, folder)| (Site::Master(index), folder.display().to_string())).collect(),
        );
        let listeners: Vec<TcpListener> = self.listeners.drain(..).collect();
        for (to, (listener, target)) in listeners.into_iter().zip(targets).enumerate() {
            self.serve(listener, ([127, 0, 0, 1], *target).into(), Site::Master(to));
        }
    }

    /// Tells which server has which work folder. Goes for gateways that come later.
    pub(crate) fn known(&mut self, folders: Vec<(Site, String)>) {
        self.folders = Arc::new(folders);
    }

    /// Adds a gateway in front of a site.
    ///
    /// # Errors
    /// When its address is taken.
    pub(crate) async fn stand(&mut self, spot: Spot, to: Site) -> anyhow::Result<()> {
        let listener =
            TcpListener::bind(spot.front).await.with_context(|| format!("listen on {}", spot.front))?;
        self.serve(listener, spot.target, to);
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener, target: SocketAddr, to: Site) {
        let (folders, weather) = (self.folders.clone(), self.weather.subscribe());
        self.work.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                        connections.spawn(connect(stream, to, target, folders.clone(), weather.clone()));
                    },
                    Some(_ended) = connections.join_next() => {}
                }
            }
        });
    }

    /// Makes the weather so and not otherwise.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Cuts these ways from master to master and no others.
    pub(crate) fn cut(&self, ways: impl IntoIterator<Item = (usize, usize)>) {
        let way = |(from, to)| ((Site::Master(from), Site::Master(to)), Trouble::Cut);
        self.set(ways.into_iter().map(way).collect());
    }

    /// Lets everything through again, first of all what was held up.
    pub(crate) fn heal(&self) {
        self.set(Weather::new());
    }
}

/// Carries one connection until it ends. Errors end it, as they would end any.
async fn connect(
    stream: TcpStream,
    to: Site,
    target: SocketAddr,
    folders: Folders,
    weather: watch::Receiver<Weather>,
) {
    let Ok(peer) = stream.peer_addr() else { return };
    let found = tokio::task::spawn_blocking(move || owner(peer.port(), &folders)).await;
    let Ok(from) = found else { return };
    let (there, back) = ((from, to), (to, from));
    let is = |weather: &Weather, trouble| [there, back].iter().any(|way| weather.get(way) == Some(&trouble));
    if is(&weather.borrow(), Trouble::Broken) {
        return;
    }
    // The connection itself needs both ways.
    let mut waiting = weather.clone();
    if waiting.wait_for(|weather| !is(weather, Trouble::Cut)).await.is_err() {
        return;
    }
    let Ok(onward) = TcpStream::connect(target).await else { return };
    let _plain = (stream.set_nodelay(true), onward.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (stream.into_split(), onward.into_split());
    let both = async {
        // A connection that is broken ends both ways at once; one that ends by itself ends each way by itself.
        let there = carry(near_in, far_out, there, weather.clone());
        let back = carry(far_in, near_out, back, weather.clone());
        let _broken = tokio::try_join!(there, back);
    };
    let mut storm = weather.clone();
    let broken = async {
        // An error means that the campaign is over.
        let _over = storm.wait_for(|weather| is(weather, Trouble::Broken)).await.is_err();
    };
    tokio::select! {
        () = both => {}
        () = broken => {}
    }
}

/// The connection is to end in both directions.
struct Break;

/// Carries bytes one way; what comes while the way is cut is held up, and so is the end.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: (Site, Site),
    mut weather: watch::Receiver<Weather>,
) -> Result<(), Break> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        let trouble = match weather.wait_for(|weather| weather.get(&way) != Some(&Trouble::Cut)).await {
            Ok(weather) => weather.get(&way).copied(),
            Err(_over) => return Err(Break),
        };
        if count == 0 {
            // An end that cannot be told has been noticed already.
            let _told = to.shutdown().await;
            return Ok(());
        }
        match trouble {
            Some(Trouble::Slow(delay)) => tokio::time::sleep(delay).await,
            Some(Trouble::Loss(of_thousand)) => {
                let (lost, fatal) = {
                    let mut random = rand::rng();
                    (random.random_range(0..1_000) < of_thousand, random.random_range(0..FATAL) == 0)
                };
                if lost && fatal {
                    return Err(Break);
                }
                if lost {
                    tokio::time::sleep(RESENT).await;
                }
            }
            Some(Trouble::Broken) => return Err(Break),
            Some(Trouble::Drip(rate)) => {
                if drip(&mut to, &buffer[..count], rate, &mut weather).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            Some(Trouble::Cut) | None => {}
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return Ok(());
        }
    }
}

/// Writes a few bytes at a time, until the weather changes.
async fn drip(
    to: &mut OwnedWriteHalf,
    bytes: &[u8],
    rate: u32,
    weather: &mut watch::Receiver<Weather>,
) -> io::Result<()> {
    let pause = Duration::from_secs_f64(DROP as f64 / f64::from(rate.max(1)));
    let mut rest = bytes;
    weather.mark_unchanged();
    while rest.len() > DROP {
        let (drop, later) = rest.split_at(DROP);
        to.write_all(drop).await?;
        rest = later;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _other = weather.changed() => break,
        }
    }
    to.write_all(rest).await
}

/// Who has a socket with this local port.
fn owner(port: u16, folders: &[(Site, String)]) -> Site {
    find_owner(port, folders).unwrap_or(Site::Clients)
}

fn find_owner(port: u16, folders: &[(Site, String)]) -> Option<Site> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1)?.rsplit_once(':')?.1;
        let inode = columns.nth(7)?;
        (u16::from_str_radix(local, 16) == Ok(port)).then(|| inode.to_owned())
    })?;
    let wanted = format!("socket:[{inode}]");
    let has = |process: &str| {
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten();
        let mut targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.any(|target| target.as_os_str() == wanted.as_str())
    };
    if has("self") {
        return Some(Site::Clients);
    }
    let variable = tepui::cluster::NODE_VARIABLE;
    folders.iter().find_map(|(site, folder)| {
        let pids = tepui::cluster::find_processes(&[(variable, Path::new(folder))]);
        pids.into_iter().any(|pid| has(&pid.to_string())).then_some(*site)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A connection carried from master 0 to master 1, without looking up who is who.
    async fn carried(weather: &watch::Sender<Weather>) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, gateway) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (onward, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let ((near_in, near_out), (far_in, far_out)) =
            (gateway.unwrap().0.into_split(), onward.unwrap().into_split());
        let (there, back) = (weather.subscribe(), weather.subscribe());
        let mut work = JoinSet::new();
        let way = (Site::Master(0), Site::Master(1));
        work.spawn(carry(near_in, far_out, way, there));
        work.spawn(carry(far_in, near_out, (way.1, way.0), back));
        work.detach_all();
        (near.unwrap(), far.unwrap().0)
    }

    async fn arrives(to: &mut TcpStream) -> bool {
        let mut byte = [0];
        tokio::time::timeout(Duration::from_millis(100), to.read_exact(&mut byte))
            .await
            .is_ok_and(|read| read.is_ok())
    }

    fn on_the_way_there(trouble: Trouble) -> Weather {
        Weather::from([((Site::Master(0), Site::Master(1)), trouble)])
    }

    #[tokio::test]
    async fn a_cut_holds_one_way_up_and_healing_lets_it_through() {
        let weather = watch::Sender::default();
        let (mut near, mut far) = carried(&weather).await;
        near.write_all(b"a").await.unwrap();
        assert!(arrives(&mut far).await);
        weather.send_replace(on_the_way_there(Trouble::Cut));
        near.write_all(b"b").await.unwrap();
        assert!(!arrives(&mut far).await, "the way there is cut");
        far.write_all(b"c").await.unwrap();
        assert!(arrives(&mut near).await, "the way back is not");
        weather.send_replace(Weather::new());
        assert!(arrives(&mut far).await, "what was held up arrives");
    }

    #[tokio::test]
    async fn what_drips_arrives_piece_by_piece_and_the_rest_when_it_is_over() {
        let weather = watch::Sender::new(on_the_way_there(Trouble::Drip(1)));
        let (mut near, mut far) = carried(&weather).await;
        near.write_all(&[7; 4 * DROP]).await.unwrap();
        let mut first = [0; DROP];
        far.read_exact(&mut first).await.unwrap();
        assert!(!arrives(&mut far).await, "the second drop comes after seconds");
        weather.send_replace(Weather::new());
        let mut rest = [0; 3 * DROP];
        far.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest, [7; 3 * DROP]);
    }

    #[tokio::test]
    async fn a_loss_may_end_a_connection_and_the_other_way_loses_nothing() {
        let weather = watch::Sender::new(on_the_way_there(Trouble::Loss(1_000)));
        let (near, mut far) = carried(&weather).await;
        let (mut near_in, mut near_out) = near.into_split();
        far.write_all(b"x").await.unwrap();
        let mut byte = [0];
        near_in.read_exact(&mut byte).await.unwrap();
        // Each piece is lost, and one in twenty such losses is for good.
        let until = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let wrote = near_out.write_all(b"y").await.is_ok();
            let got = tokio::time::timeout(Duration::from_secs(5), far.read(&mut byte)).await.unwrap();
            if !wrote || !matches!(got, Ok(1)) {
                break;
            }
            assert!(std::time::Instant::now() < until, "no connection was ended");
        }
    }

    #[test]
    fn whoever_is_not_known_is_a_client() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(owner(port, &[(Site::Agent(0), "/nobody/has/this/folder".to_owned())]), Site::Clients);
        assert_eq!(owner(port, &[]), Site::Clients);
    }
}
