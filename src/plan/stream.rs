//! The stream plan: our operators, as lowered from DataFusion's logical plan. What runs, what is stored (see [`super::text`])
//! and what EXPLAIN shows.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use chrono_tz::Tz;

use super::scalar::Scalar;
pub use crate::change::Changelog;
use crate::change::key::Direction;
use crate::clock::MICROS_PER_SECOND;
use crate::error::{Error, Result};

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
    /// Reads a materialized view of the same pipeline: its rows, then what each tick changes. Only `columns` of it.
    ViewScan {
        view: String,
        columns: Vec<usize>,
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
    /// Appends the time at which the tick runs.
    ProcessingTime,
    /// The rows that are late for all of their windows, as they are.
    LateRows {
        window: WindowSpec,
        time: EventTime,
        /// How long after its last instant a window still takes rows, in microseconds.
        lateness: i64,
    },
    /// Behind a window aggregate that emits on update: lets its changes out when the watermark passes a multiple of
    /// `every` microseconds, those of a closed window at once.
    EarlyFiring {
        every: i64,
        /// window_time.
        time: EventTime,
        /// What else names a group.
        keys: Vec<usize>,
    },
    /// In front of the aggregate of GROUPING SETS: each row once for each set. Output: `columns` of the input, then `keys`, null
    /// where the set leaves one out, then the set's number. See [`leaves_out`].
    Expand {
        columns: Vec<usize>,
        keys: Vec<usize>,
        sets: Vec<i64>,
    },
    /// GROUP BY without a window. Output: keys, then one column an aggregate.
    Aggregate {
        keys: Vec<usize>,
        aggregates: Vec<AggregateCall>,
        /// All rows of a group come within one tick, so each group is answered once, and nothing is kept.
        at_once: bool,
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
        /// What names each row's window, if a window function in front has repeated the rows.
        assigned: Option<Assigned>,
    },
    /// A regular join of two inputs. Output: the left columns, then (unless semi or anti) the right ones.
    Join {
        kind: JoinKind,
        /// Pairs of columns that must be equal. None: every row meets every row, on one shard.
        on: Vec<JoinKey>,
        /// What else must be true of a pair, over [`pair_schema`].
        condition: Option<Scalar>,
        /// All rows of a key come within one tick, those of both inputs, so nothing is kept.
        at_once: bool,
    },
    /// UNION ALL of inputs whose columns are of the same types.
    Union,
    /// The rows of each partition whose ranks are within bounds. Output: the input's columns, then the rank if asked for.
    TopN {
        partition: Vec<usize>,
        /// Ties are broken by the row's bytes.
        order: Vec<SortColumn>,
        ranks: Ranks,
        /// The rank is the output's last column.
        ranked: bool,
        /// All rows of a partition come within one tick, so each partition is answered once, and nothing is kept.
        at_once: bool,
    },
    /// As TopN, of each window until it closes.
    WindowTopN(WindowTopN),
    /// Two inputs, whose keys and times must agree.
    IntervalJoin(IntervalJoin),
    /// Behind the scan of a source whose messages replace each other by `key`: takes back what a key's row was when another
    /// comes or none is left. Output: the input's columns without `place`.
    Normalize {
        key: Vec<usize>,
        /// The column that orders the messages of a key.
        place: usize,
    },
    /// In front of a sink that keeps one row for each `key`: by the tick's end at most one change of each, and none if
    /// what it shows did not change.
    Upsert {
        key: Vec<usize>,
        keeps: Keeps,
        /// Of several rows of a key the one with the greatest value of this timestamp column is shown.
        latest: Option<usize>,
        /// In front of what a change puts in place comes what it replaces, with weight -1.
        with_before: bool,
    },
}

/// The rows of each window, and of each partition of it, whose ranks are within bounds. Output: the input's columns, then
/// the rank if asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowTopN {
    pub window: WindowSpec,
    /// window_time.
    pub time: EventTime,
    pub assigned: Assigned,
    /// Besides the window.
    pub partition: Vec<usize>,
    /// Ties are broken by the row's bytes.
    pub order: Vec<SortColumn>,
    pub ranks: Ranks,
    /// The rank is the output's last column.
    pub ranked: bool,
    pub emit: Emit,
    /// How long after its last instant a window still takes rows, in microseconds.
    pub lateness: i64,
}

