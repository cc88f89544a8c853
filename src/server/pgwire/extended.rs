//! The extended protocol's things: prepared statements and portals.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use super::conversation::Conversation;
use super::decode;
use super::encode::Format;
use super::message::{Bind, violation};
use super::rows::{Rows, in_text};
use super::wire_type::parameter_type;
use crate::error::{Error, Result, SqlState};
use crate::session::Description;

/// Prepared statements and portals that one connection may hold. Drivers keep a few hundred; what comes near this leaks.
const MAX_PREPARED: usize = 4_096;

pub struct Prepared<S> {
    /// `None`: an empty text.
    pub statement: Option<Arc<S>>,
    pub description: Description,
    /// Object ids of the parameters' types: the client's where it named one.
    pub oids: Vec<u32>,
}

pub struct Portal<S> {
    pub state: PortalState<S>,
    pub columns: Option<SchemaRef>,
    pub formats: Vec<Format>,
}

pub enum PortalState<S> {
    /// An empty text.
    Empty,
    Ready {
        statement: Arc<S>,
        parameters: Vec<ScalarValue>,
    },
    /// Some rows are sent, maybe not all.
    Running {
        rows: Rows,
        command: String,
    },
    /// All rows are sent (`Some`: the command), or the command has run.
    Done(Option<String>),
}

/// What a connection has prepared. The empty name is the unnamed statement or portal, which is replaced without asking.
pub struct Prepares<S> {
    statements: HashMap<String, Arc<Prepared<S>>>,
    portals: HashMap<String, Portal<S>>,
}

impl<S> Default for Prepares<S> {
    fn default() -> Self {
        Prepares { statements: HashMap::new(), portals: HashMap::new() }
    }
}

impl<S: Send + Sync + 'static> Prepares<S> {
    pub async fn parse<C>(&mut self, session: &C, name: String, text: &str, oids: &[u32]) -> Result<()>
    where
        C: Conversation<Statement = S>,
    {
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(SqlState::DuplicatePreparedStatement, message));
        }
        bound(self.statements.len(), "prepared statements", "Close those that are no longer used (DEALLOCATE).")?;
        let mut statements = session.parse(text)?.into_iter();
        let prepared = match (statements.next(), statements.next()) {
            (_, Some(_)) => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(Error::new(SqlState::SyntaxError, message));
            }
            (None, _) => {
                let description = Description { parameters: Vec::new(), columns: None };
                Prepared { statement: None, description, oids: Vec::new() }
            }
            (Some(statement), None) => {
                let named: Vec<_> = oids.iter().map(|oid| parameter_type(*oid)).collect();
                let description = session.describe(&statement, &named).await;
                let description = description.map_err(|e| in_text(e, C::offset(&statement)))?;
                let types = description.parameters.iter().enumerate();
                let oids = types
                    .map(|(i, ty)| oids.get(i).copied().filter(|o| parameter_type(*o).is_some()).unwrap_or(ty.oid()));
                Prepared { oids: oids.collect(), statement: Some(Arc::new(statement)), description }
            }
        };
        self.statements.insert(name, Arc::new(prepared));
        Ok(())
    }

    pub fn bind(&mut self, bind: Bind, zone: Tz) -> Result<()> {
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let message = format!("cursor \"{}\" already exists", bind.portal);
            return Err(Error::new(SqlState::DuplicateCursor, message));
        }
        bound(self.portals.len(), "portals", "Close those that are no longer used.")?;
        let prepared = self.statement(&bind.statement)?;
        let types = &prepared.description.parameters;
        if bind.parameters.len() != types.len() {
            return Err(violation(format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                bind.parameters.len(),
                bind.statement,
                types.len()
            )));
        }
        let formats = Format::expand(&bind.parameter_formats, types.len())?;
        let values = bind.parameters.iter().zip(types).zip(formats);
        let parameters =
            values.map(|((v, ty), format)| decode::parameter(v.as_deref(), ty, format, zone)).collect::<Result<_>>()?;
        let columns = prepared.description.columns.clone();
        let formats = Format::expand(&bind.result_formats, columns.as_ref().map_or(0, |c| c.fields().len()));
        let state = match &prepared.statement {
            Some(statement) => PortalState::Ready { statement: Arc::clone(statement), parameters },
            None => PortalState::Empty,
        };
        // A client may name one format for all columns of a statement that has none.
        let formats = if columns.is_some() { formats? } else { Vec::new() };
        self.portals.insert(bind.portal, Portal { state, columns, formats });
        Ok(())
    }

    pub fn statement(&self, name: &str) -> Result<Arc<Prepared<S>>> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let what = if name.is_empty() {
                "unnamed prepared statement does not exist".to_string()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            Error::new(SqlState::InvalidStatementName, what)
        })
    }

    pub fn portal(&mut self, name: &str) -> Result<&mut Portal<S>> {
        self.portals
            .get_mut(name)
            .ok_or_else(|| Error::new(SqlState::InvalidCursorName, format!("portal \"{name}\" does not exist")))
    }

    pub fn close_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }

    /// Whether there was one of that name.
    pub fn deallocate(&mut self, name: &str) -> bool {
        self.statements.remove(name).is_some()
    }

    pub fn deallocate_all(&mut self) {
        self.statements.clear();
    }

    pub fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    /// A portal lives no longer than its transaction.
    pub fn close_portals(&mut self) {
        self.portals.clear();
    }

    /// A simple query replaces the unnamed statement and portal.
    pub fn close_unnamed(&mut self) {
        self.statements.remove("");
        self.portals.remove("");
    }
}

fn bound(held: usize, what: &str, hint: &str) -> Result<()> {
    if held < MAX_PREPARED {
        return Ok(());
    }
    let message = format!("too many {what} on one connection (at most {MAX_PREPARED})");
    Err(Error::new(SqlState::ConfigurationLimitExceeded, message).with_hint(hint))
}
