//! Interval joins and window joins: joins that the watermark bounds.
//!
//! 1. The join's condition is taken apart: bounds on the distance of two times ([`super::time_bounds`]), equalities of
//!    one side with the other, and the rest.
//! 2. Both inputs are lowered. The pair of times must be their event times, with a bound at either end; or both sides
//!    went through the same window function and the condition makes their windows equal, which is the range [0, 0] over
//!    window_time.
//! 3. Computed keys become columns of a projection in front of the join; the rest of the condition is its residual.
//!
//! What has no such bounds is left to others, and so is a join of inputs that change.

use arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, NullEquality};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator};

use super::build::{Facts, condition_over};
use super::relational::push_once;
use super::time_bounds::{TimeBound, TimePair, bounds_of, tightest};
use super::{Lowering, Rows, Slot, Window, WindowColumn, identify};
use crate::change::key::KeyCodec;
use crate::error::{Error, Result};
use crate::plan::query::typing::binary;
use crate::plan::query::window::WindowNode;
use crate::plan::stream::{
    Changelog, Distribution, EventTime, IntervalJoin, JoinKey, JoinKind, NodeIndex, Op, WindowSpec, pair_schema,
};

/// A join's condition, taken apart.
struct Condition {
    /// Each conjunct with what it says about times.
    conjuncts: Vec<(Expr, Vec<TimeBound>)>,
}

/// The times that bound a join, as columns of its inputs' nodes.
struct Times {
    left: EventTime,
    right: EventTime,
    lower: i64,
    upper: i64,
    /// What the conditions that gave them are about.
    settles: Vec<TimePair>,
    /// Both sides' windows are this one, and equal.
    window: Option<WindowSpec>,
}

/// An equality of the two sides: an expression over each.
struct Equality {
    left: Expr,
    right: Expr,
    null_safe: bool,
}

/// The two sides: logical inputs and, once lowered, their rows.
struct Sides<'a> {
    left: &'a LogicalPlan,
    right: &'a LogicalPlan,
    kind: JoinKind,
}

impl<'a> Sides<'a> {
    /// Right semi and anti joins are left ones with their sides changed.
    fn of(join: &'a Join) -> Option<Self> {
        let (left, right) = (join.left.as_ref(), join.right.as_ref());
        let (left, right, kind) = match join.join_type {
            JoinType::Inner => (left, right, JoinKind::Inner),
            JoinType::Left => (left, right, JoinKind::Left),
            JoinType::Right => (left, right, JoinKind::Right),
            JoinType::Full => (left, right, JoinKind::Full),
            JoinType::LeftSemi => (left, right, JoinKind::Semi),
            JoinType::LeftAnti if !join.null_aware => (left, right, JoinKind::Anti),
            JoinType::RightSemi => (right, left, JoinKind::Semi),
            JoinType::RightAnti if !join.null_aware => (right, left, JoinKind::Anti),
            _ => return None,
        };
        Some(Sides { left, right, kind })
    }
}

