//! Upserts made a changelog, against the obvious: a map.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;

use super::random::Random;
use super::*;

const KEYS: u64 = 12;

/// Messages of a tick: key, value (`None`: a tombstone) and place, shuffled.
fn messages(random: &mut Random, place: &mut i64) -> Vec<(String, Option<i64>, i64)> {
    let mut messages = Vec::new();
    for _ in 0..random.below(40) {
        *place += 1 + random.below(3) as i64;
        let value = (!random.one_in(4)).then(|| random.below(3) as i64);
        messages.push((format!("k{}", random.below(KEYS)), value, *place));
    }
    (1..messages.len()).for_each(|at| messages.swap(at, random.below(at as u64 + 1) as usize));
    messages
}

fn batch(messages: &[(String, Option<i64>, i64)]) -> ChangeBatch {
    let keys: StringViewArray = messages.iter().map(|m| Some(m.0.as_str())).collect();
    let values: Int64Array = messages.iter().map(|m| m.1).collect();
    let places: Int64Array = messages.iter().map(|m| Some(m.2)).collect();
    let columns: [(&str, ArrayRef); 3] = [("k", Arc::new(keys)), ("v", Arc::new(values)), ("place", Arc::new(places))];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap();
    let weights: Vec<i64> = messages.iter().map(|m| if m.1.is_some() { 1 } else { -1 }).collect();
    ChangeBatch::new(rows, Some(weights.into())).unwrap()
}

#[test]
fn a_keys_row_is_that_of_its_last_message() {
    let input = schema(&[("k", SqlType::Text), ("v", SqlType::BigInt), ("place", SqlType::BigInt)]);
    let output = schema(&[("k", SqlType::Text), ("v", SqlType::BigInt)]);
    let mut told = [0; 2];
    for (seed, way) in (0..30).flat_map(|seed| WAYS.map(|way| (seed, way))) {
        let mut random = Random(seed);
        let op = Op::Normalize { key: vec![0], place: 2 };
        let (from, to) = ((&input, Changelog::Upsert), (&output, Changelog::Changing));
        let mut harness = Harness::new(op, from, to, way).unwrap();
        let (mut expected, mut shown): (BTreeMap<String, (i64, i64)>, BTreeMap<String, i64>) = Default::default();
        let mut place = 0;
        for _ in 0..10 {
            let mut sorted = messages(&mut random, &mut place);
            let mut out = Vec::new();
            harness.push(&batch(&sorted), &mut out).unwrap();
            harness.end_tick(Watermark::NONE, &mut out).unwrap();
            sorted.sort_by_key(|m| m.2);
            for (key, value, place) in sorted {
                match value {
                    Some(value) => drop(expected.insert(key, (value, place))),
                    None => drop(expected.remove(&key)),
                }
            }
            let change = harness.together(&out);
            let values = change.column(1).as_primitive::<Int64Type>();
            for row in 0..change.num_rows() {
                let (key, value) = (change.column(0).as_string_view().value(row).to_string(), values.value(row));
                told[usize::from(change.weight(row) < 0)] += 1;
                match change.weight(row) {
                    1 => assert_eq!(shown.insert(key, value), None, "what was there is taken back first"),
                    weight => assert_eq!((weight, shown.remove(&key)), (-1, Some(value))),
                }
            }
            let expected: BTreeMap<String, i64> = expected.iter().map(|(k, v)| (k.clone(), v.0)).collect();
            assert_eq!(shown, expected, "{way:?}");
        }
    }
    assert!(told.iter().all(|told| *told > 1000), "{told:?}");
}
