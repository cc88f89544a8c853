//! ALTER STREAMING JOB ... SET PARALLELISM.

use super::{Bench, Outcome, Row, Test, check};

pub const TESTS: &[Test] = &[
    ("the_parallelism_of_a_job_changes_while_it_runs", the_parallelism_of_a_job_changes_while_it_runs),
    ("the_parallelism_of_a_paused_job_is_kept", the_parallelism_of_a_paused_job_is_kept),
];

const ROWS: &str = "6000";

const FIELDS: &str = "'connector' = 'generator', 'number-of-rows' = '6000', 'fields.a.kind' = 'sequence',
    'fields.ts.start' = '2020-01-01 00:00:00', 'fields.ts.step' = '100 ms'";

const QUERY: &str = "SELECT window_start AS w, a % 13 AS k, count(*) AS c, sum(a) AS s
    FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end, a % 13";

fn create(bench: &Bench) -> Outcome {
    let columns = "a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts";
    bench.sql(&format!(
        "CREATE SOURCE paced ({columns}) WITH ({FIELDS}, 'rows-per-second' = '4000');
         CREATE SINK out (w TIMESTAMP(3), k BIGINT, c BIGINT, s BIGINT)
             WITH ('connector' = 'file', 'path' = '$DIR/out.jsonl', 'format' = 'json');
         CREATE STREAMING JOB j WITH ('parallelism' = '1') AS INSERT INTO out {}",
        QUERY.replace("TABLE t", "TABLE paced")
    ))?;
    let reads = |rows: &[Row]| rows.first()?.get("input_rows").filter(|n| *n != "0").map(drop);
    bench.wait_for("it reads", "SHOW JOBS", reads)
}

/// What the job has written is what the query answers, and it has read each row once.
fn right(bench: &Bench) -> Outcome {
    bench.wait_for_state("j", "FINISHED")?;
    check!(bench.of_job("j", "input_rows")? == ROWS, "rows were read {} times", bench.of_job("j", "input_rows")?);
    bench.sql(&format!(
        "CREATE SOURCE whole (a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ({FIELDS});
         CREATE SOURCE written (w TIMESTAMP(3), k BIGINT, c BIGINT, s BIGINT)
             WITH ('connector' = 'file', 'path' = '$DIR/out.jsonl', 'format' = 'json');
         CREATE MATERIALIZED VIEW expected AS {};
         CREATE MATERIALIZED VIEW found AS SELECT w, k, c, s FROM written",
        QUERY.replace("TABLE t", "TABLE whole")
    ))?;
    let expected = bench.sql("SELECT w, k, c, s FROM expected ORDER BY w, k")?;
    let found = bench.sql("SELECT w, k, c, s FROM found ORDER BY w, k")?;
    check!(expected.len() > 300 && found == expected, "{} rows, not {}", found.len(), expected.len());
    Ok(())
}

fn the_parallelism_of_a_job_changes_while_it_runs(bench: &mut Bench) -> Outcome {
    create(bench)?;
    for shards in ["3", "2", "5", "256", "1", "4"] {
        bench.sql(&format!("ALTER STREAMING JOB j SET PARALLELISM {shards}"))?;
        check!(bench.of_job("j", "parallelism")? == shards, "not {shards}");
    }
    check!(bench.of_job("j", "state")? == "RUNNING", "it ended before all was tried");
    bench.restart()?;
    check!(bench.of_job("j", "parallelism")? == "4", "forgotten");
    right(bench)
}

fn the_parallelism_of_a_paused_job_is_kept(bench: &mut Bench) -> Outcome {
    create(bench)?;
    bench.sql("PAUSE JOB j; ALTER JOB j SET PARALLELISM = 3")?;
    check!(bench.of_job("j", "state")? == "PAUSED", "it is paused still");
    check!(bench.of_job("j", "parallelism")? == "3", "at once");
    bench.restart()?;
    bench.sql("ALTER JOB j SET PARALLELISM TO 2")?;
    check!(bench.of_job("j", "parallelism")? == "2", "in the catalog");
    bench.sql("RESUME JOB j")?;
    right(bench)
}
