//! What runs in this process: the catalog, the database pipeline and the jobs. Sessions ask it to create, stop and drop;
//! when it opens, everything that was wanted runs again, by its stored plan and from its stored start positions.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::catalog::{
    Catalog, CatalogSnapshot, JobObject, NewObject, Object, ObjectId, ObjectKind, SourceObject, Starts, ViewObject,
    Wanted,
};
use crate::change::key::KEY_GROUPS;
use crate::clock::{SharedClock, SystemClock};
use crate::connector::{ReaderContext, Waker};
use crate::dataflow::{Fragment, WorkerPool};
use crate::error::{Error, Result, SqlState};
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::plan::{Changelog, Op, StreamPlan, Target};
use crate::sql::ast::ObjectClass;
use crate::state::{BackendKind, StateContext};
use crate::table::{DatabaseSnapshot, View};
use crate::types::schema_of;

use super::core::Core;
use super::database::{DatabasePipeline, NewKind, NewMember};
use super::dead_letters::DeadLetters;
use super::delivery::blocking;
use super::follow::InHand;
use super::job::{Job, JobSink, OnEnd, Ticks};
use super::meter::Meter;
use super::queries::QueryThreads;
use super::reading::{CutPolicy, Reading, needs};
use super::status::{Counts, JobState, JobStatus, ViewStatus};
use super::subscribe::Subscription;
use super::tick_loop::{TickLoop, waker};

/// The database pipeline's name in metrics.
const DATABASE: &str = "(database)";

/// How an engine runs. `Default` is what `serve` uses without flags, in memory.
#[derive(Clone)]
pub struct EngineConfig {
    /// Where the catalog lies; `None`: nowhere, it is gone with the process.
    pub data_dir: Option<PathBuf>,
    /// Shards of a pipeline that does not say; also the worker threads.
    pub parallelism: NonZeroUsize,
    pub cuts: CutPolicy,
    pub backend: BackendKind,
    pub clock: SharedClock,
    pub work: Work,
}

/// What an engine does with its views and jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Work {
    #[default]
    Run,
    /// They stay as they were left, to be looked at, canceled and dropped: for a server that they would end.
    Pause,
    /// They come into being and do not run: for checking a script.
    PlanOnly,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            data_dir: None,
            parallelism: cores(),
            cuts: CutPolicy::default(),
            backend: BackendKind::default(),
            clock: Arc::new(SystemClock),
            work: Work::default(),
        }
    }
}

pub struct Engine {
    config: EngineConfig,
    catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    pool: WorkerPool,
    queries: QueryThreads,
    database: DatabasePipeline,
    jobs: Mutex<BTreeMap<ObjectId, Arc<Job>>>,
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
        let (core, metrics) = (Core::new(config.cuts), Metrics::new());
        let meter = Meter::new(&metrics, DATABASE);
        let budget = Budget::new();
        let clock = Arc::clone(&config.clock);
        let tick_loop = TickLoop::new(core, Arc::clone(&wake), clock, pool.clone(), meter, budget.account());
        let database = DatabasePipeline::spawn(tick_loop, wake);
        let engine =
            Arc::new(Engine { config, catalog, metrics, budget, pool, queries, database, jobs: Mutex::default() });
        engine.start_all().await;
        Ok(engine)
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

