//! Whole rows as bytes and back: what state keeps of a row, and what views store. Exact (a float keeps its bits), not
//! ordered, versioned. Version 1: the version's byte, then each column: 0 for null, or 1 and
//!
//! | type | bytes |
//! |---|---|
//! | boolean | 1 |
//! | numbers, dates, times, timestamps | little-endian |
//! | interval | months i32, days i32, nanoseconds i64 |
//! | uuid | its 16 bytes |
//! | text, bytea, jsonb | length (LEB128), bytes |
//! | row | its fields, as columns |
//! | array | number of items (LEB128), items, as columns |

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewBuilder, BooleanBuilder, FixedSizeBinaryBuilder,
    LargeBinaryBuilder, ListArray, PrimitiveBuilder, RecordBatch, RecordBatchOptions, StringViewBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, FieldRef, Fields, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, SchemaRef, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};

use super::bytes::{Reader, corrupt, put_bytes, put_varint};
use super::key::Keys;
use crate::error::{Error, Result};
use crate::types::{SqlType, uuid};

pub const ROW_VERSION: u8 = 1;

const NULL: u8 = 0;
const PRESENT: u8 = 1;

/// Each row of `batch`, encoded.
///
/// # Errors
/// `0A000` for a type that no SQL type stands for.
pub fn encode_rows(batch: &RecordBatch) -> Result<Keys> {
    let columns = batch.columns().iter().map(|c| Cells::of(c)).collect::<Result<Vec<_>>>()?;
    let mut rows = Keys::new(None);
    let mut row_bytes = Vec::new();
    for row in 0..batch.num_rows() {
        row_bytes.clear();
        row_bytes.push(ROW_VERSION);
        columns.iter().for_each(|c| c.write(row, &mut row_bytes));
        rows.push(&row_bytes);
    }
    Ok(rows)
}

/// The rows that [`encode_rows`] wrote of a batch of this schema.
///
/// # Errors
/// `XX001` if the bytes cannot be such rows.
pub fn decode_rows<'a>(schema: &SchemaRef, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<RecordBatch> {
    let mut columns = schema.fields().iter().map(|f| Column::of(f.data_type())).collect::<Result<Vec<_>>>()?;
    let mut count = 0;
    for bytes in rows {
        let mut reader = Reader::new(bytes);
        reader.expect_version(ROW_VERSION, "a stored row")?;
        columns.iter_mut().try_for_each(|c| c.read(&mut reader))?;
        if !reader.is_empty() {
            return Err(corrupt());
        }
        count += 1;
    }
    let arrays = columns.into_iter().map(Column::finish).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

fn unsupported(data_type: &DataType) -> Error {
    Error::unsupported(
        format!("values of type {} cannot be stored", SqlType::from_arrow(data_type)),
        "Cast the column to a type that a column can be declared with.",
    )
}

/// What each fixed-width type is called on either side; one list for writing and for reading.
macro_rules! for_numbers {
    ($m:ident) => {
        $m! {
            Int16(Int16Type, DataType::Int16, i16),
            Int32(Int32Type, DataType::Int32, i32),
            Int64(Int64Type, DataType::Int64, i64),
            Float32(Float32Type, DataType::Float32, f32),
            Float64(Float64Type, DataType::Float64, f64),
            Decimal(Decimal128Type, DataType::Decimal128(..), i128),
            Date(Date32Type, DataType::Date32, i32),
            Timestamp(TimestampMicrosecondType, DataType::Timestamp(TimeUnit::Microsecond, _), i64),
            Time(Time64MicrosecondType, DataType::Time64(TimeUnit::Microsecond), i64),
        }
    };
}

