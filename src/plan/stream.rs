//! The stream plan: our operators, as lowered from DataFusion's logical plan. What runs, what is stored (see [`super::text`])
//! and what EXPLAIN shows.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

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
    },
    /// Two inputs, whose keys and times must agree.
    IntervalJoin(IntervalJoin),
}

/// `left_time` in `[right_time + lower, right_time + upper]`, in microseconds. Output: left columns, then right ones; of a
/// semi or anti join left ones alone.
#[derive(Debug, Clone, PartialEq)]
pub struct IntervalJoin {
    pub kind: JoinKind,
    pub left_time: EventTime,
    pub right_time: EventTime,
    pub lower: i64,
    pub upper: i64,
    pub keys: Vec<JoinKey>,
    /// What else must be true of a pair, over [`joined_schema`].
    pub residual: Option<Scalar>,
}

/// A column of either side that must be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinKey {
    pub left: usize,
    pub right: usize,
    /// IS NOT DISTINCT FROM: null equals null.
    pub null_safe: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    /// Left rows that have a partner, each once.
    Semi,
    /// Left rows that have none.
    Anti,
}

impl fmt::Display for JoinKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinKind::Inner => "inner",
            JoinKind::Left => "left",
            JoinKind::Right => "right",
            JoinKind::Full => "full",
            JoinKind::Semi => "semi",
            JoinKind::Anti => "anti",
        })
    }
}

/// What a join's condition stands over: left columns, then right ones, with unique names.
pub fn joined_schema(left: &SchemaRef, right: &SchemaRef) -> SchemaRef {
    let fields = left.fields().iter().chain(right.fields()).map(|field| field.as_ref().clone());
    Arc::new(Schema::new(unique_names(fields.collect())))
}

/// Tells columns of one name apart: those that come later get a number.
pub fn unique_names(fields: Vec<Field>) -> Vec<Field> {
    let mut taken = std::collections::HashSet::new();
    fields
        .into_iter()
        .map(|field| {
            if taken.insert(field.name().clone()) {
                return field;
            }
            let mut number = 1;
            loop {
                let name = format!("{}_{number}", field.name());
                if taken.insert(name.clone()) {
                    return field.with_name(name);
                }
                number += 1;
            }
        })
        .collect()
}

#[derive(Debug, Clone, PartialEq)]
pub struct ScanWatermark {
    pub event_time: EventTime,
    /// The WATERMARK expression over the scan's columns.
    pub expr: Scalar,
}

/// Windows of event time, in microseconds. A window [start, end) fires when the watermark >= end - 1 unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowSpec {
    /// start = t - floormod(t - offset, size)
    Tumble { size: i64, offset: i64 },
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
