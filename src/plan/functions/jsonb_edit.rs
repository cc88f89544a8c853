//! jsonb values with a part put in, replaced or taken out at a path: `jsonb_set`, `jsonb_insert`, `#-`. The rules are those
//! of `setPath` in PostgreSQL's `jsonfuncs.c`.

use std::sync::Arc;

use arrow::array::{ArrayRef, LargeBinaryArray};

use super::define::{Call, Definition, Form, Parameter as P, at};
use super::jsonb::damaged;
use super::results::jsonb;
use crate::error::{Error, Result, SqlState};
use crate::types::jsonb::{Kind, Value, build};

/// `#-`
pub const DELETE_PATH: &str = "jsonb_delete_path";

pub const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "jsonb_set",
        forms: &[
            Form::new(&[P::Jsonb, P::TextArray, P::Jsonb], jsonb, set),
            Form::new(&[P::Jsonb, P::TextArray, P::Jsonb, P::Boolean], jsonb, set),
        ],
    },
    Definition {
        name: "jsonb_insert",
        forms: &[
            Form::new(&[P::Jsonb, P::TextArray, P::Jsonb], jsonb, insert),
            Form::new(&[P::Jsonb, P::TextArray, P::Jsonb, P::Boolean], jsonb, insert),
        ],
    },
    Definition { name: DELETE_PATH, forms: &[Form::new(&[P::Jsonb, P::TextArray], jsonb, delete)] },
];

/// What is done where a path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// Puts a value in place of another, and where there is none.
    Set,
    Replace,
    InsertBefore,
    InsertBehind,
    Delete,
}

impl Edit {
    /// Whether a value is put where there was none.
    fn makes(self) -> bool {
        matches!(self, Edit::Set | Edit::InsertBefore | Edit::InsertBehind)
    }
}

fn set(call: Call<'_>) -> Result<ArrayRef> {
    edited(call, |create| if create.unwrap_or(true) { Edit::Set } else { Edit::Replace })
}

fn insert(call: Call<'_>) -> Result<ArrayRef> {
    edited(call, |behind| if behind.unwrap_or(false) { Edit::InsertBehind } else { Edit::InsertBefore })
}

fn delete(call: Call<'_>) -> Result<ArrayRef> {
    edited(call, |_| Edit::Delete)
}

/// Each row's document, edited as the fourth argument says; `None` where there is none.
fn edited(call: Call<'_>, edit: fn(Option<bool>) -> Edit) -> Result<ArrayRef> {
    let (documents, paths) = (call.documents(0)?, call.text_lists(1)?);
    let values = if call.count() > 2 { Some(call.documents(2)?) } else { None };
    let choices = if call.count() > 3 { Some(call.booleans(3)?) } else { None };
    let of_row = |row: usize| {
        if call.has_null(row) {
            return Ok(None);
        }
        let (Some(document), Some(path)) = (at(documents, row), paths.get(row)) else { return Ok(None) };
        let edit = edit(choices.and_then(|choices| at(choices, row)));
        let path: Vec<Option<&str>> = path.collect();
        if path.is_empty() {
            return Ok(Some(document.to_vec()));
        }
        let value = values.and_then(|values| at(values, row)).unwrap_or_default();
        let document = Value::new(document);
        match document.kind().ok_or_else(damaged)? {
            Kind::Object(_) | Kind::Array(_) => Change { edit, path: &path, value }.of(document, 0).map(Some),
            _ => {
                let verb = if edit == Edit::Delete { "delete" } else { "set" };
                Err(invalid(format!("cannot {verb} path in scalar")))
            }
        }
    };
    Ok(Arc::new((0..call.rows).map(of_row).collect::<Result<LargeBinaryArray>>()?))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}

struct Change<'a> {
    edit: Edit,
    path: &'a [Option<&'a str>],
    value: &'a [u8],
}

impl Change<'_> {
    /// The value at step `level` of the path, changed.
    fn of(&self, value: Value<'_>, level: usize) -> Result<Vec<u8>> {
        let last = level + 1 == self.path.len();
        let kind = value.kind().ok_or_else(damaged)?;
        if !matches!(kind, Kind::Object(_) | Kind::Array(_)) {
            return Ok(value.bytes().to_vec());
        }
        let Some(step) = self.path.get(level).copied().flatten() else {
            let message = format!("path element at position {} is null", level + 1);
            return Err(Error::new(SqlState::NullValueNotAllowed, message));
        };
        match kind {
            Kind::Object(fields) => {
                let mut changed = Vec::with_capacity(fields.left() as usize + 1);
                let mut found = false;
                for (name, field) in fields {
                    if name != step {
                        changed.push((name.to_string(), field.bytes().to_vec()));
                        continue;
                    }
                    found = true;
                    match self.edit {
                        _ if !last => changed.push((name.to_string(), self.of(field, level + 1)?)),
                        Edit::Delete => {}
                        Edit::Set | Edit::Replace => changed.push((name.to_string(), self.value.to_vec())),
                        Edit::InsertBefore | Edit::InsertBehind => {
                            let hint = "Try using the function jsonb_set to replace key value.";
                            return Err(invalid("cannot replace existing key").with_hint(hint));
                        }
                    }
                }
                if !found && last && self.edit.makes() {
                    changed.push((step.to_string(), self.value.to_vec()));
                }
                build::object(changed)
            }
            Kind::Array(elements) => {
                let place = self.place(step, level, i64::from(elements.left()))?;
                let mut changed = Vec::with_capacity(elements.left() as usize + 1);
                if last && self.edit.makes() && (place < 0 || elements.left() == 0) {
                    changed.push(self.value.to_vec());
                }
                let past = place >= i64::from(elements.left()) && elements.left() > 0;
                for (index, element) in elements.enumerate() {
                    if usize::try_from(place) != Ok(index) {
                        changed.push(element.bytes().to_vec());
                    } else if last {
                        self.at_element(element, &mut changed);
                    } else {
                        changed.push(self.of(element, level + 1)?);
                    }
                }
                if last && self.edit.makes() && past {
                    changed.push(self.value.to_vec());
                }
                build::array(&changed)
            }
            _ => Ok(value.bytes().to_vec()),
        }
    }

    fn at_element(&self, element: Value<'_>, changed: &mut Vec<Vec<u8>>) {
        let (own, new) = (element.bytes().to_vec(), self.value.to_vec());
        match self.edit {
            Edit::Set | Edit::Replace => changed.push(new),
            Edit::InsertBefore => changed.extend([new, own]),
            Edit::InsertBehind => changed.extend([own, new]),
            Edit::Delete => {}
        }
    }

    /// The place of an array's element; negative: in front of all.
    fn place(&self, step: &str, level: usize, length: i64) -> Result<i64> {
        let no_integer = |_| {
            let message = format!("path element at position {} is not an integer: \"{step}\"", level + 1);
            Error::new(SqlState::InvalidTextRepresentation, message)
        };
        let index = i64::from(step.trim().parse::<i32>().map_err(no_integer)?);
        Ok(if index < 0 { length + index } else { index })
    }
}
