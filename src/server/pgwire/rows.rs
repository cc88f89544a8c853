//! A result on its way out: batches become `DataRow`s in pieces that are bounded in bytes, as fast as the client takes them.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use chrono_tz::Tz;
use datafusion::execution::SendableRecordBatchStream;
use futures::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::encode::copy::Lines;
use super::encode::{Format, RowEncoder};
use super::socket::{FLUSH_BYTES, Gone, Socket};
use super::wire_type::WireType;
use crate::error::{Error, Result, SqlState};
use crate::session::{RowSet, Timeout};

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

    /// Sends what has gathered. Given up half-way, the rest stays for later. With a `limit`, a client that has not taken it
    /// by then counts as gone.
    async fn flush(&self, socket: &mut Socket, limit: Option<Duration>) -> Result<(), Failure> {
        let flush = async {
            match limit {
                None => socket.flush().await,
                Some(limit) => tokio::time::timeout(limit, socket.flush()).await.unwrap_or(Err(Gone)),
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Failure::Fatal(admin_shutdown())),
            () = self.cancel.cancelled() => Err(Failure::Statement(canceled())),
            done = flush => Ok(done?),
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

/// How a row is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// As a `DataRow`, with a format for each column.
    Rows(Vec<Format>),
    /// As a line of COPY's.
    Lines(Lines),
}

/// A result that is being sent.
pub struct Rows {
    stream: SendableRecordBatchStream,
    types: Vec<WireType>,
    shape: Shape,
    zone: Tz,
    timeout: Option<Timeout>,
    /// How long the client may take nothing.
    patience: Option<Duration>,
    /// The batch at hand, and its first row that is not sent.
    current: Option<(RowEncoder, usize)>,
}

impl Rows {
    /// `patience`: how long a client may take nothing of changes that come for ever. Whoever reads a finite result may take
    /// their time.
    pub fn new(rows: RowSet, shape: Shape, zone: Tz, patience: Duration) -> Self {
        let types = rows.schema.fields().iter().map(|f| WireType::of(f)).collect();
        let patience = rows.live.then_some(patience);
        Rows { stream: rows.stream, types, shape, zone, timeout: rows.timeout, patience, current: None }
    }

    /// The client comes back for more: its time begins anew.
    pub fn resume(&self) {
        if let Some(timeout) = &self.timeout {
            timeout.restart();
        }
    }

    /// Sends up to `limit` rows. Answers how many, and whether that was the end: a portal that stopped at its limit does not
    /// know yet. Whenever the next rows are not there yet, what has gathered is sent: who watches changes sees them.
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
                    match &self.shape {
                        Shape::Rows(_) => batch.put_row(*next, &mut socket.output)?,
                        Shape::Lines(lines) => batch.put_line(*next, lines, &mut socket.output)?,
                    }
                    (*next, sent) = (*next + 1, sent + 1);
                    if socket.output.len() >= FLUSH_BYTES {
                        guards.flush(socket, self.patience).await?;
                    }
                }
            }
            if sent >= limit {
                return Ok((sent, false));
            }
            let Some(batch) = self.next(socket, guards).await? else { return Ok((sent, true)) };
            let text = vec![Format::Text; self.types.len()];
            let formats = match &self.shape {
                Shape::Rows(formats) => formats,
                Shape::Lines(_) => &text,
            };
            self.current = Some((RowEncoder::new(&batch, &self.types, formats, self.zone)?, 0));
        }
    }

    async fn next(&mut self, socket: &mut Socket, guards: &Guards) -> Result<Option<RecordBatch>, Failure> {
        let stream = &mut self.stream;
        let ready = guards.run(socket, async { Ok(stream.next().now_or_never()) }).await?;
        if let Some(batch) = ready {
            return Ok(batch.transpose().map_err(Error::from)?);
        }
        guards.flush(socket, self.patience).await?;
        guards.run(socket, async { Ok(stream.next().await.transpose()?) }).await
    }
}
