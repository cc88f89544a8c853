//! PostgreSQL's functions and operators on jsonb. The operators are functions here, by PostgreSQL's names where it has one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Decimal128Array, Int32Array, LargeBinaryArray, ListArray,
    StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, Int32Type};

use super::define::{Definition, Form, Parameter as P, other_arguments};
use crate::error::{Error, Result, SqlState};
use crate::plan::value::rescaled;
use crate::types::cells::{Cells, item_range};
use crate::types::jsonb::{Kind, Value, build, decimal};
use crate::types::{NUMERIC_DEFAULT, SqlType, parse};

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

fn jsonb(_: &[DataType]) -> DataType {
    DataType::LargeBinary
}
fn text(_: &[DataType]) -> DataType {
    DataType::Utf8View
}
fn boolean(_: &[DataType]) -> DataType {
    DataType::Boolean
}
fn integer(_: &[DataType]) -> DataType {
    DataType::Int32
}
fn numeric(_: &[DataType]) -> DataType {
    DataType::Decimal128(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1)
}

const fn form(
    parameters: &'static [P],
    result: fn(&[DataType]) -> DataType,
    call: fn(&[ArrayRef], usize) -> Result<ArrayRef>,
) -> Form {
    Form { parameters, variadic: false, result, call }
}

const fn variadic(
    parameters: &'static [P],
    result: fn(&[DataType]) -> DataType,
    call: fn(&[ArrayRef], usize) -> Result<ArrayRef>,
) -> Form {
    Form { parameters, variadic: true, result, call }
}

pub const DEFINITIONS: &[Definition] = &[
    Definition {
        name: GET,
        forms: &[form(&[P::Jsonb, P::Text], jsonb, get_field), form(&[P::Jsonb, P::Integer], jsonb, get_element)],
    },
    Definition {
        name: GET_TEXT,
        forms: &[
            form(&[P::Jsonb, P::Text], text, |a, n| as_text(&get_field(a, n)?)),
            form(&[P::Jsonb, P::Integer], text, |a, n| as_text(&get_element(a, n)?)),
        ],
    },
    Definition { name: GET_PATH, forms: &[form(&[P::Jsonb, P::TextArray], jsonb, get_path)] },
    Definition {
        name: GET_PATH_TEXT,
        forms: &[form(&[P::Jsonb, P::TextArray], text, |a, n| as_text(&get_path(a, n)?))],
    },
    Definition { name: "jsonb_extract_path", forms: &[variadic(&[P::Jsonb, P::Text], jsonb, extract_path)] },
    Definition {
        name: "jsonb_extract_path_text",
        forms: &[variadic(&[P::Jsonb, P::Text], text, |a, n| as_text(&extract_path(a, n)?))],
    },
    Definition { name: CONTAINS, forms: &[form(&[P::Jsonb, P::Jsonb], boolean, contains)] },
    Definition { name: EXISTS, forms: &[form(&[P::Jsonb, P::Text], boolean, exists)] },
    Definition { name: EXISTS_ANY, forms: &[form(&[P::Jsonb, P::TextArray], boolean, |a, _| exists_of(a, false))] },
    Definition { name: EXISTS_ALL, forms: &[form(&[P::Jsonb, P::TextArray], boolean, |a, _| exists_of(a, true))] },
    Definition { name: CONCAT, forms: &[form(&[P::Jsonb, P::Jsonb], jsonb, concat)] },
    Definition {
        name: DELETE,
        forms: &[
            form(&[P::Jsonb, P::Text], jsonb, delete_name),
            form(&[P::Jsonb, P::Integer], jsonb, delete_element),
            form(&[P::Jsonb, P::TextArray], jsonb, delete_names),
        ],
    },
    Definition { name: TO_NUMERIC, forms: &[form(&[P::Jsonb, P::Text], numeric, to_numeric)] },
    Definition { name: TO_BOOLEAN, forms: &[form(&[P::Jsonb], boolean, to_boolean)] },
    Definition { name: "jsonb_typeof", forms: &[form(&[P::Jsonb], text, type_of)] },
    Definition { name: "jsonb_array_length", forms: &[form(&[P::Jsonb], integer, array_length)] },
    Definition { name: "jsonb_strip_nulls", forms: &[form(&[P::Jsonb], jsonb, |a, _| each(a, strip_nulls))] },
    Definition { name: "to_jsonb", forms: &[form(&[P::Any], jsonb, to_jsonb)] },
    Definition { name: "jsonb_build_array", forms: &[variadic(&[P::Any], jsonb, build_array)] },
    Definition { name: "jsonb_build_object", forms: &[variadic(&[P::Any], jsonb, build_object)] },
];

fn damaged() -> Error {
    Error::new(SqlState::DataCorrupted, "a jsonb value is damaged")
}

