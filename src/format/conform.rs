//! A column of Arrow's, as a library reads it from Parquet or Avro, becomes a column of the declared type, if that holds the
//! values of its own type exactly. Integers fit into any integer type that holds them. A timestamp without time zone is one in
//! UTC, as in JSON.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, LargeBinaryBuilder, ListArray, PrimitiveArray, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Fields, TimeUnit};
use arrow::util::display::array_value_to_string;

use crate::clock::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::error::{Error, Result, SqlState};
use crate::types::{SqlType, UTC, jsonb, uuid};

/// Whoever calls says in front of an error which column or field it is.
///
/// # Errors
/// 42804 if the types do not fit; 22003, 22008 or 22001 if a value does not (a timestamp too far away, a text too long);
/// what text that should be jsonb is refused for.
pub fn conform(array: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    use DataType as D;
    let found = array.data_type();
    match found {
        D::Dictionary(_, values) => return conform(&cast(array, values)?, ty),
        D::Null => return Ok(new_null_array(&ty.to_arrow(), array.len())),
        _ => {}
    }
    let fits = match ty {
        SqlType::Boolean => matches!(found, D::Boolean),
        SqlType::SmallInt | SqlType::Integer | SqlType::BigInt => found.is_integer(),
        SqlType::Real => matches!(found, D::Float16 | D::Float32 | D::Int8 | D::UInt8 | D::Int16 | D::UInt16),
        SqlType::Double => found.is_floating() || (found.is_integer() && !matches!(found, D::Int64 | D::UInt64)),
        SqlType::Numeric(precision, scale) => decimal_digits(found).is_some_and(|(p, s)| {
            s <= *scale && i16::from(p) - i16::from(s) <= i16::from(*precision) - i16::from(*scale)
        }),
        SqlType::Text | SqlType::Varchar(_) => matches!(found, D::Utf8 | D::Utf8View),
        SqlType::Bytea => matches!(found, D::Binary | D::BinaryView | D::FixedSizeBinary(_)),
        SqlType::Uuid => matches!(found, D::FixedSizeBinary(uuid::BYTES)),
        SqlType::Date => matches!(found, D::Date32),
        SqlType::Timestamp(precision) | SqlType::TimestampTz(precision) => {
            let zoned = matches!(ty, SqlType::TimestampTz(_));
            return match found {
                D::Timestamp(unit, _) => timestamps(array, *unit, *precision, zoned),
                _ => Err(misfit(found, ty)),
            };
        }
        SqlType::Time(precision) => {
            return match found {
                D::Time32(unit) | D::Time64(unit) => times(array, *unit, *precision),
                _ => Err(misfit(found, ty)),
            };
        }
        SqlType::Jsonb => {
            return match found {
                D::Utf8 | D::Utf8View => json(array),
                _ => Err(misfit(found, ty)),
            };
        }
        SqlType::Row(fields) => return rows(array, fields, ty),
        SqlType::Array(item) => return lists(array, item, ty),
        SqlType::Interval => false,
    };
    if !fits {
        return Err(misfit(found, ty));
    }
    let converted = cast(array, &ty.to_arrow())?;
    if let Some(row) = (0..array.len())
        .filter(|_| converted.null_count() > array.null_count())
        .find(|row| converted.is_null(*row) && array.is_valid(*row))
    {
        let value = array_value_to_string(array, row)?;
        let message = format!("value \"{value}\" is out of range for type {ty}");
        return Err(Error::new(SqlState::NumericValueOutOfRange, message));
    }
    if let SqlType::Varchar(Some(most)) = ty
        && converted.as_string_view().iter().flatten().any(|text| text.chars().count() > *most as usize)
    {
        return Err(Error::new(SqlState::StringDataRightTruncation, format!("value too long for type {ty}")));
    }
    Ok(converted)
}

/// The place among `fields` of the one that `name` means: of exactly that name, or else of one that differs in the case of
/// ASCII letters only, as in JSON.
pub fn place_of(name: &str, fields: &Fields) -> Option<usize> {
    let exact = fields.iter().position(|field| field.name() == name);
    exact.or_else(|| fields.iter().position(|field| field.name().eq_ignore_ascii_case(name)))
}

/// What is out of range becomes null.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(array, to, &CastOptions::default())?)
}

/// Digits, and those behind the point, of what has a fixed number of them.
fn decimal_digits(found: &DataType) -> Option<(u8, i8)> {
    use DataType as D;
    Some(match found {
        D::Int8 | D::UInt8 => (3, 0),
        D::Int16 | D::UInt16 => (5, 0),
        D::Int32 | D::UInt32 => (10, 0),
        D::Int64 => (19, 0),
        D::UInt64 => (20, 0),
        D::Decimal32(p, s) | D::Decimal64(p, s) | D::Decimal128(p, s) | D::Decimal256(p, s) => (*p, *s),
        _ => return None,
    })
}

