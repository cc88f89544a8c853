//! GROUP BY window and keys where each window is a group of its own: TUMBLE, and every window function whose answers change.
//! State's keys start with the window's end, so that closing windows is a scan in time order. (HOP and CUMULATE whose
//! windows only answer when they close are in `sliding_aggregate`.)
//!
//! 1. Rows enter the windows that are not gone for them ([`Slices::admit`]); those that enter none are late, and dropped.
//! 2. The others are combined by span and keys. At the tick's end a row of one window is merged into state as it is; what
//!    lies in several windows is laid out window by window first (`sweep`).
//! 3. EMIT ON UPDATE: each group whose row changed gives one -1/+1 pair. EMIT ON CLOSE: only those whose window has fired,
//!    which ALLOWED LATENESS keeps for corrections.
//! 4. Windows fire when the watermark reaches their last instant, in time order: EMIT ON CLOSE emits them then.
//! 5. Windows leave state when the watermark is past their last instant by the allowed lateness: with none, when they fire.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};

use super::aggregate::retracted_too_often;
use super::combine::Combiner;
use super::group::{Calls, Groups};
use super::net::Transition;
use super::slices::{Admitted, Slices, Spans};
use super::sweep::Sweep;
use super::window::{event_times, window_columns};
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::key::{KeyCodec, TIME_WIDTH, leading_time};
use crate::change::{ChangeBatch, Watermark};
use crate::error::{Error, Result};
use crate::plan::{Assigned, Emit, EventTime};
use crate::state::{KeyIndex, KeyedTable, Scan, StateContext, StateTable, TableId};

/// Keys merged at once: each gives at most two rows.
const KEYS_AT_ONCE: u32 = CHUNK_ROWS as u32 / 2;

/// What a plan says of a window aggregate.
#[derive(Clone, Copy)]
pub struct Windows {
    pub slices: Slices,
    pub time: EventTime,
    pub emit: Emit,
    /// How long after its last instant a window takes rows, in microseconds.
    pub lateness: i64,
    /// What names each row's one window, where a window function in front has repeated the rows.
    pub assigned: Option<Assigned>,
}

impl Windows {
    /// Windows named up to this have fired once the watermark is there.
    pub fn fired_upto(&self, watermark: Watermark) -> i64 {
        self.slices.gone_at(watermark, self.time.unit, 0)
    }

    /// Windows named up to this take no more rows.
    pub fn gone_upto(&self, watermark: Watermark) -> i64 {
        self.slices.gone_at(watermark, self.time.unit, self.lateness)
    }

    /// Whether the answers so far of the window named `end` are out, given the watermark of the tick before.
    pub fn is_shown(&self, end: i64, before: Watermark) -> bool {
        self.emit == Emit::OnUpdate || end <= self.fired_upto(before)
    }

    /// The rows of a batch that enter a window, with their spans, and how many are late.
    pub fn admit(&self, batch: ChangeBatch, spans: &mut Spans, watermark: Watermark) -> Result<(ChangeBatch, u64)> {
        let times = event_times(&batch, self.time)?;
        match self.assigned {
            None => self.slices.spans(times, spans)?,
            Some(assigned) => {
                self.names(&batch, assigned, &mut spans.firsts)?;
                spans.lasts.clone_from(&spans.firsts);
            }
        }
        match self.slices.admit(&batch, spans, watermark, self.time.unit, self.lateness)? {
            Admitted::All => Ok((batch, 0)),
            Admitted::Some { rows, late } => Ok((rows, late)),
        }
    }

    /// The names of the windows that the rows of a batch were assigned.
    fn names(&self, batch: &ChangeBatch, assigned: Assigned, names: &mut Vec<i64>) -> Result<()> {
        let instants = |column: usize| {
            let column = batch.rows().columns().get(column);
            let column = column.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
            column.map(|c| c.values()).ok_or_else(|| Error::internal("a window's border is no timestamp"))
        };
        let (starts, ends) = (assigned.start.map(instants).transpose()?, instants(assigned.end)?);
        names.clear();
        for (row, end) in ends.iter().enumerate() {
            names.push(self.slices.name(starts.and_then(|starts| starts.get(row)).copied(), *end)?);
        }
        Ok(())
    }

    /// Rows are in several windows, each of which answers once.
    pub fn slide(&self) -> bool {
        !self.is_single() && self.emit == Emit::OnClose && self.lateness == 0
    }

    /// Each row is in one window.
    fn is_single(&self) -> bool {
        self.slices.is_tumbling() || self.assigned.is_some()
    }
}

