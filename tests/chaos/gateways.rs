//! The network between the masters, as far as it can be interrupted without privileges: each master is known to the others by the port of
//! a gateway in this process, which carries bytes on unless their way is cut. Clients and agents do not come through here.
//!
//! Who opened a connection is found out from the system's tables, so nothing of what is carried needs to be understood.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Ways on which nothing gets through, from master to master.
type Cuts = BTreeSet<(usize, usize)>;

/// One gateway for each master.
#[derive(Debug)]
pub(crate) struct Gateways {
    listeners: Vec<TcpListener>,
    cuts: watch::Sender<Cuts>,
    work: JoinSet<()>,
}

impl Gateways {
    /// Takes a port for each master.
    ///
    /// # Errors
    /// When there are no free ports.
    pub(crate) async fn listen(masters: usize) -> anyhow::Result<Self> {
        let mut listeners = Vec::new();
        for _ in 0..masters {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.context("listen between the masters")?);
        }
        Ok(Gateways { listeners, cuts: watch::Sender::default(), work: JoinSet::new() })
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
        let folders: Arc<Vec<String>> =
            Arc::new(folders.iter().map(|folder| folder.display().to_string()).collect());
        for (to, (listener, target)) in self.listeners.drain(..).zip(targets.iter().copied()).enumerate() {
            let (folders, cuts) = (folders.clone(), self.cuts.subscribe());
            self.work.spawn(async move {
                let mut connections = JoinSet::new();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                            connections.spawn(connect(stream, to, target, folders.clone(), cuts.clone()));
                        },
                        Some(_ended) = connections.join_next() => {}
                    }
                }
            });
        }
    }

    /// Cuts these ways and no others.
    pub(crate) fn cut(&self, ways: impl IntoIterator<Item = (usize, usize)>) {
        self.cuts.send_replace(ways.into_iter().collect());
    }

    /// Lets everything through again, first of all what was held up.
    pub(crate) fn heal(&self) {
        self.cut([]);
    }
}

/// Carries one connection until it ends. Errors end it, as they would end any.
async fn connect(
    stream: TcpStream,
    to: usize,
    target: u16,
    folders: Arc<Vec<String>>,
    cuts: watch::Receiver<Cuts>,
) {
    let Ok(peer) = stream.peer_addr() else { return };
    let found = tokio::task::spawn_blocking(move || owner(peer.port(), &folders)).await;
    // A process that is gone already has nothing more to say.
    let Ok(Some(from)) = found else { return };
    // The connection itself needs both ways.
    let mut waiting = cuts.clone();
    let open = |cuts: &Cuts| !cuts.contains(&(from, to)) && !cuts.contains(&(to, from));
    if waiting.wait_for(open).await.is_err() {
        return;
    }
    let Ok(onward) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let _plain = (stream.set_nodelay(true), onward.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (stream.into_split(), onward.into_split());
    let there = carry(near_in, far_out, (from, to), cuts.clone());
    let back = carry(far_in, near_out, (to, from), cuts);
    let _ended = tokio::join!(there, back);
}

/// Carries bytes one way; what comes while the way is cut is held up, and so is the end.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: (usize, usize),
    mut cuts: watch::Receiver<Cuts>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if cuts.wait_for(|cuts| !cuts.contains(&way)).await.is_err() || count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// Which master has a socket with this local port.
fn owner(port: u16, folders: &[String]) -> Option<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1)?.rsplit_once(':')?.1;
        let inode = columns.nth(7)?;
        (u16::from_str_radix(local, 16) == Ok(port)).then(|| inode.to_owned())
    })?;
    let wanted = format!("socket:[{inode}]");
    folders.iter().position(|folder| {
        let pids = tepui::cluster::find_processes(&[(tepui::cluster::NODE_VARIABLE, Path::new(folder))]);
        pids.into_iter().any(|pid| {
            let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
            let mut targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
            targets.any(|target| target.as_os_str() == wanted.as_str())
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A connection carried from master 0 to master 1, without looking up who is who.
    async fn carried(cuts: &watch::Sender<Cuts>) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, gateway) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (onward, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let ((near_in, near_out), (far_in, far_out)) =
            (gateway.unwrap().0.into_split(), onward.unwrap().into_split());
        let (there, back) = (cuts.subscribe(), cuts.subscribe());
        let mut work = JoinSet::new();
        work.spawn(carry(near_in, far_out, (0, 1), there));
        work.spawn(carry(far_in, near_out, (1, 0), back));
        work.detach_all();
        (near.unwrap(), far.unwrap().0)
    }

    async fn arrives(to: &mut TcpStream) -> bool {
        let mut byte = [0];
        tokio::time::timeout(Duration::from_millis(100), to.read_exact(&mut byte))
            .await
            .is_ok_and(|read| read.is_ok())
    }

    #[tokio::test]
    async fn a_cut_holds_one_way_up_and_healing_lets_it_through() {
        let cuts = watch::Sender::default();
        let (mut near, mut far) = carried(&cuts).await;
        near.write_all(b"a").await.unwrap();
        assert!(arrives(&mut far).await);
        cuts.send_replace(Cuts::from([(0, 1)]));
        near.write_all(b"b").await.unwrap();
        assert!(!arrives(&mut far).await, "the way there is cut");
        far.write_all(b"c").await.unwrap();
        assert!(arrives(&mut near).await, "the way back is not");
        cuts.send_replace(Cuts::new());
        assert!(arrives(&mut far).await, "what was held up arrives");
    }

    #[test]
    fn a_socket_is_found_by_its_port_only_if_a_master_has_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(owner(port, &["/nobody/has/this/folder".to_owned()]), None);
        assert_eq!(owner(port, &[]), None);
    }
}