fn documents(arguments: &[ArrayRef], index: usize) -> Result<&LargeBinaryArray> {
    arguments.get(index).and_then(|a| a.as_binary_opt::<i64>()).ok_or_else(other_arguments)
}

fn texts(arguments: &[ArrayRef], index: usize) -> Result<&StringViewArray> {
    arguments.get(index).and_then(|a| a.as_string_view_opt()).ok_or_else(other_arguments)
}

fn integers(arguments: &[ArrayRef], index: usize) -> Result<&Int32Array> {
    arguments.get(index).and_then(|a| a.as_primitive_opt::<Int32Type>()).ok_or_else(other_arguments)
}

/// Arrays of text: of a row its items, of which a null is none.
struct TextLists<'a> {
    lists: &'a ListArray,
    items: &'a StringViewArray,
}

fn text_lists(arguments: &[ArrayRef], index: usize) -> Result<TextLists<'_>> {
    let lists = arguments.get(index).and_then(|a| a.as_list_opt::<i32>()).ok_or_else(other_arguments)?;
    let items = lists.values().as_string_view_opt().ok_or_else(other_arguments)?;
    Ok(TextLists { lists, items })
}

impl<'a> TextLists<'a> {
    fn get(&self, row: usize) -> Option<impl Iterator<Item = Option<&'a str>> + use<'a>> {
        let items = self.items;
        let item = move |i| items.is_valid(i).then(|| items.value(i));
        self.lists.is_valid(row).then(|| item_range(self.lists, row).map(item))
    }
}

fn document(documents: &LargeBinaryArray, row: usize) -> Option<Value<'_>> {
    documents.is_valid(row).then(|| Value::new(documents.value(row)))
}

/// A document for each row.
fn collect(rows: usize, of: impl Fn(usize) -> Option<Vec<u8>>) -> ArrayRef {
    Arc::new((0..rows).map(of).collect::<LargeBinaryArray>())
}

