//! Functions of numbers that are not defined for all of them: where DataFusion answers NaN or infinity, PostgreSQL fails.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::around::{Around, wrapped};
use super::scalar::overflow;
use crate::error::{Error, SqlState};
use crate::plan::errors::through;

const PARTIAL: &[&str] =
    &["ln", "log", "log10", "log2", "sqrt", "power", "exp", "acos", "asin", "acosh", "atanh", "cosh", "sinh", "cot"];

/// The function, failing where it is not defined.
pub fn total(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if PARTIAL.contains(&function.name()) { wrapped(function, Partial) } else { function }
}

/// What is not finite although every argument is has no value.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Partial;

impl Around for Partial {
    fn call(&self, function: &ScalarUDF, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let (given, rows) = (args.args.clone(), args.number_rows);
        let result = function.invoke_with_args(args)?;
        let rows = if matches!(result, ColumnarValue::Scalar(_)) { 1 } else { rows };
        let results = floats(&result.to_array(rows)?);
        // Most batches have nothing to be looked at twice.
        if results.iter().all(|value| value.is_finite()) {
            return Ok(result);
        }
        let given = given.iter().map(|arg| Ok(floats(&arg.to_array(rows)?))).collect::<DfResult<Vec<_>>>()?;
        for (row, value) in results.into_iter().enumerate().filter(|(_, value)| !value.is_finite()) {
            // What is not finite already may give what is not finite.
            if given.iter().filter_map(|values| values.get(row)).all(|value| value.is_finite()) {
                return Err(through(undefined(function.name(), value)));
            }
        }
        Ok(result)
    }
}

/// The values as floating-point numbers; zero for null. Other types hold nothing that is not finite.
fn floats(values: &ArrayRef) -> Vec<f64> {
    match values.data_type() {
        DataType::Float64 => values.as_primitive::<Float64Type>().iter().map(Option::unwrap_or_default).collect(),
        DataType::Float32 => {
            values.as_primitive::<Float32Type>().iter().map(|v| v.unwrap_or_default().into()).collect()
        }
        _ => vec![0.0; values.len()],
    }
}

/// What PostgreSQL says where the function's value is none.
fn undefined(name: &str, value: f64) -> Error {
    let (state, message) = match name {
        "ln" | "log" | "log10" | "log2" if value.is_nan() => {
            (SqlState::InvalidArgumentForLogarithm, "cannot take logarithm of a negative number")
        }
        "ln" | "log" | "log10" | "log2" => (SqlState::InvalidArgumentForLogarithm, "cannot take logarithm of zero"),
        "sqrt" => (SqlState::InvalidArgumentForPowerFunction, "cannot take square root of a negative number"),
        "power" if value.is_nan() => (
            SqlState::InvalidArgumentForPowerFunction,
            "a negative number raised to a non-integer power yields a complex result",
        ),
        _ if value.is_nan() => (SqlState::NumericValueOutOfRange, "input is out of range"),
        _ => return overflow(),
    };
    Error::new(state, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_a_function() {
        for name in PARTIAL {
            assert!(super::super::functions().scalar(name).is_some(), "{name}");
        }
    }
}
