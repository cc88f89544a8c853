//! PostgreSQL's functions on arrays, where DataFusion's are others: lengths are integers and null for an empty array,
//! elements are counted from 1 only, equality is that of keys (null is not equal to a value, NaN is to itself).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Int32Array, ListArray, ListBuilder, StringViewBuilder,
    UInt32Array, new_empty_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{interleave, take};
use arrow::datatypes::DataType;

use super::bounded::Made;
use super::define::{Call, Definition, Form, Parameter as P, at, other_arguments};
use super::results::{array_of_first, boolean, bytes, first, integer, item, list_of, second, text, texts};
use crate::change::key::{KeyCodec, Keys};
use crate::error::Result;
use crate::types::SqlType;
use crate::types::cells::{Cells, item_range};

/// `ARRAY[...]`, of values of one type.
pub const ARRAY_OF: &str = "array_of";
/// `a[i]`
pub const ELEMENT: &str = "array_get";
/// `x = ANY (a)`
pub const EQUALS_ANY: &str = "equals_any";
/// `a @> b`; `b <@ a` is the first.
pub const CONTAINS: &str = "array_contains_all";
/// `a && b`
pub const OVERLAPS: &str = "array_overlaps";
/// `a || b`
pub const CONCAT: &str = "array_concat_both";
/// Bytes in the order of a value of any type: what arrays and rows are compared by.
pub const SORT_KEY: &str = "sort_key";

pub const DEFINITIONS: &[Definition] = &[
    Definition { name: ARRAY_OF, forms: &[Form::variadic(&[P::Any], array_of_first, array_of)] },
    Definition { name: ELEMENT, forms: &[Form::new(&[P::Array, P::Integer], item, element)] },
    Definition { name: EQUALS_ANY, forms: &[Form::new(&[P::Any, P::Array], boolean, equals_any)] },
    Definition { name: CONTAINS, forms: &[Form::new(&[P::Array, P::Array], boolean, |call| holds(call, true))] },
    Definition { name: OVERLAPS, forms: &[Form::new(&[P::Array, P::Array], boolean, |call| holds(call, false))] },
    Definition { name: CONCAT, forms: &[Form::new(&[P::Array, P::Array], first, concat_both)] },
    Definition { name: SORT_KEY, forms: &[Form::new(&[P::Any], bytes, sort_key)] },
    Definition { name: "array_length", forms: &[Form::new(&[P::Array, P::Integer], integer, length)] },
    Definition { name: "array_upper", forms: &[Form::new(&[P::Array, P::Integer], integer, length)] },
    Definition { name: "array_lower", forms: &[Form::new(&[P::Array, P::Integer], integer, lower)] },
    Definition { name: "array_ndims", forms: &[Form::new(&[P::Array], integer, dimensions)] },
    Definition { name: "cardinality", forms: &[Form::new(&[P::Array], integer, cardinality)] },
    Definition { name: "array_append", forms: &[Form::new(&[P::Array, P::Any], first, append)] },
    Definition { name: "array_prepend", forms: &[Form::new(&[P::Any, P::Array], second, prepend)] },
    Definition { name: "array_cat", forms: &[Form::new(&[P::Array, P::Array], first, concat_both)] },
    Definition { name: "array_remove", forms: &[Form::new(&[P::Array, P::Any], first, remove)] },
    Definition { name: "array_position", forms: &[Form::new(&[P::Array, P::Any], integer, position)] },
    Definition {
        name: "array_to_string",
        forms: &[
            Form::new(&[P::Array, P::Text], text, to_string),
            Form::new(&[P::Array, P::Text, P::Text], text, to_string),
        ],
    },
    Definition {
        name: "string_to_array",
        forms: &[
            Form::new(&[P::Text, P::Text], texts, of_string),
            Form::new(&[P::Text, P::Text, P::Text], texts, of_string),
        ],
    },
];

/// The keys of values, by which they are equal or not.
fn keys_of(values: &ArrayRef) -> Result<Keys> {
    let codec = KeyCodec::new([values.data_type()])?;
    let mut keys = Keys::new(codec.stride());
    codec.encode(std::slice::from_ref(values), values.len(), &mut keys)?;
    Ok(keys)
}

fn sort_key(call: Call<'_>) -> Result<ArrayRef> {
    let values = call.column(0)?;
    let keys = keys_of(values)?;
    Ok(Arc::new((0..values.len()).map(|row| values.is_valid(row).then(|| keys.get(row))).collect::<BinaryViewArray>()))
}

/// Arrays whose items are `items`, from `starts` on.
fn made(like: &DataType, items: ArrayRef, lengths: Vec<usize>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let DataType::List(field) = like else { return Err(other_arguments()) };
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), items, nulls)?))
}

