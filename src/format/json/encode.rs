//! The encoder: each row as one object, written by hand.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Schema, SchemaRef,
    Time64MicrosecondType, TimestampMicrosecondType,
};

use super::special::plain_run;
use super::{JsonOptions, base64, datetime, number};
use crate::error::{Error, Result};
use crate::format::Encoder;
use crate::types::cells::Cells;
use crate::types::{SqlType, jsonb};

/// Writes rows as JSON objects with the columns as keys, in their order; nulls are written.
#[derive(Debug)]
pub struct JsonEncoder {
    options: JsonOptions,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    index: usize,
    data_type: DataType,
    shape: Shape,
    /// What stands in front of the value: `{"key":` or `,"key":`.
    lead: Vec<u8>,
}

/// How a type is written.
#[derive(Debug)]
enum Shape {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Numeric(i8),
    Text,
    Bytea,
    Date,
    Time {
        precision: u8,
    },
    Timestamp {
        precision: u8,
        zoned: bool,
    },
    Jsonb,
    /// As a string, as PostgreSQL prints it.
    Quoted(SqlType),
    Row(Vec<Column>),
    Array(Box<Shape>),
}

impl JsonEncoder {
    /// An encoder for rows of `schema` (fields as [`SqlType::field`] makes them).
    ///
    /// # Errors
    /// `0A000` for a column whose type JSON has no form for.
    pub fn new(schema: SchemaRef, options: JsonOptions) -> Result<Self> {
        let all = (0..schema.fields().len()).collect::<Vec<_>>();
        JsonEncoder::with_columns(&schema, &all, options)
    }

    /// An encoder that writes only the columns with these indices (a message's key).
    pub fn with_columns(schema: &Schema, indices: &[usize], options: JsonOptions) -> Result<Self> {
        let schema_written = schema.project(indices)?;
        let field = |(i, field): (usize, &arrow::datatypes::FieldRef)| {
            Column::new(i, indices.get(i).copied().unwrap_or(i), field.name(), SqlType::from_field(field))
        };
        Ok(JsonEncoder { options, columns: schema_written.fields().iter().enumerate().map(field).collect() })
    }
}

impl Column {
    fn new(place: usize, index: usize, name: &str, ty: SqlType) -> Column {
        let mut lead = vec![if place == 0 { b'{' } else { b',' }];
        write_string(name, &mut lead);
        lead.push(b':');
        Column { index, data_type: ty.to_arrow(), shape: Shape::of(ty), lead }
    }
}

impl Shape {
    fn of(ty: SqlType) -> Shape {
        match ty {
            SqlType::Boolean => Shape::Boolean,
            SqlType::SmallInt => Shape::SmallInt,
            SqlType::Integer => Shape::Integer,
            SqlType::BigInt => Shape::BigInt,
            SqlType::Real => Shape::Real,
            SqlType::Double => Shape::Double,
            SqlType::Numeric(_, scale) => Shape::Numeric(scale),
            SqlType::Text | SqlType::Varchar(_) => Shape::Text,
            SqlType::Bytea => Shape::Bytea,
            SqlType::Date => Shape::Date,
            SqlType::Time(precision) => Shape::Time { precision },
            SqlType::Interval | SqlType::Uuid => Shape::Quoted(ty),
            SqlType::Jsonb => Shape::Jsonb,
            SqlType::Timestamp(precision) => Shape::Timestamp { precision, zoned: false },
            SqlType::TimestampTz(precision) => Shape::Timestamp { precision, zoned: true },
            SqlType::Row(fields) => {
                let field = |(i, (name, ty)): (usize, (String, SqlType))| Column::new(i, i, &name, ty);
                Shape::Row(fields.into_iter().enumerate().map(field).collect())
            }
            SqlType::Array(item) => Shape::Array(Box::new(Shape::of(*item))),
        }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&self, rows: &RecordBatch, data: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let writers = writers(&self.columns, rows.columns(), self.options)?;
        ends.reserve(rows.num_rows());
        for row in 0..rows.num_rows() {
            write_object(&writers, row, data);
            ends.push(data.len());
        }
        Ok(())
    }
}

/// A column of the batch at hand, with its type resolved: one match a value remains.
struct Writer<'a> {
    lead: &'a [u8],
    value: Value<'a>,
}

