//! A view's answer is the batch answer: one test a seed, each in two ways that share nothing. What fails is shrunk ([`shrink`])
//! and kept as a script in `cases/`, which is run with the other scripts from then on.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use sqllogictest::AsyncDB;

use super::choices::Choices;
use super::data::{Data, SOURCES, Values};
use super::query::{Query, Side};
use super::{PATIENCE, runtime, shrink};
use crate::answer::{compare, rows};
use crate::database::Database;
use crate::host::{Access, Host};
use crate::tally::Tally;
use crate::variant::{Backend, Cuts, Variant, Way};

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
/// Failures that are shrunk: more would take long, and mostly have the same reason.
const SHRUNK: usize = 3;

/// What DataFusion's executor says of about one query in a thousand that it cannot run itself, so that there is nothing to
/// compare with: its own check of a RANK over what is constant.
const JUDGE_FAILS: &str = "WindowAggExec";

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
        let test = tokio::spawn(async move { tokio::time::timeout(PATIENCE, Case::of_seed(seed).run()).await });
        let outcome = match test.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("hangs".into()),
            Err(panic) => Err(panic.to_string()),
        };
        (seed, outcome)
    });
    let outcomes: Vec<_> = runtime.block_on(futures::stream::iter(all).buffer_unordered(SIDE_BY_SIDE).collect());
    let mut seen = Vec::new();
    let mut failures = 0;
    for (seed, outcome) in outcomes {
        match outcome {
            Ok(outcome) => {
                tally.pass();
                seen.push((seed, outcome));
            }
            Err(why) => {
                failures += 1;
                let case = Case::of_seed(seed);
                let shrunk = (failures <= SHRUNK).then(|| runtime.block_on(shrink::keep(seed, &case, &why)));
                let kept =
                    shrunk.map_or_else(String::new, |kept| kept.unwrap_or_else(|why| format!("not kept: {why}")));
                let query = case.query.text(Side::Stream);
                tally.fail(format_args!("{NAME} (TIDEMILL_SEED={seed} TIDEMILL_SEEDS=1)\n{query}\n{why}\n{kept}"));
            }
        }
    }
    runtime.shutdown_background();
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
                println!("{seed}: {why}\n  {}", Case::of_seed(*seed).query.text(Side::Stream));
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

/// A query, what it is asked of, and how it is run.
pub struct Case {
    values: Values,
    pub data: Data,
    pub query: Query,
    /// What the query was drawn by.
    pub choices: Vec<usize>,
    ways: [Variant; 2],
}

impl Case {
    /// Everything about a seed follows from it.
    fn of_seed(seed: u64) -> Case {
        let mut rng = Choices::of_seed(seed);
        let values = Values::draw(&mut rng);
        let data = Data::draw(&mut rng, &values);
        let odd = Cuts::Odd(rng.below(usize::MAX) as u64);
        let (mut cuts, mut backends) = ([Cuts::Small, odd], [Backend::Memory, Backend::Evicting]);
        if rng.below(2) == 0 {
            cuts.reverse();
        }
        if rng.below(2) == 0 {
            backends.reverse();
        }
        let way = |i: usize| Variant {
            way: Way::InProcess,
            parallelism: [1, 3][i],
            cuts: cuts[i],
            backend: backends[i],
            rehearsed: (i == 1).then_some(seed),
        };
        let mut choices = Choices::of_seed(seed.wrapping_add(1 << 63));
        let query = Query::draw(&mut choices, values);
        Case { values, data, query, choices: choices.taken(), ways: [way(0), way(1)] }
    }

    pub fn with_data(&self, data: Data) -> Case {
        self.with(data, self.choices.clone())
    }

    pub fn with_choices(&self, choices: Vec<usize>) -> Case {
        self.with(self.data.clone(), choices)
    }

    fn with(&self, data: Data, choices: Vec<usize>) -> Case {
        let mut choices = Choices::again(choices);
        let query = Query::draw(&mut choices, self.values);
        Case { values: self.values, data, query, choices: choices.taken(), ways: self.ways }
    }

    /// Why it fails, if it does.
    pub async fn failure(&self) -> Option<String> {
        self.run().await.err()
    }

    async fn run(&self) -> Result<Outcome, String> {
        let mut expected = None;
        let mut outcome = None;
        for way in self.ways {
            let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
            self.data.write(dir.path()).map_err(|e| e.to_string())?;
            let host = Host::start(way, &dir.path().join("data")).await?;
            let mut database = Database::new(Arc::clone(&host));
            let ran = run_once(self, dir.path(), &host, &mut database, &mut expected).await;
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

    /// The answer that DataFusion's executor gives.
    pub async fn expected(&self) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        self.data.write(dir.path()).map_err(|e| e.to_string())?;
        let host = Host::start(self.ways[0], &dir.path().join("data")).await?;
        let mut database = Database::new(Arc::clone(&host));
        create_sources(dir.path(), &mut database).await?;
        let answer = batch(self, &mut database).await;
        database.shutdown().await;
        host.shutdown().await;
        answer
    }
}

async fn create_sources(dir: &Path, database: &mut Database) -> Result<(), String> {
    for source in SOURCES {
        rows(database, &source.replace("$DIR", &dir.to_string_lossy())).await?;
    }
    Ok(())
}

async fn run_once(
    case: &Case,
    dir: &Path,
    host: &Host,
    database: &mut Database,
    expected: &mut Option<Vec<String>>,
) -> Result<Outcome, String> {
    create_sources(dir, database).await?;
    let create = format!("CREATE MATERIALIZED VIEW answer AS {}", case.query.text(Side::Stream));
    match rows(database, &create).await {
        Err(why) if why.starts_with("0A000") => return Ok(Outcome::Refused(why)),
        created => created?,
    };
    let answer = rows(database, "SELECT * FROM answer").await?;
    let expected = match expected {
        Some(expected) => expected,
        None => match batch(case, database).await {
            Err(why) if why.contains(JUDGE_FAILS) => return Ok(Outcome::Refused(why)),
            judged => expected.insert(judged?),
        },
    };
    compare(("the view", &answer), ("the batch answer", expected))?;
    // Every row that came and went was put out twice.
    let Access::InProcess(engine) = host.access().await?.1 else { return Err("not in process".into()) };
    let status = engine.views().into_iter().find(|view| view.name == "answer").ok_or("the view is not there")?;
    Ok(Outcome::Equal { rows: answer.len(), retracts: status.counts.output_rows > answer.len() as u64 })
}

/// The answer over the final tables, which are checked to be whole.
async fn batch(case: &Case, database: &mut Database) -> Result<Vec<String>, String> {
    for (table, count) in ["a", "b", "c"].into_iter().zip(case.data.rows()) {
        rows(database, &format!("CREATE MATERIALIZED VIEW all_{table} AS SELECT * FROM {table}")).await?;
        let seen = rows(database, &format!("SELECT * FROM all_{table}")).await?.len();
        if seen != count {
            return Err(format!("{table} has {seen} rows instead of {count}"));
        }
    }
    let text = case.query.text(Side::Batch);
    rows(database, &text).await.map_err(|why| format!("the batch query failed: {why}\n{text}"))
}
