//! Ticks that give more than may be held: a thousand equal numbers, joined with themselves, are a million rows.

use super::*;
use crate::dataflow::fragment::PART_BYTES;

const EQUAL: [i64; 1000] = [7; 1000];
const PAIRS: usize = EQUAL.len() * EQUAL.len();

/// All pairs of equal numbers.
const JOIN: &str = "#0 scan s [0] -> (n bigint) append_only
#1 join inner on [0 = 0] <- #0 by [0], #0 by [0] -> (n bigint, m bigint) append_only
";

/// Pairs, each as many bytes wide as a part needs to be full several times.
const WIDE: &str = "#2 project [n, repeat('x'::text, 100::bigint)] <- #1 -> (n bigint, t text) append_only
output #2 sink out";

fn bench() -> Bench {
    let mut bench = Bench::new(WHOLE);
    bench.source("s", EQUAL.len(), &[&EQUAL]);
    bench
}

fn pairs() -> View {
    let column = |name: &str| Column { name: name.into(), ty: SqlType::BigInt, not_null: false };
    View::new(schema_of(&[column("n"), column("m")]), None, true)
}

/// The rows of each part that a job with this plan hands on in its first tick, and the most that was held meanwhile.
fn parts(plan: &str) -> (Vec<usize>, usize) {
    let mut bench = bench();
    bench.add(1, plan, None, &[0]);
    let (mut parts, mut most) = (Vec::new(), 0);
    let mut result = bench.begin_tick().unwrap();
    loop {
        let batches = result.results.drain(..).flat_map(|(_, outputs)| outputs).flatten();
        let rows: usize = batches.map(|batch| batch.num_rows()).sum();
        if rows > 0 {
            parts.push(rows);
        }
        most = most.max(bench.budget.used_bytes());
        if result.over {
            return (parts, most);
        }
        result = bench.core.go_on();
    }
}

#[test]
fn a_jobs_results_leave_in_parts_and_the_same_cuts_give_the_same_parts() {
    let plan = format!("{JOIN}{WIDE}");
    let (first, most) = parts(&plan);
    assert_eq!(first.iter().sum::<usize>(), PAIRS);
    assert!(first.len() >= 3, "{first:?}");
    assert!(first.iter().all(|rows| rows * 100 < 2 * PART_BYTES), "{first:?}");
    assert!(most < 2 * PART_BYTES, "{most} bytes were held");
    assert_eq!(parts(&plan).0, first);
}

#[test]
fn a_small_tick_is_one_part() {
    let (parts, _) = parts(&format!("{JOIN}output #1 sink out"));
    assert_eq!(parts, [PAIRS], "in several turns");
}

#[test]
fn a_tick_stops_between_turns_although_it_gives_nothing() {
    let mut bench = bench();
    bench.add(
        1,
        &format!("{JOIN}#2 filter (n < 0::bigint) <- #1 -> (n bigint, m bigint) append_only\noutput #2 sink out"),
        None,
        &[0],
    );
    assert!(!bench.begin_tick().unwrap().over);
    assert!(bench.core.is_in_tick());
}

/// A thousand rows of one key on either side of a join, each another than the rest, of which no pair belongs together.
#[test]
fn a_tick_stops_between_turns_although_a_joins_condition_rejects_every_pair() {
    let at = "'2024-01-01 00:00:00'::timestamp";
    let time = "time 2/1000";
    let same_time = format!("interval_join inner {time} within 0 to 0 of {time}");
    let rows = |changelog: &str| {
        format!(
            "#0 scan s [0] -> (n bigint) append_only
#1 project [1::bigint, n, {at}] <- #0 -> (k bigint, n bigint, t timestamp(3)) {changelog}"
        )
    };
    for (join, only_if, rows, changelog) in [
        ("join inner", "condition", rows("append_only"), "append_only"),
        ("join inner", "condition", rows("changing"), "changing"),
        (same_time.as_str(), "where", rows(&format!("append_only {time}")), "append_only time 2/1000"),
    ] {
        let plan = format!(
            "{rows}
#2 {join} on [0 = 0] {only_if} ((n + n_1) < 0::bigint) <- #1 by [0], #1 by [0] -> (k bigint, n bigint, t timestamp(3), \
             k_1 bigint, n_1 bigint, t_1 timestamp(3)) {changelog}
output #2 sink out"
        );
        let mut bench = Bench::new(WHOLE);
        let numbers: Vec<i64> = (0..1000).collect();
        bench.source("s", numbers.len(), &[&numbers]);
        bench.add(1, &plan, None, &[0]);
        let mut result = bench.begin_tick().unwrap();
        assert!(!result.over, "{plan}");
        let mut turns = 1;
        while !result.over {
            result = bench.core.go_on();
            turns += 1;
        }
        assert_eq!((turns, bench.core.members()[0].failed.as_ref()), (3, None), "{plan}");
    }
}

#[test]
fn who_is_removed_within_its_tick_is_gone_at_once() {
    let mut bench = bench();
    bench.view(1, "s", &[0]);
    bench.add(2, &format!("{JOIN}{WIDE}"), None, &[0]);
    assert!(!bench.begin_tick().unwrap().over);
    let held = bench.budget.used_bytes();
    assert!(held > 1 << 20, "{held}");
    bench.core.remove(ObjectId(2));
    let result = bench.core.go_on();
    assert!(result.over && result.changed == [ObjectId(1)]);
    assert!(bench.budget.used_bytes() < held / 10);
    assert_eq!(bench.rows(1).len(), EQUAL.len());
}

#[test]
fn a_view_shows_its_tick_whole_and_fails_alone_if_that_is_too_much() {
    let mut bench = bench();
    bench.view(1, "s", &[0]);
    bench.add(2, &format!("{JOIN}output #1 view"), Some(pairs()), &[0]);
    bench.run();
    assert_eq!(bench.rows(1).len(), EQUAL.len());
    let failed = bench.core.members()[1].failed.clone().unwrap();
    assert_eq!(failed.state(), SqlState::OutOfMemory);
    assert!(bench.budget.used_bytes() < 1 << 20, "what it held is given back");

    let mut bench = Bench::new(CutPolicy { whole_bytes: 1 << 30, ..WHOLE });
    bench.source("s", EQUAL.len(), &[&EQUAL]);
    bench.add(2, &format!("{JOIN}output #1 view"), Some(pairs()), &[0]);
    let first = bench.begin_tick().unwrap();
    assert!(!first.over && first.results.is_empty());
    assert_eq!(bench.rows(2).len(), 0, "not before the tick is over");
    assert!(bench.budget.used_bytes() > 1 << 20, "what it holds is counted");
    while !bench.core.go_on().over {}
    assert_eq!(bench.rows(2).len(), PAIRS);
}
