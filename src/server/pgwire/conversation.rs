//! What a connection asks of its session: the seam between the protocol and SQL.

use std::future::Future;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;

use crate::error::{Error, Result};
use crate::types::SqlType;

/// One session; dropped with its connection.
pub trait Conversation: Send + 'static {
    type Statement: Send + Sync + 'static;

    /// The statements of a text; none if it is empty.
    fn parse(&self, text: &str) -> Result<Vec<Self::Statement>>;

    /// Types of the statement's parameters ($1 first; `types` are those that the client names) and its columns.
    fn describe(&self, statement: &Self::Statement, types: &[Option<SqlType>]) -> Result<Description>;

    /// Runs a statement. May be dropped at any await, when it is cancelled or its client goes away.
    fn execute(
        &mut self,
        statement: &Self::Statement,
        parameters: &[ScalarValue],
    ) -> impl Future<Output = Result<Response>> + Send;

    /// The statement's command in capitals ("SELECT", "CREATE SOURCE"): its tag, and its label in the metrics.
    fn command(statement: &Self::Statement) -> String;

    fn transaction(&self) -> Transaction;

    /// Something failed outside of `execute` (a bad text, a cancelled statement, a broken row): an open transaction block has
    /// failed with it.
    fn fail(&mut self);

    /// The present value of a setting, if the session knows it.
    fn setting(&self, name: &str) -> Option<String>;

    /// What the client asked for when it connected.
    fn set(&mut self, name: &str, value: &str) -> Result<()>;
}

/// What a statement takes and gives. `columns` `None`: it returns no rows.
#[derive(Debug, Clone)]
pub struct Description {
    pub parameters: Vec<SqlType>,
    pub columns: Option<SchemaRef>,
}

/// A statement's answer.
pub struct Response {
    pub notices: Vec<Notice>,
    pub body: Body,
}

pub enum Body {
    /// The command tag, as PostgreSQL words it.
    Command(String),
    Rows {
        schema: SchemaRef,
        stream: SendableRecordBatchStream,
    },
}

/// Something to tell the user that is no error.
pub struct Notice {
    /// NOTICE, WARNING or INFO.
    pub severity: &'static str,
    pub what: Error,
}

/// Where a session stands with its transaction block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    Idle,
    InBlock,
    Failed,
}
