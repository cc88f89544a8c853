//! What FROM can name.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock, OnceLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::{ResolvedTableReference, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::execution::context::TaskContext;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, ScalarUDF, TableSource, TableType};
use datafusion::optimizer::Optimizer;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{ObjectName, Statement, Visit, Visitor};

use super::functions::set_config;
use super::{Select, Shown, output, series};
use crate::catalog::{CatalogSnapshot, Object, ObjectId, ObjectKind, pg};
use crate::error::{Error, Result, SqlState};
use crate::pipeline::Engine;
use crate::plan::errors::{planning_error, through};
use crate::session::settings::Settings;
use crate::session::shown;
use crate::sql::ast::Query;
use crate::sql::names::{fold, nearest};
use crate::sql::places::Places;
use crate::sql::{DATABASE, SCHEMA};
use crate::table::{DatabaseSnapshot, ViewSnapshot};
use crate::types::schema_of;

/// The tables that one query names, and what it is planned with.
pub struct Tables {
    catalog: Arc<CatalogSnapshot>,
    /// What the system tables and functions tell.
    world: Arc<pg::World>,
    functions: HashMap<String, Arc<ScalarUDF>>,
    /// Whether the query asks the system tables. Their columns have types of DataFusion's, and those who ask (psql,
    /// tools) mix them as PostgreSQL's own types may be mixed.
    system: bool,
    state: SessionState,
    sources: HashMap<ResolvedTableReference, Arc<dyn TableSource>>,
    views: Vec<(ObjectId, String)>,
    shown: Shown,
}

/// What all SELECTs together may hold to sort, group and join, beside the rows on their way; sorts and groups take to
/// temporary files before. Far above what looking at views needs, far below what would end the process.
const MEMORY_BYTES: usize = 2 << 30;

/// DataFusion's functions and rules; what a session adds is put on a copy.
static BASE: LazyLock<SessionState> = LazyLock::new(|| {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(DATABASE, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        // A SELECT shares the machine with the jobs: it gets one core.
        .with_target_partitions(1);
    // It holds that a set operation of two columns gives no nulls if one of them has none, and then that it does.
    config.options_mut().execution.skip_physical_aggregate_schema_check = true;
    let options = &mut config.options_mut().sql_parser;
    options.parse_float_as_decimal = true;
    options.collect_spans = true;
    options.map_string_types_to_utf8view = true;
    let memory_pool = Arc::new(GreedyMemoryPool::new(MEMORY_BYTES));
    let runtime = Arc::new(RuntimeEnv { memory_pool, ..RuntimeEnv::default() });
    // It makes sums of sums, whose type is another where sums are wider than what they add up.
    let rules = Optimizer::new().rules.into_iter();
    let rules = rules.filter(|rule| rule.name() != "single_distinct_aggregation_to_group_by").collect();
    // It finds columns by name where two tables of a join share one, and so asks the wrong one. What can be pushed down was
    // before, by the rules above.
    let physical_rules = PhysicalOptimizer::new().rules.into_iter();
    let physical_rules = physical_rules.filter(|rule| !rule.name().starts_with("FilterPushdown")).collect();
    let builder = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features();
    builder.with_optimizer_rules(rules).with_physical_optimizer_rules(physical_rules).build()
});

impl Tables {
    /// # Errors
    /// 42P01 for what does not exist; 0A000 for what cannot be read.
    pub fn resolve(select: &Select, catalog: Arc<CatalogSnapshot>, query: &Query) -> Result<Self> {
        let text = select.text;
        let statement = DfStatement::Statement(Box::new(Statement::Query(Box::new(query.clone()))));
        let (references, _) = resolve_table_references(&statement, true).map_err(|e| planning_error(e, text))?;
        let world = Arc::new(pg::World::new(&catalog, select.client.facts(&select.settings.lock())));
        let own = set_config(Arc::clone(select.settings));
        let functions = pg::functions(&world).chain([own]);
        let mut tables = Tables {
            functions: functions.map(|f| (f.name().to_string(), Arc::new(f))).collect(),
            system: false,
            state: state(&select.settings.lock()),
            catalog,
            world,
            sources: HashMap::new(),
            views: Vec::new(),
            shown: Arc::new(OnceLock::new()),
        };
        for reference in references {
            if series::is_series(&reference) {
                continue;
            }
            let provider = tables.provider(select.engine, &reference);
            let provider = provider.map_err(|e| place(e, reference.table(), text, query))?;
            tables.sources.insert(resolved(reference), provider_as_source(provider));
        }
        Ok(tables)
    }

    pub fn is_system(&self) -> bool {
        self.system
    }

    /// A function of the session or of `pg_catalog`.
    pub fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned()
    }

    pub fn catalog(&self) -> &Arc<CatalogSnapshot> {
        &self.catalog
    }

    pub fn state(&self) -> &SessionState {
        &self.state
    }

    pub fn source(&self, reference: TableReference) -> Option<Arc<dyn TableSource>> {
        self.sources.get(&resolved(reference)).cloned()
    }

    /// The views that the query reads.
    pub fn views(&self) -> impl Iterator<Item = ObjectId> {
        self.views.iter().map(|(id, _)| *id)
    }

    /// Says which tick the views are read at.
    ///
    /// # Errors
    /// 55000 if one of them has failed or is still filling.
    pub fn show(&self, database: &Arc<DatabaseSnapshot>) -> Result<()> {
        for (id, name) in &self.views {
            match database.view(*id) {
                Some(entry) => entry.rows(name).map(|_| ())?,
                None => return Err(undefined(name)),
            }
        }
        self.shown.get_or_init(|| Arc::clone(database));
        Ok(())
    }

    fn provider(&mut self, engine: &Engine, reference: &TableReference) -> Result<Arc<dyn TableProvider>> {
        let written = reference.to_string();
        match reference.schema().unwrap_or(SCHEMA) {
            SCHEMA => self.user_table(reference.table()),
            pg::TIDEMILL => {
                let class = shown::TABLES.iter().find(|(name, _)| *name == reference.table());
                let (_, class) = class.ok_or_else(|| undefined(&written))?;
                let rows = shown::objects(*class, engine)?;
                Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))
            }
            schema => {
                self.system = true;
                pg::table(schema, reference.table(), &self.world)?.ok_or_else(|| undefined(&written))
            }
        }
    }

    fn user_table(&mut self, name: &str) -> Result<Arc<dyn TableProvider>> {
        let object = match self.catalog.relation(name) {
            Ok(object) => Arc::clone(object),
            // The nearest name may be one of those that cannot be read.
            Err(error) => return Err(self.undefined_with_hint(name, error)),
        };
        match &object.kind {
            ObjectKind::View(view) => {
                self.views.push((object.id, object.name.clone()));
                Ok(Arc::new(ViewTable {
                    id: object.id,
                    name: object.name.clone(),
                    schema: schema_of(&view.columns),
                    shown: Arc::clone(&self.shown),
                }))
            }
            _ => Err(unreadable(&object)),
        }
    }

    fn undefined_with_hint(&self, name: &str, error: Error) -> Error {
        let views = self.catalog.of_class(crate::sql::ast::ObjectClass::View).map(|view| view.name.as_str());
        match nearest(name, views) {
            Some(near) => undefined(name).with_hint(format!("Perhaps you meant the materialized view \"{near}\".")),
            None => error,
        }
    }
}

