//! The arguments of a call of DataFusion's, row by row: columns, or one value for all rows.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};
use datafusion::logical_expr::ColumnarValue;

use crate::error::{Error, Result};

pub struct Arguments(Vec<Argument>);

struct Argument {
    array: ArrayRef,
    /// One value, the same for all rows.
    constant: bool,
}

impl Arguments {
    /// # Errors
    /// None that types, checked when the call was planned, leave possible.
    pub fn new(arguments: &[ColumnarValue]) -> Result<Self> {
        let values = arguments.iter().map(|value| match value {
            ColumnarValue::Array(array) => Ok(Argument { array: ArrayRef::clone(array), constant: false }),
            ColumnarValue::Scalar(value) => Ok(Argument { array: value.to_array()?, constant: true }),
        });
        values.collect::<Result<_>>().map(Arguments)
    }

    pub fn row(&self, at: usize) -> Row<'_> {
        Row { arguments: self, at }
    }
}

#[derive(Clone, Copy)]
pub struct Row<'a> {
    arguments: &'a Arguments,
    at: usize,
}

impl<'a> Row<'a> {
    /// How many arguments there are.
    pub fn count(self) -> usize {
        self.arguments.0.len()
    }

    /// The argument's array and this row's place in it; `None` for null. Outer `None`: the call has no such argument.
    pub fn value(self, argument: usize) -> Option<Option<(&'a ArrayRef, usize)>> {
        let argument = self.arguments.0.get(argument)?;
        let at = if argument.constant { 0 } else { self.at };
        Some((at < argument.array.len() && argument.array.is_valid(at)).then_some((&argument.array, at)))
    }

    /// The arguments that are not null.
    pub fn values(self) -> impl Iterator<Item = (&'a ArrayRef, usize)> {
        (0..self.arguments.0.len()).filter_map(move |argument| self.value(argument).flatten())
    }

    pub fn text(self, argument: usize) -> Result<Option<&'a str>> {
        let Some((array, at)) = self.value(argument).flatten() else { return Ok(None) };
        match array.data_type() {
            DataType::Utf8View => Ok(Some(array.as_string_view().value(at))),
            DataType::Utf8 => Ok(Some(array.as_string::<i32>().value(at))),
            DataType::LargeUtf8 => Ok(Some(array.as_string::<i64>().value(at))),
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
}

fn wrong_type(wanted: &str, got: &DataType) -> Error {
    Error::internal(format!("an argument that should be {wanted} is {got}"))
}
