//! What listens: PostgreSQL's protocol and HTTP.
//!
//! - [`pgwire`]: psql and drivers; a session for each connection.
//! - [`http`]: `/healthz` and `/metrics`.
//! - [`engine`]: the engine as these two see it.
//! - [`grid`]: a whole result as text, for the command line.
//!
//! What does not live here: SQL, settings and transactions (`session/`), and what the numbers of `/metrics` mean
//! (`metrics`). This is the only room that names pgwire and axum.
//!
//! Invariants: an address is bound before anything is served, so that port 0 tells its real number; whatever listens ends
//! when its token is cancelled, and waits for those it serves, though not for ever.

pub mod engine;
pub mod grid;
pub mod http;
pub mod pgwire;

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::error::{Error, Result, SqlState};

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|e| Error::new(SqlState::ConnectionFailure, format!("cannot listen on {address}: {e}")))
}
