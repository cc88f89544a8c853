//! Nexmark's queries as `examples/nexmark` has them, from the generator into the blackhole.
//!
//! 1. The answer first: over a few events, at parallelism 1 and 2, it must be that of the same question asked of all events
//!    at once (`sql-tests/nexmark`).
//! 2. Then many events at the benchmark's own rate of event time, 100,000 a second, on one core at parallelism 1 and on two
//!    at parallelism 2. The answers must be equal.
//!
//! `TIDEMILL_NEXMARK=1000000` measures over so many events instead.

#[path = "../sql-tests/nexmark/reference.rs"]
mod reference;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use tidemill::connector::blackhole::Answer;
use tidemill::pipeline::{Engine, EngineConfig};
use tidemill::session::Session;

use crate::cores;
use crate::measure::{Took, cpu_seconds, now};

/// Events whose answer is checked, and their time: slower, so that there are a hundred seconds of windows, over midnight.
const CHECKED: &str =
    "'number-of-rows' = '200000', 'nexmark.event-rate' = '2000', 'nexmark.base-time' = '2015-07-14 23:59:20'";

/// What stands in the scripts where these are asked for.
const EVENTS_OF_SCRIPT: &str = "'number-of-rows' = '200000'";

/// Events of a query that keeps little: seconds of work, of which start-up is less than a hundredth.
const MANY: u64 = 30_000_000;

/// Events of a query that keeps each bid, or much of it.
const FEWER: u64 = 5_000_000;

/// A query's number, the events it runs over, and what is aimed at, in millions of events a CPU second.
const QUERIES: &[(u32, u64, f64)] = &[
    (0, MANY, 15.0),
    (1, MANY, 13.0),
    (3, MANY, 14.0),
    (4, FEWER, 7.0),
    (5, MANY, 11.0),
    (7, FEWER, 10.0),
    (8, MANY, 13.0),
    (9, FEWER, 4.0),
    (18, FEWER, 2.5),
    (20, FEWER, 2.0),
];

/// Measures query `number` on one core and on two.
pub fn query(number: u32) -> Result<(), String> {
    let (_, events, estimate) = known(number)?;
    Script::read(number)?.check()?;
    let part = ["nexmark", &number.to_string()];
    let (alone, one) = cores::on(1, &part)?;
    let (together, two) = cores::on(2, &part)?;
    if one != two {
        return Err(format!("on one core the answer is {one}, on two {two}"));
    }
    let millions = events as f64 / 1e6;
    println!(
        "nexmark_q{number}: {:.2} M events a CPU second ({:.0} % of {estimate}), {:.2} M a second of wall time; \
         on two cores {:.2} M a CPU second, {:.2} M of wall time ({:.2} times); {millions:.1} M in {:.2} s, {one}",
        millions / alone.cpu,
        100.0 * millions / alone.cpu / estimate,
        millions / alone.wall.as_secs_f64(),
        millions / together.cpu,
        millions / together.wall.as_secs_f64(),
        alone.wall.as_secs_f64() / together.wall.as_secs_f64(),
        alone.wall.as_secs_f64(),
    );
    Ok(())
}

/// The measured run, on the cores that this process has.
pub fn part(number: &str, cores: NonZeroUsize) -> cores::Outcome {
    let number = number.parse().map_err(|_| "no number of a query")?;
    let (_, events, _) = known(number)?;
    let script = Script::read(number)?;
    let over = script.text.replace(EVENTS_OF_SCRIPT, &format!("'number-of-rows' = '{events}'"));
    let (answer, took) = script.run(&over, cores)?;
    Ok((took, format!("{} rows, digest {:016x}", answer.rows, answer.digest)))
}

/// What is known of a query, with the events that are asked for.
fn known(number: u32) -> Result<(u32, u64, f64), String> {
    let (_, events, estimate) = QUERIES.iter().find(|(n, ..)| *n == number).ok_or("no such query")?;
    let asked = std::env::var("TIDEMILL_NEXMARK").ok().and_then(|s| s.parse().ok());
    Ok((number, asked.unwrap_or(*events), *estimate))
}

fn two() -> Result<NonZeroUsize, String> {
    NonZeroUsize::new(2).ok_or_else(|| "parallelism 0".into())
}

struct Script {
    query: String,
    text: String,
}

impl Script {
    fn read(number: u32) -> Result<Script, String> {
        let query = format!("q{number}");
        let text = reference::read(root(), &format!("examples/nexmark/{query}.sql"))?;
        Ok(Script { query, text })
    }

    /// Fails unless the answer over a few events is right.
    fn check(&self) -> Result<(), String> {
        let text = self.text.replace(EVENTS_OF_SCRIPT, CHECKED);
        let rows = on_engine(NonZeroUsize::MIN, async |engine| {
            reference::all_at_once(engine, root(), &self.query, &text).await
        })?;
        for parallelism in [NonZeroUsize::MIN, two()?] {
            on_engine(parallelism, async |engine| {
                let (answer, schema) = reference::answer(engine, &self.query, &text).await?;
                reference::compare(&answer, &rows, &schema)
            })?;
        }
        Ok(())
    }

    /// Runs `text`, and tells what came out and what its last statement, the job, took.
    fn run(&self, text: &str, parallelism: NonZeroUsize) -> Result<(Answer, Took), String> {
        let (declared, job) = text.split_once("CREATE STREAMING JOB").ok_or("the script has no job")?;
        let job = format!("CREATE STREAMING JOB{job}");
        on_engine(parallelism, async |engine| {
            reference::execute(&mut Session::new(Arc::clone(engine)), declared).await?;
            let (began, cpu) = (now(), cpu_seconds()?);
            let (answer, _) = reference::answer(engine, &self.query, &job).await?;
            Ok((answer, Took { wall: began.elapsed(), cpu: cpu_seconds()? - cpu }))
        })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn on_engine<T>(
    parallelism: NonZeroUsize,
    work: impl AsyncFnOnce(&Arc<Engine>) -> Result<T, String>,
) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(async {
        let config = EngineConfig { parallelism, ..EngineConfig::default() };
        let engine = Engine::open(config).await.map_err(|e| format!("{e:?}"))?;
        let outcome = work(&engine).await;
        engine.shutdown().await;
        outcome
    })
}