/// What stands of a key's rows between two ticks, in front of a sink that keeps one row for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing: the key is the result's unique key, so a tick's changes tell all.
    Nothing,
    /// The row that is shown: the result only appends, so no other can come back.
    Shown,
    /// All of them: when the one that is shown is deleted, another takes its place.
    All,
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
    /// What else must be true of a pair, over [`pair_schema`].
    pub residual: Option<Scalar>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    Inner,
    /// Left rows without partner come with nulls.
    Left,
    /// Right rows without partner come with nulls.
    Right,
    Full,
    /// Left rows that have a partner, as often as they are there.
    Semi,
    /// Left rows that have none.
    Anti,
}

impl JoinKind {
    pub const ALL: [JoinKind; 6] =
        [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];

    /// Whether pairs come out, not left rows alone.
    pub fn gives_pairs(self) -> bool {
        !matches!(self, JoinKind::Semi | JoinKind::Anti)
    }
}

/// As stored plans and EXPLAIN name it.
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

/// A column of each input, of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinKey {
    pub left: usize,
    pub right: usize,
    /// IS NOT DISTINCT FROM: null meets null. (`=` never matches null.)
    pub null_safe: bool,
}

/// The columns of both inputs of a join side by side, with unique names: what its condition is computed over.
pub fn pair_schema(left: &SchemaRef, right: &SchemaRef) -> SchemaRef {
    let fields = left.fields().iter().chain(right.fields()).map(|f| f.as_ref().clone());
    Arc::new(Schema::new(unique_names(fields.collect())))
}

/// Whether a grouping set leaves out the key at `place` of `keys`: the lowest bits of the set's number say so, the last key's
/// first. What stands above tells equal sets apart.
pub fn leaves_out(set: i64, place: usize, keys: usize) -> bool {
    let bit = keys.saturating_sub(1 + place);
    set >> bit & 1 == 1
}

/// Fields with a number behind each name that was there before.
pub fn unique_names(fields: Vec<Field>) -> Vec<Field> {
    let mut taken = HashSet::new();
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

/// A column that rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortColumn {
    pub column: usize,
    pub direction: Direction,
}

/// The ranks that a Top-N keeps: `first..=last`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ranks {
    pub function: RankFunction,
    pub first: i64,
    pub last: i64,
}

/// How rows of a partition are numbered. Peers are rows that ORDER BY does not tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RankFunction {
    /// 1, 2, 3, ...: each row its own.
    RowNumber,
    /// One more than the rows in front of its peers.
    Rank,
    /// One more than the groups of peers in front of its own.
    DenseRank,
}

impl RankFunction {
    pub const ALL: [RankFunction; 3] = [RankFunction::RowNumber, RankFunction::Rank, RankFunction::DenseRank];

    /// As SQL and stored plans name it.
    pub fn name(self) -> &'static str {
        match self {
            RankFunction::RowNumber => "row_number",
            RankFunction::Rank => "rank",
            RankFunction::DenseRank => "dense_rank",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }
}

impl StreamPlan {
    /// The stage of each node, counted from 0: the latest that any of its inputs demands, the input's own without exchange,
    /// the next one behind an exchange. Scans lie in the first.
    pub fn stages(&self) -> Result<Vec<usize>> {
        let mut stage_of: Vec<usize> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let mut stage = 0;
            for input in &node.inputs {
                let Some(from) = stage_of.get(input.node) else {
                    return Err(Error::internal("a plan's nodes are not in topological order"));
                };
                stage = stage.max(from + usize::from(input.distribution != Distribution::Any));
            }
            stage_of.push(stage);
        }
        Ok(stage_of)
    }

    /// How often a plan's windows must look at the clock, in microseconds: they begin and end at multiples of it. None if
    /// they follow the event time alone.
    pub fn clock_step(&self) -> Option<i64> {
        if !self.nodes.iter().any(|node| node.op == Op::ProcessingTime) {
            return None;
        }
        let steps = self.nodes.iter().filter_map(|node| match &node.op {
            Op::WindowAggregate { window, .. } => Some(window.step()),
            Op::WindowTopN(top_n) => Some(top_n.window.step()),
            _ => None,
        });
        steps.reduce(gcd)
    }
}

