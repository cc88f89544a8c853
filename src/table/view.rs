//! The rows of one materialized view.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use imbl::OrdMap;

use crate::change::{ChangeBatch, row};
use crate::error::{Error, Result};
use crate::operator::CHUNK_ROWS;

/// Overhead of an entry in the map, beyond its bytes: an estimate for accounting.
const ENTRY_BYTES: usize = 96;

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
        View { schema, identity, rows: OrdMap::new(), count: 0, bytes: 0 }
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

    pub fn snapshot(&self) -> ViewSnapshot {
        ViewSnapshot { schema: Arc::clone(&self.schema), rows: self.rows.clone(), count: self.count }
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes
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

    #[test]
    fn deleting_what_is_not_there_is_an_error() {
        let mut view = View::new(schema(), None, false);
        assert!(view.apply(&[changes(&[(-1, "a", 1)])]).is_err());
    }
}
