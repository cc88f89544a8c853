//! A view's answer is the batch answer: one test a seed, each in two ways that share nothing.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use sqllogictest::AsyncDB;

use super::data::{Data, SOURCES, Values};
use super::query::{Query, Side};
use super::{PATIENCE, runtime};
use crate::answer::{compare, rows};
use crate::database::Database;
use crate::host::{Access, Host};
use crate::tally::Tally;
use crate::variant::{Backend, Cuts, Rng, Variant, Way};

pub const NAME: &str = "generated/streaming_is_batch";

const DEFAULT_SEEDS: u64 = 2_000;
/// Queries that run side by side.
const SIDE_BY_SIDE: usize = 4;
/// From so many seeds on, the shares are held to their bounds: fewer are no sample.
const ENOUGH_SEEDS: usize = 100;
/// Per cent of the queries that are accepted, and of the accepted that have rows and that take rows back.
const MIN_ACCEPTED: usize = 80;
const MIN_WITH_ROWS: usize = 70;
const MIN_RETRACTING: usize = 30;

/// What became of a query.
#[derive(Debug, Clone)]
enum Outcome {
    Refused(String),
    Equal { rows: usize, retracts: bool },
}

pub fn run(first_seed: u64, tally: &mut Tally) -> Result<(), String> {
    if !tally.wants(NAME) {
        return Ok(());
    }
    let seeds = std::env::var("TIDEMILL_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(DEFAULT_SEEDS);
    let runtime = runtime()?;
    let all = (first_seed..first_seed.saturating_add(seeds)).map(|seed| async move {
        let test = tokio::spawn(async move { tokio::time::timeout(PATIENCE, one(seed)).await });
        let outcome = match test.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("hangs".into()),
            Err(panic) => Err(panic.to_string()),
        };
        (seed, outcome)
    });
    let outcomes: Vec<_> = runtime.block_on(futures::stream::iter(all).buffer_unordered(SIDE_BY_SIDE).collect());
    runtime.shutdown_background();
    let mut seen = Vec::new();
    for (seed, outcome) in outcomes {
        match outcome {
            Ok(outcome) => {
                tally.pass();
                seen.push((seed, outcome));
            }
            Err(why) => {
                let query = query_of(seed).0.text(Side::Stream);
                tally.fail(format_args!("{NAME} (TIDEMILL_SEED={seed} TIDEMILL_SEEDS=1)\n{query}\n{why}"));
            }
        }
    }
    tally.count(&format!("{NAME}: shares"), shares(&seen));
    Ok(())
}

/// A test that does not test is a failure.
fn shares(seen: &[(u64, Outcome)]) -> Result<(), String> {
    let count = |wanted: fn(&Outcome) -> bool| seen.iter().filter(|(_, outcome)| wanted(outcome)).count();
    let accepted = count(|o| matches!(o, Outcome::Equal { .. }));
    let with_rows = count(|o| matches!(o, Outcome::Equal { rows: 1.., .. }));
    let retracting = count(|o| matches!(o, Outcome::Equal { retracts: true, .. }));
    println!("{NAME}: {} queries, {accepted} accepted, {with_rows} with rows, {retracting} retracting", seen.len());
    if std::env::var_os("TIDEMILL_REFUSED").is_some() {
        for (seed, outcome) in seen {
            if let Outcome::Refused(why) = outcome {
                println!("{seed}: {why}\n  {}", query_of(*seed).0.text(Side::Stream));
            }
        }
    }
    let checks = [
        ("accepted", accepted, seen.len(), MIN_ACCEPTED),
        ("with rows", with_rows, accepted, MIN_WITH_ROWS),
        ("retracting", retracting, accepted, MIN_RETRACTING),
    ];
    let short = checks.iter().find(|(_, part, whole, percent)| part * 100 < whole * percent);
    match short {
        Some((what, part, whole, percent)) if seen.len() >= ENOUGH_SEEDS => {
            Err(format!("{part} of {whole} are {what}, less than {percent} %"))
        }
        _ => Ok(()),
    }
}