/// A document of each document.
fn each(arguments: &[ArrayRef], of: impl Fn(Value<'_>) -> Result<Vec<u8>>) -> Result<ArrayRef> {
    let documents = documents(arguments, 0)?;
    let made = (0..documents.len()).map(|row| document(documents, row).map(&of).transpose());
    Ok(Arc::new(made.collect::<Result<LargeBinaryArray>>()?))
}

fn owned(value: Value<'_>) -> Vec<u8> {
    value.bytes().to_vec()
}

fn get_field(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (documents, names) = (documents(arguments, 0)?, texts(arguments, 1)?);
    let field = |row| document(documents, row)?.field(names.is_valid(row).then(|| names.value(row))?).map(owned);
    Ok(collect(rows, field))
}

fn get_element(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (documents, indices) = (documents(arguments, 0)?, integers(arguments, 1)?);
    let element = |row: usize| {
        let index = indices.is_valid(row).then(|| indices.value(row))?;
        document(documents, row)?.element(i64::from(index)).map(owned)
    };
    Ok(collect(rows, element))
}

fn get_path(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (documents, paths) = (documents(arguments, 0)?, text_lists(arguments, 1)?);
    let found = |row| paths.get(row)?.try_fold(document(documents, row)?, |value, step| value.step(step?)).map(owned);
    Ok(collect(rows, found))
}

fn extract_path(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let documents = documents(arguments, 0)?;
    let steps = (1..arguments.len()).map(|index| texts(arguments, index)).collect::<Result<Vec<_>>>()?;
    let found = |row: usize| {
        let step = |value, names: &&StringViewArray| Value::step(value, names.is_valid(row).then(|| names.value(row))?);
        steps.iter().try_fold(document(documents, row)?, step).map(owned)
    };
    Ok(collect(rows, found))
}

fn as_text(found: &ArrayRef) -> Result<ArrayRef> {
    let documents = found.as_binary_opt::<i64>().ok_or_else(other_arguments)?;
    let mut out = StringViewBuilder::with_capacity(documents.len());
    (0..documents.len()).for_each(|row| out.append_option(document(documents, row).and_then(Value::as_text)));
    Ok(Arc::new(out.finish()))
}

fn contains(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (left, right) = (documents(arguments, 0)?, documents(arguments, 1)?);
    let answer = |row| Some(document(left, row)?.contains(document(right, row)?));
    Ok(Arc::new((0..rows).map(answer).collect::<BooleanArray>()))
}

fn exists(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (documents, names) = (documents(arguments, 0)?, texts(arguments, 1)?);
    let answer = |row| Some(document(documents, row)?.has(names.is_valid(row).then(|| names.value(row))?));
    Ok(Arc::new((0..rows).map(answer).collect::<BooleanArray>()))
}

fn exists_of(arguments: &[ArrayRef], all: bool) -> Result<ArrayRef> {
    let (documents, names) = (documents(arguments, 0)?, text_lists(arguments, 1)?);
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

fn concat(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (left, right) = (documents(arguments, 0)?, documents(arguments, 1)?);
    let both = |row| match (document(left, row), document(right, row)) {
        (Some(left), Some(right)) => concatenated(left, right).map(Some),
        _ => Ok(None),
    };
    Ok(Arc::new((0..rows).map(both).collect::<Result<LargeBinaryArray>>()?))
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

fn delete_name(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (documents, names) = (documents(arguments, 0)?, texts(arguments, 1)?);
    let rest = |row: usize| match document(documents, row).filter(|_| names.is_valid(row)) {
        Some(value) => without(value, &|name| name == names.value(row)).map(Some),
        None => Ok(None),
    };
    Ok(Arc::new((0..rows).map(rest).collect::<Result<LargeBinaryArray>>()?))
}

fn delete_names(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (documents, names) = (documents(arguments, 0)?, text_lists(arguments, 1)?);
    let rest = |row: usize| match document(documents, row).zip(names.get(row)) {
        Some((value, names)) => {
            let names: Vec<&str> = names.flatten().collect();
            without(value, &|name| names.contains(&name)).map(Some)
        }
        None => Ok(None),
    };
    Ok(Arc::new((0..rows).map(rest).collect::<Result<LargeBinaryArray>>()?))
}

fn delete_element(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (documents, indices) = (documents(arguments, 0)?, integers(arguments, 1)?);
    let rest = |row: usize| {
        let Some(value) = document(documents, row).filter(|_| indices.is_valid(row)) else { return Ok(None) };
        let Some(Kind::Array(elements)) = value.kind() else { return Err(cannot_delete(value)) };
        let index = i64::from(indices.value(row));
        let gone = if index < 0 { i64::from(elements.left()) + index } else { index };
        let kept = elements.enumerate().filter(|(i, _)| usize::try_from(gone) != Ok(*i)).map(|(_, v)| owned(v));
        build::array(&kept.collect::<Vec<_>>()).map(Some)
    };
    Ok(Arc::new((0..rows).map(rest).collect::<Result<LargeBinaryArray>>()?))
}

fn to_numeric(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let (documents, types) = (documents(arguments, 0)?, texts(arguments, 1)?);
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
    let numbers = (0..rows).map(number).collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(numbers.with_precision_and_scale(precision, scale)?))
}

fn cannot_cast(value: Value<'_>, ty: &str) -> Error {
    let kind = value.type_name().unwrap_or("value");
    Error::new(SqlState::InvalidParameterValue, format!("cannot cast jsonb {kind} to type {ty}"))
}

fn to_boolean(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let documents = documents(arguments, 0)?;
    let truth = |row| match document(documents, row) {
        None => Ok(None),
        Some(value) => match value.kind() {
            Some(Kind::Boolean(truth)) => Ok(Some(truth)),
            _ => Err(cannot_cast(value, "boolean")),
        },
    };
    Ok(Arc::new((0..rows).map(truth).collect::<Result<BooleanArray>>()?))
}

fn type_of(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let documents = documents(arguments, 0)?;
    Ok(Arc::new((0..rows).map(|row| document(documents, row)?.type_name()).collect::<StringViewArray>()))
}

fn array_length(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let documents = documents(arguments, 0)?;
    let length = |row| {
        let Some(value) = document(documents, row) else { return Ok(None) };
        let what = match value.kind() {
            Some(Kind::Array(elements)) => return Ok(i32::try_from(elements.left()).ok()),
            Some(Kind::Object(_)) => "non-array",
            _ => "scalar",
        };
        Err(Error::new(SqlState::InvalidParameterValue, format!("cannot get array length of a {what}")))
    };
    Ok(Arc::new((0..rows).map(length).collect::<Result<Int32Array>>()?))
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
fn cells(arguments: &[ArrayRef]) -> Result<Vec<Cells>> {
    arguments.iter().map(|column| Cells::of(column, &SqlType::from_arrow(column.data_type()))).collect()
}

fn to_jsonb(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let [values] = &cells(arguments)?[..] else { return Err(other_arguments()) };
    let made = (0..rows).map(|row| if values.is_null(row) { Ok(None) } else { jsonb_of(values, row).map(Some) });
    Ok(Arc::new(made.collect::<Result<LargeBinaryArray>>()?))
}

fn build_array(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let columns = cells(arguments)?;
    let array = |row| build::array(&columns.iter().map(|c| jsonb_of(c, row)).collect::<Result<Vec<_>>>()?).map(Some);
    Ok(Arc::new((0..rows).map(array).collect::<Result<LargeBinaryArray>>()?))
}

fn build_object(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let columns = cells(arguments)?;
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
    Ok(Arc::new((0..rows).map(object).collect::<Result<LargeBinaryArray>>()?))
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
