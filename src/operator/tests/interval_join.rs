//! The interval join against nested loops over everything that was pushed, after every tick.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::prelude::col;

use super::random::Random;
use super::*;
use crate::plan::{IntervalJoin, JoinKey, JoinKind, Scalar, pair_schema};

const KINDS: [JoinKind; 6] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];

const NONE: i64 = i64::MIN;

#[derive(Debug, Clone)]
struct Row {
    left: bool,
    key: Option<String>,
    id: i64,
    time: Option<i64>,
    /// The watermark of the row's partition from just before it, if the row is behind it.
    judge: i64,
    /// The partition's watermark from just behind it.
    watermark: i64,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    kind: JoinKind,
    lower: i64,
    upper: i64,
    null_safe: bool,
    residual: bool,
    timed_by_right: bool,
}

fn input() -> SchemaRef {
    schema(&[("k", SqlType::Text), ("id", SqlType::BigInt), ("ts", SqlType::Timestamp(6))])
}

impl Case {
    fn left_alone(&self) -> bool {
        matches!(self.kind, JoinKind::Semi | JoinKind::Anti)
    }

    fn harness(&self, keyed: bool, way: Way) -> Harness {
        let input = input();
        let output = if self.left_alone() { input.clone() } else { pair_schema(&input, &input) };
        let residual = self.residual.then(|| Scalar::new(col("id").lt(col("id_1"))));
        let time = EventTime { column: 2, unit: 1 };
        let key = JoinKey { left: 0, right: 0, null_safe: self.null_safe };
        let op = Op::IntervalJoin(IntervalJoin {
            kind: self.kind,
            left_time: time,
            right_time: time,
            lower: self.lower,
            upper: self.upper,
            keys: if keyed { vec![key] } else { Vec::new() },
            residual,
        });
        let append = Changelog::AppendOnly;
        let result_time = EventTime { column: if self.timed_by_right { 5 } else { 2 }, unit: 1 };
        Harness::with_inputs(op, &[(&input, append), (&input, append)], (&output, append), Some(result_time), way)
            .unwrap()
    }

    /// A left row is kept while W < l - lower, a right one while W < r + upper.
    fn is_kept(&self, row: &Row, watermark: i64) -> bool {
        let until = row.time.unwrap() + if row.left { -self.lower } else { self.upper };
        watermark != i64::MAX && watermark < until
    }

    fn matches(&self, l: &Row, r: &Row) -> bool {
        let keys = if self.null_safe { l.key == r.key } else { l.key.is_some() && l.key == r.key };
        let (Some(lt), Some(rt)) = (l.time, r.time) else { return false };
        keys && (rt + self.lower..=rt + self.upper).contains(&lt)
            && self.is_kept(l, r.judge)
            && self.is_kept(r, l.judge)
            && (!self.residual || l.id < r.id)
    }

    fn is_late(&self, row: &Row) -> bool {
        row.time.is_some_and(|time| row.judge != NONE && row.judge >= time + (self.upper - self.lower).max(0))
    }

    /// The watermark behind the join.
    fn behind(&self, watermark: i64) -> i64 {
        match watermark {
            i64::MIN | i64::MAX => watermark,
            w if self.timed_by_right => w - self.upper.max(0),
            w => w + self.lower.min(0),
        }
    }

    /// All rows out by the end of a tick, each with its judge, and how often.
    fn twin(&self, rows: &[Row], watermark: i64) -> BTreeMap<String, i64> {
        let mut out = BTreeMap::new();
        let mut emit = |l: Option<&Row>, r: Option<&Row>| {
            let judge = [l, r].into_iter().flatten().map(|row| row.judge).max().unwrap();
            let time = if self.timed_by_right { r } else { l }.and_then(|row| row.time);
            let behind = self.behind(judge);
            let judge = if time.is_some_and(|time| time <= behind) { behind } else { NONE };
            let shown = |row: Option<&Row>| row.map_or("-".into(), |row| format!("{}", row.id));
            let right = if self.left_alone() { String::new() } else { shown(r) };
            *out.entry(format!("{} {right} @{judge}", shown(l))).or_default() += 1;
        };
        let (left, right): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.left);
        for l in &left {
            let partners: Vec<&&Row> = right.iter().filter(|r| self.matches(l, r)).collect();
            match self.kind {
                JoinKind::Semi if !partners.is_empty() => emit(Some(l), None),
                JoinKind::Semi | JoinKind::Anti => {}
                _ => partners.iter().for_each(|r| emit(Some(l), Some(r))),
            }
            if partners.is_empty()
                && matches!(self.kind, JoinKind::Left | JoinKind::Full | JoinKind::Anti)
                && self.is_over(l, watermark)
            {
                emit(Some(l), None);
            }
        }
        for r in right.iter().filter(|_| matches!(self.kind, JoinKind::Right | JoinKind::Full)) {
            if !left.iter().any(|l| self.matches(l, r)) && self.is_over(r, watermark) {
                emit(None, Some(r));
            }
        }
        out
    }

    /// No partner can come any more.
    fn is_over(&self, row: &Row, watermark: i64) -> bool {
        let null_key = row.key.is_none() && !self.null_safe;
        row.time.is_none() || null_key || self.is_late(row) || self.lower > self.upper || !self.is_kept(row, watermark)
    }
}

