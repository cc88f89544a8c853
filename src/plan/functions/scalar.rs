//! Scalar functions of our own.
//!
//! - `to_text(x)`: PostgreSQL's text of a value of any type.
//! - `of_text(text, null::type)`: the value of a type that a text stands for, as PostgreSQL reads it.
//! - `divide(a, b)`: floating-point division that fails on a divisor of zero, and on overflow.
//! - `round_even(x)`: a floating-point number rounded to a whole one, halves to even.
//! - `to_real(x)`, `to_double(x)`: a floating-point number of a text, or of a wider one, that fails on overflow.
//! - `check_length(text, n)`: fails if a text has more than n characters (trailing blanks aside), as an assignment to
//!   `varchar(n)` does.
//! - `round_time(t, p)`: a timestamp, or a time of day, rounded to p digits of a second, half away from the past.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Float32Array, Float64Array, PrimitiveArray, StringViewBuilder,
    new_empty_array,
};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int32Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use chrono_tz::Tz;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::error::{Error, SqlState};
use crate::plan::errors::through;
use crate::plan::value;
use crate::types::SqlType;
use crate::types::cells::Cells;

pub const TO_TEXT: &str = "to_text";
pub const OF_TEXT: &str = "of_text";
pub const DIVIDE: &str = "divide";
pub const CHECK_LENGTH: &str = "check_length";
pub const ROUND_TIME: &str = "round_time";
pub const ROUND_EVEN: &str = "round_even";
pub const TO_REAL: &str = "to_real";
pub const TO_DOUBLE: &str = "to_double";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    ToText,
    OfText,
    Divide,
    CheckLength,
    RoundTime,
    RoundEven,
    ToReal,
    ToDouble,
}

const KINDS: [(Kind, usize); 8] = [
    (Kind::ToText, 1),
    (Kind::OfText, 2),
    (Kind::Divide, 2),
    (Kind::CheckLength, 2),
    (Kind::RoundTime, 2),
    (Kind::RoundEven, 1),
    (Kind::ToReal, 1),
    (Kind::ToDouble, 1),
];

#[derive(Debug, PartialEq, Eq, Hash)]
struct Own {
    kind: Kind,
    signature: Signature,
}

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    KINDS
        .into_iter()
        .map(|(kind, arguments)| {
            let signature = Signature::any(arguments, Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(Own { kind, signature }))
        })
        .collect()
}

impl ScalarUDFImpl for Own {
    fn name(&self) -> &str {
        match self.kind {
            Kind::ToText => TO_TEXT,
            Kind::OfText => OF_TEXT,
            Kind::Divide => DIVIDE,
            Kind::CheckLength => CHECK_LENGTH,
            Kind::RoundTime => ROUND_TIME,
            Kind::RoundEven => ROUND_EVEN,
            Kind::ToReal => TO_REAL,
            Kind::ToDouble => TO_DOUBLE,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        use DataType as D;
        match (self.kind, arguments) {
            (Kind::ToText, [_]) => Ok(D::Utf8View),
            (Kind::OfText, [text, ty]) if text.is_string() => Ok(ty.clone()),
            (Kind::Divide, [D::Float64, D::Float64]) => Ok(D::Float64),
            (Kind::CheckLength, [D::Utf8View, D::Int32]) => Ok(D::Utf8View),
            (
                Kind::RoundTime,
                [time @ (D::Timestamp(TimeUnit::Microsecond, _) | D::Time64(TimeUnit::Microsecond)), D::Int32],
            ) => Ok(time.clone()),
            (Kind::RoundEven, [float @ (D::Float32 | D::Float64)]) => Ok(float.clone()),
            (Kind::ToReal, [D::Float64 | D::Utf8 | D::Utf8View]) => Ok(D::Float32),
            (Kind::ToDouble, [D::Utf8 | D::Utf8View]) => Ok(D::Float64),
            _ => plan_err!("No function matches the given name and argument types '{}'", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let all_scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let result: ArrayRef = match (self.kind, arrays.as_slice()) {
            (Kind::ToText, [values]) => to_text(values)?,
            (Kind::OfText, [texts, null]) => of_text(texts, null.data_type())?,
            (Kind::Divide, [dividend, divisor]) => divide(dividend, divisor)?,
            (Kind::CheckLength, [texts, lengths]) => check_length(texts, lengths)?,
            (Kind::RoundTime, [times, digits]) => round_time(times, digits)?,
            (Kind::RoundEven, [values]) => round_even(values)?,
            (Kind::ToReal, [values]) => to_real(values)?,
            (Kind::ToDouble, [texts]) => to_double(texts)?,
            _ => return plan_err!("wrong number of arguments for {}", self.name()),
        };
        if all_scalar && !result.is_empty() {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

fn raise(state: SqlState, message: impl Into<String>) -> DataFusionError {
    through(Error::new(state, message))
}

fn divide(dividend: &ArrayRef, divisor: &ArrayRef) -> Result<ArrayRef> {
    let (Some(a), Some(b)) = (dividend.as_primitive_opt::<Float64Type>(), divisor.as_primitive_opt::<Float64Type>())
    else {
        return plan_err!("divide takes double precision");
    };
    let quotients = a.iter().zip(b.iter()).map(|(a, b)| match (a, b) {
        (Some(_), Some(0.0)) => Err(raise(SqlState::DivisionByZero, "division by zero")),
        (Some(a), Some(b)) => {
            let quotient = a / b;
            if quotient.is_infinite() && a.is_finite() {
                return Err(through(overflow()));
            }
            if quotient == 0.0 && a != 0.0 && b.is_finite() {
                return Err(through(underflow()));
            }
            Ok(Some(quotient))
        }
        _ => Ok(None),
    });
    Ok(Arc::new(quotients.collect::<Result<Float64Array>>()?))
}

/// The result of floating-point arithmetic is too large for its type.
pub fn overflow() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "value out of range: overflow")
}

/// The result of floating-point arithmetic is too near to zero for its type.
pub fn underflow() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "value out of range: underflow")
}

fn round_even(values: &ArrayRef) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Float32 => {
            let rounded: Float32Array = values.as_primitive::<Float32Type>().unary(f32::round_ties_even);
            Ok(Arc::new(rounded))
        }
        DataType::Float64 => {
            let rounded: Float64Array = values.as_primitive::<Float64Type>().unary(f64::round_ties_even);
            Ok(Arc::new(rounded))
        }
        _ => plan_err!("round_even takes floating-point numbers"),
    }
}

