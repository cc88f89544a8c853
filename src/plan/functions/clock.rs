//! Functions of time.
//!
//! - `PROCTIME()`: a stream plan has an operator for it; elsewhere there are no ticks that it could be of.
//! - `TO_TIMESTAMP_LTZ(n [, digits])`: seconds since 1970 (digits 0) or milliseconds (3, the default), as Flink has it.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::define::{Call, Definition, Form, Parameter as P, at};
use super::results::timestamptz;
use crate::clock::{MICROS_PER_MILLI, MICROS_PER_SECOND, Micros};
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::through;
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
    std::iter::once(Arc::new(ScalarUDF::new_from_impl(proctime)))
}

impl ScalarUDFImpl for ProcTime {
    fn name(&self) -> &str {
        PROCTIME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(PROCTIME_TYPE.to_arrow())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let hint = "Use it in a view or a job, or now() in a SELECT.";
        Err(through(Error::unsupported("PROCTIME() has no value outside a streaming query", hint)))
    }
}

pub const DEFINITIONS: &[Definition] = &[Definition {
    name: "to_timestamp_ltz",
    forms: &[
        Form::new(&[P::BigInt], timestamptz, to_timestamp_ltz),
        Form::new(&[P::BigInt, P::Integer], timestamptz, to_timestamp_ltz),
    ],
}];

fn to_timestamp_ltz(call: Call<'_>) -> Result<ArrayRef> {
    let numbers = call.primitive::<Int64Type>(0)?;
    let digits = if call.count() > 1 { Some(call.integers(1)?) } else { None };
    let moment = |row: usize| match (at(numbers, row), digits.map_or(Some(3), |digits| at(digits, row))) {
        (Some(number), Some(digits)) => micros(number, digits).map(Some),
        _ => Ok(None),
    };
    let moments = (0..call.rows).map(moment).collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(moments.with_timezone(UTC)))
}

fn micros(number: i64, digits: i32) -> Result<Micros> {
    let unit = match digits {
        0 => MICROS_PER_SECOND,
        3 => MICROS_PER_MILLI,
        _ => {
            let message = format!("the precision of to_timestamp_ltz must be 0 or 3, not {digits}");
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
    };
    let out_of_range = || Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range");
    number.checked_mul(unit).ok_or_else(out_of_range)
}
