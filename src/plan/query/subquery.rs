//! Sub-queries in expressions: what of them can become a join.

use datafusion::common::SchemaError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::Error;
use crate::plan::errors::through;

/// What an error says of a sub-query that is refused: [`super::locate`] finds it by this.
pub const SUBQUERY: &str = "sub-query";

/// Refuses sub-queries whose meaning a join would not keep. Before anything is rewritten.
pub fn check(plan: &LogicalPlan) -> Result<()> {
    each_expr(plan, |expr| match expr {
        Expr::ScalarSubquery(query) if !gives_one_row(&query.subquery) => Err(through(Error::unsupported(
            format!("a {SUBQUERY} used as a value must be an aggregate without GROUP BY"),
            "That gives one row. Several could not be told from an error; use max(...), or a join.",
        ))),
        // DataFusion would filter the sub-query by it, and lose its nulls.
        Expr::InSubquery(test) if test.expr.column_refs().is_empty() => Err(through(Error::unsupported(
            format!("IN with a {SUBQUERY} needs a column on its left side"),
            "Write EXISTS with the comparison in the sub-query's WHERE.",
        ))),
        Expr::SetComparison(_) => Err(through(Error::unsupported(
            format!("ANY and ALL with a {SUBQUERY} are not supported yet"),
            "Write IN, EXISTS or NOT EXISTS.",
        ))),
        _ => Ok(()),
    })
}

/// Refuses what was not turned into a join.
pub fn check_none_left(plan: &LogicalPlan) -> Result<()> {
    each_expr(plan, |expr| match expr {
        Expr::ScalarSubquery(_)
        | Expr::InSubquery(_)
        | Expr::Exists(_)
        | Expr::SetComparison(_)
        | Expr::OuterReferenceColumn(..) => Err(through(no_join())),
        _ => Ok(()),
    })
}

fn no_join() -> Error {
    Error::unsupported(
        format!("this {SUBQUERY} cannot be made into a join"),
        "IN, EXISTS and aggregates can stand in WHERE, HAVING and the SELECT list; tie them to the query by equalities, \
         or write the join.",
    )
}

/// What an error of the optimizer means. All columns were found before; it is the rules for sub-queries that lose one, where
/// they give up half way.
pub fn lost(error: DataFusionError) -> DataFusionError {
    match error.find_root() {
        DataFusionError::SchemaError(inner, _) if matches!(inner.as_ref(), SchemaError::FieldNotFound { .. }) => {
            through(no_join())
        }
        _ => error,
    }
}

/// Refuses sub-queries in VALUES, which DataFusion's executor computes before it has their answers.
pub fn check_values(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Values(values) = node else { return Ok(TreeNodeRecursion::Continue) };
        for expr in values.values.iter().flatten() {
            if is_within(expr)? {
                return Err(through(Error::unsupported(
                    format!("a {SUBQUERY} in VALUES is not supported"),
                    "Write SELECT ... UNION ALL SELECT ...",
                )));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Whether an expression has a sub-query in it.
pub fn is_within(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| {
        Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)))
    })
}

fn each_expr(plan: &LogicalPlan, check: impl Fn(&Expr) -> Result<()>) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| expr.apply(|expr| check(expr).map(|()| TreeNodeRecursion::Continue)))
    })?;
    Ok(())
}

/// Whether a query gives at most one row, whatever it reads.
fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().into_iter().all(gives_one_row)
        }
        _ => false,
    }
}
