//! PostgreSQL's system catalogs, as psql, drivers and tools ask for them: `pg_catalog` and `information_schema`.
//!
//! 1. [`rewrite`] brings a parsed statement from PostgreSQL's forms (`OPERATOR(pg_catalog.~)`, `::regclass`, correlated
//!    sub-queries over catalogs that are always empty) to what DataFusion plans.
//! 2. [`register`] puts two schemas and the functions of [`functions`] into a session's context.
//! 3. A table is made when a plan names it: its columns from [`definition`], its rows from [`rows`] (or
//!    [`information_schema`]), out of the catalog's snapshot. Nothing is kept between statements.
//!
//! What does not live here: user objects as tables to be read, SHOW, settings.
//!
//! How our objects appear: a source, a sink and a TABLE are ordinary tables (relkind `r`), so that `\d` and `\dt` list them
//! without being asked for foreign tables; a view is a materialized view (`m`); a streaming job is a view (`v`) without
//! columns, whose definition `\d+` shows. psql's column "Type" says what they are. Object ids are `pg_class.oid`.

mod definition;
mod functions;
mod information_schema;
mod rewrite;
mod rows;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::prelude::SessionContext;

pub use rewrite::rewrite;

use super::{Object, ObjectKind};
use crate::error::{Error, Result};
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
    pub objects: Vec<Arc<Object>>,
    pub facts: Arc<Facts>,
}

impl World {
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

/// Registers the schemas and functions over `objects` with `context`, in place of those of the statement before.
pub fn register(context: &SessionContext, objects: Vec<Arc<Object>>, facts: &Arc<Facts>) -> Result<()> {
    let world = Arc::new(World {
        objects,
        facts: Arc::clone(facts),
    });
    let options = context.copied_config().options().catalog.clone();
    let catalog = context
        .catalog(&options.default_catalog)
        .ok_or_else(|| Error::internal("the session's context has no default catalog"))?;
    for schema in [definition::PG_CATALOG, definition::INFORMATION_SCHEMA] {
        catalog.register_schema(
            schema,
            Arc::new(SystemSchema {
                schema,
                world: Arc::clone(&world),
            }),
        )?;
    }
    functions::register(context, &world);
    Ok(())
}

/// One of the two schemas; its tables exist while a statement looks at them.
struct SystemSchema {
    schema: &'static str,
    world: Arc<World>,
}

impl fmt::Debug for SystemSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemSchema({})", self.schema)
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        definition::tables(self.schema).map(|t| t.name.to_string()).collect()
    }

    async fn table(&self, name: &str) -> datafusion::error::Result<Option<Arc<dyn TableProvider>>> {
        let Some(table) = definition::table(self.schema, name) else {
            return Ok(None);
        };
        let rows = match self.schema {
            definition::PG_CATALOG => rows::of(name, &self.world),
            _ => information_schema::of(name, &self.world),
        };
        let batch = table.batch(&rows)?;
        Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        definition::table(self.schema, name).is_some()
    }
}

#[cfg(test)]
mod tests;
