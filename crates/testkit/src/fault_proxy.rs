//! A network between two programs, and what happens to networks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// How a statement of PostgreSQL's that commits begins.
const COMMIT: &[u8] = b"COMMIT";
/// How the text of one begins that is a transaction by itself. A server is told it once for each connection,
const INSERT: &[u8] = b"INSERT INTO session ";
/// and from then on by the name that the driver gives to the first statement of a connection.
const FIRST_STATEMENT: &[u8] = b"\0sqlx_s_1\0";

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It passes everything on.
    Passes,
    /// It resets every connection there is, and every new one.
    Resets,
    /// It accepts connections and bytes and passes nothing on, until it passes again; then nothing is lost.
    Stalls,
    /// The other side is gone and nobody says so: connections stay open and dead for ever, new ones as well.
    IsHalfOpen,
    /// It resets a connection as soon as the answer to a COMMIT is there, which is not passed on.
    LosesCommits,
}

/// A network on a port of its own, in front of another port. It is gone when this is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// A network that passes everything on to this port of the loopback interface.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let network = watch::Sender::new(Network::Passes);
        let seen = network.subscribe();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(between(client, port, seen.clone()));
            }
        });
        Self { address, network, accepting }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on the network does this.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection, from its beginning to its end.
async fn between(client: TcpStream, port: u16, mut network: watch::Receiver<Network>) {
    let now = *network.borrow_and_update();
    match now {
        Network::Resets => return reset(&client),
        Network::IsHalfOpen => return dead(client, network).await,
        Network::Passes | Network::Stalls | Network::LosesCommits => {}
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return reset(&client) };
    let ((from_client, mut to_client), (from_server, mut to_server)) = (client.into_split(), server.into_split());
    let (committing, lost) = (AtomicBool::new(false), Notify::new());
    let inserts = AtomicBool::new(false);
    let up = pass(&from_client, &mut to_server, network.clone(), |network, bytes| {
        let told = |what: &[u8]| bytes.windows(what.len()).any(|some| some == what);
        let is_commit = told(COMMIT) || (inserts.load(Ordering::Relaxed) && told(FIRST_STATEMENT));
        inserts.fetch_or(told(INSERT), Ordering::Relaxed);
        committing.fetch_or(network == Network::LosesCommits && is_commit, Ordering::Relaxed);
        true
    });
    let down = pass(&from_server, &mut to_client, network.clone(), |_, _| {
        let is_lost = committing.load(Ordering::Relaxed);
        if is_lost {
            lost.notify_one();
        }
        !is_lost
    });
    let mut network_seen = network.clone();
    tokio::select! {
        _ = async { tokio::join!(up, down) } => return,
        () = lost.notified() => {}
        // An error means that the proxy is gone.
        _ = network_seen.wait_for(|network| matches!(network, Network::Resets | Network::IsHalfOpen)) => {}
    }
    drop((from_server, to_server));
    let Ok(client) = from_client.reunite(to_client) else { return };
    match *network.borrow() {
        Network::IsHalfOpen => {}
        _ => return reset(&client),
    }
    dead(client, network).await;
}

/// Passes bytes on in one direction while the network does, until their end or until some of them are not `wanted`.
async fn pass(
    from: &OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    wanted: impl Fn(Network, &[u8]) -> bool,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        if from.readable().await.is_err() || network.wait_for(|network| *network != Network::Stalls).await.is_err() {
            break;
        }
        match from.try_read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => {
                let Some(read) = bytes.get(..read) else { break };
                let now = *network.borrow();
                if !wanted(now, read) {
                    return;
                }
                if to.write_all(read).await.is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    // The other side may be gone already.
    let _ = to.shutdown().await;
}

/// A connection whose other side is gone: whatever is sent is swallowed, and nothing ever comes back, whatever the network does later.
async fn dead(mut client: TcpStream, network: watch::Receiver<Network>) {
    let mut bytes = vec![0; 16 * 1024];
    while client.read(&mut bytes).await.is_ok_and(|read| read > 0) && network.has_changed().is_ok() {}
}

fn reset(client: &TcpStream) {
    // A socket that cannot be set so is closed in order, which is a fault as well.
    let _ = client.set_zero_linger();
}
