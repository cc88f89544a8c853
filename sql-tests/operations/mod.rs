//! What whoever runs jobs sees of them: on an engine that stores its epochs, and is opened anew on them.

#![expect(clippy::disallowed_methods, reason = "tests have patience, which ends by the clock")]

mod epochs;
mod pauses;
mod restarts;
mod shards;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidemill::checkpoint::EpochOptions;
use tidemill::pipeline::{Engine, EngineConfig};
use tidemill::server::grid::Grid;
use tidemill::session::{Body, Session};
use tokio::runtime::Runtime;

use crate::tally::Tally;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

type Outcome<T = ()> = Result<T, String>;
type Test = (&'static str, fn(&mut Bench) -> Outcome);

pub fn run(tally: &mut Tally) {
    for (name, test) in [epochs::TESTS, pauses::TESTS, restarts::TESTS, shards::TESTS].concat() {
        let name = format!("operations::{name}");
        if tally.wants(&name) {
            tally.count(&name, Bench::open().and_then(|mut bench| test(&mut bench)));
        }
    }
}

/// An engine, its data and its clients.
struct Bench {
    runtime: Runtime,
    data: TempDir,
    /// None while it is opened anew.
    engine: Option<Arc<Engine>>,
}

/// A row by the names of its columns; a null is not in it.
type Row = BTreeMap<String, String>;

impl Bench {
    fn open() -> Outcome<Bench> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let data = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut bench = Bench { runtime, data, engine: None };
        bench.restart()?;
        Ok(bench)
    }

    /// Shuts the engine down, if there is one, and opens it on its data.
    fn restart(&mut self) -> Outcome {
        self.close();
        let config = EngineConfig {
            data_dir: Some(self.data.path().join("data")),
            parallelism: NonZeroUsize::new(2).ok_or("no shards")?,
            epochs: EpochOptions { interval: Duration::from_millis(20), ..EpochOptions::default() },
            ..EngineConfig::default()
        };
        let engine = self.runtime.block_on(Engine::open(config)).map_err(|e| format!("{e:?}"))?;
        self.engine = Some(engine);
        Ok(())
    }

    fn close(&mut self) {
        if let Some(engine) = self.engine.take() {
            self.runtime.block_on(engine.shutdown());
        }
    }

    /// A folder for whatever a test reads and writes.
    fn dir(&self) -> &Path {
        self.data.path()
    }

    fn engine(&self) -> Outcome<&Arc<Engine>> {
        self.engine.as_ref().ok_or_else(|| "the engine is not open".to_string())
    }

    /// Runs statements, `$DIR` being the test's folder, and gives the rows of the last one.
    fn sql(&self, text: &str) -> Outcome<Vec<Row>> {
        let text = text.replace("$DIR", &self.dir().display().to_string());
        let mut session = Session::new(Arc::clone(self.engine()?));
        self.runtime.block_on(async {
            let mut rows = Vec::new();
            for statement in session.parse(&text).map_err(|e| format!("{}: {e}", e.state().code()))? {
                let answer = tokio::time::timeout(PATIENCE, session.execute(&statement, &[])).await;
                let answer = answer.map_err(|_| format!("no answer: {text}"))?;
                rows.clear();
                if let Body::Rows(set) = answer.map_err(|e| format!("{}: {e}", e.state().code()))?.body {
                    let grid = Grid::collect(&set.schema, set.stream, chrono_tz::UTC).await;
                    let Grid { names, rows: values, .. } = grid.map_err(|e| format!("{e:?}"))?;
                    let row = |values: Vec<Option<String>>| -> Row {
                        names.iter().cloned().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
                    };
                    rows = values.into_iter().map(row).collect();
                }
            }
            Ok(rows)
        })
    }

    /// Asks again until `found` finds in the rows what is waited for.
    fn wait_for<T>(&self, what: &str, sql: &str, found: impl Fn(&[Row]) -> Option<T>) -> Outcome<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            let rows = self.sql(sql)?;
            if let Some(found) = found(&rows) {
                return Ok(found);
            }
            if Instant::now() > until {
                return Err(format!("never: {what}; last seen: {rows:#?}"));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// What stands in a column of the job's row in SHOW JOBS.
    fn of_job(&self, job: &str, column: &str) -> Outcome<String> {
        let rows = self.sql("SHOW JOBS")?;
        let row = rows.into_iter().find(|row| row.get("name").is_some_and(|name| name == job));
        Ok(row.ok_or("no such job")?.remove(column).unwrap_or_default())
    }

    fn wait_for_state(&self, job: &str, state: &str) -> Outcome {
        let is_it =
            |row: &Row| row.get("name").is_some_and(|n| n == job) && row.get("state").is_some_and(|s| s == state);
        self.wait_for(&format!("{job} {state}"), "SHOW JOBS", |rows| rows.iter().any(is_it).then_some(()))
    }
}

fn number(row: &Row, column: &str) -> Outcome<f64> {
    let text = row.get(column).ok_or_else(|| format!("no {column} in {row:?}"))?;
    text.parse().map_err(|_| format!("{column} is {text}"))
}

/// The lines of a file in the test's folder, sorted.
fn lines(bench: &Bench, file: &str) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(bench.dir().join(file)).map_err(|e| e.to_string())?;
    let mut lines: Vec<_> = text.lines().map(str::to_string).collect();
    lines.sort();
    Ok(lines)
}

/// Checks a condition; what it is about is shown if it does not hold.
macro_rules! check {
    ($condition:expr, $($about:tt)*) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!("{}: {}", stringify!($condition), format_args!($($about)*)));
        }
    };
}
use check;
