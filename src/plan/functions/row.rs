//! Rows of values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StructArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::define::{Call, Definition, Form, Parameter as P, other_arguments};
use super::results::first;
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// `ROW(a, b)`: its fields are called f1, f2, ....
pub const ROW: &str = "row";
/// `row_of(null of a row's type, row, values)`: the row with these values for its fields; null where `row` is.
pub const ROW_OF: &str = "row_of";

pub const DEFINITIONS: &[Definition] = &[
    // At least one.
    Definition { name: ROW, forms: &[Form::variadic(&[P::Any, P::Any], row_type, row)] },
    Definition { name: ROW_OF, forms: &[Form::variadic(&[P::Any, P::Any, P::Any], first, row_of)] },
];

fn row_type(types: &[DataType]) -> DataType {
    let field = |(index, ty): (usize, &DataType)| (format!("f{}", index + 1), SqlType::from_arrow(ty));
    SqlType::Row(types.iter().enumerate().map(field).collect()).to_arrow()
}

fn row(call: Call<'_>) -> Result<ArrayRef> {
    let types: Vec<DataType> = call.columns().iter().map(|column| column.data_type().clone()).collect();
    made(&row_type(&types), call.columns(), None)
}

fn row_of(call: Call<'_>) -> Result<ArrayRef> {
    // Whoever calls it by name may give it anything.
    match call.columns() {
        [null, row, values @ ..] if matches!(null.data_type(), DataType::Struct(f) if f.len() == values.len()) => {
            made(null.data_type(), values, Some(row))
        }
        _ => Err(Error::new(
            SqlState::DatatypeMismatch,
            "row_of() takes a row, a row, and a value for each field of the first",
        )
        .with_hint("ROW(value, ...) makes a row.")),
    }
}

/// Rows of a type, null where `like` is.
fn made(ty: &DataType, values: &[ArrayRef], like: Option<&ArrayRef>) -> Result<ArrayRef> {
    let DataType::Struct(fields) = ty else { return Err(other_arguments()) };
    let columns = fields.iter().zip(values).map(|(field, column)| Ok(cast(column, field.data_type())?));
    let nulls = like.and_then(|row| row.nulls().cloned());
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns.collect::<Result<_>>()?, nulls)?))
}
