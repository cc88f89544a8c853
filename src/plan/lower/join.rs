//! Regular joins: also what DataFusion makes of IN, EXISTS, scalar sub-queries, INTERSECT and EXCEPT.
//!
//! Equalities between the two sides become key columns, computed by a projection in front if need be; whatever else is
//! demanded of a pair becomes the condition. Only columns that somebody needs go into a join, since all of them become
//! state.

use arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator, lit};

use super::build::{Facts, condition_over};
use super::relational::push_once;
use super::{Lowering, Rows, Slot};
use crate::error::{Error, Result};
use crate::plan::Scalar;
use crate::plan::errors::through;
use crate::plan::query::typing::binary;
use crate::plan::stream::{Changelog, Distribution, JoinKey, JoinKind, Node, NodeIndex, Op, pair_schema};

/// One side as the operator reads it.
struct Input {
    node: NodeIndex,
    /// Where each column of the logical plan is.
    columns: Vec<usize>,
    /// Where each side of an equality is.
    keys: Vec<usize>,
}

/// What a join demands of a pair of rows.
#[derive(Default)]
struct Demands {
    /// Equalities: an expression over each side, and whether null equals null.
    equal: Vec<(Expr, Expr, bool)>,
    rest: Vec<Expr>,
}

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Rows> {
        if let Some(rows) = self.interval_join(join)? {
            return Ok(rows);
        }
        let (kind, swapped) = kind_of(join)?;
        let (left, right) = if swapped { (&join.right, &join.left) } else { (&join.left, &join.right) };
        let demands = demands(join, left.schema(), right.schema(), swapped)?;
        let (equal_left, equal_right): (Vec<&Expr>, Vec<&Expr>) = demands.equal.iter().map(|(l, r, _)| (l, r)).unzip();
        let left_input = self.join_input(left, &equal_left)?;
        let right_input = self.join_input(right, &equal_right)?;
        let on: Vec<JoinKey> = demands
            .equal
            .iter()
            .zip(left_input.keys.iter().zip(&right_input.keys))
            .map(|((.., null_safe), (left, right))| JoinKey { left: *left, right: *right, null_safe: *null_safe })
            .collect();
        let condition = self.pair_condition(demands.rest, (left, &left_input), (right, &right_input))?;

        let at_once = self.joins_at_once(kind, &on, condition.is_some(), [left_input.node, right_input.node]);
        let (left_node, right_node) = (self.builder.node(left_input.node), self.builder.node(right_input.node));
        let width = left_node.schema.fields().len();
        let mut fields: Vec<Field> = left_node.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        let mut slots: Vec<Slot> = left_input.columns.iter().map(|c| Slot::Column(*c)).collect();
        if kind.gives_pairs() {
            fields.extend(right_node.schema.fields().iter().map(|f| f.as_ref().clone()));
            slots.extend(right_input.columns.iter().map(|c| Slot::Column(width + c)));
        }
        let facts = Facts {
            fields,
            changelog: if at_once { Changelog::AppendOnly } else { changelog(kind, left_node, right_node) },
            event_time: None,
            unique_key: unique_key(kind, &on, left_node, right_node),
        };
        let distribution = |key: fn(&JoinKey) -> usize| Distribution::Hash(on.iter().map(key).collect());
        let inputs =
            vec![(left_input.node, distribution(|key| key.left)), (right_input.node, distribution(|key| key.right))];
        let node = self.builder.add(Op::Join { kind, on, condition, at_once }, inputs, facts);
        Ok(Rows { node, slots, window: None })
    }

    /// Whether all rows of a key come within one tick: both sides are told apart by the same window's answers.
    fn joins_at_once(&self, kind: JoinKind, on: &[JoinKey], conditional: bool, [left, right]: [NodeIndex; 2]) -> bool {
        let same_window = |key: &JoinKey| {
            let window = self.builder.at_once(left, key.left);
            window.is_some() && window == self.builder.at_once(right, key.right)
        };
        (kind == JoinKind::Inner || !conditional) && on.iter().any(same_window)
    }

    /// Lowers one side, with exactly the columns that the logical plan has of it, and those that must be equal.
    fn join_input(&mut self, plan: &LogicalPlan, keys: &[&Expr]) -> Result<Input> {
        let rows = self.lower(plan)?;
        let rows = self.put_windows(rows)?;
        let mut outputs: Vec<(Expr, Field)> = Vec::new();
        let mut columns = Vec::with_capacity(rows.slots.len());
        for slot in &rows.slots {
            let Slot::Column(column) = slot else { return Err(Error::internal("a window's column was lost")) };
            let field = self.builder.schema(rows.node).field(*column).clone();
            columns.push(push_once(&mut outputs, self.builder.column(rows.node, *column), field));
        }
        let mut key_columns = Vec::with_capacity(keys.len());
        for key in keys {
            let expr = self.resolve(key, plan.schema(), &rows)?;
            let name = match &expr {
                Expr::Column(column) => column.name.clone(),
                _ => "key".to_string(),
            };
            let (expr, field) = self.builder.output(expr, &name, rows.node)?;
            key_columns.push(push_once(&mut outputs, expr, field));
        }
        if outputs.is_empty() {
            // EXISTS (SELECT ...) without any tie: that there is a row is all that matters.
            outputs.push(self.builder.output(lit(true), "exists", rows.node)?);
        }
        let schema = self.builder.schema(rows.node);
        let as_it_is = outputs.len() == schema.fields().len()
            && outputs
                .iter()
                .zip(schema.fields())
                .all(|((expr, _), field)| matches!(expr, Expr::Column(column) if column.name == *field.name()));
        let node = if as_it_is { rows.node } else { self.builder.project(rows.node, outputs)? };
        Ok(Input { node, columns, keys: key_columns })
    }

    /// What is not an equality, over the columns of both sides.
    fn pair_condition(
        &self,
        rest: Vec<Expr>,
        (left_plan, left): (&LogicalPlan, &Input),
        (right_plan, right): (&LogicalPlan, &Input),
    ) -> Result<Option<Scalar>> {
        let Some(condition) = conjunction(rest) else { return Ok(None) };
        let left_schema = self.builder.schema(left.node);
        let schema = pair_schema(left_schema, self.builder.schema(right.node));
        let width = left_schema.fields().len();
        let resolved = condition.transform_up(|expr| {
            let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
            let place = |plan: &LogicalPlan, input: &Input, offset: usize| {
                let at = plan.schema().maybe_index_of_column(column)?;
                Some(offset + input.columns.get(at)?)
            };
            let place = place(left_plan, left, 0).or_else(|| place(right_plan, right, width));
            match place.and_then(|at| schema.fields().get(at)) {
                Some(field) => {
                    let column = datafusion::common::Column::new_unqualified(field.name());
                    Ok(Transformed::yes(Expr::Column(column)))
                }
                None => Err(through(Error::internal("a column of a join's condition was lost"))),
            }
        })?;
        condition_over(resolved.data.unalias(), &schema).map(Some)
    }
}

