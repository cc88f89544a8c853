//! Top-N: ROW_NUMBER (or RANK, DENSE_RANK) under a condition that bounds it, and LIMIT. Window functions have no other
//! lowering.

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Expr, FetchType, Filter, Limit, LogicalPlan, Operator, Projection, SkipType, Window as WindowPlan,
};

use super::aggregate::{key_name, window_column};
use super::build::Facts;
use super::relational::{push_once, slot_of};
use super::{Lowering, Rows, Slot, Window, identify};
use crate::change::key::{Direction, KeyCodec};
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::visible;
use crate::plan::stream::{
    Assigned, Changelog, Distribution, Emit, EventTime, NodeIndex, Op, RankFunction, Ranks, SortColumn, WindowTopN,
};
use crate::types::SqlType;

/// Said wherever a window function stands otherwise.
pub const TOP_N_HINT: &str = "Keep the first rows of each partition: SELECT ... FROM (SELECT *, ROW_NUMBER() OVER \
                              (PARTITION BY a ORDER BY b DESC) AS rn FROM t) WHERE rn <= 10.";

/// A condition on the result of window functions.
pub(super) struct RankedRows<'p> {
    filter: &'p Filter,
    window: &'p WindowPlan,
}

impl<'p> RankedRows<'p> {
    pub(super) fn of(plan: &'p LogicalPlan) -> Option<Self> {
        let LogicalPlan::Filter(filter) = plan else { return None };
        let mut below = filter.input.as_ref();
        loop {
            below = match below {
                LogicalPlan::Window(window) => return Some(RankedRows { filter, window }),
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::Projection(projection) if projection.expr.iter().all(|e| plain_column(e).is_some()) => {
                    &projection.input
                }
                _ => return None,
            }
        }
    }

    /// The column of the window's output that column `index` of the filter's is.
    fn origin(&self, index: usize) -> Option<usize> {
        let (mut below, mut index) = (self.filter.input.as_ref(), index);
        loop {
            below = match below {
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::Projection(projection) => {
                    let column = plain_column(projection.expr.get(index)?)?;
                    index = projection.input.schema().maybe_index_of_column(column)?;
                    &projection.input
                }
                _ => return Some(index),
            }
        }
    }

    /// Whether column `index` of the filter's output is the rank: what the window appends.
    fn is_rank(&self, index: usize) -> bool {
        self.origin(index).is_some_and(|origin| origin >= self.window.input.schema().fields().len())
    }

    /// Whether an expression over the filter's output reads the rank.
    pub(super) fn reads_rank(&self, expr: &Expr) -> bool {
        let schema = self.filter.input.schema();
        expr.column_refs().into_iter().any(|c| schema.maybe_index_of_column(c).is_some_and(|i| self.is_rank(i)))
    }

    /// The one function, and what it is over.
    fn call(&self) -> Result<(RankFunction, &'p WindowFunction)> {
        let calls: Vec<&WindowFunction> = self.window.window_expr.iter().filter_map(call_of).collect();
        match calls.as_slice() {
            [call] => match RankFunction::by_name(call.fun.name()) {
                Some(function) => Ok((function, call)),
                None => Err(without_bound(call.fun.name())),
            },
            [_, second, ..] => Err(Error::unsupported(
                format!(
                    "window function {} beside another one is not supported in a streaming query",
                    second.fun.name()
                ),
                "Give each its own sub-query, with its own condition such as rn <= 10.",
            )),
            [] => Err(Error::internal("a window without functions")),
        }
    }
}

/// What a Top-N is over.
struct TopN<'p> {
    input: &'p LogicalPlan,
    partition: &'p [Expr],
    order: &'p [Sort],
    ranks: Ranks,
    ranked: bool,
}

