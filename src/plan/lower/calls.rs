//! Calls of aggregate functions: their arguments, conditions and orders become columns that the operator reads.

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::AggregateFunction as AggregateExpr;

use super::{Lowering, Rows};
use crate::change::key::Direction;
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::type_name;
use crate::plan::stream::{AggregateCall, AggregateFunction, Changelog, SortColumn};
use crate::types::SqlType;

impl Lowering<'_> {
    /// A call over `outputs`, to which it adds what it reads, and the field of its answer.
    pub(super) fn call(
        &self,
        call: &AggregateExpr,
        schema: &DFSchema,
        rows: &Rows,
        outputs: &mut Vec<(Expr, Field)>,
    ) -> Result<(AggregateCall, Field)> {
        let name = call.func.name();
        let Some(function) = AggregateFunction::by_name(name) else {
            let message = format!("aggregate function {name} is not supported in a streaming query yet");
            return Err(Error::unsupported(message, format!("Supported, each with FILTER, are {}.", supported())));
        };
        let mut columns = |expr: &Expr, what: &str| self.input(expr, &format!("{name}_{what}"), schema, rows, outputs);
        let argument = match call.params.args.as_slice() {
            [one] if call.params.distinct || !counts_rows(function, one) => Some(columns(one, "argument")?),
            [] | [_] => None,
            [one, _] if function == AggregateFunction::StringAgg => Some(columns(one, "argument")?),
            _ => {
                let hint = "Count the columns one by one.";
                return Err(Error::unsupported(format!("{name} of several columns is not supported yet"), hint));
            }
        };
        let filter = call.params.filter.as_ref().map(|filter| columns(filter, "filter")).transpose()?;
        // Where there is nothing to order, ORDER BY says nothing.
        let order = call.params.order_by.iter().filter(|_| function.collects()).map(|by| {
            let direction = Direction { descending: !by.asc, nulls_first: by.nulls_first };
            Ok(SortColumn { column: columns(&by.expr, "order")?, direction })
        });
        let order = order.collect::<Result<Vec<_>>>()?;
        let separator = call.params.args.get(1).map(separator).transpose()?;
        if call.params.distinct && order.iter().any(|by| Some(by.column) != argument) {
            return Err(not_among_arguments());
        }
        if function == AggregateFunction::ApproxCountDistinct {
            self.check_only_grows(name, rows)?;
        }
        let argument_field = argument.and_then(|a| outputs.get(a)).map(|(_, field)| field);
        let ty = result_type(function, argument_field)?;
        // Of equal values one is as great, and as true, as all.
        let distinct = call.params.distinct && !function.ignores_repetition();
        if let Some(field) = argument_field.filter(|_| distinct && !function.collects())
            && matches!(field.data_type(), DataType::Struct(_) | DataType::List(_))
        {
            let message = format!("{name}(DISTINCT {}) is not supported", SqlType::from_field(field));
            return Err(Error::unsupported(message, "Name a field of the value, or cast it to TEXT."));
        }
        Ok((AggregateCall { function, argument, distinct, filter, order, separator }, ty.field(name)))
    }

    /// A sketch forgets what it was made of.
    fn check_only_grows(&self, name: &str, rows: &Rows) -> Result<()> {
        if self.builder.node(rows.node).changelog == Changelog::AppendOnly {
            return Ok(());
        }
        let message = format!("aggregate function {name} over a changing result is not supported");
        let error = Error::unsupported(message, "Use count(DISTINCT x), which takes values back.");
        Err(error.with_detail(self.why_it_changes(rows.node)))
    }
}

/// The names of all functions.
fn supported() -> String {
    let names: Vec<String> = AggregateFunction::ALL.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// ORDER BY of DISTINCT values by something else.
pub fn not_among_arguments() -> Error {
    let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
    Error::new(SqlState::InvalidColumnReference, message)
        .with_hint("Order by the argument itself, or leave DISTINCT out.")
}

/// The separator of string_agg; null is none.
fn separator(expr: &Expr) -> Result<String> {
    match expr {
        Expr::Alias(alias) => separator(&alias.expr),
        Expr::Cast(cast) => separator(&cast.expr),
        Expr::Literal(value, _) if value.is_null() => Ok(String::new()),
        Expr::Literal(value, _) if value.try_as_str().is_some() => {
            Ok(value.try_as_str().flatten().unwrap_or_default().to_string())
        }
        _ => Err(changing_separator()),
    }
}

/// A separator that is computed from each row.
pub fn changing_separator() -> Error {
    let hint = "Write it as a text, as in string_agg(name, ', ').";
    Error::unsupported("aggregate function string_agg with a separator that is no constant is not supported", hint)
}

/// count(*), and count of anything that is never null.
fn counts_rows(function: AggregateFunction, argument: &Expr) -> bool {
    function == AggregateFunction::Count && matches!(argument, Expr::Literal(value, _) if !value.is_null())
}

fn result_type(function: AggregateFunction, argument: Option<&Field>) -> Result<SqlType> {
    // min and max keep a declared precision or length.
    if let (AggregateFunction::Min | AggregateFunction::Max, Some(field)) = (function, argument)
        && function.result_type(field.data_type()).is_some()
    {
        return Ok(SqlType::from_field(field));
    }
    let ty = argument.map_or(DataType::Null, |field| field.data_type().clone());
    match function.result_type(&ty) {
        Some(result) => Ok(SqlType::from_arrow(&result)),
        None => {
            let message = format!("function {function}({}) does not exist", type_name(&ty));
            Err(Error::new(SqlState::UndefinedFunction, message))
        }
    }
}
