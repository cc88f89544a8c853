//! The join of two inputs that only append. Nothing is ever taken back from state, so rows stay columns all the way: they are
//! kept as they come, a key's rows are a list of numbers, and pairs are picked by number. No row is encoded, compared or
//! allocated on its own.
//!
//! 1. A pushed batch goes into its [`side`]'s store at once, in no list yet; what can have no partner goes past it.
//! 2. At the tick's end the tick's keys are looked up on both sides, and the tick's rows linked into their [`lists`].
//! 3. [`Emission`]: new left rows meet all right ones, new right rows those left ones that are older than the tick. Rows that
//!    come out alone (outer padding, semi, anti) do so by their key: whether the other side had rows, and has.
//! 4. [`picks`]: pairs gather as numbers, are judged by the condition a chunk at a time over the columns that it needs, and
//!    leave by the chunk.
//!
//! If a plan promises that all rows of a key come within one tick, everything is forgotten at its end.
//!
//! Gives the changes that [`super::Join`] gives, which takes what is too rare for this to be worth it: changing inputs, and
//! rows that come out alone by a condition.

mod lists;
mod picks;
mod side;

use super::chunk::record_batch;
use super::side::KeyColumns;
use super::{Alone, KEYS_KEPT, LEFT, RIGHT, Spec};
use crate::change::ChangeBatch;
use crate::error::{Error, Result};
use crate::memory::Account;
use crate::operator::chunks::Chunks;
use crate::operator::row_store::{NOWHERE, RowStore};
use crate::operator::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::plan::Scalar;
use crate::state::{BackendKind, KeyIndex, KeyedTable, StateContext, StateTable, TableId};

use lists::RowLists;
use picks::{Condition, Picks};
use side::Side;

/// What is emitted, in this order.
#[derive(Debug, Clone, Copy)]
enum Emission {
    /// New rows of a side with rows of the other.
    Pairs(usize),
    /// New rows of a side that come out alone.
    NewAlone(usize),
    /// Older rows of a side that come out alone, or no longer do: where the other side has its first rows.
    OldAlone(usize),
}

const EMISSIONS: [Emission; 6] = [
    Emission::Pairs(LEFT),
    Emission::Pairs(RIGHT),
    Emission::NewAlone(LEFT),
    Emission::NewAlone(RIGHT),
    Emission::OldAlone(LEFT),
    Emission::OldAlone(RIGHT),
];

/// How far the end of a tick came.
#[derive(Default)]
struct Progress {
    is_linked: bool,
    /// In [`EMISSIONS`].
    emission: usize,
    /// The next of a side's new rows, or of the tick's keys.
    at: usize,
    /// The next row of the list that it meets; none: the list is not begun.
    row: Option<u32>,
}

pub struct AppendJoin {
    spec: Spec,
    condition: Option<Condition>,
    /// All rows of a key come within one tick.
    at_once: bool,
    context: StateContext,
    id: TableId,
    sides: [Side; 2],
    /// The tick's keys, of both sides.
    index: KeyIndex,
    account: Account,
    /// Rows pushed last that can have no partner, on their way out.
    partnerless: Chunks,
    progress: Option<Progress>,
    /// Pairs that the condition has not judged yet, and what is on its way out.
    candidates: Picks,
    picked: Picks,
}

/// An empty table of one side.
fn open(context: &StateContext, id: TableId, at: usize, stride: Option<usize>, spec: &Spec) -> KeyedTable<RowLists> {
    let lists = RowLists::new(RowStore::new(&spec.inputs[at]));
    KeyedTable::open(context, TableId { table: at as u8, ..id }, stride, false, lists)
}

impl AppendJoin {
    /// Whether a join of append-only inputs can be done so.
    pub fn suits(spec: &Spec) -> bool {
        spec.condition.is_none() || spec.alone == [None, None]
    }

    pub fn new(
        id: TableId,
        spec: Spec,
        (condition, at_once): (Option<&Scalar>, bool),
        keys: [KeyColumns; 2],
        context: &StateContext,
    ) -> Result<Self> {
        let stride = keys[LEFT].stride();
        let left_columns = spec.inputs[LEFT].fields().len();
        let condition = condition.map(|c| Condition::new(c, &spec.pair, left_columns)).transpose()?;
        let mut context = context.clone();
        if at_once {
            // What is gone at the tick's end needs nothing beneath.
            context.backend = BackendKind::Memory;
        }
        let [left, right] = keys;
        let sides = [
            Side::new(left, open(&context, id, LEFT, stride, &spec)),
            Side::new(right, open(&context, id, RIGHT, stride, &spec)),
        ];
        Ok(AppendJoin {
            condition,
            at_once,
            sides,
            index: KeyIndex::new(stride),
            account: context.budget.account(),
            context,
            id,
            spec,
            partnerless: Chunks::default(),
            progress: None,
            candidates: Picks::default(),
            picked: Picks::default(),
        })
    }

