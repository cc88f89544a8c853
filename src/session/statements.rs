//! CREATE, DROP, STOP, CANCEL, PAUSE, RESUME, ALTER, EXPLAIN: statements that go to the planner and the engine.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::Session;
use super::response::{Notice, Response};
use super::select::Select;
use super::{running, shown};
use crate::catalog::{CatalogSnapshot, JobObject, NewObject, ObjectId, ObjectKind, Starts, ViewObject, Wanted, define};
use crate::error::{Error, Result, SqlState};
use crate::plan::{self, Op, StreamPlan, Target};
use crate::sql::ast::{
    CreateJob, CreateSink, CreateSource, CreateView, DropObjects, Explain, InsertStatement, Name, ObjectClass, Query,
    Statement, StatementKind, WatermarkDef,
};
use crate::sql::parse::shift;
use crate::sql::{Dialect, print};
use crate::types::Column;

impl Session {
    pub(super) async fn create_source(&self, statement: &Statement, create: &CreateSource) -> Result<Response> {
        let catalog = self.engine.catalog();
        if let Some(answer) = already_there(&catalog, &create.name, create.if_not_exists, "CREATE SOURCE")? {
            return Ok(answer);
        }
        let source = define::source(create)?;
        // Places count in an expression's own text.
        let moved = |error: Error, position: usize| match statement.dialect {
            Dialect::Postgres => shift(error, position - 1).at(position),
            Dialect::Flink => error.moved_to(position),
        };
        for computed in &source.computed {
            let declared = create.table.columns.get(computed.column);
            let position = declared.and_then(|column| column.generated.as_ref()).map(|generated| generated.position);
            plan::plan_computed(&create.name.value, &source.columns, &source.computed, computed)
                .map_err(|e| position.map_or(e.clone(), |position| moved(e, position)))?;
        }
        if let (Some(clause), Some(WatermarkDef { position, .. })) = (&source.watermark, &create.table.watermark) {
            plan::check_watermark(&create.name.value, &source.columns, clause).map_err(|e| moved(e, *position))?;
        }
        let definition = definition(statement, || print::create_source(create));
        self.create(definition, &create.name, create.if_not_exists, Vec::new(), ObjectKind::Source(source)).await?;
        Ok(Response::command("CREATE SOURCE"))
    }

    pub(super) async fn create_sink(&self, statement: &Statement, create: &CreateSink) -> Result<Response> {
        let catalog = self.engine.catalog();
        if let Some(answer) = already_there(&catalog, &create.name, create.if_not_exists, "CREATE SINK")? {
            return Ok(answer);
        }
        let sink = define::sink(create)?;
        let notice = sink.sink.notice().map(Notice::info);
        let definition = definition(statement, || print::create_sink(create));
        self.create(definition, &create.name, create.if_not_exists, Vec::new(), ObjectKind::Sink(sink)).await?;
        Ok(Response::command("CREATE SINK").with(notice))
    }

    pub(super) async fn create_job(&self, statement: &Statement, create: &CreateJob) -> Result<Response> {
        let catalog = self.engine.catalog();
        if let Some(answer) = already_there(&catalog, &create.name, create.if_not_exists, "CREATE STREAMING JOB")? {
            return Ok(answer);
        }
        let options = define::job(create)?;
        let inserts = self.settled_inserts(statement, &create.inserts).await?;
        // What they read and write may only be there since.
        let catalog = self.engine.catalog();
        let plan = self.planned_job(&catalog, statement, &inserts).await?;
        let job = JobObject {
            plan: plan.to_text()?.into(),
            options,
            starts: Starts::new(),
            wanted: Wanted::Running,
            ended: None,
        };
        let uses = depends_on(&catalog, &plan);
        let definition = definition(statement, || print::create_job(&CreateJob { inserts, ..create.clone() }));
        self.create(definition, &create.name, create.if_not_exists, uses, ObjectKind::Job(job)).await?;
        Ok(Response::command("CREATE STREAMING JOB"))
    }

