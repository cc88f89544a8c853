//! A session of this process's own engine.

use std::sync::Arc;

use chrono_tz::Tz;

use crate::error::{Error, Result};
use crate::pipeline::Engine;
use crate::server::grid::Grid;
use crate::session::{Body, Notice, Session};
use crate::sql::Dialect;
use crate::sql::ast::Statement;

/// Runs statements one after the other.
pub struct LocalClient {
    session: Session,
}

/// What came of a statement.
pub struct Answer {
    pub notices: Vec<Notice>,
    /// Rows, if it returns any.
    pub grid: Option<Grid>,
}

impl LocalClient {
    pub fn new(engine: &Arc<Engine>) -> LocalClient {
        LocalClient { session: Session::new(Arc::clone(engine)) }
    }

    /// Reads what follows in another dialect.
    pub fn set_dialect(&mut self, dialect: Option<&str>) -> Result<()> {
        dialect.map_or(Ok(()), |dialect| self.session.set(Dialect::SETTING, dialect))
    }

    /// The statements of a script, with their places.
    pub fn parse(&self, script: &str) -> Result<Vec<Statement>> {
        self.session.parse(script)
    }

    /// The same, each for itself.
    pub fn parse_each(&self, script: &str) -> Result<Vec<Result<Statement>>> {
        self.session.parse_each(script)
    }

    /// Plans a statement without running it.
    pub async fn describe(&self, statement: &Statement) -> Result<()> {
        self.session.describe(statement, &[]).await.map(|_| ())
    }

    pub async fn execute(&mut self, statement: &Statement) -> Result<Answer> {
        let response = self.session.execute(statement, &[]).await?;
        let grid = match response.body {
            Body::Command(_) | Body::Empty => None,
            Body::Rows(rows) | Body::Copy(rows, _) if rows.live => {
                let hint = "Connect with psql and use COPY (SUBSCRIBE ...) TO STDOUT, or a cursor.";
                return Err(Error::unsupported("SUBSCRIBE in a script is not supported: it has no end", hint));
            }
            Body::Rows(rows) | Body::Copy(rows, _) => {
                Some(Grid::collect(&rows.schema, rows.stream, self.time_zone()).await?)
            }
        };
        Ok(Answer { notices: response.notices, grid })
    }

    fn time_zone(&self) -> Tz {
        self.session.setting("TimeZone").and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC)
    }

    /// Runs a text of this program's own and gives its last result.
    pub async fn query(&mut self, text: &str) -> Result<Grid> {
        let mut last = None;
        for statement in self.parse(text)? {
            last = self.execute(&statement).await?.grid;
        }
        last.ok_or_else(|| Error::internal("the query returned no rows"))
    }
}
