//! 'format' and the options of each format become a [`Format`].

use std::sync::Arc;

use super::declared::Declared;
use super::options::{Choice, OptionReader};
use super::schema_registry::SchemaRegistry;
use crate::change::Changelog;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::avro::AvroOptions;
use crate::format::csv::{CsvOptions, Header};
use crate::format::json::{JsonOptions, TimestampFormat};
use crate::format::raw::RawOptions;

/// What a message is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier<'a> {
    /// A file, where a message is a line: there are headers and comments.
    File,
    /// A message's value or key by itself. Schema registries call them so.
    Message { topic: &'a str, part: &'static str },
}

#[derive(Clone, Copy)]
enum Kind {
    Json,
    DebeziumJson,
    Csv,
    Avro,
    Raw,
    Parquet,
}

impl Choice for Kind {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("json", Kind::Json),
        ("debezium-json", Kind::DebeziumJson),
        ("csv", Kind::Csv),
        ("avro-confluent", Kind::Avro),
        ("raw", Kind::Raw),
        ("parquet", Kind::Parquet),
    ];
}

impl Choice for TimestampFormat {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("SQL", TimestampFormat::Sql), ("ISO-8601", TimestampFormat::Iso8601)];
}

#[derive(Clone, Copy)]
struct HeaderChoice(Header);

impl Choice for HeaderChoice {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("false", HeaderChoice(Header::None)),
        ("true", HeaderChoice(Header::Skip)),
        ("match", HeaderChoice(Header::Match)),
    ];
}

/// The format that option `name` chooses, if it is given. Its own options begin with `prefix`.
///
/// # Errors
/// 22023 for options that are ill-typed or contradict each other.
pub fn read_format(options: &mut OptionReader, name: &str, prefix: &str, carrier: Carrier) -> Result<Option<Format>> {
    let Some(kind) = options.choice::<Kind>(name)? else { return Ok(None) };
    Ok(Some(match kind {
        Kind::Json => Format::Json(read_json(options, &format!("{prefix}json."))?),
        Kind::DebeziumJson => Format::DebeziumJson(read_json(options, &format!("{prefix}debezium-json."))?),
        Kind::Csv => Format::Csv(csv(options, &format!("{prefix}csv."), carrier)?),
        Kind::Avro => Format::Avro(avro(options, name, prefix, carrier)?),
        Kind::Raw => Format::Raw(RawOptions { lines: carrier == Carrier::File }),
        // Where files are read, it was looked for before.
        Kind::Parquet => {
            return Err(options
                .error(name, "format \"parquet\" is for connector \"file\"")
                .with_hint("It holds many rows by their columns, not a message's."));
        }
    }))
}

fn avro(options: &mut OptionReader, name: &str, prefix: &str, carrier: Carrier) -> Result<AvroOptions> {
    let Carrier::Message { topic, part } = carrier else {
        return Err(options
            .error(name, "format \"avro-confluent\" is for Kafka")
            .with_hint("Its messages name their schema, which files do not."));
    };
    let prefix = format!("{prefix}avro-confluent.");
    let registry = Arc::new(SchemaRegistry::read(options, &prefix)?);
    let subject: Option<String> = options.optional(&format!("{prefix}subject"))?;
    Ok(AvroOptions { registry, subject: subject.unwrap_or_else(|| format!("{topic}-{part}")) })
}

/// The options of JSON, whose names begin with `prefix`.
///
/// # Errors
/// 22023 for one that is ill-typed.
pub fn read_json(options: &mut OptionReader, prefix: &str) -> Result<JsonOptions> {
    let timestamp_format = options.choice(&format!("{prefix}timestamp-format.standard"))?;
    Ok(JsonOptions { timestamp_format: timestamp_format.unwrap_or_default() })
}

/// Refuses METADATA columns of a source whose messages also delete rows.
///
/// # Errors
/// 0A000 at the first of them.
pub fn check_metadata(format: &Format, declared: Declared) -> Result<()> {
    match declared.metadata.first() {
        Some(column) if format.changelog() != Changelog::AppendOnly => {
            let message = format!("a source of format \"{}\" cannot have METADATA columns", format.name());
            let why = "A deletion takes back the row as it was inserted, but comes in a message of its own, with other \
                       metadata.";
            Err(Error::unsupported(message, "Remove the METADATA columns.").with_detail(why).at(column.position))
        }
        _ => Ok(()),
    }
}

/// The error for a source or sink without a format.
pub fn no_format(options: &OptionReader) -> Error {
    options.missing("format").with_hint("Add 'format' = 'json' to the WITH clause.")
}

/// Flink's names, with PostgreSQL's meaning.
fn csv(options: &mut OptionReader, prefix: &str, carrier: Carrier) -> Result<CsvOptions> {
    let name = |own: &str| format!("{prefix}{own}");
    let delimiter = letter(options, &name("field-delimiter"))?.unwrap_or(b',');
    let quote = letter(options, &name("quote-character"))?;
    let quotes_off = options.optional::<bool>(&name("disable-quote-character"))?.unwrap_or(false);
    if quotes_off && quote.is_some() {
        let name = name("quote-character");
        return Err(options
            .error(&name, format!("option \"{name}\" is given, but quote characters are disabled"))
            .with_hint("Remove one of the two options."));
    }
    let quote = (!quotes_off).then(|| quote.unwrap_or(b'"'));
    let escape = letter(options, &name("escape-character"))?;
    let null = untrimmed(options, &name("null-literal"))?.unwrap_or_default();
    let place = [name("field-delimiter"), name("null-literal"), name("escape-character"), name("quote-character")];
    let place = place.iter().find_map(|name| options.option(name).map(|option| option.value_position));
    let csv = CsvOptions::new(delimiter, quote, escape, null).map_err(|e| match place {
        Some(place) => e.at(place),
        None => e,
    })?;
    let (comments, header) = (name("allow-comments"), name("header"));
    if carrier != Carrier::File {
        for only_files in [&comments, &header] {
            if options.is_given(only_files) {
                return Err(options
                    .error(only_files, format!("option \"{only_files}\" is for files"))
                    .with_hint("A message is one record: remove the option."));
            }
        }
        return Ok(csv);
    }
    let mut csv = csv.with_comments(options.optional(&comments)?.unwrap_or(false));
    if let Some(HeaderChoice(header)) = options.choice(&header)? {
        csv.header = header;
    }
    Ok(csv)
}

/// One letter; a tab may be written `\t`.
fn letter(options: &mut OptionReader, name: &str) -> Result<Option<u8>> {
    let whole = options.option(name).map(|option| option.value.clone()).unwrap_or_default();
    options.parsed(name, "one letter of ASCII, or \\t", |_| match whole.as_bytes() {
        [b'\\', b't'] => Some(b'\t'),
        [letter] => Some(*letter),
        _ => None,
    })
}

/// A value whose blanks count.
fn untrimmed(options: &mut OptionReader, name: &str) -> Result<Option<String>> {
    let whole = options.option(name).map(|option| option.value.clone()).unwrap_or_default();
    options.parsed(name, "a text", |_| Some(whole.clone()))
}
