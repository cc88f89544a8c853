//! Parameters of a Bind message, in text or binary, into values of the parameter's type.

use std::sync::Arc;

use bytes::Buf;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use super::encode::Format;
use super::encode::datetime::{date_from_binary, timestamp_from_binary};
use crate::error::{Error, Result, SqlState};
use crate::format::postgres as parse;
use crate::types::{SqlType, UTC};

/// A parameter's value; `bytes` `None` is null. `zone` reads a timestamp without an offset.
pub fn parameter(bytes: Option<&[u8]>, ty: &SqlType, format: Format, zone: Tz) -> Result<ScalarValue> {
    let Some(bytes) = bytes else {
        return Ok(ScalarValue::try_from(&ty.to_arrow())?);
    };
    match format {
        Format::Text => {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                Error::new(SqlState::InvalidTextRepresentation, "invalid byte sequence for encoding \"UTF8\"")
            })?;
            from_text(text, ty, zone)
        }
        Format::Binary => from_binary(bytes, ty, zone),
    }
}

fn from_text(text: &str, ty: &SqlType, zone: Tz) -> Result<ScalarValue> {
    let invalid = || {
        let name = ty.to_string();
        let name = name.split(['(', '[']).next().unwrap_or_default().trim_end();
        Error::new(SqlState::InvalidTextRepresentation, format!("invalid input syntax for type {name}: \"{text}\""))
    };
    let trimmed = text.trim();
    Ok(match ty {
        SqlType::Boolean => ScalarValue::Boolean(Some(parse::boolean(trimmed).ok_or_else(invalid)?)),
        SqlType::SmallInt => ScalarValue::Int16(Some(integer(trimmed, ty, invalid)?)),
        SqlType::Integer => ScalarValue::Int32(Some(integer(trimmed, ty, invalid)?)),
        SqlType::BigInt => ScalarValue::Int64(Some(integer(trimmed, ty, invalid)?)),
        SqlType::Real => ScalarValue::Float32(Some(trimmed.parse().map_err(|_| invalid())?)),
        SqlType::Double => ScalarValue::Float64(Some(trimmed.parse().map_err(|_| invalid())?)),
        SqlType::Numeric(p, s) => decimal(parse::numeric(trimmed).ok_or_else(invalid)?, *p, *s)?,
        SqlType::Text | SqlType::Varchar(_) => ScalarValue::Utf8View(Some(text.to_string())),
        SqlType::Bytea => ScalarValue::BinaryView(Some(parse::bytea(text).ok_or_else(invalid)?)),
        SqlType::Date => ScalarValue::Date32(Some(parse::date(trimmed).ok_or_else(invalid)?)),
        SqlType::Timestamp(_) => {
            ScalarValue::TimestampMicrosecond(Some(parse::timestamp(trimmed).ok_or_else(invalid)?.0), None)
        }
        SqlType::TimestampTz(_) => {
            let micros = parse::timestamptz(trimmed, zone).ok_or_else(invalid)?;
            ScalarValue::TimestampMicrosecond(Some(micros), Some(UTC.into()))
        }
        SqlType::Interval => {
            let value = arrow::compute::kernels::cast_utils::parse_interval_month_day_nano(trimmed);
            ScalarValue::IntervalMonthDayNano(Some(value.map_err(|_| invalid())?))
        }
        SqlType::Array(item) => {
            let items = parse::array(trimmed).ok_or_else(invalid)?;
            let items = items.iter().map(|i| match i {
                Some(i) => from_text(i, item, zone),
                None => Ok(ScalarValue::try_from(&item.to_arrow())?),
            });
            list(&items.collect::<Result<Vec<_>>>()?, item)
        }
        SqlType::Row(_) => return Err(no_rows()),
    })
}

