//! What upserts show, against the obvious: all rows that live, sorted.

use std::collections::BTreeMap;

use super::random::{Random, Row, batch, input_schema, random_row};
use super::*;
use crate::change::consolidate::consolidate;
use crate::change::row::encode_rows;
use crate::plan::Keeps;

/// What stands in the sink: by key a row's bytes.
type Shown = BTreeMap<Option<String>, Vec<u8>>;

const TIME: usize = 4;

fn bytes(row: &Row) -> Vec<u8> {
    encode_rows(batch(&[(row.clone(), 1)], None).rows()).unwrap().get(0).to_vec()
}

/// The last of the rows that live of each key.
fn obvious(live: &[Row], latest: bool) -> Shown {
    let mut last: BTreeMap<Option<String>, (i64, Vec<u8>)> = BTreeMap::new();
    for row in live {
        let candidate = (if latest { row.time } else { 0 }, bytes(row));
        let place = last.entry(row.key.clone()).or_insert_with(|| candidate.clone());
        *place = candidate.max(place.clone());
    }
    last.into_iter().map(|(key, (_, row))| (key, row)).collect()
}

/// Applies a tick's output; each key may change once, to something else.
fn apply(shown: &mut Shown, change: &ChangeBatch, with_before: bool) {
    use arrow::array::{Array, AsArray};
    let rows = encode_rows(change.rows()).unwrap();
    let keys = change.column(0).as_string_view();
    let mut changed = Vec::new();
    let mut row = 0;
    while row < change.num_rows() {
        let key_of = |row: usize| keys.is_valid(row).then(|| keys.value(row).to_string());
        let key = key_of(row);
        assert!(!changed.contains(&key), "a key changes once a tick");
        changed.push(key.clone());
        let before = shown.get(&key).cloned();
        if change.weight(row) < 0 {
            assert_eq!(before.as_deref(), Some(rows.get(row)), "what was shown is what is replaced");
            shown.remove(&key);
            row += 1;
            if !with_before || row == change.num_rows() || change.weight(row) < 0 || key_of(row) != key {
                continue;
            }
        } else {
            assert!(!with_before || before.is_none(), "what it replaces comes first");
        }
        assert_ne!(before.as_deref(), Some(rows.get(row)), "an unchanged row is not told");
        shown.insert(key, rows.get(row).to_vec());
        row += 1;
    }
}

struct Case {
    keeps: Keeps,
    latest: bool,
    with_before: bool,
}

/// Random changes of a tick. With a unique key, a row takes the place of the one there was.
fn changes(random: &mut Random, live: &mut Vec<Row>, keeps: Keeps) -> Vec<(Row, i64)> {
    let mut changes = Vec::new();
    for _ in 0..random.below(20) {
        let gone = !live.is_empty() && keeps != Keeps::Shown && random.one_in(2);
        if gone {
            changes.push((live.swap_remove(random.below(live.len() as u64) as usize), -1));
            continue;
        }
        let row = random_row(random, 6);
        let weight = if keeps == Keeps::All { 1 + random.below(2) as i64 } else { 1 };
        if keeps == Keeps::Nothing {
            let (replaced, rest) = std::mem::take(live).into_iter().partition(|l: &Row| l.key == row.key);
            *live = rest;
            changes.extend(replaced.into_iter().map(|l: Row| (l, -1)));
        }
        (0..weight).for_each(|_| live.push(row.clone()));
        changes.push((row, weight));
    }
    // Within a tick a deletion may come before its row.
    if keeps != Keeps::Shown {
        (1..changes.len()).for_each(|at| changes.swap(at, random.below(at as u64 + 1) as usize));
    }
    changes
}

#[test]
fn upserts_show_the_last_row_of_each_key() {
    let mut told = [0; 2];
    for seed in 0..40 {
        for keeps in [Keeps::Nothing, Keeps::Shown, Keeps::All] {
            for way in WAYS {
                let mut random = Random(seed);
                let latest = keeps != Keeps::Nothing && seed % 2 == 0;
                let case = Case { keeps, latest, with_before: seed % 3 == 0 };
                let shown = run(&case, &mut random, way);
                told[0] += shown[0];
                told[1] += shown[1];
            }
        }
    }
    assert!(told.iter().all(|told| *told > 1000), "rows and tombstones were told: {told:?}");
}

/// How many insertions and deletions came out.
fn run(case: &Case, random: &mut Random, way: Way) -> [usize; 2] {
    let Case { keeps, latest, with_before } = *case;
    let input = if keeps == Keeps::Shown { Changelog::AppendOnly } else { Changelog::Changing };
    let output = if with_before { Changelog::Changing } else { Changelog::Upsert };
    let op = Op::Upsert { key: vec![0], keeps, latest: latest.then_some(TIME), with_before };
    let schema = input_schema();
    let mut harness = Harness::new(op, (&schema, input), (&schema, output), way).unwrap();
    let (mut live, mut shown): (Vec<Row>, Shown) = Default::default();
    let mut told = [0; 2];
    for _ in 0..12 {
        let mut out = Vec::new();
        for _ in 0..random.below(3) {
            let changes = changes(random, &mut live, keeps);
            harness.push(&batch(&changes, None), &mut out).unwrap();
        }
        harness.end_tick(Watermark::NONE, &mut out).unwrap();
        let change = harness.together(&out);
        assert_eq!(consolidate(&change).unwrap().num_rows(), change.num_rows(), "what cancels out is not told");
        apply(&mut shown, &change, with_before);
        (0..change.num_rows()).for_each(|row| told[usize::from(change.weight(row) < 0)] += 1);
        assert_eq!(shown, obvious(&live, latest), "{keeps:?}, latest {latest}, {way:?}");
    }
    told
}

/// More keys than a chunk holds: pairs are not torn apart.
#[test]
fn many_keys_come_in_chunks_of_whole_pairs() {
    let keys = 2 * CHUNK_ROWS as i64 + 3;
    for way in [WAYS[0], WAYS[2]] {
        let row = |key: i64, value: i64| Row {
            key: Some(key.to_string()),
            value: Some(value),
            float: None,
            flag: None,
            time: 0,
        };
        let op = Op::Upsert { key: vec![0], keeps: Keeps::All, latest: None, with_before: true };
        let schema = input_schema();
        let mut harness =
            Harness::new(op, (&schema, Changelog::Changing), (&schema, Changelog::Changing), way).unwrap();
        let mut out = Vec::new();
        harness.push(&batch(&(0..keys).map(|k| (row(k, 1), 1)).collect::<Vec<_>>(), None), &mut out).unwrap();
        harness.end_tick(Watermark::NONE, &mut out).unwrap();
        assert!(out.len() > 2 && out.iter().all(|b| b.num_rows() <= CHUNK_ROWS));
        let updates = (0..keys).flat_map(|k| [(row(k, 2), 1), (row(k, 1), -1)]).collect::<Vec<_>>();
        let mut out = Vec::new();
        harness.push(&batch(&updates, None), &mut out).unwrap();
        harness.end_tick(Watermark::NONE, &mut out).unwrap();
        assert_eq!(out.iter().map(ChangeBatch::num_rows).sum::<usize>() as i64, 2 * keys);
        for batch in &out {
            assert!((0..batch.num_rows()).all(|r| batch.weight(r) == if r % 2 == 0 { -1 } else { 1 }));
        }
    }
}
