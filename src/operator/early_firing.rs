//! EMIT EVERY: behind a window aggregate that answers at every tick, what is let out only now and then.
//!
//! 1. A tick's changes are gathered by window and keys, and merged into those that are held: what cancels out over several
//!    ticks is gone, so of a group there is left what was last shown of it, and what is to be.
//! 2. When the watermark passes a multiple of the interval, everything that is held goes out.
//! 3. In any other tick the windows that have closed do, and whatever comes of them later.
//!
//! The watermark is the clock, so what is shown depends on the data, and an interval in which nothing comes costs nothing.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;

use super::bags::Bags;
use super::tick_changes::TickChanges;
use super::window::event_times;
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::key::{KeyCodec, Keys, TIME_WIDTH};
use crate::change::row::{decode_rows, encode_rows};
use crate::change::{ChangeBatch, Watermark};
use crate::error::{Error, Result};
use crate::plan::EventTime;
use crate::state::{KeyedTable, Scan, StateContext, StateTable, TableId};

/// Keys held or let out at once: each gives at most two rows.
const KEYS_AT_ONCE: u32 = CHUNK_ROWS as u32 / 2;

pub struct EarlyFiring {
    /// In microseconds of event time.
    every: i64,
    /// A row's last instant: its window has closed when the watermark is there.
    time: EventTime,
    keys: Vec<usize>,
    codec: KeyCodec,
    schema: SchemaRef,
    tick: TickChanges,
    /// What was not let out yet, by last instant and keys.
    held: KeyedTable<Bags>,
    /// At the last tick's end.
    watermark: Watermark,
    /// Rows up to this last instant go out at the end of the tick.
    upto: i64,
    stage: Stage,
    slots: Vec<u32>,
}

enum Stage {
    /// Taking rows in.
    Open,
    /// The keys of the tick from here on are still to be held.
    Hold { from: u32 },
    /// What is due is being let out.
    Fire(Scan),
}

impl EarlyFiring {
    pub fn new(
        id: TableId,
        every: i64,
        time: EventTime,
        keys: &[usize],
        schema: &SchemaRef,
        context: &StateContext,
    ) -> Result<Self> {
        if every <= 0 {
            return Err(Error::internal("an interval of early firing has no length"));
        }
        let codec = super::key_codec(keys, schema)?;
        let stride = codec.stride().map(|stride| stride + TIME_WIDTH);
        Ok(EarlyFiring {
            every,
            time,
            keys: keys.to_vec(),
            codec,
            schema: Arc::clone(schema),
            tick: TickChanges::new(stride, context),
            held: KeyedTable::open(context, id, stride, true, Bags::default()),
            watermark: Watermark::NONE,
            upto: i64::MIN,
            stage: Stage::Open,
            slots: Vec::new(),
        })
    }

    /// Which multiple of the interval a watermark has passed last.
    fn period(&self, watermark: Watermark) -> i64 {
        match watermark {
            Watermark::NONE => i64::MIN,
            Watermark(time) => time.div_euclid(self.every),
        }
    }

    /// Merges keys `from..to` of the tick into what is held; false while state is being fetched.
    fn hold(&mut self, from: u32, to: u32) -> Result<bool> {
        if self.held.lookup(&self.tick.index, from..to, &mut self.slots)?.is_pending() {
            return Ok(false);
        }
        let held = self.held.update(&self.slots);
        let mut gone = Vec::new();
        for (key, slot) in (from..to).zip(&self.slots) {
            self.tick.rows.rows(key).for_each(|(row, weight)| held.add(*slot, row, weight));
            if held.len(*slot) == 0 {
                gone.push(*slot);
            }
        }
        self.held.remove(&gone)?;
        Ok(true)
    }

    /// The rows of the entries in `slots`, which go; of each what is taken back comes first.
    fn let_out(&mut self) -> Result<ChangeBatch> {
        let held = self.held.values();
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for slot in &self.slots {
            for taken_back in [true, false] {
                for (row, weight) in held.rows(*slot).filter(|(_, weight)| (*weight < 0) == taken_back) {
                    rows.push(row);
                    weights.push(weight);
                }
            }
        }
        let rows = decode_rows(&self.schema, rows)?;
        self.held.remove(&self.slots)?;
        ChangeBatch::new(rows, Some(ScalarBuffer::from(weights)))
    }
}

impl Operator for EarlyFiring {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let columns: Option<Vec<ArrayRef>> =
            self.keys.iter().map(|at| batch.rows().columns().get(*at).cloned()).collect();
        let columns = columns.ok_or_else(|| Error::internal("no such key column"))?;
        let mut keys = Keys::new(self.codec.stride().map(|stride| stride + TIME_WIDTH));
        self.codec.encode_timed(event_times(&batch, self.time)?, &columns, &mut keys)?;
        let mut hashes = Vec::new();
        keys.hash_into(&mut hashes);
        let rows = encode_rows(batch.rows())?;
        for (row, hash) in hashes.iter().enumerate() {
            let slot = self.tick.slot(*hash, keys.get(row));
            self.tick.rows.add(slot, rows.get(row), batch.weight(row));
        }
        self.tick.settle();
        Ok(())
    }

    fn end_tick(&mut self, tick: &TickEnd) -> Result<()> {
        let watermark = tick.watermark();
        self.upto = if self.period(watermark) > self.period(self.watermark) { i64::MAX } else { watermark.0 };
        self.watermark = watermark;
        self.stage = Stage::Hold { from: 0 };
        Ok(())
    }

    fn resume(&mut self, last: &TickEnd) {
        self.watermark = last.watermark();
    }

    fn pull(&mut self) -> Result<Pull> {
        loop {
            match &mut self.stage {
                Stage::Open => return Ok(Pull::Done),
                Stage::Hold { from } => {
                    let from = *from;
                    let to = (from + KEYS_AT_ONCE).min(self.tick.index.slots() as u32);
                    if from == to {
                        self.tick.clear();
                        self.stage = Stage::Fire(Scan::new(None, self.upto));
                    } else if self.hold(from, to)? {
                        self.stage = Stage::Hold { from: to };
                    } else {
                        return Ok(Pull::Blocked);
                    }
                }
                Stage::Fire(scan) => {
                    if self.held.scan(scan, KEYS_AT_ONCE as usize, &mut self.slots)?.is_pending() {
                        return Ok(Pull::Blocked);
                    }
                    if self.slots.is_empty() {
                        self.stage = Stage::Open;
                        continue;
                    }
                    return self.let_out().map(Pull::Batch);
                }
            }
        }
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.held]
    }
}
