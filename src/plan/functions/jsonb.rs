//! PostgreSQL's functions and operators on jsonb. The operators are functions here, by PostgreSQL's names where it has one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Decimal128Array, Int32Array, LargeBinaryArray,
    StringViewArray, StringViewBuilder,
};

use super::define::{Call, Definition, Form, Parameter as P, at, other_arguments};
use super::results::{boolean, integer, jsonb, numeric, text};
use crate::error::{Error, Result, SqlState};
use crate::plan::value::rescaled;
use crate::types::cells::{Cells, item_range};
use crate::types::jsonb::{Kind, Value, build, decimal};
use crate::types::{NUMERIC_DEFAULT, parse};

/// `->` and `->>`.
pub const GET: &str = "jsonb_get";
pub const GET_TEXT: &str = "jsonb_get_text";
/// `#>` and `#>>`.
pub const GET_PATH: &str = "jsonb_get_path";
pub const GET_PATH_TEXT: &str = "jsonb_get_path_text";
/// `@>`; `<@` is the same, its sides changed.
pub const CONTAINS: &str = "jsonb_contains";
/// `?`, `?|` and `?&`.
pub const EXISTS: &str = "jsonb_exists";
pub const EXISTS_ANY: &str = "jsonb_exists_any";
pub const EXISTS_ALL: &str = "jsonb_exists_all";
/// `||`
pub const CONCAT: &str = "jsonb_concat";
/// `-`
pub const DELETE: &str = "jsonb_delete";
/// The number that a cast to a numeric type (whose name the second argument is) takes.
pub const TO_NUMERIC: &str = "jsonb_to_numeric";
/// The truth value that a cast to boolean takes.
pub const TO_BOOLEAN: &str = "jsonb_to_boolean";

pub const DEFINITIONS: &[Definition] = &[
    Definition {
        name: GET,
        forms: &[
            Form::new(&[P::Jsonb, P::Text], jsonb, get_field),
            Form::new(&[P::Jsonb, P::Integer], jsonb, get_element),
        ],
    },
    Definition {
        name: GET_TEXT,
        forms: &[
            Form::new(&[P::Jsonb, P::Text], text, |call| as_text(&get_field(call)?)),
            Form::new(&[P::Jsonb, P::Integer], text, |call| as_text(&get_element(call)?)),
        ],
    },
    Definition { name: GET_PATH, forms: &[Form::new(&[P::Jsonb, P::TextArray], jsonb, get_path)] },
    Definition {
        name: GET_PATH_TEXT,
        forms: &[Form::new(&[P::Jsonb, P::TextArray], text, |call| as_text(&get_path(call)?))],
    },
    Definition { name: "jsonb_extract_path", forms: &[Form::variadic(&[P::Jsonb, P::Text], jsonb, extract_path)] },
    Definition {
        name: "jsonb_extract_path_text",
        forms: &[Form::variadic(&[P::Jsonb, P::Text], text, |call| as_text(&extract_path(call)?))],
    },
    Definition { name: CONTAINS, forms: &[Form::new(&[P::Jsonb, P::Jsonb], boolean, contains)] },
    Definition { name: EXISTS, forms: &[Form::new(&[P::Jsonb, P::Text], boolean, exists)] },
    Definition {
        name: EXISTS_ANY,
        forms: &[Form::new(&[P::Jsonb, P::TextArray], boolean, |call| exists_of(call, false))],
    },
    Definition {
        name: EXISTS_ALL,
        forms: &[Form::new(&[P::Jsonb, P::TextArray], boolean, |call| exists_of(call, true))],
    },
    Definition { name: CONCAT, forms: &[Form::new(&[P::Jsonb, P::Jsonb], jsonb, concat)] },
    Definition {
        name: DELETE,
        forms: &[
            Form::new(&[P::Jsonb, P::Text], jsonb, delete_name),
            Form::new(&[P::Jsonb, P::Integer], jsonb, delete_element),
            Form::new(&[P::Jsonb, P::TextArray], jsonb, delete_names),
        ],
    },
    Definition { name: TO_NUMERIC, forms: &[Form::new(&[P::Jsonb, P::Text], numeric, to_numeric)] },
    Definition { name: TO_BOOLEAN, forms: &[Form::new(&[P::Jsonb], boolean, to_boolean)] },
    Definition { name: "jsonb_typeof", forms: &[Form::new(&[P::Jsonb], text, type_of)] },
    Definition { name: "jsonb_array_length", forms: &[Form::new(&[P::Jsonb], integer, array_length)] },
    Definition { name: "jsonb_strip_nulls", forms: &[Form::new(&[P::Jsonb], jsonb, |call| each(call, strip_nulls))] },
    Definition { name: "to_jsonb", forms: &[Form::new(&[P::Any], jsonb, to_jsonb)] },
    Definition { name: "jsonb_build_array", forms: &[Form::variadic(&[P::Any], jsonb, build_array)] },
    Definition { name: "jsonb_build_object", forms: &[Form::variadic(&[P::Any], jsonb, build_object)] },
];

