//! What a statement answers.

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;

use super::timeout::Timeout;
use crate::error::{Error, SqlState};
use crate::sql::ast::CopyFormat;
use crate::types::SqlType;

/// What a statement takes and gives. `columns` `None`: it returns no rows.
#[derive(Debug, Clone)]
pub struct Description {
    /// $1 first.
    pub parameters: Vec<SqlType>,
    pub columns: Option<SchemaRef>,
}

pub struct Response {
    pub notices: Vec<Notice>,
    pub body: Body,
}

pub enum Body {
    /// The command tag, as PostgreSQL words it.
    Command(String),
    Rows(RowSet),
    /// The same as text, a line a row: COPY ... TO STDOUT.
    Copy(RowSet, CopyFormat),
    /// The text held no statement.
    Empty,
}

/// Rows are computed as they are read. Dropping the stream ends the query.
pub struct RowSet {
    pub schema: SchemaRef,
    pub stream: SendableRecordBatchStream,
    /// Changes as they come: the stream ends with an error, or when it is dropped.
    pub live: bool,
    /// What bounds the time in which the rows must be read, if anything does.
    pub timeout: Option<Timeout>,
}

/// Something to tell the user that is no error.
#[derive(Debug, Clone)]
pub struct Notice {
    /// NOTICE or WARNING.
    pub severity: &'static str,
    pub what: Error,
}

/// Where a session stands with its transaction block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    Idle,
    InBlock,
    /// Something in the block failed: it only waits for its end.
    Failed,
}

impl Response {
    pub fn command(tag: impl Into<String>) -> Self {
        Response { notices: Vec::new(), body: Body::Command(tag.into()) }
    }

    pub fn with(mut self, notice: Option<Notice>) -> Self {
        self.notices.extend(notice);
        self
    }
}

impl Notice {
    pub fn info(message: impl Into<String>) -> Self {
        Notice { severity: "NOTICE", what: Error::new(SqlState::SuccessfulCompletion, message) }
    }

    pub fn warning(state: SqlState, message: impl Into<String>) -> Self {
        Notice { severity: "WARNING", what: Error::new(state, message) }
    }
}
