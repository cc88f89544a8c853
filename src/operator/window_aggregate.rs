//! GROUP BY window and keys. State's keys start with the slice's end, so that closing windows is a scan in time order.
//!
//! 1. A row whose window has fired is late, and dropped: one with a judge (its partition's watermark from just before it)
//!    if that has reached the window's last instant, and any row if the last tick's watermark has.
//! 2. The other rows are combined by slice end and keys, and merged into state at the tick's end.
//! 3. EMIT ON UPDATE: each group whose row changed gives one -1/+1 pair.
//! 4. Windows fire when the watermark reaches their last instant, in time order. EMIT ON CLOSE emits them then. Either
//!    way they leave state.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::aggregate::retracted_too_often;
use super::combine::Combiner;
use super::group::{Calls, Groups};
use super::net::Transition;
use super::slices::Slices;
use super::window::{event_times, timestamps, window_columns};
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::key::{TIME_WIDTH, leading_time};
use crate::change::{ChangeBatch, Watermark};
use crate::error::Result;
use crate::plan::{Emit, EventTime};
use crate::state::{KeyedTable, Scan, StateContext, StateTable, TableId};

/// Keys merged at once: each gives at most two rows.
const KEYS_AT_ONCE: u32 = CHUNK_ROWS as u32 / 2;

/// What a plan says of a window aggregate.
pub struct Windows {
    pub slices: Slices,
    pub time: EventTime,
    pub emit: Emit,
}

pub struct WindowAggregate {
    windows: Windows,
    schema: SchemaRef,
    combiner: Combiner,
    table: KeyedTable<Groups>,
    /// At the last tick's end.
    watermark: Watermark,
    late_rows: u64,
    stage: Stage,
    ends: Vec<i64>,
    slots: Vec<u32>,
}

enum Stage {
    /// Taking rows in.
    Open,
    /// The keys of the tick from here on are still to be merged.
    Merge { from: u32, fire: Scan },
    /// Windows are being closed.
    Fire(Scan),
}

