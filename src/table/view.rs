//! The rows of one materialized view.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use imbl::OrdMap;

use crate::change::bytes::{Reader, corrupt, put_bytes};
use crate::change::{ChangeBatch, row};
use crate::error::{Error, Result};
use crate::operator::CHUNK_ROWS;
use crate::plan::OperatorId;
use crate::state::{EachChange, TableId};

/// Overhead of an entry in the map, beyond its bytes: an estimate for accounting.
const ENTRY_BYTES: usize = 96;

/// What a view's rows are filed under, in one key group, so that they lie in key order: behind all operators of its plan.
const ROWS: TableId = TableId { operator: OperatorId(u32::MAX), table: 0 };

/// Version of an encoded entry.
const ENTRY_VERSION: u8 = 1;

/// What is kept of a row: its encoded columns and how often it is there.
#[derive(Debug, Clone)]
struct Entry {
    row: Arc<[u8]>,
    count: i64,
}

/// How rows are told apart.
#[derive(Debug, Clone)]
enum Identity {
    /// These columns are unique at each tick's end.
    Key(Vec<usize>),
    /// Rows only come: each is its own, in order of arrival.
    Arrival(u64),
    /// Equal rows are counted.
    Row,
}

/// A materialized view: a map in key order, persistent in the functional sense, so that a snapshot is one pointer.
#[derive(Debug)]
pub struct View {
    schema: SchemaRef,
    identity: Identity,
    rows: OrdMap<Arc<[u8]>, Entry>,
    count: u64,
    bytes: usize,
    /// What changed since the last freeze, if anybody will ask.
    touched: Option<Touched>,
    frozen: Option<Frozen>,
}

/// Keys of a view that changed since the last freeze.
#[derive(Debug)]
enum Touched {
    Keys(BTreeSet<Arc<[u8]>>),
    /// Rows only come: what is behind this arrival.
    Behind(u64),
}

/// A view's rows at a freeze, and which of them are still to be handed out.
#[derive(Debug)]
struct Frozen {
    rows: OrdMap<Arc<[u8]>, Entry>,
    touched: Touched,
}

/// A view's rows as of one tick.
#[derive(Debug, Clone)]
pub struct ViewSnapshot {
    schema: SchemaRef,
    rows: OrdMap<Arc<[u8]>, Entry>,
    count: u64,
}

impl View {
    /// `unique_key`: columns that the plan promises to be unique, if any. `append_only`: nothing is ever deleted.
    pub fn new(schema: SchemaRef, unique_key: Option<&[usize]>, append_only: bool) -> Self {
        let identity = match unique_key {
            Some(key) => Identity::Key(key.to_vec()),
            None if append_only => Identity::Arrival(0),
            None => Identity::Row,
        };
        View { schema, identity, rows: OrdMap::new(), count: 0, bytes: 0, touched: None, frozen: None }
    }

    /// Keeps track of changes from here on, for [`View::freeze`]: before the first.
    pub fn tracked(mut self) -> Self {
        self.touched = Some(self.untouched());
        self
    }

    /// Applies a tick's change, in no particular order: where rows have a key its old row goes before the new one comes;
    /// equal rows that are counted come before they go, so that a row may also come and go within the tick.
    pub fn apply(&mut self, changes: &[ChangeBatch]) -> Result<()> {
        if let Identity::Row = self.identity {
            changes.iter().try_for_each(|batch| self.merge(batch, |weight| weight > 0))?;
            return changes.iter().try_for_each(|batch| self.merge(batch, |weight| weight < 0));
        }
        let mut deletions = false;
        for batch in changes {
            deletions |= batch.weights().is_some_and(|w| w.iter().any(|w| *w < 0));
        }
        if deletions {
            changes.iter().try_for_each(|batch| self.merge(batch, |weight| weight < 0))?;
        }
        changes.iter().try_for_each(|batch| self.merge(batch, |weight| weight > 0))
    }

    fn merge(&mut self, batch: &ChangeBatch, wanted: fn(i64) -> bool) -> Result<()> {
        let rows = row::encode_rows(batch.rows())?;
        let keys = match &self.identity {
            Identity::Key(columns) if !columns.is_empty() => Some(batch.keys(columns)?),
            _ => None,
        };
        for index in 0..batch.num_rows() {
            let weight = batch.weight(index);
            if !wanted(weight) {
                continue;
            }
            let row = rows.get(index);
            let key: Arc<[u8]> = match (&keys, &mut self.identity) {
                (Some(keys), _) => keys.get(index).into(),
                (None, Identity::Arrival(next)) => {
                    *next += 1;
                    next.to_be_bytes().as_slice().into()
                }
                (None, Identity::Key(_)) => Arc::default(),
                (None, Identity::Row) => row.into(),
            };
            self.change(key, row, weight)?;
        }
        Ok(())
    }

