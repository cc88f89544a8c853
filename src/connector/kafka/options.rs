//! The WITH options of Kafka sources and sinks.

use std::fmt;

use super::super::formats::{Format, FormatName};
use super::super::options::{Choice, OptionReader};
use crate::error::{Error, Result, SqlState};
use crate::format::changes::ChangeForm;
use crate::format::json::JsonOptions;
use crate::types::Column;

/// Settings of librdkafka that the connector's promises rest on.
const OWNED: &[(&str, &str)] = &[
    ("auto.offset.reset", "An offset that is gone stops the job; choose the start by 'scan.startup.mode'."),
    ("enable.auto.commit", "Positions are kept by Tidemill, not by consumer groups."),
    ("enable.auto.offset.store", "Positions are kept by Tidemill, not by consumer groups."),
    ("enable.partition.eof", "Tidemill relies on it."),
    ("check.crcs", "Checksums are always checked."),
    ("enable.idempotence", "The producer is always idempotent."),
    ("acks", "Records are always acknowledged by all in-sync replicas."),
    ("request.required.acks", "Records are always acknowledged by all in-sync replicas."),
    ("partitioner", "Keys are always partitioned as Kafka's Java clients do (murmur2_random)."),
    ("transactional.id", "Delivery is at least once; transactions are not used."),
    ("log.queue", "Logs go to Tidemill's own log."),
    ("queued.max.messages.kbytes", "Prefetching has a budget of its own."),
    ("queue.buffering.max.kbytes", "Buffering has a budget of its own."),
    ("fetch.queue.backoff.ms", "Prefetching has a budget of its own."),
];

/// Settings of Kafka's Java clients that scripts from elsewhere carry, and what to do instead.
const JAVA_ONLY: &[(&str, &str)] = &[
    ("key.deserializer", "Formats are chosen by 'format' and 'key.format'."),
    ("value.deserializer", "Formats are chosen by 'format' and 'key.format'."),
    ("key.serializer", "Formats are chosen by 'format' and 'key.format'."),
    ("value.serializer", "Formats are chosen by 'format' and 'key.format'."),
    ("sasl.jaas.config", "Use 'properties.sasl.username' and 'properties.sasl.password'."),
    ("max.poll.records", "Batches are sized by Tidemill: remove it."),
];

/// What is handed through to librdkafka. Its Debug output names values of 'bootstrap.servers' only.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Properties(Vec<(String, String)>);

impl Properties {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(super) fn servers(&self) -> &str {
        self.iter().find(|(key, _)| *key == "bootstrap.servers").map_or("", |(_, value)| value)
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(key, value)| (key, if key == "bootstrap.servers" { value } else { "..." });
        f.debug_map().entries(self.iter().map(shown)).finish()
    }
}

/// Where to start reading, when a job is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Startup {
    Earliest,
    Latest,
    /// Milliseconds since 1970-01-01 UTC: the first record with this timestamp or a later one.
    Timestamp(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceOptions {
    pub topic: String,
    pub properties: Properties,
    pub startup: Startup,
    /// Read up to the offsets that are the last when reading begins, and end there.
    pub bounded: bool,
    pub format: Format,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SinkOptions {
    pub topic: String,
    pub properties: Properties,
    /// Columns of the message's key, as an object in this order; none: messages have no key.
    pub key: Vec<usize>,
    pub key_json: JsonOptions,
    /// Columns of the message's value.
    pub value: Vec<usize>,
    pub format: Format,
    /// How changes are told.
    pub form: ChangeForm,
}

/// Keys are objects of their columns.
#[derive(Clone, Copy)]
struct KeyFormat;

impl Choice for KeyFormat {
    const CHOICES: &'static [(&'static str, Self)] = &[("json", KeyFormat)];
}

#[derive(Clone, Copy)]
enum StartupMode {
    Earliest,
    Latest,
    Timestamp,
    GroupOffsets,
    SpecificOffsets,
}

impl Choice for StartupMode {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("earliest-offset", StartupMode::Earliest),
        ("latest-offset", StartupMode::Latest),
        ("timestamp", StartupMode::Timestamp),
        ("group-offsets", StartupMode::GroupOffsets),
        ("specific-offsets", StartupMode::SpecificOffsets),
    ];
}

#[derive(Clone, Copy)]
enum BoundedMode {
    Unbounded,
    Latest,
}