impl WindowSpec {
    /// Borders lie at multiples of this many microseconds. A session's can be anywhere: it closes up to a second late.
    fn step(&self) -> i64 {
        let step = match self.kind {
            WindowKind::Tumble { size, offset } => gcd(size, offset),
            WindowKind::Hop { size, slide, offset } => gcd(gcd(size, slide), offset),
            WindowKind::Cumulate { size, step, offset } => gcd(gcd(size, step), offset),
            WindowKind::Session { gap } => gcd(gap, MICROS_PER_SECOND),
        };
        // Clocks are set by whole seconds.
        if self.zone.is_some() { gcd(step, MICROS_PER_SECOND) } else { step }
    }

    /// Each instant is in one window.
    pub fn is_tumbling(&self) -> bool {
        matches!(self.kind, WindowKind::Tumble { .. })
    }

    /// Two windows may begin at one instant, or end at one: those of a HOP whose borders clocks jump over.
    pub fn shares_borders(&self) -> bool {
        self.zone.is_some() && matches!(self.kind, WindowKind::Hop { .. })
    }
}

/// By the clocks of UTC.
impl From<WindowKind> for WindowSpec {
    fn from(kind: WindowKind) -> Self {
        WindowSpec { kind, zone: None }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Op {
    /// Whether rows enter the plan here.
    pub fn is_scan(&self) -> bool {
        matches!(self, Op::Scan { .. } | Op::ViewScan { .. })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ScanWatermark {
    pub event_time: EventTime,
    /// The WATERMARK expression over the scan's columns.
    pub expr: Scalar,
}

/// The windows of a window function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowSpec {
    pub kind: WindowKind,
    /// They are cut in what the clocks of this zone show: a day may have 23 or 25 hours. None: UTC.
    pub zone: Option<Tz>,
}

/// Windows of event time, in microseconds. Offsets are within `0..size` (of a HOP, within `0..slide`). A window [start, end)
/// fires when the watermark >= end - 1 unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowKind {
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

/// The columns that name the one window of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    pub end: usize,
    /// Where windows share borders.
    pub start: Option<usize>,
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
    /// Equal values count once.
    pub distinct: bool,
    /// Boolean column of the input: rows where it is not true do not count.
    pub filter: Option<usize>,
    /// ORDER BY within the call, of those that [collect](AggregateFunction::collects).
    pub order: Vec<SortColumn>,
    /// What string_agg puts between two texts.
    pub separator: Option<String>,
}

impl AggregateCall {
    pub fn new(function: AggregateFunction, argument: Option<usize>) -> Self {
        AggregateCall { function, argument, distinct: false, filter: None, order: Vec::new(), separator: None }
    }

    /// The columns of the input that it reads.
    pub fn columns_mut(&mut self) -> impl Iterator<Item = &mut usize> {
        let order = self.order.iter_mut().map(|by| &mut by.column);
        self.argument.iter_mut().chain(&mut self.filter).chain(order)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    Count,
    Sum,
    Min,
    Max,
    Avg,
    BoolAnd,
    BoolOr,
    StddevSamp,
    StddevPop,
    VarSamp,
    VarPop,
    StringAgg,
    ArrayAgg,
    ApproxCountDistinct,
}

impl AggregateFunction {
    pub const ALL: [AggregateFunction; 14] = [
        AggregateFunction::Count,
        AggregateFunction::Sum,
        AggregateFunction::Min,
        AggregateFunction::Max,
        AggregateFunction::Avg,
        AggregateFunction::BoolAnd,
        AggregateFunction::BoolOr,
        AggregateFunction::StddevSamp,
        AggregateFunction::StddevPop,
        AggregateFunction::VarSamp,
        AggregateFunction::VarPop,
        AggregateFunction::StringAgg,
        AggregateFunction::ArrayAgg,
        AggregateFunction::ApproxCountDistinct,
    ];
}

impl fmt::Display for AggregateFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
            AggregateFunction::Avg => "avg",
            AggregateFunction::BoolAnd => "bool_and",
            AggregateFunction::BoolOr => "bool_or",
            AggregateFunction::StddevSamp => "stddev_samp",
            AggregateFunction::StddevPop => "stddev_pop",
            AggregateFunction::VarSamp => "var_samp",
            AggregateFunction::VarPop => "var_pop",
            AggregateFunction::StringAgg => "string_agg",
            AggregateFunction::ArrayAgg => "array_agg",
            AggregateFunction::ApproxCountDistinct => "approx_count_distinct",
        })
    }
}
