//! The WITH options of Kafka sources and sinks.

use std::fmt;

use super::super::declared::Declared;
use super::super::format_options::check_metadata;
use super::super::options::{Choice, OptionReader};
use super::fields::{FORMAT, KEY_FIELDS, MessageFields, Role, VALUE_FORMAT, message_fields};
use super::metadata::{Metadata, READABLE, WRITABLE};
use super::startup::{self, Bound, Startup};
use crate::change::Changelog;
use crate::error::{Error, Result, SqlState};
use crate::format::Format;
use crate::format::changes::ChangeForm;

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceOptions {
    pub topic: String,
    pub properties: Properties,
    pub startup: Startup,
    /// `None`: reading never ends.
    pub bound: Option<Bound>,
    pub fields: MessageFields,
    pub metadata: Vec<(usize, Metadata)>,
    /// A message is its key's row from then on; one without a value says that none is left.
    pub upserts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SinkOptions {
    pub topic: String,
    pub properties: Properties,
    pub fields: MessageFields,
    /// How changes are told.
    pub form: ChangeForm,
    /// The column that gives a message's timestamp.
    pub timestamp: Option<usize>,
    /// The column that gives a message's headers.
    pub headers: Option<usize>,
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

/// 'connector' = 'kafka'.
pub(super) fn read_source(declared: Declared, options: &mut OptionReader) -> Result<SourceOptions> {
    any_source(declared, &[], startup::startup, options, Role::Source)
}

/// 'connector' = 'upsert-kafka'.
pub(super) fn read_upsert_source(
    declared: Declared,
    primary_key: &[usize],
    options: &mut OptionReader,
) -> Result<SourceOptions> {
    check_upserts(primary_key, options, Role::UpsertSource)?;
    let source = any_source(declared, primary_key, startup::whole, options, Role::UpsertSource)?;
    check_upsert_format(&source.fields.value_format, options, Role::UpsertSource)?;
    Ok(SourceOptions { upserts: true, ..source })
}

/// What both kinds of source have in common.
fn any_source(
    declared: Declared,
    primary_key: &[usize],
    startup: fn(&mut OptionReader) -> Result<Startup>,
    options: &mut OptionReader,
    role: Role,
) -> Result<SourceOptions> {
    let topic = topic(options)?;
    let startup = startup(options)?;
    let bound = startup::bound(options)?;
    let reads_group = matches!(startup, Startup::Group(_));
    let properties = properties(options, reads_group)?;
    let metadata = declared.resolve_metadata(READABLE, Metadata::find)?;
    let fields = message_fields(declared, &topic, primary_key, options, role)?;
    check_metadata(&fields.value_format, declared)?;
    Ok(SourceOptions { topic, properties, startup, bound, fields, metadata, upserts: false })
}

/// 'connector' = 'kafka'.
pub(super) fn read_sink(declared: Declared, primary_key: &[usize], options: &mut OptionReader) -> Result<SinkOptions> {
    let sink = any_sink(declared, primary_key, options)?;
    let MessageFields { value_format, key, .. } = &sink.fields;
    if value_format.changelog() == Changelog::AppendOnly {
        return match primary_key {
            [] => Ok(sink),
            _ => Err(Error::unsupported(
                format!("a Kafka sink in format \"{}\" cannot have a primary key", value_format.name()),
                "Plain rows have no form for updates and deletions. Use 'connector' = 'upsert-kafka' or 'format' = \
                 'debezium-json'; or remove PRIMARY KEY: 'key.fields' sets the message key.",
            )),
        };
    }
    if key.is_empty() {
        return Err(options
            .error("format", "changes of rows need a message key in Kafka")
            .with_detail("Without one a deletion could overtake its row on another partition.")
            .with_hint("Declare PRIMARY KEY (...) NOT ENFORCED, or set 'key.fields'."));
    }
    let alien = key.iter().find(|column| !primary_key.is_empty() && !primary_key.contains(column));
    if let Some(column) = alien.and_then(|column| declared.columns.get(*column)) {
        let message = format!("column \"{}\" of \"{KEY_FIELDS}\" is not in the primary key", column.name);
        return Err(options
            .error(KEY_FIELDS, message)
            .with_hint("All changes of one row must go to one partition: leave 'key.fields' out."));
    }
    Ok(sink)
}

/// 'connector' = 'upsert-kafka'.
pub(super) fn read_upsert_sink(
    declared: Declared,
    primary_key: &[usize],
    options: &mut OptionReader,
) -> Result<SinkOptions> {
    check_upserts(primary_key, options, Role::Sink)?;
    let sink = any_sink(declared, primary_key, options)?;
    check_upsert_format(&sink.fields.value_format, options, Role::Sink)?;
    Ok(SinkOptions { form: ChangeForm::Upserts, ..sink })
}

/// The primary key of 'upsert-kafka' is the message key.
fn check_upserts(primary_key: &[usize], options: &OptionReader, role: Role) -> Result<()> {
    let role = role.noun();
    if primary_key.is_empty() {
        let message = format!("an upsert-kafka {role} needs a primary key");
        return Err(Error::new(SqlState::InvalidTableDefinition, message)
            .with_hint("Add PRIMARY KEY (...) NOT ENFORCED: its columns are the message key."));
    }
    if options.is_given(KEY_FIELDS) {
        return Err(options
            .error(KEY_FIELDS, format!("the key of an upsert-kafka {role} is its primary key"))
            .with_hint("Remove 'key.fields'."));
    }
    Ok(())
}

fn check_upsert_format(format: &Format, options: &OptionReader, role: Role) -> Result<()> {
    if format.changelog() == Changelog::AppendOnly {
        return Ok(());
    }
    let (name, verb) = (format.name(), if role == Role::Sink { "write" } else { "read" });
    let message = format!("an upsert-kafka {} cannot {verb} format \"{name}\"", role.noun());
    let hint = format!("Use 'format' = 'json' here, or 'connector' = 'kafka' with 'format' = '{name}'.");
    let option = if options.is_given(FORMAT) { FORMAT } else { VALUE_FORMAT };
    Err(options.error(option, message).with_hint(hint))
}

/// What both kinds of sink have in common.
fn any_sink(declared: Declared, primary_key: &[usize], options: &mut OptionReader) -> Result<SinkOptions> {
    let topic = topic(options)?;
    let properties = properties(options, false)?;
    let metadata = declared.resolve_metadata(WRITABLE, Metadata::find)?;
    if let Some(column) = declared.metadata.iter().find(|column| column.is_virtual) {
        return Err(Error::new(SqlState::InvalidTableDefinition, "a sink cannot have a VIRTUAL column")
            .with_hint("Remove VIRTUAL to write the metadata, or the column.")
            .at(column.position));
    }
    let fields = message_fields(declared, &topic, primary_key, options, Role::Sink)?;
    if let Some(Guarantee::ExactlyOnce) = options.choice("sink.delivery-guarantee")? {
        return Err(Error::unsupported(
            "delivery \"exactly-once\" is not supported yet",
            "Use 'sink.delivery-guarantee' = 'at-least-once', or leave the option out.",
        )
        .at(options.position("sink.delivery-guarantee").unwrap_or(1)));
    }
    let of = |wanted: fn(&Metadata) -> bool| metadata.iter().find(|(_, m)| wanted(m)).map(|(column, _)| *column);
    let timestamp = of(|m| matches!(m, Metadata::Timestamp { .. }));
    let headers = of(|m| matches!(m, Metadata::Headers(_)));
    let form = fields.value_format.form(primary_key);
    Ok(SinkOptions { topic, properties, fields, form, timestamp, headers })
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

/// `reads_group`: where a consumer group's missing offsets are is for the user to say.
fn properties(options: &mut OptionReader, reads_group: bool) -> Result<Properties> {
    let mut properties = Vec::new();
    for (name, option) in options.prefixed("properties.") {
        if reads_group && option.key.value == startup::RESET {
            continue;
        }
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

#[cfg(test)]
mod tests {
    use super::super::super::options::WithOption;
    use super::super::startup::GroupReset;
    use super::*;
    use crate::types::{Column, SqlType};

    const BASE: &[(&str, &str)] = &[("topic", "t"), ("properties.bootstrap.servers", "h:1"), ("format", "json")];

    fn columns() -> [Column; 3] {
        ["a", "b", "c"].map(|name| Column { name: name.into(), ty: SqlType::BigInt, not_null: false })
    }

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
        let columns = columns();
        let read =
            read_source(Declared::from(&columns), &mut reader).and_then(|options| reader.finish().map(|()| options));
        read.map_err(|e| shown(&e))
    }

    fn sink(extra: &[(&str, &str)]) -> Result<SinkOptions, String> {
        sink_with(read_sink, &[], extra)
    }

    type ReadSink = fn(Declared, &[usize], &mut OptionReader) -> crate::error::Result<SinkOptions>;

    fn sink_with(read: ReadSink, key: &[usize], extra: &[(&str, &str)]) -> Result<SinkOptions, String> {
        let mut reader = reader(extra);
        let read = read(Declared::from(&columns()), key, &mut reader);
        read.and_then(|options| reader.finish().map(|()| options)).map_err(|e| shown(&e))
    }

    #[test]
    fn changes_need_a_key() {
        let debezium = [("format", "debezium-json")];
        let keyed = sink_with(read_sink, &[1, 2], &debezium).unwrap();
        assert_eq!((keyed.fields.key, keyed.form), (vec![1, 2], ChangeForm::Debezium { key: vec![1, 2] }));
        let fields = sink_with(read_sink, &[1, 2], &[debezium[0], ("key.fields", "c")]).unwrap();
        assert_eq!((fields.fields.key, fields.form), (vec![2], ChangeForm::Debezium { key: vec![1, 2] }));
        let keyless = sink(&[debezium[0], ("key.fields", "c")]).unwrap();
        assert_eq!((keyless.fields.key, keyless.form), (vec![2], ChangeForm::Debezium { key: vec![] }));
        refused(sink(&debezium), "22023 changes of rows need a message key in Kafka");
        let alien = [debezium[0], ("key.fields", "a")];
        refused(sink_with(read_sink, &[1, 2], &alien), "column \"a\" of \"key.fields\" is not in the primary key");
        for format in ["json", "csv", "raw"] {
            let expected = format!("0A000 a Kafka sink in format \"{format}\" cannot have a primary key");
            refused(sink_with(read_sink, &[0], &[("format", format)]), &expected);
        }
        let key = [debezium[0], ("key.format", "debezium-json")];
        refused(sink_with(read_sink, &[0], &key), "22023 a message key cannot have format \"debezium-json\"");
    }

    #[test]
    fn upsert_sinks_are_keyed_by_their_primary_key() {
        let read = |key: &[usize], extra: &[(&str, &str)]| sink_with(read_upsert_sink, key, extra);
        let options = read(&[2, 0], &[("key.format", "json"), ("value.fields-include", "except_key")]).unwrap();
        let SinkOptions { fields, form, .. } = options;
        assert_eq!((fields.key, fields.value, form), (vec![2, 0], vec![1], ChangeForm::Upserts));
        let csv = read(&[0], &[("format", "raw"), ("key.format", "csv"), ("key.csv.field-delimiter", ";")]).unwrap();
        assert_eq!((csv.fields.value_format.name(), csv.fields.key_format.name()), ("raw", "csv"));
        refused(read(&[], &[]), "42P16 an upsert-kafka sink needs a primary key");
        refused(read(&[0], &[("key.fields", "a")]), "the key of an upsert-kafka sink is its primary key");
        refused(read(&[0], &[("format", "debezium-json")]), "cannot write format \"debezium-json\"");
        let iso = read(&[0], &[("key.json.timestamp-format.standard", "ISO-8601")]).unwrap();
        assert_ne!(iso.fields.key_format, iso.fields.value_format);
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
        refused(mode(&[("scan.startup.mode", "group-offsets")]), "needs option \"properties.group.id\"");
        let group = [("scan.startup.mode", "group-offsets"), ("properties.group.id", "g")];
        assert_eq!(mode(&group), Ok(Startup::Group(GroupReset::None)));
        let reset = [group[0], group[1], ("properties.auto.offset.reset", "latest")];
        assert_eq!(mode(&reset), Ok(Startup::Group(GroupReset::Latest)));
        let specific =
            [("scan.startup.mode", "specific-offsets"), ("scan.startup.specific-offsets", "partition:1,offset:5")];
        assert_eq!(mode(&specific), Ok(Startup::Specific([(1, 5)].into())));
        refused(mode(&specific[..1]), "\"scan.startup.specific-offsets\" is required");
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
        refused(
            with("format", "avro"),
            "Possible values are \"json\", \"debezium-json\", \"csv\", \"avro-confluent\", \"raw\", \"parquet\"",
        );
        let options = with("properties.sasl.password", "hunter2").unwrap();
        assert!(options.properties.iter().any(|property| property == ("sasl.password", "hunter2")));
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn bounded_modes() {
        let bound = |extra: &[(&str, &str)]| {
            source(&[&[("scan.startup.mode", "earliest-offset")], extra].concat()).map(|options| options.bound)
        };
        assert_eq!(bound(&[]), Ok(None));
        assert_eq!(bound(&[("scan.bounded.mode", "latest-offset")]), Ok(Some(Bound::Latest)));
        let timestamp = [("scan.bounded.mode", "timestamp"), ("scan.bounded.timestamp-millis", "7")];
        assert_eq!(bound(&timestamp), Ok(Some(Bound::Timestamp(7))));
        let specific =
            [("scan.bounded.mode", "specific-offsets"), ("scan.bounded.specific-offsets", "partition:0,offset:9")];
        assert_eq!(bound(&specific), Ok(Some(Bound::Specific([(0, 9)].into()))));
        refused(bound(&timestamp[1..]), "needs bounded mode \"timestamp\"");
        refused(bound(&[("scan.bounded.mode", "group-offsets")]), "needs option \"properties.group.id\"");
    }

    #[test]
    fn upsert_sources_are_keyed_by_their_primary_key() {
        let read = |key: &[usize], extra: &[(&str, &str)]| {
            let mut reader = reader(extra);
            let columns = columns();
            let read = read_upsert_source(Declared::from(&columns), key, &mut reader);
            read.and_then(|read| reader.finish().map(|()| read)).map_err(|e| shown(&e))
        };
        let options = read(&[2, 0], &[]).unwrap();
        assert_eq!(
            (options.fields.key, options.fields.value, options.startup),
            (vec![2, 0], vec![0, 1, 2], Startup::Earliest)
        );
        assert!(options.upserts && options.bound.is_none());
        let options = read(&[2], &[("key.format", "raw"), ("value.fields-include", "EXCEPT_KEY")]).unwrap();
        assert_eq!((options.fields.key_format.name(), options.fields.value), ("raw", vec![0, 1]));
        assert!(
            read(&[0], &[("scan.startup.mode", "earliest-offset"), ("scan.bounded.mode", "latest-offset")]).is_ok()
        );
        refused(read(&[], &[]), "42P16 an upsert-kafka source needs a primary key");
        refused(read(&[0], &[("key.fields", "a")]), "the key of an upsert-kafka source is its primary key");
        refused(read(&[0], &[("scan.startup.mode", "latest-offset")]), "is read from the topic's beginning");
        refused(
            read(&[0], &[("format", "debezium-json")]),
            "an upsert-kafka source cannot read format \"debezium-json\"",
        );
        refused(read(&[0], &[("key.format", "debezium-json")]), "22023 a message key cannot have format");
    }

    #[test]
    fn keys_of_sources() {
        let fields = |extra: &[(&str, &str)]| {
            source(&[&[("scan.startup.mode", "earliest-offset")], extra].concat()).map(|options| options.fields)
        };
        let key = [("key.format", "raw"), ("key.fields", "b"), ("value.fields-include", "EXCEPT_KEY")];
        let found = fields(&key).unwrap();
        assert_eq!((found.key, found.value), (vec![1], vec![0, 2]));
        let found = fields(&key[..2]).unwrap();
        assert_eq!((found.key, found.value), (vec![], vec![0, 1, 2]));
        refused(fields(&key[..1]), "\"key.fields\" is required");
        refused(fields(&key[1..]), "\"key.format\" is required");
        let whole = [("format", "debezium-json"), key[0], key[1], key[2]];
        refused(fields(&whole), "22023 messages of format \"debezium-json\" hold whole rows");
        refused(fields(&[("format", "csv"), ("csv.header", "true")]), "option \"csv.header\" is for files");
    }

    #[test]
    fn keys_of_sinks() {
        assert_eq!(sink(&[]).unwrap().fields.key, [] as [usize; 0]);
        let options = sink(&[("key.fields", "c; a"), ("value.fields-include", "EXCEPT_KEY")]).unwrap();
        assert_eq!((options.fields.key, options.fields.value), (vec![2, 0], vec![1]));
        refused(sink(&[("key.fields", "d")]), "column \"d\" of \"key.fields\" does not exist");
        refused(sink(&[("key.fields", "a;a")]), "appears twice");
        refused(sink(&[("key.format", "json")]), "\"key.fields\" is required");
        refused(sink(&[("sink.delivery-guarantee", "exactly-once")]), "0A000");
    }
}