#[cold]
fn misfit(found: &DataType, ty: &SqlType) -> Error {
    use DataType as D;
    let has_sql_type = match found {
        D::Struct(_) | D::List(_) => true,
        found => !found.is_nested(),
    };
    let name = if has_sql_type { SqlType::from_arrow(found).to_string() } else { found.to_string() };
    Error::new(SqlState::DatatypeMismatch, format!("a value of type {name} does not fit into type {ty}"))
        .with_hint("Declare the column with the type that its values have where they come from.")
}

/// `value`, which counts `unit`s, as microseconds, rounded to `precision` digits of a second, half up: once, since what was
/// rounded up to a half before would be rounded up again.
fn micros(value: i64, unit: TimeUnit, precision: u8) -> Option<i64> {
    let (micros_a_unit, units_a_micro) = match unit {
        TimeUnit::Second => (MICROS_PER_SECOND, 1),
        TimeUnit::Millisecond => (1000, 1),
        TimeUnit::Microsecond => (1, 1),
        TimeUnit::Nanosecond => (1, 1000),
    };
    let step_micros = 10_i64.pow(6 - u32::from(precision.min(6)));
    let step = step_micros * units_a_micro;
    let value = value.checked_mul(micros_a_unit)?;
    value.checked_add(step / 2)?.div_euclid(step).checked_mul(step_micros)
}

/// Each value as `to_micros` has it.
fn in_micros<T: ArrowPrimitiveType<Native = i64>>(
    array: &ArrayRef,
    to_micros: impl Fn(i64) -> Option<i64>,
    what: &str,
) -> Result<PrimitiveArray<T>> {
    let values = cast(array, &DataType::Int64)?;
    let values: &Int64Array = values.as_primitive();
    values
        .try_unary(|value| to_micros(value).ok_or(()))
        .map_err(|()| Error::new(SqlState::DatetimeFieldOverflow, format!("{what} out of range")))
}

fn timestamps(array: &ArrayRef, unit: TimeUnit, precision: u8, zoned: bool) -> Result<ArrayRef> {
    let converted: TimestampMicrosecondArray = in_micros(array, |value| micros(value, unit, precision), "timestamp")?;
    Ok(Arc::new(converted.with_timezone_opt(zoned.then_some(UTC))))
}

fn times(array: &ArrayRef, unit: TimeUnit, precision: u8) -> Result<ArrayRef> {
    let of_day = |value: i64| micros(value, unit, precision).filter(|micros| (0..=MICROS_PER_DAY).contains(micros));
    // A Time32 is cast by way of its own width.
    let array = if matches!(array.data_type(), DataType::Time32(_)) { &cast(array, &DataType::Int32)? } else { array };
    let converted: Time64MicrosecondArray = in_micros(array, of_day, "time")?;
    Ok(Arc::new(converted))
}

