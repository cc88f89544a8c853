//! What runs in this process: the catalog, the database pipeline and the jobs. Sessions ask it to create, stop and drop;
//! when it opens, everything that was wanted runs again, by its stored plan from the newest epoch that is stored of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::catalog::{
    Catalog, CatalogSnapshot, EpochSettings, JobObject, NewObject, Object, ObjectId, ObjectKind, SourceObject, Starts,
    ViewObject, Wanted,
};
use crate::change::key::KEY_GROUPS;
use crate::connector::Waker;
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
use super::durability::{self, Durability, Owed, Reopened, job_path, owed_to, restore};
use super::epochs::Epochs;
use super::follow::InHand;
use super::history::{EpochHistory, EpochRecord};
use super::image::Fingerprint;
use super::job::{Job, JobSink, OnEnd, Started, Ticks};
use super::member::{NewPlan, rows_of};
use super::meter::Meter;
use super::opener::{Opener, source_of};
use super::queries::QueryThreads;
use super::rehearsal::Rehearsal;
use super::status::{Counts, JobState, JobStatus, ViewStatus};
use super::subscribe::Subscription;
use super::tick_loop::{TickLoop, waker};

/// The database pipeline's name in metrics.
const DATABASE: &str = "(database)";

pub struct Engine {
    config: EngineConfig,
    catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    pool: WorkerPool,
    queries: QueryThreads,
    database: DatabasePipeline,
    /// `None`: what runs here is gone with the process.
    durability: Option<Durability>,
    /// What earlier lives of jobs over views owe their sinks, until these jobs are started.
    owed: Mutex<BTreeMap<String, Owed>>,
    jobs: Mutex<BTreeMap<ObjectId, Arc<Job>>>,
    /// Of the database pipeline's epochs, and of each job's that has a pipeline of its own and was started here.
    history: EpochHistory,
    job_histories: Mutex<BTreeMap<ObjectId, EpochHistory>>,
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
        let catalog = self.catalog.snapshot();
        let is_view = |id: ObjectId| catalog.get(id).is_some_and(|object| object.class() == ObjectClass::View);
        let reads_views = |object: &Arc<Object>| object.depends_on.iter().any(|read| is_view(*read));
        match is_view(id) || catalog.get(id).is_some_and(reads_views) {
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
        let figures = job.status().ended();
        blocking(move || catalog.set_wanted(id, wanted, Some(figures))).await??;
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

    fn sinks(&self, plan: &StreamPlan) -> Result<Vec<JobSink>> {
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

    fn state(&self) -> StateContext {
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

    async fn start_job(&self, object: &Object, job: &JobObject) {
        let parallelism = job.options.parallelism.unwrap_or(self.config.parallelism.get());
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
            Some(state) => Job::ended(JobStatus { state, settled: true, ..status.with_figures_of(job.ended) }),
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
        let opener = self.opener(&object.name, waker(&wake));
        let rehearsal = self.config.rehearsal.as_ref().map(|plan| Rehearsal::new(plan, &object.name, &self.budget));
        let (state, pool) = (self.state(), self.pool.clone());
        let (clock, cuts) = (Arc::clone(&self.config.clock), self.config.cuts);
        let (name, new) = (object.name.clone(), new_plan(object, job));
        let parallelism = status.parallelism;
        let (to_wake, account) = (Arc::clone(&wake), self.budget.account());
        let (meter, metrics) = (Meter::new(&self.metrics, &name), self.metrics.job(&name));
        let durability = self.durability.clone().map(|d| (d, self.history_of(object)));
        let (id, outputs, settings) = (object.id, sinks.len(), job.options.epochs);
        let print = format!("{:?}", Fingerprint::of(&job.plan));
        let start = move || {
            let opened =
                durability.map(|(d, history)| d.open(&job_path(id), print, &settings, Arc::clone(&to_wake), history));
            let opened = opened.transpose()?;
            let (epochs, reopened) = opened.unzip();
            let fragment = Fragment::new(Arc::new(plan), parallelism, &state)?;
            let (core, owed) = match reopened.flatten() {
                Some(Reopened { image, state, mut owed }) => {
                    let mut core = Core::resumed(image, cuts, opener.into_open());
                    core.add(new(fragment))?;
                    restore(&mut core, state)?;
                    (core, owed_to(id, outputs, &mut owed))
                }
                None => {
                    let mut core = Core::new(cuts, opener.into_open());
                    core.add(new(fragment))?;
                    (core, Vec::new())
                }
            };
            let tick_loop = TickLoop::new(core, to_wake, clock, pool, meter, account).rehearsing(rehearsal);
            Ok(Started { ticks: Ticks::Own(Box::new(tick_loop), epochs.map(Box::new)), owed })
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
        // The job's task takes results from the first tick on: it must be there before.
        let (wake, metrics) = (Arc::new(Notify::new()), self.metrics.job(&object.name));
        let wake = (wake, follower.in_hand());
        let owed = owed_to(object.id, sinks.len(), &mut self.owed.lock());
        let start = move || Ok(Started { ticks: Ticks::Database(Box::new(follower)), owed });
        let running = Job::spawn(status, wake, sinks, metrics, start, self.on_end());
        let kind = NewKind::Job(ticks, running.deliveries());
        self.database.add(NewMember { plan: new_plan(object, job)(fragment), kind }).await?;
        Ok(running)
    }

    /// Records a job that has come to its end by itself.
    fn on_end(&self) -> OnEnd {
        let catalog = Arc::clone(&self.catalog);
        Box::new(move |id, wanted, ended| {
            if let Err(error) = catalog.set_wanted(id, wanted, Some(ended)) {
                tracing::error!(?error, "a job's end could not be recorded: it will start again with the server");
            }
        })
    }

    fn history_of(&self, job: &Object) -> EpochHistory {
        let new = || EpochHistory::new(self.metrics.job(&job.name).epochs());
        self.job_histories.lock().entry(job.id).or_insert_with(new).clone()
    }

    fn opener(&self, pipeline: &str, waker: Waker) -> Opener {
        Opener {
            pipeline: pipeline.to_string(),
            catalog: Arc::clone(&self.catalog),
            clock: Arc::clone(&self.config.clock),
            metrics: Arc::clone(&self.metrics),
            budget: Arc::clone(&self.budget),
            waker,
        }
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

/// A job's plan, given its fragment.
fn new_plan(object: &Object, job: &JobObject) -> impl FnOnce(Fragment) -> NewPlan + Send + use<> {
    let (id, name, starts) = (object.id, object.name.clone(), job.starts.clone());
    let fingerprint = Fingerprint::of(&job.plan);
    move |fragment| NewPlan { id, name, fingerprint, fragment, view: None, starts }
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

/// A job that could not even start.
fn failed(status: JobStatus, reason: Error) -> Job {
    Job::ended(JobStatus { state: JobState::Failed, reason: Some(reason), settled: true, ..status })
}

fn not_there() -> Error {
    Error::new(SqlState::UndefinedObject, "the streaming job does not exist")
}
