//! Planning as data: statements in, plans or errors out. The files in `testdata/` hold cases, each a statement, a line
//! `----`, and what is expected, separated by blank lines. `TIDEMILL_BLESS=1` writes what came out into the files.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, IntervalMonthDayNanoArray, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::IntervalMonthDayNano;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::connector::Takes;
use crate::error::Error;
use crate::error::SqlState;
use crate::plan::relations::ViewOutput;
use crate::sql::Dialect;
use crate::sql::ast::{Statement, StatementKind, TableDef};
use crate::sql::parse::{parse_script, parse_statement};
use crate::types::SqlType;

struct Catalog(BTreeMap<String, Relation>);

impl Relations for Catalog {
    fn relation(&self, name: &str) -> Result<Relation> {
        let missing = || Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"));
        self.0.get(name).cloned().ok_or_else(missing)
    }
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/testdata")
}

fn columns(table: &TableDef) -> Vec<Column> {
    table.columns.iter().map(|c| c.column()).collect()
}

fn catalog() -> Catalog {
    let script = std::fs::read_to_string(testdata().join("catalog.sql")).unwrap();
    let mut relations = BTreeMap::new();
    for statement in parse_script(&script, Dialect::Postgres).unwrap() {
        let (name, columns, kind) = match statement.kind {
            StatementKind::CreateSource(source) => {
                let columns = columns(&source.table);
                let watermark = source.table.watermark.map(|w| WatermarkClause {
                    column: columns.iter().position(|c| c.name == w.column.value).unwrap(),
                    expr: w.text,
                });
                let changelog = match source.options[0].value.as_str() {
                    "changelog" => Changelog::Changing,
                    "upserts" => Changelog::Upsert,
                    _ => Changelog::AppendOnly,
                };
                let place = |name: &crate::sql::ast::Name| columns.iter().position(|c| c.name == name.value).unwrap();
                let key = source.table.primary_key.iter().map(place).collect();
                (source.name.value, columns, RelationKind::Source { watermark, changelog, key })
            }
            StatementKind::CreateSink(sink) => {
                let columns = columns(&sink.table);
                let place = |name: &crate::sql::ast::Name| columns.iter().position(|c| c.name == name.value).unwrap();
                let key = sink.table.primary_key.iter().map(place).collect();
                let takes = match sink.options[0].value.as_str() {
                    "upsert" => Takes::Upserts { key },
                    "changes" => Takes::Changes { key },
                    _ => Takes::Appends,
                };
                (sink.name.value, columns, RelationKind::Sink { takes })
            }
            other => panic!("{other:?}"),
        };
        relations.insert(name.clone(), Relation { name, columns, kind });
    }
    let view = Relation {
        name: "a_view".into(),
        columns: vec![Column { name: "v".into(), ty: SqlType::BigInt, not_null: false }],
        kind: RelationKind::View(ViewOutput {
            changelog: Changelog::Changing,
            event_time: None,
            unique_key: Some(vec![0]),
        }),
    };
    relations.insert(view.name.clone(), view);
    Catalog(relations)
}

/// A bare query is planned as a view's, a bare INSERT as a job's.
fn plan(text: &str) -> Result<(StreamPlan, Vec<Column>)> {
    const JOB: &str = "CREATE STREAMING JOB j AS ";
    let catalog = catalog();
    if text.starts_with("INSERT") {
        return plan(&format!("{JOB}{text}")).map_err(|e| match e.position() {
            Some(position) => e.moved_to(position - JOB.len()),
            None => e,
        });
    }
    let Statement { text, kind, .. } = parse_statement(text)?;
    match kind {
        StatementKind::CreateJob(job) => Ok((plan_job(&catalog, &text, &job.inserts)?, Vec::new())),
        StatementKind::CreateView(view) => plan_view(&catalog, &text, &view.query, &view.columns, &view.emit),
        StatementKind::Query(query) => plan_view(&catalog, &text, &query, &[], &Default::default()),
        other => panic!("{other:?}"),
    }
}

fn shown(error: &Error) -> String {
    let mut out = format!("ERROR {}", error.state().code());
    if let Some(position) = error.position() {
        let _ = write!(out, " at {position}");
    }
    let _ = write!(out, ": {}", error.message());
    if let Some(detail) = error.detail() {
        let _ = write!(out, "\nDETAIL: {detail}");
    }
    if let Some(hint) = error.hint() {
        let _ = write!(out, "\nHINT: {hint}");
    }
    out
}

