//! In front of a sink that keeps one row a key: what the sink is to show of each key, changed at most once a tick.
//!
//! A tick's changes are gathered by key as they come, so that what cancels out is gone; of what is left deletions go first.
//! If the key is the result's unique key, that tells all: what is deleted was shown, what is inserted is to be. If not,
//! several rows of a key may live at once. They are kept, and one is shown: that with the latest time, if the rows have
//! one, and of several the last by its bytes. So what is shown does not depend on the order in which rows came.
//!
//! The idea is Flink's SinkUpsertMaterializer, which shows what came last.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use std::sync::Arc;

use super::aggregate::retracted_too_often;
use super::bags::Bags;
use super::settle::{Out, Settles};
use super::tick_changes::TickChanges;
use super::{Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::change::key::{KeyCodec, Keys};
use crate::change::row::encode_rows;
use crate::error::{Error, Result};
use crate::plan::Keeps;
use crate::state::{KeyedTable, StateContext, StateTable, TableId};

/// Bytes of the time in front of a kept row.
const TIME_BYTES: usize = size_of::<i64>();

/// What the plan says.
pub struct UpsertPlan<'a> {
    pub key: &'a [usize],
    pub keeps: Keeps,
    pub latest: Option<usize>,
    pub with_before: bool,
}

pub struct Upsert {
    schema: SchemaRef,
    key: Vec<usize>,
    codec: KeyCodec,
    latest: Option<usize>,
    keeps: Keeps,
    with_before: bool,
    tick: TickChanges,
    /// Rows that live, by key; `None` if nothing needs to be kept.
    kept: Option<KeyedTable<Bags>>,
    /// The keys of the tick from here on are still to be settled.
    settling: Option<u32>,
    slots: Vec<u32>,
}

impl Upsert {
    pub fn new(id: TableId, plan: &UpsertPlan<'_>, schema: &SchemaRef, context: &StateContext) -> Result<Self> {
        let codec = super::key_codec(plan.key, schema)?;
        let stride = codec.stride();
        let keeps_rows = plan.keeps != Keeps::Nothing;
        Ok(Upsert {
            schema: Arc::clone(schema),
            key: plan.key.to_vec(),
            latest: plan.latest,
            keeps: plan.keeps,
            with_before: plan.with_before,
            tick: TickChanges::new(stride, context),
            kept: keeps_rows.then(|| KeyedTable::open(context, id, stride, false, Bags::default())),
            codec,
            settling: None,
            slots: Vec::new(),
        })
    }

    /// Rows as they are kept: their time in front, so that the latest is the last.
    fn kept_form(&self, batch: &ChangeBatch) -> Result<Keys> {
        let rows = encode_rows(batch.rows())?;
        let Some(latest) = self.latest else { return Ok(rows) };
        let missing = || Error::internal("a plan names a time column that is not there");
        let times = batch.rows().columns().get(latest).ok_or_else(missing)?;
        let times = times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(missing)?;
        let mut timed = Keys::new(None);
        let mut bytes = Vec::new();
        for (row, encoded) in rows.iter().enumerate() {
            // A row without a time is older than all others.
            let time = if times.is_null(row) { i64::MIN } else { times.value(row) };
            bytes.clear();
            bytes.extend_from_slice(&(time ^ i64::MIN).to_be_bytes());
            bytes.extend_from_slice(encoded);
            timed.push(&bytes);
        }
        Ok(timed)
    }
}

impl Settles for Upsert {
    fn keys(&self) -> u32 {
        self.tick.index.slots() as u32
    }

    fn settle(&mut self, from: u32, to: u32) -> Result<Option<Out>> {
        let mut out = Out::default();
        let Some(kept) = &mut self.kept else {
            for key in from..to {
                let before = self.tick.rows.rows(key).rev().find(|(_, weight)| *weight < 0);
                out.put(before.map(|(row, _)| row), shown(&self.tick.rows, key), self.with_before);
            }
            return Ok(Some(out));
        };
        if kept.lookup(&self.tick.index, from..to, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        let before: Vec<Option<Box<[u8]>>> =
            self.slots.iter().map(|s| shown(kept.values(), *s).map(Into::into)).collect();
        let live = kept.update(&self.slots);
        let mut gone = Vec::new();
        for ((key, slot), before) in (from..to).zip(&self.slots).zip(before) {
            match self.keeps {
                Keeps::All => self.tick.rows.rows(key).for_each(|(row, weight)| live.add(*slot, row, weight)),
                Keeps::Nothing | Keeps::Shown => {
                    if let Some(row) = shown(&self.tick.rows, key) {
                        keep_last(live, *slot, row);
                    }
                }
            }
            if live.rows(*slot).any(|(_, weight)| weight < 0) {
                return Err(retracted_too_often());
            }
            if live.len(*slot) == 0 {
                gone.push(*slot);
            }
            let after = shown(live, *slot);
            if before.as_deref() != after {
                out.put(before.as_deref(), after, self.with_before);
            }
        }
        kept.remove(&gone)?;
        Ok(Some(out))
    }

    fn emit(&self, out: Out) -> Result<ChangeBatch> {
        let front = if self.latest.is_some() { TIME_BYTES } else { 0 };
        out.batch(&self.schema, front)
    }

    fn clear(&mut self) {
        self.tick.clear();
    }

    fn settling(&mut self) -> &mut Option<u32> {
        &mut self.settling
    }
}

/// The row of a slot that is shown.
fn shown(rows: &Bags, slot: u32) -> Option<&[u8]> {
    rows.rows(slot).rev().find(|(_, weight)| *weight > 0).map(|(row, _)| row)
}

/// Puts `row` into a slot that holds one row at most, if it is behind that.
fn keep_last(rows: &mut Bags, slot: u32, row: &[u8]) {
    let last: Option<Box<[u8]>> = rows.rows(slot).next_back().map(|(last, _)| last.into());
    match last {
        Some(last) if *last >= *row => {}
        Some(last) => {
            rows.add(slot, &last, -1);
            rows.add(slot, row, 1);
        }
        None => rows.add(slot, row, 1),
    }
}

impl Operator for Upsert {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let columns = self.key.iter().map(|at| batch.rows().columns().get(*at).cloned());
        let columns: Option<Vec<ArrayRef>> = columns.collect();
        let columns = columns.ok_or_else(|| Error::internal("no such key column"))?;
        let mut keys = Keys::new(self.codec.stride());
        self.codec.encode(&columns, batch.num_rows(), &mut keys)?;
        let mut hashes = Vec::new();
        keys.hash_into(&mut hashes);
        let rows = self.kept_form(&batch)?;
        let tick = &mut self.tick;
        for (row, hash) in hashes.iter().enumerate() {
            let slot = tick.slot(*hash, keys.get(row));
            match self.keeps {
                Keeps::Shown => keep_last(&mut tick.rows, slot, rows.get(row)),
                Keeps::Nothing | Keeps::All => tick.rows.add(slot, rows.get(row), batch.weight(row)),
            }
        }
        tick.settle();
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
        self.kept.iter_mut().map(|table| table as &mut dyn StateTable).collect()
    }
}
