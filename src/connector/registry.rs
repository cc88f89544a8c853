//! From a statement's WITH options to a source or a sink: the one place that knows every connector's name.

use std::sync::Arc;
use std::time::Duration;

use super::declared::Declared;
use super::options::{Choice, OptionReader, WithOption, ill_typed, one_of};
use super::{OnError, Sink, Source, Takes, blackhole, dead_letter, file, generator, kafka, print};
use crate::change::key::KeyCodec;
use crate::clock::{MICROS_PER_SECOND, Micros};
use crate::error::Result;
use crate::types::Column;

/// How long a partition that was read to its end holds the watermark back, where nothing else is said.
const DEFAULT_IDLE_TIMEOUT: Micros = 10 * MICROS_PER_SECOND;

/// What CREATE SOURCE's options come to.
#[derive(Debug, Clone)]
pub struct SourceDefinition {
    pub source: Arc<dyn Source>,
    /// How long a partition that was read to its end may hold the watermark back.
    pub idle_timeout: Micros,
    pub on_error: OnError,
    /// Where undecodable messages go, if that is asked for.
    pub dead_letters: Option<Arc<dyn Sink>>,
}

impl Choice for OnError {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("fail", OnError::Fail), ("skip", OnError::Skip), ("dead_letter", OnError::DeadLetter)];
}

type MakeSource = fn(Declared, &[usize], &mut OptionReader) -> Result<Arc<dyn Source>>;
type MakeSink = fn(Declared, &[usize], &mut OptionReader) -> Result<Arc<dyn Sink>>;

const SOURCES: &[(&str, MakeSource)] = &[
    ("file", |declared, _, options| file::source(declared, options)),
    ("generator", |declared, _, options| generator::source(without_metadata(declared)?, options)),
    ("kafka", |declared, _, options| kafka::source(declared, options)),
    ("upsert-kafka", kafka::upsert_source),
];

const SINKS: &[(&str, MakeSink)] = &[
    ("blackhole", |declared, key, options| blackhole::sink(without_metadata(declared)?, key, options)),
    ("file", file::sink),
    ("kafka", kafka::sink),
    ("print", |declared, key, options| print::sink(without_metadata(declared)?, key, options)),
    ("upsert-kafka", kafka::upsert_sink),
];

/// The columns of a connector that has no metadata.
fn without_metadata(declared: Declared<'_>) -> Result<&[Column]> {
    declared.resolve_metadata(&[], |_, _| None::<()>)?;
    Ok(declared.columns)
}

/// `primary_key`: indices into the declared columns; empty if none is declared. Who makes a source of rows that stay ignores
/// it.
///
/// # Errors
/// 22023 for an unknown connector, and for options that are unknown, missing, ill-typed or given twice; what else the
/// connector refuses (a column that it cannot fill). Nothing outside the process is asked.
pub fn source<'a>(
    declared: impl Into<Declared<'a>>,
    primary_key: &[usize],
    options: Vec<WithOption>,
) -> Result<SourceDefinition> {
    let (declared, mut reader) = (declared.into(), OptionReader::new(options.clone())?);
    let source = read_source(declared, primary_key, &mut reader)?;
    finish(reader, options, "sink", |options| read_sink(declared, primary_key, options).is_ok())?;
    Ok(source)
}

fn read_source(declared: Declared<'_>, primary_key: &[usize], options: &mut OptionReader) -> Result<SourceDefinition> {
    let make = connector(options, SOURCES, SINKS, ("source", "sink"))?;
    let idle: Option<Duration> = options.optional_either("idle_timeout", "scan.watermark.idle-timeout")?;
    let on_error = options.choice("on_error")?.unwrap_or(OnError::Fail);
    let source = make(declared, primary_key, options)?;
    check_key(declared, source.key())?;
    let name = options.option("connector").map(|option| option.value.clone()).unwrap_or_default();
    let dead_letters = dead_letter::sink(on_error, name.trim(), options)?;
    let idle_timeout = idle.map_or(DEFAULT_IDLE_TIMEOUT, |d| Micros::try_from(d.as_micros()).unwrap_or(Micros::MAX));
    Ok(SourceDefinition { source, idle_timeout, on_error, dead_letters })
}