/// The kind, and whether the sides are swapped for it.
fn kind_of(join: &Join) -> Result<(JoinKind, bool)> {
    Ok(match join.join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::Semi, false),
        JoinType::LeftAnti => (JoinKind::Anti, false),
        JoinType::RightSemi => (JoinKind::Semi, true),
        JoinType::RightAnti => (JoinKind::Anti, true),
        JoinType::LeftMark | JoinType::RightMark => {
            return Err(Error::unsupported(
                "IN or EXISTS with a sub-query is supported only as a condition of WHERE, alone or under AND",
                "Write OR as a UNION of two queries, or as a LEFT JOIN with the sub-query's DISTINCT rows.",
            ));
        }
    })
}

fn demands(join: &Join, left: &DFSchema, right: &DFSchema, swapped: bool) -> Result<Demands> {
    let mut demands = Demands::default();
    let null_safe = join.null_equality == NullEquality::NullEqualsNull;
    for (l, r) in &join.on {
        let (l, r) = if swapped { (r, l) } else { (l, r) };
        demands.equal.push((l.clone(), r.clone(), null_safe));
    }
    let mut not_in = join.null_aware;
    for condition in join.filter.iter().flat_map(split_conjunction) {
        match equality(condition, left, right) {
            Some((l, r, _)) if not_in => {
                // x NOT IN (...) is true if x = y is false (not null) for each y. The first equality is that one.
                demands.rest.push(Expr::IsNotFalse(Box::new(binary(l, Operator::Eq, r))));
                not_in = false;
            }
            Some(equal) => demands.equal.push(equal),
            None => demands.rest.push(condition.clone()),
        }
    }
    if not_in {
        return Err(Error::internal("a NOT IN lost its comparison"));
    }
    Ok(demands)
}

/// The sides of `l = r` or `l IS NOT DISTINCT FROM r`, if each is over one input.
fn equality(condition: &Expr, left: &DFSchema, right: &DFSchema) -> Option<(Expr, Expr, bool)> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op: op @ (Operator::Eq | Operator::IsNotDistinctFrom), right: b }) =
        condition
    else {
        return None;
    };
    let over = |expr: &Expr, schema: &DFSchema| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.into_iter().all(|c| schema.maybe_index_of_column(c).is_some())
    };
    let null_safe = *op == Operator::IsNotDistinctFrom;
    if over(a, left) && over(b, right) {
        Some((a.as_ref().clone(), b.as_ref().clone(), null_safe))
    } else if over(b, left) && over(a, right) {
        Some((b.as_ref().clone(), a.as_ref().clone(), null_safe))
    } else {
        None
    }
}

/// A pair, once there, stays if nothing is taken back; and so does the first partner of a row.
fn changelog(kind: JoinKind, left: &Node, right: &Node) -> Changelog {
    let grows = [left, right].iter().all(|node| node.changelog == Changelog::AppendOnly);
    match kind {
        JoinKind::Inner | JoinKind::Semi if grows => Changelog::AppendOnly,
        _ => Changelog::Changing,
    }
}

/// Columns of the output that are unique, as far as the inputs' keys tell.
fn unique_key(kind: JoinKind, on: &[JoinKey], left: &Node, right: &Node) -> Option<Vec<usize>> {
    let (left_key, right_key) = (left.unique_key.as_ref(), right.unique_key.as_ref());
    if !kind.gives_pairs() {
        return left_key.cloned();
    }
    let width = left.schema.fields().len();
    let one_right = right_key.is_some_and(|key| key.iter().all(|c| on.iter().any(|on| on.right == *c)));
    let one_left = left_key.is_some_and(|key| key.iter().all(|c| on.iter().any(|on| on.left == *c)));
    let shifted = |key: &Vec<usize>| key.iter().map(|c| width + c).collect::<Vec<_>>();
    match kind {
        // A row of each side without partner may both have a null key.
        JoinKind::Full => None,
        // Each left row comes at most once, padded or not.
        JoinKind::Inner | JoinKind::Left if one_right && left_key.is_some() => left_key.cloned(),
        JoinKind::Inner | JoinKind::Right if one_left && right_key.is_some() => right_key.map(shifted),
        _ => Some([left_key?.clone(), shifted(right_key?)].concat()),
    }
}