pub(super) fn damaged() -> Error {
    Error::new(SqlState::DataCorrupted, "a jsonb value is damaged")
}

fn document(documents: &LargeBinaryArray, row: usize) -> Option<Value<'_>> {
    at(documents, row).map(Value::new)
}

/// A document for each row.
fn collect(rows: usize, of: impl Fn(usize) -> Option<Vec<u8>>) -> ArrayRef {
    Arc::new((0..rows).map(of).collect::<LargeBinaryArray>())
}

/// A document of each document.
fn each(call: Call<'_>, of: impl Fn(Value<'_>) -> Result<Vec<u8>>) -> Result<ArrayRef> {
    let documents = call.documents(0)?;
    let made = (0..documents.len()).map(|row| document(documents, row).map(&of).transpose());
    Ok(Arc::new(made.collect::<Result<LargeBinaryArray>>()?))
}

fn owned(value: Value<'_>) -> Vec<u8> {
    value.bytes().to_vec()
}

fn get_field(call: Call<'_>) -> Result<ArrayRef> {
    let (documents, names) = (call.documents(0)?, call.texts(1)?);
    let field = |row| document(documents, row)?.field(at(names, row)?).map(owned);
    Ok(collect(call.rows, field))
}

fn get_element(call: Call<'_>) -> Result<ArrayRef> {
    let (documents, indices) = (call.documents(0)?, call.integers(1)?);
    let element = |row: usize| {
        let index = at(indices, row)?;
        document(documents, row)?.element(i64::from(index)).map(owned)
    };
    Ok(collect(call.rows, element))
}

fn get_path(call: Call<'_>) -> Result<ArrayRef> {
    let (documents, paths) = (call.documents(0)?, call.text_lists(1)?);
    let found = |row| paths.get(row)?.try_fold(document(documents, row)?, |value, step| value.step(step?)).map(owned);
    Ok(collect(call.rows, found))
}

fn extract_path(call: Call<'_>) -> Result<ArrayRef> {
    let documents = call.documents(0)?;
    let steps = (1..call.count()).map(|index| call.texts(index)).collect::<Result<Vec<_>>>()?;
    let found = |row: usize| {
        let step = |value, names: &&StringViewArray| Value::step(value, at(*names, row)?);
        steps.iter().try_fold(document(documents, row)?, step).map(owned)
    };
    Ok(collect(call.rows, found))
}

fn as_text(found: &ArrayRef) -> Result<ArrayRef> {
    let documents = found.as_binary_opt::<i64>().ok_or_else(other_arguments)?;
    let mut out = StringViewBuilder::with_capacity(documents.len());
    (0..documents.len()).for_each(|row| out.append_option(document(documents, row).and_then(Value::as_text)));
    Ok(Arc::new(out.finish()))
}

