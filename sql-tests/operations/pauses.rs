//! PAUSE and RESUME.

use super::{Bench, Outcome, Test, check, lines};

pub const TESTS: &[Test] = &[
    ("a_paused_job_reads_nothing_and_goes_on_where_it_was", a_paused_job_reads_nothing_and_goes_on_where_it_was),
    ("a_paused_job_is_stopped", a_paused_job_is_stopped),
    ("a_job_that_reads_views_is_not_paused", a_job_that_reads_views_is_not_paused),
];

const ROWS: usize = 1500;

const JOB: &str = "CREATE SOURCE n (a BIGINT) WITH ('connector' = 'generator', 'fields.a.kind' = 'sequence',
        'rows-per-second' = '1000', 'number-of-rows' = '1500');
    CREATE SINK out (a BIGINT) WITH ('connector' = 'file', 'path' = '$DIR/out.jsonl', 'format' = 'json');
    CREATE STREAMING JOB j AS INSERT INTO out SELECT a FROM n";

/// Waits until the job has read something, and pauses it; how many rows it has read.
fn paused(bench: &Bench) -> Outcome<String> {
    bench.sql(JOB)?;
    let reads = |rows: &[super::Row]| rows.first()?.get("input_rows").filter(|n| *n != "0").map(drop);
    bench.wait_for("it reads", "SHOW JOBS", reads)?;
    bench.sql("PAUSE STREAMING JOB j")?;
    check!(bench.of_job("j", "state")? == "PAUSED", "as soon as it is said");
    bench.of_job("j", "input_rows")
}

fn a_paused_job_reads_nothing_and_goes_on_where_it_was(bench: &mut Bench) -> Outcome {
    let read = paused(bench)?;
    check!(read.parse::<usize>().is_ok_and(|n| n < ROWS), "{read} rows were read before it was paused");
    // What it has computed is delivered; what comes meanwhile is not read.
    let delivered = |rows: &[super::Row]| rows.first()?.get("delivered_rows").filter(|n| **n == read).map(drop);
    bench.wait_for("all is delivered", "SHOW JOBS", delivered)?;
    bench.sql("PAUSE JOB j")?;
    for _ in 0..20 {
        std::thread::sleep(super::LOOK_AGAIN);
        check!(bench.of_job("j", "input_rows")? == read, "a paused job reads");
    }
    bench.sql("RESUME JOB j; RESUME STREAMING JOB j")?;
    let more = |rows: &[super::Row]| rows.first()?.get("input_rows").filter(|n| **n != read).map(drop);
    bench.wait_for("it goes on", "SHOW JOBS", more)?;
    bench.sql("PAUSE j")?;

    let read = bench.of_job("j", "input_rows")?;
    bench.restart()?;
    check!(bench.of_job("j", "state")? == "PAUSED", "after a restart");
    check!(bench.of_job("j", "input_rows")? == read, "figures after a restart");
    bench.sql("RESUME STREAMING JOB j")?;
    bench.wait_for_state("j", "FINISHED")?;
    check!(bench.of_job("j", "input_rows")? == ROWS.to_string(), "each row was read once");
    let lines = lines(bench, "out.jsonl")?;
    check!(lines.len() == ROWS && lines.windows(2).all(|pair| pair[0] != pair[1]), "each row was written once");
    Ok(())
}

fn a_paused_job_is_stopped(bench: &mut Bench) -> Outcome {
    let read = paused(bench)?;
    bench.sql("STOP STREAMING JOB j")?;
    check!(bench.of_job("j", "state")? == "STOPPED", "stopped");
    check!(lines(bench, "out.jsonl")?.len().to_string() == read, "what it had read is written");
    let refused = bench.sql("RESUME JOB j");
    check!(refused == Err("55000: streaming job \"j\" cannot be resumed: it is STOPPED".into()), "{refused:?}");
    let refused = bench.sql("PAUSE JOB j");
    check!(refused == Err("55000: streaming job \"j\" is not running: it is STOPPED".into()), "{refused:?}");
    // One that was paused by an earlier process, likewise.
    bench.sql("DROP STREAMING JOB j; DROP SOURCE n; DROP SINK out")?;
    paused(bench)?;
    bench.restart()?;
    bench.sql("CANCEL STREAMING JOB j")?;
    check!(bench.of_job("j", "state")? == "CANCELED", "canceled");
    bench.restart()?;
    check!(bench.of_job("j", "state")? == "CANCELED", "and so it stays");
    Ok(())
}

fn a_job_that_reads_views_is_not_paused(bench: &mut Bench) -> Outcome {
    bench.sql(
        "CREATE SOURCE n (a BIGINT) WITH ('connector' = 'generator', 'rows-per-second' = '1');
         CREATE SINK hole (a BIGINT) WITH ('connector' = 'blackhole');
         CREATE MATERIALIZED VIEW v AS SELECT a FROM n;
         CREATE STREAMING JOB j AS INSERT INTO hole SELECT a FROM v",
    )?;
    for statement in ["PAUSE JOB j", "ALTER JOB j SET PARALLELISM 3"] {
        let refused = bench.sql(statement);
        check!(
            matches!(&refused, Err(why) if why.starts_with("0A000: ") && why.contains("reads views")),
            "{refused:?}"
        );
    }
    Ok(())
}
