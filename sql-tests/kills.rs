//! `kill -9`, at each named failpoint and at random: what views answer in the end is what they answer when nobody kills, and
//! a sink has each row at least once.
//!
//! A run is one data directory and many lives of a server over it. Its sources are paced, so that there is input left for
//! every life; the last life reads them to their end. `TIDEMILL_KILLS` asks for more kills than CI has.

#![expect(clippy::disallowed_methods, reason = "tests have patience, which ends by the clock")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::server::{LOOK_AGAIN, Row, Server, query, told};
use crate::tally::Tally;
use crate::variant::Rng;

const NAME: &str = "kills::answers_outlive_them";

/// Kills of a run, unless more are asked for.
const KILLS: usize = 60;

/// Kills of one data directory; then the next begins.
const KILLS_A_RUN: usize = 12;

/// Of the kills that are to be at a failpoint so many must have been there.
const LANDED_PERCENT: usize = 80;

const PATIENCE: Duration = Duration::from_secs(60);

/// Where the commit log can be interrupted.
const FAILPOINTS: &[&str] = &[
    "checkpoint::open::before-fence",
    "checkpoint::open::after-fence",
    "checkpoint::delta::before",
    "checkpoint::delta::after",
    "checkpoint::outbox::before",
    "checkpoint::outbox::after",
    "checkpoint::commit::before",
    "checkpoint::commit::after",
    "store::file::written",
    "store::file::synced",
    "store::file::named",
    "checkpoint::merge::before",
    "checkpoint::merge::between",
    "checkpoint::merge::after",
    "checkpoint::collect::before",
    "checkpoint::collect::between",
    "checkpoint::collect::after",
];

/// Rows of each source.
const ROWS: u64 = 12_000;

/// What is asked, and in which order rows are comparable.
const VIEWS: &[(&str, &str)] = &[
    ("totals", "SELECT k, count(*) AS n, sum(v) AS total, min(v) AS lowest, max(v) AS highest FROM a GROUP BY k"),
    (
        "minutes",
        "SELECT window_start, k % 7 AS g, count(*) AS n, sum(v) AS total, count(DISTINCT k) AS keys
         FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end, k % 7",
    ),
    (
        "sliding",
        "SELECT window_start, count(*) AS n, max(v) AS highest
         FROM TABLE(HOP(TABLE a, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end",
    ),
    (
        "visits",
        "SELECT k, window_start, count(*) AS n FROM TABLE(SESSION(TABLE b PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND))
         GROUP BY k, window_start, window_end",
    ),
    (
        "pairs",
        "SELECT a.k, count(*) AS n, sum(a.v + b.v) AS total
         FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '2' SECOND AND a.ts + INTERVAL '2' SECOND GROUP BY a.k",
    ),
    (
        "joined",
        "SELECT l.k, l.n AS left_n, r.n AS right_n
         FROM (SELECT k, count(*) AS n FROM a GROUP BY k) l FULL JOIN (SELECT k + 3 AS k, count(*) AS n FROM b GROUP BY k + 3) r
         ON l.k = r.k",
    ),
    (
        "best",
        "SELECT k, v, id, place FROM (SELECT k, v, id, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, id) AS place FROM a) x
         WHERE place <= 3",
    ),
];

pub fn run(seed: u64, tally: &mut Tally) {
    if tally.wants(NAME) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let outcome =
            runtime.map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(answers_outlive_kills(seed)));
        tally.count(NAME, outcome.map_err(|e| format!("{e} (TIDEMILL_SEED={seed})")));
    }
}