fn contains(call: Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.documents(0)?, call.documents(1)?);
    let answer = |row| Some(document(left, row)?.contains(document(right, row)?));
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}

fn exists(call: Call<'_>) -> Result<ArrayRef> {
    let (documents, names) = (call.documents(0)?, call.texts(1)?);
    let answer = |row| Some(document(documents, row)?.has(at(names, row)?));
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}

fn exists_of(call: Call<'_>, all: bool) -> Result<ArrayRef> {
    let (documents, names) = (call.documents(0)?, call.text_lists(1)?);
    let mut out = BooleanBuilder::with_capacity(documents.len());
    for row in 0..documents.len() {
        let answer = document(documents, row).zip(names.get(row)).map(|(value, names)| {
            let mut has = names.flatten().map(|name| value.has(name));
            if all { has.all(|has| has) } else { has.any(|has| has) }
        });
        out.append_option(answer);
    }
    Ok(Arc::new(out.finish()))
}

fn concat(call: Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.documents(0)?, call.documents(1)?);
    let both = |row| match (document(left, row), document(right, row)) {
        (Some(left), Some(right)) => concatenated(left, right).map(Some),
        _ => Ok(None),
    };
    Ok(Arc::new((0..call.rows).map(both).collect::<Result<LargeBinaryArray>>()?))
}

/// Objects merge, the right one's fields win; of anything else the elements stand in one array.
fn concatenated(left: Value<'_>, right: Value<'_>) -> Result<Vec<u8>> {
    let elements = |value: Value<'_>| match value.kind() {
        Some(Kind::Array(elements)) => elements.map(owned).collect(),
        _ => vec![owned(value)],
    };
    match (left.kind().ok_or_else(damaged)?, right.kind().ok_or_else(damaged)?) {
        (Kind::Object(left), Kind::Object(right)) => {
            build::object(left.chain(right).map(|(name, value)| (name.to_string(), owned(value))).collect())
        }
        _ => build::array(&[elements(left), elements(right)].concat()),
    }
}

/// What cannot lose parts.
fn cannot_delete(value: Value<'_>) -> Error {
    let what = if matches!(value.kind(), Some(Kind::Object(_))) { "object using integer index" } else { "scalar" };
    Error::new(SqlState::InvalidParameterValue, format!("cannot delete from {what}"))
}

/// Without the fields, or the strings in an array, that are called so.
fn without(value: Value<'_>, unwanted: &dyn Fn(&str) -> bool) -> Result<Vec<u8>> {
    match value.kind().ok_or_else(damaged)? {
        Kind::Object(fields) => {
            let kept = fields.filter(|(name, _)| !unwanted(name));
            build::object(kept.map(|(name, value)| (name.to_string(), owned(value))).collect())
        }
        Kind::Array(elements) => {
            let is_unwanted = |v: &Value<'_>| matches!(v.kind(), Some(Kind::String(text)) if unwanted(text));
            build::array(&elements.filter(|v| !is_unwanted(v)).map(owned).collect::<Vec<_>>())
        }
        _ => Err(cannot_delete(value)),
    }
}

fn delete_name(call: Call<'_>) -> Result<ArrayRef> {
    let (documents, names) = (call.documents(0)?, call.texts(1)?);
    let rest = |row: usize| match document(documents, row).filter(|_| names.is_valid(row)) {
        Some(value) => without(value, &|name| name == names.value(row)).map(Some),
        None => Ok(None),
    };
    Ok(Arc::new((0..call.rows).map(rest).collect::<Result<LargeBinaryArray>>()?))
}

fn delete_names(call: Call<'_>) -> Result<ArrayRef> {
    let (documents, names) = (call.documents(0)?, call.text_lists(1)?);
    let rest = |row: usize| match document(documents, row).zip(names.get(row)) {
        Some((value, names)) => {
            let names: Vec<&str> = names.flatten().collect();
            without(value, &|name| names.contains(&name)).map(Some)
        }
        None => Ok(None),
    };
    Ok(Arc::new((0..call.rows).map(rest).collect::<Result<LargeBinaryArray>>()?))
}