fn json(array: &ArrayRef) -> Result<ArrayRef> {
    let mut values = LargeBinaryBuilder::new();
    for text in cast(array, &DataType::Utf8View)?.as_string_view() {
        match text {
            Some(text) => values.append_value(jsonb::parse(text)?),
            None => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

/// Fields are found by name.
fn rows(array: &ArrayRef, fields: &[(String, SqlType)], ty: &SqlType) -> Result<ArrayRef> {
    let Some(found) = array.as_struct_opt() else { return Err(misfit(array.data_type(), ty)) };
    let DataType::Struct(declared) = ty.to_arrow() else { return Err(misfit(array.data_type(), ty)) };
    let mut columns = Vec::with_capacity(fields.len());
    for (name, ty) in fields {
        let column = place_of(name, found.fields()).and_then(|place| found.columns().get(place));
        let column =
            column.ok_or_else(|| Error::new(SqlState::UndefinedColumn, format!("field \"{name}\" does not exist")))?;
        columns.push(conform(column, ty).map_err(|e| e.context(format!("field \"{name}\"")))?);
    }
    Ok(Arc::new(StructArray::try_new_with_length(declared, columns, found.nulls().cloned(), found.len())?))
}

fn lists(array: &ArrayRef, item: &SqlType, ty: &SqlType) -> Result<ArrayRef> {
    let Some(found) = array.as_list_opt::<i32>() else { return Err(misfit(array.data_type(), ty)) };
    let DataType::List(field) = ty.to_arrow() else { return Err(misfit(array.data_type(), ty)) };
    let items = conform(found.values(), item)?;
    Ok(Arc::new(ListArray::try_new(field, found.offsets().clone(), items, found.nulls().cloned())?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Decimal128Array, Float32Array, Float64Array, Int8Array, Int32Array, StringArray, Time32MillisecondArray,
        Time64NanosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
    };

    use super::*;
    use crate::types::cells::Cells;

    /// What a file's column becomes as a column of `ty`: its texts, or the refusal.
    fn check(array: impl Array + 'static, ty: SqlType, expected: &str) {
        let array: ArrayRef = Arc::new(array);
        let shown = match conform(&array, &ty) {
            Ok(array) => {
                assert_eq!(array.data_type(), &ty.to_arrow());
                let cells = Cells::of(&array, &ty).expect("cells");
                let mut shown = String::new();
                (0..array.len()).for_each(|row| {
                    shown += if row == 0 { "" } else { "|" };
                    if cells.is_null(row) {
                        return;
                    }
                    cells.text(row, chrono_tz::UTC, &mut shown);
                });
                shown
            }
            Err(e) => format!("{} {}", e.state().code(), e.message()),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn numbers_fit_into_wider_ones() {
        check(Int8Array::from(vec![-128, 127]), SqlType::SmallInt, "-128|127");
        check(Int32Array::from(vec![i32::MIN]), SqlType::BigInt, "-2147483648");
        check(UInt32Array::from(vec![u32::MAX]), SqlType::BigInt, "4294967295");
        check(UInt64Array::from(vec![u64::MAX]), SqlType::Numeric(20, 0), "18446744073709551615");
        check(Float32Array::from(vec![0.5]), SqlType::Double, "0.5");
        let cents = || Decimal128Array::from(vec![1234]).with_precision_and_scale(10, 2).expect("a decimal");
        check(cents(), SqlType::Numeric(12, 4), "12.3400");
        let misfit = |held: &str, ty: &str| format!("42804 a value of type {held} does not fit into type {ty}");
        check(cents(), SqlType::Numeric(11, 4), &misfit("numeric(10,2)", "numeric(11,4)"));
        check(cents(), SqlType::Numeric(10, 1), &misfit("numeric(10,2)", "numeric(10,1)"));
        check(Int32Array::from(vec![Some(1), None]), SqlType::SmallInt, "1|");
        let too_large = |value: &str, ty: &str| format!("22003 value \"{value}\" is out of range for type {ty}");
        check(
            Int32Array::from(vec![None, Some(1), Some(-32_769)]),
            SqlType::SmallInt,
            &too_large("-32769", "smallint"),
        );
        check(UInt64Array::from(vec![1 << 63]), SqlType::BigInt, &too_large("9223372036854775808", "bigint"));
        check(Int32Array::from(vec![i32::MAX]), SqlType::Double, "2147483647");
        check(Int32Array::from(vec![1]), SqlType::Real, &misfit("integer", "real"));
        check(Int64Array::from(vec![1]), SqlType::Double, &misfit("bigint", "double precision"));
        check(Float64Array::from(vec![1.0]), SqlType::Real, &misfit("double precision", "real"));
        check(StringArray::from(vec!["1"]), SqlType::Integer, &misfit("text", "integer"));
    }

    #[test]
    fn times_of_any_unit() {
        let millis = TimestampMillisecondArray::from(vec![-1, 1_709_210_096_789]);
        check(millis, SqlType::Timestamp(3), "1969-12-31 23:59:59.999|2024-02-29 12:34:56.789");
        let nanos = TimestampNanosecondArray::from(vec![-1_500, 1_499, 1_500]);
        let rounded = "1969-12-31 23:59:59.999999|1970-01-01 00:00:00.000001|1970-01-01 00:00:00.000002";
        check(nanos.clone(), SqlType::Timestamp(6), rounded);
        check(nanos.clone().with_timezone("UTC"), SqlType::Timestamp(6), rounded);
        let half = TimestampNanosecondArray::from(vec![-500_001, -500_000, 499_500, 500_000]);
        let once = "1969-12-31 23:59:59.999|1970-01-01 00:00:00|1970-01-01 00:00:00|1970-01-01 00:00:00.001";
        check(half, SqlType::Timestamp(3), once);
        check(TimestampNanosecondArray::from(vec![i64::MAX]), SqlType::Timestamp(6), "22008 timestamp out of range");
        let seconds = "1970-01-01 00:00:00+00|1970-01-01 00:00:00+00|1970-01-01 00:00:00+00";
        check(nanos, SqlType::TimestampTz(0), seconds);
        check(TimestampMillisecondArray::from(vec![i64::MAX]), SqlType::Timestamp(6), "22008 timestamp out of range");
        check(Time32MillisecondArray::from(vec![86_399_999]), SqlType::Time(6), "23:59:59.999");
        check(
            Time64NanosecondArray::from(vec![1_500, 86_400_000_000_000]),
            SqlType::Time(6),
            "00:00:00.000002|24:00:00",
        );
        check(Time32MillisecondArray::from(vec![-1]), SqlType::Time(6), "22008 time out of range");
    }

    #[test]
    fn texts_have_their_length_and_json_its_syntax() {
        check(StringArray::from(vec!["häß"]), SqlType::Varchar(Some(3)), "häß");
        check(
            StringArray::from(vec!["häßl"]),
            SqlType::Varchar(Some(3)),
            "22001 value too long for type character varying(3)",
        );
        check(StringArray::from(vec!["{\"b\":1, \"a\":[]}"]), SqlType::Jsonb, "{\"a\": [], \"b\": 1}");
        check(StringArray::from(vec!["{"]), SqlType::Jsonb, "22P02 invalid input syntax for type json");
    }
}