async fn answers_outlive_kills(seed: u64) -> Result<(), String> {
    let kills = std::env::var("TIDEMILL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let expected = uninterrupted().await?;
    let mut random = Rng(seed);
    let mut landed: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut done = 0;
    while done < kills {
        let plan: Vec<Kill> = (done..kills.min(done + KILLS_A_RUN)).map(|n| Kill::choose(n, &mut random)).collect();
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut created = false;
        for kill in &plan {
            let hit = kill.carry_out(dir.path(), &mut created).await?;
            if let Kill::At { name, .. } = kill {
                let (hits, tries) = landed.entry(name).or_default();
                *hits += usize::from(hit);
                *tries += 1;
            }
        }
        let found = last_life(dir.path(), &mut created).await?;
        compare(&expected, &found).map_err(|e| format!("after {plan:?}: {e}"))?;
        done += plan.len();
    }
    let (hits, tries) = landed.values().fold((0, 0), |(h, t), (hits, tries)| (h + hits, t + tries));
    println!("{NAME}: {done} kills, {hits} of {tries} at the failpoint they were meant for");
    if hits * 100 < tries * LANDED_PERCENT {
        return Err(format!("too few kills were where they were meant to be: {landed:?}"));
    }
    Ok(())
}

/// How a life ends.
#[derive(Debug)]
enum Kill {
    /// When the failpoint is reached for the time after `skip` others.
    At { name: &'static str, skip: u64 },
    /// After so many milliseconds of work.
    After(u64),
}

impl Kill {
    /// Each failpoint has its turn, and every third kill comes at random.
    fn choose(number: usize, random: &mut Rng) -> Kill {
        if number % 3 == 2 {
            return Kill::After(random.below(600) as u64);
        }
        let name = FAILPOINTS[(number - number / 3) % FAILPOINTS.len()];
        // A server opens its logs once.
        let skip = if name.contains("::open::") { 0 } else { random.below(4) as u64 };
        Kill::At { name, skip }
    }

    /// One life. Tells whether it ended at its failpoint.
    async fn carry_out(&self, dir: &Path, created: &mut bool) -> Result<bool, String> {
        match self {
            Kill::At { name, skip } => {
                let began = *created;
                let mut server = Server::start(&dir.join("data"), &[], Some(format!("{name}={skip}")))?;
                // The end may come while objects are made, or before anybody listens.
                if let Ok(client) = server.connect().await
                    && !*created
                {
                    *created = create(&client, dir, true).await.is_ok();
                }
                let hit = server.ended_within(PATIENCE / 12).await?.is_some();
                drop(server);
                if !began && !*created {
                    // Nothing of the half-made objects is wanted.
                    clear(dir)?;
                }
                Ok(hit)
            }
            Kill::After(millis) => {
                let server = Server::start(&dir.join("data"), &[], None)?;
                let client = server.connect().await?;
                if !*created {
                    create(&client, dir, true).await?;
                    *created = true;
                }
                tokio::time::sleep(Duration::from_millis(*millis)).await;
                drop(server);
                Ok(true)
            }
        }
    }
}

fn clear(dir: &Path) -> Result<(), String> {
    for entry in std::fs::read_dir(dir).map_err(|e| e.to_string())?.flatten() {
        let path = entry.path();
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// What views hold at the end of all input, and what reached the sink.
#[derive(Debug, Default, PartialEq)]
struct Answers {
    views: BTreeMap<&'static str, BTreeSet<Row>>,
    sunk: BTreeSet<String>,
}

async fn uninterrupted() -> Result<Answers, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    last_life_of(dir.path(), &mut false, false).await
}

async fn last_life(dir: &Path, created: &mut bool) -> Result<Answers, String> {
    last_life_of(dir, created, true).await
}

async fn last_life_of(dir: &Path, created: &mut bool, paced: bool) -> Result<Answers, String> {
    let server = Server::start(&dir.join("data"), &[], None)?;
    let client = server.connect().await?;
    if !*created {
        create(&client, dir, paced).await?;
        *created = true;
    }
    let began = Instant::now();
    loop {
        let open = query(
            &client,
            &format!(
                "SELECT name FROM tidemill.materialized_views WHERE state <> 'READY' OR watermark IS NOT NULL OR input_rows < {ROWS}
                 UNION ALL SELECT name FROM tidemill.jobs WHERE state <> 'FINISHED'"
            ),
        )
        .await?;
        if open.is_empty() {
            break;
        }
        if began.elapsed() > 2 * PATIENCE {
            let shown =
                query(&client, "SELECT name, state, reason, input_rows, watermark FROM tidemill.materialized_views")
                    .await?;
            return Err(format!("still at work after {:?}: {open:?}; {shown:?}", 2 * PATIENCE));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let mut answers = Answers::default();
    for (name, _) in VIEWS {
        let rows = query(&client, &format!("SELECT * FROM {name}")).await?;
        let count = rows.len();
        let rows: BTreeSet<_> = rows.into_iter().collect();
        if rows.len() != count {
            return Err(format!("\"{name}\" has rows twice"));
        }
        answers.views.insert(name, rows);
    }
    let sunk = std::fs::read_to_string(dir.join("out")).map_err(|e| format!("the sink's file: {e}"))?;
    answers.sunk = sunk.lines().map(str::to_string).collect();
    Ok(answers)
}

fn compare(expected: &Answers, found: &Answers) -> Result<(), String> {
    for (name, rows) in &expected.views {
        let found = found.views.get(name).ok_or("a view is gone")?;
        if let Some(row) = rows.difference(found).next() {
            return Err(format!("\"{name}\" lacks {row:?}; of {} rows it has {}", rows.len(), found.len()));
        }
        if let Some(row) = found.difference(rows).next() {
            return Err(format!("\"{name}\" should not have {row:?}"));
        }
    }
    match expected.sunk.symmetric_difference(&found.sunk).next() {
        Some(row) => {
            Err(format!("the sink differs in {row}: {} rows, {} expected", found.sunk.len(), expected.sunk.len()))
        }
        None => Ok(()),
    }
}

async fn create(client: &Client, dir: &Path, paced: bool) -> Result<(), String> {
    let rate = if paced { "'rows-per-second' = '1500'," } else { "" };
    let source = |name: &str, seed: u32, keys: u32| {
        format!(
            "CREATE SOURCE {name} (id BIGINT, k BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
             WITH ('connector' = 'generator', {rate} 'number-of-rows' = '{ROWS}', 'seed' = '{seed}', 'partitions' = '2',
                   'fields.id.kind' = 'sequence', 'fields.k.min' = '0', 'fields.k.max' = '{keys}', 'fields.v.min' = '-1000',
                   'fields.v.max' = '1000', 'fields.ts.start' = '2026-01-01 00:00:00', 'fields.ts.step' = '50 ms',
                   'fields.ts.max-past' = '1500 ms')"
        )
    };
    let mut statements = vec![source("a", 1, 60), source("b", 2, 60)];
    statements.extend(VIEWS.iter().map(|(name, query)| format!("CREATE MATERIALIZED VIEW {name} AS {query}")));
    statements.push(format!(
        "CREATE SINK out (id BIGINT, v BIGINT) WITH ('connector' = 'file', 'path' = '{}', 'format' = 'json')",
        dir.join("out").display()
    ));
    statements.push("CREATE STREAMING JOB copy AS INSERT INTO out SELECT id, v FROM a WHERE v % 3 = 0".into());
    for statement in statements {
        client.batch_execute(&statement).await.map_err(|e| format!("{statement}: {}", told(&e)))?;
    }
    Ok(())
}
