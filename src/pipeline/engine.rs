//! What runs in this process: the catalog, the database pipeline and the jobs. Sessions ask it to create, stop and drop;
//! when it opens, everything that was wanted runs again, by its stored plan from the newest epoch that is stored of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::catalog::{
    Catalog, CatalogSnapshot, EpochSettings, NewObject, Object, ObjectId, ObjectKind, SourceObject, Starts, ViewObject,
};
use crate::change::key::KEY_GROUPS;
use crate::dataflow::{Fragment, WorkerPool};
use crate::error::{Error, Result, SqlState};
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::plan::{Op, StreamPlan, Target};
use crate::sql::ast::ObjectClass;
use crate::state::StateContext;
use crate::table::DatabaseSnapshot;
use crate::types::schema_of;

use super::config::{EngineConfig, Work, cores};
use super::core::Core;
use super::database::{DatabasePipeline, NewKind, NewMember, stored_views};
use super::delivery::blocking;
use super::durability::{self, Durability, Owed, Reopened, job_path};
use super::epochs::Epochs;
use super::history::{EpochHistory, EpochRecord};
use super::image::Fingerprint;
use super::job::{Job, JobSink};
use super::member::{NewPlan, rows_of};
use super::meter::Meter;
use super::opener::{Opener, source_of};
use super::queries::QueryThreads;
use super::rehearsal::Rehearsal;
use super::status::{JobStatus, ViewStatus};
use super::subscribe::Subscription;
use super::tick_loop::{TickLoop, waker};

/// The database pipeline's name in metrics.
const DATABASE: &str = "(database)";

pub struct Engine {
    pub(super) config: EngineConfig,
    pub(super) catalog: Arc<Catalog>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
    pub(super) pool: WorkerPool,
    queries: QueryThreads,
    pub(super) database: DatabasePipeline,
    /// `None`: what runs here is gone with the process.
    pub(super) durability: Option<Durability>,
    /// What earlier lives of jobs over views owe their sinks, until these jobs are started.
    pub(super) owed: Mutex<BTreeMap<String, Owed>>,
    pub(super) jobs: Mutex<BTreeMap<ObjectId, Arc<Job>>>,
    /// Of the database pipeline's epochs, and of each job's that has a pipeline of its own and was started here.
    pub(super) history: EpochHistory,
    pub(super) job_histories: Mutex<BTreeMap<ObjectId, EpochHistory>>,
    /// Held while a job that does not run is made to, or dropped: it is to be started once.
    pub(super) starting: tokio::sync::Mutex<()>,
}

impl Engine {
    /// Loads the catalog and starts everything that is wanted. What cannot start is FAILED with its reason; only a
    /// damaged catalog is an error.
    pub async fn open(config: EngineConfig) -> Result<Arc<Self>> {
        let directory = config.data_dir.clone();
        let catalog = Arc::new(blocking(move || Catalog::load(directory.as_deref())).await??);
        let pool = WorkerPool::new(config.parallelism)?;
        let queries = QueryThreads::start(cores())?;
        let wake = Arc::new(Notify::new());
        let (metrics, budget) = (Metrics::new(), Budget::new());
        let meter = Meter::new(&metrics, DATABASE);
        let clock = Arc::clone(&config.clock);
        let opener = Opener {
            pipeline: DATABASE.to_string(),
            catalog: Arc::clone(&catalog),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            budget: Arc::clone(&budget),
            waker: waker(&wake),
        };
        let durability = config.open_store().await?;
        let history = EpochHistory::new(metrics.job(DATABASE).epochs());
        let opened = reopen_database(durability.clone(), Arc::clone(&wake), history.clone()).await;
        let (epochs, reopened) = match opened {
            Ok(opened) => {
                let (epochs, reopened) = opened.unzip();
                (Ok(epochs), reopened)
            }
            Err(error) => (Err(error), None),
        };
        let (cuts, open) = (config.cuts, opener.into_open());
        let (core, state, owed) = match reopened.flatten() {
            Some(Reopened { image, state, owed }) => (Core::resumed(image, cuts, open), Some(state), owed),
            None => (Core::new(cuts, open), None, BTreeMap::new()),
        };
        let rehearsal = config.rehearsal.as_ref().map(|plan| Rehearsal::new(plan, DATABASE, &budget));
        let tick_loop = TickLoop::new(core, Arc::clone(&wake), clock, pool.clone(), meter, budget.account());
        let database = DatabasePipeline::spawn(tick_loop.rehearsing(rehearsal), epochs, wake);
        let engine = Arc::new(Engine {
            config,
            catalog,
            metrics,
            budget,
            pool,
            queries,
            database,
            durability,
            owed: Mutex::new(owed),
            jobs: Mutex::default(),
            history,
            job_histories: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
        });
        engine.start_all().await;
        if let Some(state) = state {
            engine.database.begin(state).await?;
        }
        Ok(engine)
    }

