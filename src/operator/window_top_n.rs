//! Window Top-N: the rows of each window, and of each partition of it, whose ranks are within bounds. In front stands a window
//! function that has put its columns into the rows, once for each window that holds a row. State's keys start with the
//! window's name, so that closing windows is a scan in time order.
//!
//! 1. Rows whose window is gone for them are late, and dropped ([`Windows::admit`]).
//! 2. The others are gathered by window and partition. At the tick's end they are merged into state, of which only what
//!    can have a rank is kept.
//! 3. EMIT ON UPDATE: what entered, left, or changed its rank is emitted. EMIT ON CLOSE: only of windows that have fired,
//!    which ALLOWED LATENESS keeps for corrections.
//! 4. Windows fire when the watermark reaches their last instant, in time order: EMIT ON CLOSE emits them then, and without
//!    ALLOWED LATENESS that is all there ever is of them, so the output only appends.
//! 5. Windows leave state when they take no more rows.
//!
//! The idea is Flink's WindowRank, which has no EMIT ON UPDATE and no ALLOWED LATENESS.

use arrow::datatypes::SchemaRef;

use super::bags::Bags;
use super::ranked_rows::{Changes, TickRows};
use super::ranks::Ranking;
use super::slices::{Slices, Spans};
use super::window_aggregate::Windows;
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::key::leading_time;
use crate::change::{ChangeBatch, Watermark};
use crate::error::Result;
use crate::plan::{Emit, WindowTopN as Plan};
use crate::state::{KeyedTable, Scan, StateContext, StateTable, TableId};

/// Partitions merged, or fired, at once.
const PARTITIONS_AT_ONCE: u32 = 4096;

pub struct WindowTopN {
    windows: Windows,
    ranking: Ranking,
    tick: TickRows,
    table: KeyedTable<Bags>,
    /// At the last tick's end, and at that of the tick before.
    watermark: Watermark,
    before: Watermark,
    late_rows: u64,
    stage: Stage,
    spans: Spans,
    slots: Vec<u32>,
    out: Changes,
}

enum Stage {
    /// Taking rows in.
    Open,
    /// The partitions of the tick from here on are still to be merged.
    Merge { from: u32 },
    /// Windows are being emitted: of the partitions in `slots` those from `next` on.
    Fire { scan: Scan, next: usize },
    /// Windows leave state.
    Leave(Scan),
}

/// What one step of a stage came to.
enum Step {
    Next(Stage),
    /// State is being fetched.
    Pending(Stage),
}

impl WindowTopN {
    pub fn new(
        id: TableId,
        plan: &Plan,
        input: &SchemaRef,
        schema: &SchemaRef,
        context: &StateContext,
    ) -> Result<Self> {
        let tick = TickRows::new(&plan.partition, &plan.order, true, input, context)?;
        let appends = plan.emit == Emit::OnClose && plan.lateness == 0;
        Ok(WindowTopN {
            windows: Windows {
                slices: Slices::new(&plan.window)?,
                time: plan.time,
                emit: plan.emit,
                lateness: plan.lateness,
                assigned: Some(plan.assigned),
            },
            ranking: Ranking::new(plan.ranks, plan.ranked, &plan.order, input)?,
            table: KeyedTable::open(context, id, tick.stride(), true, Bags::default()),
            tick,
            watermark: Watermark::NONE,
            before: Watermark::NONE,
            late_rows: 0,
            stage: Stage::Open,
            spans: Spans::default(),
            slots: Vec::new(),
            out: Changes::new(input, schema, plan.ranked, appends),
        })
    }