/// A column's cells, ready to be written.
enum Cells<'a> {
    Boolean(&'a arrow::array::BooleanArray),
    Interval(&'a arrow::array::IntervalMonthDayNanoArray),
    Text(&'a arrow::array::StringViewArray),
    Bytes(&'a arrow::array::BinaryViewArray),
    Jsonb(&'a arrow::array::LargeBinaryArray),
    Uuid(&'a arrow::array::FixedSizeBinaryArray),
    Row(&'a StructArray, Vec<Cells<'a>>),
    Array(&'a ListArray, Box<Cells<'a>>),
    Number(Number<'a>),
}

macro_rules! numbers_to_write {
    ($($name:ident($arrow:ty, $pattern:pat, $read:ident),)*) => {
        enum Number<'a> { $($name(&'a arrow::array::PrimitiveArray<$arrow>),)* }

        impl<'a> Number<'a> {
            fn of(array: &'a dyn Array) -> Option<Self> {
                Some(match array.data_type() {
                    $($pattern => Number::$name(array.as_primitive()),)*
                    _ => return None,
                })
            }

            fn write(&self, row: usize, out: &mut Vec<u8>) {
                match self {
                    $(Number::$name(a) => if tag(*a, row, out) { out.extend_from_slice(&a.value(row).to_le_bytes()) },)*
                }
            }
        }
    };
}
for_numbers!(numbers_to_write);

/// Writes whether there is a value.
fn tag(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> bool {
    let valid = array.is_valid(row);
    out.push(if valid { PRESENT } else { NULL });
    valid
}

impl<'a> Cells<'a> {
    fn of(array: &'a dyn Array) -> Result<Self> {
        if let Some(number) = Number::of(array) {
            return Ok(Cells::Number(number));
        }
        Ok(match array.data_type() {
            DataType::Boolean => Cells::Boolean(array.as_boolean()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Cells::Interval(array.as_primitive()),
            DataType::Utf8View => Cells::Text(array.as_string_view()),
            DataType::BinaryView => Cells::Bytes(array.as_binary_view()),
            DataType::LargeBinary => Cells::Jsonb(array.as_binary()),
            DataType::FixedSizeBinary(uuid::BYTES) => Cells::Uuid(array.as_fixed_size_binary()),
            DataType::Struct(_) => {
                let array = array.as_struct();
                Cells::Row(array, array.columns().iter().map(|c| Cells::of(c)).collect::<Result<_>>()?)
            }
            DataType::List(_) => {
                let array = array.as_list::<i32>();
                Cells::Array(array, Box::new(Cells::of(array.values())?))
            }
            other => return Err(unsupported(other)),
        })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Cells::Number(number) => number.write(row, out),
            Cells::Boolean(a) => {
                if tag(*a, row, out) {
                    out.push(u8::from(a.value(row)));
                }
            }
            Cells::Interval(a) => {
                if tag(*a, row, out) {
                    let IntervalMonthDayNano { months, days, nanoseconds } = a.value(row);
                    out.extend_from_slice(&months.to_le_bytes());
                    out.extend_from_slice(&days.to_le_bytes());
                    out.extend_from_slice(&nanoseconds.to_le_bytes());
                }
            }
            Cells::Text(a) => {
                if tag(*a, row, out) {
                    put_bytes(out, a.value(row).as_bytes());
                }
            }
            Cells::Bytes(a) => {
                if tag(*a, row, out) {
                    put_bytes(out, a.value(row));
                }
            }
            Cells::Jsonb(a) => {
                if tag(*a, row, out) {
                    put_bytes(out, a.value(row));
                }
            }
            Cells::Uuid(a) => {
                if tag(*a, row, out) {
                    out.extend_from_slice(a.value(row));
                }
            }
            Cells::Row(a, fields) => {
                if tag(*a, row, out) {
                    fields.iter().for_each(|f| f.write(row, out));
                }
            }
            Cells::Array(a, items) => {
                if tag(*a, row, out) {
                    let offsets = a.value_offsets();
                    let bound = |at: usize| offsets.get(at).map_or(0, |o| *o as usize);
                    let range = bound(row)..bound(row + 1);
                    put_varint(out, range.len() as u64);
                    range.for_each(|item| items.write(item, out));
                }
            }
        }
    }
}

/// A column being read.
enum Column {
    Boolean(BooleanBuilder),
    Interval(PrimitiveBuilder<IntervalMonthDayNanoType>),
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Jsonb(LargeBinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Row { fields: Fields, columns: Vec<Column>, valid: Vec<bool> },
    Array { item: FieldRef, items: Box<Column>, count: usize, lengths: Vec<usize>, valid: Vec<bool> },
    Number(NumberColumn),
}

macro_rules! numbers_to_read {
    ($($name:ident($arrow:ty, $pattern:pat, $read:ident),)*) => {
        enum NumberColumn { $($name(PrimitiveBuilder<$arrow>),)* }

        impl NumberColumn {
            fn of(data_type: &DataType) -> Option<Self> {
                Some(match data_type {
                    $($pattern => NumberColumn::$name(PrimitiveBuilder::new().with_data_type(data_type.clone())),)*
                    _ => return None,
                })
            }

            fn read(&mut self, valid: bool, reader: &mut Reader<'_>) -> Result<()> {
                match self {
                    $(NumberColumn::$name(b) => b.append_option(if valid { Some(reader.$read()?) } else { None }),)*
                }
                Ok(())
            }

            fn finish(self) -> ArrayRef {
                match self { $(NumberColumn::$name(b) => finish_primitive(b),)* }
            }
        }
    };
}
for_numbers!(numbers_to_read);

fn finish_primitive<T: ArrowPrimitiveType>(mut builder: PrimitiveBuilder<T>) -> ArrayRef {
    Arc::new(builder.finish())
}

impl Column {
    fn of(data_type: &DataType) -> Result<Self> {
        if let Some(number) = NumberColumn::of(data_type) {
            return Ok(Column::Number(number));
        }
        Ok(match data_type {
            DataType::Boolean => Column::Boolean(BooleanBuilder::new()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Column::Interval(PrimitiveBuilder::new()),
            DataType::Utf8View => Column::Text(StringViewBuilder::new()),
            DataType::BinaryView => Column::Bytes(BinaryViewBuilder::new()),
            DataType::LargeBinary => Column::Jsonb(LargeBinaryBuilder::new()),
            DataType::FixedSizeBinary(uuid::BYTES) => Column::Uuid(FixedSizeBinaryBuilder::new(uuid::BYTES)),
            DataType::Struct(fields) => {
                let columns = fields.iter().map(|f| Column::of(f.data_type())).collect::<Result<_>>()?;
                Column::Row { fields: fields.clone(), columns, valid: Vec::new() }
            }
            DataType::List(item) => {
                let items = Box::new(Column::of(item.data_type())?);
                Column::Array { item: Arc::clone(item), items, count: 0, lengths: Vec::new(), valid: Vec::new() }
            }
            other => return Err(unsupported(other)),
        })
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        match reader.byte()? {
            NULL => self.read_as(false, reader),
            PRESENT => self.read_as(true, reader),
            _ => Err(corrupt()),
        }
    }

    fn read_as(&mut self, valid: bool, reader: &mut Reader<'_>) -> Result<()> {
        match self {
            Column::Number(number) => number.read(valid, reader)?,
            Column::Boolean(b) => b.append_option(if valid { Some(reader.byte()? != 0) } else { None }),
            Column::Interval(b) => {
                let value = match valid {
                    true => Some(IntervalMonthDayNano::new(reader.i32()?, reader.i32()?, reader.i64()?)),
                    false => None,
                };
                b.append_option(value);
            }
            Column::Text(b) => match valid {
                true => b.append_value(std::str::from_utf8(reader.bytes()?).map_err(|_| corrupt())?),
                false => b.append_null(),
            },
            Column::Bytes(b) => match valid {
                true => b.append_value(reader.bytes()?),
                false => b.append_null(),
            },
            Column::Jsonb(b) => match valid {
                true => b.append_value(reader.bytes()?),
                false => b.append_null(),
            },
            Column::Uuid(b) => match valid {
                true => b.append_value(reader.array::<{ uuid::BYTES as usize }>()?)?,
                false => b.append_null(),
            },
            Column::Row { columns, valid: valids, .. } => {
                valids.push(valid);
                for column in columns {
                    if valid { column.read(reader)? } else { column.read_as(false, reader)? }
                }
            }
            Column::Array { items, count, lengths, valid: valids, .. } => {
                valids.push(valid);
                let length = if valid { reader.length()? } else { 0 };
                lengths.push(length);
                *count += length;
                if i32::try_from(*count).is_err() {
                    return Err(Error::internal("too many array items in a batch"));
                }
                for _ in 0..length {
                    items.read(reader)?;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Column::Number(number) => number.finish(),
            Column::Boolean(mut b) => Arc::new(b.finish()),
            Column::Interval(b) => finish_primitive(b),
            Column::Text(mut b) => Arc::new(b.finish()),
            Column::Bytes(mut b) => Arc::new(b.finish()),
            Column::Jsonb(mut b) => Arc::new(b.finish()),
            Column::Uuid(mut b) => Arc::new(b.finish()),
            Column::Row { fields, columns, valid } => {
                let length = valid.len();
                let arrays = columns.into_iter().map(Column::finish).collect::<Result<Vec<_>>>()?;
                let nulls = Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0);
                Arc::new(StructArray::try_new_with_length(fields, arrays, nulls, length)?)
            }
            Column::Array { item, items, lengths, valid, .. } => {
                let nulls = Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0);
                Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), items.finish()?, nulls)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::*;
    use arrow::datatypes::Schema;

    use super::*;

    fn every_type() -> RecordBatch {
        let row =
            SqlType::Row(vec![("a".into(), SqlType::Text), ("b".into(), SqlType::Array(Box::new(SqlType::Integer)))]);
        let DataType::Struct(fields) = row.to_arrow() else { unreachable!() };
        let lists = |values: Vec<Option<Vec<Option<i32>>>>| -> ArrayRef {
            let mut b = ListBuilder::new(Int32Builder::new()).with_field(SqlType::Integer.field("item"));
            values.into_iter().for_each(|v| b.append_option(v));
            Arc::new(b.finish())
        };
        let structs = StructArray::new(
            fields,
            vec![
                Arc::new(StringViewArray::from(vec![Some("x"), None, None])),
                lists(vec![Some(vec![Some(1), None]), Some(vec![]), None]),
            ],
            Some(NullBuffer::from(vec![true, true, false])),
        );
        let nano = |n| IntervalMonthDayNano::new(1, -2, n);
        let columns: Vec<(SqlType, ArrayRef)> = vec![
            (SqlType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
            (SqlType::SmallInt, Arc::new(Int16Array::from(vec![Some(-1), Some(2), None]))),
            (SqlType::Integer, Arc::new(Int32Array::from(vec![Some(-1), Some(2), None]))),
            (SqlType::BigInt, Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(2), None]))),
            (SqlType::Real, Arc::new(Float32Array::from(vec![Some(-0.0), Some(1.5), None]))),
            (SqlType::Double, Arc::new(Float64Array::from(vec![Some(f64::INFINITY), Some(1e-300), None]))),
            (
                SqlType::Numeric(12, 2),
                Arc::new(Decimal128Array::from(vec![Some(-1), Some(2), None]).with_precision_and_scale(12, 2).unwrap()),
            ),
            (SqlType::Text, Arc::new(StringViewArray::from(vec![Some(""), Some("longer than twelve bytes"), None]))),
            (SqlType::Varchar(Some(3)), Arc::new(StringViewArray::from(vec![Some("abc"), Some("ä"), None]))),
            (SqlType::Bytea, Arc::new(BinaryViewArray::from(vec![Some(&b"\0\xff"[..]), Some(b""), None]))),
            (SqlType::Date, Arc::new(Date32Array::from(vec![Some(-1), Some(2), None]))),
            (SqlType::Timestamp(3), Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(2), None]))),
            (
                SqlType::TimestampTz(6),
                Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(2), None]).with_timezone("+00:00")),
            ),
            (SqlType::Interval, Arc::new(IntervalMonthDayNanoArray::from(vec![Some(nano(3)), Some(nano(-4)), None]))),
            (row, Arc::new(structs)),
            (
                SqlType::Array(Box::new(SqlType::Integer)),
                lists(vec![None, Some(vec![Some(7), None, Some(9)]), Some(vec![])]),
            ),
            (SqlType::Time(6), Arc::new(Time64MicrosecondArray::from(vec![Some(0), Some(86_400_000_000), None]))),
            (
                SqlType::Uuid,
                Arc::new(
                    FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                        [Some([7; 16]), Some([0; 16]), None].into_iter(),
                        uuid::BYTES,
                    )
                    .unwrap(),
                ),
            ),
            (SqlType::Jsonb, Arc::new(LargeBinaryArray::from(vec![Some(&b"\x05"[..]), Some(b"\x02a\0"), None]))),
        ];
        let schema =
            Schema::new(columns.iter().enumerate().map(|(i, (t, _))| t.field(&format!("c{i}"))).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, a)| a).collect()).unwrap()
    }

    #[test]
    fn every_type_comes_back() {
        let batch = every_type();
        let rows = encode_rows(&batch).unwrap();
        assert_eq!(decode_rows(&batch.schema(), rows.iter()).unwrap(), batch);
        let tail = batch.slice(1, 2);
        let rows = encode_rows(&tail).unwrap();
        assert_eq!(decode_rows(&batch.schema(), rows.iter()).unwrap(), tail, "slices, too");
    }

    /// Version 1 as it was first written. A change here is a new version, not a new fixture.
    #[test]
    fn version_1_fixture() {
        let rows = encode_rows(&every_type()).unwrap();
        let hex: String = rows.get(0).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, FIXTURE);
    }

    const FIXTURE: &str = concat!(
        "01010101ffff01ffffffff010000000000000080010000008001000000000000f07f01ffffffffffffffffffffffffffffff",
        "ff01000103616263010200ff01ffffffff01ffffffffffffffff01ffffffffffffffff0101000000feffffff030000000000000001010178010201010000000000",
        "010000000000000000",
        "0107070707070707070707070707070707",
        "010105",
    );

    #[test]
    fn damage_is_an_error() {
        let batch = every_type();
        let rows = encode_rows(&batch).unwrap();
        let row = rows.get(1);
        for cut in 0..row.len() {
            assert!(decode_rows(&batch.schema(), [&row[..cut]]).is_err(), "cut at {cut}");
        }
        let mut newer = row.to_vec();
        newer[0] = 2;
        assert!(decode_rows(&batch.schema(), [&newer[..]]).unwrap_err().message().contains("version 2"));
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let empty = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            vec![],
            &RecordBatchOptions::new().with_row_count(Some(3)),
        );
        let batch = empty.unwrap();
        let rows = encode_rows(&batch).unwrap();
        assert_eq!(decode_rows(&batch.schema(), rows.iter()).unwrap().num_rows(), 3);
    }
}
