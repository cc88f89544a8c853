//! A tick's rows, combined by key before state is touched: many rows are few keys, and state is asked once for each.

use arrow::array::ArrayRef;

use super::group::{Calls, Groups};
use crate::change::ChangeBatch;
use crate::change::key::{KeyCodec, Keys};
use crate::error::{Error, Result};
use crate::memory::Account;
use crate::state::{KeyIndex, StateContext, Values};

/// Keys that a combiner keeps room for from tick to tick: those of a busy tick. What a catch-up needed beyond is given back.
pub(super) const KEYS_KEPT: usize = 64 << 10;

/// Groups of one tick. Slots are dealt from 0 in the order in which keys first appear.
pub struct Combiner {
    key_columns: Vec<usize>,
    codec: KeyCodec,
    index: KeyIndex,
    groups: Groups,
    calls: Calls,
    account: Account,
    keys: Keys,
    hashes: Vec<u64>,
    slots: Vec<u32>,
}

impl Combiner {
    /// `stride`: bytes of every key with whatever stands in front of its columns.
    pub fn new(
        key_columns: &[usize],
        codec: KeyCodec,
        stride: Option<usize>,
        calls: &Calls,
        context: &StateContext,
    ) -> Result<Self> {
        Ok(Combiner {
            key_columns: key_columns.to_vec(),
            codec,
            index: KeyIndex::new(stride),
            groups: Groups::new(calls)?,
            calls: calls.clone(),
            account: context.budget.account(),
            keys: Keys::new(stride),
            hashes: Vec::new(),
            slots: Vec::new(),
        })
    }

    /// Adds the rows of a batch; with `times`, each key starts with its row's time.
    pub fn push(&mut self, batch: &ChangeBatch, times: Option<&[i64]>) -> Result<()> {
        self.push_behind(batch, times, None)
    }

    /// As [`Combiner::push`], with a column of the codec's that stands in front of the batch's own.
    pub fn push_behind(&mut self, batch: &ChangeBatch, times: Option<&[i64]>, lead: Option<ArrayRef>) -> Result<()> {
        let keys = self.key_columns.iter().map(|at| batch.rows().columns().get(*at).cloned());
        let columns = lead.into_iter().map(Some).chain(keys).collect::<Option<Vec<ArrayRef>>>();
        let columns = columns.ok_or_else(|| Error::internal("no such key column"))?;
        match times {
            Some(times) => self.codec.encode_timed(times, &columns, &mut self.keys)?,
            None => self.codec.encode(&columns, batch.num_rows(), &mut self.keys)?,
        }
        self.keys.hash_into(&mut self.hashes);
        self.slots.clear();
        for (row, hash) in self.hashes.iter().enumerate() {
            self.slots.push(self.index.find_or_insert(*hash, self.keys.get(row)));
        }
        self.groups.grow(self.index.slots());
        self.groups.update(&self.slots, batch)?;
        self.account.set(self.index.bytes() + self.groups.bytes());
        Ok(())
    }

    /// The group of the empty key is there, rows or not.
    pub fn ensure_single_group(&mut self) {
        self.index.find_or_insert(crate::change::key::hash(&[]), &[]);
        self.groups.grow(self.index.slots());
    }

    /// Distinct keys of the tick so far.
    pub fn len(&self) -> u32 {
        self.index.slots() as u32
    }

    pub fn index(&self) -> &KeyIndex {
        &self.index
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    pub fn codec(&self) -> &KeyCodec {
        &self.codec
    }

    /// The tick is over.
    pub fn clear(&mut self) -> Result<()> {
        if self.index.slots() > KEYS_KEPT {
            self.groups = Groups::new(&self.calls)?;
        } else {
            self.groups.clear();
        }
        self.index.clear(KEYS_KEPT);
        self.account.set(self.index.bytes() + self.groups.bytes());
        Ok(())
    }
}