fn delete_element(call: Call<'_>) -> Result<ArrayRef> {
    let (documents, indices) = (call.documents(0)?, call.integers(1)?);
    let rest = |row: usize| {
        let Some(value) = document(documents, row).filter(|_| indices.is_valid(row)) else { return Ok(None) };
        let Some(Kind::Array(elements)) = value.kind() else { return Err(cannot_delete(value)) };
        let index = i64::from(indices.value(row));
        let gone = if index < 0 { i64::from(elements.left()) + index } else { index };
        let kept = elements.enumerate().filter(|(i, _)| usize::try_from(gone) != Ok(*i)).map(|(_, v)| owned(v));
        build::array(&kept.collect::<Vec<_>>()).map(Some)
    };
    Ok(Arc::new((0..call.rows).map(rest).collect::<Result<LargeBinaryArray>>()?))
}

fn to_numeric(call: Call<'_>) -> Result<ArrayRef> {
    let (documents, types) = (call.documents(0)?, call.texts(1)?);
    let (precision, scale) = NUMERIC_DEFAULT;
    let number = |row: usize| {
        let Some(value) = document(documents, row) else { return Ok(None) };
        let Some(Kind::Number(number)) = value.kind() else { return Err(cannot_cast(value, types.value(row))) };
        let mut digits = String::new();
        decimal::text(number, &mut digits);
        let unscaled = parse::numeric(&digits).and_then(|digits| rescaled(digits, precision, scale));
        let out_of_range = || {
            let message = format!("{} out of range", types.value(row));
            Error::new(SqlState::NumericValueOutOfRange, message)
        };
        unscaled.map(Some).ok_or_else(out_of_range)
    };
    let numbers = (0..call.rows).map(number).collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(numbers.with_precision_and_scale(precision, scale)?))
}

fn cannot_cast(value: Value<'_>, ty: &str) -> Error {
    let kind = value.type_name().unwrap_or("value");
    Error::new(SqlState::InvalidParameterValue, format!("cannot cast jsonb {kind} to type {ty}"))
}

fn to_boolean(call: Call<'_>) -> Result<ArrayRef> {
    let documents = call.documents(0)?;
    let truth = |row| match document(documents, row) {
        None => Ok(None),
        Some(value) => match value.kind() {
            Some(Kind::Boolean(truth)) => Ok(Some(truth)),
            _ => Err(cannot_cast(value, "boolean")),
        },
    };
    Ok(Arc::new((0..call.rows).map(truth).collect::<Result<BooleanArray>>()?))
}

fn type_of(call: Call<'_>) -> Result<ArrayRef> {
    let documents = call.documents(0)?;
    Ok(Arc::new((0..call.rows).map(|row| document(documents, row)?.type_name()).collect::<StringViewArray>()))
}

fn array_length(call: Call<'_>) -> Result<ArrayRef> {
    let documents = call.documents(0)?;
    let length = |row| {
        let Some(value) = document(documents, row) else { return Ok(None) };
        let what = match value.kind() {
            Some(Kind::Array(elements)) => return Ok(i32::try_from(elements.left()).ok()),
            Some(Kind::Object(_)) => "non-array",
            _ => "scalar",
        };
        Err(Error::new(SqlState::InvalidParameterValue, format!("cannot get array length of a {what}")))
    };
    Ok(Arc::new((0..call.rows).map(length).collect::<Result<Int32Array>>()?))
}

fn strip_nulls(value: Value<'_>) -> Result<Vec<u8>> {
    match value.kind().ok_or_else(damaged)? {
        Kind::Object(fields) => {
            let kept = fields.filter(|(_, value)| !value.is_null());
            build::object(kept.map(|(name, v)| Ok((name.to_string(), strip_nulls(v)?))).collect::<Result<_>>()?)
        }
        Kind::Array(elements) => build::array(&elements.map(strip_nulls).collect::<Result<Vec<_>>>()?),
        _ => Ok(owned(value)),
    }
}