    /// Where epochs are stored.
    pub fn stored_in(&self) -> Option<&str> {
        self.durability.as_ref().map(|durability| durability.store.url())
    }

    async fn start_all(&self) {
        let snapshot = self.catalog.snapshot();
        for object in snapshot.objects() {
            match &object.kind {
                ObjectKind::View(_) if self.is_paused() => {}
                ObjectKind::View(view) => {
                    if let Err(error) = self.start_view(object, view).await {
                        tracing::error!(view = %object.name, ?error, "materialized view could not be started");
                    }
                }
                ObjectKind::Job(job) => self.start_job(object, job).await,
                ObjectKind::Source(_) | ObjectKind::Sink(_) => {}
            }
        }
    }

    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    pub fn catalog(&self) -> Arc<CatalogSnapshot> {
        self.catalog.snapshot()
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Where SELECTs are computed and statements planned.
    pub fn queries(&self) -> &QueryThreads {
        &self.queries
    }

    /// All views as of one tick.
    pub fn database(&self) -> Arc<DatabaseSnapshot> {
        self.database.snapshot()
    }

    pub fn jobs(&self) -> Vec<JobStatus> {
        self.jobs.lock().values().map(|job| job.status()).collect()
    }

    pub fn views(&self) -> Vec<ViewStatus> {
        match self.is_paused() {
            false => self.database.statuses(),
            true => self.catalog.snapshot().of_class(ObjectClass::View).map(|view| ViewStatus::paused(view)).collect(),
        }
    }

    /// The last epochs of the pipeline that a job or view runs in, oldest first.
    ///
    /// # Errors
    /// 55000 if there are none, since nothing is stored.
    pub fn epochs(&self, id: ObjectId) -> Result<Vec<EpochRecord>> {
        if self.durability.is_none() {
            let error = Error::new(SqlState::ObjectNotInPrerequisiteState, "there are no epochs: nothing is stored");
            return Err(
                error.with_hint("Views and jobs are durable where a server has a data directory: serve --data DIR.")
            );
        }
        let is_view = self.catalog.snapshot().get(id).is_some_and(|object| object.class() == ObjectClass::View);
        match is_view || self.reads_views(id) {
            true => Ok(self.history.records()),
            false => Ok(self.job_histories.lock().get(&id).map(EpochHistory::records).unwrap_or_default()),
        }
    }

    pub fn is_paused(&self) -> bool {
        self.config.work == Work::Pause
    }

    /// # Errors
    /// 55000 if nothing runs here.
    pub fn check_running(&self) -> Result<()> {
        if !self.is_paused() {
            return Ok(());
        }
        let message = "nothing runs: the server was started with --paused";
        Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
            .with_hint("Cancel or drop what must not run, and start the server without --paused."))
    }