    pub(super) async fn create_view(&self, statement: &Statement, create: &CreateView) -> Result<Response> {
        let catalog = self.engine.catalog();
        let tag = "CREATE MATERIALIZED VIEW";
        if let Some(answer) = already_there(&catalog, &create.name, create.if_not_exists, tag)? {
            return Ok(answer);
        }
        let query = self.settled_query(statement, &create.query).await?;
        let catalog = self.engine.catalog();
        let (plan, columns) = self.planned_view(&catalog, statement, &query, create).await?;
        let view = ViewObject { columns, plan: plan.to_text()?.into(), starts: Starts::new() };
        let uses = depends_on(&catalog, &plan);
        let definition = definition(statement, || print::create_view(&CreateView { query, ..create.clone() }));
        self.create(definition, &create.name, create.if_not_exists, uses, ObjectKind::View(view)).await?;
        Ok(Response::command(tag))
    }

    /// Plans over the catalog as this session's zone reads it.
    pub(super) async fn planned<T: Send + 'static>(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        plan: impl FnOnce(&plan::InZone<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (catalog, zone) = (Arc::clone(catalog), self.settings.lock().show("TimeZone")?);
        self.engine.queries().plan(move || plan(&plan::InZone { relations: &*catalog, zone })).await
    }

    async fn planned_job(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        statement: &Statement,
        inserts: &[InsertStatement],
    ) -> Result<StreamPlan> {
        let (text, inserts) = (Arc::clone(&statement.text), inserts.to_vec());
        self.planned(catalog, move |zoned| plan::plan_job(zoned, &text, &inserts)).await
    }

    /// The plan, and the view's columns.
    async fn planned_view(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        statement: &Statement,
        query: &Query,
        create: &CreateView,
    ) -> Result<(StreamPlan, Vec<Column>)> {
        let (text, query) = (Arc::clone(&statement.text), query.clone());
        let (names, emit) = (create.columns.clone(), create.emit.clone());
        self.planned(catalog, move |zoned| plan::plan_view(zoned, &text, &query, &names, &emit)).await
    }

    async fn create(
        &self,
        definition: String,
        name: &Name,
        if_not_exists: bool,
        depends_on: Vec<ObjectId>,
        kind: ObjectKind,
    ) -> Result<ObjectId> {
        let name = name.value.clone();
        self.engine.create(NewObject { name, if_not_exists, definition, depends_on, kind }).await
    }

    pub(super) async fn drop(&self, drop: &DropObjects) -> Result<Response> {
        let planned = self.engine.catalog().plan_drop(drop)?;
        self.engine.drop_objects(&planned.ids).await?;
        let mut response = Response::command(format!("DROP {}", drop.class.keywords()));
        for name in &planned.skipped {
            let message = format!("{} \"{name}\" does not exist, skipping", drop.class.noun());
            response.notices.push(Notice::info(message));
        }
        if let Some((message, detail)) = planned.cascade_notice() {
            let mut notice = Notice::info(message);
            if let Some(detail) = detail {
                notice.what = notice.what.with_detail(detail);
            }
            response.notices.push(notice);
        }
        Ok(response)
    }

    pub(super) async fn stop(&self, name: &Name, statement: &StatementKind) -> Result<Response> {
        let catalog = self.engine.catalog();
        let id = catalog.resolve(name, ObjectClass::Job)?.id;
        match statement {
            StatementKind::CancelJob(_) => self.engine.cancel_job(id).await,
            _ => self.engine.stop_job(id).await,
        }
        .map_err(|e| e.at(name.position))?;
        Ok(Response::command(statement.command_tag().unwrap_or_default()))
    }

    /// PAUSE and RESUME: what is so already stays so, with a notice.
    pub(super) async fn pause(&self, name: &Name, statement: &StatementKind) -> Result<Response> {
        let catalog = self.engine.catalog();
        let id = catalog.resolve(name, ObjectClass::Job)?.id;
        let (done, already) = match statement {
            StatementKind::PauseJob(_) => (self.engine.pause_job(id).await, "is paused already"),
            _ => (self.engine.resume_job(id).await, "is not paused"),
        };
        let changed = done.map_err(|e| e.at(name.position))?;
        let notice = Notice::info(format!("streaming job \"{name}\" {already}, skipping"));
        let tag = statement.command_tag().unwrap_or_default();
        Ok(Response::command(tag).with((!changed).then_some(notice)))
    }

    pub(super) async fn set_parallelism(&self, name: &Name, parallelism: usize) -> Result<Response> {
        let catalog = self.engine.catalog();
        let id = catalog.resolve(name, ObjectClass::Job)?.id;
        self.engine.set_parallelism(id, parallelism).await.map_err(|e| e.at(name.position))?;
        Ok(Response::command("ALTER STREAMING JOB"))
    }

    /// The plan's text.
    pub(super) async fn explain(&self, statement: &Statement, explain: &Explain) -> Result<String> {
        let plan = match &*explain.statement {
            StatementKind::Submit(inserts) => self.plan_of(statement, inserts).await?,
            StatementKind::CreateJob(create) => {
                define::job(create)?;
                self.plan_of(statement, &create.inserts).await?
            }
            StatementKind::CreateView(create) => {
                let query = self.settled_query(statement, &create.query).await?;
                self.planned_view(&self.engine.catalog(), statement, &query, create).await?.0
            }
            StatementKind::Query(query) => {
                let (query, _) = self.declared.inlined(query);
                return self.select(&statement.text, &query).explain(explain.verbose).await;
            }
            _ => return Err(Error::internal("EXPLAIN of a statement that has no plan")),
        };
        Ok(plan::explain(&plan))
    }

    async fn plan_of(&self, statement: &Statement, inserts: &[InsertStatement]) -> Result<StreamPlan> {
        let inserts = self.settled_inserts(statement, inserts).await?;
        self.planned_job(&self.engine.catalog(), statement, &inserts).await
    }

    /// The plan of a job or view that runs, with figures.
    pub(super) fn explain_analyze(&self, class: ObjectClass, name: &Name) -> Result<String> {
        let id = self.engine.catalog().resolve(name, class)?.id;
        match class {
            ObjectClass::Job => running::job(&self.engine, id),
            _ => running::view(&self.engine, id),
        }
        .map_err(|e| e.at(name.position))
    }

    /// Of the pipeline that a job or view runs in.
    pub(super) fn show_epochs(&self, class: ObjectClass, name: &Name) -> Result<RecordBatch> {
        let id = self.engine.catalog().resolve(name, class)?.id;
        shown::epochs(self.engine.epochs(id).map_err(|e| e.at(name.position))?)
    }

    pub(super) fn select<'a>(&'a self, text: &'a Arc<str>, query: &'a Query) -> Select<'a> {
        Select {
            engine: &self.engine,
            settings: &self.settings,
            client: &self.client,
            instant: self.instant(),
            text,
            query,
        }
    }
}