fn from_binary(bytes: &[u8], ty: &SqlType, zone: Tz) -> Result<ScalarValue> {
    let invalid = || {
        let message = format!("incorrect binary data format in a parameter of type {ty}");
        Error::new(SqlState::InvalidTextRepresentation, message)
    };
    let exact = |length: usize| {
        if bytes.len() == length { Ok(bytes) } else { Err(invalid()) }
    };
    Ok(match ty {
        SqlType::Boolean => ScalarValue::Boolean(Some(exact(1)?.get_u8() != 0)),
        SqlType::SmallInt | SqlType::Integer | SqlType::BigInt => {
            // Drivers send what the client's type is; the width tells which.
            let value = match bytes.len() {
                2 => i64::from((&mut &*bytes).get_i16()),
                // An oid is the one unsigned type: it only comes where a bigint is expected.
                4 if *ty == SqlType::BigInt => i64::from((&mut &*bytes).get_i32() as u32),
                4 => i64::from((&mut &*bytes).get_i32()),
                8 => (&mut &*bytes).get_i64(),
                _ => return Err(invalid()),
            };
            from_text(&value.to_string(), ty, zone)?
        }
        SqlType::Real => ScalarValue::Float32(Some(exact(4)?.get_f32())),
        SqlType::Double => ScalarValue::Float64(Some(exact(8)?.get_f64())),
        SqlType::Numeric(p, s) => decimal(numeric(bytes).ok_or_else(invalid)?, *p, *s)?,
        SqlType::Text | SqlType::Varchar(_) => return parameter(Some(bytes), ty, Format::Text, zone),
        SqlType::Bytea => ScalarValue::BinaryView(Some(bytes.to_vec())),
        SqlType::Date => ScalarValue::Date32(Some(date_from_binary(exact(4)?.get_i32()))),
        SqlType::Timestamp(_) => {
            ScalarValue::TimestampMicrosecond(Some(timestamp_from_binary(exact(8)?.get_i64())), None)
        }
        SqlType::TimestampTz(_) => {
            let micros = timestamp_from_binary(exact(8)?.get_i64());
            ScalarValue::TimestampMicrosecond(Some(micros), Some(UTC.into()))
        }
        SqlType::Interval => {
            let mut body = exact(16)?;
            let (micros, days, months) = (body.get_i64(), body.get_i32(), body.get_i32());
            let nanos = micros.checked_mul(1_000).ok_or_else(invalid)?;
            let value = arrow::datatypes::IntervalMonthDayNano::new(months, days, nanos);
            ScalarValue::IntervalMonthDayNano(Some(value))
        }
        SqlType::Array(item) => list(&array(bytes, item, zone).ok_or_else(invalid)??, item),
        SqlType::Row(_) => return Err(no_rows()),
    })
}

fn no_rows() -> Error {
    Error::unsupported("a parameter cannot be a row", "Pass the row's fields as parameters of their own.")
}

fn integer<T: TryFrom<i128>>(text: &str, ty: &SqlType, invalid: impl Fn() -> Error) -> Result<T> {
    let value: i128 = text.parse().map_err(|_| invalid())?;
    let range =
        || Error::new(SqlState::NumericValueOutOfRange, format!("value \"{text}\" is out of range for type {ty}"));
    T::try_from(value).map_err(|_| range())
}

/// `(unscaled, scale)` rounded half away from zero to `scale`, as PostgreSQL does.
fn decimal((unscaled, from): (i128, i32), precision: u8, scale: i8) -> Result<ScalarValue> {
    let overflow = || {
        Error::new(SqlState::NumericValueOutOfRange, "numeric field overflow")
            .with_detail(format!("A parameter does not fit in numeric({precision},{scale})."))
    };
    let shift = i32::from(scale) - from;
    let power = |n: u32| 10i128.checked_pow(n);
    let value = if unscaled == 0 {
        0
    } else if shift >= 0 {
        power(shift.unsigned_abs()).and_then(|p| unscaled.checked_mul(p)).ok_or_else(overflow)?
    } else {
        match power(shift.unsigned_abs()) {
            None => 0,
            Some(p) => {
                let (quotient, rest) = (unscaled / p, unscaled % p);
                let away = i128::from(rest.unsigned_abs() >= p.unsigned_abs().div_ceil(2));
                quotient + if unscaled < 0 { -away } else { away }
            }
        }
    };
    if value.unsigned_abs() >= 10u128.pow(u32::from(precision.min(38))) {
        return Err(overflow());
    }
    Ok(ScalarValue::Decimal128(Some(value), precision, scale))
}

/// `numeric` in binary, as `numeric_recv` reads it: unscaled value and scale. Not-a-number and infinities are no numbers
/// here.
fn numeric(mut bytes: &[u8]) -> Option<(i128, i32)> {
    let count = bytes.try_get_u16().ok()?;
    let weight = i32::from(bytes.try_get_i16().ok()?);
    let sign = bytes.try_get_u16().ok()?;
    // How many digits to show; the groups say how many there are.
    let _display_scale = bytes.try_get_u16().ok()?;
    if sign != 0 && sign != 0x4000 {
        return None;
    }
    let mut value = 0i128;
    for _ in 0..count {
        let group = bytes.try_get_u16().ok().filter(|g| *g < 10_000)?;
        value = value.checked_mul(10_000)?.checked_add(i128::from(group))?;
    }
    let scale = 4 * (i32::from(count) - 1 - weight);
    // Integers come without their trailing groups of zeros.
    if scale < 0 {
        value = value.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?;
    }
    let value = if sign == 0 { value } else { -value };
    (bytes.is_empty()).then_some((value, scale.max(0)))
}

