//! SELECT DISTINCT ON as PostgreSQL defines it: of the rows with equal values the first in the order of ORDER BY, which is
//! the row whose number is 1. Told before anything is optimised: DataFusion pushes conditions below a DISTINCT ON.

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition, lit,
};

use crate::error::Error;
use crate::plan::errors::through;
use crate::plan::functions::functions;
use crate::plan::stream::RankFunction;

/// Replaces every DISTINCT ON of a plan, in sub-queries too.
pub fn number_distinct(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Distinct(Distinct::On(distinct)) => Ok(Transformed::yes(first_rows(distinct)?)),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

fn first_rows(distinct: DistinctOn) -> Result<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, sort_expr, input, .. } = distinct;
    let sort = sort_expr.unwrap_or_default();
    let Some(row_number) = functions().window(RankFunction::RowNumber.name()) else {
        return Err(through(Error::internal("there is no row_number")));
    };
    let mut call = WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number), Vec::new());
    call.params.order_by = sort.iter().filter(|sort| !on_expr.contains(&sort.expr)).cloned().collect();
    call.params.partition_by = on_expr;
    let numbered = LogicalPlanBuilder::from(input).window([Expr::from(call)])?.build()?;
    let number = numbered.schema().columns().pop();
    let number = number.ok_or_else(|| through(Error::internal("a window function without result")))?;
    let first = LogicalPlanBuilder::from(numbered).filter(Expr::Column(number).eq(lit(1_i64)))?;
    // For a LIMIT behind it.
    let first = if sort.is_empty() { first } else { first.sort(sort)? };
    first.project(select_expr)?.build()
}
