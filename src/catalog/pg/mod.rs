//! PostgreSQL's system catalogs, as psql, drivers and tools ask for them: `pg_catalog` and `information_schema`.
//!
//! 1. [`mod@rewrite`] brings a parsed statement from PostgreSQL's forms (`OPERATOR(pg_catalog.~)`, `::regclass`, correlated
//!    sub-queries over catalogs that are always empty) to what DataFusion plans.
//! 2. A [`table`] is made when a statement names it: its columns from [`definition`], its rows from [`rows`] (or
//!    [`information_schema`](mod@information_schema)), out of a [`World`]: the catalog's snapshot and the session's facts.
//!    Nothing is kept between statements.
//! 3. [`mod@functions`] are those that psql and drivers call, over the same world.
//!
//! What does not live here: user objects as tables to be read, SHOW, settings.
//!
//! How our objects appear: a source, a sink and a TABLE are ordinary tables (relkind `r`), so that `\d` and `\dt` list them
//! without being asked for foreign tables; a view is a materialized view (`m`); a streaming job is a view (`v`) without
//! columns, whose definition `\d+` shows. psql's column "Type" says what they are. Object ids are `pg_class.oid`. What was
//! [`declared`] besides columns `\d+` shows as options and descriptions. What is [`known`] to every session are views of schema
//! `tidemill`, and the functions of `pg_proc`.

mod declared;
mod definition;
mod functions;
mod information_schema;
mod known;
mod rewrite;
mod rows;

use std::sync::Arc;

use datafusion::catalog::{MemTable, TableProvider};
use datafusion::logical_expr::ScalarUDF;

pub use definition::{INFORMATION_SCHEMA, PG_CATALOG};
pub use known::{Known, KnownFunction, KnownTable, TIDEMILL};
pub use rewrite::rewrite;

use super::{CatalogSnapshot, Object, ObjectKind};
use crate::error::Result;
use crate::types::Column;

/// What a session knows of itself that the system catalogs show.
#[derive(Debug, Clone)]
pub struct Facts {
    pub user: String,
    pub database: String,
    pub backend_pid: i32,
    /// The answer of `version()`.
    pub version: String,
    pub settings: Vec<Setting>,
    /// The same for all sessions.
    pub known: Arc<Known>,
}

#[derive(Debug, Clone)]
pub struct Setting {
    pub name: String,
    pub value: String,
    pub default: String,
    pub description: String,
}

/// What the tables and functions of one statement are made from.
#[derive(Debug)]
pub struct World {
    objects: Vec<Arc<Object>>,
    facts: Facts,
}

impl World {
    pub fn new(catalog: &CatalogSnapshot, facts: Facts) -> Self {
        World { objects: catalog.objects().cloned().collect(), facts }
    }

    fn object(&self, oid: i64) -> Option<&Arc<Object>> {
        self.objects.iter().find(|o| i64::from(o.id.0) == oid)
    }
}

fn columns(object: &Object) -> &[Column] {
    match &object.kind {
        ObjectKind::Source(o) => &o.columns,
        ObjectKind::Sink(o) => &o.columns,
        ObjectKind::View(o) => &o.columns,
        ObjectKind::Job(_) => &[],
    }
}

/// The object's kind as psql shows it.
fn noun(object: &Object) -> &'static str {
    match &object.kind {
        ObjectKind::Source(_) => "source",
        ObjectKind::Sink(_) => "sink",
        ObjectKind::View(_) => "materialized view",
        ObjectKind::Job(_) => "streaming job",
    }
}

/// A table of `pg_catalog` or `information_schema`, with its rows as of now; `None` if there is no such table.
pub fn table(schema: &str, name: &str, world: &World) -> Result<Option<Arc<dyn TableProvider>>> {
    let Some(table) = definition::table(schema, name) else { return Ok(None) };
    let rows = match schema {
        definition::PG_CATALOG => rows::of(name, world),
        _ => information_schema::of(name, world),
    };
    let batch = table.batch(&rows)?;
    Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
}

/// The functions of `pg_catalog`, to be found under their names without a schema.
pub fn functions(world: &Arc<World>) -> impl Iterator<Item = ScalarUDF> {
    functions::all(world)
}

#[cfg(test)]
mod tests;