/// `primary_key`: indices into the declared columns; empty if none is declared.
///
/// # Errors
/// As [`source`].
pub fn sink<'a>(
    declared: impl Into<Declared<'a>>,
    primary_key: &[usize],
    options: Vec<WithOption>,
) -> Result<Arc<dyn Sink>> {
    let (declared, mut reader) = (declared.into(), OptionReader::new(options.clone())?);
    let sink = read_sink(declared, primary_key, &mut reader)?;
    finish(reader, options, "source", |options| read_source(declared, primary_key, options).is_ok())?;
    if let Takes::Upserts { key } | Takes::Changes { key } = sink.takes() {
        check_key(declared, &key)?;
    }
    Ok(sink)
}

fn read_sink(declared: Declared<'_>, primary_key: &[usize], options: &mut OptionReader) -> Result<Arc<dyn Sink>> {
    let make = connector(options, SINKS, SOURCES, ("sink", "source"))?;
    make(declared, primary_key, options)
}

/// Refuses the first option that nobody asked for. `read_other` reads all of them in the connector's other role, whose
/// options are known ones, too.
fn finish(
    options: OptionReader,
    given: Vec<WithOption>,
    other_role: &str,
    read_other: impl FnOnce(&mut OptionReader) -> bool,
) -> Result<()> {
    let Some(left) = options.left().cloned() else { return Ok(()) };
    let mut others = OptionReader::new(given)?;
    // What it comes to is of no matter, only what is asked for.
    let _ = read_other(&mut others);
    let refused = options.finish();
    match others.knows(&left.key.value) {
        true => refused.map_err(|e| e.with_hint(format!("It is an option of a {other_role}."))),
        false => refused,
    }
}

/// Rows will be dealt to shards by these columns.
fn check_key(declared: Declared, key: &[usize]) -> Result<()> {
    let types = key.iter().filter_map(|k| declared.columns.get(*k)).map(|c| c.ty.to_arrow());
    KeyCodec::new(types.collect::<Vec<_>>().iter()).map(drop)
}