pub struct WindowAggregate {
    windows: Windows,
    schema: SchemaRef,
    keys: KeyCodec,
    combiner: Combiner,
    /// For rows of several windows.
    sweep: Option<Sweep>,
    table: KeyedTable<Groups>,
    /// At the last tick's end, and at that of the tick before.
    watermark: Watermark,
    before: Watermark,
    late_rows: u64,
    stage: Stage,
    spans: Spans,
    slots: Vec<u32>,
}

enum Stage {
    /// Taking rows in.
    Open,
    /// The keys of the tick (of the window that is laid out) from here on are still to be merged.
    Merge { from: u32 },
    /// Windows are being emitted.
    Fire(Scan),
    /// Windows leave state.
    Leave(Scan),
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
        let (combiner, sweep) = if windows.is_single() {
            (Combiner::new(keys, codec.clone(), stride, calls, context)?, None)
        } else {
            let sweep = Sweep::new(windows.slices, stride, calls)?;
            (span_combiner(keys, calls, input, context)?, Some(sweep))
        };
        Ok(WindowAggregate {
            windows,
            schema: Arc::clone(schema),
            keys: codec,
            combiner,
            sweep,
            table: KeyedTable::open(context, id, stride, true, Groups::new(calls)?),
            watermark: Watermark::NONE,
            before: Watermark::NONE,
            late_rows: 0,
            stage: Stage::Open,
            spans: Spans::default(),
            slots: Vec::new(),
        })
    }

    /// The columns of the output that name a group.
    fn key_columns<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let (mut ends, mut rest) = (Vec::new(), Vec::new());
        for key in keys {
            ends.push(leading_time(key)?);
            rest.push(key.get(TIME_WIDTH..).unwrap_or_default());
        }
        let fields = self.schema.fields().iter();
        let mut columns = window_columns(&ends, &self.windows.slices, self.windows.time.unit, fields)?;
        columns.extend(self.keys.decode(rest)?);
        Ok(columns)
    }

    /// What is to be merged: keys that start with a window's end, and their groups.
    fn laid_out<'a>(sweep: &'a Option<Sweep>, combiner: &'a Combiner) -> (&'a KeyIndex, &'a Groups) {
        match sweep {
            Some(sweep) => (&sweep.index, &sweep.groups),
            None => (combiner.index(), combiner.groups()),
        }
    }

    /// Merges keys `from..to` of what is laid out; `None` while state is being fetched.
    fn merge(&mut self, from: u32, to: u32) -> Result<Option<Option<ChangeBatch>>> {
        let (index, merged) = Self::laid_out(&self.sweep, &self.combiner);
        if self.table.lookup(index, from..to, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        let is_shown = |at: u32| Ok(self.windows.is_shown(leading_time(index.key(at))?, self.before));
        let shown = (from..to).map(is_shown).collect::<Result<Vec<bool>>>()?;
        let slots = &self.slots;
        let was: Vec<bool> = slots.iter().map(|slot| self.table.values().is_out(*slot)).collect();
        let old = if was.contains(&true) { Some(self.table.values().finish(slots)?) } else { None };

        let groups = self.table.update(slots);
        groups.merge(slots, merged, from..to)?;
        let new = if shown.contains(&true) { Some(groups.finish(slots)?) } else { None };
        let mut presence = Vec::with_capacity(slots.len());
        let mut gone = Vec::new();
        for ((slot, was), shown) in slots.iter().zip(was).zip(shown) {
            let is = match groups.rows(*slot) {
                rows if rows < 0 => return Err(retracted_too_often()),
                rows => rows > 0,
            };
            groups.set_out(*slot, is && shown);
            presence.push((was, is && shown));
            if !is {
                gone.push(*slot);
            }
        }
        self.table.remove(&gone)?;

        let Some(new) = new else { return Ok(Some(None)) };
        let keys = self.key_columns((from..to).map(|at| index.key(at)))?;
        Transition { keys, old, new, presence }.changes(&self.schema).map(Some)
    }

    /// Lays out the next window; false if the tick's rows are all merged.
    fn lay_out_next(&mut self) -> Result<bool> {
        let more = match &mut self.sweep {
            Some(sweep) => sweep.advance(&self.combiner)?,
            None => false,
        };
        if !more {
            self.combiner.clear()?;
        }
        Ok(more)
    }

    /// Emits the next windows that close.
    fn fire(&mut self, scan: &mut Scan) -> Result<Scanned> {
        if self.table.scan(scan, CHUNK_ROWS, &mut self.slots)?.is_pending() {
            return Ok(Scanned::Pending);
        }
        if self.slots.is_empty() {
            return Ok(Scanned::All);
        }
        let mut columns = self.key_columns(self.slots.iter().map(|slot| self.table.key(*slot)))?;
        columns.extend(self.table.values().finish(&self.slots)?);
        if self.windows.lateness == 0 {
            self.table.remove(&self.slots)?;
        } else {
            let groups = self.table.update(&self.slots);
            self.slots.iter().for_each(|slot| groups.set_out(*slot, true));
        }
        let closed = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(Scanned::Some(Some(ChangeBatch::append_only(closed))))
    }

    /// Takes the next windows out that can no longer change.
    fn leave(&mut self, scan: &mut Scan) -> Result<Scanned> {
        if self.table.scan(scan, CHUNK_ROWS, &mut self.slots)?.is_pending() {
            return Ok(Scanned::Pending);
        }
        if self.slots.is_empty() {
            return Ok(Scanned::All);
        }
        self.table.remove(&self.slots)?;
        Ok(Scanned::Some(None))
    }

    /// What follows once the tick's rows are merged.
    fn begin_firing(&self) -> Stage {
        let fired = self.windows.fired_upto(self.before);
        match self.windows.emit {
            Emit::OnClose => Stage::Fire(Scan::new(Some(fired), self.windows.fired_upto(self.watermark))),
            Emit::OnUpdate => self.begin_leaving(),
        }
    }

    fn begin_leaving(&self) -> Stage {
        Stage::Leave(Scan::new(None, self.windows.gone_upto(self.watermark)))
    }
}

