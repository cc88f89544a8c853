//! SELECT over materialized views and system tables.
//!
//! 1. [`tables`] resolves the names in FROM: views as they stand in the catalog, tables that show what SHOW shows. Sources
//!    and sinks are refused with what works instead.
//! 2. [`planning`] plans the query with PostgreSQL's types and meaning (the same as streaming queries have, see
//!    `plan/query`), and infers the types of its parameters.
//! 3. All views that it reads are waited for until they are filled; then one [`Instant`] is taken for all of them.
//! 4. DataFusion's optimizer and executor run it, on threads of its own ([`computing`]), its SELECT lists in
//!    batches cut to fit ([`projecting`]); [`output`] gives the rows the types and names that the client was told.
//!
//! [`explain`] shows what will be run.
//!
//! What does not live here: streaming queries. Everything DataFusion can compute over finite tables is allowed here.
//!
//! Invariants: one SELECT sees one tick of all views. Rows are decoded and computed as the client takes them; nothing
//! outlives the stream.

mod aggregate;
mod computing;
mod explain;
mod functions;
pub(super) mod output;
mod parameters;
mod planning;
mod projecting;
mod series;
mod tables;

use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use parking_lot::Mutex;

use super::Client;
use super::block::Instant;
use super::settings::Settings;
use crate::catalog::pg;
use crate::error::{Error, Result, SqlState};
use crate::pipeline::Engine;
use crate::plan::query::locate::locate;
use crate::sql::ast::Query;
use crate::types::SqlType;
use computing::{Abandoned, Computing};
use planning::Planned;
use tables::Tables;

pub(super) use tables::place;

/// A query of a session, not yet planned.
pub struct Select<'a> {
    pub engine: &'a Arc<Engine>,
    pub settings: &'a Arc<Mutex<Settings>>,
    pub client: &'a Client,
    /// What the transaction block sees, if it has looked already.
    pub instant: Option<Instant>,
    /// The statement's text: what places refer to.
    pub text: &'a Arc<str>,
    pub query: &'a Query,
}

/// Rows, and what they were seen at.
pub struct Selected {
    pub schema: SchemaRef,
    pub stream: SendableRecordBatchStream,
    pub instant: Instant,
}

impl Select<'_> {
    /// Types of the parameters and the rows' schema. `types` are those that the client names.
    pub async fn describe(&self, types: &[Option<SqlType>]) -> Result<(Vec<SqlType>, SchemaRef)> {
        let query = self.rewritten();
        let (tables, text, types) = (self.tables(&query)?, Arc::clone(self.text), types.to_vec());
        let describe = move || {
            let types = parameters::infer(&tables, &text, &query, &types)?;
            let planned = Planned::new(&tables, &text, &query, &types, None)?;
            Ok((types, output::schema(&planned.schema())))
        };
        self.engine.queries().plan(describe).await
    }

    pub async fn run(&self, values: &[ScalarValue]) -> Result<Selected> {
        let query = self.rewritten();
        let (tables, text, values) = (self.tables(&query)?, Arc::clone(self.text), values.to_vec());
        let types: Vec<SqlType> = values.iter().map(|value| SqlType::from_arrow(&value.data_type())).collect();
        let plan = move || {
            let planned = Planned::new(&tables, &text, &query, &types, Some(&values))?;
            Ok((tables, query, planned))
        };
        let (tables, query, planned) = self.engine.queries().plan(plan).await?;
        let instant = match &self.instant {
            Some(instant) => instant.clone(),
            None => {
                if tables.views().next().is_some() {
                    self.engine.check_running()?;
                }
                // Views fill while others are waited for; none that is filled empties again.
                for view in tables.views() {
                    self.engine.view_filled(view).await;
                }
                Instant { catalog: Arc::clone(tables.catalog()), database: self.engine.database() }
            }
        };
        tables.show(&instant.database)?;
        let (threads, text) = (self.engine.queries().handle().clone(), Arc::clone(self.text));
        let start = move || {
            let (schema, abandoned) = (output::schema(&planned.schema()), Abandoned::default());
            let rows = threads.block_on(planned.execute(&text, &abandoned)).map_err(|e| locate(e, &query, &text))?;
            let rows = output::adapt(rows, Arc::clone(&schema), &text);
            Ok((schema, Computing::start(rows, &threads, abandoned)))
        };
        let (schema, stream) = self.engine.queries().plan(start).await?;
        Ok(Selected { schema, stream, instant })
    }

    /// The plan's text.
    pub async fn explain(&self, verbose: bool) -> Result<String> {
        let query = self.rewritten();
        let (tables, text) = (self.tables(&query)?, Arc::clone(self.text));
        let explain = move || Planned::new(&tables, &text, &query, &[], Some(&[]))?.explain(&text, verbose);
        self.engine.queries().plan(explain).await
    }

    /// The query in forms that DataFusion knows.
    fn rewritten(&self) -> Query {
        let mut query = self.query.clone();
        pg::rewrite(&mut query);
        series::name_columns(&mut query);
        query
    }

    fn tables(&self, query: &Query) -> Result<Tables> {
        let catalog = match &self.instant {
            Some(instant) => Arc::clone(&instant.catalog),
            None => self.engine.catalog(),
        };
        Tables::resolve(self, catalog, query)
    }
}

/// The views' rows, known only when the query starts.
type Shown = Arc<OnceLock<Arc<crate::table::DatabaseSnapshot>>>;

fn no_parameter(number: usize) -> Error {
    Error::new(SqlState::UndefinedParameter, format!("there is no parameter ${number}"))
        .with_hint("Values for parameters come with the extended query protocol.")
}
