use std::fs;
use std::path::Path;

use super::*;
use crate::error::Error;
use crate::sql::ast::{ObjectClass, StatementKind};
use crate::sql::parse_statement;

const ORDERS: &str = "CREATE SOURCE orders (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) \
                      WITH ('connector' = 'generator', 'idle_timeout' = '2 s')";
const OUT: &str = "CREATE SINK out (id BIGINT) WITH ('connector' = 'blackhole')";
const LIVE: &str = "CREATE MATERIALIZED VIEW live AS SELECT id FROM orders";
const JOB: &str = "CREATE STREAMING JOB job WITH ('parallelism' = 3) AS INSERT INTO out SELECT id FROM orders";

/// What planning would make of a statement. Names after FROM and INTO are what it depends on.
fn new(catalog: &Catalog, text: &str) -> NewObject {
    let snapshot = catalog.snapshot();
    let words: Vec<&str> = text.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| ["FROM", "INTO"].contains(&pair[0]));
    let depends_on = pairs.filter_map(|pair| snapshot.find(pair[1])).map(|object| object.id).collect();
    let (name, if_not_exists, kind) = match parse_statement(text).unwrap().kind {
        StatementKind::CreateSource(c) => {
            (c.name.clone(), c.if_not_exists, ObjectKind::Source(define::source(&c).unwrap()))
        }
        StatementKind::CreateSink(c) => (c.name.clone(), c.if_not_exists, ObjectKind::Sink(define::sink(&c).unwrap())),
        StatementKind::CreateView(c) => {
            let columns = ["id", "Count of"].map(|name| crate::types::Column {
                name: name.into(),
                ty: crate::types::SqlType::BigInt,
                not_null: false,
            });
            let view = ViewObject { columns: columns.to_vec(), plan: "plan of live".into(), starts: starts() };
            (c.name, c.if_not_exists, ObjectKind::View(view))
        }
        StatementKind::CreateJob(c) => {
            let options = define::job(&c).unwrap();
            let job = JobObject {
                plan: "plan\nof job".into(),
                options,
                starts: starts(),
                wanted: Wanted::Running,
                ended: None,
            };
            (c.name, c.if_not_exists, ObjectKind::Job(job))
        }
        other => panic!("{other:?}"),
    };
    NewObject { name: name.value, if_not_exists, definition: text.into(), depends_on, kind }
}

fn starts() -> Starts {
    serde_json::from_str(r#"{"orders": {"0": {"offset": 7}, "1": {"offset": 0, "file": "a.json"}}}"#).unwrap()
}

fn filled(dir: Option<&Path>) -> Catalog {
    let catalog = Catalog::load(dir).unwrap();
    for text in [ORDERS, OUT, LIVE, JOB] {
        catalog.create(new(&catalog, text)).unwrap();
    }
    catalog
}

fn shown(error: &Error) -> String {
    let mut out = format!("{}: {}", error.state().code(), error.message());
    for (label, text) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
        out.extend(text.map(|text| format!("\n{label}: {text}")));
    }
    out
}

