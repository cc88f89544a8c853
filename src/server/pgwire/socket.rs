//! A client's TCP connection: messages in, buffered answers out.

use std::future::Future;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::Result;

/// Answers are handed to the kernel whenever this much has gathered, so a result of any size takes this much memory (and
/// one row). Large enough to make few system calls, small enough that a hundred connections need no thought.
pub const FLUSH_BYTES: usize = 64 << 10;

/// How much is read ahead from a client while its statement runs: what it pipelines, and above all the end of the
/// connection. Behind this the kernel's own buffer fills and the client waits.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// Buffers that a long message or row made larger are given back once empty.
const KEPT_BUFFER_BYTES: usize = 4 * FLUSH_BYTES;

/// A client whose machine or network has gone says nothing any more, and a session that waits (a subscription above all)
/// writes nothing that could fail. The kernel asks for it: after a minute of silence, four times at intervals of 15 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// How long what was sent may stay unacknowledged, likewise: the same two minutes. (Linux alone can be told.)
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);

/// The connection is gone, or speaks something else.
#[derive(Debug)]
pub struct Gone;

pub struct Socket {
    stream: TcpStream,
    input: BytesMut,
    pub output: BytesMut,
}

impl Socket {
    pub fn new(stream: TcpStream) -> Self {
        // Answers are whole when flushed: waiting for more to send would only add latency.
        let _ = stream.set_nodelay(true);
        notice_absence(&stream);
        Socket { stream, input: BytesMut::new(), output: BytesMut::new() }
    }

    /// The next message, as `read` cuts it from the input; `None` at the connection's end.
    pub async fn next<T>(&mut self, read: impl Fn(&mut BytesMut) -> Result<Option<T>>) -> Result<Option<T>> {
        loop {
            if let Some(message) = read(&mut self.input)? {
                return Ok(Some(message));
            }
            if self.input.is_empty() && self.input.capacity() > KEPT_BUFFER_BYTES {
                self.input = BytesMut::new();
            }
            if !matches!(self.stream.read_buf(&mut self.input).await, Ok(n) if n > 0) {
                return Ok(None);
            }
        }
    }

    /// Resolves when the client has gone; until then reads ahead what it sends.
    async fn gone(&mut self) -> Gone {
        loop {
            if self.input.len() >= READ_AHEAD_BYTES {
                std::future::pending::<()>().await;
            }
            if !matches!(self.stream.read_buf(&mut self.input).await, Ok(n) if n > 0) {
                return Gone;
            }
        }
    }

    /// Waits for `work` as long as the client is there.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Gone> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            gone = self.gone() => Err(gone),
        }
    }

    /// Sends all output. May be given up half-way and taken up again: what is sent is no longer in `output`.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        while self.output.has_remaining() {
            if !matches!(self.stream.write_buf(&mut self.output).await, Ok(n) if n > 0) {
                return Err(Gone);
            }
        }
        if self.output.capacity() > KEPT_BUFFER_BYTES {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// Sends what is left and ends the connection.
    pub async fn close(&mut self) {
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
    }
}

/// Makes the kernel end the connection of a client that has vanished. Where it cannot, the connection is served all the
/// same.
fn notice_absence(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    let told = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let told = told.and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED)));
    if let Err(error) = told {
        tracing::warn!("a client that vanishes may go unnoticed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_asks_whether_a_silent_client_is_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Socket::new(listener.accept().await.unwrap().0);
        let seen = SockRef::from(&socket.stream);
        assert!(seen.keepalive().unwrap());
        assert_eq!(seen.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(seen.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(seen.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
        #[cfg(target_os = "linux")]
        assert_eq!(seen.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
