//! The queries of `examples/nexmark`, each answered in two ways that share nothing but scalar functions.
//!
//! 1. The script runs as it is, over more or fewer events, in our dialect and in Flink's: its job writes into a blackhole,
//!    which keeps a digest of what is left when deletions have met what they delete.
//! 2. The same question is asked of all events at once: DataFusion's executor over materialized views that hold every bid,
//!    auction and person. Where the query has windows, `batch/` holds the question in words that DataFusion has.
//!
//! What cannot be answered must be refused with the right words. `TIDEMILL_NEXMARK=1000000` takes so many events.

pub mod reference;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill::clock::{ManualClock, Micros};
use tidemill::pipeline::{CutPolicy, Engine, EngineConfig};

use crate::root;
use crate::tally::Tally;

const EVENTS: u64 = 200_000;
/// A bid's bidder and his auctions multiply: as many events of q23 give millions of rows.
const FEWER_EVENTS: &[(u32, u64)] = &[(23, 10_000)];
/// Flink's scripts run over so much fewer: the questions are the same, and all of it is to take two minutes.
const FLINK_SHARE: u64 = 5;

/// Slower than the benchmark's 100,000 events a second, so that there are a hundred seconds in the events, and over midnight.
const TIMES: &str = "'nexmark.event-rate' = '2000', 'nexmark.base-time' = '2015-07-14 23:59:20'";

/// What the clock says, all the time: 2026-01-01 00:00:03.
const NOW: Micros = 1_767_225_603_000_000;

/// With 200,000 events; a query takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is refused, and how.
const REFUSED: &[(u32, &str)] = &[
    (6, "avg with OVER is not supported in a streaming query yet"),
    (10, "PARTITIONED BY is not supported yet"),
    (13, "FOR SYSTEM_TIME AS OF is not supported yet"),
];

/// A query in one of its two dialects.
#[derive(Clone, Copy)]
struct Case {
    number: u32,
    flink: bool,
}

impl Case {
    fn query(self) -> String {
        format!("q{}", self.number)
    }

    fn name(self) -> String {
        format!("nexmark::{}{}", if self.flink { "flink::" } else { "" }, self.query())
    }

    fn script(self) -> Result<String, String> {
        let folder = if self.flink { "examples/nexmark/flink" } else { "examples/nexmark" };
        reference::read(&root(), &format!("{folder}/{}.sql", self.query()))
    }

    fn events(self) -> u64 {
        let all = std::env::var("TIDEMILL_NEXMARK").ok().and_then(|s| s.parse().ok()).unwrap_or(EVENTS);
        let fewer = FEWER_EVENTS.iter().find(|(number, _)| *number == self.number);
        let ours = fewer.map_or(all, |(_, most)| all.min(*most));
        if self.flink { ours / FLINK_SHARE } else { ours }
    }

    /// A script over as many events as are wanted.
    fn sized(self, script: &str) -> String {
        script.replace("'number-of-rows' = '200000'", &format!("'number-of-rows' = '{}', {TIMES}", self.events()))
    }
}

pub fn run(tally: &mut Tally) {
    let cases = [false, true].into_iter().flat_map(|flink| (0..=23).map(move |number| Case { number, flink }));
    let wanted: Vec<Case> = cases.filter(|case| tally.wants(&case.name())).collect();
    if wanted.is_empty() {
        return;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return tally.fail(e),
    };
    for case in wanted {
        let began = now();
        let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, check(case)).await });
        match outcome.unwrap_or_else(|_| Err("hangs".into())) {
            Ok(said) => {
                println!("{}: {said}, {:.1} s", case.name(), began.elapsed().as_secs_f64());
                tally.pass();
            }
            Err(why) => tally.fail(format_args!("{}: {why}", case.name())),
        }
    }
    runtime.shutdown_background();
}

#[expect(clippy::disallowed_methods, reason = "how long a query took is printed")]
fn now() -> Instant {
    Instant::now()
}

async fn check(case: Case) -> Result<String, String> {
    let engine = open().await?;
    let outcome = match case.script() {
        Ok(script) => reference::answer(&engine, &case.query(), &case.sized(&script)).await,
        Err(unread) => Err(unread),
    };
    engine.shutdown().await;
    if let Some((_, refusal)) = REFUSED.iter().find(|(number, _)| *number == case.number) {
        return match outcome {
            Err(said) if said.contains(&format!("0A000: {refusal}")) => Ok("refused".into()),
            other => Err(format!("not refused with \"{refusal}\": {other:?}")),
        };
    }
    let (answer, schema) = outcome?;
    let engine = open().await?;
    // The script in our dialect, whichever was run.
    let script = case.sized(&Case { flink: false, ..case }.script()?);
    let rows = reference::all_at_once(&engine, &root(), &case.query(), &script).await;
    engine.shutdown().await;
    reference::compare(&answer, &rows?, &schema)?;
    if answer.rows == 0 {
        return Err("there are no rows: nothing was tested".into());
    }
    Ok(format!("{} rows, {} changes", answer.rows, answer.changes))
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
