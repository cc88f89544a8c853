//! The rows of one materialized view.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use imbl::OrdMap;

use crate::change::key::{KeyCodec, Keys};
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

    /// Applies a tick's net change: what goes first, then what comes, so that an update of a key needs no order.
    pub fn apply(&mut self, changes: &[ChangeBatch]) -> Result<()> {
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
            Identity::Key(columns) if !columns.is_empty() => Some(keys_of(batch, columns)?),
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

fn keys_of(batch: &ChangeBatch, columns: &[usize]) -> Result<Keys> {
    let columns: Vec<_> = columns.iter().map(|c| Arc::clone(batch.column(*c))).collect();
    let codec = KeyCodec::new(columns.iter().map(|c| c.data_type()))?;
    let mut keys = Keys::new(codec.stride());
    codec.encode(&columns, batch.num_rows(), &mut keys)?;
    Ok(keys)
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
        self.rows.into_iter().flat_map(|(_, entry)| {
            std::iter::repeat_n(entry.row, usize::try_from(entry.count).unwrap_or_default())
        })
    }
}