    /// Brings an object into being. Sinks of a job are checked and start positions resolved before anything is kept, so a
    /// failure leaves nothing behind.
    pub async fn create(&self, mut new: NewObject) -> Result<ObjectId> {
        let present = self.catalog.snapshot();
        match present.find(&new.name) {
            Some(object) if new.if_not_exists => return Ok(object.id),
            _ => present.check_free(&new.name)?,
        }
        if self.config.work == Work::PlanOnly {
            return self.catalog.create(new);
        }
        if let ObjectKind::View(_) | ObjectKind::Job(_) = new.kind {
            self.check_running()?;
        }
        match &mut new.kind {
            ObjectKind::Source(_) | ObjectKind::Sink(_) => {}
            ObjectKind::View(view) => view.starts = self.resolve(&view.plan).await?,
            ObjectKind::Job(job) => {
                self.preflight(&job.plan).await?;
                job.starts = self.resolve(&job.plan).await?;
            }
        }
        let catalog = Arc::clone(&self.catalog);
        // Whoever took the name meanwhile keeps it, also with IF NOT EXISTS: what was resolved here must not run twice.
        new.if_not_exists = false;
        let id = blocking(move || catalog.create(new)).await??;
        let created = self.catalog.snapshot();
        let Some(object) = created.get(id) else { return Ok(id) };
        match &object.kind {
            ObjectKind::Source(_) | ObjectKind::Sink(_) => {}
            ObjectKind::Job(job) => self.start_job(object, job).await,
            ObjectKind::View(view) => {
                if let Err(error) = self.start_view(object, view).await {
                    self.forget(&[id]).await?;
                    return Err(error);
                }
            }
        }
        Ok(id)
    }

    /// Drops objects, in the order given; jobs are canceled. Dependencies are the catalog's matter.
    pub async fn drop_objects(&self, ids: &[ObjectId]) -> Result<()> {
        let _starting = self.starting.lock().await;
        for id in ids {
            let job = self.jobs.lock().remove(id);
            if let Some(job) = job {
                job.cancel().await;
            }
            let catalog = self.catalog.snapshot();
            let Some(object) = catalog.get(*id) else { continue };
            if let ObjectKind::View(_) | ObjectKind::Job(_) = object.kind {
                self.database.remove(*id).await?;
            }
            if let (ObjectKind::Job(_), Some(durability)) = (&object.kind, &self.durability) {
                durability.forget(&job_path(*id)).await;
            }
            self.metrics.remove_job(&object.name);
            self.job_histories.lock().remove(id);
        }
        self.forget(ids).await
    }

    async fn forget(&self, ids: &[ObjectId]) -> Result<()> {
        let (catalog, ids) = (Arc::clone(&self.catalog), ids.to_vec());
        blocking(move || Catalog::drop(&catalog, &ids)).await?
    }

    /// Runs a query over views and hands out what each tick changes, until the answer is dropped.
    pub async fn subscribe(&self, plan: StreamPlan) -> Result<Subscription> {
        self.check_running()?;
        let state = StateContext { tracked: false, ..self.state() };
        let fragment = Fragment::new(Arc::new(plan), self.config.parallelism.get(), &state)?;
        self.database.subscribe(fragment, self.budget.account(), self.metrics.subscription()).await
    }

    /// Waits until a new view is filled (or failed).
    pub async fn view_filled(&self, id: ObjectId) {
        self.database.view_filled(id).await;
    }

    /// Waits until everything that can be read now has been read, computed and delivered.
    pub async fn settled(&self) {
        // Jobs over views come to rest after the views.
        self.database.settled().await;
        let jobs: Vec<_> = self.jobs.lock().values().cloned().collect();
        for job in jobs {
            job.settled().await;
        }
    }

    /// Waits until all input that has an end has been read to it, computed and delivered.
    pub async fn read_to_end(&self) {
        self.database.read_to_end().await;
        let catalog = self.catalog.snapshot();
        let ends = |(id, job): (&ObjectId, &Arc<Job>)| catalog.is_bounded(*id).then(|| Arc::clone(job));
        let jobs: Vec<_> = self.jobs.lock().iter().filter_map(ends).collect();
        for job in jobs {
            job.settled().await;
        }
    }

    /// Makes every pipeline look at its inputs and the clock (a test has moved it).
    pub fn poke(&self) {
        self.database.poke();
        self.jobs.lock().values().for_each(|job| job.poke());
    }

