//! Jobs that fail and are started again.

use std::fs;

use super::{Bench, Outcome, Row, Test, check, lines};

pub const TESTS: &[Test] = &[
    ("a_job_is_tried_again_until_what_it_needs_is_back", a_job_is_tried_again_until_what_it_needs_is_back),
    ("a_strategy_comes_to_its_end", a_strategy_comes_to_its_end),
    ("what_cannot_be_computed_is_not_tried_again", what_cannot_be_computed_is_not_tried_again),
];

const ROWS: usize = 600;

/// A job with these options, at work; then its server ends, and the folder that it writes into is gone.
fn without_its_folder(bench: &mut Bench, options: &str) -> Outcome {
    fs::create_dir(bench.dir().join("out")).map_err(|e| e.to_string())?;
    bench.sql(&format!(
        "CREATE SOURCE n (a BIGINT) WITH ('connector' = 'generator', 'fields.a.kind' = 'sequence',
             'rows-per-second' = '1000', 'number-of-rows' = '{ROWS}');
         CREATE SINK out (a BIGINT) WITH ('connector' = 'file', 'path' = '$DIR/out/rows.jsonl', 'format' = 'json');
         CREATE STREAMING JOB j WITH ({options}) AS INSERT INTO out SELECT a FROM n",
    ))?;
    let reads = |rows: &[Row]| rows.first()?.get("input_rows").filter(|n| *n != "0").map(drop);
    bench.wait_for("it reads", "SHOW JOBS", reads)?;
    bench.close();
    fs::rename(bench.dir().join("out"), bench.dir().join("away")).map_err(|e| e.to_string())?;
    bench.restart()
}

fn back(bench: &Bench) -> Outcome {
    fs::rename(bench.dir().join("away"), bench.dir().join("out")).map_err(|e| e.to_string())
}

/// All of the source has been written, each row once.
fn whole(bench: &Bench) -> Outcome {
    bench.wait_for_state("j", "FINISHED")?;
    let lines = lines(bench, "out/rows.jsonl")?;
    check!(lines.len() == ROWS && lines.windows(2).all(|pair| pair[0] != pair[1]), "{} lines", lines.len());
    Ok(())
}

fn a_job_is_tried_again_until_what_it_needs_is_back(bench: &mut Bench) -> Outcome {
    without_its_folder(
        bench,
        "'restart.exponential-delay.initial-backoff' = '5 ms', 'restart.exponential-delay.max-backoff' = '20 ms'",
    )?;
    let tried = bench.wait_for("it is tried again and again", "SHOW JOBS", |rows| {
        let row = rows.first().filter(|row| row.get("state").is_some_and(|state| state == "RESTARTING"))?;
        row.get("restarts").filter(|n| n.parse().is_ok_and(|n: u64| n >= 3))?;
        Some(row.clone())
    })?;
    check!(tried.get("reason").is_some_and(|why| why.contains("out/rows.jsonl")), "{tried:?}");
    check!(tried.contains_key("next_restart"), "{tried:?}");
    back(bench)?;
    whole(bench)
}

fn a_strategy_comes_to_its_end(bench: &mut Bench) -> Outcome {
    let options = "'restart.strategy' = 'fixed-delay', 'restart.fixed-delay.attempts' = '2', 'restart.fixed-delay.delay' = '5 ms'";
    without_its_folder(bench, options)?;
    bench.wait_for_state("j", "FAILED")?;
    check!(bench.of_job("j", "restarts")? == "2", "as often as it was allowed");
    check!(bench.of_job("j", "next_restart")?.is_empty(), "no more");
    // Whoever has mended it says so.
    back(bench)?;
    bench.sql("RESUME STREAMING JOB j")?;
    whole(bench)
}

fn what_cannot_be_computed_is_not_tried_again(bench: &mut Bench) -> Outcome {
    bench.sql(
        "CREATE SOURCE n (a BIGINT) WITH ('connector' = 'generator', 'fields.a.kind' = 'sequence', 'number-of-rows' = '100');
         CREATE SINK hole (a BIGINT) WITH ('connector' = 'blackhole');
         CREATE STREAMING JOB j AS INSERT INTO hole SELECT 1 / (a - 50) FROM n",
    )?;
    bench.wait_for_state("j", "FAILED")?;
    check!(bench.of_job("j", "restarts")? == "0", "it was tried again");
    check!(bench.of_job("j", "reason")?.contains("division by zero"), "its reason");
    Ok(())
}
