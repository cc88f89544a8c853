//! What can exist in a catalog.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::restart::RestartStrategy;
use crate::clock::Micros;
pub use crate::connector::OnError;
use crate::connector::{Positions, Sink, Source};
use crate::sql::ast::ObjectClass;
use crate::types::Column;

/// Never reused within a data directory. Also the object's `pg_class.oid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ObjectId(pub u32);

#[derive(Debug, Clone)]
pub struct Object {
    pub id: ObjectId,
    pub name: String,
    /// The CREATE statement as it was written: what is persisted and what `\d+` may show.
    pub definition: String,
    /// Objects that this one reads or writes; they cannot be dropped before it.
    pub depends_on: Vec<ObjectId>,
    pub kind: ObjectKind,
}

impl Object {
    pub fn class(&self) -> ObjectClass {
        self.kind.class()
    }

    /// Declared columns; a job has none.
    pub fn columns(&self) -> &[Column] {
        match &self.kind {
            ObjectKind::Source(source) => &source.columns,
            ObjectKind::Sink(sink) => &sink.columns,
            ObjectKind::View(view) => &view.columns,
            ObjectKind::Job(_) => &[],
        }
    }

    /// As in a sentence: `materialized view live`.
    pub fn describe(&self) -> String {
        format!("{} {}", self.class().noun(), crate::sql::names::quoted(&self.name))
    }
}

/// An object that is about to be created. A job or a view comes without starts: whoever runs it resolves them.
#[derive(Debug, Clone)]
pub struct NewObject {
    pub name: String,
    pub if_not_exists: bool,
    /// The statement as written.
    pub definition: String,
    pub depends_on: Vec<ObjectId>,
    pub kind: ObjectKind,
}

#[derive(Debug, Clone)]
pub enum ObjectKind {
    Source(SourceObject),
    Sink(SinkObject),
    View(ViewObject),
    Job(JobObject),
}

impl ObjectKind {
    pub fn class(&self) -> ObjectClass {
        match self {
            ObjectKind::Source(_) => ObjectClass::Source,
            ObjectKind::Sink(_) => ObjectClass::Sink,
            ObjectKind::View(_) => ObjectClass::View,
            ObjectKind::Job(_) => ObjectClass::Job,
        }
    }
}

#[derive(Debug, Clone)]
pub struct SourceObject {
    /// All declared columns, computed ones too.
    pub columns: Vec<Column>,
    pub computed: Vec<ComputedColumn>,
    pub watermark: Option<WatermarkClause>,
    pub source: Arc<dyn Source>,
    /// How long a partition that was read to its end may hold the watermark back, in microseconds.
    pub idle_timeout: i64,
    pub on_error: OnError,
    /// Where undecodable messages go, if that is asked for.
    pub dead_letters: Option<Arc<dyn Sink>>,
}

/// A column that a source does not bring: the rest of the row tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputedColumn {
    /// Its index among all declared columns.
    pub column: usize,
    /// The expression's text, over the columns that the source brings.
    pub expr: String,
}

/// WATERMARK FOR column AS expr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkClause {
    /// Index of the event-time column.
    pub column: usize,
    /// The expression's text, over the source's columns.
    pub expr: String,
}

#[derive(Debug, Clone)]
pub struct SinkObject {
    pub columns: Vec<Column>,
    pub sink: Arc<dyn Sink>,
}

/// A materialized view.
#[derive(Debug, Clone)]
pub struct ViewObject {
    pub columns: Vec<Column>,
    /// The stream plan's stored text: a restart runs this, it never plans anew.
    pub plan: Arc<str>,
    pub starts: Starts,
}

#[derive(Debug, Clone)]
pub struct JobObject {
    /// The stream plan's stored text: a restart runs this, it never plans anew.
    pub plan: Arc<str>,
    pub options: JobOptions,
    pub starts: Starts,
    /// What the user last asked for; a restart of the server honours it.
    pub wanted: Wanted,
    /// What it had done when it ended, to be shown ever after.
    pub ended: Option<Ended>,
}

/// A job that has ended, in figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// When it was started.
    pub started: Micros,
    pub input_rows: u64,
    pub output_rows: u64,
    pub delivered_rows: u64,
    pub late_rows: u64,
    pub bad_rows: u64,
    pub ticks: u64,
}

/// What stands in a job's WITH, or was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct JobOptions {
    pub parallelism: Option<usize>,
    pub epochs: EpochSettings,
    pub restart: RestartStrategy,
    /// The parallelism as ALTER has last set it.
    pub altered_parallelism: Option<usize>,
}

impl JobOptions {
    /// Shards that the job is to have; `None`: as many as the server thinks right.
    pub fn shards(&self) -> Option<usize> {
        self.altered_parallelism.or(self.parallelism)
    }
}

/// What a job wants otherwise than the server does of its epochs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EpochSettings {
    /// From an epoch's beginning to the next one's.
    pub interval: Option<Duration>,
    /// Rest between an epoch's end and the next one's beginning, at least.
    pub min_pause: Option<Duration>,
    /// An epoch that takes longer has failed.
    pub timeout: Option<Duration>,
    /// Epochs in a row that may fail before the job does.
    pub tolerable_failures: Option<u32>,
    /// Epochs that are kept, the newest included.
    pub retained: Option<NonZeroU32>,
    /// How many times as large as the last base the deltas may become.
    pub base_threshold: Option<f64>,
}

/// Where each source of a plan (by name) is read from: resolved once, at creation, and replayed from after a restart.
pub type Starts = std::collections::BTreeMap<String, Positions>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    Running,
    Paused,
    Stopped,
    Canceled,
    /// A bounded job that came to its end.
    Finished,
}