/// The maker named by option 'connector'. `others`: the connectors of the other role, for the hint.
fn connector<M: Copy, O>(
    options: &mut OptionReader,
    makers: &[(&str, M)],
    others: &[(&str, O)],
    (role, other_role): (&str, &str),
) -> Result<M> {
    let names: Vec<&str> = makers.iter().map(|(name, _)| *name).collect();
    let Some(option) = options.option("connector").cloned() else {
        let missing = options.missing("connector");
        let hint = missing.hint().unwrap_or_default();
        let hint = format!("{hint} {}", one_of("", &names));
        return Err(missing.with_hint(hint));
    };
    let name: String = options.required("connector")?;
    if let Some((_, make)) = makers.iter().find(|(known, _)| *known == name) {
        return Ok(*make);
    }
    let hint = one_of(&name.to_lowercase(), &names);
    if others.iter().any(|(known, _)| *known == name) {
        return Err(options
            .error("connector", format!("connector \"{name}\" cannot be used for a {role}"))
            .with_detail(format!("It can only be used for a {other_role}."))
            .with_hint(hint));
    }
    Err(ill_typed(&option, &hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SqlType;

    fn columns() -> Vec<Column> {
        vec![Column { name: "id".into(), ty: SqlType::BigInt, not_null: false }]
    }

    fn with(options: &[(&str, &str)]) -> Vec<WithOption> {
        options.iter().zip(1..).map(|((k, v), i)| WithOption::new(k, v, 10 * i)).collect()
    }

    fn refused<T: std::fmt::Debug>(result: Result<T>, expected: &str) {
        let e = result.expect_err("refused");
        let place = e.position().map_or(String::new(), |p| format!(" @{p}"));
        let detail = e.detail().map_or(String::new(), |d| format!(" | {d}"));
        let got = format!("{} {}{detail} | {}{place}", e.state().code(), e.message(), e.hint().unwrap_or(""));
        assert_eq!(got, expected);
    }

    #[test]
    fn unknown_connectors_are_refused() {
        refused(
            source(&columns(), &[], with(&[("connector", "generatr")])),
            "22023 invalid value for option \"connector\": \"generatr\" | Perhaps you meant \"generator\". \
             Possible values are \"file\", \"generator\", \"kafka\", \"upsert-kafka\". @10",
        );
        refused(
            source(&columns(), &[], with(&[("connector", "print")])),
            "22023 connector \"print\" cannot be used for a source | It can only be used for a sink. | \
             Possible values are \"file\", \"generator\", \"kafka\", \"upsert-kafka\". @10",
        );
        refused(
            sink(&columns(), &[], with(&[("conector", "print")])),
            "22023 unknown option \"conector\" | Perhaps you meant \"connector\". \
             Possible values are \"blackhole\", \"file\", \"kafka\", \"print\", \"upsert-kafka\". @10",
        );
        refused(
            sink(&columns(), &[], with(&[("path", "x")])),
            "22023 option \"connector\" is required | Add 'connector' = '...' to the WITH clause. \
             Possible values are \"blackhole\", \"file\", \"kafka\", \"print\", \"upsert-kafka\". @10",
        );
    }

    #[test]
    fn what_every_source_takes() {
        let made = source(&columns(), &[], with(&[("connector", "generator")])).expect("a source");
        assert_eq!((made.idle_timeout, made.on_error), (10_000_000, OnError::Fail));
        let made = source(
            &columns(),
            &[],
            with(&[("connector", "generator"), ("scan.watermark.idle-timeout", "500 ms"), ("on_error", "skip")]),
        );
        let made = made.expect("a source");
        assert_eq!((made.idle_timeout, made.on_error), (500_000, OnError::Skip));
        refused(
            source(&columns(), &[], with(&[("connector", "generator"), ("on_error", "ignore")])),
            "22023 invalid value for option \"on_error\": \"ignore\" | Possible values are \"fail\", \"skip\", \"dead_letter\". @20",
        );
        refused(
            source(&columns(), &[], with(&[("connector", "generator"), ("row-per-second", "5")])),
            "22023 unknown option \"row-per-second\" for connector \"generator\" | \
             Perhaps you meant \"rows-per-second\". @20",
        );
    }

    #[test]
    fn options_of_the_other_role() {
        let kafka =
            [("connector", "kafka"), ("topic", "t"), ("properties.bootstrap.servers", "x:1"), ("format", "json")];
        refused(
            sink(&columns(), &[], with(&[&kafka[..], &[("scan.startup.mode", "latest-offset")]].concat())),
            "22023 unknown option \"scan.startup.mode\" for connector \"kafka\" | It is an option of a source. @50",
        );
        refused(
            sink(&columns(), &[], with(&[&kafka[..], &[("idle_timeout", "1 s")]].concat())),
            "22023 unknown option \"idle_timeout\" for connector \"kafka\" | It is an option of a source. @50",
        );
        refused(
            source(
                &columns(),
                &[],
                with(
                    &[
                        &kafka[..],
                        &[("scan.startup.mode", "latest-offset"), ("sink.delivery-guarantee", "at-least-once")],
                    ]
                    .concat(),
                ),
            ),
            "22023 unknown option \"sink.delivery-guarantee\" for connector \"kafka\" | It is an option of a sink. @60",
        );
    }

    #[test]
    fn a_blackhole_can_be_looked_at() {
        let made = sink(&columns(), &[], with(&[("connector", "blackhole")])).expect("a sink");
        let any: &dyn std::any::Any = &*made;
        assert!(any.downcast_ref::<blackhole::BlackholeSink>().is_some());
    }
}