impl Lowering<'_> {
    /// `wants_rank`: whether anything behind the condition reads the rank.
    pub(super) fn ranked_rows(&mut self, ranked: &RankedRows<'_>, wants_rank: bool) -> Result<Rows> {
        let (function, call) = ranked.call()?;
        let schema = ranked.filter.input.schema();
        let is_rank = |expr: &Expr| matches!(expr, Expr::Column(_)) && ranked.reads_rank(expr);
        let mut ranks = Ranks { function, first: 1, last: i64::MAX };
        let mut rest = Vec::new();
        for condition in split_conjunction(&ranked.filter.predicate) {
            let Some(bounds) = bounds(condition, &is_rank) else {
                rest.push(condition.clone());
                continue;
            };
            ranks.first = ranks.first.max(bounds.first);
            ranks.last = ranks.last.min(bounds.last);
            if !bounds.exact {
                rest.push(condition.clone());
            }
        }
        if ranks.last == i64::MAX {
            return Err(without_bound(function.name()));
        }
        let wants_rank = wants_rank || rest.iter().any(|e| ranked.reads_rank(e));
        let (partition, order) = (&call.params.partition_by, &call.params.order_by);
        let top_n = TopN { input: &ranked.window.input, partition, order, ranks, ranked: wants_rank };
        let below = self.top_n(&top_n)?;
        let slots = (0..schema.fields().len()).map(|index| {
            let origin = ranked.origin(index).and_then(|origin| below.slots.get(origin));
            origin.copied().unwrap_or(Slot::Unread)
        });
        let rows = Rows { slots: slots.collect(), ..below };
        match conjunction(rest) {
            Some(condition) => self.filtered(rows, &condition, schema),
            None => Ok(rows),
        }
    }

    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Rows> {
        self.limited(&limit.input, bounds_of(limit)?)
    }

    /// The rows of `plan` from rank `first` to rank `last`, in the order that it has, if it has one.
    fn limited(&mut self, plan: &LogicalPlan, (first, last): (i64, i64)) -> Result<Rows> {
        let ranks = Ranks { function: RankFunction::RowNumber, first, last };
        let unordered = TopN { input: plan, partition: &[], order: &[], ranks, ranked: false };
        match plan {
            _ if (first, last) == (1, i64::MAX) => self.lower(plan),
            LogicalPlan::SubqueryAlias(alias) => self.limited(&alias.input, (first, last)),
            LogicalPlan::Projection(projection) if has_order(&projection.input) => {
                let rows = self.limited(&projection.input, (first, last))?;
                self.projected(projection, rows)
            }
            LogicalPlan::Limit(inner) if has_order(&inner.input) => {
                let (inner_first, inner_last) = bounds_of(inner)?;
                let shift = inner_first - 1;
                let bounds = (first.saturating_add(shift), last.saturating_add(shift).min(inner_last));
                self.limited(&inner.input, bounds)
            }
            LogicalPlan::Sort(sort) => self.top_n(&TopN { input: &sort.input, order: &sort.expr, ..unordered }),
            _ => self.top_n(&unordered),
        }
    }

    fn top_n(&mut self, top_n: &TopN<'_>) -> Result<Rows> {
        let rows = self.lower(top_n.input)?;
        let rows = self.put_windows(rows)?;
        let schema = top_n.input.schema();
        let window = self.ranked_window(&rows, top_n);
        let mut outputs: Vec<(Expr, Field)> = Vec::new();
        let mut slots = Vec::with_capacity(rows.slots.len() + 1);
        for slot in &rows.slots {
            slots.push(match slot {
                Slot::Column(column) => {
                    let field = self.builder.schema(rows.node).field(*column).clone();
                    Slot::Column(push_once(&mut outputs, self.builder.column(rows.node, *column), field))
                }
                other => *other,
            });
        }
        if outputs.is_empty() {
            // count(*) alone: rows must come from some column.
            outputs.push((self.builder.column(rows.node, 0), self.builder.schema(rows.node).field(0).clone()));
        }
        let mut partition = Vec::new();
        for expr in top_n.partition.iter().filter(|e| !is_literal(e)) {
            let column = self.key(expr, schema, &rows, &mut outputs)?;
            if !partition.contains(&column) {
                partition.push(column);
            }
        }
        let mut order: Vec<SortColumn> = Vec::new();
        for sort in top_n.order.iter().filter(|sort| !is_literal(&sort.expr)) {
            let column = self.key(&sort.expr, schema, &rows, &mut outputs)?;
            // Within a partition, and among equals, a column orders nothing.
            if !partition.contains(&column) && order.iter().all(|sort| sort.column != column) {
                let direction = Direction { descending: !sort.asc, nulls_first: sort.nulls_first };
                order.push(SortColumn { column, direction });
            }
        }
        KeyCodec::new(partition.iter().chain(order.iter().map(|o| &o.column)).filter_map(|c| {
            let (_, field) = outputs.get(*c)?;
            Some(field.data_type())
        }))?;
        let window = window.map(|window| self.place_window(&rows, window, &mut outputs));
        let node = self.narrowed(rows.node, outputs)?;
        let (node, window) = match window {
            Some(window) => self.window_ranked(node, window, partition, order, top_n)?,
            None => (self.ranked(node, partition, order, top_n), None),
        };
        if top_n.ranked {
            slots.push(Slot::Column(self.builder.schema(node).fields().len() - 1));
        }
        Ok(Rows { node, slots, window })
    }

    /// The window function in front, if partitions are within its windows: then each is answered as its window is.
    fn ranked_window(&self, rows: &Rows, top_n: &TopN<'_>) -> Option<Window> {
        let window = rows.window.as_ref()?;
        let of = |expr| window_column(slot_of(expr, top_n.input.schema(), rows), rows);
        let names = |column| top_n.partition.iter().any(|expr| of(expr) == Some(column));
        let appends = self.builder.node(rows.node).changelog == Changelog::AppendOnly;
        (appends && identify(&window.spec, names)).then(|| window.clone())
    }

    /// Has a window's columns among `outputs`: those that name it, and its last instant, which is the event time behind.
    fn place_window(&self, rows: &Rows, window: Window, outputs: &mut Vec<(Expr, Field)>) -> Window {
        let field = |column: usize| self.builder.schema(rows.node).field(column).clone();
        let names_by_start = window.spec.shares_borders();
        let mut keep = |column: Option<usize>, is_needed: bool| {
            let column = column.filter(|column| is_needed || rows.slots.contains(&Slot::Column(*column)))?;
            Some(push_once(outputs, self.builder.column(rows.node, column), field(column)))
        };
        let [start, end, time] = window.columns;
        Window { columns: [keep(start, names_by_start), keep(end, true), keep(time, true)], ..window }
    }

    /// A column to partition or order by, among `outputs`.
    fn key(&self, expr: &Expr, schema: &DFSchema, rows: &Rows, outputs: &mut Vec<(Expr, Field)>) -> Result<usize> {
        if let Some(Slot::Column(column)) = slot_of(expr, schema, rows) {
            let field = self.builder.schema(rows.node).field(column).clone();
            return Ok(push_once(outputs, self.builder.column(rows.node, column), field));
        }
        let resolved = self.resolve(expr, schema, rows)?;
        let (expr, field) = self.builder.output(resolved, visible(key_name(expr)), rows.node)?;
        Ok(push_once(outputs, expr, field))
    }

    /// A projection to these columns, unless the node has them already: what is not needed would be kept with every row,
    /// and would break ties.
    fn narrowed(&mut self, node: NodeIndex, outputs: Vec<(Expr, Field)>) -> Result<NodeIndex> {
        let schema = self.builder.schema(node);
        let same = schema.fields().len() == outputs.len()
            && outputs
                .iter()
                .zip(schema.fields())
                .all(|((expr, _), had)| matches!(expr, Expr::Column(column) if column.name == *had.name()));
        if same { Ok(node) } else { self.builder.project(node, outputs) }
    }

    /// Adds the operator over `node`.
    fn ranked(
        &mut self,
        node: NodeIndex,
        partition: Vec<usize>,
        order: Vec<SortColumn>,
        top_n: &TopN<'_>,
    ) -> NodeIndex {
        let TopN { ranks, ranked, .. } = *top_n;
        let at_once = partition.iter().any(|column| self.builder.at_once(node, *column).is_some());
        let input = self.builder.node(node);
        let changelog = if at_once { input.changelog } else { Changelog::Changing };
        let facts = self.ranked_facts(node, &partition, top_n, changelog, input.event_time.filter(|_| at_once));
        let distribution = Distribution::Hash(partition.clone());
        let op = Op::TopN { partition, order, ranks, ranked, at_once };
        self.builder.add(op, vec![(node, distribution)], facts)
    }

    /// Adds the operator over the rows of `node`, as they are behind a window function. `partition` names the window too.
    fn window_ranked(
        &mut self,
        node: NodeIndex,
        window: Window,
        partition: Vec<usize>,
        order: Vec<SortColumn>,
        top_n: &TopN<'_>,
    ) -> Result<(NodeIndex, Option<Window>)> {
        let [start, Some(end), Some(time)] = window.columns else {
            return Err(Error::internal("a window's columns were lost"));
        };
        let time = EventTime { column: time, unit: window.time.unit };
        let changelog = match self.emit {
            Emit::OnClose if self.lateness == 0 => Changelog::AppendOnly,
            Emit::OnClose | Emit::OnUpdate => Changelog::Changing,
        };
        let facts = || self.ranked_facts(node, &partition, top_n, changelog, Some(time));
        // All windows of a key meet on one shard, where state keeps them: its key groups do not look at times.
        let keys: Vec<usize> =
            partition.iter().copied().filter(|column| !window.columns.contains(&Some(*column))).collect();
        let op = Op::WindowTopN(WindowTopN {
            window: window.spec,
            time,
            assigned: Assigned { end, start: start.filter(|_| window.spec.shares_borders()) },
            partition: keys.clone(),
            order,
            ranks: top_n.ranks,
            ranked: top_n.ranked,
            emit: self.emit,
            lateness: self.lateness,
        });
        let (ranked, fired) = (facts(), facts());
        let mut node = self.builder.add(op, vec![(node, Distribution::Hash(keys.clone()))], ranked);
        if let Some(every) = self.every {
            // Where windows share borders, their start tells them apart, too: then keys are dealt anew.
            let (keys, distribution) = match start.filter(|_| window.spec.shares_borders()) {
                None => (keys, Distribution::Any),
                Some(start) => {
                    let keys: Vec<usize> = keys.into_iter().chain([start]).collect();
                    (keys.clone(), Distribution::Hash(keys))
                }
            };
            node = self.early_firing(node, every, time, keys, distribution, fired);
        }
        self.has_window = true;
        let window = Window { time, partition: Vec::new(), position: None, ..window };
        Ok((node, (changelog == Changelog::AppendOnly).then_some(window)))
    }

    /// What is known of ranked rows.
    fn ranked_facts(
        &self,
        input: NodeIndex,
        partition: &[usize],
        top_n: &TopN<'_>,
        changelog: Changelog,
        event_time: Option<EventTime>,
    ) -> Facts {
        let TopN { ranks, ranked, .. } = *top_n;
        let input = self.builder.node(input);
        let mut fields: Vec<Field> = input.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        let rank = fields.len();
        if ranked {
            fields.push(SqlType::BigInt.field(ranks.function.name()));
        }
        let numbered = ranks.function == RankFunction::RowNumber;
        let unique_key = match (numbered, ranked) {
            (true, _) if ranks.last <= ranks.first => Some(partition.to_vec()),
            (true, true) => Some(partition.iter().copied().chain([rank]).collect()),
            _ => input.unique_key.clone(),
        };
        Facts { fields, changelog, event_time, unique_key }
    }
}

