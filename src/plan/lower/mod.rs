//! From settled logical plans to one stream plan.
//!
//! 1. [`Lowering::new`] looks at all queries of a job first: a source is scanned once, for all of them together.
//! 2. Each query is lowered from its scan upwards: [`relational`] (scan, filter, projection, window function),
//!    [`aggregate`] (of [`calls`], by [`grouping_sets`]), [`join`], [`union`] and [`top_n`].
//!    A join is an [`interval_join`] where conditions on time ([`time_bounds`]) let the watermark bound it.
//! 3. [`output`] arranges the result as its sink or view wants it; [`sink`] brings its changes into a form that the sink takes.
//! 4. [`computed`]: what a source computes by itself.
//! 5. [`build`] keeps the nodes: equal ones once, with their changelog kind, event time and unique key. [`merge`] makes one
//!    of window aggregates that differ only in what they compute. [`at_once`] tells which rows come within one tick.
//!
//! Invariant: columns are plain positions in a node's output ([`Rows`]); names stop mattering here.

mod aggregate;
mod at_once;
mod build;
mod calls;
mod computed;
mod grouping_sets;
mod interval_join;
mod join;
mod merge;
mod output;
mod relational;
mod sink;
mod time_bounds;
mod top_n;
mod union;

use std::collections::{BTreeMap, BTreeSet};

use datafusion::logical_expr::{Join, LogicalPlan};

use super::relations::Relations;
use super::stream::{Assigned, Emit, EventTime, NodeIndex, Output, StreamPlan, WindowKind, WindowSpec};
use super::zone::Zone;
use crate::error::{Error, Result};
use build::Builder;

pub use calls::{changing_separator, not_among_arguments};
pub use computed::{plan_computed, type_of_computed};
pub use grouping_sets::not_a_key;
pub use relational::plan_watermark;
pub use top_n::TOP_N_HINT;

/// Lowers the queries of one job or view.
pub struct Lowering<'a> {
    relations: &'a dyn Relations,
    /// Whose clocks cut windows of times with time zone.
    zone: Zone,
    /// For each source the columns that any query needs.
    wanted: BTreeMap<String, BTreeSet<usize>>,
    builder: Builder,
    outputs: Vec<Output>,
    /// When windows of the query being lowered show their answer.
    emit: Emit,
    /// How often open windows do, in microseconds of event time; none: at every tick, if at all.
    every: Option<i64>,
    /// How long after closing they take late rows, in microseconds.
    lateness: i64,
    /// Whether that query groups by a window.
    has_window: bool,
    /// Columns of joins that what stands behind them reads as a time.
    join_times: Vec<(*const Join, usize)>,
}

/// The rows of a relation: a node's output, and where each column of the logical plan is in it.
#[derive(Debug, Clone)]
struct Rows {
    node: NodeIndex,
    slots: Vec<Slot>,
    /// Set between a window function and the aggregate over it.
    window: Option<Window>,
}

/// Where a column of the logical plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Column(usize),
    /// A column of the window function in front, which the aggregate behind may compute by itself.
    Virtual(WindowColumn),
    /// Nowhere: a rank that nobody reads.
    Unread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WindowColumn {
    Start,
    End,
    Time,
}

impl WindowColumn {
    const ALL: [WindowColumn; 3] = [WindowColumn::Start, WindowColumn::End, WindowColumn::Time];

    /// Columns that tell all windows apart.
    fn naming(window: &WindowSpec) -> &'static [WindowColumn] {
        match window.kind {
            WindowKind::Hop { .. } if window.shares_borders() => &[WindowColumn::Start, WindowColumn::End],
            WindowKind::Tumble { .. } | WindowKind::Hop { .. } | WindowKind::Session { .. } => &[WindowColumn::Start],
            WindowKind::Cumulate { .. } => &[WindowColumn::End],
        }
    }

    /// Its place among the columns that window operators put out.
    fn index(self) -> usize {
        self as usize
    }
}

/// Whether these of a window's columns tell all windows apart: of windows of one size a border gives the other, of one that
/// grows its end does.
fn identify(window: &WindowSpec, has: impl Fn(WindowColumn) -> bool) -> bool {
    let (starts, ends) = (has(WindowColumn::Start), has(WindowColumn::End) || has(WindowColumn::Time));
    match window.kind {
        WindowKind::Hop { .. } if window.shares_borders() => starts && ends,
        WindowKind::Tumble { .. } | WindowKind::Hop { .. } => starts || ends,
        WindowKind::Cumulate { .. } => ends,
        WindowKind::Session { .. } => starts && ends,
    }
}

/// The window function that rows went through.
#[derive(Debug, Clone)]
struct Window {
    spec: WindowSpec,
    /// Columns of the rows' node that a SESSION is partitioned by.
    partition: Vec<usize>,
    /// Where the function stands in the statement, if known.
    position: Option<usize>,
    /// The time column in the rows' node.
    time: EventTime,
    /// The window columns in the rows' node, once an operator has put them there.
    columns: [Option<usize>; 3],
}

impl Window {
    /// What names each row's window, if a window function has put its columns into the rows, and so repeated them.
    fn assigned(&self) -> Option<Assigned> {
        let repeats = matches!(self.spec.kind, WindowKind::Hop { .. } | WindowKind::Cumulate { .. });
        let end = self.columns[WindowColumn::End.index()].filter(|_| repeats)?;
        let start = self.columns[WindowColumn::Start.index()].filter(|_| self.spec.shares_borders());
        Some(Assigned { end, start })
    }
}

impl<'a> Lowering<'a> {
    /// `queries`: all that will be lowered, so that each source is read once, with the columns that any of them needs.
    pub fn new(relations: &'a dyn Relations, queries: &[LogicalPlan]) -> Result<Self> {
        let mut wanted: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for query in queries {
            collect_scans(query, &mut wanted);
        }
        Ok(Lowering {
            relations,
            zone: Zone::named(relations.time_zone())?,
            wanted,
            builder: Builder::default(),
            outputs: Vec::new(),
            emit: Emit::OnClose,
            every: None,
            lateness: 0,
            has_window: false,
            join_times: Vec::new(),
        })
    }

    pub fn finish(self) -> Result<StreamPlan> {
        let plan = merge::merge_windows(StreamPlan { nodes: self.builder.nodes, outputs: self.outputs });
        plan.validate()
            .map_err(|e| Error::internal(e.message().to_string()).with_detail(e.detail().unwrap_or_default()))?;
        Ok(plan)
    }
}

fn collect_scans(plan: &LogicalPlan, wanted: &mut BTreeMap<String, BTreeSet<usize>>) {
    if let LogicalPlan::TableScan(scan) = plan {
        let columns = wanted.entry(scan.table_name.table().to_string()).or_default();
        match &scan.projection {
            Some(projection) => columns.extend(projection),
            None => columns.extend(0..scan.source.schema().fields().len()),
        }
    }
    for input in plan.inputs() {
        collect_scans(input, wanted);
    }
}
