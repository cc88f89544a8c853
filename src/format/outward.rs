//! Columns as other systems know them, for libraries that write these: the way back from [`conform`](super::conform).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringViewBuilder, StructArray};
use arrow::datatypes::{Field, Fields};

use crate::error::{Error, Result};
use crate::types::{SqlType, jsonb, uuid};

/// `array`, of type `ty`, with each column in it that is neither row nor array as `leaf` makes it. All are nullable; what types
/// they have depends on `ty` alone.
///
/// # Errors
/// Those of `leaf`.
pub fn outward(
    array: &ArrayRef,
    ty: &SqlType,
    leaf: &dyn Fn(&ArrayRef, &SqlType) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    Ok(match ty {
        SqlType::Row(types) => {
            let found = array.as_struct_opt().ok_or_else(|| Error::internal("a row is no struct"))?;
            let columns = found.columns().iter().zip(types).map(|(column, (_, ty))| outward(column, ty, leaf));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let fields = types.iter().zip(&columns).map(|((name, _), column)| nullable(name, column));
            let fields = fields.collect::<Fields>();
            Arc::new(StructArray::try_new_with_length(fields, columns, found.nulls().cloned(), found.len())?)
        }
        SqlType::Array(item) => {
            let found = array.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array is no list"))?;
            let items = outward(found.values(), item, leaf)?;
            let field = Arc::new(nullable("element", &items));
            Arc::new(ListArray::try_new(field, found.offsets().clone(), items, found.nulls().cloned())?)
        }
        ty => leaf(array, ty)?,
    })
}

/// A field for the column.
pub fn nullable(name: &str, column: &ArrayRef) -> Field {
    Field::new(name, column.data_type().clone(), true)
}

/// jsonb as JSON's text, without blanks.
pub fn json_text(array: &ArrayRef) -> Result<ArrayRef> {
    let values = array.as_binary_opt::<i64>().ok_or_else(|| Error::internal("jsonb is no LargeBinary"))?;
    Ok(texts(values.iter(), jsonb::compact))
}

/// uuids as PostgreSQL's text.
pub fn uuid_text(array: &ArrayRef) -> Result<ArrayRef> {
    let values = array.as_fixed_size_binary_opt().ok_or_else(|| Error::internal("a uuid is no FixedSizeBinary"))?;
    Ok(texts(values.iter(), uuid::text))
}

fn texts<'a>(values: impl ExactSizeIterator<Item = Option<&'a [u8]>>, write: impl Fn(&[u8], &mut String)) -> ArrayRef {
    let mut texts = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for value in values {
        text.clear();
        match value {
            Some(value) => {
                write(value, &mut text);
                texts.append_value(&text);
            }
            None => texts.append_null(),
        }
    }
    Arc::new(texts.finish())
}
