//! The PostgreSQL protocol, so that psql and every driver can talk to Tidemill.
//!
//! What comes in, in the order in which it passes the files:
//!
//! 1. [`Listener::run`] takes connections, each a task of its own; [`startup`] declines encryption, passes a Ctrl-C on
//!    ([`cancel`]) or opens a session.
//! 2. [`message`] reads the client's messages, trusting no length in them; [`socket`] buffers.
//! 3. [`connection`] runs them against the session ([`conversation`]); [`extended`] keeps prepared statements and portals,
//!    whose parameters [`decode`] reads (text by [`crate::format::postgres`], as CSV does).
//! 4. [`rows`] sends results in bounded pieces, [`encode`] writes values, [`wire_type`] announces them, [`reply`] writes
//!    every other answer.
//!
//! What does not live here: SQL. A text goes to the session as it came.
//!
//! What stays true: a connection holds its session, one batch of a result, and buffers of bounded size, whatever the size of
//! the result; when the client goes away, all of it goes, in the midst of a statement too. At most [`MAX_SESSIONS`] at once.

mod cancel;
mod connection;
pub mod conversation;
mod decode;
pub mod encode;
mod extended;
mod message;
mod reply;
mod rows;
mod socket;
mod startup;
pub mod wire_type;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use conversation::Conversation;

use crate::error::Result;
use crate::metrics::Metrics;
use crate::session::Client;

/// Sessions at once (PostgreSQL's default `max_connections`): each may hold a result's batch and a plan in memory.
pub const MAX_SESSIONS: usize = 100;

/// Connections that are no sessions (yet): starting, cancelling, being refused. Room enough that a Ctrl-C gets through
/// when all sessions are taken.
const MAX_STARTING: usize = 64;

/// How long connections may take to say goodbye when the server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How long to wait after a failed accept: out of file handles, mostly, which others must first give back.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

#[expect(clippy::disallowed_methods, reason = "nothing tells when there are file handles again")]
async fn pause() {
    tokio::time::sleep(ACCEPT_RETRY).await;
}

/// Opens a session for a client.
pub type Opener<C> = dyn Fn(Client) -> Result<C> + Send + Sync;

/// What all connections share.
pub struct Context {
    cancellations: Arc<cancel::Cancellations>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    sessions: Arc<Semaphore>,
}

/// A bound address; clients that connect now wait until [`Listener::run`].
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let listener = super::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Listener { listener, address })
    }

    /// The real address, where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, and then until all connections are closed.
    pub async fn run<C: Conversation>(self, open: Arc<Opener<C>>, metrics: Arc<Metrics>, shutdown: CancellationToken) {
        let sessions = Arc::new(Semaphore::new(MAX_SESSIONS));
        let context = Arc::new(Context { cancellations: Arc::default(), metrics, shutdown, sessions });
        let places = Arc::new(Semaphore::new(MAX_SESSIONS + MAX_STARTING));
        let mut connections = JoinSet::new();
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let accepted = tokio::select! {
                () = context.shutdown.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let serve = startup::serve(stream, Arc::clone(&context), Arc::clone(&open));
                    connections.spawn(async move {
                        serve.await;
                        drop(place);
                    });
                }
                Err(e) => {
                    tracing::warn!("a connection could not be accepted: {e}");
                    pause().await;
                }
            }
        }
        drop(self.listener);
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, async { while connections.join_next().await.is_some() {} }).await;
    }
}
