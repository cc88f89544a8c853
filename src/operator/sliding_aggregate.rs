//! GROUP BY window and keys for HOP and CUMULATE whose windows answer once, when they close. From one window to the next
//! only some slices come and go, so the answer moves along with the windows: what the cost of a window depends on is what
//! changed since the one before and how many keys it has, not how many slices it is made of.
//!
//! State, all of it by key:
//! - `waiting`: slices whose first window has not fired, under `first | last | key`. Rows are added here, once.
//! - `running`: the sum of the slices of the window that fires next, under `0 | key`.
//! - `leaving`: slices that are part of `running`, under `last | first | key`: what is to be taken out again.
//!
//! 1. Rows enter the windows that have not fired for them ([`Slices::admit`](super::slices::Slices::admit)): a row that
//!    comes late for some has a shorter span, and is a slice with others of its kind.
//! 2. A tick's rows are combined by span and keys, and merged into `waiting`.
//! 3. For each window that fires, in time order: its new slices enter `running`; the keys of `running` are emitted; the
//!    slices whose last window it was are taken out.
//!
//! MIN and MAX cannot be taken out, so `running` keeps the slices' extremes of such calls, each counted.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::accumulator::Sign;
use super::aggregate::retracted_too_often;
use super::combine::Combiner;
use super::group::{Calls, Groups};
use super::slices::Spans;
use super::window::window_columns;
use super::window_aggregate::{Windows, push_spans, span_combiner};
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::key::{KeyCodec, TIME_WIDTH, encode_time, hash, leading_time};
use crate::change::{ChangeBatch, Watermark};
use crate::error::Result;
use crate::state::{KeyIndex, KeyedTable, Scan, StateContext, StateTable, TableId};

/// Keys merged or moved at once.
const KEYS_AT_ONCE: u32 = CHUNK_ROWS as u32;

/// The time that keys of `running` start with: all are found by one scan.
const RUNNING: i64 = 0;

pub struct SlidingAggregate {
    windows: Windows,
    schema: SchemaRef,
    keys: KeyCodec,
    combiner: Combiner,
    waiting: KeyedTable<Groups>,
    running: KeyedTable<Groups>,
    leaving: KeyedTable<Groups>,
    /// At the last tick's end, and at that of the tick before.
    watermark: Watermark,
    before: Watermark,
    late_rows: u64,
    stage: Stage,
    spans: Spans,
    slots: Vec<u32>,
    moving: Moving,
}

/// Slices on their way into `running`, or out of it.
struct Moving {
    /// Of `waiting` or of `leaving`.
    from: Vec<u32>,
    /// Their distinct keys in `running`, with a slot for each there, and which of them each slice has.
    keys: KeyIndex,
    slots: Vec<u32>,
    key_of: Vec<u32>,
    /// Their keys in `leaving`, and slots there.
    leaving: KeyIndex,
    leaving_slots: Vec<u32>,
}

enum Stage {
    /// Taking rows in.
    Open,
    /// The keys of the tick from here on are still to be merged.
    Merge { from: u32 },
    /// The first window behind this one that is due is to be found: the next one if anything runs, else the first that
    /// anything waits for.
    Find { fired: i64, running: Scan, waiting: Scan },
    /// Slices enter the window that ends at `end`; `gathered`: some have been found and are being moved.
    Enter { end: i64, scan: Scan, gathered: bool },
    /// The window is being emitted.
    Emit { end: i64, scan: Scan },
    /// Slices whose last window it was are taken out.
    Leave { end: i64, scan: Scan, gathered: bool },
}

impl SlidingAggregate {
    pub fn new(
        id: TableId,
        windows: Windows,
        keys: &[usize],
        calls: &Calls,
        input: &SchemaRef,
        schema: &SchemaRef,
        context: &StateContext,
    ) -> Result<Self> {
        let codec = super::key_codec(keys, input)?;
        let stride = |times: usize| codec.stride().map(|stride| stride + times * TIME_WIDTH);
        let open = |table: u8, times: usize, calls: &Calls| -> Result<KeyedTable<Groups>> {
            let table = TableId { table, ..id };
            let table = KeyedTable::open(context, table, stride(times), true, Groups::new(calls)?);
            Ok(table.with_lead(times * TIME_WIDTH))
        };
        let moving = Moving {
            from: Vec::new(),
            keys: KeyIndex::new(stride(1)),
            slots: Vec::new(),
            key_of: Vec::new(),
            leaving: KeyIndex::new(stride(2)),
            leaving_slots: Vec::new(),
        };
        Ok(SlidingAggregate {
            windows,
            schema: Arc::clone(schema),
            combiner: span_combiner(keys, calls, input, context)?,
            waiting: open(id.table, 2, calls)?,
            running: open(id.table + 1, 1, &calls.retractable())?,
            leaving: open(id.table + 2, 2, calls)?,
            keys: codec,
            watermark: Watermark::NONE,
            before: Watermark::NONE,
            late_rows: 0,
            stage: Stage::Open,
            spans: Spans::default(),
            slots: Vec::new(),
            moving,
        })
    }