/// Everything about a seed follows from it.
fn query_of(seed: u64) -> (Query, Data, [Variant; 2]) {
    let mut rng = Rng(seed);
    let values = Values::draw(&mut rng);
    let data = Data::draw(&mut rng, &values);
    let query = Query::draw(&mut rng, values);
    let odd = Cuts::Odd(rng.draw());
    let (mut cuts, mut backends) = ([Cuts::Small, odd], [Backend::Memory, Backend::Evicting]);
    if rng.below(2) == 0 {
        cuts.reverse();
    }
    if rng.below(2) == 0 {
        backends.reverse();
    }
    let way = |i: usize| Variant { way: Way::InProcess, parallelism: [1, 3][i], cuts: cuts[i], backend: backends[i] };
    (query, data, [way(0), way(1)])
}

async fn one(seed: u64) -> Result<Outcome, String> {
    let (query, data, ways) = query_of(seed);
    let mut expected = None;
    let mut outcome = None;
    for way in ways {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        data.write(dir.path()).map_err(|e| e.to_string())?;
        let host = Host::start(way, &dir.path().join("data")).await?;
        let mut database = Database::new(Arc::clone(&host));
        let ran = run_once(&query, &data, dir.path(), &host, &mut database, &mut expected).await;
        database.shutdown().await;
        host.shutdown().await;
        let ran = ran.map_err(|why| format!("{way}\n{why}"))?;
        if let Outcome::Refused(_) = ran {
            return Ok(ran);
        }
        let retracted = matches!(outcome, Some(Outcome::Equal { retracts: true, .. }));
        outcome = Some(match ran {
            Outcome::Equal { rows, retracts } => Outcome::Equal { rows, retracts: retracts || retracted },
            refused => refused,
        });
    }
    outcome.ok_or_else(|| "was not run".into())
}

async fn run_once(
    query: &Query,
    data: &Data,
    dir: &Path,
    host: &Host,
    database: &mut Database,
    expected: &mut Option<Vec<String>>,
) -> Result<Outcome, String> {
    for source in SOURCES {
        rows(database, &source.replace("$DIR", &dir.to_string_lossy())).await?;
    }
    let create = format!("CREATE MATERIALIZED VIEW answer AS {}", query.text(Side::Stream));
    match rows(database, &create).await {
        Err(why) if why.starts_with("0A000") => return Ok(Outcome::Refused(why)),
        created => created?,
    };
    let answer = rows(database, "SELECT * FROM answer").await?;
    let expected = match expected {
        Some(expected) => expected,
        None => expected.insert(batch(query, data, database).await?),
    };
    compare(("the view", &answer), ("the batch answer", expected))?;
    // Every row that came and went was put out twice.
    let Access::InProcess(engine) = host.access().await?.1 else { return Err("not in process".into()) };
    let status = engine.views().into_iter().find(|view| view.name == "answer").ok_or("the view is not there")?;
    Ok(Outcome::Equal { rows: answer.len(), retracts: status.counts.output_rows > answer.len() as u64 })
}

/// The answer over the final tables, which are checked to be whole.
async fn batch(query: &Query, data: &Data, database: &mut Database) -> Result<Vec<String>, String> {
    for (table, count) in ["a", "b", "c"].into_iter().zip(data.rows) {
        rows(database, &format!("CREATE MATERIALIZED VIEW all_{table} AS SELECT * FROM {table}")).await?;
        let seen = rows(database, &format!("SELECT * FROM all_{table}")).await?.len();
        if seen != count {
            return Err(format!("{table} has {seen} rows instead of {count}"));
        }
    }
    let text = query.text(Side::Batch);
    rows(database, &text).await.map_err(|why| format!("the batch query failed: {why}\n{text}"))
}