    /// Merges the next partitions of the tick.
    fn merge(&mut self, from: u32) -> Result<Step> {
        let to = (from + PARTITIONS_AT_ONCE).min(self.tick.len());
        if from == to {
            self.tick.clear();
            self.slots.clear();
            return Ok(Step::Next(match self.windows.emit {
                Emit::OnClose => {
                    let fired = |watermark| self.windows.fired_upto(watermark);
                    let scan = Scan::new(Some(fired(self.before)), fired(self.watermark));
                    Stage::Fire { scan, next: 0 }
                }
                Emit::OnUpdate => self.begin_leaving(),
            }));
        }
        if self.table.lookup(&self.tick.index, from..to, &mut self.slots)?.is_pending() {
            return Ok(Step::Pending(Stage::Merge { from }));
        }
        for (at, slot) in (from..to).zip(&self.slots) {
            if self.windows.is_shown(leading_time(self.tick.index.key(at))?, self.before) {
                let kept = self.table.values().rows(*slot);
                emit(&self.ranking, kept, self.tick.bags.rows(at), &mut self.out)?;
            }
            let kept = self.table.update(&[*slot]);
            self.tick.bags.rows(at).for_each(|(row, weight)| kept.add(*slot, row, weight));
            let within = self.ranking.within(kept.rows(*slot));
            kept.truncate(*slot, within);
        }
        Ok(Step::Next(Stage::Merge { from: to }))
    }

    /// Emits the next partitions of windows that close.
    fn fire(&mut self, mut scan: Scan, next: usize) -> Result<Step> {
        if let Some(slot) = self.slots.get(next) {
            let rows = self.table.values().rows(*slot);
            emit(&self.ranking, std::iter::empty(), rows, &mut self.out)?;
            return Ok(Step::Next(Stage::Fire { scan, next: next + 1 }));
        }
        if self.windows.lateness == 0 {
            self.table.remove(&self.slots)?;
        }
        self.slots.clear();
        if self.table.scan(&mut scan, PARTITIONS_AT_ONCE as usize, &mut self.slots)?.is_pending() {
            return Ok(Step::Pending(Stage::Fire { scan, next: 0 }));
        }
        let is_over = self.slots.is_empty();
        Ok(Step::Next(if is_over { self.begin_leaving() } else { Stage::Fire { scan, next: 0 } }))
    }

    fn begin_leaving(&self) -> Stage {
        Stage::Leave(Scan::new(None, self.windows.gone_upto(self.watermark)))
    }

    /// Takes the next windows out that can no longer change.
    fn leave(&mut self, mut scan: Scan) -> Result<Step> {
        if self.table.scan(&mut scan, PARTITIONS_AT_ONCE as usize, &mut self.slots)?.is_pending() {
            return Ok(Step::Pending(Stage::Leave(scan)));
        }
        self.table.remove(&self.slots)?;
        Ok(Step::Next(if self.slots.is_empty() { Stage::Open } else { Stage::Leave(scan) }))
    }
}

/// Puts out what `changes` do to the answer of a partition that has the rows `before`.
fn emit<'a>(
    ranking: &Ranking,
    before: impl Iterator<Item = (&'a [u8], i64)>,
    changes: impl Iterator<Item = (&'a [u8], i64)>,
    out: &mut Changes,
) -> Result<()> {
    let mut last = None;
    ranking.changes(before, changes, &mut |row: &[u8], rank: i64, weight: i64| {
        let (_, columns) = ranking.order.split(row);
        out.push(&mut last, columns, rank, weight);
    })
}

impl Operator for WindowTopN {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let (rows, late) = self.windows.admit(batch, &mut self.spans, self.watermark)?;
        self.late_rows += late;
        self.tick.push(&rows, Some(&self.spans.firsts), &self.ranking, true)
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
        while self.out.len() < CHUNK_ROWS {
            let step = match std::mem::replace(&mut self.stage, Stage::Open) {
                Stage::Open => break,
                Stage::Merge { from } => self.merge(from)?,
                Stage::Fire { scan, next } => self.fire(scan, next)?,
                Stage::Leave(scan) => self.leave(scan)?,
            };
            match step {
                Step::Next(stage) => self.stage = stage,
                Step::Pending(stage) => {
                    self.stage = stage;
                    return Ok(Pull::Blocked);
                }
            }
        }
        Ok(self.out.next()?.map_or(Pull::Done, Pull::Batch))
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.table]
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}