impl Choice for BoundedMode {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("unbounded", BoundedMode::Unbounded), ("latest-offset", BoundedMode::Latest)];
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

#[derive(Clone, Copy)]
enum Guarantee {
    AtLeastOnce,
    ExactlyOnce,
}

impl Choice for Guarantee {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("at-least-once", Guarantee::AtLeastOnce), ("exactly-once", Guarantee::ExactlyOnce)];
}

pub(super) fn read_source(options: &mut OptionReader) -> Result<SourceOptions> {
    Ok(SourceOptions {
        topic: topic(options)?,
        properties: properties(options)?,
        startup: startup(options)?,
        bounded: matches!(options.choice("scan.bounded.mode")?, Some(BoundedMode::Latest)),
        format: format(options)?,
    })
}

/// 'connector' = 'kafka'.
pub(super) fn read_sink(columns: &[Column], primary_key: &[usize], options: &mut OptionReader) -> Result<SinkOptions> {
    let topic = topic(options)?;
    let properties = properties(options)?;
    let format = format(options)?;
    let key = key_fields(columns, primary_key, options)?;
    let form = match format.name {
        FormatName::Json if !primary_key.is_empty() => {
            return Err(Error::unsupported(
                "a Kafka sink in format \"json\" cannot have a primary key",
                "Plain JSON has no form for updates and deletions. Use 'connector' = 'upsert-kafka' or 'format' = \
                 'debezium-json'; or remove PRIMARY KEY: 'key.fields' sets the message key.",
            ));
        }
        FormatName::Json => ChangeForm::Appends,
        FormatName::DebeziumJson => {
            if key.is_empty() {
                let hint = "Declare PRIMARY KEY (...) NOT ENFORCED, or set 'key.fields'.";
                return Err(options
                    .error("format", "changes of rows need a message key in Kafka")
                    .with_detail("Without one a deletion could overtake its row on another partition.")
                    .with_hint(hint));
            }
            let alien = key.iter().find(|column| !primary_key.is_empty() && !primary_key.contains(column));
            if let Some(column) = alien.and_then(|column| columns.get(*column)) {
                let message = format!("column \"{}\" of \"key.fields\" is not in the primary key", column.name);
                return Err(options
                    .error("key.fields", message)
                    .with_hint("All changes of one row must go to one partition: leave 'key.fields' out."));
            }
            ChangeForm::Debezium { key: primary_key.to_vec() }
        }
    };
    finish_sink(
        columns,
        options,
        SinkOptions { topic, properties, key, key_json: format.json, value: Vec::new(), format, form },
    )
}

/// 'connector' = 'upsert-kafka'.
pub(super) fn read_upsert_sink(
    columns: &[Column],
    primary_key: &[usize],
    options: &mut OptionReader,
) -> Result<SinkOptions> {
    let topic = topic(options)?;
    let properties = properties(options)?;
    let format = format(options)?;
    if format.name == FormatName::DebeziumJson {
        return Err(options
            .error("format", "an upsert-kafka sink cannot write format \"debezium-json\"")
            .with_hint("Use 'format' = 'json' here, or 'connector' = 'kafka' with 'format' = 'debezium-json'."));
    }
    if primary_key.is_empty() {
        return Err(Error::new(SqlState::InvalidTableDefinition, "an upsert-kafka sink needs a primary key")
            .with_hint("Add PRIMARY KEY (...) NOT ENFORCED: its columns are the message key."));
    }
    if options.option("key.fields").is_some() {
        return Err(options
            .error("key.fields", "the key of an upsert-kafka sink is its primary key")
            .with_hint("Remove 'key.fields'."));
    }
    options.choice::<KeyFormat>("key.format")?;
    let own = options.choice("key.json.timestamp-format.standard")?;
    let key_json = own.map_or(format.json, |timestamp_format| JsonOptions { timestamp_format });
    let key = primary_key.to_vec();
    let form = ChangeForm::Upserts;
    finish_sink(columns, options, SinkOptions { topic, properties, key, key_json, value: Vec::new(), format, form })
}