    /// The next chunk of the tick's end.
    fn advance(&mut self, progress: &mut Progress) -> Result<Pull> {
        if !progress.is_linked {
            for side in &mut self.sides {
                if !side.look_up(&self.index)? {
                    return Ok(Pull::Blocked);
                }
            }
            for side in &mut self.sides {
                side.link(&self.index)?;
            }
            progress.is_linked = true;
        }
        let mut judged = 0;
        while !self.picked.is_full()
            && let Some(emission) = EMISSIONS.get(progress.emission)
        {
            if judged >= CHUNK_ROWS {
                return Ok(Pull::More);
            }
            let done = match *emission {
                Emission::Pairs(side) if self.spec.kind.gives_pairs() => self.meet(side, progress, &mut judged)?,
                Emission::NewAlone(side) => self.new_alone(side, progress),
                Emission::OldAlone(side) => self.old_alone(side, progress),
                Emission::Pairs(_) => true,
            };
            if done {
                *progress = Progress { is_linked: true, emission: progress.emission + 1, at: 0, row: None };
            }
        }
        match self.picked.len() {
            0 => Ok(Pull::Done),
            _ => self.chunk().map(Pull::Batch),
        }
    }

    /// Picks the next pairs of a side's new rows; true when there are no more. `judged`: candidates so far.
    fn meet(&mut self, side: usize, progress: &mut Progress, judged: &mut usize) -> Result<bool> {
        let (own, other) = (&self.sides[side], &self.sides[1 - side]);
        let lists = other.table.values();
        let mut done = true;
        for (new, key) in own.new_rows(progress.at) {
            // New rows meet each other once: as left ones.
            let first = if side == LEFT { other.newest(key) } else { other.newest_before(key) };
            let mut row = progress.row.take().unwrap_or(first);
            while row != NOWHERE && !self.candidates.is_full() {
                self.candidates.push(side, new, row, 1);
                row = lists.older(row);
            }
            if row != NOWHERE {
                progress.row = Some(row);
                done = false;
                break;
            }
            progress.at += 1;
        }
        match &self.condition {
            _ if self.candidates.len() == 0 => {}
            None => self.candidates.move_all(&mut self.picked),
            Some(condition) => {
                *judged += self.candidates.len();
                let stores = [LEFT, RIGHT].map(|side| self.sides[side].table.values().store());
                condition.judge(&mut self.candidates, stores, &mut self.picked)?;
            }
        }
        Ok(done)
    }

    fn new_alone(&mut self, side: usize, progress: &mut Progress) -> bool {
        let Some(alone) = self.spec.alone[side] else { return true };
        let (own, other) = (&self.sides[side], &self.sides[1 - side]);
        for (new, key) in own.new_rows(progress.at) {
            if self.picked.is_full() {
                return false;
            }
            if other.there(key).1 == (alone == Alone::Matched) {
                self.picked.push(side, new, NOWHERE, 1);
            }
            progress.at += 1;
        }
        true
    }

    fn old_alone(&mut self, side: usize, progress: &mut Progress) -> bool {
        let Some(alone) = self.spec.alone[side] else { return true };
        let (own, other) = (&self.sides[side], &self.sides[1 - side]);
        let weight = if alone == Alone::Matched { 1 } else { -1 };
        for key in own.keys(progress.at) {
            if other.there(key) == (false, true) {
                let mut row = progress.row.take().unwrap_or_else(|| own.newest_before(key));
                while row != NOWHERE {
                    if self.picked.is_full() {
                        progress.row = Some(row);
                        return false;
                    }
                    self.picked.push(side, row, NOWHERE, weight);
                    row = own.table.values().older(row);
                }
            }
            progress.at += 1;
        }
        true
    }

    fn chunk(&mut self) -> Result<ChangeBatch> {
        let (picks, weights) = self.picked.take_chunk();
        let mut columns = self.sides[LEFT].table.values().store().gather_all(picks.of(LEFT))?;
        if self.spec.kind.gives_pairs() {
            columns.extend(self.sides[RIGHT].table.values().store().gather_all(picks.of(RIGHT))?);
        }
        let rows = record_batch(&self.spec.output, columns, weights.len())?;
        ChangeBatch::new(rows, (!self.spec.append_only).then(|| weights.into()))
    }

    fn end(&mut self) {
        self.index.clear(KEYS_KEPT);
        for (at, side) in self.sides.iter_mut().enumerate() {
            side.end_tick();
            if self.at_once {
                side.table = open(&self.context, self.id, at, side.stride(), &self.spec);
            }
        }
        self.account.set(self.bytes());
    }

    fn bytes(&self) -> usize {
        self.index.bytes() + self.sides.iter().map(Side::tick_bytes).sum::<usize>()
    }
}

impl Operator for AppendJoin {
    fn push(&mut self, port: usize, batch: ChangeBatch) -> Result<()> {
        let Some(side) = self.sides.get_mut(port) else { return Err(Error::internal("a join has two inputs")) };
        if let Some(rows) = side.take(&batch, &mut self.index)?
            && self.spec.alone[port] == Some(Alone::Unmatched)
        {
            self.partnerless.put(self.spec.padded(port, &rows)?)?;
        }
        self.account.set(self.bytes());
        Ok(())
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        self.progress = Some(Progress::default());
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        if let Some(rows) = self.partnerless.next() {
            return Ok(Pull::Batch(rows));
        }
        let Some(mut progress) = self.progress.take() else { return Ok(Pull::Done) };
        let pulled = self.advance(&mut progress)?;
        if matches!(pulled, Pull::Done) {
            self.end();
        } else {
            self.progress = Some(progress);
        }
        Ok(pulled)
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        let kept = self.sides.iter_mut().filter(|_| !self.at_once);
        kept.map(|side| &mut side.table as &mut dyn StateTable).collect()
    }
}
