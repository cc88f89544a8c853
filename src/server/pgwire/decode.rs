//! Parameters of a Bind message, in text or binary, into values of the parameter's type.

use bytes::Buf;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use super::encode::datetime::{date_from_binary, timestamp_from_binary};
use super::encode::{Format, JSONB_VERSION};
use super::message::utf8;
use crate::clock::MICROS_PER_DAY;
use crate::error::{Error, Result, SqlState};
use crate::plan::value;
use crate::types::{SqlType, UTC, uuid};

/// A parameter's value; `bytes` `None` is null. `zone` reads a timestamp without an offset.
pub fn parameter(bytes: Option<&[u8]>, ty: &SqlType, format: Format, zone: Tz) -> Result<ScalarValue> {
    let Some(bytes) = bytes else {
        return Ok(ScalarValue::try_from(&ty.to_arrow())?);
    };
    match format {
        Format::Text => value::read(utf8(bytes)?, ty, zone),
        Format::Binary => from_binary(bytes, ty, zone),
    }
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
            value::read(&value.to_string(), ty, zone)?
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
        SqlType::Time(_) => {
            let micros = exact(8)?.get_i64();
            if !(0..=MICROS_PER_DAY).contains(&micros) {
                return Err(Error::new(SqlState::DatetimeFieldOverflow, "time out of range"));
            }
            ScalarValue::Time64Microsecond(Some(micros))
        }
        SqlType::Uuid => ScalarValue::FixedSizeBinary(uuid::BYTES, Some(exact(16)?.to_vec())),
        SqlType::Jsonb => match bytes.split_first() {
            Some((&JSONB_VERSION, text)) => return parameter(Some(text), ty, Format::Text, zone),
            _ => return Err(invalid()),
        },
        SqlType::Array(item) => value::list(&array(bytes, item, zone).ok_or_else(invalid)??, item),
        SqlType::Row(_) => return Err(value::no_rows()),
    })
}

/// `(unscaled, scale)` as a numeric of that form.
fn decimal(digits: (i128, i32), precision: u8, scale: i8) -> Result<ScalarValue> {
    let Some(unscaled) = value::rescaled(digits, precision, scale) else {
        return Err(Error::new(SqlState::NumericValueOutOfRange, "numeric field overflow")
            .with_detail(format!("A parameter does not fit in numeric({precision},{scale}).")));
    };
    Ok(ScalarValue::Decimal128(Some(unscaled), precision, scale))
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
        check("2024-02-30", SqlType::Date, "22008: date/time field value out of range: \"2024-02-30\"");
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
        check(&[0, 0, 0, 0, 0, 0, 0, 5], SqlType::Time(6), "5");
        check(&[0xff; 8], SqlType::Time(6), "22008: time out of range");
        check(b"\x01[1]", SqlType::Jsonb, "06000000010303800000...");
        check(b"\x02[1]", SqlType::Jsonb, "22P02: incorrect binary data format in a parameter of type jsonb");
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