    /// Ends all pipelines; jobs deliver what they have computed. What is wanted stays as it is.
    pub async fn shutdown(&self) {
        let jobs: Vec<_> = std::mem::take(&mut *self.jobs.lock()).into_values().collect();
        futures::future::join_all(jobs.iter().map(|job| job.shut_down())).await;
        self.database.shutdown().await;
        self.catalog.close();
    }

    /// Checks the sinks of a plan beforehand.
    async fn preflight(&self, plan: &str) -> Result<()> {
        let plan = StreamPlan::from_text(plan)?;
        for sink in self.sinks(&plan)? {
            blocking(move || sink.sink.preflight().map_err(|e| e.context(format!("sink \"{}\"", sink.name)))).await??;
        }
        Ok(())
    }

    /// Where each source of a plan is to be read from.
    async fn resolve(&self, plan: &str) -> Result<Starts> {
        let plan = StreamPlan::from_text(plan)?;
        let mut starts = Starts::new();
        for node in &plan.nodes {
            let Op::Scan { source: name, .. } = &node.op else { continue };
            if starts.contains_key(name) {
                continue;
            }
            let SourceObject { source, dead_letters, .. } = source_of(&self.catalog.snapshot(), name)?;
            let resolved = blocking(move || {
                dead_letters.map_or(Ok(()), |sink| sink.preflight().map_err(|e| e.context("dead letters")))?;
                source.resolve_start()
            })
            .await?;
            let positions = resolved.map_err(|e| e.context(format!("source \"{name}\"")))?;
            starts.insert(name.clone(), positions);
        }
        Ok(starts)
    }

    pub(super) fn sinks(&self, plan: &StreamPlan) -> Result<Vec<JobSink>> {
        let catalog = self.catalog.snapshot();
        let sink = |target: &Target| match target {
            Target::Sink(name) => match catalog.find(name).map(|object| &object.kind) {
                Some(ObjectKind::Sink(sink)) => Ok(JobSink {
                    name: name.clone(),
                    sink: Arc::clone(&sink.sink),
                    schema: schema_of(&sink.columns),
                    budget: Arc::clone(&self.budget),
                }),
                _ => Err(Error::new(SqlState::UndefinedTable, format!("sink \"{name}\" does not exist"))),
            },
            Target::View => Err(Error::internal("a job's plan writes a view")),
        };
        plan.outputs.iter().map(|output| sink(&output.target)).collect()
    }

    pub(super) fn state(&self) -> StateContext {
        let (backend, budget) = (self.config.backend, Arc::clone(&self.budget));
        StateContext {
            backend,
            groups: 0..KEY_GROUPS,
            budget,
            tracked: self.durability.is_some() || self.config.rehearsal.is_some(),
        }
    }

    async fn start_view(&self, object: &Object, view: &ViewObject) -> Result<()> {
        let plan = Arc::new(StreamPlan::from_text(&view.plan)?);
        let (schema, state) = (schema_of(&view.columns), self.state());
        let rows = rows_of(&plan, &schema, state.tracked)?;
        let plan = NewPlan {
            id: object.id,
            name: object.name.clone(),
            fingerprint: Fingerprint::of(&view.plan),
            fragment: Fragment::new(plan, self.config.parallelism.get(), &state)?,
            view: Some(rows),
            starts: view.starts.clone(),
        };
        self.database.add(NewMember { plan, kind: NewKind::View(schema) }).await
    }
}

/// The database pipeline's log, and what it goes on from.
async fn reopen_database(
    durability: Option<Durability>,
    wake: Arc<Notify>,
    history: EpochHistory,
) -> Result<Option<(Epochs, Option<Reopened>)>> {
    let Some(durability) = durability else { return Ok(None) };
    let settings = EpochSettings::default();
    let open = move || durability.open(durability::DATABASE, DATABASE.to_string(), &settings, wake, history);
    blocking(open).await?.map(Some).map_err(stored_views)
}