/// The table that is meant. Whatever a client connects to is the one database.
fn resolved(reference: TableReference) -> ResolvedTableReference {
    ResolvedTableReference { catalog: DATABASE.into(), ..reference.resolve(DATABASE, SCHEMA) }
}

/// DataFusion's state for one statement of a session.
fn state(settings: &Settings) -> SessionState {
    let mut config = BASE.config().clone();
    config.options_mut().execution.time_zone = settings.show("TimeZone").ok();
    SessionStateBuilder::new_from_existing(BASE.clone()).with_config(config).build()
}

fn undefined(name: &str) -> Error {
    Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

fn unreadable(object: &Object) -> Error {
    let (noun, name) = (object.class().noun(), &object.name);
    let message = format!("{noun} \"{name}\" cannot be read directly");
    let hint = match &object.kind {
        ObjectKind::Source(_) => format!(
            "A stream has no end to wait for: CREATE MATERIALIZED VIEW v AS SELECT ... FROM {}, and SELECT from the view.",
            crate::sql::names::quoted(name)
        ),
        _ => {
            "What is written there is in the external system; to read the rows here, create a materialized view of the \
              same query."
                .to_string()
        }
    };
    Error::unsupported(message, hint)
}

/// Points an error at the first relation of that name.
pub fn place(error: Error, name: &str, text: &str, query: &Query) -> Error {
    struct Finder<'a>(&'a str);
    impl Visitor for Finder<'_> {
        type Break = datafusion::sql::sqlparser::tokenizer::Location;
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
            let ident = |n: usize| relation.0.get(n).and_then(|part| part.as_ident());
            match (relation.0.len().checked_sub(1).and_then(ident), ident(0)) {
                (Some(last), Some(first))
                    if last.value == self.0 || (last.quote_style.is_none() && fold(&last.value) == self.0) =>
                {
                    ControlFlow::Break(first.span.start)
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match query.visit(&mut Finder(name)) {
        ControlFlow::Break(location) => error.at(Places::new(text).position(location)),
        ControlFlow::Continue(()) => error,
    }
}

/// A materialized view, read at the tick that the query is shown.
#[derive(Debug)]
struct ViewTable {
    id: ObjectId,
    name: String,
    schema: SchemaRef,
    shown: Shown,
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let missing = || through(Error::internal("a view is read before its tick is known"));
        let entry = self.shown.get().and_then(|database| database.view(self.id)).ok_or_else(missing)?;
        let rows = entry.rows(&self.name).map_err(through)?.clone();
        let partition = ViewRows { rows, schema: Arc::clone(&self.schema) };
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(partition)], projection, [], false, limit)?))
    }
}

/// A view's rows, decoded as they are taken.
#[derive(Debug)]
struct ViewRows {
    rows: ViewSnapshot,
    schema: SchemaRef,
}

impl PartitionStream for ViewRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let batches = self.rows.batches().map(move |batch| {
            let batch = batch.map_err(through)?;
            output::with_schema(batch, &schema)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches)))
    }
}
