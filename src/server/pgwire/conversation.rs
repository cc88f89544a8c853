//! What a connection asks of its session: the seam between the protocol and SQL. The engine's sessions are one side of it,
//! those of this module's tests, which can hang, fail and never end, the other.

use std::future::Future;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;

use crate::error::Result;
use crate::session::{Description, Response, Transaction};
use crate::types::SqlType;

/// What a statement takes from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deallocated<'a> {
    One(&'a str),
    All,
}

/// One session; dropped with its connection.
pub trait Conversation: Send + Sync + 'static {
    type Statement: Send + Sync + 'static;

    /// The statements of a text; none if it is empty.
    fn parse(&self, text: &str) -> Result<Vec<Self::Statement>>;

    /// Types of the statement's parameters ($1 first; `types` are those that the client names) and its columns. May be
    /// dropped as `execute` may.
    fn describe(
        &self,
        statement: &Self::Statement,
        types: &[Option<SqlType>],
    ) -> impl Future<Output = Result<Description>> + Send;

    /// Runs a statement. May be dropped at any await, when it is cancelled or its client goes away.
    fn execute(
        &mut self,
        statement: &Self::Statement,
        parameters: &[ScalarValue],
    ) -> impl Future<Output = Result<Response>> + Send;

    /// The statement's command in capitals ("SELECT", "CREATE SOURCE"): its tag, and its label in the metrics.
    fn command(statement: &Self::Statement) -> String;

    /// The prepared statement that a DEALLOCATE names: the connection holds it.
    fn deallocates(statement: &Self::Statement) -> Option<Deallocated<'_>>;

    /// Characters of the text in front of the statement: errors count places from the statement's beginning, clients from
    /// the text's.
    fn offset(statement: &Self::Statement) -> usize;

    /// The columns of an open cursor of SQL's: to the protocol it is a portal like others.
    fn cursor_columns(&self, name: &str) -> Option<SchemaRef>;

    fn transaction(&self) -> Transaction;

    /// Something failed outside of `execute` (a bad text, a cancelled statement, a broken row): an open transaction block has
    /// failed with it.
    fn fail(&mut self);

    /// The present value of a setting, if the session knows it.
    fn setting(&self, name: &str) -> Option<String>;

    /// What the client asked for when it connected.
    fn set(&mut self, name: &str, value: &str) -> Result<()>;
}