fn batch(rows: &[Row]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.key.as_deref()).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|r| Some(r.id)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.time).collect::<TimestampMicrosecondArray>()),
    ];
    let judges = rows.iter().any(|r| r.judge != NONE).then(|| rows.iter().map(|r| r.judge).collect());
    let rows = RecordBatch::try_new(input(), columns).unwrap();
    ChangeBatch::append_only(rows).with_judges(judges).unwrap()
}

/// Both sides' rows in the order in which they come: two partitions, each with rows behind its own watermark.
fn stream(random: &mut Random, rows: i64, keys: u64) -> Vec<Row> {
    let (mut clocks, mut watermarks) = ([0i64; 2], [NONE; 2]);
    (0..rows)
        .map(|id| {
            let side = random.below(2) as usize;
            clocks[side] += random.below(5) as i64;
            let back = if random.one_in(3) { random.below(25) as i64 } else { 0 };
            let time = clocks[side] - back;
            let judge = if time <= watermarks[side] { watermarks[side] } else { NONE };
            watermarks[side] = watermarks[side].max(time - 3);
            Row {
                left: side == 0,
                key: (!random.one_in(12)).then(|| "x".repeat(random.below(keys) as usize)),
                // Some rows come twice.
                id: id - i64::from(random.one_in(6)),
                time: (!random.one_in(20)).then_some(time),
                judge,
                watermark: watermarks[side],
            }
        })
        .map(|row| Row { judge: if row.time.is_some() { row.judge } else { NONE }, ..row })
        .collect()
}

fn shown(case: &Case, out: &[ChangeBatch], into: &mut BTreeMap<String, i64>, watermark: i64) {
    for chunk in out {
        let id = |column: usize, row: usize| {
            let ids = chunk.column(column).as_primitive::<Int64Type>();
            if ids.is_null(row) { "-".into() } else { ids.value(row).to_string() }
        };
        let times = chunk.column(if case.timed_by_right { 5 } else { 2 }).as_primitive::<TimestampMicrosecondType>();
        for row in 0..chunk.num_rows() {
            let judge = chunk.judge(row).0;
            if judge == NONE && times.is_valid(row) {
                assert!(times.value(row) > case.behind(watermark), "a row is behind the watermark and says nothing");
            }
            let right = if case.left_alone() { String::new() } else { id(4, row) };
            *into.entry(format!("{} {right} @{judge}", id(1, row))).or_default() += 1;
        }
    }
}

/// Pushes a stream cut at random; after each tick everything out so far is what the twin says.
fn check(case: &Case, rows: &[Row], random: &mut Random, way: Way) {
    let mut harness = case.harness(true, way);
    let (mut seen, mut pushed, mut watermarks) = (BTreeMap::new(), 0, [NONE; 2]);
    let mut least = NONE;
    loop {
        let ended = pushed == rows.len();
        let tick = &rows[pushed..(pushed + 1 + random.below(40) as usize).min(rows.len())];
        let mut out = Vec::new();
        let mut from = 0;
        while from < tick.len() {
            let same = tick[from..].iter().take_while(|row| row.left == tick[from].left).count();
            harness.push_to(usize::from(!tick[from].left), &batch(&tick[from..from + same]), &mut out).unwrap();
            from += same;
        }
        tick.iter().for_each(|row| watermarks[usize::from(!row.left)] = row.watermark);
        pushed += tick.len();
        let before = least;
        least = if ended { i64::MAX } else { watermarks[0].min(watermarks[1]) };
        let ends = if ended { [i64::MAX; 2] } else { watermarks };
        harness.end_tick_at(ends.map(Watermark).to_vec(), &mut out).unwrap();
        shown(case, &out, &mut seen, before);
        let want = case.twin(&rows[..pushed], least);
        assert_eq!(seen, want, "{case:?} after {pushed} rows at {least}, {way:?}");
        if ended {
            break;
        }
    }
    let late = rows.iter().filter(|row| case.is_late(row)).count() as u64;
    assert_eq!(harness.late_rows(), late);
    assert_eq!(harness.operator.tables().iter().map(|t| t.entries()).sum::<usize>(), 0, "nothing is left");
}