fn to_real(values: &ArrayRef) -> Result<ArrayRef> {
    let Some(doubles) = values.as_primitive_opt::<Float64Type>() else {
        let parsed = texts(values)?.map(|text| text.map(value::real).transpose().map_err(through));
        return Ok(Arc::new(parsed.collect::<Result<Float32Array>>()?));
    };
    let narrowed: Float32Array = doubles.try_unary(|value| {
        let narrow = value as f32;
        if narrow.is_infinite() && value.is_finite() {
            return Err(through(overflow()));
        }
        if narrow == 0.0 && value != 0.0 {
            return Err(through(underflow()));
        }
        Ok::<_, DataFusionError>(narrow)
    })?;
    Ok(Arc::new(narrowed))
}

fn to_double(values: &ArrayRef) -> Result<ArrayRef> {
    let parsed = texts(values)?.map(|text| text.map(value::double).transpose().map_err(through));
    Ok(Arc::new(parsed.collect::<Result<Float64Array>>()?))
}

fn texts(values: &ArrayRef) -> Result<Box<dyn Iterator<Item = Option<&str>> + '_>> {
    match (values.as_string_view_opt(), values.as_string_opt::<i32>()) {
        (Some(texts), _) => Ok(Box::new(texts.iter())),
        (_, Some(texts)) => Ok(Box::new(texts.iter())),
        _ => plan_err!("a number is read from text"),
    }
}

fn check_length(texts: &ArrayRef, lengths: &ArrayRef) -> Result<ArrayRef> {
    let (Some(strings), Some(lengths)) = (texts.as_string_view_opt(), lengths.as_primitive_opt::<Int32Type>()) else {
        return plan_err!("check_length takes text and integer");
    };
    for (text, length) in strings.iter().zip(lengths.iter()) {
        let (Some(text), Some(length)) = (text, length) else { continue };
        let length = usize::try_from(length).unwrap_or(0);
        // A text of as many bytes cannot have more characters; most are told apart here.
        if text.len() > length && text.chars().count() > length {
            let message = format!("value too long for type character varying({length})");
            return Err(raise(SqlState::StringDataRightTruncation, message));
        }
    }
    Ok(Arc::clone(texts))
}

fn round_time(times: &ArrayRef, digits: &ArrayRef) -> Result<ArrayRef> {
    match times.data_type() {
        DataType::Time64(TimeUnit::Microsecond) => rounded::<Time64MicrosecondType>(times, digits),
        DataType::Timestamp(TimeUnit::Microsecond, _) => rounded::<TimestampMicrosecondType>(times, digits),
        other => plan_err!("round_time does not take {other}"),
    }
}

fn rounded<T: ArrowPrimitiveType<Native = i64>>(times: &ArrayRef, digits: &ArrayRef) -> Result<ArrayRef> {
    let Some(digits) = digits.as_primitive_opt::<Int32Type>() else {
        return plan_err!("round_time takes a number of digits");
    };
    let rounded = times.as_primitive::<T>().iter().zip(digits.iter()).map(|(micros, digits)| match (micros, digits) {
        (Some(micros), Some(digits)) => {
            let dropped = u32::try_from(6 - digits.clamp(0, 6)).unwrap_or(0);
            let unit = 10_i64.pow(dropped);
            let past = micros.rem_euclid(unit);
            let up = if 2 * past >= unit && unit > 1 { unit } else { 0 };
            micros
                .checked_sub(past)
                .and_then(|m| m.checked_add(up))
                .map(Some)
                .ok_or_else(|| raise(SqlState::DatetimeFieldOverflow, "timestamp out of range"))
        }
        _ => Ok(None),
    });
    let rounded = rounded.collect::<Result<PrimitiveArray<T>>>()?;
    Ok(Arc::new(rounded.with_data_type(times.data_type().clone())))
}

/// PostgreSQL's text of each value; times with time zone in UTC.
fn to_text(values: &ArrayRef) -> Result<ArrayRef> {
    let cells = Cells::of(values, &SqlType::from_arrow(values.data_type())).map_err(through)?;
    let mut out = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for row in 0..values.len() {
        if cells.is_null(row) {
            out.append_null();
            continue;
        }
        text.clear();
        cells.text(row, Tz::UTC, &mut text);
        out.append_value(&text);
    }
    Ok(Arc::new(out.finish()))
}

/// Each text as a value of type `ty`.
fn of_text(values: &ArrayRef, ty: &DataType) -> Result<ArrayRef> {
    let null = ScalarValue::try_from(ty)?;
    let read = |text: Option<&str>| match text {
        Some(text) => value::read_as(text, ty).map_err(through),
        None => Ok(null.clone()),
    };
    let read = texts(values)?.map(read).collect::<Result<Vec<_>>>()?;
    if read.is_empty() {
        return Ok(new_empty_array(ty));
    }
    ScalarValue::iter_to_array(read)
}