/// Combines rows by `first | last | key`.
pub(super) fn span_combiner(
    keys: &[usize],
    calls: &Calls,
    input: &SchemaRef,
    context: &StateContext,
) -> Result<Combiner> {
    let last = arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let types = keys.iter().filter_map(|at| input.fields().get(*at)).map(|field| field.data_type());
    let codec = KeyCodec::new(std::iter::once(&last).chain(types))?;
    let stride = codec.stride().map(|stride| stride + TIME_WIDTH);
    Combiner::new(keys, codec, stride, calls, context)
}

/// Adds rows to a combiner that [`span_combiner`] made.
pub(super) fn push_spans(combiner: &mut Combiner, rows: &ChangeBatch, spans: &Spans) -> Result<()> {
    let lasts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(spans.lasts.clone()));
    combiner.push_behind(rows, Some(&spans.firsts), Some(lasts))
}

enum Scanned {
    Pending,
    /// Some windows were dealt with, and perhaps emitted.
    Some(Option<ChangeBatch>),
    All,
}

impl Operator for WindowAggregate {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let (rows, late) = self.windows.admit(batch, &mut self.spans, self.watermark)?;
        self.late_rows += late;
        match self.sweep {
            None => self.combiner.push(&rows, Some(&self.spans.firsts)),
            Some(_) => push_spans(&mut self.combiner, &rows, &self.spans),
        }
    }

    fn end_tick(&mut self, tick: &TickEnd) -> Result<()> {
        self.before = self.watermark;
        self.watermark = self.watermark.max(tick.watermark());
        if let Some(sweep) = &mut self.sweep {
            sweep.begin(&self.combiner)?;
        }
        self.stage = Stage::Merge { from: 0 };
        Ok(())
    }

    fn resume(&mut self, last: &TickEnd) {
        self.watermark = last.watermark();
    }

    fn pull(&mut self) -> Result<Pull> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Open) {
                Stage::Open => return Ok(Pull::Done),
                Stage::Merge { from } => {
                    let to = (from + KEYS_AT_ONCE).min(Self::laid_out(&self.sweep, &self.combiner).0.slots() as u32);
                    if from == to {
                        self.stage = if self.lay_out_next()? { Stage::Merge { from: 0 } } else { self.begin_firing() };
                        continue;
                    }
                    let merged = self.merge(from, to)?;
                    self.stage = Stage::Merge { from: if merged.is_some() { to } else { from } };
                    match merged {
                        None => return Ok(Pull::Blocked),
                        Some(Some(changes)) => return Ok(Pull::Batch(changes)),
                        Some(None) => {}
                    }
                }
                Stage::Fire(mut scan) => {
                    let fired = self.fire(&mut scan)?;
                    self.stage = if matches!(fired, Scanned::All) { self.begin_leaving() } else { Stage::Fire(scan) };
                    match fired {
                        Scanned::Pending => return Ok(Pull::Blocked),
                        Scanned::Some(Some(batch)) => return Ok(Pull::Batch(batch)),
                        Scanned::Some(None) | Scanned::All => {}
                    }
                }
                Stage::Leave(mut scan) => match self.leave(&mut scan)? {
                    Scanned::All => {}
                    left => {
                        self.stage = Stage::Leave(scan);
                        if matches!(left, Scanned::Pending) {
                            return Ok(Pull::Blocked);
                        }
                    }
                },
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