/// A statement as it is kept: in our own dialect.
fn definition(statement: &Statement, printed: impl FnOnce() -> String) -> String {
    match statement.dialect {
        Dialect::Postgres => statement.text.to_string(),
        Dialect::Flink => printed(),
    }
}

/// The answer of a CREATE whose name is taken: an error, or a notice if IF NOT EXISTS was said.
pub(super) fn already_there(
    catalog: &Arc<CatalogSnapshot>,
    name: &Name,
    if_not_exists: bool,
    tag: &str,
) -> Result<Option<Response>> {
    match catalog.check_free(&name.value) {
        Ok(()) => Ok(None),
        Err(error) if if_not_exists => {
            let notice = Notice { severity: "NOTICE", what: Error::new(error.state(), format!("{error}, skipping")) };
            Ok(Some(Response::command(tag).with(Some(notice))))
        }
        Err(error) => Err(error.at(name.position)),
    }
}

/// The sources and views that a plan reads and the sinks that it writes.
fn depends_on(catalog: &CatalogSnapshot, plan: &StreamPlan) -> Vec<ObjectId> {
    let reads = plan.nodes.iter().filter_map(|node| match &node.op {
        Op::Scan { source: name, .. } | Op::ViewScan { view: name, .. } => Some(name.as_str()),
        _ => None,
    });
    let writes = plan.outputs.iter().filter_map(|output| match &output.target {
        Target::Sink(sink) => Some(sink.as_str()),
        Target::View => None,
    });
    let mut ids: Vec<ObjectId> = reads.chain(writes).filter_map(|name| catalog.find(name)).map(|o| o.id).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// DEALLOCATE of a name: prepared statements live with the connection that prepared them, which looks there first.
pub(super) fn deallocate(name: Option<&str>) -> Result<Response> {
    match name {
        None => Ok(Response::command("DEALLOCATE ALL")),
        Some(name) => {
            let message = format!("prepared statement \"{name}\" does not exist");
            Err(Error::new(SqlState::InvalidStatementName, message))
        }
    }
}
