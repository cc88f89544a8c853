//! Runs each script in several ways, which must all give the answers written in it.

use std::sync::Arc;
use std::time::Duration;

use sqllogictest::{QueryExpect, RecordOutput, StatementExpect};
use sqllogictest::{Record, Runner, TestError};

use crate::Request;
use crate::bless::{self, Correction};
use crate::database::Database;
use crate::host::{Host, Seen};
use crate::script::{Script, SqlRecord, is_checked};
use crate::tally::Tally;
use crate::variant::{self, Cuts, Variant};

/// A run that takes longer hangs: the slowest takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(request: &Request, tally: &mut Tally) {
    let scripts = match Script::all() {
        Ok(scripts) => scripts,
        Err(e) => return tally.fail(e),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return tally.fail(e),
    };
    let blessing = std::env::var_os("TIDEMILL_BLESS").is_some();
    let mut ways = if request.all { variant::all(request.seed) } else { variant::sample(request.seed) };
    if let Ok(wanted) = std::env::var("TIDEMILL_WAYS") {
        ways.retain(|way| way.to_string().contains(&wanted));
    }
    let ways = if blessing { ways.into_iter().take(1).collect() } else { ways };
    println!("seed {} (TIDEMILL_SEED={} repeats this sample), {} ways:", request.seed, request.seed, ways.len());
    ways.iter().for_each(|way| println!("  {way}"));
    for script in scripts.iter().filter(|s| tally.wants(&s.name)).collect::<Vec<_>>() {
        let mut runs = Vec::new();
        for way in &ways {
            let run = async { tokio::time::timeout(PATIENCE, run_once(script, *way, blessing, tally)).await };
            match runtime.block_on(run) {
                Ok(Ok(seen)) => runs.push((*way, seen)),
                Ok(Err(e)) => tally.fail(format_args!("{} ({way}): {e}", script.name)),
                Err(_) => tally.fail(format_args!("{} ({way}): hangs", script.name)),
            }
        }
        if !script.is_stateless() && !blessing {
            tally.count(&format!("{}: the runs differ", script.name), runs_differ(&runs));
        }
    }
    runtime.shutdown_timeout(PATIENCE);
}

/// Runs all records, and gives what was seen of the engine's inside.
async fn run_once(script: &Script, way: Variant, blessing: bool, tally: &mut Tally) -> Result<Seen, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let files = dir.path().join("files");
    std::fs::create_dir(&files).map_err(|e| e.to_string())?;
    let records = script.lay_out(&files)?;
    let host = Host::start(way, &dir.path().join("data")).await?;
    let for_sessions = Arc::clone(&host);
    let mut runner = Runner::new(move || {
        let host = Arc::clone(&for_sessions);
        async move { Ok(Database::new(host)) }
    });
    let mut corrections = Vec::new();
    for record in records {
        let checked = is_checked(&record);
        match runner.run_async(record.clone()).await {
            Ok(_) if checked => tally.pass(),
            Ok(_) => {}
            Err(error) => {
                tally.fail(format_args!("{} ({way})\n{}", error.location(), shown(&error)));
                if blessing {
                    let dir = files.to_string_lossy();
                    corrections.extend(correction(&record, runner.apply_record(record.clone()).await, &dir));
                }
            }
        }
    }
    runner.shutdown_async().await;
    let seen = host.shutdown().await;
    if !corrections.is_empty() {
        bless::correct(script.path(), &corrections)?;
    }
    Ok(seen)
}

fn shown(error: &TestError) -> String {
    error.kind().display(false).to_string()
}

/// A test that does not test is a failure: at parallelism 3 rows must have come to two shards at least, smaller cuts must
/// have made more ticks, and where recovery is rehearsed at every few of them it must have happened.
fn runs_differ(runs: &[(Variant, Seen)]) -> Result<(), String> {
    for (way, seen) in runs.iter().filter(|(way, _)| way.rehearsed.is_some() && way.cuts == Cuts::Small) {
        if seen.restarts == 0 {
            return Err(format!("nothing was restored, {way}"));
        }
    }
    for (way, seen) in runs.iter().filter(|(way, _)| way.parallelism > 1 && way.rehearsed.is_none()) {
        if seen.shards < 2 {
            return Err(format!("all rows were on {} shard(s), {way}", seen.shards));
        }
    }
    let ticks = |small: bool| {
        let cuts = if small { Cuts::Small } else { Cuts::Natural };
        // Where recovery is rehearsed a restart reads rows again: its ticks say nothing of the cuts.
        let of_kind = runs.iter().filter(move |(way, _)| way.cuts == cuts && way.rehearsed.is_none());
        of_kind.map(|(_, seen)| seen.ticks)
    };
    match (ticks(false).max(), ticks(true).min()) {
        (Some(natural), Some(small)) if small <= natural => {
            Err(format!("natural cuts made {natural} ticks, small cuts {small}"))
        }
        _ => Ok(()),
    }
}

/// What should stand in the script for the record to pass, if that can be written there.
fn correction(
    record: &SqlRecord,
    output: RecordOutput<sqllogictest::DefaultColumnType>,
    dir: &str,
) -> Option<Correction> {
    let lines = |text: String| text.replace(dir, "$DIR").lines().map(str::to_string).collect::<Vec<_>>();
    match (record, output) {
        (
            Record::Query { loc, expected: QueryExpect::Results { .. }, .. },
            RecordOutput::Query { rows, error: None, .. },
        ) => {
            let seen = rows.into_iter().flat_map(|row| lines(row.join(" "))).collect();
            Some(Correction { line: loc.line() as usize, seen, is_error: false })
        }
        (
            Record::Statement { loc, expected: StatementExpect::Error(_), .. },
            RecordOutput::Statement { error: Some(e), .. } | RecordOutput::Query { error: Some(e), .. },
        ) => Some(Correction { line: loc.line() as usize, seen: lines(e.to_string()), is_error: true }),
        _ => None,
    }
}
