//! What listens: the PostgreSQL protocol and HTTP.
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
