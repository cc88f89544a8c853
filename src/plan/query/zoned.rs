//! Functions that show or read what clocks show get the zone of whoever asks as an argument, and literals that name no zone
//! become instants: so that a stored plan means the same whoever runs it.

use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::DFSchema;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, lit};

use super::outer::map_exprs;
use super::typing::call;
use crate::plan::errors::through;
use crate::plan::functions::text::{TO_CHAR, TO_CHAR_IN_ZONE, TO_TIMESTAMP, TO_TIMESTAMP_IN_ZONE};
use crate::plan::value;
use crate::plan::zone::is_utc;
use crate::types::SqlType;

/// What marks a literal of a time with time zone that says no zone, and holds its text.
const BY_CLOCKS: &str = "by_clocks";

/// The mark of such a literal, whose value is that of UTC until [`in_zone`].
pub fn by_clocks(text: &str) -> FieldMetadata {
    FieldMetadata::new([(BY_CLOCKS.to_string(), text.to_string())].into())
}

/// A settled plan whose `to_char` and `to_timestamp` go by the clocks of `zone`, and its literals.
///
/// # Errors
/// 22007 for a time that the clocks of that zone cannot show in our range of times.
pub fn in_zone(plan: LogicalPlan, zone: &str) -> Result<LogicalPlan> {
    let clocks = if is_utc(zone) { Tz::UTC } else { zone.parse().unwrap_or(Tz::UTC) };
    map_exprs(plan, |expr, schema| {
        let change = |expr| match expr {
            Expr::Literal(_, Some(_)) => instant(expr, clocks),
            expr if clocks == Tz::UTC => Ok(Transformed::no(expr)),
            expr => localized(expr, schema, zone),
        };
        Ok(expr.transform_up(change)?.data)
    })
}

/// A literal that goes by clocks as the instant at which those of the zone show it.
fn instant(expr: Expr, clocks: Tz) -> Result<Transformed<Expr>> {
    let text = match &expr {
        Expr::Literal(_, Some(mark)) => mark.inner().get(BY_CLOCKS).cloned(),
        _ => None,
    };
    let Some(text) = text else { return Ok(Transformed::no(expr)) };
    let value = value::read(&text, &SqlType::TimestampTz(6), clocks).map_err(through)?;
    Ok(Transformed::yes(lit(value)))
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
