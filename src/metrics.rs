//! What an engine counts: one registry, and small handles for the rooms that count.
//!
//! A room asks once for its handle ([`JobMetrics`], [`PartitionMetrics`], [`OperatorMetrics`], ...) and then only touches
//! atomics: counting a batch takes no lock and no lookup. Series of a job live until [`Metrics::remove_job`]; a handle
//! that outlives it counts into nothing.
//!
//! Names follow Prometheus' conventions: base units (seconds, bytes), counters end in `_total`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::clock::{MICROS_PER_SECOND, Micros};

/// A gauge of seconds.
pub type Seconds = Gauge<f64, AtomicU64>;

/// Upper bounds of a tick's duration: 0.1 ms to 26 s in steps of four. Nine buckets tell a tick of a quiet pipeline from
/// one that holds up its checkpoint, and cost little for each of a hundred jobs.
const TICK_BUCKETS: (f64, f64, u16) = (0.000_1, 4.0, 10);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    job: String,
    source: String,
    partition: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperatorLabels {
    job: String,
    operator: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabels {
    job: String,
    sink: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EpochLabels {
    job: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    job: String,
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatementLabels {
    kind: String,
    outcome: String,
}

/// A histogram of the durations of ticks, and of epochs' steps; a function, because a family wants to be handed one.
fn tick_histogram() -> Histogram {
    let (start, factor, length) = TICK_BUCKETS;
    Histogram::new(exponential_buckets(start, factor, length))
}

/// All families. Cloning shares them.
#[derive(Clone)]
struct Families {
    input_rows: Family<PartitionLabels, Counter>,
    input_bytes: Family<PartitionLabels, Counter>,
    bad_messages: Family<PartitionLabels, Counter>,
    watermark_lag: Family<PartitionLabels, Seconds>,
    output_rows: Family<OperatorLabels, Counter>,
    late_rows: Family<OperatorLabels, Counter>,
    state_bytes: Family<OperatorLabels, Gauge>,
    ticks: Family<JobLabels, Counter>,
    tick_duration: Family<JobLabels, Histogram, fn() -> Histogram>,
    outbox_bytes: Family<SinkLabels, Gauge>,
    epochs: Family<EpochLabels, Counter>,
    epoch_step: Family<StepLabels, Histogram, fn() -> Histogram>,
    epoch_bytes: Family<JobLabels, Counter>,
    epoch_total_bytes: Family<JobLabels, Gauge>,
    last_epoch: Family<JobLabels, Seconds>,
    statements: Family<StatementLabels, Counter>,
    sessions: Gauge,
    subscriptions: Gauge,
    subscription_rows: Counter,
    subscription_waiting_bytes: Gauge,
    memory_used: Gauge,
}

impl Families {
    fn new() -> Self {
        Families {
            input_rows: Family::default(),
            input_bytes: Family::default(),
            bad_messages: Family::default(),
            watermark_lag: Family::default(),
            output_rows: Family::default(),
            late_rows: Family::default(),
            state_bytes: Family::default(),
            ticks: Family::default(),
            tick_duration: Family::new_with_constructor(tick_histogram as fn() -> Histogram),
            outbox_bytes: Family::default(),
            epochs: Family::default(),
            epoch_step: Family::new_with_constructor(tick_histogram as fn() -> Histogram),
            epoch_bytes: Family::default(),
            epoch_total_bytes: Family::default(),
            last_epoch: Family::default(),
            statements: Family::default(),
            sessions: Gauge::default(),
            subscriptions: Gauge::default(),
            subscription_rows: Counter::default(),
            subscription_waiting_bytes: Gauge::default(),
            memory_used: Gauge::default(),
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("input_rows", "Rows read from a source's partition", self.input_rows.clone());
        registry.register("input_bytes", "Bytes read from a source's partition", self.input_bytes.clone());
        registry.register("bad_messages", "Messages that could not be decoded", self.bad_messages.clone());
        let lag = "How far a partition's watermark is behind the wall clock";
        registry.register("watermark_lag_seconds", lag, self.watermark_lag.clone());
        registry.register("output_rows", "Rows an operator has put out", self.output_rows.clone());
        registry.register("late_rows", "Rows an operator dropped as late", self.late_rows.clone());
        registry.register("state_bytes", "Bytes of state an operator keeps", self.state_bytes.clone());
        registry.register("ticks", "Ticks run", self.ticks.clone());
        registry.register("tick_duration_seconds", "How long a tick took", self.tick_duration.clone());
        registry.register("outbox_bytes", "Bytes of results not yet delivered", self.outbox_bytes.clone());
        registry.register("epochs", "Epochs that ended, by outcome", self.epochs.clone());
        registry.register("epoch_step_duration_seconds", "How long a step of an epoch took", self.epoch_step.clone());
        registry.register("epoch_bytes", "Bytes that epochs have written of changed state", self.epoch_bytes.clone());
        let total = "Bytes of all state as the last complete epoch holds it";
        registry.register("epoch_total_bytes", total, self.epoch_total_bytes.clone());
        let last = "When the last epoch became complete, in seconds since 1970";
        registry.register("last_epoch_timestamp_seconds", last, self.last_epoch.clone());
        registry.register("statements", "Statements run, by kind and outcome", self.statements.clone());
        registry.register("sessions", "Sessions connected", self.sessions.clone());
        registry.register("subscriptions", "Subscriptions open", self.subscriptions.clone());
        let rows = "Rows and changes of rows that subscriptions have taken";
        registry.register("subscription_rows", rows, self.subscription_rows.clone());
        let waiting = "Bytes of changes that wait for the readers of subscriptions";
        registry.register("subscription_waiting_bytes", waiting, self.subscription_waiting_bytes.clone());
        registry.register("memory_used_bytes", "Bytes taken from the memory budget", self.memory_used.clone());
    }
}

/// The label sets a job has used, so that they can be taken away with it.
#[derive(Default)]
struct JobSeries {
    partitions: HashSet<PartitionLabels>,
    operators: HashSet<OperatorLabels>,
    sinks: HashSet<SinkLabels>,
}

/// An engine's metrics.
pub struct Metrics {
    registry: Registry,
    families: Families,
    jobs: Mutex<BTreeMap<String, JobSeries>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let families = Families::new();
        let mut registry = Registry::with_prefix("tidemill");
        families.register(&mut registry);
        Metrics { registry, families, jobs: Mutex::default() }
    }
}

impl Metrics {
    /// A registry; an engine has one, which everything that serves it counts into.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counters of one pipeline, by its job's or view's name.
    pub fn job(self: &Arc<Self>, job: &str) -> JobMetrics {
        let labels = JobLabels { job: job.to_string() };
        self.jobs.lock().entry(job.to_string()).or_default();
        JobMetrics {
            metrics: Arc::clone(self),
            ticks: self.families.ticks.get_or_create_owned(&labels),
            tick_duration: self.families.tick_duration.get_or_create_owned(&labels),
            job: job.to_string(),
        }
    }

    /// Takes away all series of a dropped job.
    pub fn remove_job(&self, job: &str) {
        let mut jobs = self.jobs.lock();
        let Some(series) = jobs.remove(job) else { return };
        let families = &self.families;
        for labels in &series.partitions {
            families.input_rows.remove(labels);
            families.input_bytes.remove(labels);
            families.bad_messages.remove(labels);
            families.watermark_lag.remove(labels);
        }
        for labels in &series.operators {
            families.output_rows.remove(labels);
            families.late_rows.remove(labels);
            families.state_bytes.remove(labels);
        }
        for labels in &series.sinks {
            families.outbox_bytes.remove(labels);
        }
        let labels = JobLabels { job: job.to_string() };
        families.ticks.remove(&labels);
        families.tick_duration.remove(&labels);
        families.epoch_bytes.remove(&labels);
        families.epoch_total_bytes.remove(&labels);
        families.last_epoch.remove(&labels);
        for outcome in [COMPLETE, FAILED] {
            families.epochs.remove(&EpochLabels { job: job.to_string(), outcome });
        }
        for step in STEPS {
            families.epoch_step.remove(&StepLabels { job: job.to_string(), step });
        }
    }

    /// Counts a session until the answer is dropped.
    pub fn session(self: &Arc<Self>) -> SessionCount {
        self.families.sessions.inc();
        SessionCount(self.families.sessions.clone())
    }

    /// Counts a subscription until the answer is dropped.
    pub fn subscription(&self) -> SubscriptionMetrics {
        let families = &self.families;
        families.subscriptions.inc();
        SubscriptionMetrics {
            open: families.subscriptions.clone(),
            rows: families.subscription_rows.clone(),
            waiting: families.subscription_waiting_bytes.clone(),
            own_waiting: 0,
        }
    }

    /// Counts a statement; `outcome` is "ok" or the error's SQLSTATE. `kind` is the statement's command ("SELECT", "CREATE
    /// SOURCE"): a small set, never text that a user chose.
    pub fn statement(&self, kind: &str, outcome: &str) {
        let labels = StatementLabels { kind: kind.to_string(), outcome: outcome.to_string() };
        self.families.statements.get_or_create(&labels).inc();
    }

    /// States what the memory budget says is used now.
    pub fn set_memory_used(&self, bytes: usize) {
        self.families.memory_used.set(gauge_value(bytes));
    }

    /// Everything, in Prometheus' text format (OpenMetrics 1.0).
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// One connected session; counted until dropped.
pub struct SessionCount(Gauge);

impl Drop for SessionCount {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counters of one subscription. All of them share their series, since a subscription has no name.
pub struct SubscriptionMetrics {
    open: Gauge,
    pub rows: Counter,
    waiting: Gauge,
    /// This one's part of `waiting`.
    own_waiting: i64,
}

impl SubscriptionMetrics {
    /// States how many bytes of changes wait for its reader.
    pub fn set_waiting_bytes(&mut self, bytes: usize) {
        let bytes = gauge_value(bytes);
        self.waiting.inc_by(bytes - self.own_waiting);
        self.own_waiting = bytes;
    }
}

impl Drop for SubscriptionMetrics {
    fn drop(&mut self) {
        self.set_waiting_bytes(0);
        self.open.dec();
    }
}

/// Counters of one pipeline.
#[derive(Clone)]
pub struct JobMetrics {
    metrics: Arc<Metrics>,
    job: String,
    ticks: Counter,
    tick_duration: Histogram,
}

impl JobMetrics {
    /// A tick has ended.
    pub fn tick(&self, seconds: f64) {
        self.ticks.inc();
        self.tick_duration.observe(seconds);
    }

    /// Ticks since the process started.
    pub fn ticks(&self) -> u64 {
        self.ticks.get()
    }

    /// Counters of a partition of a source that the pipeline reads.
    pub fn partition(&self, source: &str, partition: &str) -> PartitionMetrics {
        let labels =
            PartitionLabels { job: self.job.clone(), source: source.to_string(), partition: partition.to_string() };
        let mut jobs = self.metrics.jobs.lock();
        let families = &self.metrics.families;
        let Some(series) = jobs.get_mut(&self.job) else {
            return PartitionMetrics::default();
        };
        let handle = PartitionMetrics {
            rows: families.input_rows.get_or_create_owned(&labels),
            bytes: families.input_bytes.get_or_create_owned(&labels),
            bad_messages: families.bad_messages.get_or_create_owned(&labels),
        };
        series.partitions.insert(labels);
        handle
    }

    /// How far a partition's watermark is behind the wall clock. `None`: it has no watermark, or has ended, and there is no
    /// such series.
    pub fn set_watermark_lag(&self, source: &str, partition: &str, lag: Option<Micros>) {
        let labels =
            PartitionLabels { job: self.job.clone(), source: source.to_string(), partition: partition.to_string() };
        let mut jobs = self.metrics.jobs.lock();
        let Some(series) = jobs.get_mut(&self.job) else { return };
        let lags = &self.metrics.families.watermark_lag;
        match lag {
            Some(lag) => {
                lags.get_or_create_owned(&labels).set(lag as f64 / MICROS_PER_SECOND as f64);
                series.partitions.insert(labels);
            }
            None => {
                lags.remove(&labels);
            }
        }
    }

    /// Counters of an operator; `operator` as EXPLAIN names it. Shards share them.
    pub fn operator(&self, operator: &str) -> OperatorMetrics {
        let labels = OperatorLabels { job: self.job.clone(), operator: operator.to_string() };
        let mut jobs = self.metrics.jobs.lock();
        let families = &self.metrics.families;
        let Some(series) = jobs.get_mut(&self.job) else {
            return OperatorMetrics::default();
        };
        let handle = OperatorMetrics {
            output_rows: families.output_rows.get_or_create_owned(&labels),
            late_rows: families.late_rows.get_or_create_owned(&labels),
            state_bytes: families.state_bytes.get_or_create_owned(&labels),
        };
        series.operators.insert(labels);
        handle
    }

    /// Counters of the pipeline's epochs.
    pub fn epochs(&self) -> EpochMetrics {
        let job = JobLabels { job: self.job.clone() };
        let families = &self.metrics.families;
        let ended = |outcome| families.epochs.get_or_create_owned(&EpochLabels { job: self.job.clone(), outcome });
        let step = |step| families.epoch_step.get_or_create_owned(&StepLabels { job: self.job.clone(), step });
        EpochMetrics {
            complete: ended(COMPLETE),
            failed: ended(FAILED),
            steps: STEPS.map(step),
            bytes: families.epoch_bytes.get_or_create_owned(&job),
            total_bytes: families.epoch_total_bytes.get_or_create_owned(&job),
            last: families.last_epoch.get_or_create_owned(&job),
        }
    }

    /// Counters of a sink's outbox.
    pub fn sink(&self, sink: &str) -> SinkMetrics {
        let labels = SinkLabels { job: self.job.clone(), sink: sink.to_string() };
        let mut jobs = self.metrics.jobs.lock();
        let Some(series) = jobs.get_mut(&self.job) else {
            return SinkMetrics::default();
        };
        let handle = SinkMetrics { outbox_bytes: self.metrics.families.outbox_bytes.get_or_create_owned(&labels) };
        series.sinks.insert(labels);
        handle
    }
}

/// Counters of one partition of a source.
#[derive(Debug, Clone, Default)]
pub struct PartitionMetrics {
    pub rows: Counter,
    pub bytes: Counter,
    pub bad_messages: Counter,
}

/// Counters of one operator.
#[derive(Debug, Clone, Default)]
pub struct OperatorMetrics {
    pub output_rows: Counter,
    pub late_rows: Counter,
    state_bytes: Gauge,
}

impl OperatorMetrics {
    /// All shards together.
    pub fn set_state_bytes(&self, bytes: usize) {
        self.state_bytes.set(gauge_value(bytes));
    }
}

/// Counters of one sink of a job.
#[derive(Debug, Clone, Default)]
pub struct SinkMetrics {
    outbox_bytes: Gauge,
}

impl SinkMetrics {
    pub fn set_outbox_bytes(&self, bytes: usize) {
        self.outbox_bytes.set(gauge_value(bytes));
    }
}

/// How epochs end.
const COMPLETE: &str = "complete";
const FAILED: &str = "failed";

/// What an epoch's time goes into. `stall` is part of freeze and drain: ticks stand still.
const STEPS: [&str; 6] = ["stall", "freeze", "drain", "upload", "commit", "total"];

/// Counters of a pipeline's epochs.
#[derive(Debug, Clone)]
pub struct EpochMetrics {
    complete: Counter,
    failed: Counter,
    steps: [Histogram; STEPS.len()],
    bytes: Counter,
    total_bytes: Gauge,
    last: Seconds,
}

/// How long an epoch's steps took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EpochSteps {
    /// Ticks stood still, all in all.
    pub stall: Duration,
    /// State was frozen by a swap, and the image taken.
    pub freeze: Duration,
    /// From then until all that was frozen was handed out, in pieces between ticks.
    pub drain: Duration,
    /// Entries were sorted and written, and results that wait for sinks.
    pub upload: Duration,
    /// The commit was created, and seen to be the newest.
    pub commit: Duration,
    /// From the end of its last tick until it was true.
    pub total: Duration,
}

impl EpochMetrics {
    /// An epoch became true at `now`.
    pub fn complete(&self, now: Micros, steps: &EpochSteps, bytes: u64, total_bytes: u64) {
        self.complete.inc();
        let EpochSteps { stall, freeze, drain, upload, commit, total } = steps;
        let times = [stall, freeze, drain, upload, commit, total];
        self.steps.iter().zip(times).for_each(|(step, time)| step.observe(time.as_secs_f64()));
        self.bytes.inc_by(bytes);
        self.total_bytes.set(gauge_value(usize::try_from(total_bytes).unwrap_or(usize::MAX)));
        self.last.set(now as f64 / MICROS_PER_SECOND as f64);
    }

    pub fn failed(&self) {
        self.failed.inc();
    }
}

fn gauge_value(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_shown_by_label() {
        let metrics = Metrics::new();
        let job = metrics.job("revenue");
        job.tick(0.002);
        let partition = job.partition("orders", "2");
        partition.rows.inc_by(7);
        job.set_watermark_lag("orders", "2", Some(1_500_000));
        job.operator("3 aggregate").set_state_bytes(4096);
        job.sink("per_minute").set_outbox_bytes(10);
        metrics.statement("SELECT", "22012");
        metrics.set_memory_used(5);
        let text = metrics.encode().unwrap();
        for line in [
            r#"tidemill_ticks_total{job="revenue"} 1"#,
            r#"tidemill_input_rows_total{job="revenue",source="orders",partition="2"} 7"#,
            r#"tidemill_watermark_lag_seconds{job="revenue",source="orders",partition="2"} 1.5"#,
            r#"tidemill_state_bytes{job="revenue",operator="3 aggregate"} 4096"#,
            r#"tidemill_outbox_bytes{job="revenue",sink="per_minute"} 10"#,
            r#"tidemill_statements_total{kind="SELECT",outcome="22012"} 1"#,
            r#"tidemill_tick_duration_seconds_bucket{le="0.0016",job="revenue"} 0"#,
            "tidemill_memory_used_bytes 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn a_dropped_job_leaves_nothing_behind() {
        let metrics = Metrics::new();
        let (kept, dropped) = (metrics.job("kept"), metrics.job("gone"));
        for job in [&kept, &dropped] {
            job.tick(1.0);
            job.partition("s", "0").rows.inc();
            job.operator("1 filter").late_rows.inc();
            job.sink("out").set_outbox_bytes(1);
        }
        let kept_lines = |text: &str| text.matches("job=\"kept\"").count();
        let before = kept_lines(&metrics.encode().unwrap());
        metrics.remove_job("gone");
        dropped.tick(1.0);
        dropped.partition("s", "1").rows.inc();
        let text = metrics.encode().unwrap();
        assert!(!text.contains("gone"), "{text}");
        assert_eq!(kept_lines(&text), before, "{text}");
    }

    #[test]
    fn sessions_are_counted_while_they_live() {
        let metrics = Metrics::new();
        let one = metrics.session();
        let two = metrics.session();
        drop(one);
        assert!(metrics.encode().unwrap().contains("tidemill_sessions 1\n"));
        drop(two);
        assert!(metrics.encode().unwrap().contains("tidemill_sessions 0\n"));
    }

    #[test]
    fn subscriptions_add_up_what_waits() {
        let metrics = Metrics::new();
        let shown = || {
            let text = metrics.encode().unwrap();
            let lines = text.lines().filter(|line| line.starts_with("tidemill_subscription"));
            lines.map(|line| line.trim_start_matches("tidemill_").to_string()).collect::<Vec<_>>()
        };
        let (mut one, mut two) = (metrics.subscription(), metrics.subscription());
        one.set_waiting_bytes(100);
        two.set_waiting_bytes(7);
        one.set_waiting_bytes(40);
        one.rows.inc_by(3);
        assert_eq!(shown(), ["subscriptions 2", "subscription_rows_total 3", "subscription_waiting_bytes 47"]);
        drop(one);
        assert_eq!(shown(), ["subscriptions 1", "subscription_rows_total 3", "subscription_waiting_bytes 7"]);
    }
}
