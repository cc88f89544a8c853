//! Functions of time.
//!
//! - `PROCTIME()`: a stream plan has an operator for it; elsewhere there are no ticks that it could be of.
//! - `TO_TIMESTAMP_LTZ(n [, digits])`: seconds since 1970 (digits 0) or milliseconds (3, the default), as Flink has it.

use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::{Arguments, Row};
use crate::clock::{MICROS_PER_MILLI, MICROS_PER_SECOND, Micros};
use crate::error::{Error, SqlState};
use crate::plan::errors::{through, type_name};
use crate::types::{SqlType, UTC};

pub const PROCTIME: &str = "proctime";

/// Microseconds, as the clock has them.
pub const PROCTIME_TYPE: SqlType = SqlType::TimestampTz(6);

#[derive(Debug, PartialEq, Eq, Hash)]
struct ProcTime {
    signature: Signature,
}

pub(super) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let proctime = ProcTime { signature: Signature::nullary(Volatility::Volatile) };
    let epoch = Epoch { signature: Signature::variadic_any(Volatility::Immutable) };
    [ScalarUDF::new_from_impl(proctime), ScalarUDF::new_from_impl(epoch)].map(Arc::new).into_iter()
}

impl ScalarUDFImpl for ProcTime {
    fn name(&self) -> &str {
        PROCTIME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(PROCTIME_TYPE.to_arrow())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let hint = "Use it in a view or a job, or now() in a SELECT.";
        Err(through(Error::unsupported("PROCTIME() has no value outside a streaming query", hint)))
    }
}

const TO_TIMESTAMP_LTZ: &str = "to_timestamp_ltz";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Epoch {
    signature: Signature,
}

impl ScalarUDFImpl for Epoch {
    fn name(&self) -> &str {
        TO_TIMESTAMP_LTZ
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let is_integer = |ty: &DataType| matches!(ty, DataType::Int16 | DataType::Int32 | DataType::Int64);
        if (1..=2).contains(&arguments.len()) && arguments.iter().all(is_integer) {
            return Ok(PROCTIME_TYPE.to_arrow());
        }
        let types = arguments.iter().map(type_name).collect::<Vec<_>>().join(", ");
        plan_err!("No function matches the given name and argument types '{TO_TIMESTAMP_LTZ}({types})'.")
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arguments = Arguments::new(&args.args, rows).map_err(through)?;
        let micros = (0..rows).map(|at| micros(arguments.row(at))).collect::<Result<Vec<_>, Error>>();
        let times = TimestampMicrosecondArray::from(micros.map_err(through)?).with_timezone(UTC);
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&times, 0)?)),
            false => Ok(ColumnarValue::Array(Arc::new(times))),
        }
    }
}

fn micros(row: Row<'_>) -> Result<Option<Micros>, Error> {
    let (Some(number), Some(digits)) = (row.integer_or(0, 0)?, row.integer_or(1, 3)?) else { return Ok(None) };
    let unit = match digits {
        0 => MICROS_PER_SECOND,
        3 => MICROS_PER_MILLI,
        _ => {
            let message = format!("the precision of to_timestamp_ltz must be 0 or 3, not {digits}");
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
    };
    let out_of_range = || Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range");
    number.checked_mul(unit).ok_or_else(out_of_range).map(Some)
}
