use std::collections::BTreeMap;
use std::task::Poll;

use super::*;
use crate::change::bytes::Reader;
use crate::change::key::hash;
use crate::plan::OperatorId;

/// One number a slot.
#[derive(Default)]
struct Numbers(Vec<i64>);

impl Values for Numbers {
    fn grow(&mut self, slots: usize) {
        if self.0.len() < slots {
            self.0.resize(slots, 0);
        }
    }
    fn reset(&mut self, slot: u32) {
        self.0[slot as usize] = 0;
    }
    fn clear(&mut self) {
        self.0.clear();
    }
    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0[slot as usize].to_le_bytes());
    }
    fn decode(&mut self, slot: u32, bytes: &[u8]) -> Result<()> {
        self.0[slot as usize] = Reader::new(bytes).i64()?;
        Ok(())
    }
    fn bytes(&self) -> usize {
        8 * self.0.capacity()
    }
}

const ID: TableId = TableId { operator: OperatorId(3), table: 1 };

fn open(backend: BackendKind, timed: bool) -> KeyedTable<Numbers> {
    let context = StateContext { backend, tracked: true, ..StateContext::in_memory(&Budget::new()) };
    KeyedTable::open(&context, ID, None, timed, Numbers::default())
}

fn index(keys: &[Vec<u8>]) -> KeyIndex {
    let mut index = KeyIndex::new(None);
    keys.iter().for_each(|key| {
        index.insert(hash(key), key);
    });
    index
}

fn lookup(table: &mut KeyedTable<Numbers>, keys: &[Vec<u8>]) -> Vec<u32> {
    let (index, mut slots) = (index(keys), Vec::new());
    for _ in 0..3 {
        if table.lookup(&index, 0..keys.len() as u32, &mut slots).unwrap().is_ready() {
            return slots;
        }
        assert!(slots.is_empty());
    }
    panic!("pending for ever")
}