/// A one-dimensional array in binary. `None`: not of that form.
fn array(mut bytes: &[u8], item: &SqlType, zone: Tz) -> Option<Result<Vec<ScalarValue>>> {
    let dimensions = bytes.try_get_i32().ok()?;
    let _has_null = bytes.try_get_i32().ok()?;
    let _oid = bytes.try_get_u32().ok()?;
    if dimensions == 0 {
        return Some(Ok(Vec::new()));
    }
    let length = bytes.try_get_i32().ok()?;
    let _lower_bound = bytes.try_get_i32().ok()?;
    if dimensions != 1 {
        return None;
    }
    let mut items = Vec::new();
    for _ in 0..length {
        let value = match usize::try_from(bytes.try_get_i32().ok()?) {
            Ok(n) => {
                let (value, rest) = bytes.split_at_checked(n)?;
                bytes = rest;
                Some(value)
            }
            Err(_) => None,
        };
        match parameter(value, item, Format::Binary, zone) {
            Ok(value) => items.push(value),
            Err(e) => return Some(Err(e)),
        }
    }
    Some(Ok(items))
}

fn list(items: &[ScalarValue], item: &SqlType) -> ScalarValue {
    ScalarValue::List(Arc::clone(&ScalarValue::new_list(items, &item.to_arrow(), true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn check(text: &str, ty: SqlType, expected: &str) {
        let value = parameter(Some(text.as_bytes()), &ty, Format::Text, Tz::UTC);
        assert_eq!(value.map_or_else(|e| format!("{}: {e}", e.state().code()), |v| v.to_string()), expected, "{text}");
    }

    #[test]
    fn text() {
        check("t", SqlType::Boolean, "true");
        check("maybe", SqlType::Boolean, "22P02: invalid input syntax for type boolean: \"maybe\"");
        check(" 42 ", SqlType::Integer, "42");
        check("32768", SqlType::SmallInt, "22003: value \"32768\" is out of range for type smallint");
        check("x", SqlType::BigInt, "22P02: invalid input syntax for type bigint: \"x\"");
        check("1.5", SqlType::Double, "1.5");
        check("1.235", SqlType::Numeric(12, 2), "1.24");
        check("-1.235", SqlType::Numeric(12, 2), "-1.24");
        check("1e3", SqlType::Numeric(12, 2), "1000.00");
        check("12345678901", SqlType::Numeric(12, 2), "22003: numeric field overflow");
        check("NaN", SqlType::Numeric(12, 2), "22P02: invalid input syntax for type numeric: \"NaN\"");
        check("{1,NULL,3}", SqlType::Array(Box::new(SqlType::Integer)), "[1, , 3]");
        check("2024-02-30", SqlType::Date, "22P02: invalid input syntax for type date: \"2024-02-30\"");
    }

    #[test]
    fn numeric_round_trips_in_binary() {
        for (value, scale) in [(0, 0), (12345, 2), (-5, 2), (10_000, 0), (1, 8), (123_456_789_012, 3)] {
            let mut out = BytesMut::new();
            super::super::encode::number::numeric_binary(value, scale, &mut out);
            let read = parameter(Some(&out), &SqlType::Numeric(38, scale), Format::Binary, Tz::UTC).unwrap();
            assert_eq!(read, ScalarValue::Decimal128(Some(value), 38, scale));
        }
    }

    #[test]
    fn binary() {
        let check = |bytes: &[u8], ty: SqlType, expected: &str| {
            let value = parameter(Some(bytes), &ty, Format::Binary, Tz::UTC);
            assert_eq!(value.map_or_else(|e| format!("{}: {e}", e.state().code()), |v| v.to_string()), expected);
        };
        check(&[1], SqlType::Boolean, "true");
        check(&[0, 0, 0, 7], SqlType::Integer, "7");
        check(&[0, 0, 0, 7], SqlType::BigInt, "7");
        check(&[255, 255, 255, 255], SqlType::BigInt, "4294967295");
        check(&[0; 3], SqlType::Integer, "22P02: incorrect binary data format in a parameter of type integer");
        check(&[0; 8], SqlType::Timestamp(6), "946684800000000");
        check(b"abc", SqlType::Text, "abc");
        check(
            &[0; 5],
            SqlType::Numeric(38, 16),
            "22P02: incorrect binary data format in a parameter of type numeric(38,16)",
        );
        check(
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9],
            SqlType::Array(Box::new(SqlType::Integer)),
            "[9]",
        );
        check(
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0x7f, 0, 0, 1, 0, 0, 0, 1],
            SqlType::Array(Box::new(SqlType::Integer)),
            "22P02: incorrect binary data format in a parameter of type integer[]",
        );
    }

    #[test]
    fn null_has_the_parameters_type() {
        let null = parameter(None, &SqlType::Integer, Format::Text, Tz::UTC).unwrap();
        assert_eq!(null, ScalarValue::Int32(None));
    }
}
