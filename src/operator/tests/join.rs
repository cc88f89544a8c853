//! Joins against nested loops over all rows, on random changes of both inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use datafusion::prelude::col;

use super::random::Random;
use super::*;
use crate::change::consolidate::consolidate;
use crate::plan::{JoinKey, JoinKind, Scalar};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: Option<i64>,
    name: Option<String>,
    value: Option<i64>,
}

/// Rows by how often they are there.
type Counts<T> = BTreeMap<T, i64>;

/// A row of the output: a side that is not there is none.
type Output = (Option<Row>, Option<Row>);

/// What a join is asked to do, in the twin's terms.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: JoinKind,
    /// `key` is compared; by IS NOT DISTINCT FROM; and so is `name`, always by that.
    by_key: bool,
    null_safe: bool,
    by_name: bool,
    /// left.value < right.value
    condition: bool,
    append_only: bool,
}

impl Case {
    fn matches(self, left: &Row, right: &Row) -> bool {
        let key = !self.by_key || (left.key == right.key && (self.null_safe || left.key.is_some()));
        let name = !self.by_name || left.name == right.name;
        let value = matches!((left.value, right.value), (Some(l), Some(r)) if l < r);
        key && name && (value || !self.condition)
    }

    fn output_changelog(self) -> Changelog {
        match self.kind {
            JoinKind::Inner | JoinKind::Semi if self.append_only => Changelog::AppendOnly,
            _ => Changelog::Changing,
        }
    }

    fn harness(self, way: Way) -> Harness {
        let mut on = Vec::new();
        if self.by_key {
            on.push(JoinKey { left: 0, right: 0, null_safe: self.null_safe });
        }
        if self.by_name {
            on.push(JoinKey { left: 1, right: 1, null_safe: true });
        }
        let condition = self.condition.then(|| Scalar::new(col("value").lt(col("value_1"))));
        let input = input_schema();
        let output =
            if self.kind.gives_pairs() { crate::plan::pair_schema(&input, &input) } else { Arc::clone(&input) };
        let changelog = if self.append_only { Changelog::AppendOnly } else { Changelog::Changing };
        let inputs = [(&input, changelog), (&input, changelog)];
        let op = Op::Join { kind: self.kind, on, condition, at_once: false };
        Harness::with_inputs(op, &inputs, (&output, self.output_changelog()), None, way).unwrap()
    }

    /// All rows of the answer, the obvious way.
    fn answer(self, left: &Counts<Row>, right: &Counts<Row>) -> Counts<Output> {
        let mut answer = Counts::new();
        let mut add = |output: Output, count: i64| *answer.entry(output).or_default() += count;
        for (l, l_count) in left {
            let partners: Vec<_> = right.iter().filter(|(r, _)| self.matches(l, r)).collect();
            let alone = match self.kind {
                JoinKind::Left | JoinKind::Full | JoinKind::Anti => partners.is_empty(),
                JoinKind::Semi => !partners.is_empty(),
                JoinKind::Inner | JoinKind::Right => false,
            };
            if alone {
                add((Some(l.clone()), None), *l_count);
            }
            if self.kind.gives_pairs() {
                partners.iter().for_each(|(r, count)| add((Some(l.clone()), Some((*r).clone())), l_count * **count));
            }
        }
        if matches!(self.kind, JoinKind::Right | JoinKind::Full) {
            for (r, count) in right.iter().filter(|(r, _)| !left.keys().any(|l| self.matches(l, r))) {
                add((None, Some(r.clone())), *count);
            }
        }
        answer
    }
}

fn input_schema() -> SchemaRef {
    schema(&[("key", SqlType::BigInt), ("name", SqlType::Text), ("value", SqlType::BigInt)])
}

fn batch(rows: &[(Row, i64)]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(r, _)| r.key).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(r, _)| r.name.as_deref()).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|(r, _)| r.value).collect::<Int64Array>()),
    ];
    let weights = rows.iter().any(|(_, w)| *w != 1).then(|| rows.iter().map(|(_, w)| *w).collect());
    ChangeBatch::new(RecordBatch::try_new(input_schema(), columns).unwrap(), weights).unwrap()
}