/// Runs every case of a file; tells all that differ.
fn check_file(file: &str, answer: impl Fn(&str) -> String) -> usize {
    let path = testdata().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut blessed, mut wrong, mut count) = (String::new(), String::new(), 0);
    for block in text.split("\n\n").map(|b| b.trim_matches('\n')).filter(|b| !b.is_empty()) {
        let comments: String = block.lines().take_while(|l| l.starts_with("# ")).map(|l| format!("{l}\n")).collect();
        let case = &block[comments.len().min(block.len())..];
        if case.is_empty() {
            let _ = writeln!(blessed, "{comments}");
            continue;
        }
        let (statement, expected) = case.split_once("\n----").unwrap_or((case, ""));
        let expected = expected.trim_start_matches('\n');
        let got = answer(statement);
        let got = got.trim_end();
        count += 1;
        let _ = writeln!(blessed, "{comments}{statement}\n----\n{got}\n");
        if got != expected {
            let _ = writeln!(wrong, "{statement}\n--- expected\n{expected}\n--- got\n{got}\n");
        }
    }
    if std::env::var_os("TIDEMILL_BLESS").is_some() {
        std::fs::write(&path, blessed.trim_end().to_string() + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "{file}:\n{wrong}");
    }
    count
}

/// What was written reads back equal, and writes the same again.
fn assert_round_trip(plan: &StreamPlan) -> String {
    let text = plan.to_text().unwrap();
    let read = StreamPlan::from_text(&text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    assert_eq!(&read, plan, "{text}");
    assert_eq!(read.to_text().unwrap(), text);
    text
}

#[test]
fn plans() {
    let answer = |statement: &str| match plan(statement) {
        Ok((plan, _)) => assert_round_trip(&plan),
        Err(e) => shown(&e),
    };
    assert!(check_file("plans.txt", answer) >= 40);
    assert!(check_file("joins.txt", answer) >= 20);
}

#[test]
fn errors() {
    let answer = |statement: &str| match plan(statement) {
        Ok((plan, _)) => assert_round_trip(&plan),
        Err(e) => shown(&e),
    };
    assert!(check_file("errors.txt", answer) >= 75);
}

#[test]
fn explained() {
    let answer = |statement: &str| match plan(statement) {
        Ok((plan, _)) => explain(&plan),
        Err(e) => shown(&e),
    };
    assert!(check_file("explain.txt", answer) >= 8);
}

/// One row of `numbers` (and one of nulls), for expressions to be computed over.
fn numbers() -> RecordBatch {
    let catalog = catalog();
    let schema = crate::types::schema_of(&catalog.relation("numbers").unwrap().columns);
    let noon = 1_704_110_400_123_456; // 2024-01-01 12:00:00.123456
    let decimal = |v: i128, p, s| Decimal128Array::from(vec![Some(v), None]).with_precision_and_scale(p, s).unwrap();
    let tz = TimestampMicrosecondArray::from(vec![Some(noon), None]).with_timezone(crate::types::UTC);
    let gap = IntervalMonthDayNano::new(0, 1, 3_600_000_000_000);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(Int16Array::from(vec![Some(7), None])),
        Arc::new(Int32Array::from(vec![Some(42), None])),
        Arc::new(Int64Array::from(vec![Some(1_000_000_007), None])),
        Arc::new(Float32Array::from(vec![Some(1.5), None])),
        Arc::new(Float64Array::from(vec![Some(2.5), None])),
        Arc::new(decimal(12_345, 10, 2)),
        Arc::new(decimal(5 * 10_i128.pow(15), 38, 16)),
        Arc::new(StringViewArray::from(vec![Some("Hello"), None])),
        Arc::new(StringViewArray::from(vec![Some("12"), None])),
        Arc::new(BooleanArray::from(vec![Some(true), None])),
        Arc::new(BinaryViewArray::from(vec![Some(b"ab".as_slice()), None])),
        Arc::new(Date32Array::from(vec![Some(19_723), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(noon), None])),
        Arc::new(tz),
        Arc::new(IntervalMonthDayNanoArray::from(vec![Some(gap), None])),
    ];
    RecordBatch::try_new(schema, arrays).unwrap()
}

