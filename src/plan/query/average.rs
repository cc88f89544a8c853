//! Averages as Flink has them: of integers an integer, cut towards zero. The front end says `flink_avg`; here it becomes an
//! exact average, and a projection behind it that cuts.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder};

use super::typing::cast;
use crate::error::Error;
use crate::plan::errors::through;
use crate::sql::flink::query::FLINK_AVG;

/// `avg`: the exact one.
pub fn exact_averages(plan: LogicalPlan, avg: Option<Arc<AggregateUDF>>) -> Result<LogicalPlan> {
    let avg = avg.ok_or_else(|| through(Error::internal("there is no average")))?;
    let changed = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(is_average) => {
            behind_exact(aggregate, &avg).map(Transformed::yes)
        }
        plan => Ok(Transformed::no(plan)),
    })?;
    Ok(changed.data)
}

fn is_average(expr: &Expr) -> bool {
    matches!(expr.clone().unalias(), Expr::AggregateFunction(call) if call.func.name() == FLINK_AVG)
}

fn behind_exact(aggregate: Aggregate, avg: &Arc<AggregateUDF>) -> Result<LogicalPlan> {
    let wanted = aggregate.schema.clone();
    let exact = aggregate.aggr_expr.into_iter().map(|expr| {
        let changed = expr.transform_up(|expr| match expr {
            Expr::AggregateFunction(mut call) if call.func.name() == FLINK_AVG => {
                call.func = Arc::clone(avg);
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.data)
    });
    let exact = Aggregate::try_new(aggregate.input, aggregate.group_expr, exact.collect::<Result<_>>()?)?;
    let given = exact.schema.clone();
    // A cast to integers cuts.
    let columns = given.iter().zip(wanted.iter()).map(|((given, given_field), (qualifier, field))| {
        let column = Expr::Column(Column::new(given.cloned(), given_field.name()));
        let same = given_field.data_type() == field.data_type();
        let value = if same { column } else { cast(column, field.data_type().clone()) };
        value.alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(LogicalPlan::Aggregate(exact)).project(columns)?.build()
}
