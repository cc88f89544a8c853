//! A result on its way out: batches become `DataRow`s in pieces that are bounded in bytes, as fast as the client takes them.

use arrow::datatypes::{Schema, SchemaRef};
use chrono_tz::Tz;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::encode::{Format, RowEncoder};
use super::socket::{FLUSH_BYTES, Gone, Socket};
use super::wire_type::WireType;
use crate::error::{Error, Result, SqlState};

/// Why a statement's answer ends early.
#[derive(Debug)]
pub enum Failure {
    /// The statement has failed; the connection goes on.
    Statement(Error),
    /// The connection must end, after saying why.
    Fatal(Error),
    Gone,
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Statement(e)
    }
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Failure::Gone
    }
}

impl Failure {
    /// Of a statement that has `offset` characters of its text in front.
    pub fn in_text(self, offset: usize) -> Self {
        match self {
            Failure::Statement(e) => Failure::Statement(in_text(e, offset)),
            other => other,
        }
    }
}

/// An error that points into a statement, pointing into the text that has `offset` characters in front of it.
pub fn in_text(error: Error, offset: usize) -> Error {
    match error.position() {
        Some(position) => error.moved_to(position + offset),
        None => error,
    }
}

/// What may end a statement from outside.
pub struct Guards {
    /// Ctrl-C.
    pub cancel: CancellationToken,
    /// The server stops.
    pub shutdown: CancellationToken,
}

impl Guards {
    /// Waits for `work` unless the statement is cancelled, the server stops or the client goes away; then `work` is dropped.
    pub async fn run<T>(&self, socket: &mut Socket, work: impl Future<Output = Result<T>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Failure::Fatal(admin_shutdown())),
            () = self.cancel.cancelled() => Err(Failure::Statement(canceled())),
            done = socket.during(work) => Ok(done??),
        }
    }

    /// Sends what has gathered. Given up half-way, the rest stays for later.
    async fn flush(&self, socket: &mut Socket) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Failure::Fatal(admin_shutdown())),
            () = self.cancel.cancelled() => Err(Failure::Statement(canceled())),
            done = socket.flush() => Ok(done?),
        }
    }
}

pub fn canceled() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling statement due to user request")
}

pub fn admin_shutdown() -> Error {
    Error::new(SqlState::AdminShutdown, "terminating connection due to administrator command")
}

/// Column names and types as they are announced.
pub fn columns_of(schema: &Schema) -> Vec<(String, WireType)> {
    schema.fields().iter().map(|f| (f.name().clone(), WireType::of(f))).collect()
}

/// A result that is being sent.
pub struct Rows {
    stream: SendableRecordBatchStream,
    types: Vec<WireType>,
    formats: Vec<Format>,
    zone: Tz,
    /// The batch at hand, and its first row that is not sent.
    current: Option<(RowEncoder, usize)>,
}

impl Rows {
    /// `formats`: one for each column of `schema`.
    pub fn new(schema: &SchemaRef, stream: SendableRecordBatchStream, formats: Vec<Format>, zone: Tz) -> Self {
        let types = schema.fields().iter().map(|f| WireType::of(f)).collect();
        Rows { stream, types, formats, zone, current: None }
    }

    /// Sends up to `limit` rows. Answers how many, and whether that was the end: a portal that stopped at its limit does not
    /// know yet.
    pub async fn send(
        &mut self,
        socket: &mut Socket,
        guards: &Guards,
        limit: Option<usize>,
    ) -> Result<(usize, bool), Failure> {
        let limit = limit.unwrap_or(usize::MAX);
        let mut sent = 0;
        loop {
            if let Some((batch, next)) = &mut self.current {
                while *next < batch.rows() && sent < limit {
                    batch.put_row(*next, &mut socket.output)?;
                    (*next, sent) = (*next + 1, sent + 1);
                    if socket.output.len() >= FLUSH_BYTES {
                        guards.flush(socket).await?;
                    }
                }
            }
            if sent >= limit {
                return Ok((sent, false));
            }
            let stream = &mut self.stream;
            let batch = guards.run(socket, async { Ok(stream.next().await.transpose()?) }).await?;
            let Some(batch) = batch else { return Ok((sent, true)) };
            self.current = Some((RowEncoder::new(&batch, &self.types, &self.formats, self.zone)?, 0));
        }
    }
}