/// What both kinds of sink have in common.
fn finish_sink(columns: &[Column], options: &mut OptionReader, sink: SinkOptions) -> Result<SinkOptions> {
    if let Some(Guarantee::ExactlyOnce) = options.choice("sink.delivery-guarantee")? {
        return Err(Error::unsupported(
            "delivery \"exactly-once\" is not supported yet",
            "Use 'sink.delivery-guarantee' = 'at-least-once', or leave the option out.",
        )
        .at(options.position("sink.delivery-guarantee").unwrap_or(1)));
    }
    let value = match options.choice("value.fields-include")? {
        Some(FieldsInclude::ExceptKey) => (0..columns.len()).filter(|index| !sink.key.contains(index)).collect(),
        Some(FieldsInclude::All) | None => (0..columns.len()).collect(),
    };
    Ok(SinkOptions { value, ..sink })
}

/// A topic's name, by Kafka's own rule.
fn topic(options: &mut OptionReader) -> Result<String> {
    let topic: String = options.required("topic")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.len() > 249 || topic == "." || topic == ".." || !topic.chars().all(legal) {
        let hint = if topic.contains(';') {
            "A source reads one topic: create one for each."
        } else {
            "Topics have up to 249 letters, digits, dots, underscores and hyphens."
        };
        return Err(options.error("topic", format!("invalid topic name \"{topic}\"")).with_hint(hint));
    }
    Ok(topic)
}

/// 'format', or its other name 'value.format'.
fn format(options: &mut OptionReader) -> Result<Format> {
    if options.option("value.format").is_none() {
        return Format::read(options, "format");
    }
    if options.option("format").is_some() {
        return Err(options
            .error("value.format", "options \"format\" and \"value.format\" are the same")
            .with_hint("Remove one of the two."));
    }
    Format::read(options, "value.format")
}

fn startup(options: &mut OptionReader) -> Result<Startup> {
    const MODE: &str = "scan.startup.mode";
    const MILLIS: &str = "scan.startup.timestamp-millis";
    let mode = options.choice(MODE)?;
    let millis: Option<i64> = options.optional(MILLIS)?;
    if millis.is_some() && !matches!(mode, Some(StartupMode::Timestamp)) {
        return Err(options
            .error(MILLIS, format!("option \"{MILLIS}\" needs startup mode \"timestamp\""))
            .with_hint(format!("Add '{MODE}' = 'timestamp', or remove '{MILLIS}'.")));
    }
    match mode {
        None => Err(options.missing(MODE).with_hint(
            "Add 'scan.startup.mode' = 'earliest-offset' (all there is), 'latest-offset' (from now on) or 'timestamp'.",
        )),
        Some(StartupMode::Earliest) => Ok(Startup::Earliest),
        Some(StartupMode::Latest) => Ok(Startup::Latest),
        Some(StartupMode::Timestamp) => match millis {
            Some(millis) if millis >= 0 => Ok(Startup::Timestamp(millis)),
            Some(_) => Err(options.error(MILLIS, format!("option \"{MILLIS}\" must not be negative"))),
            None => Err(options.missing(MILLIS)),
        },
        Some(StartupMode::GroupOffsets) => Err(unsupported_mode(options, "group-offsets")),
        Some(StartupMode::SpecificOffsets) => Err(unsupported_mode(options, "specific-offsets")),
    }
}

fn unsupported_mode(options: &OptionReader, mode: &str) -> Error {
    Error::unsupported(
        format!("startup mode \"{mode}\" is not supported yet"),
        "Use 'earliest-offset', 'latest-offset' or 'timestamp'.",
    )
    .at(options.position("scan.startup.mode").unwrap_or(1))
}

fn properties(options: &mut OptionReader) -> Result<Properties> {
    let mut properties = Vec::new();
    for (name, option) in options.prefixed("properties.") {
        let refusal = |what: String, hint: &str| {
            Error::new(SqlState::InvalidParameterValue, what).with_hint(hint).at(option.key.position)
        };
        if let Some((_, hint)) = OWNED.iter().find(|(owned, _)| *owned == name) {
            return Err(refusal(format!("option \"{}\" cannot be changed", option.key), hint));
        }
        if let Some((_, hint)) = JAVA_ONLY.iter().find(|(java, _)| *java == name) {
            return Err(refusal(format!("option \"{}\" is for Kafka's Java clients", option.key), hint));
        }
        let value = option.value.trim();
        if name == "security.protocol"
            && value.to_ascii_lowercase().contains("ssl")
            && !value.eq_ignore_ascii_case("sasl_plaintext")
        {
            return Err(Error::unsupported(
                "this build of Tidemill does not speak TLS to Kafka",
                "Use a plaintext listener of the broker, or a TLS proxy beside Tidemill.",
            )
            .at(option.key.position));
        }
        super::client::check_property(&name, value).map_err(|hint| {
            let what = format!("invalid Kafka property \"{name}\"");
            refusal(what, &hint)
        })?;
        properties.push((name, value.to_string()));
    }
    let properties = Properties(properties);
    if properties.servers().is_empty() {
        return Err(options
            .missing("properties.bootstrap.servers")
            .with_hint("Add 'properties.bootstrap.servers' = 'host:9092' to the WITH clause."));
    }
    Ok(properties)
}