fn array_of(call: Call<'_>) -> Result<ArrayRef> {
    let first = call.column(0)?;
    let columns: Vec<&dyn Array> = call.columns().iter().map(AsRef::as_ref).collect();
    let places: Vec<(usize, usize)> =
        (0..call.rows).flat_map(|row| (0..columns.len()).map(move |c| (c, row))).collect();
    let items = if call.rows == 0 { new_empty_array(first.data_type()) } else { interleave(&columns, &places)? };
    made(&list_of(first.data_type()), items, vec![columns.len(); call.rows], None)
}

fn element(call: Call<'_>) -> Result<ArrayRef> {
    let lists = call.lists(0)?;
    let indices = call.integers(1)?;
    let place = |row: usize| -> Option<u32> {
        let (range, index) = (item_range(lists, row), at(indices, row)?);
        let offset = usize::try_from(index).ok()?.checked_sub(1).filter(|offset| *offset < range.len())?;
        lists.is_valid(row).then_some(u32::try_from(range.start + offset).ok()).flatten()
    };
    Ok(take(lists.values(), &(0..call.rows).map(place).collect::<UInt32Array>(), None)?)
}

fn equals_any(call: Call<'_>) -> Result<ArrayRef> {
    let (values, lists) = (call.column(0)?, call.lists(1)?);
    let (wanted, items) = (keys_of(values)?, keys_of(lists.values())?);
    let answer = |row: usize| -> Option<bool> {
        if lists.is_null(row) {
            return None;
        }
        let mut range = item_range(lists, row);
        if range.is_empty() {
            return Some(false);
        }
        if values.is_null(row) {
            return None;
        }
        let unknown = range.clone().any(|item| lists.values().is_null(item));
        let found = range.any(|item| items.get(item) == wanted.get(row));
        if found { Some(true) } else { (!unknown).then_some(false) }
    };
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}

/// Whether the first array has all (or any) of the second's items. Null is no item's equal.
fn holds(call: Call<'_>, all: bool) -> Result<ArrayRef> {
    let (left, right) = (call.lists(0)?, call.lists(1)?);
    let (own, wanted) = (keys_of(left.values())?, keys_of(right.values())?);
    let answer = |row: usize| -> Option<bool> {
        if left.is_null(row) || right.is_null(row) {
            return None;
        }
        let has = |item: usize| {
            right.values().is_valid(item) && item_range(left, row).any(|i| own.get(i) == wanted.get(item))
        };
        let mut items = item_range(right, row);
        Some(if all { items.all(has) } else { items.any(has) })
    };
    Ok(Arc::new((0..left.len()).map(answer).collect::<BooleanArray>()))
}

/// As long as the array is; null if it is empty, or in a dimension that it has not.
fn length(call: Call<'_>) -> Result<ArrayRef> {
    measured(call, |length| i32::try_from(length).ok())
}

fn lower(call: Call<'_>) -> Result<ArrayRef> {
    measured(call, |_| Some(1))
}

fn measured(call: Call<'_>, of: impl Fn(usize) -> Option<i32>) -> Result<ArrayRef> {
    let lists = call.lists(0)?;
    let dimensions = call.integers(1)?;
    let measure = |row: usize| {
        let known = lists.is_valid(row) && at(dimensions, row) == Some(1);
        of(item_range(lists, row).len()).filter(|_| known && !item_range(lists, row).is_empty())
    };
    Ok(Arc::new((0..call.rows).map(measure).collect::<Int32Array>()))
}

fn dimensions(call: Call<'_>) -> Result<ArrayRef> {
    let lists = call.lists(0)?;
    let count = |row: usize| (lists.is_valid(row) && !item_range(lists, row).is_empty()).then_some(1);
    Ok(Arc::new((0..call.rows).map(count).collect::<Int32Array>()))
}

fn cardinality(call: Call<'_>) -> Result<ArrayRef> {
    let lists = call.lists(0)?;
    let count = |row: usize| lists.is_valid(row).then(|| i32::try_from(item_range(lists, row).len()).ok()).flatten();
    Ok(Arc::new((0..call.rows).map(count).collect::<Int32Array>()))
}

/// Each row's items of several columns one after the other: of arrays all items, of others the value.
fn chained(columns: &[&ArrayRef], rows: usize, like: &DataType, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let items: Vec<&dyn Array> = columns
        .iter()
        .map(|column| match column.as_list_opt::<i32>() {
            Some(lists) if column.data_type() == like => lists.values().as_ref(),
            _ => column.as_ref(),
        })
        .collect();
    let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
    for row in 0..rows {
        let before = places.len();
        for (index, column) in columns.iter().enumerate() {
            match column.as_list_opt::<i32>() {
                Some(lists) if column.data_type() == like => {
                    let range = if lists.is_valid(row) { item_range(lists, row) } else { 0..0 };
                    places.extend(range.map(|item| (index, item)));
                }
                _ => places.push((index, row)),
            }
        }
        lengths.push(places.len() - before);
    }
    let DataType::List(field) = like else { return Err(other_arguments()) };
    let items = if places.is_empty() { new_empty_array(field.data_type()) } else { interleave(&items, &places)? };
    made(like, items, lengths, nulls)
}

