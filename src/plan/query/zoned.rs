//! Functions that show or read what clocks show get the zone of whoever asks as an argument: so that a stored plan means the
//! same whoever runs it.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, lit};

use super::outer::map_exprs;
use super::typing::call;
use crate::plan::functions::text::{TO_CHAR, TO_CHAR_IN_ZONE, TO_TIMESTAMP, TO_TIMESTAMP_IN_ZONE};
use crate::plan::zone::is_utc;

/// A settled plan whose `to_char` and `to_timestamp` go by the clocks of `zone`.
pub fn in_zone(plan: LogicalPlan, zone: &str) -> Result<LogicalPlan> {
    if is_utc(zone) {
        return Ok(plan);
    }
    map_exprs(plan, |expr, schema| Ok(expr.transform_up(|expr| localized(expr, schema, zone))?.data))
}

fn localized(expr: Expr, schema: &DFSchema, zone: &str) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(function) = &expr else { return Ok(Transformed::no(expr)) };
    let [first, _] = function.args.as_slice() else { return Ok(Transformed::no(expr)) };
    let zoned = |ty: DataType| matches!(ty, DataType::Timestamp(TimeUnit::Microsecond, Some(_)));
    let name = match function.name() {
        TO_CHAR if first.get_type(schema).is_ok_and(zoned) => TO_CHAR_IN_ZONE,
        TO_TIMESTAMP => TO_TIMESTAMP_IN_ZONE,
        _ => return Ok(Transformed::no(expr)),
    };
    let Expr::ScalarFunction(function) = expr else { return Ok(Transformed::no(expr)) };
    let zone = lit(datafusion::common::ScalarValue::Utf8View(Some(zone.to_string())));
    Ok(Transformed::yes(call(name, function.args.into_iter().chain([zone]).collect())?))
}