/// The columns as values of any type.
fn cells(call: Call<'_>) -> Result<Vec<Cells>> {
    (0..call.count()).map(|index| call.cells(index)).collect()
}

fn to_jsonb(call: Call<'_>) -> Result<ArrayRef> {
    let values = &call.cells(0)?;
    let made = (0..call.rows).map(|row| if values.is_null(row) { Ok(None) } else { jsonb_of(values, row).map(Some) });
    Ok(Arc::new(made.collect::<Result<LargeBinaryArray>>()?))
}

fn build_array(call: Call<'_>) -> Result<ArrayRef> {
    let columns = cells(call)?;
    let array = |row| build::array(&columns.iter().map(|c| jsonb_of(c, row)).collect::<Result<Vec<_>>>()?).map(Some);
    Ok(Arc::new((0..call.rows).map(array).collect::<Result<LargeBinaryArray>>()?))
}

fn build_object(call: Call<'_>) -> Result<ArrayRef> {
    let columns = cells(call)?;
    let (pairs, rest) = columns.as_chunks::<2>();
    if !rest.is_empty() {
        let error = Error::new(SqlState::InvalidParameterValue, "argument list must have even number of elements");
        let hint = "The arguments of jsonb_build_object() must consist of alternating keys and values.";
        return Err(error.with_hint(hint));
    }
    let object = |row| {
        let field = |(index, [name, value]): (usize, &[Cells; 2])| {
            if name.is_null(row) {
                let message = format!("argument {}: key must not be null", 2 * index + 1);
                return Err(Error::new(SqlState::InvalidParameterValue, message));
            }
            let mut text = String::new();
            name.text(row, chrono_tz::Tz::UTC, &mut text);
            Ok((text, jsonb_of(value, row)?))
        };
        build::object(pairs.iter().enumerate().map(field).collect::<Result<_>>()?).map(Some)
    };
    Ok(Arc::new((0..call.rows).map(object).collect::<Result<LargeBinaryArray>>()?))
}

/// A value of any type as jsonb, as PostgreSQL's `to_jsonb` has it: times in the form of ISO 8601, what JSON has no form
/// for as its text.
fn jsonb_of(cells: &Cells, row: usize) -> Result<Vec<u8>> {
    if cells.is_null(row) {
        return Ok(build::null());
    }
    let mut text = String::new();
    cells.text(row, chrono_tz::Tz::UTC, &mut text);
    Ok(match cells {
        Cells::Boolean(values) => build::boolean(values.value(row)),
        Cells::SmallInt(_) | Cells::Integer(_) | Cells::BigInt(_) | Cells::Numeric(_) => build::number(&text)?,
        Cells::Real(values) if values.value(row).is_finite() => build::number(&text)?,
        Cells::Double(values) if values.value(row).is_finite() => build::number(&text)?,
        Cells::Jsonb(values) => values.value(row).to_vec(),
        Cells::Timestamp(_) => build::string(&text.replacen(' ', "T", 1)),
        Cells::TimestampTz(_) => build::string(&format!("{}:00", text.replacen(' ', "T", 1))),
        Cells::Row(fields, columns) => {
            let names = fields.column_names().into_iter().map(str::to_string);
            let values = columns.iter().map(|(_, column)| jsonb_of(column, row));
            build::object(names.zip(values).map(|(name, value)| Ok((name, value?))).collect::<Result<_>>()?)?
        }
        Cells::Array { lists, items, .. } => {
            let items = item_range(lists, row).map(|item| jsonb_of(items, item));
            build::array(&items.collect::<Result<Vec<_>>>()?)?
        }
        _ => build::string(&text),
    })
}
