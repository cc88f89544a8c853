//! The queries of `examples/nexmark`, each answered in two ways that share nothing but scalar functions.
//!
//! 1. The script runs as it is, over more or fewer events, in our dialect and in Flink's: its job writes into a blackhole,
//!    which keeps a digest of what is left when deletions have met what they delete.
//! 2. The same question is asked of all events at once: DataFusion's executor over materialized views that hold every bid,
//!    auction and person. Where the query has windows, `batch/` holds the question in words that DataFusion has.
//!
//! What cannot be answered must be refused with the right words. `TIDEMILL_NEXMARK=1000000` takes so many events.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use tidemill::catalog::ObjectKind;
use tidemill::change::ChangeBatch;
use tidemill::clock::{ManualClock, Micros};
use tidemill::connector::blackhole::digest::RowHasher;
use tidemill::connector::blackhole::{Answer, BlackholeSink};
use tidemill::pipeline::{CutPolicy, Engine, EngineConfig, JobState};
use tidemill::session::{Body, Session};
use tidemill::types::schema_of;

use crate::root;
use crate::tally::Tally;

const EVENTS: u64 = 200_000;
/// A bid's bidder and his auctions multiply: as many events of q23 give millions of rows.
const FEWER_EVENTS: &[(&str, u64)] = &[("q23", 10_000)];

/// Slower than the benchmark's 100,000 events a second, so that there are a hundred seconds in the events, and over midnight.
const TIMES: &str = "'nexmark.event-rate' = '2000', 'nexmark.base-time' = '2015-07-14 23:59:20'";

/// What the clock says, all the time: 2026-01-01 00:00:03.
const NOW: Micros = 1_767_225_603_000_000;

/// With 200,000 events; a query takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is refused, and how.
const REFUSED: &[(&str, &str)] = &[
    ("q6", "avg with OVER is not supported in a streaming query yet"),
    ("q10", "PARTITIONED BY is not supported yet"),
    ("q13", "FOR SYSTEM_TIME AS OF is not supported yet"),
];

pub fn run(tally: &mut Tally) {
    let wanted: Vec<String> = (0..=23).map(|n| format!("q{n}")).collect();
    let wanted: Vec<&String> = wanted.iter().filter(|query| tally.wants(&name_of(query))).collect();
    if wanted.is_empty() {
        return;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return tally.fail(e),
    };
    for query in wanted {
        let began = now();
        let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, check(query)).await });
        match outcome.unwrap_or_else(|_| Err("hangs".into())) {
            Ok(said) => {
                println!("{}: {said}, {:.1} s", name_of(query), began.elapsed().as_secs_f64());
                tally.pass();
            }
            Err(why) => tally.fail(format_args!("{}: {why}", name_of(query))),
        }
    }
    runtime.shutdown_background();
}

fn name_of(query: &str) -> String {
    format!("nexmark::{query}")
}

#[expect(clippy::disallowed_methods, reason = "how long a query took is printed")]
fn now() -> Instant {
    Instant::now()
}

/// Both scripts of a query; what is said of each.
async fn check(query: &str) -> Result<String, String> {
    let script = read(&format!("examples/nexmark/{query}.sql"))?;
    let flink = read(&format!("examples/nexmark/flink/{query}.sql"))?;
    let refused = REFUSED.iter().find(|(name, _)| *name == query).map(|(_, refusal)| *refusal);
    let mut rows = None;
    let mut said = Vec::new();
    for (dialect, text) in [("ours", &script), ("flink", &flink)] {
        let engine = open().await?;
        let outcome = answer(query, text, &engine).await;
        engine.shutdown().await;
        match (outcome, refused) {
            (Err(said), Some(refusal)) if said.contains(&format!("0A000: {refusal}")) => continue,
            (other, Some(refusal)) => return Err(format!("{dialect}: not refused with \"{refusal}\": {other:?}")),
            (Err(why), None) => return Err(format!("{dialect}: {why}")),
            (Ok((answer, schema)), None) => {
                let rows = match &rows {
                    Some(rows) => rows,
                    None => rows.insert(reference(query, &script).await?),
                };
                let expected = digest(rows, &schema)?;
                if (answer.rows, answer.digest) != (expected.rows, expected.digest) {
                    return Err(format!("{dialect}: the answer is {answer:?}, of all events at once {expected:?}"));
                }
                if answer.rows == 0 {
                    return Err(format!("{dialect}: there are no rows: nothing was tested"));
                }
                said.push(format!("{} rows, {} changes", answer.rows, answer.changes));
            }
        }
    }
    Ok(if refused.is_some() { "refused".into() } else { said.join("; flink: ") })
}