    /// Where SELECTs are computed.
    pub fn queries(&self) -> &tokio::runtime::Handle {
        self.queries.handle()
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
            self.metrics.remove_job(&object.name);
        }
        self.forget(ids).await
    }

    async fn forget(&self, ids: &[ObjectId]) -> Result<()> {
        let (catalog, ids) = (Arc::clone(&self.catalog), ids.to_vec());
        blocking(move || Catalog::drop(&catalog, &ids)).await?
    }

    /// Ends a job with everything delivered that it computed. It stays in the catalog.
    pub async fn stop_job(&self, id: ObjectId) -> Result<()> {
        self.end_job(id, Wanted::Stopped).await
    }

    /// Ends a job at once.
    pub async fn cancel_job(&self, id: ObjectId) -> Result<()> {
        self.end_job(id, Wanted::Canceled).await
    }

    async fn end_job(&self, id: ObjectId, wanted: Wanted) -> Result<()> {
        let Some(job) = self.jobs.lock().get(&id).map(Arc::clone) else { return Err(not_there()) };
        let status = job.status();
        if status.state.is_over() && !matches!(status.state, JobState::Failed | JobState::Paused) {
            return Err(Error::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!("streaming job \"{}\" is not running: it is {}", status.name, status.state),
            ));
        }
        match wanted {
            Wanted::Canceled => job.cancel().await,
            _ => job.stop().await,
        }
        // A job over views runs there; of others the database pipeline knows nothing.
        self.database.remove(id).await?;
        let catalog = Arc::clone(&self.catalog);
        blocking(move || catalog.set_wanted(id, wanted)).await??;
        if status.state == JobState::Paused
            && let Some(state) = ended(wanted)
        {
            self.jobs.lock().insert(id, Arc::new(Job::ended(JobStatus { state, ..status })));
        }
        Ok(())
    }

    /// Runs a query over views and hands out what each tick changes, until the answer is dropped.
    pub async fn subscribe(&self, plan: StreamPlan) -> Result<Subscription> {
        self.check_running()?;
        let fragment = Fragment::new(Arc::new(plan), self.config.parallelism.get(), &self.state())?;
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

    fn sinks(&self, plan: &StreamPlan) -> Result<Vec<JobSink>> {
        let catalog = self.catalog.snapshot();
        let sink = |target: &Target| match target {
            Target::Sink(name) => match catalog.find(name).map(|object| &object.kind) {
                Some(ObjectKind::Sink(sink)) => Ok(JobSink {
                    name: name.clone(),
                    sink: Arc::clone(&sink.sink),
                    schema: schema_of(&sink.columns),
                    account: self.budget.account(),
                }),
                _ => Err(Error::new(SqlState::UndefinedTable, format!("sink \"{name}\" does not exist"))),
            },
            Target::View => Err(Error::internal("a job's plan writes a view")),
        };
        plan.outputs.iter().map(|output| sink(&output.target)).collect()
    }

    fn state(&self) -> StateContext {
        StateContext { backend: self.config.backend, groups: 0..KEY_GROUPS, budget: Arc::clone(&self.budget) }
    }

    async fn start_view(&self, object: &Object, view: &ViewObject) -> Result<()> {
        let plan = Arc::new(StreamPlan::from_text(&view.plan)?);
        let output = plan.outputs.first().and_then(|output| plan.nodes.get(output.node));
        let output = output.ok_or_else(|| Error::internal("a view's plan has no output"))?;
        let schema = schema_of(&view.columns);
        let append_only = output.changelog == Changelog::AppendOnly;
        let rows = View::new(Arc::clone(&schema), output.unique_key.as_deref(), append_only);
        let fragment = Fragment::new(Arc::clone(&plan), self.config.parallelism.get(), &self.state())?;
        let opener = self.opener(DATABASE, view.starts.clone(), self.database.waker());
        self.database
            .add(NewMember {
                id: object.id,
                name: object.name.clone(),
                fragment,
                kind: NewKind::View(schema, rows),
                open: Box::new(opener),
            })
            .await
    }

    async fn start_job(&self, object: &Object, job: &JobObject) {
        let parallelism = job.parallelism.unwrap_or(self.config.parallelism.get());
        let status = JobStatus {
            id: object.id,
            name: object.name.clone(),
            state: JobState::Starting,
            reason: None,
            parallelism,
            started: self.config.clock.now(),
            counts: Counts::default(),
            running: None,
            delivered_rows: 0,
            outbox_bytes: 0,
            buffered_bytes: 0,
            settled: false,
        };
        let paused = self.is_paused().then_some(JobState::Paused);
        let started = match ended(job.wanted).or(paused) {
            Some(state) => Job::ended(JobStatus { state, settled: true, ..status }),
            None => self.spawn_job(object, job, status).await,
        };
        self.jobs.lock().insert(object.id, Arc::new(started));
    }

    async fn spawn_job(&self, object: &Object, job: &JobObject, status: JobStatus) -> Job {
        let plan = match StreamPlan::from_text(&job.plan).and_then(|plan| Ok((self.sinks(&plan)?, plan))) {
            Ok(plan) => plan,
            Err(reason) => return failed(status, reason),
        };
        let (sinks, plan) = plan;
        if plan.nodes.iter().any(|node| matches!(node.op, Op::ViewScan { .. })) {
            return match self.spawn_over_views(object, job, plan, sinks, status.clone()).await {
                Ok(job) => job,
                Err(reason) => failed(status, reason),
            };
        }
        let wake = Arc::new(Notify::new());
        let mut opener = self.opener(&object.name, job.starts.clone(), waker(&wake));
        let (state, pool) = (self.state(), self.pool.clone());
        let (clock, cuts) = (Arc::clone(&self.config.clock), self.config.cuts);
        let (id, name, parallelism) = (object.id, object.name.clone(), status.parallelism);
        let (to_wake, account) = (Arc::clone(&wake), self.budget.account());
        let (meter, metrics) = (Meter::new(&self.metrics, &name), self.metrics.job(&name));
        let start = move || {
            let fragment = Fragment::new(Arc::new(plan), parallelism, &state)?;
            let mut core = Core::new(cuts);
            core.add(id, &name, fragment, None, &mut opener)?;
            Ok(Ticks::Own(Box::new(TickLoop::new(core, to_wake, clock, pool, meter, account))))
        };
        Job::spawn(status, (wake, InHand::default()), sinks, metrics, start, self.on_end())
    }

    /// A job that reads views runs in the database pipeline.
    async fn spawn_over_views(
        &self,
        object: &Object,
        job: &JobObject,
        plan: StreamPlan,
        sinks: Vec<JobSink>,
        status: JobStatus,
    ) -> Result<Job> {
        let (ticks, follower) = self.database.follower();
        let fragment = Fragment::new(Arc::new(plan), status.parallelism, &self.state())?;
        let member = NewMember {
            id: object.id,
            name: object.name.clone(),
            fragment,
            kind: NewKind::Job(ticks),
            open: Box::new(self.opener(DATABASE, job.starts.clone(), self.database.waker())),
        };
        // The job's task takes results from the first tick on: it must be there before.
        let (wake, metrics) = (Arc::new(Notify::new()), self.metrics.job(&object.name));
        let wake = (wake, follower.in_hand());
        let running =
            Job::spawn(status, wake, sinks, metrics, move || Ok(Ticks::Database(Box::new(follower))), self.on_end());
        self.database.add(member).await?;
        Ok(running)
    }

    /// Records a job that has come to its end by itself.
    fn on_end(&self) -> OnEnd {
        let catalog = Arc::clone(&self.catalog);
        Box::new(move |id, wanted| {
            if let Err(error) = catalog.set_wanted(id, wanted) {
                tracing::error!(?error, "a job's end could not be recorded: it will start again with the server");
            }
        })
    }

    /// Opens sources for a plan, at `starts`.
    fn opener(
        &self,
        pipeline: &str,
        starts: Starts,
        waker: Waker,
    ) -> impl FnMut(&str, &StreamPlan) -> Result<Reading> + Send + 'static {
        let (catalog, clock) = (Arc::clone(&self.catalog), Arc::clone(&self.config.clock));
        let (pipeline, metrics) = (pipeline.to_string(), self.metrics.job(pipeline));
        let budget = Arc::clone(&self.budget);
        move |name, plan| {
            let object = source_of(&catalog.snapshot(), name)?;
            let (columns, watermark) = needs(name, std::iter::once(plan));
            let positions = starts.get(name).cloned().unwrap_or_default();
            let letters = object.dead_letters.clone().map(|sink| {
                let metrics = metrics.sink(&format!("dead letters of {name}"));
                DeadLetters::start(&pipeline, name, sink, metrics, Arc::clone(&waker), budget.account())
            });
            let context = ReaderContext { waker: Arc::clone(&waker), clock: Arc::clone(&clock) };
            Reading::open(name, &object, columns, watermark, positions, context, letters)
        }
    }
}

/// The state of a job that need not run.
fn ended(wanted: Wanted) -> Option<JobState> {
    match wanted {
        Wanted::Running => None,
        Wanted::Stopped => Some(JobState::Stopped),
        Wanted::Canceled => Some(JobState::Canceled),
        Wanted::Finished => Some(JobState::Finished),
    }
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A job that could not even start.
fn failed(status: JobStatus, reason: Error) -> Job {
    Job::ended(JobStatus { state: JobState::Failed, reason: Some(reason), settled: true, ..status })
}

fn source_of(catalog: &CatalogSnapshot, name: &str) -> Result<SourceObject> {
    match catalog.find(name).map(|object| &object.kind) {
        Some(ObjectKind::Source(source)) => Ok(source.clone()),
        _ => Err(Error::new(SqlState::UndefinedTable, format!("source \"{name}\" does not exist"))),
    }
}

fn not_there() -> Error {
    Error::new(SqlState::UndefinedObject, "the streaming job does not exist")
}
