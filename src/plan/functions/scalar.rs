//! Scalar functions of our own.
//!
//! - `to_text(x)`: PostgreSQL's text of a timestamp or a floating-point number, where Arrow's cast writes others.
//! - `divide(a, b)`: floating-point division that fails on a divisor of zero, and on overflow.
//! - `round_even(x)`: a floating-point number rounded to a whole one, halves to even.
//! - `to_real(x)`, `to_double(x)`: a floating-point number of a text, or of a wider one, that fails on overflow.
//! - `check_length(text, n)`: fails if a text has more than n characters (trailing blanks aside), as an assignment to
//!   `varchar(n)` does.
//! - `round_time(t, p)`: a timestamp rounded to p digits of a second, half away from the past.

use std::fmt::Write;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Float64Array, StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike};
use datafusion::common::plan_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::error::{Error, SqlState};
use crate::plan::errors::through;
use crate::types::SqlType;

pub const TO_TEXT: &str = "to_text";
pub const DIVIDE: &str = "divide";
pub const CHECK_LENGTH: &str = "check_length";
pub const ROUND_TIME: &str = "round_time";
pub const ROUND_EVEN: &str = "round_even";
pub const TO_REAL: &str = "to_real";
pub const TO_DOUBLE: &str = "to_double";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    ToText,
    Divide,
    CheckLength,
    RoundTime,
    RoundEven,
    ToReal,
    ToDouble,
}

const KINDS: [(Kind, usize); 7] = [
    (Kind::ToText, 1),
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
            (Kind::ToText, [D::Timestamp(TimeUnit::Microsecond, _) | D::Float32 | D::Float64]) => Ok(D::Utf8View),
            (Kind::Divide, [D::Float64, D::Float64]) => Ok(D::Float64),
            (Kind::CheckLength, [D::Utf8View, D::Int32]) => Ok(D::Utf8View),
            (Kind::RoundTime, [time @ D::Timestamp(TimeUnit::Microsecond, _), D::Int32]) => Ok(time.clone()),
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

/// As PostgreSQL reads double precision: a number that is too large, or too near to zero, is an error.
pub fn parse_double(text: &str) -> Result<f64, Error> {
    parse_float(text, &SqlType::Double, |value: f64| value.is_infinite() || value == 0.0)
}

/// The same for real.
pub fn parse_real(text: &str) -> Result<f32, Error> {
    parse_float(text, &SqlType::Real, |value: f32| value.is_infinite() || value == 0.0)
}

/// `extreme`: the value may stand for one that its type does not have.
fn parse_float<T: FromStr + Copy>(text: &str, ty: &SqlType, extreme: impl Fn(T) -> bool) -> Result<T, Error> {
    let value = text.trim().parse::<T>().map_err(|_| Error::unreadable(text, ty))?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    // "Infinity" has no digits, and zero has only one.
    match extreme(value) && mantissa.contains(|c: char| ('1'..='9').contains(&c)) {
        true => Err(Error::unreadable(text, ty)),
        false => Ok(value),
    }
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
        let parsed = texts(values)?.map(|text| text.map(parse_real).transpose().map_err(through));
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
    let parsed = texts(values)?.map(|text| text.map(parse_double).transpose().map_err(through));
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
    let (Some(micros), Some(digits)) =
        (times.as_primitive_opt::<TimestampMicrosecondType>(), digits.as_primitive_opt::<Int32Type>())
    else {
        return plan_err!("round_time takes timestamp and integer");
    };
    let rounded = micros.iter().zip(digits.iter()).map(|(micros, digits)| match (micros, digits) {
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
    let rounded = rounded.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(rounded.with_data_type(times.data_type().clone())))
}

fn to_text(values: &ArrayRef) -> Result<ArrayRef> {
    let mut out = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for row in 0..values.len() {
        if values.is_null(row) {
            out.append_null();
            continue;
        }
        text.clear();
        match values.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let micros = values.as_primitive::<TimestampMicrosecondType>().value(row);
                write_timestamp(&mut text, micros);
                if zone.is_some() {
                    text.push_str("+00");
                }
            }
            DataType::Float64 => write_float(&mut text, values.as_primitive::<Float64Type>().value(row), 15),
            DataType::Float32 => {
                let value = values.as_primitive::<Float32Type>().value(row);
                write_float32(&mut text, value);
            }
            other => return plan_err!("to_text does not take {other}"),
        }
        out.append_value(&text);
    }
    Ok(Arc::new(out.finish()))
}

/// As PostgreSQL's ISO style: `2024-01-01 00:00:00[.123456]`, years before 1 with BC.
pub(crate) fn write_timestamp(out: &mut String, micros: i64) {
    let Some(moment) = DateTime::from_timestamp_micros(micros) else {
        let _ = write!(out, "{micros} us");
        return;
    };
    let moment = moment.naive_utc();
    let year = moment.year();
    let shown = if year > 0 { year } else { 1 - year };
    let _ = write!(out, "{shown:04}{}", moment.format("-%m-%d %H:%M:%S"));
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        let digits = format!(".{fraction:06}");
        out.push_str(digits.trim_end_matches('0'));
    }
    if year <= 0 {
        out.push_str(" BC");
    }
}

/// The shortest text that reads back the same, with an exponent where PostgreSQL writes one: below 1e-4 and from
/// 10 to the power of `fixed_digits`.
fn write_float(out: &mut String, value: f64, fixed_digits: i32) {
    write_shortest(out, value.is_nan(), value.is_infinite(), value < 0.0, format!("{value:e}"), fixed_digits);
}

fn write_float32(out: &mut String, value: f32) {
    write_shortest(out, value.is_nan(), value.is_infinite(), value < 0.0, format!("{value:e}"), 6);
}

fn write_shortest(out: &mut String, nan: bool, infinite: bool, negative: bool, scientific: String, fixed_digits: i32) {
    if nan {
        out.push_str("NaN");
        return;
    }
    if infinite {
        out.push_str(if negative { "-Infinity" } else { "Infinity" });
        return;
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    out.push_str(sign);
    if !(-4..fixed_digits).contains(&exponent) {
        let direction = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{direction}{:02}", exponent.unsigned_abs());
        return;
    }
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if exponent < 0 {
        out.push_str("0.");
        (1..exponent.unsigned_abs()).for_each(|_| out.push('0'));
        out.push_str(&digits);
        return;
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    for (at, digit) in digits.chars().enumerate() {
        if at == whole {
            out.push('.');
        }
        out.push(digit);
    }
    (digits.len()..whole).for_each(|_| out.push('0'));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_postgresql_writes_them() {
        let check = |value: f64, expected: &str| {
            let mut out = String::new();
            write_float(&mut out, value, 15);
            assert_eq!(out, expected);
        };
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(-1.5, "-1.5");
        check(0.1, "0.1");
        check(0.0001, "0.0001");
        check(0.00001, "1e-05");
        check(123_456_789_012_345.0, "123456789012345");
        check(1e15, "1e+15");
        check(100.0, "100");
        check(12.25, "12.25");
        check(f64::NAN, "NaN");
        check(f64::NEG_INFINITY, "-Infinity");
    }

    #[test]
    fn timestamps_as_postgresql_writes_them() {
        let check = |micros: i64, expected: &str| {
            let mut out = String::new();
            write_timestamp(&mut out, micros);
            assert_eq!(out, expected);
        };
        check(0, "1970-01-01 00:00:00");
        check(1_704_067_200_123_000, "2024-01-01 00:00:00.123");
        check(-1, "1969-12-31 23:59:59.999999");
        check(-62_135_596_800_000_001, "0001-12-31 23:59:59.999999 BC");
    }
}
