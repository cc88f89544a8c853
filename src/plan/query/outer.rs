//! Changes the expressions of a plan, and tells sub-queries what becomes of the columns around them.
//!
//! DataFusion gives an outer column of a sub-query the type that it has when the sub-query is planned, and keeps it. What
//! is done later gives columns other types: literals become integer, UNIONs widen. So plans are walked inputs first, then
//! the sub-queries of a node, which are told the types that the columns around them have by now, then the node itself.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

/// The columns around a sub-query, those of the nearest query first.
struct Around<'a> {
    schema: &'a DFSchema,
    beyond: Option<&'a Around<'a>>,
}

/// Changes every expression, given the columns that it is over. Names of output columns stay, since nodes above refer to
/// them.
pub fn map_exprs(plan: LogicalPlan, change: impl Fn(Expr, &DFSchema) -> Result<Expr>) -> Result<LogicalPlan> {
    map_within(plan, None, &change, &Cell::new(false))
}

/// Coerces a plan's types by `analyze`, again where that has changed the types of outer columns: each time, they are settled
/// one level of sub-queries further in.
pub fn coerce(plan: LogicalPlan, analyze: impl Fn(LogicalPlan) -> Result<LogicalPlan>) -> Result<LogicalPlan> {
    let mut plan = plan;
    loop {
        let moved = Cell::new(false);
        plan = map_within(analyze(plan)?, None, &|expr, _| Ok(expr), &moved)?;
        if !moved.get() {
            return Ok(plan);
        }
    }
}

/// `moved` is set if an outer column has another type than its sub-query was told.
fn map_within(
    plan: LogicalPlan,
    around: Option<&Around>,
    change: &impl Fn(Expr, &DFSchema) -> Result<Expr>,
    moved: &Cell<bool>,
) -> Result<LogicalPlan> {
    let plan = plan.map_children(|input| map_within(input, around, change, moved).map(Transformed::yes))?.data;
    let schema = merge_schema(&plan.inputs());
    let inside = Around { schema: &schema, beyond: around };
    let plan = plan.map_subqueries(|query| map_within(query, Some(&inside), change, moved).map(Transformed::yes))?.data;
    if let LogicalPlan::Subquery(mut query) = plan {
        let columns = query.outer_ref_columns.into_iter();
        query.outer_ref_columns = columns.map(|expr| as_it_is_now(expr, around, moved)).collect::<Result<_>>()?;
        return Ok(LogicalPlan::Subquery(query));
    }
    let names = NamePreserver::new(&plan);
    let changed = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = change(as_it_is_now(expr, around, moved)?, &schema)?;
        Ok(Transformed::yes(name.restore(expr)))
    })?;
    match changed.data {
        // The schema of VALUES does not follow its expressions by itself.
        LogicalPlan::Values(values) => LogicalPlanBuilder::values(values.values)?.build(),
        plan => plan.recompute_schema(),
    }
}

/// The expression, its outer columns with the types that they have by now.
fn as_it_is_now(expr: Expr, around: Option<&Around>, moved: &Cell<bool>) -> Result<Expr> {
    let Some(around) = around else { return Ok(expr) };
    let typed = expr.transform_up(|expr| {
        let Expr::OuterReferenceColumn(field, column) = &expr else { return Ok(Transformed::no(expr)) };
        let mut scopes = std::iter::successors(Some(around), |scope| scope.beyond);
        let now = scopes.find_map(|scope| scope.schema.field_from_column(column).ok());
        match now {
            Some(now) if now.data_type() != field.data_type() => {
                moved.set(true);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(now), column.clone())))
            }
            _ => Ok(Transformed::no(expr)),
        }
    })?;
    Ok(typed.data)
}