fn key(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn add(table: &mut KeyedTable<Numbers>, keys: &[&str], by: i64) {
    let slots = lookup(table, &keys.iter().map(|k| key(k)).collect::<Vec<_>>());
    let values = table.update(&slots);
    slots.iter().for_each(|slot| values.0[*slot as usize] += by);
}

fn remove(table: &mut KeyedTable<Numbers>, keys: &[&str]) {
    let slots = lookup(table, &keys.iter().map(|k| key(k)).collect::<Vec<_>>());
    table.remove(&slots).unwrap();
}

fn value(table: &mut KeyedTable<Numbers>, text: &str) -> i64 {
    let slots = lookup(table, &[key(text)]);
    table.values().0[slots[0] as usize]
}

/// Drains in small steps; the last writing of a key counts.
fn drain(table: &mut KeyedTable<Numbers>) -> BTreeMap<String, Option<i64>> {
    let mut entries = BTreeMap::new();
    loop {
        let all = table.drain_frozen(1, &mut |state_key, value| {
            let (id, key) = TableId::split(state_key)?;
            assert_eq!(id, ID);
            assert_eq!(state_key[0], crate::change::key::key_group(hash(key)));
            let value = value.map(|v| Reader::new(v).i64()).transpose()?;
            assert_eq!(entries.insert(String::from_utf8(key.to_vec()).unwrap(), value), None, "each entry once");
            Ok(())
        });
        if all.unwrap() {
            return entries;
        }
    }
}

#[test]
fn values_stay_over_ticks_and_removed_ones_start_anew() {
    for backend in [BackendKind::Memory, BackendKind::Evicting] {
        let mut table = open(backend, false);
        add(&mut table, &["a", "b"], 1);
        table.end_tick().unwrap();
        add(&mut table, &["b", "c"], 10);
        remove(&mut table, &["a"]);
        assert_eq!(value(&mut table, "a"), 0, "{backend:?}: removed in this tick, though it is still beneath");
        table.end_tick().unwrap();
        remove(&mut table, &["a"]);
        table.end_tick().unwrap();
        assert_eq!(["a", "b", "c"].map(|k| value(&mut table, k)), [0, 11, 10], "{backend:?}");
        if backend == BackendKind::Evicting {
            table.end_tick().unwrap();
            assert_eq!(table.entries(), 0);
        }
    }
}

#[test]
fn first_questions_are_pending_and_change_nothing() {
    let mut table = open(BackendKind::Evicting, false);
    let (index, mut slots) = (index(&[key("a")]), Vec::new());
    assert!(table.lookup(&index, 0..1, &mut slots).unwrap().is_pending());
    assert_eq!((table.entries(), slots.len()), (0, 0));
    assert!(table.lookup(&index, 0..1, &mut slots).unwrap().is_ready());
    assert_eq!((table.entries(), slots.len()), (1, 1));
}

#[test]
fn what_is_frozen_is_the_state_of_that_instant() {
    let mut table = open(BackendKind::Memory, false);
    add(&mut table, &["a", "b", "c", "d"], 1);
    table.freeze().unwrap();
    assert!(table.freeze().is_err(), "the last frozen set was not drained");
    // All of this happens after the freeze.
    add(&mut table, &["a", "e"], 10);
    remove(&mut table, &["b"]);
    remove(&mut table, &["c"]);
    add(&mut table, &["c"], 5);
    let at =
        |entries: &[(&str, Option<i64>)]| entries.iter().map(|(k, v)| (k.to_string(), *v)).collect::<BTreeMap<_, _>>();
    assert_eq!(drain(&mut table), at(&[("a", Some(1)), ("b", Some(1)), ("c", Some(1)), ("d", Some(1))]));
    table.freeze().unwrap();
    assert_eq!(drain(&mut table), at(&[("a", Some(11)), ("b", None), ("c", Some(5)), ("e", Some(10))]));
    table.freeze().unwrap();
    assert_eq!(drain(&mut table), at(&[]), "nothing changed");
    // A removal that is frozen, and then taken back.
    remove(&mut table, &["a"]);
    table.freeze().unwrap();
    add(&mut table, &["a"], 7);
    assert_eq!(drain(&mut table), at(&[("a", None)]));
    assert_eq!(value(&mut table, "a"), 7);
    assert_eq!(table.entries(), 4, "a, c, d, e");
}

#[test]
fn over_a_backend_that_everything_leaves_to_it_is_the_same() {
    let mut table = open(BackendKind::Evicting, false);
    add(&mut table, &["a", "b"], 1);
    table.end_tick().unwrap();
    add(&mut table, &["b"], 1);
    table.end_tick().unwrap();
    table.freeze().unwrap();
    add(&mut table, &["b", "c"], 10);
    remove(&mut table, &["a"]);
    table.end_tick().unwrap();
    let at =
        |entries: &[(&str, Option<i64>)]| entries.iter().map(|(k, v)| (k.to_string(), *v)).collect::<BTreeMap<_, _>>();
    assert_eq!(drain(&mut table), at(&[("a", Some(1)), ("b", Some(2))]));
    table.freeze().unwrap();
    assert_eq!(drain(&mut table), at(&[("a", None), ("b", Some(12)), ("c", Some(10))]));
}

#[test]
fn a_drained_table_is_restored() {
    for (from, to) in [(BackendKind::Memory, BackendKind::Evicting), (BackendKind::Evicting, BackendKind::Memory)] {
        let mut table = open(from, true);
        let keys = [timed(5, "a"), timed(3, "b")];
        let slots = lookup(&mut table, &keys);
        slots.iter().zip([1, 2]).for_each(|(slot, v)| table.update(&[*slot]).0[*slot as usize] = v);
        table.freeze().unwrap();
        let mut other = open(to, true);
        table.drain_frozen(usize::MAX, &mut |key, value| other.restore(key, value.unwrap())).unwrap();
        other.end_tick().unwrap();
        assert_eq!(scan(&mut other, 10, 100, false), [(3, "b".into(), 2), (5, "a".into(), 1)]);
        other.freeze().unwrap();
        let mut changed = 0;
        let mut count = |_: &[u8], _: Option<&[u8]>| {
            changed += 1;
            Ok(())
        };
        other.drain_frozen(usize::MAX, &mut count).unwrap();
        assert_eq!(changed, 0, "what is restored is no change");
    }
}

fn timed(time: i64, text: &str) -> Vec<u8> {
    let mut key = vec![1];
    key.extend_from_slice(&(time ^ i64::MIN).to_be_bytes());
    key.extend_from_slice(text.as_bytes());
    key
}

/// Scans up to a time in chunks, removing what was given out if `take`.
fn scan(table: &mut KeyedTable<Numbers>, upto: i64, chunk: usize, take: bool) -> Vec<(i64, String, i64)> {
    let (mut scan, mut slots, mut found) = (Scan::new(None, upto), Vec::new(), Vec::new());
    for _ in 0..10_000 {
        if table.scan(&mut scan, chunk, &mut slots).unwrap() == Poll::Pending {
            assert!(slots.is_empty());
            continue;
        }
        if slots.is_empty() {
            return found;
        }
        assert!(slots.len() <= chunk);
        for slot in &slots {
            let key = table.key(*slot);
            let time = crate::change::key::leading_time(key).unwrap();
            found.push((time, String::from_utf8(key[9..].to_vec()).unwrap(), table.values().0[*slot as usize]));
        }
        if take {
            table.remove(&slots).unwrap();
        }
    }
    panic!("a scan without end")
}

#[test]
fn scans_go_in_time_order_through_memory_and_what_is_beneath() {
    for backend in [BackendKind::Memory, BackendKind::Evicting] {
        for (chunk, take) in [(1, true), (2, false), (3, true), (1000, true)] {
            let mut table = open(backend, true);
            let mut want = Vec::new();
            for round in 0..3i64 {
                for time in [7, -2, 3, 3, 12] {
                    let name = format!("{round}{}", want.len());
                    let slot = lookup(&mut table, &[timed(time, &name)])[0];
                    table.update(&[slot]).0[slot as usize] = round;
                    want.push((time, name, round));
                }
                if round < 2 {
                    table.end_tick().unwrap();
                }
            }
            // One entry that is beneath is removed in memory, one is changed, and both before the scan.
            let gone = lookup(&mut table, &[timed(3, &want[2].1)]);
            table.remove(&gone).unwrap();
            let changed = lookup(&mut table, &[timed(3, &want[3].1)])[0];
            table.update(&[changed]).0[changed as usize] = 99;
            want[3].2 = 99;
            want.remove(2);

            let mut found = scan(&mut table, 7, chunk, take);
            assert!(found.is_sorted_by_key(|f| f.0), "{backend:?}, {chunk}: {found:?}");
            want.sort();
            found.sort();
            let due: Vec<_> = want.iter().filter(|w| w.0 <= 7).cloned().collect();
            assert_eq!(found, due, "{backend:?}, {chunk}");
            table.end_tick().unwrap();
            let mut left = scan(&mut table, i64::MAX, chunk, false);
            left.sort();
            want.retain(|w| !take || w.0 > 7);
            assert_eq!(left, want, "{backend:?}, {chunk}");
        }
    }
}

#[test]
fn bytes_are_accounted_and_given_back() {
    let budget = Budget::new();
    let context = StateContext::in_memory(&budget);
    let mut table = KeyedTable::open(&context, ID, Some(4), false, Numbers::default());
    let keys: Vec<Vec<u8>> = (0..1000u32).map(|i| i.to_be_bytes().to_vec()).collect();
    let mut fixed = KeyIndex::new(Some(4));
    keys.iter().for_each(|key| {
        fixed.insert(hash(key), key);
    });
    let mut slots = Vec::new();
    assert!(table.lookup(&fixed, 0..1000, &mut slots).unwrap().is_ready());
    table.end_tick().unwrap();
    assert!(budget.used_bytes() > 1000 * (4 + 8 + 8 + 8), "{}", budget.used_bytes());
    assert_eq!(budget.used_bytes(), table.bytes());
    drop(table);
    assert_eq!(budget.used_bytes(), 0);
}