/// The order of a DROP and its notices, or its error.
fn drop_outcome(catalog: &Catalog, text: &str) -> String {
    let StatementKind::Drop(drop) = parse_statement(text).unwrap().kind else { panic!("{text}") };
    let snapshot = catalog.snapshot();
    match snapshot.plan_drop(&drop) {
        Err(error) => shown(&error),
        Ok(dropped) => {
            let names: Vec<_> = dropped.ids.iter().map(|id| snapshot.get(*id).unwrap().name.clone()).collect();
            let (notice, detail) = dropped.cascade_notice().unwrap_or_default();
            let lines = [names.join(" "), dropped.skipped.join(" "), notice, detail.unwrap_or_default()];
            lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn drops() {
    let catalog = filled(None);
    let check = |text: &str, expected: &str| assert_eq!(drop_outcome(&catalog, text), expected, "{text}");
    check("DROP STREAMING JOB job", "job");
    check("DROP MATERIALIZED VIEW IF EXISTS live, gone", "live\ngone");
    check("DROP SINK out CASCADE", "job out\ndrop cascades to streaming job job");
    check(
        "DROP SOURCE orders CASCADE",
        "job live orders\ndrop cascades to 2 other objects\n\
         drop cascades to streaming job job\ndrop cascades to materialized view live",
    );
    check(
        "DROP SOURCE orders",
        "2BP01: cannot drop source orders because other objects depend on it\n\
         DETAIL: materialized view live depends on source orders\nstreaming job job depends on source orders\n\
         HINT: Use DROP ... CASCADE to drop the dependent objects too.",
    );
    check(
        "DROP SOURCE orderz",
        "42P01: source \"orderz\" does not exist\nHINT: Perhaps you meant the source \"orders\".",
    );
    check("DROP SOURCE out", "42809: \"out\" is not a source\nHINT: Use DROP SINK to remove a sink.");
    check(
        "DROP SINK IF EXISTS live",
        "42809: \"live\" is not a sink\nHINT: Use DROP MATERIALIZED VIEW to remove a materialized view.",
    );
}

#[test]
fn names_are_unique_across_kinds() {
    let catalog = filled(None);
    let taken = "CREATE SINK live (id BIGINT) WITH ('connector' = 'blackhole')";
    let error = catalog.create(new(&catalog, taken)).unwrap_err();
    assert_eq!(
        shown(&error),
        "42P07: relation \"live\" already exists\nHINT: It is a materialized view; names are shared by all kinds of objects."
    );
    let kept = taken.replace("SINK", "SINK IF NOT EXISTS");
    let id = catalog.create(new(&catalog, &kept)).unwrap();
    assert_eq!(catalog.snapshot().get(id).unwrap().class(), ObjectClass::View);
}

#[test]
fn nothing_is_dropped_under_what_depends_on_it() {
    let catalog = filled(None);
    let before = catalog.snapshot();
    let orders = before.find("orders").unwrap().id;
    assert_eq!(catalog.drop(&[orders]).unwrap_err().state(), crate::error::SqlState::DependentObjectsStillExist);
    let late = new(&catalog, LIVE);
    let all: Vec<ObjectId> = before.objects().map(|object| object.id).collect();
    catalog.drop(&all).unwrap();
    assert_eq!(catalog.snapshot().objects().count(), 0);
    assert_eq!(before.objects().count(), 4, "a snapshot does not change");
    assert_eq!(catalog.create(late).unwrap_err().state(), crate::error::SqlState::UndefinedTable);
}

#[test]
fn survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = filled(Some(dir.path()));
    let job = catalog.snapshot().find("job").unwrap().id;
    let ended = Ended { started: 1, input_rows: 20, output_rows: 10, ..Ended::default() };
    catalog.set_wanted(job, Wanted::Stopped, Some(ended)).unwrap();
    catalog.set_parallelism(job, 7).unwrap();
    let last = catalog.create(new(&catalog, "CREATE SINK gone (a INT) WITH ('connector' = 'blackhole')")).unwrap();
    catalog.drop(&[last]).unwrap();
    let locked = Catalog::load(Some(dir.path())).unwrap_err();
    assert!(locked.message().ends_with("is in use by another process"), "{locked}");
    drop(catalog);

    let catalog = Catalog::load(Some(dir.path())).unwrap();
    let snapshot = catalog.snapshot();
    let names: Vec<&str> = snapshot.objects().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["orders", "out", "live", "job"]);
    let ObjectKind::Job(job) = &snapshot.find("job").unwrap().kind else { panic!() };
    assert_eq!((job.wanted, job.ended, job.options.shards()), (Wanted::Stopped, Some(ended), Some(7)));
    let next = catalog.create(new(&catalog, "CREATE SINK next (a INT) WITH ('connector' = 'blackhole')")).unwrap();
    assert!(next > last, "ids are never used again");
}

/// Never edit the fixture: it is what version 1 wrote.
#[test]
fn version_1_is_read() {
    let fixture = include_str!("fixtures/version_1.json");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("catalog.json"), fixture).unwrap();
    let catalog = Catalog::load(Some(dir.path())).unwrap();
    let snapshot = catalog.snapshot();

    let ObjectKind::Source(orders) = &snapshot.find("orders").unwrap().kind else { panic!() };
    assert_eq!(orders.columns[1].ty, crate::types::SqlType::Timestamp(3));
    assert_eq!(orders.watermark, Some(WatermarkClause { column: 1, expr: "ts - INTERVAL '5' SECOND".into() }));
    assert_eq!(orders.idle_timeout, 2_000_000);
    let live = snapshot.find("live").unwrap();
    assert_eq!(live.depends_on, [snapshot.find("orders").unwrap().id]);
    let ObjectKind::View(view) = &live.kind else { panic!() };
    assert_eq!((view.columns[1].name.as_str(), &*view.plan), ("Count of", "plan of live"));
    assert_eq!(view.starts, starts());
    let ObjectKind::Job(job) = &snapshot.find("job").unwrap().kind else { panic!() };
    assert_eq!((job.options.parallelism, job.wanted, &*job.plan), (Some(3), Wanted::Stopped, "plan\nof job"));

    // Written again, it is the same.
    let ids: Vec<ObjectId> = snapshot.objects().map(|object| object.id).collect();
    catalog.set_wanted(ids[3], Wanted::Running, None).unwrap();
    catalog.set_wanted(ids[3], Wanted::Stopped, None).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("catalog.json")).unwrap(), fixture);
}

#[test]
fn a_damaged_file_is_named() {
    let fixture = include_str!("fixtures/version_1.json");
    let check = |text: &str, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.json");
        fs::write(&path, text).unwrap();
        let error = Catalog::load(Some(dir.path())).unwrap_err();
        let expected = format!("catalog file \"{}\": {expected}", path.display());
        assert_eq!(error.message(), expected);
    };
    check("", "damaged: EOF while parsing a value at line 1 column 0");
    check(&fixture[..fixture.len() / 2].replace('}', ""), "damaged: key must be a string at line 10 column 5");
    check(&fixture.replacen("\"version\": 1", "\"version\": 2", 1), "format 2 is not known here");
    check(&fixture.replacen("16384", "99", 1), "damaged: \"live\" depends on object 16384, which is not there");
    check(&fixture.replacen("CREATE SINK", "CREATE SINC", 1), "object \"out\": syntax error at or near \"SINC\"");
}
