//! Cursors: DECLARE, FETCH, MOVE, CLOSE, over a SELECT or a SUBSCRIBE.
//!
//! A cursor is its result, read a piece at a time: nothing is computed before it is fetched, and no more is kept than the
//! batch at hand. One over a SELECT sees the tick of its DECLARE; with WITH HOLD it outlives its block.
//!
//! A FETCH of a SELECT waits for its rows. Given up, it leaves the batch that it waits for to the next, or to CLOSE. One of a SUBSCRIBE waits for the first, and takes what is ready; with a
//! `timeout` it waits for as many as it may take, until then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{FutureExt, StreamExt};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Session;
use super::block::Block;
use super::response::{Body, Response, RowSet};
use crate::clock::deadline;
use crate::connector::options::OptionReader;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{Declare, Fetch, Name, Retrieval};

/// Cursors that one session may hold open. Each may keep a batch and a plan in memory.
const MAX_CURSORS: usize = 256;

/// The open cursors of a session.
#[derive(Default)]
pub struct Cursors(BTreeMap<String, Cursor>);

struct Cursor {
    schema: SchemaRef,
    /// Over changes as they come.
    live: bool,
    lasts: Lasts,
    rows: Arc<Mutex<Remaining>>,
}

/// How long a cursor lives, if nobody closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasts {
    /// To the end of its block.
    Block,
    /// Longer, once its block has been committed.
    Held { committed: bool },
}

/// What a cursor has not given out yet.
struct Remaining {
    stream: SendableRecordBatchStream,
    /// Rows of a batch that was given out in part.
    rest: Option<RecordBatch>,
    over: bool,
}

impl Cursors {
    pub fn close_all(&mut self) {
        self.0.clear();
    }

    /// A block has ended.
    pub fn end_block(&mut self, committed: bool) {
        self.0.retain(|_, cursor| match &mut cursor.lasts {
            Lasts::Block => false,
            Lasts::Held { committed: before } => {
                *before |= committed;
                *before
            }
        });
    }

    /// # Errors
    /// 34000 if there is none of that name.
    fn find(&self, name: &Name) -> Result<&Cursor> {
        self.0.get(&name.value).ok_or_else(|| unknown(name))
    }

    pub fn columns(&self, name: &Name) -> Result<SchemaRef> {
        Ok(Arc::clone(&self.find(name)?.schema))
    }

    pub fn columns_of(&self, name: &str) -> Option<SchemaRef> {
        self.0.get(name).map(|cursor| Arc::clone(&cursor.schema))
    }

    pub fn close(&mut self, name: &Name) -> Result<()> {
        self.0.remove(&name.value).map(drop).ok_or_else(|| unknown(name))
    }

    fn check_free(&self, name: &Name) -> Result<()> {
        if self.0.contains_key(&name.value) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(Error::new(SqlState::DuplicateCursor, message).at(name.position));
        }
        if self.0.len() >= MAX_CURSORS {
            let message = format!("too many cursors in one session (at most {MAX_CURSORS})");
            return Err(Error::new(SqlState::ConfigurationLimitExceeded, message)
                .with_hint("CLOSE those that are no longer used."));
        }
        Ok(())
    }
}

fn unknown(name: &Name) -> Error {
    let message = format!("cursor \"{name}\" does not exist");
    Error::new(SqlState::InvalidCursorName, message)
}

