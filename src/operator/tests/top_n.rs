//! Top-N against sorting everything, on random changes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::datatypes::Int64Type;

use super::random::Random;
use super::*;
use crate::change::consolidate::consolidate;
use crate::change::key::Direction;
use crate::change::row::encode_rows;
use crate::plan::{RankFunction, Ranks, SortColumn};

type Row = (Option<i64>, Option<i64>, Option<String>);

/// Rows of an answer, each with its rank (0 if it is not asked for), and how often they are there.
type Answer = BTreeMap<(Row, i64), i64>;

/// Texts that are hard to order descending: prefixes of each other, with zero bytes.
const TEXTS: [&str; 8] = ["", "\0", "\0\0", "a", "a\0", "a\0b", "ab", "b"];

fn input_schema() -> SchemaRef {
    schema(&[("k", SqlType::BigInt), ("v", SqlType::BigInt), ("t", SqlType::Text)])
}

fn batch(changes: &[(Row, i64)]) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(changes.iter().map(|(r, _)| r.0).collect::<Int64Array>()),
        Arc::new(changes.iter().map(|(r, _)| r.1).collect::<Int64Array>()),
        Arc::new(changes.iter().map(|(r, _)| r.2.as_deref()).collect::<StringViewArray>()),
    ];
    let weights = changes.iter().any(|(_, w)| *w != 1).then(|| changes.iter().map(|(_, w)| *w).collect());
    ChangeBatch::new(RecordBatch::try_new(input_schema(), columns).unwrap(), weights).unwrap()
}

fn random_row(random: &mut Random) -> Row {
    let mut value = |limit: u64| (!random.one_in(6)).then(|| random.below(limit));
    let (key, number, text) = (value(3), value(6), value(TEXTS.len() as u64));
    (key.map(|k| k as i64), number.map(|n| n as i64 - 3), text.map(|t| TEXTS[t as usize].to_string()))
}

/// A Top-N as it is asked for.
#[derive(Debug)]
struct Asked {
    by_key: bool,
    order: Vec<SortColumn>,
    ranks: Ranks,
    ranked: bool,
}

impl Asked {
    fn random(random: &mut Random) -> Self {
        let order = [1, 2].into_iter().filter(|_| !random.one_in(4)).collect::<Vec<usize>>();
        let mut sort = |column| SortColumn {
            column,
            direction: Direction { descending: random.one_in(2), nulls_first: random.one_in(2) },
        };
        let order = order.into_iter().map(&mut sort).collect();
        let function = RankFunction::ALL[random.below(3) as usize];
        let first = if random.one_in(3) { 1 + random.below(4) as i64 } else { 1 };
        let last = if random.one_in(8) { i64::MAX } else { first - 1 + random.below(6) as i64 };
        Asked { by_key: !random.one_in(4), order, ranks: Ranks { function, first, last }, ranked: random.one_in(2) }
    }

    fn op(&self, at_once: bool) -> Op {
        let partition = if self.by_key { vec![0] } else { Vec::new() };
        Op::TopN { partition, order: self.order.clone(), ranks: self.ranks, ranked: self.ranked, at_once }
    }

    fn output(&self) -> SchemaRef {
        let mut columns = vec![("k", SqlType::BigInt), ("v", SqlType::BigInt), ("t", SqlType::Text)];
        columns.extend(self.ranked.then_some(("rank", SqlType::BigInt)));
        schema(&columns)
    }

    /// ORDER BY alone.
    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let by = |sort: &SortColumn| match sort.column {
            1 => compare(&a.1, &b.1, sort.direction),
            _ => compare(&a.2, &b.2, sort.direction),
        };
        self.order.iter().map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// The obvious way: sort all rows, number them, keep those that are asked for.
    fn answer(&self, rows: &[Row]) -> Answer {
        let mut partitions: BTreeMap<Option<Option<i64>>, Vec<&Row>> = BTreeMap::new();
        rows.iter().for_each(|row| partitions.entry(self.by_key.then_some(row.0)).or_default().push(row));
        let mut answer = Answer::new();
        for rows in partitions.values_mut() {
            rows.sort_by(|a, b| self.compare(a, b).then_with(|| bytes(a).cmp(&bytes(b))));
            let (mut rank, mut dense) = (0, 0);
            for (at, row) in rows.iter().enumerate() {
                let number = at as i64 + 1;
                if at == 0 || self.compare(rows[at - 1], row).is_ne() {
                    (rank, dense) = (number, dense + 1);
                }
                let given = match self.ranks.function {
                    RankFunction::RowNumber => number,
                    RankFunction::Rank => rank,
                    RankFunction::DenseRank => dense,
                };
                if (self.ranks.first..=self.ranks.last).contains(&given) {
                    *answer.entry(((*row).clone(), if self.ranked { given } else { 0 })).or_default() += 1;
                }
            }
        }
        answer
    }
}