impl WindowAggregate {
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
        let stride = codec.stride().map(|stride| stride + TIME_WIDTH);
        Ok(WindowAggregate {
            windows,
            schema: Arc::clone(schema),
            combiner: Combiner::new(keys, codec, stride, calls, context)?,
            table: KeyedTable::open(context, id, stride, true, Groups::new(calls)?),
            watermark: Watermark::NONE,
            late_rows: 0,
            stage: Stage::Open,
            ends: Vec::new(),
            slots: Vec::new(),
        })
    }

    /// For each row whether its window is still open for it; none: all are.
    fn in_time(&self, batch: &ChangeBatch) -> Option<BooleanArray> {
        let unit = self.windows.time.unit;
        let last_instant = |end: i64| end.saturating_sub(unit);
        let earliest = self.ends.iter().copied().min()?;
        let judges = batch.judges().filter(|judges| judges.iter().any(|judge| *judge >= last_instant(earliest)));
        if judges.is_none() && self.watermark.0 < last_instant(earliest) {
            return None;
        }
        let judge = |row: usize| judges.and_then(|judges| judges.get(row)).copied().unwrap_or(Watermark::NONE.0);
        let open = |(row, end): (usize, &i64)| judge(row).max(self.watermark.0) < last_instant(*end);
        Some(self.ends.iter().enumerate().map(open).map(Some).collect())
    }

    /// The columns of the output that name a group.
    fn key_columns<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let (mut ends, mut rest) = (Vec::new(), Vec::new());
        for key in keys {
            ends.push(leading_time(key)?);
            rest.push(key.get(TIME_WIDTH..).unwrap_or_default());
        }
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for place in window_columns(&ends, self.windows.slices.size(), self.windows.time.unit) {
            let field = self.schema.fields().get(columns.len());
            columns.push(timestamps(place, field.map_or(&DataType::Null, |f| f.data_type()))?);
        }
        columns.extend(self.combiner.codec().decode(rest)?);
        Ok(columns)
    }

    /// Merges keys `from..to` of the tick; `None` while state is being fetched.
    fn merge(&mut self, from: u32, to: u32) -> Result<Option<Option<ChangeBatch>>> {
        if self.table.lookup(self.combiner.index(), from..to, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        let slots = &self.slots;
        let update = self.windows.emit == Emit::OnUpdate;
        let was: Vec<bool> = slots.iter().map(|slot| self.table.values().is_out(*slot)).collect();
        let old = if was.contains(&true) { Some(self.table.values().finish(slots)?) } else { None };

        let groups = self.table.update(slots);
        groups.merge(slots, self.combiner.groups(), from..to)?;
        let new = if update { Some(groups.finish(slots)?) } else { None };
        let mut presence = Vec::with_capacity(slots.len());
        let mut gone = Vec::new();
        for (slot, was) in slots.iter().zip(was) {
            let is = match groups.rows(*slot) {
                rows if rows < 0 => return Err(retracted_too_often()),
                rows => rows > 0,
            };
            groups.set_out(*slot, is && update);
            presence.push((was, is));
            if !is {
                gone.push(*slot);
            }
        }
        self.table.remove(&gone)?;

        let Some(new) = new else { return Ok(Some(None)) };
        let index = self.combiner.index();
        let keys = self.key_columns((from..to).map(|at| index.key(at)))?;
        Transition { keys, old, new, presence }.changes(&self.schema).map(Some)
    }

    /// Closes the next windows. The answer's first part is `None` while state is being fetched; its second, nothing when
    /// no more windows are due.
    fn fire(&mut self, scan: &mut Scan) -> Result<Fired> {
        if self.table.scan(scan, CHUNK_ROWS, &mut self.slots)?.is_pending() {
            return Ok(Fired::Pending);
        }
        if self.slots.is_empty() {
            return Ok(Fired::AllDue);
        }
        let closed = match self.windows.emit {
            Emit::OnUpdate => None,
            Emit::OnClose => {
                let mut columns = self.key_columns(self.slots.iter().map(|slot| self.table.key(*slot)))?;
                columns.extend(self.table.values().finish(&self.slots)?);
                Some(ChangeBatch::append_only(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
            }
        };
        self.table.remove(&self.slots)?;
        Ok(Fired::Some(closed))
    }
}

enum Fired {
    Pending,
    /// Windows were closed, and emitted if they are when they close.
    Some(Option<ChangeBatch>),
    AllDue,
}

impl Operator for WindowAggregate {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.windows.slices.ends(event_times(&batch, self.windows.time)?, &mut self.ends)?;
        let Some(in_time) = self.in_time(&batch) else { return self.combiner.push(&batch, Some(&self.ends)) };
        let kept = batch.filter(&in_time)?;
        self.late_rows += (batch.num_rows() - kept.num_rows()) as u64;
        let mut row = in_time.values().iter();
        self.ends.retain(|_| row.next().unwrap_or_default());
        self.combiner.push(&kept, Some(&self.ends))
    }

    fn end_tick(&mut self, tick: &TickEnd) -> Result<()> {
        let watermark = tick.watermarks.first().copied().unwrap_or(Watermark::NONE);
        self.watermark = self.watermark.max(watermark);
        // A window fires when the watermark >= end - 1 unit.
        let upto = match self.watermark {
            Watermark::NONE => i64::MIN,
            Watermark(time) => time.saturating_add(self.windows.time.unit),
        };
        self.stage = Stage::Merge { from: 0, fire: Scan::new(None, upto) };
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Open) {
                Stage::Open => return Ok(Pull::Done),
                Stage::Merge { from, fire } => {
                    let to = (from + KEYS_AT_ONCE).min(self.combiner.len());
                    if from == to {
                        self.combiner.clear()?;
                        self.stage = Stage::Fire(fire);
                        continue;
                    }
                    let merged = self.merge(from, to)?;
                    let next = if merged.is_some() { to } else { from };
                    self.stage = Stage::Merge { from: next, fire };
                    match merged {
                        None => return Ok(Pull::Blocked),
                        Some(Some(changes)) => return Ok(Pull::Batch(changes)),
                        Some(None) => {}
                    }
                }
                Stage::Fire(mut scan) => {
                    let fired = self.fire(&mut scan)?;
                    if !matches!(fired, Fired::AllDue) {
                        self.stage = Stage::Fire(scan);
                    }
                    match fired {
                        Fired::Pending => return Ok(Pull::Blocked),
                        Fired::Some(Some(batch)) => return Ok(Pull::Batch(batch)),
                        Fired::Some(None) | Fired::AllDue => {}
                    }
                }
            }
        }
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.table]
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}