/// The type and the values of an expression over [`numbers`], by the plan that its SELECT makes.
fn compute(expr: &str) -> Result<String> {
    let (plan, columns) = plan(&format!("SELECT {expr} AS x FROM numbers"))?;
    assert_round_trip(&plan);
    let rows = numbers();
    let mut batch = rows;
    for node in &plan.nodes {
        batch = match &node.op {
            Op::Scan { columns, .. } => batch.project(columns)?,
            Op::Project { exprs } => {
                let input = batch.schema();
                let arrays =
                    exprs.iter().map(|e| Ok(e.physical(&input)?.evaluate(&batch)?.into_array(batch.num_rows())?));
                let arrays = arrays.collect::<Result<Vec<ArrayRef>>>()?;
                for (array, field) in arrays.iter().zip(node.schema.fields()) {
                    assert_eq!(array.data_type(), field.data_type(), "{expr}");
                }
                RecordBatch::try_new(Arc::clone(&node.schema), arrays)?
            }
            other => panic!("{other:?}"),
        };
    }
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(batch.column(0).as_ref(), &options)?;
    let values: Vec<String> = (0..batch.num_rows()).map(|row| formatter.value(row).to_string()).collect();
    Ok(format!("{}: {}", columns[0].ty, values.join(" | ")))
}

#[test]
fn values() {
    let answer = |expr: &str| compute(expr).unwrap_or_else(|e| shown(&e));
    assert!(check_file("values.txt", answer) >= 100);
}

#[test]
fn stored_text_of_version_1_is_still_read() {
    let text = std::fs::read_to_string(testdata().join("version-1.plan")).unwrap();
    let plan = StreamPlan::from_text(&text).unwrap();
    assert_eq!(plan.to_text().unwrap(), text);
    assert_eq!(plan.outputs.len(), 2);
}

#[test]
fn damaged_text_is_an_error() {
    let (plan, _) = plan("SELECT customer, count(*) FROM orders WHERE amount > 1.5 GROUP BY customer").unwrap();
    let text = plan.to_text().unwrap();
    let message = |text: &str| StreamPlan::from_text(text).unwrap_err().message().to_string();
    assert_eq!(message(""), "stored plan is damaged: it does not begin with its version");
    assert_eq!(
        message(&text.replacen("plan 1", "plan 99", 1)),
        "stored plan has version 99; this Tidemill reads versions up to 1"
    );
    // Cut anywhere, or with any one character gone, it is an error or the same plan: never a panic, never a guess.
    for cut in 0..text.trim_end().len() {
        assert!(StreamPlan::from_text(&text[..cut]).is_err(), "{}", &text[..cut]);
        let dented = format!("{}{}", &text[..cut], &text[cut + 1..]);
        let _ = StreamPlan::from_text(&dented);
    }
    let broken = text.replace("keys [0]", "keys [7]");
    assert_ne!(broken, text);
    assert!(message(&broken).contains("does not exist"));
}

#[test]
fn deep_expressions_are_refused_not_overflown() {
    let planner = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(deep_expressions);
    planner.unwrap().join().unwrap();
}

fn deep_expressions() {
    let check = |sql: String, expected: Option<SqlState>| {
        let planned = plan(&sql);
        if let Ok((plan, _)) = &planned {
            assert_round_trip(plan);
        }
        assert_eq!(planned.err().map(|e| e.state()), expected);
    };
    let nested = |depth: usize| format!("SELECT {}b{} FROM numbers", "abs(".repeat(depth), ")".repeat(depth));
    check(nested(100), None);
    check(nested(180), Some(SqlState::StatementTooComplex));
    let any = |count: usize| format!("SELECT b FROM numbers WHERE {}", vec!["b = 1"; count].join(" OR "));
    check(any(1_000), None);
    check(any(5_000), Some(SqlState::StatementTooComplex));
    let sum = |count: usize| format!("SELECT {} FROM numbers", vec!["b"; count].join(" + "));
    check(sum(200), None);
    check(sum(2_000), Some(SqlState::StatementTooComplex));
    let fallible = vec!["1 / b = 1"; 100].join(" AND ");
    check(format!("SELECT b FROM numbers WHERE {fallible}"), None);
    check(format!("SELECT {fallible} FROM numbers"), None);
}