fn compare<T: Ord>(a: &Option<T>, b: &Option<T>, direction: Direction) -> Ordering {
    let nulls = if direction.nulls_first { Ordering::Less } else { Ordering::Greater };
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => nulls,
        (Some(_), None) => nulls.reverse(),
        (Some(a), Some(b)) if direction.descending => b.cmp(a),
        (Some(a), Some(b)) => a.cmp(b),
    }
}

fn bytes(row: &Row) -> Vec<u8> {
    encode_rows(batch(&[(row.clone(), 1)]).rows()).unwrap().get(0).to_vec()
}

fn apply(shown: &mut Answer, change: &ChangeBatch, ranked: bool) {
    let number = |column: usize, row: usize| {
        let array = change.column(column);
        array.is_valid(row).then(|| array.as_primitive::<Int64Type>().value(row))
    };
    for row in 0..change.num_rows() {
        let texts = change.column(2).as_string_view();
        let text = texts.is_valid(row).then(|| texts.value(row).to_string());
        let rank = if ranked { number(3, row).unwrap() } else { 0 };
        let entry = ((number(0, row), number(1, row), text), rank);
        let count = shown.entry(entry.clone()).or_default();
        *count += change.weight(row);
        if *count == 0 {
            shown.remove(&entry);
        }
    }
}

fn check(seed: u64, way: Way) {
    let mut random = Random(seed);
    let asked = Asked::random(&mut random);
    let changing = if random.one_in(2) { Changelog::Changing } else { Changelog::AppendOnly };
    let ends = ((&input_schema(), changing), (&asked.output(), Changelog::Changing));
    let mut harness = Harness::new(asked.op(false), ends.0, ends.1, way).unwrap();
    let (mut rows, mut shown): (Vec<Row>, Answer) = Default::default();
    for _ in 0..10 {
        let mut out = Vec::new();
        for _ in 0..random.below(3) {
            let mut changes = Vec::new();
            for _ in 0..random.below(12) {
                if changing == Changelog::Changing && !rows.is_empty() && random.one_in(2) {
                    changes.push((rows.swap_remove(random.below(rows.len() as u64) as usize), -1));
                } else {
                    let row = random_row(&mut random);
                    let weight = if changing == Changelog::Changing { 1 + random.below(3) as i64 } else { 1 };
                    (0..weight).for_each(|_| rows.push(row.clone()));
                    changes.push((row, weight));
                }
            }
            harness.push(&batch(&changes), &mut out).unwrap();
        }
        harness.end_tick(Watermark::NONE, &mut out).unwrap();
        let change = harness.together(&out);
        let net = consolidate(&change).unwrap();
        let weight = |change: &ChangeBatch| (0..change.num_rows()).map(|row| change.weight(row).abs()).sum::<i64>();
        assert_eq!(weight(&net), weight(&change), "what cancels out is not emitted: seed {seed}, {asked:?}");
        apply(&mut shown, &change, asked.ranked);
        assert_eq!(shown, asked.answer(&rows), "seed {seed}, {way:?}, {asked:?}");
    }
    if changing == Changelog::AppendOnly && asked.ranks.function == RankFunction::RowNumber {
        let kept: usize = harness.operator.tables().iter().map(|table| table.entries()).sum();
        assert!(kept <= 4, "one entry a partition");
    }
}

#[test]
fn top_n_is_what_sorting_everything_gives() {
    for seed in 0..400 {
        WAYS.into_iter().for_each(|way| check(seed, way));
    }
}