    /// Merges keys `from..to` of the tick; false while state is being fetched.
    fn merge(&mut self, from: u32, to: u32) -> Result<bool> {
        if self.waiting.lookup(self.combiner.index(), from..to, &mut self.slots)?.is_pending() {
            return Ok(false);
        }
        self.waiting.update(&self.slots).merge(&self.slots, self.combiner.groups(), from..to)?;
        Ok(true)
    }

    /// The end of the next window that has rows, if it is due; `None` while state is being fetched.
    fn find(&mut self, fired: i64, running: &mut Scan, waiting: &mut Scan) -> Result<Option<Option<i64>>> {
        if self.running.scan(running, 1, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        if !self.slots.is_empty() {
            let due = self.windows.fired_upto(self.watermark);
            return Ok(Some(Some(self.windows.slices.end_behind(fired)?).filter(|end| *end <= due)));
        }
        if self.waiting.scan(waiting, 1, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        let first = self.slots.first().map(|slot| leading_time(self.waiting.key(*slot)));
        Ok(Some(first.transpose()?))
    }

    fn look_behind(&self, fired: i64) -> Stage {
        let due = self.windows.fired_upto(self.watermark);
        Stage::Find { fired, running: Scan::new(None, RUNNING), waiting: Scan::new(None, due) }
    }

    /// Moves the next slices into `running`: none left, or moved, or (`None`) state is being fetched.
    fn enter(&mut self, scan: &mut Scan, gathered: &mut bool) -> Result<Option<bool>> {
        let moving = &mut self.moving;
        match moving.prepare(&mut self.waiting, scan, gathered, &mut self.running)? {
            Some(true) => {}
            none => return Ok(none),
        }
        let slices = moving.leaving.slots() as u32;
        if self.leaving.lookup(&moving.leaving, 0..slices, &mut moving.leaving_slots)?.is_pending() {
            return Ok(None);
        }
        let values = self.waiting.values();
        self.running.update(&moving.slots).absorb(&moving.targets(), values, &moving.from, Sign::Add)?;
        let leaving = self.leaving.update(&moving.leaving_slots);
        leaving.absorb(&moving.leaving_slots, values, &moving.from, Sign::Add)?;
        self.waiting.remove(&moving.from)?;
        *gathered = false;
        Ok(Some(true))
    }

    /// Emits the next keys of the window that ends at `end`; `None` while state is being fetched.
    fn emit(&mut self, end: i64, scan: &mut Scan) -> Result<Option<Option<ChangeBatch>>> {
        if self.running.scan(scan, CHUNK_ROWS, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        if self.slots.is_empty() {
            return Ok(Some(None));
        }
        let groups = self.running.values();
        if self.slots.iter().any(|slot| groups.rows(*slot) < 0) {
            return Err(retracted_too_often());
        }
        // A group whose rows were all retracted gives no row; an empty batch is not emitted.
        self.slots.retain(|slot| groups.rows(*slot) > 0);
        let ends = vec![end; self.slots.len()];
        let fields = self.schema.fields().iter();
        let mut columns = window_columns(&ends, &self.windows.slices, self.windows.time.unit, fields)?;
        let keys = self.slots.iter().map(|slot| self.running.key(*slot).get(TIME_WIDTH..).unwrap_or_default());
        columns.extend(self.keys.decode(keys)?);
        columns.extend(groups.finish(&self.slots)?);
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(Some(Some(ChangeBatch::append_only(rows))))
    }

    /// Takes the next slices out of `running`: none left, or done, or (`None`) state is being fetched.
    fn leave(&mut self, scan: &mut Scan, gathered: &mut bool) -> Result<Option<bool>> {
        let moving = &mut self.moving;
        match moving.prepare(&mut self.leaving, scan, gathered, &mut self.running)? {
            Some(true) => {}
            none => return Ok(none),
        }
        let groups = self.running.update(&moving.slots);
        groups.absorb(&moving.targets(), self.leaving.values(), &moving.from, Sign::TakeOut)?;
        let empty: Vec<u32> = moving.slots.iter().copied().filter(|slot| groups.rows(*slot) == 0).collect();
        self.running.remove(&empty)?;
        self.leaving.remove(&moving.from)?;
        *gathered = false;
        Ok(Some(true))
    }

    /// Runs one step of a stage; gives what comes next, and what came out.
    fn step(&mut self, stage: Stage) -> Result<(Stage, Option<Pull>)> {
        let blocked = Some(Pull::Blocked);
        Ok(match stage {
            Stage::Open => (Stage::Open, Some(Pull::Done)),
            Stage::Merge { from } => {
                let to = (from + KEYS_AT_ONCE).min(self.combiner.len());
                if from == to {
                    self.combiner.clear()?;
                    (self.look_behind(self.windows.fired_upto(self.before)), None)
                } else if self.merge(from, to)? {
                    (Stage::Merge { from: to }, None)
                } else {
                    (Stage::Merge { from }, blocked)
                }
            }
            Stage::Find { fired, mut running, mut waiting } => match self.find(fired, &mut running, &mut waiting)? {
                None => (Stage::Find { fired, running, waiting }, blocked),
                Some(None) => (Stage::Open, None),
                Some(Some(end)) => (Stage::Enter { end, scan: Scan::new(None, end), gathered: false }, None),
            },
            Stage::Enter { end, mut scan, mut gathered } => match self.enter(&mut scan, &mut gathered)? {
                None => (Stage::Enter { end, scan, gathered }, blocked),
                Some(true) => (Stage::Enter { end, scan, gathered }, None),
                Some(false) => (Stage::Emit { end, scan: Scan::new(None, RUNNING) }, None),
            },
            Stage::Emit { end, mut scan } => match self.emit(end, &mut scan)? {
                None => (Stage::Emit { end, scan }, blocked),
                Some(Some(rows)) if rows.is_empty() => (Stage::Emit { end, scan }, None),
                Some(Some(rows)) => (Stage::Emit { end, scan }, Some(Pull::Batch(rows))),
                Some(None) => (Stage::Leave { end, scan: Scan::new(None, end), gathered: false }, None),
            },
            Stage::Leave { end, mut scan, mut gathered } => match self.leave(&mut scan, &mut gathered)? {
                None => (Stage::Leave { end, scan, gathered }, blocked),
                Some(true) => (Stage::Leave { end, scan, gathered }, None),
                Some(false) => (self.look_behind(end), None),
            },
        })
    }
}

impl Moving {
    /// Finds the next slices of `table`, unless they are `gathered` already, and their keys' slots in `running`: none left,
    /// or there, or (`None`) state is being fetched.
    fn prepare(
        &mut self,
        table: &mut KeyedTable<Groups>,
        scan: &mut Scan,
        gathered: &mut bool,
        running: &mut KeyedTable<Groups>,
    ) -> Result<Option<bool>> {
        if !*gathered {
            if table.scan(scan, KEYS_AT_ONCE as usize, &mut self.from)?.is_pending() {
                return Ok(None);
            }
            self.gather(table)?;
            *gathered = true;
        }
        if self.from.is_empty() {
            return Ok(Some(false));
        }
        let distinct = self.keys.slots() as u32;
        let pending = running.lookup(&self.keys, 0..distinct, &mut self.slots)?.is_pending();
        Ok((!pending).then_some(true))
    }

    /// Looks at the slices that were found in `table`.
    fn gather(&mut self, table: &KeyedTable<Groups>) -> Result<()> {
        self.keys.clear(KEYS_AT_ONCE as usize);
        self.leaving.clear(KEYS_AT_ONCE as usize);
        self.key_of.clear();
        let mut key = Vec::new();
        for slot in &self.from {
            let (times, rest) = table.key(*slot).split_at_checked(2 * TIME_WIDTH).unwrap_or_default();
            key.clear();
            key.extend_from_slice(&encode_time(RUNNING));
            key.extend_from_slice(rest);
            self.key_of.push(self.keys.find_or_insert(hash(&key), &key));
            let (first, last) = times.split_at_checked(TIME_WIDTH).unwrap_or_default();
            key.clear();
            key.extend_from_slice(last);
            key.extend_from_slice(first);
            key.extend_from_slice(rest);
            self.leaving.insert(hash(&key), &key);
        }
        Ok(())
    }

    /// For each slice its slot in `running`.
    fn targets(&self) -> Vec<u32> {
        self.key_of.iter().filter_map(|key| self.slots.get(*key as usize)).copied().collect()
    }
}

impl Operator for SlidingAggregate {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let (rows, late) = self.windows.admit(batch, &mut self.spans, self.watermark)?;
        self.late_rows += late;
        push_spans(&mut self.combiner, &rows, &self.spans)
    }

    fn end_tick(&mut self, tick: &TickEnd) -> Result<()> {
        self.before = self.watermark;
        self.watermark = self.watermark.max(tick.watermark());
        self.stage = Stage::Merge { from: 0 };
        Ok(())
    }

    fn resume(&mut self, last: &TickEnd) {
        self.watermark = last.watermark();
    }

    fn pull(&mut self) -> Result<Pull> {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Open);
            let (next, pulled) = self.step(stage)?;
            self.stage = next;
            if let Some(pulled) = pulled {
                return Ok(pulled);
            }
        }
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.waiting, &mut self.running, &mut self.leaving]
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}
