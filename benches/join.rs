//! Interval joins: what a row costs when ten rows share its key, and when ten thousand do.

use crate::engine::{expect, run};
use crate::measure::report;

/// Rows of either side.
const ROWS: u64 = 1_000_000;

/// A row a millisecond, kept for a hundred seconds: 100,000 rows on either side, dealt among `keys`. Both sides have the
/// same rows, so each has its equal, and few others, within a millisecond.
fn sides(keys: u64) -> [String; 2] {
    ["l", "r"].map(|name| {
        format!(
            "CREATE SOURCE {name} (k BIGINT, id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '100' SECOND)
             WITH ('connector' = 'generator', 'number-of-rows' = '{ROWS}', 'fields.k.min' = '0', 'fields.k.max' = '{}',
                   'fields.id.kind' = 'sequence', 'fields.ts.step' = '1 ms')",
            keys - 1
        )
    })
}

fn interval_join(name: &str, keys: u64) -> Result<(), String> {
    let [left, right] = sides(keys);
    let sink = "CREATE SINK out (l BIGINT, r BIGINT) WITH ('connector' = 'blackhole')";
    let job = "CREATE STREAMING JOB pairs AS INSERT INTO out SELECT l.id, r.id FROM l JOIN r
        ON l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '0.001' SECOND AND l.ts + INTERVAL '0.001' SECOND";
    let (input, output, took) = run(&[&left, &right, sink], job, ROWS)?;
    expect("input rows", 2 * ROWS, input)?;
    // Its equal, and one in `keys` of its neighbours.
    let expected = ROWS + 2 * ROWS / keys;
    if output.abs_diff(expected) > expected / 100 {
        return Err(format!("about {expected} pairs expected, {output} came"));
    }
    report(name, "rows", input, took, 1.5);
    Ok(())
}

pub fn few_rows_a_key() -> Result<(), String> {
    interval_join("interval_join_10", 10_000)
}

pub fn many_rows_a_key() -> Result<(), String> {
    interval_join("interval_join_10000", 10)
}