/// 'key.fields' = 'a;b' as indices into `columns`; the primary key if it is not given.
fn key_fields(columns: &[Column], primary_key: &[usize], options: &mut OptionReader) -> Result<Vec<usize>> {
    const FIELDS: &str = "key.fields";
    let fields: Option<String> = options.optional(FIELDS)?;
    let format = options.choice::<KeyFormat>("key.format")?;
    let Some(fields) = fields else {
        return match format {
            Some(_) if primary_key.is_empty() => Err(options.missing(FIELDS)),
            _ => Ok(primary_key.to_vec()),
        };
    };
    let mut key = Vec::new();
    for name in fields.split(';').map(str::trim).filter(|name| !name.is_empty()) {
        let Some(index) = columns.iter().position(|column| column.name == name) else {
            let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>();
            let hint = super::super::options::one_of(name, &names);
            return Err(options
                .error(FIELDS, format!("column \"{name}\" of \"{FIELDS}\" does not exist"))
                .with_hint(hint));
        };
        if key.contains(&index) {
            return Err(options.error(FIELDS, format!("column \"{name}\" appears twice in \"{FIELDS}\"")));
        }
        key.push(index);
    }
    if key.is_empty() {
        return Err(options.error(FIELDS, format!("option \"{FIELDS}\" names no column")));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::super::super::options::WithOption;
    use super::*;
    use crate::types::SqlType;

    const BASE: &[(&str, &str)] = &[("topic", "t"), ("properties.bootstrap.servers", "h:1"), ("format", "json")];

    fn reader(extra: &[(&str, &str)]) -> OptionReader {
        let all = BASE.iter().filter(|(k, _)| !extra.iter().any(|(e, _)| e == k)).chain(extra);
        let options = all.zip(1..).map(|((k, v), i)| WithOption::new(k, v, i)).collect();
        OptionReader::new(options).unwrap()
    }

    fn shown(error: &Error) -> String {
        format!("{} {} | {}", error.state().code(), error.message(), error.hint().unwrap_or(""))
    }

    fn source(extra: &[(&str, &str)]) -> Result<SourceOptions, String> {
        let mut reader = reader(extra);
        let read = read_source(&mut reader).and_then(|options| reader.finish().map(|()| options));
        read.map_err(|e| shown(&e))
    }

    fn sink(extra: &[(&str, &str)]) -> Result<SinkOptions, String> {
        sink_with(read_sink, &[], extra)
    }

    type ReadSink = fn(&[Column], &[usize], &mut OptionReader) -> crate::error::Result<SinkOptions>;

    fn sink_with(read: ReadSink, key: &[usize], extra: &[(&str, &str)]) -> Result<SinkOptions, String> {
        let column = |name: &str| Column { name: name.into(), ty: SqlType::BigInt, not_null: false };
        let mut reader = reader(extra);
        let read = read(&[column("a"), column("b"), column("c")], key, &mut reader);
        read.and_then(|options| reader.finish().map(|()| options)).map_err(|e| shown(&e))
    }

    #[test]
    fn changes_need_a_key() {
        let debezium = [("format", "debezium-json")];
        let keyed = sink_with(read_sink, &[1, 2], &debezium).unwrap();
        assert_eq!((keyed.key, keyed.form), (vec![1, 2], ChangeForm::Debezium { key: vec![1, 2] }));
        let fields = sink_with(read_sink, &[1, 2], &[debezium[0], ("key.fields", "c")]).unwrap();
        assert_eq!((fields.key, fields.form), (vec![2], ChangeForm::Debezium { key: vec![1, 2] }));
        let keyless = sink(&[debezium[0], ("key.fields", "c")]).unwrap();
        assert_eq!((keyless.key, keyless.form), (vec![2], ChangeForm::Debezium { key: vec![] }));
        refused(sink(&debezium), "22023 changes of rows need a message key in Kafka");
        let alien = [debezium[0], ("key.fields", "a")];
        refused(sink_with(read_sink, &[1, 2], &alien), "column \"a\" of \"key.fields\" is not in the primary key");
        refused(sink_with(read_sink, &[0], &[]), "0A000 a Kafka sink in format \"json\" cannot have a primary key");
    }

    #[test]
    fn upsert_sinks_are_keyed_by_their_primary_key() {
        let read = |key: &[usize], extra: &[(&str, &str)]| sink_with(read_upsert_sink, key, extra);
        let options = read(&[2, 0], &[("key.format", "json"), ("value.fields-include", "except_key")]).unwrap();
        assert_eq!((options.key, options.value, options.form), (vec![2, 0], vec![1], ChangeForm::Upserts));
        refused(read(&[], &[]), "42P16 an upsert-kafka sink needs a primary key");
        refused(read(&[0], &[("key.fields", "a")]), "the key of an upsert-kafka sink is its primary key");
        refused(read(&[0], &[("format", "debezium-json")]), "cannot write format \"debezium-json\"");
        let iso = read(&[0], &[("key.json.timestamp-format.standard", "ISO-8601")]).unwrap();
        assert_ne!(iso.key_json, iso.format.json);
    }

    #[track_caller]
    fn refused<T: fmt::Debug>(found: Result<T, String>, expected: &str) {
        let text = found.expect_err("a refusal");
        assert!(text.contains(expected), "{text}\ndoes not contain\n{expected}");
    }

    #[test]
    fn startup_modes() {
        let mode = |extra: &[(&str, &str)]| source(extra).map(|options| options.startup);
        assert_eq!(mode(&[("scan.startup.mode", "earliest-offset")]), Ok(Startup::Earliest));
        assert_eq!(mode(&[("scan.startup.mode", "LATEST-offset")]), Ok(Startup::Latest));
        let timestamp = [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "5")];
        assert_eq!(mode(&timestamp), Ok(Startup::Timestamp(5)));
        refused(mode(&[]), "\"scan.startup.mode\" is required");
        refused(mode(&timestamp[..1]), "\"scan.startup.timestamp-millis\" is required");
        refused(
            mode(&[("scan.startup.mode", "group-offsets")]),
            "0A000 startup mode \"group-offsets\" is not supported",
        );
        refused(
            mode(&[("scan.startup.mode", "latest-offset"), ("scan.startup.timestamp-millis", "5")]),
            "needs startup mode \"timestamp\"",
        );
    }

    #[test]
    fn what_is_ours_is_refused_and_secrets_stay_secret() {
        let with = |key, value| source(&[("scan.startup.mode", "earliest-offset"), (key, value)]);
        refused(with("properties.auto.offset.reset", "latest"), "cannot be changed");
        refused(with("properties.sasl.jaas.config", "x"), "Use 'properties.sasl.username'");
        refused(with("properties.security.protocol", "SSL"), "0A000 this build of Tidemill does not speak TLS");
        refused(with("properties.no.such", "x"), "22023 invalid Kafka property \"no.such\"");
        refused(with("properties.fetch.wait.max.ms", "soon"), "22023 invalid Kafka property \"fetch.wait.max.ms\"");
        refused(with("topic", "a;b"), "A source reads one topic");
        refused(with("format", "avro"), "Possible values are \"json\", \"debezium-json\"");
        let options = with("properties.sasl.password", "hunter2").unwrap();
        assert!(options.properties.iter().any(|property| property == ("sasl.password", "hunter2")));
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn keys_of_sinks() {
        assert_eq!(sink(&[]).unwrap().key, [] as [usize; 0]);
        let options = sink(&[("key.fields", "c; a"), ("value.fields-include", "EXCEPT_KEY")]).unwrap();
        assert_eq!((options.key, options.value), (vec![2, 0], vec![1]));
        refused(sink(&[("key.fields", "d")]), "column \"d\" of \"key.fields\" does not exist");
        refused(sink(&[("key.fields", "a;a")]), "appears twice");
        refused(sink(&[("key.format", "json")]), "\"key.fields\" is required");
        refused(sink(&[("sink.delivery-guarantee", "exactly-once")]), "0A000");
    }
}
