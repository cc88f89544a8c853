//! The engine as the protocols see it: a session for each connection, and what the pages for machines show.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;

use super::http::Observed;
use super::pgwire::conversation::{Conversation, Deallocated};
use crate::error::Result;
use crate::pipeline::Engine;
use crate::session::{Client, Description, Response, Session, Transaction};
use crate::sql::ast::{Statement, StatementKind};
use crate::types::SqlType;

/// A session as a connection holds it.
pub struct EngineSession(Session);

impl EngineSession {
    /// What a listener calls for each client.
    pub fn opener(engine: &Arc<Engine>) -> Arc<dyn Fn(Client) -> Result<EngineSession> + Send + Sync> {
        let engine = Arc::clone(engine);
        Arc::new(move |client| Ok(EngineSession(Session::of(Arc::clone(&engine), client))))
    }
}

impl Conversation for EngineSession {
    type Statement = Statement;

    fn parse(&self, text: &str) -> Result<Vec<Statement>> {
        self.0.parse(text)
    }

    async fn describe(&self, statement: &Statement, types: &[Option<SqlType>]) -> Result<Description> {
        self.0.describe(statement, types).await
    }

    async fn execute(&mut self, statement: &Statement, parameters: &[ScalarValue]) -> Result<Response> {
        self.0.execute(statement, parameters).await
    }

    fn command(statement: &Statement) -> String {
        Session::command(statement).to_string()
    }

    fn deallocates(statement: &Statement) -> Option<Deallocated<'_>> {
        match &statement.kind {
            StatementKind::Deallocate(Some(name)) => Some(Deallocated::One(name)),
            StatementKind::Deallocate(None) | StatementKind::DiscardAll => Some(Deallocated::All),
            _ => None,
        }
    }

    fn offset(statement: &Statement) -> usize {
        statement.offset
    }

    fn cursor_columns(&self, name: &str) -> Option<SchemaRef> {
        self.0.cursor_columns(name)
    }

    fn transaction(&self) -> Transaction {
        self.0.transaction()
    }

    fn fail(&mut self) {
        self.0.fail();
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.0.setting(name)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.0.set(name, value)
    }
}

impl Observed for Engine {
    fn jobs_by_state(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for job in self.jobs() {
            *counts.entry(job.state.to_string().to_lowercase()).or_default() += 1;
        }
        counts
    }

    fn memory_used_bytes(&self) -> usize {
        self.budget().used_bytes()
    }
}