async fn open() -> Result<Arc<Engine>, String> {
    let parallelism = NonZeroUsize::new(2).ok_or("parallelism 0")?;
    // Many ticks, so that answers change.
    let cuts = CutPolicy { chunk_bytes: 64 << 10, tick_chunks: 1, ..CutPolicy::default() };
    let clock = Arc::new(ManualClock::new(NOW));
    Engine::open(EngineConfig { parallelism, cuts, clock, ..EngineConfig::default() })
        .await
        .map_err(|e| format!("{e:?}"))
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(root().join(path)).map_err(|e| format!("{path}: {e}"))
}

/// A script over as many events as are wanted.
fn with_events(query: &str, script: &str) -> String {
    let all = std::env::var("TIDEMILL_NEXMARK").ok().and_then(|s| s.parse().ok()).unwrap_or(EVENTS);
    let most = FEWER_EVENTS.iter().find(|(name, _)| *name == query).map_or(u64::MAX, |(_, most)| *most);
    let events = format!("'number-of-rows' = '{}', {TIMES}", all.min(most));
    script.replace("'number-of-rows' = '200000'", &events)
}

/// What the script's job has written, and the schema of its sink.
async fn answer(query: &str, script: &str, engine: &Arc<Engine>) -> Result<(Answer, SchemaRef), String> {
    let mut session = Session::new(Arc::clone(engine));
    execute(&mut session, &with_events(query, script)).await?;
    engine.settled().await;
    let job = engine.jobs().pop().ok_or("there is no job")?;
    if job.state != JobState::Finished {
        return Err(format!("the job is {}: {:?}", job.state, job.reason));
    }
    let catalog = engine.catalog();
    match catalog.find(&format!("{query}_out")).map(|object| &object.kind) {
        Some(ObjectKind::Sink(sink)) => {
            let any: &dyn Any = sink.sink.as_ref();
            let blackhole = any.downcast_ref::<BlackholeSink>().ok_or("the sink is no blackhole")?;
            Ok((blackhole.answer(), schema_of(&sink.columns)))
        }
        _ => Err("there is no sink".into()),
    }
}

/// The answer over all events at once.
async fn reference(query: &str, script: &str) -> Result<Vec<RecordBatch>, String> {
    let engine = open().await?;
    let rows = all_at_once(query, script, &engine).await;
    engine.shutdown().await;
    rows
}

async fn all_at_once(query: &str, script: &str, engine: &Arc<Engine>) -> Result<Vec<RecordBatch>, String> {
    let mut session = Session::new(Arc::clone(engine));
    let script = with_events(query, script);
    for source in ["bid", "auction", "person"] {
        let Some((_, rest)) = script.split_once(&format!("CREATE SOURCE {source} (")) else { continue };
        let (definition, _) = rest.split_once(';').ok_or("a source without an end")?;
        execute(&mut session, &format!("CREATE SOURCE {source}_events ({definition};")).await?;
        let view = format!("CREATE MATERIALIZED VIEW {source} AS SELECT * FROM {source}_events;");
        execute(&mut session, &view).await?;
    }
    engine.settled().await;
    let asked = match read(&format!("sql-tests/nexmark/batch/{query}.sql")) {
        Ok(text) => text,
        Err(_) => script.split(&format!("INSERT INTO {query}_out\n")).nth(1).ok_or("there is no INSERT")?.to_string(),
    };
    execute(&mut session, &asked).await
}

/// What a blackhole of this schema would say of the rows. (A cast to integers cuts, as Flink's averages do.)
fn digest(batches: &[RecordBatch], schema: &SchemaRef) -> Result<Answer, String> {
    let (mut answer, mut hasher) = (Answer::default(), RowHasher::default());
    for batch in batches {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns: Result<Vec<ArrayRef>, _> = columns.map(|(c, field)| cast(c, field.data_type())).collect();
        let rows = columns.and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns));
        let rows = ChangeBatch::append_only(rows.map_err(|e| e.to_string())?);
        answer.add(&mut hasher, &rows).map_err(|e| format!("{e:?}"))?;
    }
    Ok(answer)
}

/// The rows of the last statement of a text.
async fn execute(session: &mut Session, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let shown = |e: tidemill::error::Error| format!("{}: {} {:?}", e.state().code(), e.message(), e.hint());
    let mut rows = Vec::new();
    for statement in session.parse(sql).map_err(shown)? {
        rows.clear();
        if let Body::Rows { mut stream, .. } = session.execute(&statement, &[]).await.map_err(shown)?.body {
            while let Some(batch) = stream.next().await {
                rows.push(batch.map_err(|e| e.to_string())?);
            }
        }
    }
    Ok(rows)
}
