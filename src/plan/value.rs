//! Values of a text, as PostgreSQL's input functions read them: what literals, casts and parameters have in common.

use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;

use crate::error::{Error, Result, SqlState};
use crate::types::{SqlType, UTC, interval, jsonb, parse, uuid};

/// `zone` reads a timestamp with time zone that names none.
///
/// # Errors
/// In PostgreSQL's words, if there is no such value.
pub fn read(text: &str, ty: &SqlType, zone: Tz) -> Result<ScalarValue> {
    let invalid = || Error::unreadable(text, ty);
    let trimmed = text.trim();
    Ok(match ty {
        SqlType::Boolean => ScalarValue::Boolean(Some(parse::boolean(trimmed).ok_or_else(invalid)?)),
        SqlType::SmallInt => ScalarValue::Int16(Some(trimmed.parse().map_err(|_| invalid())?)),
        SqlType::Integer => ScalarValue::Int32(Some(trimmed.parse().map_err(|_| invalid())?)),
        SqlType::BigInt => ScalarValue::Int64(Some(trimmed.parse().map_err(|_| invalid())?)),
        SqlType::Real => ScalarValue::Float32(Some(real(text)?)),
        SqlType::Double => ScalarValue::Float64(Some(double(text)?)),
        SqlType::Numeric(precision, scale) => {
            let digits = parse::numeric(trimmed).ok_or_else(invalid)?;
            let unscaled = rescaled(digits, *precision, *scale).ok_or_else(invalid)?;
            ScalarValue::Decimal128(Some(unscaled), *precision, *scale)
        }
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
        SqlType::Time(_) => ScalarValue::Time64Microsecond(Some(parse::time(trimmed).ok_or_else(invalid)?)),
        SqlType::Interval => ScalarValue::IntervalMonthDayNano(Some(interval::parse(trimmed).ok_or_else(invalid)?)),
        SqlType::Uuid => {
            let bytes = uuid::parse(trimmed).ok_or_else(invalid)?;
            ScalarValue::FixedSizeBinary(uuid::BYTES, Some(bytes.to_vec()))
        }
        SqlType::Jsonb => ScalarValue::LargeBinary(Some(jsonb::parse(text)?)),
        SqlType::Array(item) => array(trimmed, item, zone)?,
        SqlType::Row(_) => return Err(no_rows()),
    })
}

fn array(text: &str, item: &SqlType, zone: Tz) -> Result<ScalarValue> {
    let malformed = || {
        let message = format!("malformed array literal: \"{text}\"");
        Error::new(SqlState::InvalidTextRepresentation, message)
    };
    let items = parse::array(text).ok_or_else(malformed)?.into_iter().map(|found| match found {
        Some(found) => read(&found, item, zone),
        None => Ok(ScalarValue::try_from(&item.to_arrow())?),
    });
    Ok(list(&items.collect::<Result<Vec<_>>>()?, item))
}

/// An array of these values.
pub fn list(items: &[ScalarValue], item: &SqlType) -> ScalarValue {
    ScalarValue::List(Arc::clone(&ScalarValue::new_list(items, &item.to_arrow(), true)))
}

pub fn no_rows() -> Error {
    Error::unsupported("a row cannot be read from text", "Give the row's fields as values of their own.")
}

/// `(unscaled, scale)` as numeric(`precision`, `scale`), rounded half away from zero, as PostgreSQL does. `None`: it has
/// too many digits.
pub fn rescaled((unscaled, from): (i128, i32), precision: u8, scale: i8) -> Option<i128> {
    let shift = i32::from(scale) - from;
    let power = |n: u32| 10i128.checked_pow(n);
    let value = if unscaled == 0 {
        0
    } else if shift >= 0 {
        power(shift.unsigned_abs()).and_then(|p| unscaled.checked_mul(p))?
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
    (value.unsigned_abs() < 10u128.pow(u32::from(precision.min(38)))).then_some(value)
}

/// As PostgreSQL reads double precision: a number that is too large, or too near to zero, is an error.
pub fn double(text: &str) -> Result<f64> {
    float(text, &SqlType::Double, |value: f64| value.is_infinite() || value == 0.0)
}

/// The same for real.
pub fn real(text: &str) -> Result<f32> {
    float(text, &SqlType::Real, |value: f32| value.is_infinite() || value == 0.0)
}

/// `extreme`: the value may stand for one that its type does not have.
fn float<T: std::str::FromStr + Copy>(text: &str, ty: &SqlType, extreme: impl Fn(T) -> bool) -> Result<T> {
    let value = text.trim().parse::<T>().map_err(|_| Error::unreadable(text, ty))?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    // "Infinity" has no digits, and zero has only one.
    match extreme(value) && mantissa.contains(|c: char| ('1'..='9').contains(&c)) {
        true => Err(Error::unreadable(text, ty)),
        false => Ok(value),
    }
}

/// Whether the text of a time with time zone names no zone.
pub fn goes_by_clocks(text: &str) -> bool {
    parse::timestamp(text.trim()).is_some_and(|(_, offset)| offset.is_none())
}

/// [`read`] for a type as Arrow has it, in UTC.
pub fn read_as(text: &str, ty: &DataType) -> Result<ScalarValue> {
    let sql = SqlType::from_arrow(ty);
    let value = read(text, &sql, Tz::UTC)?;
    Ok(if sql.to_arrow() == *ty { value } else { value.cast_to(ty)? })
}
