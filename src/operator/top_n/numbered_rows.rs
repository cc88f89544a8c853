//! A tick's rows, numbered, and how two of them compare: by ORDER BY, and then by their bytes, as every Top-N does.
//!
//! Most comparisons are of a few numbers: the first bytes of the sort keys. Only where these are equal are rows encoded, once a
//! batch.

use std::cell::OnceCell;
use std::cmp::Ordering;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::change::key::{Keys, OrderCodec, Prefix};
use crate::change::row::encode_rows;
use crate::error::{Error, Result};
use crate::operator::ranks::no_such_column;
use crate::operator::row_store::RowStore;

pub struct NumberedRows {
    order: OrderCodec,
    /// Of the first columns of the order.
    leading: OrderCodec,
    order_columns: Vec<usize>,
    pub store: RowStore,
    /// By number, the first bytes of each sort key.
    prefixes: Vec<Prefix>,
    pushed: Vec<Pushed>,
}

/// A batch as it was pushed.
struct Pushed {
    /// The number of its first row, and the one behind its last.
    from: u32,
    to: u32,
    /// Of each row the sort key and then its bytes.
    encoded: OnceCell<Keys>,
}

impl NumberedRows {
    pub fn new(schema: &SchemaRef, order: OrderCodec, order_columns: Vec<usize>) -> Self {
        NumberedRows {
            leading: order.leading(),
            order,
            order_columns,
            store: RowStore::new(schema),
            prefixes: Vec::new(),
            pushed: Vec::new(),
        }
    }

    /// Numbers the rows of a batch; gives the first's number.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<u32> {
        let from = self.store.len();
        let columns = self.ordered_by(rows)?;
        let keys = self.leading.encode(&columns, rows.num_rows())?;
        self.prefixes.extend((0..rows.num_rows()).map(|row| keys.prefix(row)));
        self.store.push(rows)?;
        self.pushed.push(Pushed { from, to: self.store.len(), encoded: OnceCell::new() });
        Ok(from)
    }

    fn ordered_by(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let picked = self.order_columns.iter().map(|at| rows.columns().get(*at).cloned());
        picked.collect::<Option<_>>().ok_or_else(no_such_column)
    }

    /// How two rows compare.
    pub fn compare(&self, a: u32, b: u32) -> Result<Ordering> {
        let prefix = |row: u32| self.prefixes.get(row as usize);
        match prefix(a).cmp(&prefix(b)) {
            Ordering::Equal if a != b => Ok(self.bytes(a)?.cmp(self.bytes(b)?)),
            order => Ok(order),
        }
    }

    /// A row's sort key and its bytes.
    fn bytes(&self, row: u32) -> Result<&[u8]> {
        let at = self.pushed.partition_point(|pushed| pushed.from <= row).saturating_sub(1);
        let pushed = self.pushed.get(at).ok_or_else(|| Error::internal("no such row in the tick"))?;
        let encoded = match pushed.encoded.get() {
            Some(encoded) => encoded,
            None => {
                let encoded = self.encode(pushed)?;
                pushed.encoded.get_or_init(|| encoded)
            }
        };
        Ok(encoded.get((row - pushed.from) as usize))
    }

    fn encode(&self, pushed: &Pushed) -> Result<Keys> {
        let rows = self.store.batch(&(pushed.from..pushed.to).collect::<Vec<u32>>())?;
        let sort_keys = self.order.encode(&self.ordered_by(&rows)?, rows.num_rows())?;
        let (mut all, mut bytes) = (Keys::new(None), Vec::new());
        for (row, encoded) in encode_rows(&rows)?.iter().enumerate() {
            bytes.clear();
            sort_keys.write(row, &mut bytes);
            bytes.extend_from_slice(encoded);
            all.push(&bytes);
        }
        Ok(all)
    }

    pub fn bytes_held(&self) -> usize {
        let encoded: usize = self.pushed.iter().filter_map(|pushed| pushed.encoded.get()).map(Keys::bytes).sum();
        let pushed = size_of::<Pushed>() * self.pushed.capacity();
        self.store.bytes() + size_of::<Prefix>() * self.prefixes.capacity() + pushed + encoded
    }

    /// Keeps these rows alone, and numbers them anew, in this order.
    pub fn retain<'a>(&mut self, rows: impl Iterator<Item = &'a mut u32>) -> Result<()> {
        let empty = RowStore::new(self.store.schema());
        let before = std::mem::replace(&mut self.store, empty);
        self.prefixes.clear();
        self.pushed.clear();
        before.move_to(rows, |rows| self.push(rows).map(drop))
    }

    /// The tick is over.
    pub fn clear(&mut self) {
        self.store = RowStore::new(self.store.schema());
        self.prefixes.clear();
        self.pushed.clear();
    }
}
