//! Arrays and rows in keys. The items of an array are encoded as a key of one column each, the fields of a row as one key;
//! so their order is PostgreSQL's: item by item, then the shorter array first; null behind all values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::decode::read_column;
use super::order::cell_width;
use super::{Form, KeyCodec, Keys, NULL, PRESENT};
use crate::change::bytes::{Reader, corrupt};
use crate::error::Result;

/// Behind the last item of an array.
const ARRAY_END: u8 = 0;

/// The encoded values of an array or row column.
pub(super) fn encode(column: &ArrayRef) -> Result<Keys> {
    let mut keys = Keys::new(None);
    let mut bytes = Vec::new();
    let cells = match column.data_type() {
        DataType::List(item) => {
            let items = encode_all(&[item.data_type()], std::slice::from_ref(column.as_list::<i32>().values()))?;
            Cells::Array(column.as_list(), items)
        }
        _ => {
            let columns = column.as_struct().columns();
            let types: Vec<&DataType> = columns.iter().map(|c| c.data_type()).collect();
            Cells::Row(if columns.is_empty() { None } else { Some(encode_all(&types, columns)?) })
        }
    };
    for row in 0..column.len() {
        bytes.clear();
        if column.is_null(row) {
            bytes.push(NULL);
        } else {
            bytes.push(PRESENT);
            cells.write(row, &mut bytes);
        }
        keys.push(&bytes);
    }
    Ok(keys)
}

enum Cells<'a> {
    Array(&'a ListArray, Keys),
    Row(Option<Keys>),
}

impl Cells<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Cells::Array(lists, items) => {
                for item in crate::types::cells::item_range(lists, row) {
                    out.extend_from_slice(items.get(item));
                }
                out.push(ARRAY_END);
            }
            Cells::Row(fields) => out.extend_from_slice(fields.as_ref().map_or(&[], |fields| fields.get(row))),
        }
    }
}

fn encode_all(types: &[&DataType], columns: &[ArrayRef]) -> Result<Keys> {
    let codec = KeyCodec::new(types.iter().copied())?;
    let mut keys = Keys::new(codec.stride());
    codec.encode(columns, columns.first().map_or(0, |c| c.len()), &mut keys)?;
    Ok(keys)
}

/// The values that [`encode`] wrote.
pub(super) fn decode(data_type: &DataType, readers: &mut [Reader<'_>]) -> Result<ArrayRef> {
    let mut values = Vec::with_capacity(readers.len());
    for reader in readers {
        values.push(match reader.byte()? {
            NULL => new_null_array(data_type, 1),
            PRESENT => match data_type {
                DataType::List(item) => decode_array(item, reader)?,
                DataType::Struct(fields) => decode_row(fields, reader)?,
                _ => return Err(corrupt()),
            },
            _ => return Err(corrupt()),
        });
    }
    if values.is_empty() {
        return Ok(new_null_array(data_type, 0));
    }
    Ok(concat(&values.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
}

fn decode_array(item: &FieldRef, reader: &mut Reader<'_>) -> Result<ArrayRef> {
    let mut items = Vec::new();
    while reader.rest().first() != Some(&ARRAY_END) {
        items.push(decode_one(item.data_type(), reader)?);
    }
    reader.byte()?;
    let all = match items.is_empty() {
        true => new_null_array(item.data_type(), 0),
        false => concat(&items.iter().map(AsRef::as_ref).collect::<Vec<_>>())?,
    };
    let offsets = OffsetBuffer::from_lengths([all.len()]);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, all, None)?))
}

fn decode_row(fields: &Fields, reader: &mut Reader<'_>) -> Result<ArrayRef> {
    let columns = fields.iter().map(|field| decode_one(field.data_type(), reader)).collect::<Result<_>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, None, 1)?))
}

fn decode_one(data_type: &DataType, reader: &mut Reader<'_>) -> Result<ArrayRef> {
    let form = Form::of(data_type).ok_or_else(corrupt)?;
    read_column(form, data_type, std::slice::from_mut(reader))
}

/// Bytes of a value behind its tag, each flipped by `flip`. Damaged bytes end somewhere.
pub(super) fn value_width(data_type: &DataType, bytes: &[u8], flip: u8) -> usize {
    let mut at = 0;
    let behind = |at: usize| bytes.get(at..).unwrap_or_default();
    match data_type {
        DataType::List(item) => {
            while let Some(tag) = behind(at).first() {
                if tag ^ flip == ARRAY_END {
                    return at + 1;
                }
                at += cell_width(item.data_type(), behind(at), flip);
            }
        }
        DataType::Struct(fields) => {
            for field in fields {
                at += cell_width(field.data_type(), behind(at), flip);
            }
        }
        _ => {}
    }
    at.min(bytes.len())
}
