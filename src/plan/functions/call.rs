//! The arguments of a call: columns of the types that the function's form names, of equally many rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int32Array, LargeBinaryArray, ListArray,
    PrimitiveArray, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::Int32Type;

use super::bounded::Made;
use crate::error::{Error, Result};
use crate::types::SqlType;
use crate::types::cells::{Cells, item_range};

#[derive(Clone, Copy)]
pub struct Call<'a> {
    columns: &'a [ArrayRef],
    pub rows: usize,
}

/// What a function says of arguments that none of its forms takes: a bug of ours.
pub fn other_arguments() -> Error {
    Error::internal("a function was called with other arguments than its own")
}

/// The value in a row; `None` is null.
pub fn at<A: ArrayAccessor>(column: A, row: usize) -> Option<A::Item> {
    (row < column.len() && column.is_valid(row)).then(|| column.value(row))
}

impl<'a> Call<'a> {
    pub fn new(columns: &'a [ArrayRef], rows: usize) -> Self {
        Call { columns, rows }
    }

    /// How many arguments there are.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    pub fn columns(&self) -> &'a [ArrayRef] {
        self.columns
    }

    /// # Errors
    /// Of this and all below: an internal error if the argument is not there, or of another type.
    pub fn column(&self, index: usize) -> Result<&'a ArrayRef> {
        self.columns.get(index).ok_or_else(other_arguments)
    }

    pub fn primitive<T: ArrowPrimitiveType>(&self, index: usize) -> Result<&'a PrimitiveArray<T>> {
        self.column(index)?.as_primitive_opt().ok_or_else(other_arguments)
    }

    pub fn integers(&self, index: usize) -> Result<&'a Int32Array> {
        self.primitive::<Int32Type>(index)
    }

    pub fn booleans(&self, index: usize) -> Result<&'a BooleanArray> {
        self.column(index)?.as_boolean_opt().ok_or_else(other_arguments)
    }

    pub fn texts(&self, index: usize) -> Result<&'a StringViewArray> {
        self.column(index)?.as_string_view_opt().ok_or_else(other_arguments)
    }

    /// jsonb.
    pub fn documents(&self, index: usize) -> Result<&'a LargeBinaryArray> {
        self.column(index)?.as_binary_opt::<i64>().ok_or_else(other_arguments)
    }

    pub fn lists(&self, index: usize) -> Result<&'a ListArray> {
        self.column(index)?.as_list_opt::<i32>().ok_or_else(other_arguments)
    }

    pub fn text_lists(&self, index: usize) -> Result<TextLists<'a>> {
        let lists = self.lists(index)?;
        let items = lists.values().as_string_view_opt().ok_or_else(other_arguments)?;
        Ok(TextLists { lists, items })
    }

    /// As values of any type.
    pub fn cells(&self, index: usize) -> Result<Cells> {
        let column = self.column(index)?;
        Cells::of(column, &SqlType::from_arrow(column.data_type()))
    }

    /// Whether an argument of the row is null.
    pub fn has_null(&self, row: usize) -> bool {
        self.columns.iter().any(|column| column.is_null(row))
    }

    /// A text for each row; `None` is null.
    pub fn text_of_each<T: AsRef<str>>(&self, mut text: impl FnMut(usize) -> Result<Option<T>>) -> Result<ArrayRef> {
        let (mut out, mut made) = (StringViewBuilder::with_capacity(self.rows), Made::default());
        for row in 0..self.rows {
            let text = text(row)?;
            made.add("a function", text.as_ref().map_or(0, |text| text.as_ref().len()))?;
            out.append_option(text);
        }
        Ok(Arc::new(out.finish()))
    }
}

/// Arrays of text: of a row its items, of which a null is none.
pub struct TextLists<'a> {
    lists: &'a ListArray,
    items: &'a StringViewArray,
}

impl<'a> TextLists<'a> {
    pub fn get(&self, row: usize) -> Option<impl Iterator<Item = Option<&'a str>> + use<'a>> {
        let items = self.items;
        self.lists.is_valid(row).then(|| item_range(self.lists, row).map(move |item| at(items, item)))
    }
}