    fn change(&mut self, key: Arc<[u8]>, row: &[u8], weight: i64) -> Result<()> {
        let size = key.len() + row.len() + ENTRY_BYTES;
        if let Some(Touched::Keys(keys)) = &mut self.touched {
            keys.insert(Arc::clone(&key));
        }
        let present = self.rows.get(&key).map_or(0, |entry| entry.count);
        let count = present + weight;
        if count < 0 {
            return Err(Error::internal("a view was told to delete a row that it does not have"));
        }
        if count == 0 {
            self.rows.remove(&key);
            self.bytes = self.bytes.saturating_sub(size);
        } else {
            self.rows.insert(key, Entry { row: row.into(), count });
            if present == 0 {
                self.bytes += size;
            }
        }
        self.count = self.count.saturating_add_signed(weight);
        Ok(())
    }

    /// Freezes what changed since the last freeze.
    ///
    /// # Errors
    /// If not all that was frozen last has been drained.
    pub fn freeze(&mut self) -> Result<()> {
        if self.frozen.is_some() {
            return Err(Error::internal("a view was frozen again before the last frozen rows were written"));
        }
        let untouched = self.untouched();
        if let Some(touched) = &mut self.touched {
            let touched = std::mem::replace(touched, untouched);
            self.frozen = Some(Frozen { rows: self.rows.clone(), touched });
        }
        Ok(())
    }

    /// Hands frozen rows out as entries of state, in key order, until about `limit_bytes` are out. True when all are.
    pub fn drain_frozen(&mut self, limit_bytes: usize, each: &mut EachChange<'_>) -> Result<bool> {
        let Some(frozen) = &mut self.frozen else { return Ok(true) };
        let (mut out, mut state_key, mut value) = (0, Vec::new(), Vec::new());
        while out < limit_bytes {
            let Some((key, entry)) = frozen.next() else {
                self.frozen = None;
                return Ok(true);
            };
            state_key.clear();
            state_key.extend_from_slice(&ROWS.prefix(0));
            state_key.extend_from_slice(&key);
            value.clear();
            if let Some(entry) = &entry {
                value.push(ENTRY_VERSION);
                value.extend_from_slice(&entry.count.to_le_bytes());
                put_bytes(&mut value, &entry.row);
            }
            out += state_key.len() + value.len();
            each(&state_key, entry.is_some().then_some(&*value))?;
        }
        Ok(false)
    }

    /// Whether an entry of state is a view's row.
    pub fn is_row(state_key: &[u8]) -> bool {
        TableId::split(state_key).is_ok_and(|(table, _)| table == ROWS)
    }

    /// Puts a row in place that was drained in an earlier life. It counts as unchanged.
    pub fn restore(&mut self, state_key: &[u8], value: &[u8]) -> Result<()> {
        let (_, key) = TableId::split(state_key)?;
        let mut reader = Reader::new(value);
        reader.expect_version(ENTRY_VERSION, "a view's row")?;
        let count = reader.i64()?;
        let row = reader.bytes()?;
        if !reader.is_empty() || count <= 0 {
            return Err(corrupt());
        }
        if let Identity::Arrival(last) = &mut self.identity {
            *last = u64::from_be_bytes(key.try_into().map_err(|_| corrupt())?).max(*last);
            if let Some(Touched::Behind(known)) = &mut self.touched {
                *known = *last;
            }
        }
        self.bytes += key.len() + row.len() + ENTRY_BYTES;
        self.count = self.count.saturating_add_signed(count);
        self.rows.insert(key.into(), Entry { row: row.into(), count });
        Ok(())
    }

    fn untouched(&self) -> Touched {
        match self.identity {
            Identity::Arrival(last) => Touched::Behind(last),
            Identity::Key(_) | Identity::Row => Touched::Keys(BTreeSet::new()),
        }
    }