/// The row whose columns begin at `from`; none if it is padding. (Rows of tests have a value or a name.)
fn read(batch: &ChangeBatch, from: usize, row: usize) -> Option<Row> {
    if batch.rows().num_columns() <= from {
        return None;
    }
    let number = |at: usize| {
        let column = batch.column(from + at).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let names = batch.column(from + 1).as_string_view();
    let name = names.is_valid(row).then(|| names.value(row).to_string());
    let read = Row { key: number(0), name, value: number(2) };
    (read.name.is_some() || read.value.is_some()).then_some(read)
}

fn apply(shown: &mut Counts<Output>, change: &ChangeBatch) {
    for row in 0..change.num_rows() {
        let output = (read(change, 0, row), read(change, 3, row));
        let count = shown.entry(output.clone()).or_default();
        *count += change.weight(row);
        if *count == 0 {
            shown.remove(&output);
        }
    }
}

fn random_row(random: &mut Random, keys: u64) -> Row {
    let value = (!random.one_in(6)).then(|| random.below(4) as i64);
    let name = (value.is_none() || !random.one_in(4)).then(|| format!("n{}", random.below(2)));
    Row { key: (!random.one_in(8)).then(|| random.below(keys) as i64), name, value }
}

/// Some changes of a side: rows that come, and rows that go.
fn random_changes(random: &mut Random, rows: &mut Counts<Row>, case: Case, keys: u64, most: u64) -> Vec<(Row, i64)> {
    let mut changes = Vec::new();
    for _ in 0..random.below(most) {
        let going = !case.append_only && !rows.is_empty() && random.one_in(2);
        let (row, weight) = if going {
            let (row, count) = rows.iter().nth(random.below(rows.len() as u64) as usize).unwrap();
            (row.clone(), -1 - random.below(*count as u64) as i64)
        } else {
            (random_row(random, keys), if case.append_only { 1 } else { 1 + random.below(2) as i64 })
        };
        let count = rows.entry(row.clone()).or_default();
        *count += weight;
        if *count == 0 {
            rows.remove(&row);
        }
        changes.push((row, weight));
    }
    changes
}

fn check(case: Case, seed: u64, way: Way) {
    let mut random = Random(seed);
    let keys = 1 + random.below(5);
    let mut harness = case.harness(way);
    let (mut left, mut right, mut shown) = (Counts::new(), Counts::new(), Counts::new());
    for tick in 0..10 {
        let mut out = Vec::new();
        for _ in 0..random.below(4) {
            let port = random.below(2) as usize;
            let rows = if port == 0 { &mut left } else { &mut right };
            let changes = random_changes(&mut random, rows, case, keys, 6);
            harness.push_to(port, &batch(&changes), &mut out).unwrap();
        }
        harness.end_tick(Watermark::NONE, &mut out).unwrap();
        let change = harness.together(&out);
        // Rows that can have no partner are passed on as they come; all others come out net.
        if case.null_safe || !case.by_key {
            let net = consolidate(&change).unwrap();
            let append_only = case.output_changelog() == Changelog::AppendOnly;
            let weight = |change: &ChangeBatch| (0..change.num_rows()).map(|row| change.weight(row).abs()).sum::<i64>();
            assert!(append_only || weight(&net) == weight(&change), "what cancels out is not emitted: {case:?}");
        }
        apply(&mut shown, &change);
        assert_eq!(shown, case.answer(&left, &right), "seed {seed}, tick {tick}, {case:?}, {way:?}");
    }
    if !case.append_only {
        // Everything goes again: nothing is left, in the answer or in state.
        let all = |rows: &Counts<Row>| rows.iter().map(|(row, count)| (row.clone(), -count)).collect::<Vec<_>>();
        let mut out = Vec::new();
        harness.push_to(0, &batch(&all(&left)), &mut out).unwrap();
        harness.push_to(1, &batch(&all(&right)), &mut out).unwrap();
        harness.end_tick(Watermark::NONE, &mut out).unwrap();
        apply(&mut shown, &harness.together(&out));
        assert_eq!(shown, Counts::new(), "seed {seed}, {case:?}, {way:?}");
        assert!(harness.operator.tables().iter().all(|table| table.entries() == 0), "{case:?}, {way:?}");
    }
}

#[test]
fn joins_answer_as_nested_loops_do() {
    for kind in JoinKind::ALL {
        for (by_key, null_safe, by_name) in [
            (true, false, false),
            (true, true, false),
            (true, false, true),
            (false, false, true),
            (false, false, false),
        ] {
            for (condition, append_only) in [(false, false), (true, false), (false, true), (true, true)] {
                let case = Case { kind, by_key, null_safe, by_name, condition, append_only };
                for way in WAYS {
                    (0..4).for_each(|seed| check(case, seed, way));
                }
            }
        }
    }
}

/// One key that explodes is put out in bounded chunks (which `Checked` holds operators to), net.
#[test]
fn a_key_with_many_rows_comes_out_in_chunks() {
    const LEFT: i64 = 150;
    const RIGHT: i64 = 200;
    let rows = |count: i64, from: i64, weight: i64| -> Vec<(Row, i64)> {
        (0..count).map(|n| (Row { key: Some(1), name: None, value: Some(from + n) }, weight)).collect()
    };
    for kind in [JoinKind::Inner, JoinKind::Full] {
        for condition in [false, true] {
            let case = Case { kind, by_key: true, null_safe: false, by_name: false, condition, append_only: false };
            for way in WAYS {
                let mut harness = case.harness(way);
                let mut out = Vec::new();
                harness.push_to(0, &batch(&rows(LEFT, 0, 1)), &mut out).unwrap();
                harness.push_to(1, &batch(&rows(RIGHT, LEFT, 3)), &mut out).unwrap();
                harness.end_tick(Watermark::NONE, &mut out).unwrap();
                assert!(out.len() > 3, "{} chunks", out.len());
                let change = harness.together(&out);
                assert_eq!(change.num_rows() as i64, LEFT * RIGHT);
                assert!((0..change.num_rows()).all(|row| change.weight(row) == 3));
                out.clear();
                harness.push_to(0, &batch(&rows(LEFT, 0, -1)), &mut out).unwrap();
                harness.end_tick(Watermark::NONE, &mut out).unwrap();
                let padded = if kind == JoinKind::Full { RIGHT } else { 0 };
                assert_eq!(harness.together(&out).num_rows() as i64, LEFT * RIGHT + padded);
            }
        }
    }
    // An append-only output repeats rows instead of weighing them.
    let case = Case {
        kind: JoinKind::Inner,
        by_key: true,
        null_safe: false,
        by_name: false,
        condition: false,
        append_only: true,
    };
    let mut harness = case.harness(WAYS[0]);
    let same = |count: i64| -> Vec<(Row, i64)> {
        (0..count).map(|_| (Row { key: Some(1), name: None, value: Some(7) }, 1)).collect()
    };
    let mut out = Vec::new();
    harness.push_to(0, &batch(&same(LEFT)), &mut out).unwrap();
    harness.push_to(1, &batch(&same(RIGHT)), &mut out).unwrap();
    harness.end_tick(Watermark::NONE, &mut out).unwrap();
    assert_eq!(harness.together(&out).num_rows() as i64, LEFT * RIGHT);
}

#[test]
fn what_was_never_there_cannot_be_taken_back() {
    let case = Case {
        kind: JoinKind::Inner,
        by_key: true,
        null_safe: false,
        by_name: false,
        condition: false,
        append_only: false,
    };
    let mut harness = case.harness(WAYS[0]);
    let mut out = Vec::new();
    harness.push_to(0, &batch(&[(Row { key: Some(1), name: None, value: Some(1) }, -1)]), &mut out).unwrap();
    assert!(harness.end_tick(Watermark::NONE, &mut out).is_err());
}
