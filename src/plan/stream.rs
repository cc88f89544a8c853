//! The stream plan: our operators, as lowered from DataFusion's logical plan. What runs, what is stored (see [`super::text`])
//! and what EXPLAIN shows.

use std::fmt;

use arrow::datatypes::SchemaRef;

use super::scalar::Scalar;

/// Stable across restarts: state is kept under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId(pub u32);

/// Index of a node in [`StreamPlan::nodes`].
pub type NodeIndex = usize;

/// A dataflow graph. Nodes stand in topological order: inputs before those who read them.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamPlan {
    pub nodes: Vec<Node>,
    pub outputs: Vec<Output>,
}

/// Where a result goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub node: NodeIndex,
    pub target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A sink by its catalog name; the node's columns are the sink's, in order, with the sink's types.
    Sink(String),
    /// The materialized view that this plan belongs to.
    View,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub id: OperatorId,
    pub op: Op,
    pub inputs: Vec<Input>,
    /// Columns of the output, with unique names.
    pub schema: SchemaRef,
    pub changelog: Changelog,
    /// The event-time column of the output, if there still is one.
    pub event_time: Option<EventTime>,
    /// Columns that are unique in the output at each tick's end (a group's key), if known. `Some(vec![])`: one row.
    pub unique_key: Option<Vec<usize>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    pub node: NodeIndex,
    pub distribution: Distribution,
}

/// How rows must lie on shards in front of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distribution {
    /// Where they are: no exchange.
    Any,
    /// Equal values of these columns on one shard. No columns: all on one shard.
    Hash(Vec<usize>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changelog {
    /// Only insertions, each of weight 1.
    AppendOnly,
    /// Insertions and deletions.
    Changing,
}

/// The event-time column and the unit of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    pub column: usize,
    /// Microseconds in one unit of the declared type: 1,000 for TIMESTAMP(3), 1 for TIMESTAMP(6).
    pub unit: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Reads a source: only `columns` of it, in this order.
    Scan {
        source: String,
        columns: Vec<usize>,
        watermark: Option<ScanWatermark>,
    },
    Filter {
        predicate: Scalar,
    },
    Project {
        exprs: Vec<Scalar>,
    },
    /// The window table function alone: appends window_start, window_end, window_time to each row; a row that falls
    /// into several windows is repeated.
    Window {
        window: WindowSpec,
        time: EventTime,
    },
    /// GROUP BY without a window. Output: keys, then one column an aggregate.
    Aggregate {
        keys: Vec<usize>,
        aggregates: Vec<AggregateCall>,
    },
    /// GROUP BY window and keys. Output: window_start, window_end, window_time, keys, then one column an aggregate.
    WindowAggregate {
        window: WindowSpec,
        time: EventTime,
        keys: Vec<usize>,
        aggregates: Vec<AggregateCall>,
        emit: Emit,
        /// How long after its last instant a window still takes rows, in microseconds.
        lateness: i64,
        /// The column that names each row's window by its end, if a window function in front has repeated the rows.
        assigned: Option<usize>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct ScanWatermark {
    pub event_time: EventTime,
    /// The WATERMARK expression over the scan's columns.
    pub expr: Scalar,
}

/// Windows of event time, in microseconds. Offsets are within `0..size` (of a HOP, within `0..slide`). A window [start, end) fires when the watermark >= end - 1 unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowSpec {
    /// start = t - floormod(t - offset, size)
    Tumble { size: i64, offset: i64 },
    /// A window of `size` begins at each multiple of `slide`, moved by the offset. Any slide: with one greater than the
    /// size there are instants in no window.
    Hop { size: i64, slide: i64, offset: i64 },
    /// Windows that share their start, one for each `step` up to `size`; the last ends at `size` even if it is no whole
    /// step.
    Cumulate { size: i64, step: i64, offset: i64 },
    /// Rows of a key that are no further apart than `gap`.
    Session { gap: i64 },
}

/// When a window's answer appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    OnClose,
    OnUpdate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// Column of the input; none for count(*).
    pub argument: Option<usize>,
    /// Boolean column of the input: rows where it is not true do not count.
    pub filter: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    Count,
    Sum,
    Min,
    Max,
    Avg,
}

impl fmt::Display for AggregateFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
            AggregateFunction::Avg => "avg",
        })
    }
}
