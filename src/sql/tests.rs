//! Goldens: each file in `goldens/` holds blocks of a script, `----`, and what became of it, with an empty line between
//! them. `TIDEMILL_BLESS=1` writes what came out into the files.

use std::fmt::Write;
use std::path::Path;

use super::ast::{CreateJob, InsertStatement, StatementKind, TableDef, WithOption};
use super::{Dialect, parse_script};
use crate::error::{Error, SqlState};

#[test]
fn goldens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sql/goldens");
    let bless = std::env::var_os("TIDEMILL_BLESS").is_some();
    let mut failures = String::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut actual = String::new();
        for block in text.trim_end().split("\n\n") {
            let (input, expected) = block.split_once("\n----").unwrap_or((block, ""));
            let output = outcome(input);
            if output.trim() != expected.trim() {
                write!(failures, "{}:\n{input}\nexpected:{expected}\nactual:\n{output}\n\n", path.display()).unwrap();
            }
            write!(actual, "{input}\n----\n{}\n\n", output.trim_end()).unwrap();
        }
        if bless {
            std::fs::write(&path, format!("{}\n", actual.trim_end())).unwrap();
        }
    }
    assert!(bless || failures.is_empty(), "{failures}");
}

fn outcome(script: &str) -> String {
    match parse_script(script, Dialect::Postgres) {
        Err(error) => describe_error(&error),
        Ok(statements) if statements.is_empty() => "nothing".into(),
        Ok(statements) => {
            let lines = statements.iter().map(|s| {
                let place = if s.offset == 0 { String::new() } else { format!("at {}: ", s.offset) };
                format!("{place}{}", describe(&s.kind))
            });
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

fn describe_error(error: &Error) -> String {
    let mut out = format!("{}: {}", error.state().code(), error.message());
    if let Some(position) = error.position() {
        write!(out, " (at {position})").unwrap();
    }
    for (label, text) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
        if let Some(text) = text {
            write!(out, "\n{label}: {text}").unwrap();
        }
    }
    out
}

fn describe(kind: &StatementKind) -> String {
    match kind {
        StatementKind::CreateSource(s) => {
            format!("source {}{}{}{}", s.name, exists(s.if_not_exists), table(&s.table), options(&s.options))
        }
        StatementKind::CreateSink(s) => {
            format!("sink {}{}{}{}", s.name, exists(s.if_not_exists), table(&s.table), options(&s.options))
        }
        StatementKind::CreateJob(CreateJob { name, if_not_exists, options: with, inserts }) => {
            let inserts = inserts.iter().map(|i| format!("\n  {}", insert(i))).collect::<String>();
            format!("job {name}{}{}{inserts}", exists(*if_not_exists), options(with))
        }
        StatementKind::CreateView(v) => {
            let columns = v.columns.iter().map(|c| format!(" {c}")).collect::<String>();
            format!("view {}{}{columns} {:?}\n  {}", v.name, exists(v.if_not_exists), v.emit.when, v.query)
        }
        StatementKind::Query(query) => format!("query {query}"),
        StatementKind::Submit(inserts) => inserts.iter().map(insert).collect::<Vec<_>>().join("\n  "),
        StatementKind::Explain(e) => {
            format!("explain{} {}", if e.verbose { " verbose" } else { "" }, describe(&e.statement))
        }
        other => format!("{other:?}"),
    }
}

fn exists(if_not_exists: bool) -> &'static str {
    if if_not_exists { " if not exists" } else { "" }
}

fn insert(i: &InsertStatement) -> String {
    let columns = i.columns.iter().map(|c| format!(" {c}")).collect::<String>();
    format!("insert into {}{columns} {:?}: {}", i.target, i.emit.when, i.query)
}

fn table(t: &TableDef) -> String {
    let mut out = String::new();
    for column in &t.columns {
        let not_null = if column.not_null { " not null" } else { "" };
        write!(out, "\n  {} {}{not_null}", column.name, column.ty).unwrap();
    }
    if !t.primary_key.is_empty() {
        let key: Vec<&str> = t.primary_key.iter().map(|k| k.value.as_str()).collect();
        write!(out, "\n  key {}", key.join(", ")).unwrap();
    }
    if let Some(w) = &t.watermark {
        write!(out, "\n  watermark {} as [{}] at {}", w.column, w.text, w.position).unwrap();
    }
    out
}

fn options(options: &[WithOption]) -> String {
    options.iter().map(|o| format!("\n  '{}' = '{}'", o.key, o.value)).collect()
}

/// A chain nests as deep as it is long. The longest one that is taken must be read, copied and dropped on the stack that
/// threads have which run statements; longer ones are refused where they get too long.
#[test]
fn long_chains() {
    let chain = |terms: usize| format!("SELECT {}", vec!["true"; terms].join(" OR "));
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    let read =
        thread.spawn(move || parse_script(&chain(4_999), Dialect::Postgres).map(|statements| statements.clone().len()));
    assert_eq!(read.unwrap().join().unwrap().unwrap(), 1);
    for text in
        [format!("SELECT {}", vec!["true"; 100_000].join(" OR ")), format!("SELECT {}", vec!["1"; 100_000].join("+"))]
    {
        let error = parse_script(&text, Dialect::Postgres).unwrap_err();
        assert_eq!((error.state(), error.message()), (SqlState::StatementTooComplex, "stack depth limit exceeded"));
        assert!(error.position().is_some_and(|place| place > 1));
    }
    let error =
        parse_script(&format!("SELECT {}1{}", "(".repeat(1_000), ")".repeat(1_000)), Dialect::Postgres).unwrap_err();
    assert_eq!(error.state(), SqlState::StatementTooComplex);
}