#[test]
fn joins_follow_nested_loops_however_the_input_is_cut() {
    let ranges = [(0, 0), (-5, 3), (0, 7), (-7, 0), (2, 9), (-9, -2), (4, 4), (-20, 20), (3, 1)];
    for seed in 0..18 {
        for kind in KINDS {
            let mut random = Random(seed * 100 + kind as u64);
            let (lower, upper) = ranges[seed as usize % ranges.len()];
            let case = Case {
                kind,
                lower,
                upper,
                null_safe: random.one_in(3),
                residual: random.one_in(2),
                timed_by_right: !matches!(kind, JoinKind::Semi | JoinKind::Anti) && random.one_in(2),
            };
            let rows = stream(&mut random, 80, 3);
            for way in WAYS {
                check(&case, &rows, &mut random, way);
            }
        }
    }
}

#[test]
fn the_watermark_behind_lags_as_far_as_results_can() {
    let behind = |lower, upper, timed_by_right, left, right| {
        let case = Case { kind: JoinKind::Inner, lower, upper, null_safe: false, residual: false, timed_by_right };
        case.harness(true, WAYS[0]).operator.watermark(&[Watermark(left), Watermark(right)], 0).0
    };
    assert_eq!(behind(-5, 3, false, 20, 10), 5);
    assert_eq!(behind(5, 8, false, 20, 10), 10);
    assert_eq!(behind(-5, 3, true, 10, 20), 7);
    assert_eq!(behind(-5, -3, true, 10, 20), 10);
    assert_eq!(behind(-5, 3, false, i64::MIN, 20), i64::MIN);
    assert_eq!(behind(-5, 3, false, i64::MAX, i64::MAX), i64::MAX);
    assert_eq!(behind(i64::MIN, i64::MAX, true, 0, 0), -i64::MAX);
}

/// One row may match very many: output comes in chunks, and nothing is lost between them.
#[test]
fn one_row_meets_a_hundred_thousand() {
    let many = 100_000;
    let row = |left, id, time| Row { left, key: Some("k".into()), id, time: Some(time), judge: NONE, watermark: NONE };
    for kind in KINDS {
        let case = Case { kind, lower: -10, upper: 10, null_safe: false, residual: false, timed_by_right: false };
        let mut harness = case.harness(false, WAYS[0]);
        let (mut out, mut none) = (Vec::new(), Vec::new());
        // Half of them are equal.
        let rows: Vec<Row> = (0..many).map(|i| row(true, i.min(many / 2), i % 7)).collect();
        harness.push_to(0, &batch(&rows), &mut none).unwrap();
        assert!(none.is_empty());
        harness.push_to(1, &batch(&[row(false, 1, 3)]), &mut out).unwrap();
        harness.end_tick_at(vec![Watermark::END; 2], &mut none).unwrap();
        let pairs: usize = out.iter().map(ChangeBatch::num_rows).sum();
        assert_eq!(pairs as i64, if kind == JoinKind::Anti { 0 } else { many }, "{kind}");
        assert!(none.is_empty());
        // Without a partner, all of them are due at once.
        let mut harness = case.harness(false, WAYS[2]);
        let mut out = Vec::new();
        harness.push_to(0, &batch(&rows[..many as usize / 5]), &mut out).unwrap();
        harness.end_tick_at(vec![Watermark::END; 2], &mut out).unwrap();
        let padded = matches!(kind, JoinKind::Left | JoinKind::Full | JoinKind::Anti);
        let given: usize = out.iter().map(ChangeBatch::num_rows).sum();
        assert_eq!(given as i64, if padded { many / 5 } else { 0 }, "{kind}");
    }
}
