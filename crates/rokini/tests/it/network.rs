//! A network that fails: a relay in front of a server, whose connections fall silent, half close, break, lag, crawl, are
//! refused or arrive in another order. It carries bytes, so TLS and HTTP/2 pass as they are.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
    Both,
}

impl Way {
    fn includes(self, other: Self) -> bool {
        self == Self::Both || self == other
    }
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Nothing passes any more, and nobody is told.
    Silence(Way),
    /// The end of the stream is shown to one side.
    HalfClose(Way),
    /// RST to both sides.
    Reset,
    /// Every piece takes so much longer.
    Delay(Duration),
    /// Bytes a second, each way.
    Throttle(u32),
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Condition {
    fault: Option<Fault>,
}

/// What becomes of connections that are opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arrivals {
    #[default]
    Accepted,
    /// RST at once, as from a port where nobody listens.
    Refused,
    /// Nobody answers the first byte.
    Silent,
    /// Those that come within 50 ms reach the server in a random order.
    Reordered,
}

#[derive(Debug)]
struct State {
    connections: Vec<watch::Sender<Condition>>,
    opened: usize,
    arrivals: Arrivals,
    rng: SmallRng,
}

/// The relay. Dropping it cuts everything.
#[derive(Debug)]
pub struct Network {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Network {
    /// In front of the server at this address. `seed` decides what is random.
    pub async fn before(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            connections: Vec::new(),
            opened: 0,
            arrivals: Arrivals::Accepted,
            rng: SmallRng::seed_from_u64(seed),
        };
        let state = Arc::new(Mutex::new(state));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, Arc::clone(&state)));
        Self { address, state, _tasks: tasks }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> usize {
        self.state.lock().unwrap().opened
    }

    /// Does this to every connection that is open now. Later ones are sound.
    pub fn strike(&self, fault: Fault) {
        for connection in &self.state.lock().unwrap().connections {
            connection.send_replace(Condition { fault: Some(fault) });
        }
    }

    /// Waits until every connection that was struck is gone: until then an answer may still pass.
    pub async fn until_gone(&self) {
        loop {
            let open = |connection: &watch::Sender<Condition>| !connection.is_closed();
            if !self.state.lock().unwrap().connections.iter().any(open) {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Does this to a share of the connections, chosen at random.
    pub fn strike_some(&self, fault: Fault, share: f64) {
        let mut state = self.state.lock().unwrap();
        let State { connections, rng, .. } = &mut *state;
        for connection in connections.iter().filter(|_| rng.random_bool(share)) {
            connection.send_replace(Condition { fault: Some(fault) });
        }
    }

    /// What is done to connections that are opened from now on.
    pub fn arrivals(&self, arrivals: Arrivals) {
        self.state.lock().unwrap().arrivals = arrivals;
    }

    /// One fault after the other, as the seed has it, for so long; then all that can heal is healed: new connections
    /// pass, delays end.
    pub async fn rage(&self, lasts: Duration) -> usize {
        let ends = Instant::now() + lasts;
        let mut faults = 0;
        while Instant::now() < ends {
            let (fault, share, arrivals, pause) = {
                let rng = &mut self.state.lock().unwrap().rng;
                let arrivals = match rng.random_range(0..10) {
                    0 => Arrivals::Refused,
                    1 => Arrivals::Silent,
                    2 | 3 => Arrivals::Reordered,
                    _ => Arrivals::Accepted,
                };
                let pause = Duration::from_millis(rng.random_range(200..4_000));
                (random_fault(rng), rng.random_range(0.2..1.0), arrivals, pause)
            };
            self.strike_some(fault, share);
            self.arrivals(arrivals);
            faults += 1;
            sleep(pause).await;
        }
        self.arrivals(Arrivals::Accepted);
        for connection in &self.state.lock().unwrap().connections {
            connection.send_if_modified(|condition| {
                let slow = matches!(condition.fault, Some(Fault::Delay(_) | Fault::Throttle(_)));
                if slow {
                    condition.fault = None;
                }
                slow
            });
        }
        faults
    }
}

fn random_fault(rng: &mut SmallRng) -> Fault {
    let way = [Way::ToServer, Way::ToClient, Way::Both][rng.random_range(0..3)];
    match rng.random_range(0..6) {
        0 | 1 => Fault::Silence(way),
        2 => Fault::HalfClose(way),
        3 => Fault::Reset,
        4 => Fault::Delay(Duration::from_millis(rng.random_range(1..1_500))),
        _ => Fault::Throttle(rng.random_range(500..100_000)),
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: Arc<Mutex<State>>) {
    let mut tasks = JoinSet::new();
    let mut held = Vec::new();
    let mut release: Option<Instant> = None;
    loop {
        let due = async {
            match release {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => Some(accepted.unwrap().0),
            () = due => None,
        };
        while tasks.try_join_next().is_some() {}
        let Some(client) = accepted else {
            held.shuffle(&mut state.lock().unwrap().rng);
            for client in held.drain(..) {
                carry_one(&mut tasks, client, server, &state, Condition::default());
            }
            release = None;
            continue;
        };
        let arrivals = {
            let mut state = state.lock().unwrap();
            state.opened += 1;
            state.arrivals
        };
        match arrivals {
            Arrivals::Accepted => carry_one(&mut tasks, client, server, &state, Condition::default()),
            Arrivals::Refused => reset(&client),
            Arrivals::Silent => {
                let condition = Condition { fault: Some(Fault::Silence(Way::Both)) };
                carry_one(&mut tasks, client, server, &state, condition);
            }
            Arrivals::Reordered => {
                held.push(client);
                release.get_or_insert_with(|| Instant::now() + Duration::from_millis(50));
            }
        }
    }
}

fn carry_one(
    tasks: &mut JoinSet<()>,
    client: TcpStream,
    server: SocketAddr,
    state: &Mutex<State>,
    condition: Condition,
) {
    let (sender, receiver) = watch::channel(condition);
    let mut state = state.lock().unwrap();
    state.connections.retain(|connection| !connection.is_closed());
    state.connections.push(sender);
    tasks.spawn(carry(client, server, receiver));
}

async fn carry(mut client: TcpStream, server: SocketAddr, condition: watch::Receiver<Condition>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(&client) };
    let mut watched = condition.clone();
    let broken = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let both = async {
            tokio::join!(
                pump(from_client, to_server, Way::ToServer, condition.clone()),
                pump(from_server, to_client, Way::ToClient, condition.clone()),
            )
        };
        tokio::select! {
            _ = watched.wait_for(|condition| condition.fault == Some(Fault::Reset)) => true,
            (up, down) = both => up.is_err() || down.is_err(),
        }
    };
    if broken {
        reset(&client);
        reset(&server);
    }
}

/// Dropped after that, it sends RST.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// Carries one way until it ends. `Err`: one of the two sides broke off.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    mut condition: watch::Receiver<Condition>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let fault = condition.borrow_and_update().fault;
        let limit = match fault {
            Some(Fault::Silence(silent)) if silent.includes(way) => {
                // The relay is gone: so is the connection.
                if condition.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            Some(Fault::HalfClose(closed)) if closed.includes(way) => return to.shutdown().await,
            Some(Fault::Throttle(rate)) => (rate as usize / 20).clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let read = tokio::select! {
            biased;
            changed = condition.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
            read = from.read(&mut buffer[..limit]) => read?,
        };
        if read == 0 {
            return to.shutdown().await;
        }
        match fault {
            Some(Fault::Delay(delay)) => sleep(delay).await,
            Some(Fault::Throttle(rate)) => {
                sleep(Duration::from_secs_f64(read as f64 / f64::from(rate))).await;
            }
            _ => {}
        }
        to.write_all(&buffer[..read]).await?;
    }
}
