//! SHOW EPOCHS and the metrics of epochs.

use super::{Bench, Outcome, Row, Test, check, number};

pub const TESTS: &[Test] = &[
    ("epochs_are_shown_with_their_steps_and_sizes", epochs_are_shown_with_their_steps_and_sizes),
    ("views_share_the_epochs_of_their_pipeline", views_share_the_epochs_of_their_pipeline),
];

const PACED: &str = "CREATE SOURCE n (a BIGINT) WITH ('connector' = 'generator', 'fields.a.kind' = 'sequence',
        'rows-per-second' = '2000', 'number-of-rows' = '400');
    CREATE SINK nowhere (k BIGINT, c BIGINT) WITH ('connector' = 'blackhole');";

fn complete(rows: &[Row]) -> Vec<&Row> {
    rows.iter().filter(|row| row.get("state").is_some_and(|state| state == "COMPLETE")).collect()
}

fn epochs_are_shown_with_their_steps_and_sizes(bench: &mut Bench) -> Outcome {
    bench.sql(PACED)?;
    bench.sql("CREATE STREAMING JOB j AS INSERT INTO nowhere SELECT a % 50, count(*) FROM n GROUP BY a % 50")?;
    bench.wait_for_state("j", "FINISHED")?;
    let rows = bench.sql("SHOW EPOCHS FOR STREAMING JOB j")?;
    let complete = complete(&rows);
    check!(complete.len() > 1, "{rows:#?}");
    let mut last = f64::INFINITY;
    for row in &complete {
        let epoch = number(row, "epoch")?;
        check!(epoch < last, "the newest comes first: {rows:#?}");
        last = epoch;
        let (stall, freeze, drain) = (number(row, "stall_ms")?, number(row, "freeze_ms")?, number(row, "drain_ms")?);
        check!(freeze <= stall && stall <= freeze + drain + 0.001, "{row:#?}");
        let steps = freeze + drain + number(row, "upload_ms")? + number(row, "commit_ms")?;
        check!(steps <= number(row, "duration_ms")? + 0.01, "{row:#?}");
        check!(number(row, "entries")? <= 50.0, "{row:#?}");
        check!(number(row, "new_bytes")? <= number(row, "total_bytes")?, "{row:#?}");
    }
    let entries: f64 = complete.iter().filter_map(|row| number(row, "entries").ok()).sum();
    check!(entries >= 50.0, "each key has changed: {rows:#?}");

    // Nothing changes any more, so there are no epochs, and no records of them.
    bench.restart()?;
    check!(bench.sql("SHOW EPOCHS FOR JOB j")?.is_empty(), "of an earlier process");
    bench.sql("DROP STREAMING JOB j")?;
    check!(bench.sql("SHOW EPOCHS FOR JOB j").is_err(), "of a job that is gone");
    Ok(())
}

fn views_share_the_epochs_of_their_pipeline(bench: &mut Bench) -> Outcome {
    bench.sql(PACED)?;
    bench.sql(
        "CREATE MATERIALIZED VIEW v AS SELECT a % 50 AS k, count(*) AS c FROM n GROUP BY a % 50;
         CREATE MATERIALIZED VIEW w AS SELECT sum(c) AS total FROM v;
         CREATE STREAMING JOB j AS INSERT INTO nowhere SELECT k, c FROM v;",
    )?;
    let settled = |rows: &[Row]| rows.first()?.get("total").filter(|total| *total == "400").map(drop);
    bench.wait_for("the whole input", "SELECT total FROM w", settled)?;
    let seen = |what: &str| {
        bench.wait_for("an epoch", &format!("SHOW EPOCHS FOR {what}"), |rows| {
            complete(rows).last().and_then(|row| row.get("started").cloned())
        })
    };
    let first = seen("MATERIALIZED VIEW v")?;
    check!(first == seen("MATERIALIZED VIEW w")? && first == seen("JOB j")?, "{first}");
    let metrics = bench.engine()?.metrics().encode().map_err(|e| e.to_string())?;
    for series in ["tidemill_epochs_total", "tidemill_epoch_total_bytes", "tidemill_last_epoch_timestamp_seconds"] {
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("{series}{{job=\"(database)\"")));
        let value = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(f64::max);
        check!(value.is_some_and(|value| value > 0.0), "{series} is {value:?}");
    }
    Ok(())
}