/// The refusal of a window function that is not under a condition that bounds it.
pub(super) fn unbounded(window: &WindowPlan) -> Error {
    without_bound(window.window_expr.iter().find_map(call_of).map_or("", |call| call.fun.name()))
}

fn without_bound(function: &str) -> Error {
    let message = format!("window function {function} without an upper bound is not supported in a streaming query");
    Error::unsupported(message, TOP_N_HINT)
}

fn call_of(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::WindowFunction(call) => Some(call),
        Expr::Alias(alias) => call_of(&alias.expr),
        _ => None,
    }
}

fn plain_column(expr: &Expr) -> Option<&datafusion::common::Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_literal(&alias.expr),
        other => matches!(other, Expr::Literal(..)),
    }
}

/// Whether rows come in an order, as far as a LIMIT is concerned.
fn has_order(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::SubqueryAlias(alias) => has_order(&alias.input),
        LogicalPlan::Projection(Projection { input, .. }) | LogicalPlan::Limit(Limit { input, .. }) => has_order(input),
        _ => false,
    }
}

/// First and last rank that a LIMIT with OFFSET keeps.
fn bounds_of(limit: &Limit) -> Result<(i64, i64)> {
    let negative = |clause: &str, state| Error::new(state, format!("{clause} must not be negative"));
    let computed = |clause: &str| {
        let hint = "Write a whole number.";
        Error::unsupported(format!("{clause} that is not a constant is not supported in a streaming query"), hint)
    };
    let skip = limit.get_skip_type().map_err(|_| negative("OFFSET", SqlState::InvalidRowCountInOffset));
    let skip = match skip? {
        SkipType::Literal(skip) => skip,
        SkipType::UnsupportedExpr => return Err(computed("OFFSET")),
    };
    let fetch = limit.get_fetch_type().map_err(|_| negative("LIMIT", SqlState::InvalidRowCountInLimit));
    let fetch = match fetch? {
        FetchType::Literal(fetch) => fetch,
        FetchType::UnsupportedExpr => return Err(computed("LIMIT")),
    };
    let skip = i64::try_from(skip).unwrap_or(i64::MAX);
    let fetch = fetch.map_or(i64::MAX, |fetch| i64::try_from(fetch).unwrap_or(i64::MAX));
    Ok((skip.saturating_add(1), skip.saturating_add(fetch)))
}