impl Session {
    pub(super) async fn declare(
        &mut self,
        text: &Arc<str>,
        declare: &Declare,
        parameters: &[ScalarValue],
    ) -> Result<Response> {
        if !declare.hold && !matches!(self.block, Block::Open(_)) {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Error::new(SqlState::NoActiveSqlTransaction, message)
                .with_hint("Send BEGIN first, or declare it WITH HOLD."));
        }
        self.cursors.check_free(&declare.name)?;
        let RowSet { schema, stream, live, .. } = self.retrieve(text, &declare.rows, parameters).await?;
        let lasts = match (declare.hold, &self.block) {
            (false, _) => Lasts::Block,
            (true, block) => Lasts::Held { committed: !matches!(block, Block::Open(_)) },
        };
        let rows = Arc::new(Mutex::new(Remaining { stream, rest: None, over: false }));
        self.cursors.0.insert(declare.name.value.clone(), Cursor { schema, live, lasts, rows });
        Ok(Response::command("DECLARE CURSOR"))
    }

    /// What a cursor, or COPY, reads.
    pub(super) async fn retrieve(
        &mut self,
        text: &Arc<str>,
        rows: &Retrieval,
        parameters: &[ScalarValue],
    ) -> Result<RowSet> {
        match rows {
            Retrieval::Query(query) => self.run_query(text, query, parameters).await,
            Retrieval::Subscribe(subscribe) => self.subscribe(text, subscribe).await,
        }
    }

    pub(super) async fn fetch(&self, fetch: &Fetch) -> Result<Response> {
        let cursor = self.cursors.find(&fetch.cursor)?;
        let mut options = OptionReader::new(fetch.options.clone())?;
        let timeout = options.optional::<Duration>("timeout")?;
        options.finish()?;
        let wait = match (cursor.live, timeout) {
            (false, _) => Wait::ForAll,
            (true, None) => Wait::ForOne,
            (true, Some(timeout)) => Wait::Until(Instant::from_std(deadline(timeout))),
        };
        let piece = Piece { rows: Arc::clone(&cursor.rows), left: fetch.count.map(|n| n as usize), wait };
        if fetch.moves {
            return Ok(Response::command(format!("MOVE {}", piece.skip().await?)));
        }
        let schema = Arc::clone(&cursor.schema);
        let batches =
            futures::stream::unfold(piece, |mut piece| async move { piece.next().await.map(|batch| (batch, piece)) });
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches));
        let rows = RowSet { schema, stream, live: false, timeout: None };
        Ok(Response { notices: Vec::new(), body: Body::Rows(rows) })
    }
}

/// What a FETCH waits for.
enum Wait {
    /// As many rows as it may take.
    ForAll,
    /// The first row.
    ForOne,
    /// What is ready is taken.
    ForNone,
    Until(Instant),
}

/// What one FETCH takes.
struct Piece {
    rows: Arc<Mutex<Remaining>>,
    /// `None`: all.
    left: Option<usize>,
    wait: Wait,
}

impl Piece {
    async fn next(&mut self) -> Option<DfResult<RecordBatch>> {
        if self.left == Some(0) {
            return None;
        }
        let mut rows = self.rows.lock().await;
        let batch = match &self.wait {
            Wait::ForAll | Wait::ForOne => rows.next().await,
            Wait::ForNone => rows.next().now_or_never().flatten(),
            // What is ready is taken even if the time is over: 0 s is a question, not a refusal.
            Wait::Until(end) => match rows.next().now_or_never() {
                Some(ready) => ready,
                None => tokio::time::timeout_at(*end, rows.next()).await.unwrap_or(None),
            },
        };
        let batch = match batch? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        if matches!(self.wait, Wait::ForOne) {
            self.wait = Wait::ForNone;
        }
        let taken = self.left.map_or(batch.num_rows(), |left| left.min(batch.num_rows()));
        if taken < batch.num_rows() {
            rows.rest = Some(batch.slice(taken, batch.num_rows() - taken));
        }
        self.left = self.left.map(|left| left - taken);
        Some(Ok(batch.slice(0, taken)))
    }

    /// Takes the rows for nobody; answers how many there were.
    async fn skip(mut self) -> Result<usize> {
        let mut rows = 0;
        while let Some(batch) = self.next().await {
            rows += batch?.num_rows();
        }
        Ok(rows)
    }
}

impl Remaining {
    /// The next batch that has rows. May be dropped at any await: nothing is lost.
    async fn next(&mut self) -> Option<DfResult<RecordBatch>> {
        if let Some(rest) = self.rest.take() {
            return Some(Ok(rest));
        }
        while !self.over {
            match self.stream.next().await {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => return Some(Ok(batch)),
                end => {
                    self.over = true;
                    return end;
                }
            }
        }
        None
    }
}
