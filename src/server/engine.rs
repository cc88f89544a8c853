//! The engine as the protocols see it: a session for each connection, and what the pages for machines show.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::ScalarValue;

use super::http::Observed;
use super::pgwire::Client;
use super::pgwire::conversation::{Body, Conversation, Description, Notice, Response, Transaction};
use crate::error::Result;
use crate::pipeline::Engine;
use crate::session::{self, Session};
use crate::sql::ast::Statement;
use crate::sql::parse::shift;
use crate::types::SqlType;

/// A session as a connection holds it.
pub struct EngineSession(Session);

impl EngineSession {
    /// What a listener calls for each client.
    pub fn opener(engine: &Arc<Engine>) -> Arc<dyn Fn(Client) -> Result<EngineSession> + Send + Sync> {
        let engine = Arc::clone(engine);
        Arc::new(move |_| Ok(EngineSession(Session::new(Arc::clone(&engine)))))
    }
}

impl Conversation for EngineSession {
    type Statement = Statement;

    fn parse(&self, text: &str) -> Result<Vec<Statement>> {
        self.0.parse(text)
    }

    fn describe(&self, statement: &Statement, types: &[Option<SqlType>]) -> Result<Description> {
        let described = self.0.describe(statement, types).map_err(|e| shift(e, statement.offset));
        let session::Description { parameters, columns } = described?;
        Ok(Description { parameters, columns })
    }

    async fn execute(&mut self, statement: &Statement, parameters: &[ScalarValue]) -> Result<Response> {
        let answer = self.0.execute(statement, parameters).await;
        // A client counts from the beginning of the text that it sent.
        let session::Response { notices, body } = answer.map_err(|e| shift(e, statement.offset))?;
        let notice = |n: session::Notice| Notice { severity: n.severity, what: n.what };
        let body = match body {
            session::Body::Command(tag) => Body::Command(tag),
            session::Body::Rows { schema, stream } => Body::Rows { schema, stream },
            session::Body::Empty => Body::Command(String::new()),
        };
        Ok(Response { notices: notices.into_iter().map(notice).collect(), body })
    }

    fn command(statement: &Statement) -> String {
        Session::command(statement).to_string()
    }

    fn transaction(&self) -> Transaction {
        match self.0.transaction() {
            session::Transaction::Idle => Transaction::Idle,
            session::Transaction::InBlock => Transaction::InBlock,
            session::Transaction::Failed => Transaction::Failed,
        }
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