#[test]
fn partitions_that_come_at_once_are_answered_once_and_not_kept() {
    for seed in 0..100 {
        for way in WAYS {
            let mut random = Random(seed);
            let asked = Asked { by_key: true, ..Asked::random(&mut random) };
            let ends = ((&input_schema(), Changelog::AppendOnly), (&asked.output(), Changelog::AppendOnly));
            let mut harness = Harness::new(asked.op(true), ends.0, ends.1, way).unwrap();
            let (mut rows, mut shown): (Vec<Row>, Answer) = Default::default();
            for tick in 0..5 {
                let mut out = Vec::new();
                let mut changes = Vec::new();
                for _ in 0..random.below(20) {
                    let (_, number, text) = random_row(&mut random);
                    let row = (Some(tick * 2 + random.below(2) as i64), number, text);
                    rows.push(row.clone());
                    changes.push((row, 1));
                }
                harness.push(&batch(&changes), &mut out).unwrap();
                harness.end_tick(Watermark::NONE, &mut out).unwrap();
                apply(&mut shown, &harness.together(&out), asked.ranked);
                assert_eq!(shown, asked.answer(&rows), "seed {seed}, {way:?}, {asked:?}");
            }
            assert!(harness.operator.tables().is_empty());
        }
    }
}

/// More ranks change than fit into a chunk: they come in several, none too large.
#[test]
fn an_answer_larger_than_a_chunk_comes_in_several() {
    let rows = 3 * CHUNK_ROWS as i64 / 2;
    let ranks = Ranks { function: RankFunction::RowNumber, first: 1, last: rows };
    let order = vec![SortColumn { column: 1, direction: Direction { descending: true, nulls_first: true } }];
    let asked = Asked { by_key: false, order, ranks, ranked: true };
    for way in [WAYS[0], WAYS[2]] {
        let ends = ((&input_schema(), Changelog::Changing), (&asked.output(), Changelog::Changing));
        let mut harness = Harness::new(asked.op(false), ends.0, ends.1, way).unwrap();
        let changes: Vec<(Row, i64)> = (0..rows).map(|v| ((None, Some(v), None), 1)).collect();
        let mut out = Vec::new();
        harness.push(&batch(&changes), &mut out).unwrap();
        harness.end_tick(Watermark::NONE, &mut out).unwrap();
        assert_eq!(out.iter().map(ChangeBatch::num_rows).sum::<usize>() as i64, rows);
        // One row in front of all others: every rank moves, and the last row leaves.
        let mut out = Vec::new();
        harness.push(&batch(&[((None, Some(rows), None), 1)]), &mut out).unwrap();
        harness.end_tick(Watermark::NONE, &mut out).unwrap();
        assert!(out.len() > 2);
        assert_eq!(out.iter().map(ChangeBatch::num_rows).sum::<usize>() as i64, 2 * rows);
    }
}

/// However many rows a tick brings, held is what can still rank, whether the first or the last of them do, and whether
/// ORDER BY decides or the rows' bytes.
#[test]
fn what_a_tick_holds_is_bounded_by_what_can_rank() {
    const BATCHES: i64 = 30;
    const ROWS: i64 = CHUNK_ROWS as i64;
    let ranks = Ranks { function: RankFunction::RowNumber, first: 1, last: 2 };
    for (descending, column) in [(false, 1), (true, 1), (false, 2)] {
        let order = vec![SortColumn { column, direction: Direction { descending, nulls_first: false } }];
        let asked = Asked { by_key: true, order, ranks, ranked: false };
        let ends = ((&input_schema(), Changelog::AppendOnly), (&asked.output(), Changelog::Changing));
        let mut harness = Harness::new(asked.op(false), ends.0, ends.1, WAYS[0]).unwrap();
        let (mut out, mut first, mut most) = (Vec::new(), 0, 0);
        for at in 0..BATCHES {
            let text = "as long a text as texts are";
            let row = |n: i64| ((Some(n % 2), Some(at * ROWS + n), Some(text.to_string())), 1);
            harness.push(&batch(&(0..ROWS).map(row).collect::<Vec<_>>()), &mut out).unwrap();
            most = most.max(harness.budget.used_bytes());
            first = if at == 0 { most } else { first };
        }
        assert!(most <= 4 * first, "{most} bytes of {BATCHES} batches of {first} bytes");
        harness.end_tick(Watermark::NONE, &mut out).unwrap();
        let mut shown = Answer::new();
        apply(&mut shown, &harness.together(&out), asked.ranked);
        let values: Vec<i64> = shown.keys().filter_map(|((_, value, _), _)| *value).collect();
        let last = BATCHES * ROWS - 1;
        let wanted = if descending { [last - 3, last - 1, last - 2, last] } else { [0, 2, 1, 3] };
        // Among rows of one text bytes decide, in an order of their own.
        assert!(values.len() == 4 && (column == 2 || values == wanted), "{values:?}");
    }
}
