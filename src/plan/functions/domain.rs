//! Functions of numbers that are not defined for all of them: where DataFusion answers NaN or infinity, PostgreSQL fails.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::scalar::overflow;
use crate::error::{Error, SqlState};
use crate::plan::errors::through;

const PARTIAL: &[&str] =
    &["ln", "log", "log10", "log2", "sqrt", "power", "exp", "acos", "asin", "acosh", "atanh", "cosh", "sinh", "cot"];

/// The function, failing where it is not defined.
pub fn total(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match PARTIAL.contains(&function.name()) {
        true => Arc::new(ScalarUDF::new_from_impl(Partial { inner: function })),
        false => function,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Partial {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Partial {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DfResult<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let (given, rows) = (args.args.clone(), args.number_rows);
        let result = self.inner.invoke_with_args(args)?;
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
                return Err(through(undefined(self.name(), value)));
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
