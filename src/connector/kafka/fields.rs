//! What a message holds: which columns stand in its value and which in its key, each in its format ('format', 'key.format',
//! 'key.fields', 'value.fields-include').

use super::super::declared::Declared;
use super::super::format_options::{Carrier, no_format, read_format, read_json};
use super::super::options::{Choice, OptionReader, one_of};
use crate::change::Changelog;
use crate::error::{Error, Result, SqlState};
use crate::format::Format;
use crate::format::json::JsonOptions;

pub(super) const FORMAT: &str = "format";
pub(super) const VALUE_FORMAT: &str = "value.format";
const KEY_FORMAT: &str = "key.format";
pub(super) const KEY_FIELDS: &str = "key.fields";

/// Which declared columns a message's value holds, and which its key, each in its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageFields {
    pub value_format: Format,
    /// Columns of the value, in the order of its fields.
    pub value: Vec<usize>,
    pub key_format: Format,
    /// Columns of the key, in the order of its fields; none: there is no key, or nobody reads it.
    pub key: Vec<usize>,
}

#[derive(Clone, Copy)]
enum FieldsInclude {
    All,
    ExceptKey,
}

impl Choice for FieldsInclude {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("all", FieldsInclude::All), ("except_key", FieldsInclude::ExceptKey)];
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Source,
    UpsertSource,
    Sink,
}

impl Role {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Role::Source | Role::UpsertSource => "source",
            Role::Sink => "sink",
        }
    }
}

/// # Errors
/// 22023 for options that are ill-typed, missing or contradict each other; 42P16 for a primary key that no message holds.
pub(super) fn message_fields(
    declared: Declared,
    topic: &str,
    primary_key: &[usize],
    options: &mut OptionReader,
    role: Role,
) -> Result<MessageFields> {
    const INCLUDE: &str = "value.fields-include";
    if let Some(column) = declared.metadata.iter().find(|metadata| primary_key.contains(&metadata.column)) {
        return Err(Error::new(SqlState::InvalidTableDefinition, "a METADATA column cannot be in the primary key")
            .with_hint("Rows are told apart by what their messages hold.")
            .at(column.position));
    }
    let value_format = value_format(topic, options)?;
    let physical = declared.physical();
    let key_format = key_format(topic, primary_key, options, role)?;
    let mut key = key(declared, &physical, primary_key, options)?;
    let value = match options.choice(INCLUDE)? {
        Some(FieldsInclude::ExceptKey) => {
            if role == Role::Source && value_format.changelog() != Changelog::AppendOnly {
                let message = format!("messages of format \"{}\" hold whole rows", value_format.name());
                return Err(options.error(INCLUDE, message).with_hint(format!("Remove '{INCLUDE}'.")));
            }
            physical.into_iter().filter(|index| !key.contains(index)).collect()
        }
        Some(FieldsInclude::All) | None => {
            if role == Role::Source {
                // The value holds these columns too, and it is the value's that count. (Of an upsert the key's do: a
                // tombstone has no others.)
                key.clear();
            }
            physical
        }
    };
    Ok(MessageFields { value_format, value, key_format, key })
}

fn value_format(topic: &str, options: &mut OptionReader) -> Result<Format> {
    let carrier = Carrier::Message { topic, part: "value" };
    let format = read_format(options, FORMAT, "", carrier)?;
    let value = read_format(options, VALUE_FORMAT, "value.", carrier)?;
    match (format, value) {
        (Some(_), Some(_)) => Err(options
            .error(VALUE_FORMAT, "options \"format\" and \"value.format\" are the same")
            .with_hint("Remove one of the two.")),
        (format, value) => format.or(value).ok_or_else(|| no_format(options)),
    }
}

/// 'key.format'; JSON where none is given and none is needed.
fn key_format(topic: &str, primary_key: &[usize], options: &mut OptionReader, role: Role) -> Result<Format> {
    let has_fields = options.is_given(KEY_FIELDS);
    let has_key = has_fields || !primary_key.is_empty();
    match read_format(options, KEY_FORMAT, "key.", Carrier::Message { topic, part: "key" })? {
        Some(format) if format.changelog() != Changelog::AppendOnly => Err(options
            .error(KEY_FORMAT, format!("a message key cannot have format \"{}\"", format.name()))
            .with_detail("A key names a row; only a message's value tells what becomes of it.")
            .with_hint("Use 'json', 'csv', 'avro-confluent' or 'raw'.")),
        Some(_) if !has_key => Err(options.missing(KEY_FIELDS)),
        Some(format) => Ok(format),
        None if has_fields && role == Role::Source => Err(options.missing(KEY_FORMAT)),
        None if !has_key => Ok(Format::Json(JsonOptions::default())),
        None => Ok(Format::Json(read_json(options, "key.json.")?)),
    }
}

/// 'key.fields' = 'a;b', as indices of declared columns; without it a sink's key is its primary key.
fn key(
    declared: Declared,
    physical: &[usize],
    primary_key: &[usize],
    options: &mut OptionReader,
) -> Result<Vec<usize>> {
    let Some(fields) = options.optional::<String>(KEY_FIELDS)? else { return Ok(primary_key.to_vec()) };
    let names = physical.iter().filter_map(|index| Some((*index, declared.columns.get(*index)?.name.as_str())));
    let names = names.collect::<Vec<_>>();
    let mut key = Vec::new();
    for name in fields.split(';').map(str::trim).filter(|name| !name.is_empty()) {
        let Some(index) = names.iter().find(|(_, column)| *column == name).map(|(index, _)| *index) else {
            let names = names.iter().map(|(_, name)| *name).collect::<Vec<_>>();
            let hint = one_of(name, &names);
            return Err(options
                .error(KEY_FIELDS, format!("column \"{name}\" of \"{KEY_FIELDS}\" does not exist"))
                .with_hint(hint));
        };
        if key.contains(&index) {
            return Err(options.error(KEY_FIELDS, format!("column \"{name}\" appears twice in \"{KEY_FIELDS}\"")));
        }
        key.push(index);
    }
    if key.is_empty() {
        return Err(options.error(KEY_FIELDS, format!("option \"{KEY_FIELDS}\" names no column")));
    }
    Ok(key)
}