struct Value<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Boolean(&'a arrow::array::BooleanArray),
    SmallInt(&'a [i16]),
    Integer(&'a [i32]),
    BigInt(&'a [i64]),
    Real(&'a [f32]),
    Double(&'a [f64]),
    Numeric(&'a [i128], i8),
    Text(&'a arrow::array::StringViewArray),
    Bytea(&'a arrow::array::BinaryViewArray),
    Date(&'a [i32]),
    Time { micros: &'a [i64], precision: u8 },
    Jsonb(&'a arrow::array::LargeBinaryArray),
    Quoted(Box<Cells>),
    Timestamp { micros: &'a [i64], precision: u8, zoned: bool, options: JsonOptions },
    Row(Vec<Writer<'a>>),
    Array(&'a [i32], Box<Value<'a>>),
}

fn writers<'a>(columns: &'a [Column], arrays: &'a [ArrayRef], options: JsonOptions) -> Result<Vec<Writer<'a>>> {
    let writer = |column: &'a Column| match arrays.get(column.index) {
        Some(array) if array.data_type().equals_datatype(&column.data_type) => {
            Ok(Writer { lead: &column.lead, value: value(&column.shape, array, options)? })
        }
        found => {
            let found = found.map(|array| array.data_type().to_string());
            let lead = String::from_utf8_lossy(&column.lead);
            Err(Error::internal(format!("JSON column {lead} expects {}, got {found:?}", column.data_type)))
        }
    };
    columns.iter().map(writer).collect()
}

/// `array` has the shape's type: [`writers`] has compared the whole type.
fn value<'a>(shape: &'a Shape, array: &'a ArrayRef, options: JsonOptions) -> Result<Value<'a>> {
    let values = match shape {
        Shape::Boolean => Values::Boolean(array.as_boolean()),
        Shape::SmallInt => Values::SmallInt(array.as_primitive::<Int16Type>().values()),
        Shape::Integer => Values::Integer(array.as_primitive::<Int32Type>().values()),
        Shape::BigInt => Values::BigInt(array.as_primitive::<Int64Type>().values()),
        Shape::Real => Values::Real(array.as_primitive::<Float32Type>().values()),
        Shape::Double => Values::Double(array.as_primitive::<Float64Type>().values()),
        Shape::Numeric(scale) => Values::Numeric(array.as_primitive::<Decimal128Type>().values(), *scale),
        Shape::Text => Values::Text(array.as_string_view()),
        Shape::Bytea => Values::Bytea(array.as_binary_view()),
        Shape::Date => Values::Date(array.as_primitive::<Date32Type>().values()),
        Shape::Timestamp { precision, zoned } => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().values();
            Values::Timestamp { micros, precision: *precision, zoned: *zoned, options }
        }
        Shape::Time { precision } => {
            Values::Time { micros: array.as_primitive::<Time64MicrosecondType>().values(), precision: *precision }
        }
        Shape::Jsonb => Values::Jsonb(array.as_binary::<i64>()),
        Shape::Quoted(ty) => Values::Quoted(Box::new(Cells::of(array, ty)?)),
        Shape::Row(columns) => Values::Row(writers(columns, array.as_struct().columns(), options)?),
        Shape::Array(item) => {
            let list = array.as_list::<i32>();
            Values::Array(list.value_offsets(), Box::new(value(item, list.values(), options)?))
        }
    };
    Ok(Value { nulls: array.nulls().filter(|nulls| nulls.null_count() > 0), values })
}

fn write_object(writers: &[Writer], row: usize, out: &mut Vec<u8>) {
    if writers.is_empty() {
        out.push(b'{');
    }
    for writer in writers {
        out.extend_from_slice(writer.lead);
        writer.value.write(row, out);
    }
    out.push(b'}');
}

impl Value<'_> {
    /// `row` is a row of the array: rows come from its length, or from a list's offsets.
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return out.extend_from_slice(b"null");
        }
        match &self.values {
            Values::Boolean(v) => out.extend_from_slice(if v.value(row) { b"true" } else { b"false" }),
            Values::SmallInt(v) => number::write_integer(i64::from(v[row]), out),
            Values::Integer(v) => number::write_integer(i64::from(v[row]), out),
            Values::BigInt(v) => number::write_integer(v[row], out),
            Values::Real(v) => number::write_float(v[row], f64::from(v[row]), out),
            Values::Double(v) => number::write_float(v[row], v[row], out),
            Values::Numeric(v, scale) => number::write_numeric(v[row], *scale, out),
            Values::Text(v) => write_string(v.value(row), out),
            Values::Bytea(v) => {
                out.push(b'"');
                base64::encode(v.value(row), out);
                out.push(b'"');
            }
            Values::Date(v) => {
                out.push(b'"');
                datetime::write_date(i64::from(v[row]), out);
                out.push(b'"');
            }
            Values::Time { micros, precision } => {
                out.push(b'"');
                datetime::write_time(micros[row], *precision, out);
                out.push(b'"');
            }
            Values::Jsonb(v) => {
                let mut text = String::new();
                jsonb::compact(v.value(row), &mut text);
                out.extend_from_slice(text.as_bytes());
            }
            Values::Quoted(cells) => {
                let mut text = String::new();
                cells.text(row, chrono_tz::Tz::UTC, &mut text);
                write_string(&text, out);
            }
            Values::Timestamp { micros, precision, zoned, options } => {
                out.push(b'"');
                datetime::write_timestamp(micros[row], *precision, *zoned, options.timestamp_format, out);
                out.push(b'"');
            }
            Values::Row(fields) => write_object(fields, row, out),
            Values::Array(offsets, item) => {
                out.push(b'[');
                let (first, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                for element in first..end {
                    if element > first {
                        out.push(b',');
                    }
                    item.write(element, out);
                }
                out.push(b']');
            }
        }
    }
}

/// A string with its quotes.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at_checked(plain_run(rest)).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some((byte, behind)) = special.split_first() else {
            break;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            other => {
                let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(other >> 4), digit(other & 15)]);
            }
        }
        rest = behind;
    }
    out.push(b'"');
}
