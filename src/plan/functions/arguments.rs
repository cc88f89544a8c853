//! The arguments of a call, row by row: columns, or one value for all rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, Date32Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::logical_expr::ColumnarValue;

use crate::clock::MICROS_PER_DAY;
use crate::error::{Error, Result};

pub struct Arguments {
    values: Vec<Argument>,
    rows: usize,
}

struct Argument {
    array: ArrayRef,
    /// One value, the same for all rows.
    constant: bool,
}

impl Arguments {
    /// # Errors
    /// None that types, checked when the call was planned, leave possible.
    pub fn new(arguments: &[ColumnarValue], rows: usize) -> Result<Self> {
        let values = arguments.iter().map(|value| match value {
            ColumnarValue::Array(array) => Ok(Argument { array: Arc::clone(array), constant: false }),
            ColumnarValue::Scalar(value) => Ok(Argument { array: value.to_array()?, constant: true }),
        });
        Ok(Arguments { values: values.collect::<Result<_>>()?, rows })
    }

    pub fn row(&self, at: usize) -> Row<'_> {
        Row { arguments: self, at }
    }

    /// A text for each row, out of its arguments; `None` is null.
    pub fn parts<'a>(&'a self, mut part: impl FnMut(Row<'a>) -> Result<Option<&'a str>>) -> Result<ArrayRef> {
        let mut out = StringViewBuilder::with_capacity(self.rows);
        for at in 0..self.rows {
            out.append_option(part(self.row(at))?);
        }
        Ok(Arc::new(out.finish()))
    }

    /// A text for each row: `write` appends one.
    pub fn texts_of(&self, mut write: impl FnMut(Row<'_>, &mut StringViewBuilder) -> Result<()>) -> Result<ArrayRef> {
        let mut out = StringViewBuilder::with_capacity(self.rows);
        for at in 0..self.rows {
            write(self.row(at), &mut out)?;
        }
        Ok(Arc::new(out.finish()))
    }
}

#[derive(Clone, Copy)]
pub struct Row<'a> {
    arguments: &'a Arguments,
    at: usize,
}

impl<'a> Row<'a> {
    /// The argument's array and this row's place in it; `None` for null. Outer `None`: the call has no such argument.
    fn value(self, argument: usize) -> Option<Option<(&'a ArrayRef, usize)>> {
        let argument = self.arguments.values.get(argument)?;
        let at = if argument.constant { 0 } else { self.at };
        Some((at < argument.array.len() && argument.array.is_valid(at)).then_some((&argument.array, at)))
    }

    pub fn text(self, argument: usize) -> Result<Option<&'a str>> {
        let Some((array, at)) = self.value(argument).flatten() else { return Ok(None) };
        match array.data_type() {
            DataType::Utf8View => Ok(Some(array.as_string_view().value(at))),
            DataType::Utf8 => Ok(Some(array.as_string::<i32>().value(at))),
            other => Err(wrong_type("text", other)),
        }
    }

    /// The default where the call has no such argument.
    pub fn text_or(self, argument: usize, default: &'a str) -> Result<Option<&'a str>> {
        if self.value(argument).is_none() { Ok(Some(default)) } else { self.text(argument) }
    }

    /// The default where the call has no such argument.
    pub fn integer_or(self, argument: usize, default: i64) -> Result<Option<i64>> {
        let Some(value) = self.value(argument) else { return Ok(Some(default)) };
        let Some((array, at)) = value else { return Ok(None) };
        match array.data_type() {
            DataType::Int64 => Ok(Some(array.as_primitive::<Int64Type>().value(at))),
            DataType::Int32 => Ok(Some(array.as_primitive::<Int32Type>().value(at).into())),
            DataType::Int16 => Ok(Some(array.as_primitive::<Int16Type>().value(at).into())),
            other => Err(wrong_type("an integer", other)),
        }
    }

    /// A timestamp or date in microseconds.
    pub fn micros(self, argument: usize) -> Result<Option<i64>> {
        let Some((array, at)) = self.value(argument).flatten() else { return Ok(None) };
        match array.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Ok(Some(array.as_primitive::<TimestampMicrosecondType>().value(at)))
            }
            DataType::Date32 => Ok(Some(i64::from(array.as_primitive::<Date32Type>().value(at)) * MICROS_PER_DAY)),
            other => Err(wrong_type("a timestamp", other)),
        }
    }
}

fn wrong_type(wanted: &str, got: &DataType) -> Error {
    Error::internal(format!("an argument that should be {wanted} is {got}"))
}