impl Lowering<'_> {
    /// A join that the watermark bounds; none if this one is not.
    ///
    /// # Errors
    /// `0A000` if it would be one but for a bound in months.
    pub(super) fn interval_join(&mut self, join: &Join) -> Result<Option<Rows>> {
        let Some(sides) = Sides::of(join) else { return Ok(None) };
        let condition = Condition::of(join, &sides);
        let pairs = condition.pairs();
        if pairs.is_empty() {
            return Ok(None);
        }
        for pair in &pairs {
            self.note_time(sides.left, pair.left);
            self.note_time(sides.right, pair.right);
        }
        let left = self.lower(sides.left)?;
        let left = self.put_windows(left)?;
        let right = self.lower(sides.right)?;
        let right = self.put_windows(right)?;
        let appends = |rows: &Rows| self.builder.node(rows.node).changelog == Changelog::AppendOnly;
        if !appends(&left) || !appends(&right) {
            return Ok(None);
        }
        let times = match self.window_times(&pairs, &condition, &left, &right) {
            Some(times) => times,
            None => match self.event_times(&pairs, &condition, &left, &right)? {
                Some(times) => times,
                None => return Ok(None),
            },
        };
        self.place_join(join, &sides, condition, times, (left, right)).map(Some)
    }

    /// Remembers that a window or a join reads this column as its time: an interval join below, which could go on with
    /// either of its times, then goes on with that one.
    pub(super) fn note_time(&mut self, plan: &LogicalPlan, column: usize) {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.note_time(&alias.input, column),
            LogicalPlan::Filter(filter) => self.note_time(&filter.input, column),
            LogicalPlan::Projection(projection) => {
                let expr = projection.expr.get(column).map(|e| e.clone().unalias_nested().data);
                if let Some(Expr::Column(inner)) = expr
                    && let Some(inner) = projection.input.schema().maybe_index_of_column(&inner)
                {
                    self.note_time(&projection.input, inner);
                }
            }
            LogicalPlan::Extension(extension) => {
                if let Some(window) = extension.node.as_any().downcast_ref::<WindowNode>()
                    && column < window.input.schema().fields().len()
                {
                    self.note_time(&window.input, column);
                }
            }
            LogicalPlan::Join(join) => self.join_times.push((std::ptr::from_ref(join), column)),
            _ => {}
        }
    }

    /// Times of a pair of event-time columns, if the condition bounds their distance at either end.
    fn event_times(
        &self,
        pairs: &[TimePair],
        condition: &Condition,
        left: &Rows,
        right: &Rows,
    ) -> Result<Option<Times>> {
        let time_of = |rows: &Rows, column: usize| {
            let time = self.builder.node(rows.node).event_time?;
            (rows.slots.get(column) == Some(&Slot::Column(time.column))).then_some(time)
        };
        for pair in pairs {
            let (Some(left), Some(right)) = (time_of(left, pair.left), time_of(right, pair.right)) else { continue };
            let bounds = condition.bounds(*pair);
            match tightest(&bounds, left.unit.min(right.unit)) {
                (Some(lower), Some(upper)) => {
                    return Ok(Some(Times { left, right, lower, upper, settles: vec![*pair], window: None }));
                }
                _ if bounds.iter().any(|bound| bound.micros.is_none()) => return Err(in_months()),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Times of two inputs behind the same window function whose windows the condition makes equal.
    fn window_times(&self, pairs: &[TimePair], condition: &Condition, left: &Rows, right: &Rows) -> Option<Times> {
        let mut settles = Vec::new();
        let mut equal: Vec<(WindowSpec, WindowColumn)> = Vec::new();
        for pair in pairs {
            let origin = |rows: &Rows, column: usize| match rows.slots.get(column) {
                Some(Slot::Column(column)) => self.window_column_of(rows.node, *column),
                _ => None,
            };
            let (Some(of_left), Some(of_right)) = (origin(left, pair.left), origin(right, pair.right)) else {
                continue;
            };
            let equality = condition.bounds(*pair);
            if of_left == of_right && equality.iter().any(|b| b.op == Operator::Eq && b.micros == Some(0)) {
                // Windows that end together may have begun apart: then their starts are a key of the join.
                let (spec, column) = of_left;
                if column != WindowColumn::Start || identify(&spec, |column| column != WindowColumn::Start) {
                    settles.push(*pair);
                }
                equal.push(of_left);
            }
        }
        let (spec, _) = *equal.first()?;
        let same = |column| equal.contains(&(spec, column));
        let time = |rows: &Rows| self.window_place(rows.node, spec, WindowColumn::Time);
        let (left, right) = (time(left)?, time(right)?);
        identify(&spec, same).then_some(Times { left, right, lower: 0, upper: 0, settles, window: Some(spec) })
    }

    /// Which column of which window a node's column is, as an operator computed it.
    pub(super) fn window_column_of(&self, node: NodeIndex, column: usize) -> Option<(WindowSpec, WindowColumn)> {
        let node = self.builder.node(node);
        let input = |at: usize| node.inputs.get(at).map(|i| i.node);
        let width = |at: usize| input(at).map_or(0, |node| self.builder.schema(node).fields().len());
        match &node.op {
            Op::Filter { .. } | Op::ProcessingTime => self.window_column_of(input(0)?, column),
            Op::Project { exprs } => {
                let inner = exprs.get(column)?.as_column()?;
                let inner = self.builder.schema(input(0)?).index_of(inner).ok()?;
                self.window_column_of(input(0)?, inner)
            }
            Op::Window { window, .. } => match column.checked_sub(width(0)) {
                Some(at) => Some((*window, *WindowColumn::ALL.get(at)?)),
                None => self.window_column_of(input(0)?, column),
            },
            Op::WindowAggregate { window, .. } => Some((*window, *WindowColumn::ALL.get(column)?)),
            // Behind an outer join, windows of the other side may be null.
            Op::IntervalJoin(join) => match column.checked_sub(width(0)) {
                None if !matches!(join.kind, JoinKind::Right | JoinKind::Full) => {
                    self.window_column_of(input(0)?, column)
                }
                Some(at) if matches!(join.kind, JoinKind::Inner | JoinKind::Right) => {
                    self.window_column_of(input(1)?, at)
                }
                _ => None,
            },
            Op::Expand { columns, .. } => self.window_column_of(input(0)?, *columns.get(column)?),
            Op::TopN { .. } | Op::WindowTopN(_) | Op::EarlyFiring { .. } | Op::LateRows { .. } => {
                self.window_column_of(input(0)?, column)
            }
            Op::Scan { .. }
            | Op::Normalize { .. }
            | Op::ViewScan { .. }
            | Op::Aggregate { .. }
            | Op::Join { .. }
            | Op::Union
            | Op::Upsert { .. } => None,
        }
    }

    /// Where a window's column is in a node's output.
    fn window_place(&self, node: NodeIndex, spec: WindowSpec, wanted: WindowColumn) -> Option<EventTime> {
        let fields = self.builder.schema(node).fields();
        let column = (0..fields.len()).find(|column| self.window_column_of(node, *column) == Some((spec, wanted)))?;
        let unit = crate::types::SqlType::from_field(&fields[column]).time_unit_micros()?;
        Some(EventTime { column, unit })
    }

    fn place_join(
        &mut self,
        join: &Join,
        sides: &Sides<'_>,
        condition: Condition,
        times: Times,
        (left, right): (Rows, Rows),
    ) -> Result<Rows> {
        let (equalities, rest) = condition.split(sides, &times.settles)?;
        let (mut keys, mut rest_of_keys) = (Vec::new(), Vec::new());
        for equality in equalities {
            let types = [equality.left.get_type(sides.left.schema())?, equality.right.get_type(sides.right.schema())?];
            // What cannot be a key is compared pair by pair.
            let is_key = types[0] == types[1] && KeyCodec::new(&types).is_ok();
            if is_key { keys.push(equality) } else { rest_of_keys.push(equality.into_condition()) }
        }
        let residual = conjunction(rest.into_iter().chain(rest_of_keys));
        let (left_keys, right_keys) = (keys.iter().map(|k| &k.left), keys.iter().map(|k| &k.right));
        let (left_node, left_keys) = self.keyed(&left, sides.left.schema(), left_keys.collect())?;
        let (right_node, right_keys) = self.keyed(&right, sides.right.schema(), right_keys.collect())?;
        let (left, right) = (Rows { node: left_node, ..left }, Rows { node: right_node, ..right });
        let schema = pair_schema(self.builder.schema(left_node), self.builder.schema(right_node));
        let left_width = self.builder.schema(left_node).fields().len();
        let residual = match residual {
            Some(residual) => {
                let of = sides.left.schema().join(sides.right.schema())?;
                let shifted = right.slots.iter().map(|slot| behind(*slot, left_width));
                let slots: Vec<Slot> = left.slots.iter().copied().chain(shifted).collect();
                Some(condition_over(over(residual, &of, &slots, &schema)?, &schema)?)
            }
            None => None,
        };
        let keys = left_keys.iter().zip(&right_keys).zip(&keys);
        let keys = keys.map(|((left, right), key)| JoinKey { left: *left, right: *right, null_safe: key.null_safe });
        let op = IntervalJoin {
            kind: sides.kind,
            left_time: times.left,
            right_time: times.right,
            lower: times.lower,
            upper: times.upper,
            keys: keys.collect(),
            residual,
        };
        let pairs = !matches!(sides.kind, JoinKind::Semi | JoinKind::Anti);
        let shown = if pairs { schema } else { std::sync::Arc::clone(self.builder.schema(left_node)) };
        let fields: Vec<Field> = shown.fields().iter().map(|f| f.as_ref().clone()).collect();
        let mut slots = left.slots;
        if pairs {
            slots.extend(right.slots.iter().map(|slot| behind(*slot, left_width)));
        }
        let event_time = Some(self.result_time(join, sides.kind, &times, &slots, left_width));
        let facts = Facts { fields, changelog: Changelog::AppendOnly, event_time, unique_key: None };
        let inputs = vec![(left_node, Distribution::Hash(left_keys)), (right_node, Distribution::Hash(right_keys))];
        let node = self.builder.add(Op::IntervalJoin(op), inputs, facts);
        Ok(self.joined_rows(node, slots, &times, sides.kind, left_width))
    }

    /// The result's event time: that of the side which a window or a join behind reads; if none does, the left one's, or
    /// of a right join the right one's, which is never null.
    fn result_time(&self, join: &Join, kind: JoinKind, times: &Times, slots: &[Slot], left_width: usize) -> EventTime {
        let right = EventTime { column: left_width + times.right.column, ..times.right };
        let noted = self.join_times.iter().filter(|(noted, _)| std::ptr::eq(*noted, join));
        let read: Vec<Slot> = noted.filter_map(|(_, column)| slots.get(*column).copied()).collect();
        let reads = |time: EventTime| read.contains(&Slot::Column(time.column));
        let goes_on_with_right = match kind {
            JoinKind::Semi | JoinKind::Anti => false,
            JoinKind::Right => reads(right) || !reads(times.left),
            JoinKind::Inner | JoinKind::Left | JoinKind::Full => reads(right) && !reads(times.left),
        };
        if goes_on_with_right { right } else { times.left }
    }

    /// The rows of a join. Behind a window join they are those of a window function still, so that a GROUP BY over the
    /// window's columns is a window aggregate; in an inner one the two sides' columns are the same.
    fn joined_rows(
        &self,
        node: NodeIndex,
        mut slots: Vec<Slot>,
        times: &Times,
        kind: JoinKind,
        left_width: usize,
    ) -> Rows {
        let Some(spec) = times.window.filter(|_| kind != JoinKind::Full) else {
            return Rows { node, slots, window: None };
        };
        let side = if kind == JoinKind::Right { left_width } else { 0 };
        let place = |wanted: WindowColumn, from: usize| {
            let width = self.builder.schema(node).fields().len();
            (from..width).find(|column| self.window_column_of(node, *column) == Some((spec, wanted)))
        };
        let columns = WindowColumn::ALL.map(|column| place(column, side));
        if kind == JoinKind::Inner {
            for slot in &mut slots {
                let Slot::Column(column) = *slot else { continue };
                if let Some((_, which)) = self.window_column_of(node, column).filter(|(of, _)| *of == spec)
                    && let Some(Some(same)) = columns.get(which.index())
                {
                    *slot = Slot::Column(*same);
                }
            }
        }
        let time = match kind {
            JoinKind::Right => EventTime { column: left_width + times.right.column, ..times.right },
            _ => times.left,
        };
        Rows { node, slots, window: Some(Window { spec, partition: Vec::new(), position: None, time, columns }) }
    }

    /// The columns that hold these expressions: those of the rows themselves, or of a projection that adds computed ones.
    fn keyed(&mut self, rows: &Rows, schema: &DFSchema, keys: Vec<&Expr>) -> Result<(NodeIndex, Vec<usize>)> {
        let fields = self.builder.schema(rows.node).fields().clone();
        let columns = fields.iter().enumerate();
        let mut outputs: Vec<(Expr, Field)> =
            columns.map(|(at, field)| (self.builder.column(rows.node, at), field.as_ref().clone())).collect();
        let mut places = Vec::with_capacity(keys.len());
        for key in keys {
            let expr = self.resolve(key, schema, rows)?;
            let (expr, field) = self.builder.output(expr, "key", rows.node)?;
            let known = match &expr {
                Expr::Column(column) => self.builder.schema(rows.node).index_of(&column.name).ok(),
                _ => None,
            };
            places.push(known.unwrap_or_else(|| push_once(&mut outputs, expr, field)));
        }
        let node = match outputs.len() == fields.len() {
            true => rows.node,
            false => self.builder.project(rows.node, outputs)?,
        };
        Ok((node, places))
    }
}

impl Condition {
    fn of(join: &Join, sides: &Sides<'_>) -> Self {
        let on = join.on.iter().map(|(left, right)| {
            let op = match join.null_equality {
                NullEquality::NullEqualsNothing => Operator::Eq,
                NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
            };
            binary(left.clone(), op, right.clone())
        });
        let filter = join.filter.iter().flat_map(split_conjunction).cloned();
        let with_bounds = |conjunct: Expr| {
            let bounds = bounds_of(&conjunct, sides.left.schema(), sides.right.schema());
            (conjunct, bounds)
        };
        Condition { conjuncts: on.chain(filter).map(with_bounds).collect() }
    }

    /// The pairs of columns whose distance is bounded somehow.
    fn pairs(&self) -> Vec<TimePair> {
        let mut pairs: Vec<TimePair> = Vec::new();
        for bound in self.conjuncts.iter().flat_map(|(_, bounds)| bounds) {
            if !pairs.contains(&bound.pair) {
                pairs.push(bound.pair);
            }
        }
        pairs
    }

    fn bounds(&self, pair: TimePair) -> Vec<TimeBound> {
        self.conjuncts.iter().flat_map(|(_, bounds)| bounds).filter(|b| b.pair == pair).copied().collect()
    }

    /// Equalities of the sides, and the rest. What only bounds `settled` pairs is neither.
    fn split(self, sides: &Sides<'_>, settled: &[TimePair]) -> Result<(Vec<Equality>, Vec<Expr>)> {
        let (mut equalities, mut rest) = (Vec::new(), Vec::new());
        for (conjunct, bounds) in self.conjuncts {
            let said = |bound: &TimeBound| settled.contains(&bound.pair) && bound.micros.is_some();
            if !bounds.is_empty() && bounds.iter().all(said) {
                continue;
            }
            match Equality::of(&conjunct, sides) {
                Some(equality) => equalities.push(equality),
                None => rest.push(conjunct),
            }
        }
        Ok((equalities, rest))
    }
}

impl Equality {
    fn of(conjunct: &Expr, sides: &Sides<'_>) -> Option<Self> {
        let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = conjunct else { return None };
        let null_safe = match op {
            Operator::Eq => false,
            Operator::IsNotDistinctFrom => true,
            _ => return None,
        };
        let is_over = |expr: &Expr, schema: &DFSchema| {
            let columns = expr.column_refs();
            !columns.is_empty() && columns.into_iter().all(|c| schema.maybe_index_of_column(c).is_some())
        };
        let (left, right) = (sides.left.schema(), sides.right.schema());
        let (left, right) = if is_over(a, left) && is_over(b, right) {
            (a, b)
        } else if is_over(b, left) && is_over(a, right) {
            (b, a)
        } else {
            return None;
        };
        Some(Equality { left: left.as_ref().clone(), right: right.as_ref().clone(), null_safe })
    }

    fn into_condition(self) -> Expr {
        binary(self.left, if self.null_safe { Operator::IsNotDistinctFrom } else { Operator::Eq }, self.right)
    }
}

/// A right side's slot in the joined rows.
fn behind(slot: Slot, left_width: usize) -> Slot {
    match slot {
        Slot::Column(column) => Slot::Column(left_width + column),
        slot => slot,
    }
}

/// An expression over both sides' logical columns as one over the joined rows.
fn over(expr: Expr, of: &DFSchema, slots: &[Slot], schema: &arrow::datatypes::SchemaRef) -> Result<Expr> {
    let placed = expr.transform_up(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let slot = slots.get(of.index_of_column(column)?);
        let field = slot.and_then(|slot| match slot {
            Slot::Column(index) => schema.fields().get(*index),
            Slot::Virtual(_) | Slot::Unread => None,
        });
        match field {
            Some(field) => {
                let column = datafusion::common::Column::new_unqualified(field.name());
                Ok(Transformed::yes(Expr::Column(column)))
            }
            None => Err(crate::plan::errors::through(Error::internal("a column of a join was lost"))),
        }
    })?;
    Ok(placed.data.unalias())
}

fn in_months() -> Error {
    Error::unsupported(
        "the bounds of an interval join cannot be given in months",
        "Months differ in length; give days, as in INTERVAL '30' DAY.",
    )
}
