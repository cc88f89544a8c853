//! GROUP BY without a window, over append-only or changing input. Each tick's rows are combined by key as they come; at the
//! tick's end the distinct keys are looked up, merged, and each group whose row changed gives one -1/+1 pair. A group
//! whose last row is retracted is removed. Without calls it is DISTINCT. Without keys there is one row always, from the first tick on.
//!
//! If a plan promises that all rows of a group come within one tick, the tick's own groups are the answer, and nothing is kept.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::combine::Combiner;
use super::group::{Calls, Groups};
use super::net::Transition;
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::change::key::single_group;
use crate::error::{Error, Result};
use crate::plan::Changelog;
use crate::state::{KeyedTable, StateContext, StateTable, TableId};

/// Keys merged at once: each gives at most two rows.
const KEYS_AT_ONCE: u32 = CHUNK_ROWS as u32 / 2;

pub struct Aggregate {
    schema: SchemaRef,
    /// DISTINCT over rows that are never taken back: neither are its own.
    append_only: bool,
    combiner: Combiner,
    /// None if groups come at once.
    table: Option<KeyedTable<Groups>>,
    /// There are no keys, and this shard is the one that holds their only group.
    single_group_due: bool,
    /// GROUP BY nothing: the group outlives its rows.
    keyless: bool,
    /// The keys of the tick from here on are still to be merged.
    merging: Option<u32>,
    slots: Vec<u32>,
}

impl Aggregate {
    pub fn new(
        id: TableId,
        (keys, at_once): (&[usize], bool),
        calls: &Calls,
        input: &SchemaRef,
        (schema, changelog): (&SchemaRef, Changelog),
        context: &StateContext,
    ) -> Result<Self> {
        let codec = super::key_codec(keys, input)?;
        let stride = codec.stride();
        let keyless = keys.is_empty();
        let groups = (!at_once).then(|| Groups::new(calls)).transpose()?;
        Ok(Aggregate {
            schema: Arc::clone(schema),
            append_only: changelog == Changelog::AppendOnly,
            combiner: Combiner::new(keys, codec, stride, calls, context)?,
            table: groups.map(|groups| KeyedTable::open(context, id, stride, false, groups)),
            single_group_due: keyless && context.owns(single_group()),
            keyless,
            merging: None,
            slots: Vec::new(),
        })
    }

    /// Merges keys `from..to` of the tick; `None` while state is being fetched.
    fn merge(&mut self, from: u32, to: u32) -> Result<Option<Option<ChangeBatch>>> {
        let Some(table) = &mut self.table else { return self.answer(from, to).map(Some) };
        if table.lookup(self.combiner.index(), from..to, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        let slots = &self.slots;
        let was: Vec<bool> = slots.iter().map(|slot| table.values().is_out(*slot)).collect();
        let old = if was.contains(&true) { Some(table.values().finish(slots)?) } else { None };

        let groups = table.update(slots);
        groups.merge(slots, self.combiner.groups(), from..to)?;
        let new = groups.finish(slots)?;
        let mut presence = Vec::with_capacity(slots.len());
        let mut gone = Vec::new();
        for (slot, was) in slots.iter().zip(was) {
            let is = self.keyless || groups.rows(*slot) != 0;
            if groups.rows(*slot) < 0 {
                return Err(retracted_too_often());
            }
            groups.set_out(*slot, is);
            presence.push((was, is));
            if !is {
                gone.push(*slot);
            }
        }
        table.remove(&gone)?;

        let index = self.combiner.index();
        let keys = self.combiner.codec().decode((from..to).map(|at| index.key(at)))?;
        let changes = Transition { keys, old, new, presence }.changes(&self.schema)?;
        match changes {
            // Each of weight +1: a key comes out once, when it is first there.
            Some(changes) if self.append_only => changes.with_weights(None).map(|first| Some(Some(first))),
            changes => Ok(Some(changes)),
        }
    }

    /// The groups `from..to` of the tick, which are complete.
    fn answer(&self, from: u32, to: u32) -> Result<Option<ChangeBatch>> {
        let index = self.combiner.index();
        let keys = self.combiner.codec().decode((from..to).map(|at| index.key(at)))?;
        let answers = self.combiner.groups().finish(&(from..to).collect::<Vec<_>>())?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), [keys, answers].concat())?;
        Ok(Some(ChangeBatch::append_only(rows)))
    }
}

pub(super) fn retracted_too_often() -> Error {
    Error::internal("a row was retracted that had not been there")
}

impl Operator for Aggregate {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.combiner.push(&batch, None)
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        if std::mem::take(&mut self.single_group_due) {
            self.combiner.ensure_single_group();
        }
        self.merging = Some(0);
        Ok(())
    }

    /// The one group of no keys has been answered.
    fn resume(&mut self, _last: &TickEnd) {
        self.single_group_due = false;
    }

    fn pull(&mut self) -> Result<Pull> {
        while let Some(from) = self.merging {
            let to = (from + KEYS_AT_ONCE).min(self.combiner.len());
            if from == to {
                self.combiner.clear()?;
                self.merging = None;
                break;
            }
            let Some(changes) = self.merge(from, to)? else { return Ok(Pull::Blocked) };
            self.merging = Some(to);
            if let Some(changes) = changes {
                return Ok(Pull::Batch(changes));
            }
        }
        Ok(Pull::Done)
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        self.table.iter_mut().map(|table| table as &mut dyn StateTable).collect()
    }
}
