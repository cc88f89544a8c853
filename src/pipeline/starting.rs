//! Bringing jobs up: when they are created, when the server starts, and when one is resumed.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::catalog::{JobObject, Object, Wanted};
use crate::connector::Waker;
use crate::dataflow::Fragment;
use crate::error::{Error, Result};
use crate::plan::{Op, StreamPlan};

use super::database::{NewKind, NewMember};
use super::durability::owed_to;
use super::engine::Engine;
use super::follow::InHand;
use super::history::EpochHistory;
use super::image::Fingerprint;
use super::job::{Job, JobSink, Lives, OnEnd};
use super::launch::Launch;
use super::member::NewPlan;
use super::opener::Opener;
use super::restarts::Restarts;
use super::status::{Counts, JobState, JobStatus};
use super::tick_loop::waker;
use super::ticks::{Started, Ticks};

impl Engine {
    pub(super) async fn start_job(&self, object: &Object, job: &JobObject) {
        let parallelism = job.options.shards().unwrap_or(self.config.parallelism.get());
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
            restarts: 0,
            next_restart: None,
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
        let launch = Launch {
            id: object.id,
            name: object.name.clone(),
            plan: Arc::new(plan),
            fingerprint: Fingerprint::of(&job.plan),
            starts: job.starts.clone(),
            outputs: sinks.len(),
            opener: self.opener(&object.name, waker(&wake)),
            rehearsal: self.config.rehearsal.clone(),
            state: self.state(),
            pool: self.pool.clone(),
            cuts: self.config.cuts,
            durability: self.durability.clone().map(|durability| (durability, self.history_of(object))),
            epochs: job.options.epochs,
            wake: Arc::clone(&wake),
        };
        // Without epochs there is nothing to go on from.
        let restarts = self.durability.is_some().then(|| Restarts::new(job.options.restart));
        let lives = Lives {
            sinks,
            metrics: self.metrics.job(&object.name),
            clock: Arc::clone(&self.config.clock),
            start: Arc::new(move |parallelism| launch.start(parallelism)),
            restarts,
        };
        let deliveries = lives.deliveries();
        Job::spawn(status, (wake, InHand::default()), lives, deliveries, self.on_end())
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
        let wake = (Arc::new(Notify::new()), follower.in_hand());
        let owed = owed_to(object.id, sinks.len(), &mut self.owed.lock());
        let started = Mutex::new(Some(Started { ticks: Ticks::Database(Box::new(follower)), owed }));
        let once = move |_| started.lock().take().ok_or_else(|| Error::internal("a job over views was started twice"));
        let (metrics, clock) = (self.metrics.job(&object.name), Arc::clone(&self.config.clock));
        let lives = Lives { sinks, metrics, clock, start: Arc::new(once), restarts: None };
        let deliveries = lives.deliveries();
        let running = Job::spawn(status, wake, lives, Arc::clone(&deliveries), self.on_end());
        let plan = NewPlan {
            id: object.id,
            name: object.name.clone(),
            fingerprint: Fingerprint::of(&job.plan),
            fragment,
            view: None,
            starts: job.starts.clone(),
        };
        self.database.add(NewMember { plan, kind: NewKind::Job(ticks, deliveries) }).await?;
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

/// The state of a job that need not run.
pub(super) fn ended(wanted: Wanted) -> Option<JobState> {
    match wanted {
        Wanted::Running => None,
        Wanted::Paused => Some(JobState::Paused),
        Wanted::Stopped => Some(JobState::Stopped),
        Wanted::Canceled => Some(JobState::Canceled),
        Wanted::Finished => Some(JobState::Finished),
    }
}

/// A job that could not even start.
fn failed(status: JobStatus, reason: Error) -> Job {
    Job::ended(JobStatus { state: JobState::Failed, reason: Some(reason), settled: true, ..status })
}
