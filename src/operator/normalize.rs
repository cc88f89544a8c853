//! Behind a source whose messages replace each other by key: what a key's row was is taken back when another comes, or
//! when nothing is left of it.
//!
//! A tick's messages are gathered by key; the last of each counts, by its place in its partition, since shards may see
//! them in another order. Then the kept row of each key that changed goes out with weight -1, and its new one with +1.
//!
//! The idea is Flink's ChangelogNormalize.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Int64Type, SchemaRef};
use std::sync::Arc;

use super::bags::Bags;
use super::combine::KEYS_KEPT;
use super::settle::{Out, Settles};
use super::{Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::change::key::{KeyCodec, Keys};
use crate::change::row::encode_rows;
use crate::error::{Error, Result};
use crate::memory::Account;
use crate::state::{KeyIndex, KeyedTable, StateContext, StateTable, TableId};

pub struct Normalize {
    /// Of the output: the input's columns without `place`.
    schema: SchemaRef,
    key: Vec<usize>,
    /// The column of the input that says where in its partition a message stands.
    place: usize,
    codec: KeyCodec,
    tick: TickMessages,
    /// Of each key the row that it has: a bag of one.
    kept: KeyedTable<Bags>,
    /// The keys of the tick from here on are still to be settled.
    settling: Option<u32>,
    slots: Vec<u32>,
}

/// The last message of each of a tick's keys.
struct TickMessages {
    index: KeyIndex,
    last: Vec<Message>,
    row_bytes: usize,
    account: Account,
}

struct Message {
    place: i64,
    /// None: nothing is left of the key.
    row: Option<Box<[u8]>>,
}

impl TickMessages {
    fn put(&mut self, hash: u64, key: &[u8], place: i64, row: Option<&[u8]>) {
        let slot = self.index.find_or_insert(hash, key) as usize;
        if slot >= self.last.len() {
            self.last.resize_with(slot + 1, || Message { place: i64::MIN, row: None });
        }
        let Some(last) = self.last.get_mut(slot).filter(|last| last.place <= place) else { return };
        let before = last.row.as_ref().map_or(0, |row| row.len());
        self.row_bytes = (self.row_bytes + row.map_or(0, <[u8]>::len)).saturating_sub(before);
        *last = Message { place, row: row.map(Into::into) };
    }

    fn settle_account(&mut self) {
        let places = self.last.capacity() * size_of::<Message>();
        self.account.set(self.index.bytes() + places + self.row_bytes);
    }

    fn clear(&mut self) {
        self.index.clear(KEYS_KEPT);
        self.last.clear();
        self.last.shrink_to(KEYS_KEPT);
        self.row_bytes = 0;
        self.settle_account();
    }
}

impl Normalize {
    /// `key` and `place` are columns of `input`; `schema` is the output's.
    pub fn new(
        id: TableId,
        (key, place): (&[usize], usize),
        input: &SchemaRef,
        schema: &SchemaRef,
        context: &StateContext,
    ) -> Result<Self> {
        let codec = super::key_codec(key, input)?;
        let stride = codec.stride();
        let tick = TickMessages {
            index: KeyIndex::new(stride),
            last: Vec::new(),
            row_bytes: 0,
            account: context.budget.account(),
        };
        Ok(Normalize {
            schema: Arc::clone(schema),
            key: key.to_vec(),
            place,
            kept: KeyedTable::open(context, id, stride, false, Bags::default()),
            codec,
            tick,
            settling: None,
            slots: Vec::new(),
        })
    }
}

impl Settles for Normalize {
    fn keys(&self) -> u32 {
        self.tick.index.slots() as u32
    }

    fn settle(&mut self, from: u32, to: u32) -> Result<Option<Out>> {
        if self.kept.lookup(&self.tick.index, from..to, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        let before: Vec<Option<Box<[u8]>>> =
            self.slots.iter().map(|slot| self.kept.values().last(*slot).map(Into::into)).collect();
        let kept = self.kept.update(&self.slots);
        let (mut out, mut gone) = (Out::default(), Vec::new());
        for ((key, slot), before) in (from..to).zip(&self.slots).zip(before) {
            let after = self.tick.last.get(key as usize).and_then(|message| message.row.as_deref());
            if before.as_deref() != after {
                before.iter().for_each(|row| kept.add(*slot, row, -1));
                after.iter().for_each(|row| kept.add(*slot, row, 1));
                out.put(before.as_deref(), after, true);
            }
            if after.is_none() {
                gone.push(*slot);
            }
        }
        self.kept.remove(&gone)?;
        Ok(Some(out))
    }

    fn emit(&self, out: Out) -> Result<ChangeBatch> {
        out.batch(&self.schema, 0)
    }

    fn clear(&mut self) {
        self.tick.clear();
    }

    fn settling(&mut self) -> &mut Option<u32> {
        &mut self.settling
    }
}

impl Operator for Normalize {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let missing = || Error::internal("a plan names a column that is not there");
        let columns = self.key.iter().map(|at| batch.rows().columns().get(*at).cloned());
        let columns: Vec<ArrayRef> = columns.collect::<Option<_>>().ok_or_else(missing)?;
        let mut keys = Keys::new(self.codec.stride());
        self.codec.encode(&columns, batch.num_rows(), &mut keys)?;
        let mut hashes = Vec::new();
        keys.hash_into(&mut hashes);
        let places = batch.rows().columns().get(self.place).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let places = places.filter(|places| places.null_count() == 0).ok_or_else(missing)?;
        let mut of_rows = batch.rows().clone();
        of_rows.remove_column(self.place);
        let rows = encode_rows(&of_rows)?;
        for (row, hash) in hashes.iter().enumerate() {
            let encoded = (batch.weight(row) > 0).then(|| rows.get(row));
            self.tick.put(*hash, keys.get(row), places.value(row), encoded);
        }
        self.tick.settle_account();
        Ok(())
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        self.settling = Some(0);
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        self.pull_settled()
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.kept]
    }
}