/// An array that is null counts as empty, unless both are.
fn concat_both(call: Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.column(0)?, call.column(1)?);
    let valid = (0..call.rows).map(|row| left.is_valid(row) || right.is_valid(row)).collect::<Vec<_>>();
    chained(&[left, right], call.rows, left.data_type(), Some(NullBuffer::from(valid)))
}

fn append(call: Call<'_>) -> Result<ArrayRef> {
    let (list, value) = (call.column(0)?, call.column(1)?);
    chained(&[list, value], call.rows, list.data_type(), None)
}

fn prepend(call: Call<'_>) -> Result<ArrayRef> {
    let (value, list) = (call.column(0)?, call.column(1)?);
    chained(&[value, list], call.rows, list.data_type(), None)
}

/// Without all items that are the value (or null, if it is).
fn remove(call: Call<'_>) -> Result<ArrayRef> {
    let (lists, values) = (call.lists(0)?, call.column(1)?);
    let (items, unwanted) = (keys_of(lists.values())?, keys_of(values)?);
    let (mut kept, mut lengths) = (Vec::new(), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        let before = kept.len();
        let range = item_range(lists, row).filter(|item| lists.is_valid(row) && items.get(*item) != unwanted.get(row));
        kept.extend(range.map(|item| item as u32));
        lengths.push(kept.len() - before);
    }
    let items = take(lists.values(), &UInt32Array::from(kept), None)?;
    made(lists.data_type(), items, lengths, lists.nulls().cloned())
}

/// Of the first item that is the value, counted from 1.
fn position(call: Call<'_>) -> Result<ArrayRef> {
    let (lists, values) = (call.lists(0)?, call.column(1)?);
    let (items, wanted) = (keys_of(lists.values())?, keys_of(values)?);
    let place = |row: usize| {
        let at = item_range(lists, row).position(|item| items.get(item) == wanted.get(row))?;
        i32::try_from(at + 1).ok().filter(|_| lists.is_valid(row))
    };
    Ok(Arc::new((0..call.rows).map(place).collect::<Int32Array>()))
}

fn to_string(call: Call<'_>) -> Result<ArrayRef> {
    let lists = call.lists(0)?;
    let (separators, nulls) = (call.texts(1)?, call.texts(2).ok());
    let items = Cells::of(lists.values(), &SqlType::from_arrow(&item(&[lists.data_type().clone()])))?;
    let (mut out, mut made) = (StringViewBuilder::with_capacity(call.rows), Made::default());
    for row in 0..call.rows {
        if lists.is_null(row) || separators.is_null(row) {
            out.append_null();
            continue;
        }
        let shown = item_range(lists, row).filter_map(|item| {
            if items.is_null(item) {
                return nulls.and_then(|nulls| at(nulls, row)).map(str::to_string);
            }
            let mut text = String::new();
            items.text(item, chrono_tz::Tz::UTC, &mut text);
            Some(text)
        });
        let (shown, separator) = (shown.collect::<Vec<_>>(), separators.value(row));
        let separating = separator.len().saturating_mul(shown.len().saturating_sub(1));
        made.add("array_to_string", shown.iter().map(String::len).sum::<usize>().saturating_add(separating))?;
        out.append_value(shown.join(separator));
    }
    Ok(Arc::new(out.finish()))
}

/// What stands between the separators: all characters if it is null, nothing of an empty text.
fn of_string(call: Call<'_>) -> Result<ArrayRef> {
    let (texts, separators, nulls) = (call.texts(0)?, call.texts(1)?, call.texts(2).ok());
    let mut out = ListBuilder::new(StringViewBuilder::new()).with_field(SqlType::Text.field("item"));
    for row in 0..call.rows {
        if texts.is_null(row) {
            out.append(false);
            continue;
        }
        let null = nulls.and_then(|nulls| at(nulls, row));
        let mut push = |part: &str| out.values().append_option(Some(part).filter(|part| Some(*part) != null));
        let whole = texts.value(row);
        match at(separators, row) {
            _ if whole.is_empty() => {}
            None => whole.chars().for_each(|c| push(c.encode_utf8(&mut [0; 4]))),
            Some("") => push(whole),
            Some(separator) => whole.split(separator).for_each(push),
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}
