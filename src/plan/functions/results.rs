//! Result types of functions that are defined by the types of their arguments.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

use crate::types::{NUMERIC_DEFAULT, SqlType, UTC};

pub fn boolean(_: &[DataType]) -> DataType {
    DataType::Boolean
}

pub fn integer(_: &[DataType]) -> DataType {
    DataType::Int32
}

pub fn numeric(_: &[DataType]) -> DataType {
    DataType::Decimal128(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1)
}

/// Numeric without digits behind the point.
pub fn whole(_: &[DataType]) -> DataType {
    DataType::Decimal128(38, 0)
}

pub fn text(_: &[DataType]) -> DataType {
    DataType::Utf8View
}

pub fn texts(_: &[DataType]) -> DataType {
    list_of(&DataType::Utf8View)
}

pub fn bytes(_: &[DataType]) -> DataType {
    DataType::BinaryView
}

pub fn jsonb(_: &[DataType]) -> DataType {
    DataType::LargeBinary
}

pub fn date(_: &[DataType]) -> DataType {
    DataType::Date32
}

pub fn time(_: &[DataType]) -> DataType {
    DataType::Time64(TimeUnit::Microsecond)
}

pub fn timestamp(_: &[DataType]) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub fn timestamptz(_: &[DataType]) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

pub fn interval(_: &[DataType]) -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

/// The first argument's.
pub fn first(types: &[DataType]) -> DataType {
    types.first().cloned().unwrap_or(DataType::Null)
}

/// The second argument's.
pub fn second(types: &[DataType]) -> DataType {
    types.get(1).cloned().unwrap_or(DataType::Null)
}

/// The last argument's.
pub fn last(types: &[DataType]) -> DataType {
    types.last().cloned().unwrap_or(DataType::Null)
}

/// An array of the first argument's.
pub fn array_of_first(types: &[DataType]) -> DataType {
    list_of(&first(types))
}

/// The items' of the first argument, an array.
pub fn item(types: &[DataType]) -> DataType {
    match types.first() {
        Some(DataType::List(item)) => item.data_type().clone(),
        _ => DataType::Null,
    }
}

/// The type of arrays of such items.
pub fn list_of(item: &DataType) -> DataType {
    SqlType::Array(Box::new(SqlType::from_arrow(item))).to_arrow()
}
