//! `statement_timeout`: how long a statement may take, until its last row is sent.
//!
//! As in PostgreSQL a FETCH counts for itself, and so does each Execute of a portal that is read in pieces. What goes on for
//! ever (COPY of a SUBSCRIBE) is no statement that takes too long.

use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::response::{Body, Response, RowSet};
use crate::clock::deadline;
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::through;

/// The time that a running statement has left.
#[derive(Debug, Clone)]
pub struct Timeout {
    limit: Duration,
    end: Arc<Mutex<Instant>>,
}

impl Timeout {
    pub fn start(limit: Duration) -> Timeout {
        Timeout { limit, end: Arc::new(Mutex::new(ends(limit))) }
    }

    /// The client asks for more rows of a result that it reads in pieces.
    pub fn restart(&self) {
        *self.end.lock() = ends(self.limit);
    }

    /// # Errors
    /// 57014 when the time is over; the work is dropped.
    pub async fn bound<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let end = *self.end.lock();
        timeout_at(end, work).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// The answer, its rows bounded by what is left of the time.
    pub fn bound_rows(self, response: Response) -> Response {
        let Response { notices, body } = response;
        let body = match body {
            Body::Rows(rows) if !rows.live => Body::Rows(self.timed(rows)),
            Body::Copy(rows, format) if !rows.live => Body::Copy(self.timed(rows), format),
            body => body,
        };
        Response { notices, body }
    }

    fn timed(self, rows: RowSet) -> RowSet {
        let timeout = self.clone();
        let stream = futures::stream::unfold(rows.stream, move |mut stream| {
            let timeout = timeout.clone();
            async move {
                match timeout.bound(async { Ok(stream.next().await) }).await {
                    Ok(next) => next.map(|batch| (batch, stream)),
                    Err(error) => Some((Err(through(error)), stream)),
                }
            }
        });
        let stream: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&rows.schema), stream));
        RowSet { stream, timeout: Some(self), ..rows }
    }
}

fn ends(limit: Duration) -> Instant {
    Instant::from_std(deadline(limit))
}

fn timed_out() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling statement due to statement timeout")
        .with_hint("SET statement_timeout = 0 lifts the limit.")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::pipeline::{Engine, EngineConfig};
    use crate::session::Session;

    /// All planners are busy: whoever waits for one does so no longer than it may, and holds no thread of the sessions.
    #[tokio::test]
    async fn a_statement_that_is_being_planned_ends_in_time() {
        let engine = Engine::open(EngineConfig::default()).await.unwrap();
        let (finish, finished) = mpsc::channel::<()>();
        let finished = Arc::new(Mutex::new(finished));
        let planning = async || {
            let finished = Arc::clone(&finished);
            engine.queries().plan(move || Ok(finished.lock().recv().is_ok())).await
        };
        while tokio::time::timeout(Duration::from_millis(50), engine.queries().plan(|| Ok(()))).await.is_ok() {
            assert!(tokio::time::timeout(Duration::from_millis(1), planning()).await.is_err());
        }
        let mut session = Session::new(Arc::clone(&engine));
        session.set("statement_timeout", "20ms").unwrap();
        for text in ["SELECT 1", "EXPLAIN SELECT 1", "CREATE MATERIALIZED VIEW v AS SELECT 1 AS one"] {
            let statements = session.parse(text).unwrap();
            let described = session.describe(&statements[0], &[]).await.map(drop);
            let ended = session.execute(&statements[0], &[]).await.map(drop);
            assert_eq!(ended.unwrap_err().state(), SqlState::QueryCanceled, "{text}");
            if text.starts_with("SELECT") {
                assert_eq!(described.unwrap_err().state(), SqlState::QueryCanceled, "{text}");
            }
        }
        drop(finish);
        session.set("statement_timeout", "0").unwrap();
        let statements = session.parse("SELECT 1").unwrap();
        assert!(session.execute(&statements[0], &[]).await.is_ok());
        engine.shutdown().await;
    }
}