    pub fn snapshot(&self) -> ViewSnapshot {
        ViewSnapshot { schema: Arc::clone(&self.schema), rows: self.rows.clone(), count: self.count }
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Frozen {
    /// The next key that changed, and what it was then; none: it was gone.
    fn next(&mut self) -> Option<(Arc<[u8]>, Option<Entry>)> {
        match &mut self.touched {
            Touched::Keys(keys) => {
                let key = keys.pop_first()?;
                let entry = self.rows.get(&key).cloned();
                Some((key, entry))
            }
            Touched::Behind(last) => {
                let behind: Arc<[u8]> = last.to_be_bytes().as_slice().into();
                let (key, entry) = self.rows.range((Bound::Excluded(behind), Bound::Unbounded)).next()?;
                *last = u64::from_be_bytes(key.as_ref().try_into().unwrap_or([u8::MAX; 8]));
                Some((Arc::clone(key), Some(entry.clone())))
            }
        }
    }
}

impl ViewSnapshot {
    /// A view that has no rows yet.
    pub fn empty(schema: SchemaRef) -> Self {
        ViewSnapshot { schema, rows: OrdMap::new(), count: 0 }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn num_rows(&self) -> u64 {
        self.count
    }

    /// All rows in key order, decoded piece by piece.
    pub fn batches(&self) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
        let schema = Arc::clone(&self.schema);
        let mut rows = self.clone().into_rows();
        std::iter::from_fn(move || {
            let chunk: Vec<Arc<[u8]>> = rows.by_ref().take(CHUNK_ROWS).collect();
            if chunk.is_empty() {
                return None;
            }
            Some(row::decode_rows(&schema, chunk.iter().map(|row| &**row)))
        })
    }

    fn into_rows(self) -> impl Iterator<Item = Arc<[u8]>> + Send {
        self.rows
            .into_iter()
            .flat_map(|(_, entry)| std::iter::repeat_n(entry.row, usize::try_from(entry.count).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringViewArray};
    use arrow::buffer::ScalarBuffer;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8View, true), Field::new("n", DataType::Int64, true)]))
    }

    /// Changes as (weight, key, number).
    fn changes(rows: &[(i64, &str, i64)]) -> ChangeBatch {
        let keys = StringViewArray::from_iter_values(rows.iter().map(|r| r.1));
        let numbers = Int64Array::from_iter_values(rows.iter().map(|r| r.2));
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(numbers)]).unwrap();
        ChangeBatch::new(batch, Some(ScalarBuffer::from_iter(rows.iter().map(|r| r.0)))).unwrap()
    }

    fn rows(snapshot: &ViewSnapshot) -> Vec<(String, i64)> {
        let mut all = Vec::new();
        for batch in snapshot.batches() {
            let batch = batch.unwrap();
            let (keys, numbers) = (batch.column(0).as_string_view(), batch.column(1).as_primitive::<Int64Type>());
            all.extend((0..batch.num_rows()).map(|i| (keys.value(i).to_string(), numbers.value(i))));
        }
        assert_eq!(all.len() as u64, snapshot.num_rows());
        all
    }

    fn check(view: &mut View, tick: &[(i64, &str, i64)], expected: &[(&str, i64)]) {
        view.apply(&[changes(tick)]).unwrap();
        let expected: Vec<_> = expected.iter().map(|(k, n)| (k.to_string(), *n)).collect();
        assert_eq!(rows(&view.snapshot()), expected);
    }

    #[test]
    fn an_update_of_a_key_needs_no_order() {
        let mut view = View::new(schema(), Some(&[0]), false);
        check(&mut view, &[(1, "b", 1), (1, "a", 2)], &[("a", 2), ("b", 1)]);
        check(&mut view, &[(1, "a", 3), (-1, "a", 2)], &[("a", 3), ("b", 1)]);
        check(&mut view, &[(-1, "b", 1), (1, "b", 9)], &[("a", 3), ("b", 9)]);
        check(&mut view, &[(-1, "a", 3), (-1, "b", 9)], &[]);
        assert_eq!(view.bytes(), 0);
    }

    #[test]
    fn equal_rows_are_counted() {
        let mut view = View::new(schema(), None, false);
        check(&mut view, &[(2, "a", 1), (1, "b", 1)], &[("a", 1), ("a", 1), ("b", 1)]);
        check(&mut view, &[(-1, "a", 1)], &[("a", 1), ("b", 1)]);
    }

    #[test]
    fn rows_that_only_come_stay_in_order() {
        let mut view = View::new(schema(), None, true);
        check(&mut view, &[(1, "b", 1)], &[("b", 1)]);
        check(&mut view, &[(1, "a", 1), (1, "b", 1)], &[("b", 1), ("a", 1), ("b", 1)]);
    }

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let mut view = View::new(schema(), Some(&[0]), false);
        check(&mut view, &[(1, "a", 1)], &[("a", 1)]);
        let before = view.snapshot();
        check(&mut view, &[(-1, "a", 1), (1, "a", 2)], &[("a", 2)]);
        assert_eq!(rows(&before), [("a".to_string(), 1)]);
    }

    #[test]
    fn a_row_may_come_and_go_within_a_tick() {
        let mut view = View::new(schema(), None, false);
        view.apply(&[changes(&[(-1, "a", 1), (1, "b", 1)]), changes(&[(1, "a", 1)])]).unwrap();
        assert_eq!(view.snapshot().num_rows(), 1);
    }

    /// Entries of state, as whoever keeps them sees them.
    type Kept = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

    fn drain(view: &mut View, kept: &mut Kept) -> usize {
        let mut entries = 0;
        let mut note = |key: &[u8], value: Option<&[u8]>| {
            entries += 1;
            assert!(View::is_row(key));
            match value {
                Some(value) => drop(kept.insert(key.to_vec(), value.to_vec())),
                None => assert!(kept.remove(key).is_some(), "what was never there is gone"),
            }
            Ok(())
        };
        while !view.drain_frozen(1, &mut note).unwrap() {}
        entries
    }

    fn restored(new: impl Fn() -> View, kept: &Kept) -> View {
        let mut view = new();
        kept.iter().for_each(|(key, value)| view.restore(key, value).unwrap());
        view
    }

    #[test]
    fn what_is_frozen_is_restored_as_it_was_then() {
        let kinds: [fn() -> View; 3] = [
            || View::new(schema(), Some(&[0]), false).tracked(),
            || View::new(schema(), None, false).tracked(),
            || View::new(schema(), None, true).tracked(),
        ];
        for new in kinds {
            let (mut view, mut kept) = (new(), Kept::new());
            view.apply(&[changes(&[(1, "b", 1), (1, "a", 2)])]).unwrap();
            view.freeze().unwrap();
            let then = rows(&view.snapshot());
            assert!(view.freeze().is_err(), "not drained");
            view.apply(&[changes(&[(1, "c", 3)])]).unwrap();
            assert_eq!(drain(&mut view, &mut kept), 2);
            let mut other = restored(new, &kept);
            assert_eq!((rows(&other.snapshot()), other.bytes()), (then, view.bytes() * 2 / 3));
            // It goes on as if nothing had happened, and hands out what has changed since.
            other.apply(&[changes(&[(1, "c", 3)])]).unwrap();
            assert_eq!(rows(&other.snapshot()), rows(&view.snapshot()));
            other.freeze().unwrap();
            assert_eq!(drain(&mut other, &mut kept), 1);
            assert_eq!(rows(&restored(new, &kept).snapshot()), rows(&view.snapshot()));
            other.freeze().unwrap();
            assert_eq!(drain(&mut other, &mut kept), 0);
        }
    }

    #[test]
    fn rows_that_went_are_handed_out_as_gone() {
        let (mut view, mut kept) = (View::new(schema(), Some(&[0]), false).tracked(), Kept::new());
        check(&mut view, &[(1, "a", 1), (1, "b", 2)], &[("a", 1), ("b", 2)]);
        view.freeze().unwrap();
        drain(&mut view, &mut kept);
        check(&mut view, &[(-1, "a", 1)], &[("b", 2)]);
        view.freeze().unwrap();
        assert_eq!((drain(&mut view, &mut kept), kept.len()), (1, 1));
        assert!(view.restore(&ROWS.prefix(0), b"no entry").is_err());
    }

    #[test]
    fn what_nobody_asks_for_is_not_kept_track_of() {
        let mut view = View::new(schema(), Some(&[0]), false);
        check(&mut view, &[(1, "a", 1)], &[("a", 1)]);
        view.freeze().unwrap();
        assert_eq!(drain(&mut view, &mut Kept::new()), 0);
    }

    #[test]
    fn deleting_what_is_not_there_is_an_error() {
        let mut view = View::new(schema(), None, false);
        assert!(view.apply(&[changes(&[(-1, "a", 1)])]).is_err());
    }
}
