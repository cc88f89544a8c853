//! What a pipeline tells of itself: SHOW JOBS, metrics, waiting for it to come to rest.

use std::fmt;
use std::sync::Arc;

use crate::catalog::{Ended, Object, ObjectId};
use crate::change::Watermark;
use crate::clock::Micros;
use crate::dataflow::OperatorStats;
use crate::error::Error;
use crate::plan::StreamPlan;

/// Where a streaming job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    Starting,
    Running,
    /// STOP was said: no new ticks, what was computed is being delivered.
    Stopping,
    Stopped,
    Canceled,
    /// All of a bounded input is processed and delivered.
    Finished,
    Failed,
    /// It has failed, and will be started again.
    Restarting,
    /// It is to read nothing: the user said so, or the server was started without running anything.
    Paused,
}

impl JobState {
    /// Whether nothing of the job runs any more, unless somebody says so.
    pub fn is_over(self) -> bool {
        !matches!(self, JobState::Starting | JobState::Running | JobState::Stopping | JobState::Restarting)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JobState::Starting => "STARTING",
            JobState::Running => "RUNNING",
            JobState::Stopping => "STOPPING",
            JobState::Stopped => "STOPPED",
            JobState::Canceled => "CANCELED",
            JobState::Finished => "FINISHED",
            JobState::Failed => "FAILED",
            JobState::Restarting => "RESTARTING",
            JobState::Paused => "PAUSED",
        })
    }
}

/// A streaming job as of its last tick.
#[derive(Debug, Clone)]
pub struct JobStatus {
    pub id: ObjectId,
    pub name: String,
    pub state: JobState,
    /// Why it failed, or what holds it up at present.
    pub reason: Option<Error>,
    pub parallelism: usize,
    pub started: Micros,
    pub counts: Counts,
    /// `None` before its first tick, and when it does not run.
    pub running: Option<Running>,
    /// Rows that sinks have confirmed.
    pub delivered_rows: u64,
    /// Bytes that wait for sinks.
    pub outbox_bytes: usize,
    /// Bytes that readers have prefetched.
    pub buffered_bytes: usize,
    /// Every partition is at its end and everything is delivered.
    pub settled: bool,
    /// How often it was started again after it had failed.
    pub restarts: u64,
    /// When it will be.
    pub next_restart: Option<Micros>,
}

impl JobStatus {
    /// What is remembered of it when it has ended.
    pub(super) fn ended(&self) -> Ended {
        let Counts { input_rows, output_rows, late_rows, bad_rows, ticks, .. } = self.counts;
        let (started, delivered_rows) = (self.started, self.delivered_rows);
        Ended { started, input_rows, output_rows, delivered_rows, late_rows, bad_rows, ticks }
    }

    /// The same job as it was when it ended.
    pub(super) fn with_figures_of(self, ended: Option<Ended>) -> Self {
        let Some(Ended { started, input_rows, output_rows, delivered_rows, late_rows, bad_rows, ticks }) = ended else {
            return self;
        };
        let counts = Counts { ticks, input_rows, output_rows, late_rows, bad_rows, ..Counts::default() };
        JobStatus { started, counts, delivered_rows, ..self }
    }
}

/// A materialized view as of its last tick.
#[derive(Debug, Clone)]
pub struct ViewStatus {
    pub id: ObjectId,
    pub name: String,
    pub failed: Option<Error>,
    pub counts: Counts,
    /// `None`: it does not run.
    pub running: Option<Running>,
}

impl ViewStatus {
    /// Of a view that does not run.
    pub(super) fn paused(view: &Object) -> Self {
        let (id, name) = (view.id, view.name.clone());
        ViewStatus { id, name, failed: None, counts: Counts::default(), running: None }
    }
}

/// A running plan and how far each of its operators is: what EXPLAIN ANALYZE shows.
#[derive(Debug, Clone)]
pub struct Running {
    pub plan: Arc<StreamPlan>,
    /// Of the plan's nodes; empty before the first tick.
    pub operators: Arc<[OperatorStats]>,
}

impl Running {
    pub(super) fn of(member: &super::member::Member) -> Self {
        Running { plan: Arc::clone(member.fragment.plan()), operators: Arc::clone(&member.operators) }
    }
}

/// Counters since the start of the process; of a job that has ended, since its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub ticks: u64,
    pub input_rows: u64,
    pub input_bytes: u64,
    pub output_rows: u64,
    pub late_rows: u64,
    pub bad_rows: u64,
    pub state_bytes: usize,
    /// Shards that rows behind an exchange have reached.
    pub shards_reached: usize,
    pub watermark: Option<Watermark>,
}

impl Counts {
    pub(super) fn of(member: &super::member::Member, ticks: u64) -> Self {
        let stats = &member.stats;
        Counts {
            ticks,
            input_rows: stats.counters.input_rows,
            input_bytes: stats.counters.input_bytes,
            output_rows: stats.counters.output_rows,
            late_rows: stats.fragment.late_rows,
            bad_rows: stats.counters.bad_rows,
            state_bytes: stats.fragment.state_bytes + member.view.as_ref().map_or(0, crate::table::View::bytes),
            shards_reached: stats.fragment.shards_reached,
            watermark: stats.watermark.filter(|w| *w != Watermark::NONE),
        }
    }
}