/// What a condition says of a rank.
#[derive(Debug, PartialEq, Eq)]
struct Bounds {
    first: i64,
    last: i64,
    /// It says nothing else.
    exact: bool,
}

/// The bounds that a condition sets to the rank, if it is about the rank and constants.
fn bounds(condition: &Expr, is_rank: &dyn Fn(&Expr) -> bool) -> Option<Bounds> {
    let exact = |first, last| Some(Bounds { first, last, exact: true });
    match condition {
        Expr::BinaryExpr(binary) => {
            let (op, value) = if is_rank(&binary.left) {
                (binary.op, whole(&binary.right)?)
            } else if is_rank(&binary.right) {
                (binary.op.swap()?, whole(&binary.left)?)
            } else {
                return None;
            };
            match op {
                Operator::Eq => exact(value, value),
                Operator::Lt => exact(1, value.saturating_sub(1)),
                Operator::LtEq => exact(1, value.min(i64::MAX - 1)),
                Operator::Gt => exact(value.saturating_add(1), i64::MAX),
                Operator::GtEq => exact(value, i64::MAX),
                _ => None,
            }
        }
        Expr::Between(between) if !between.negated && is_rank(&between.expr) => {
            exact(whole(&between.low)?, whole(&between.high)?.min(i64::MAX - 1))
        }
        Expr::InList(list) if !list.negated && is_rank(&list.expr) => {
            let values = list.list.iter().map(whole).collect::<Option<Vec<i64>>>()?;
            let (first, last) = (*values.iter().min()?, *values.iter().max()?);
            Some(Bounds { first, last, exact: first == last })
        }
        _ => None,
    }
}

fn whole(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int16(Some(value)), _) => Some(i64::from(*value)),
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => Some(i64::from(*value)),
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        _ => None,
    }
}
