//! The first few rows of each partition by ROW_NUMBER, over append-only input: what de-duplication and most Top-Ns ask. Rows
//! stay columns: candidates and kept rows are numbers, what is compared is a number, and no row is encoded, copied or
//! allocated on its own.
//!
//! 1. A pushed batch's rows are numbered ([`numbered_rows`](super::numbered_rows)), and each partition keeps the numbers of its first
//!    few of the tick. Once most of the tick's rows are none of these, they go: what a tick holds is bounded by what can
//!    still rank.
//! 2. At the tick's end partitions are looked up in runs. What is [`kept`](super::kept) of them is numbered like the tick's
//!    rows, each partition's two short lists are merged, and what entered, left or changed its rank goes out.
//!
//! Gives the changes that [`super::TopN`] gives, which takes everything else.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::kept::KeptRows;
use super::numbered_rows::NumberedRows;
use super::{PARTITIONS_AT_ONCE, Plan};
use crate::change::ChangeBatch;
use crate::change::key::{KeyCodec, Keys};
use crate::error::Result;
use crate::memory::Account;
use crate::operator::ranked_rows::PARTITIONS_KEPT;
use crate::operator::ranks::{Ranking, no_such_column};
use crate::operator::row_store::NOWHERE;
use crate::operator::{CHUNK_ROWS, Operator, Pull, TickEnd, key_codec};
use crate::plan::{Changelog, RankFunction, Ranks};
use crate::state::{KeyIndex, KeyedTable, StateContext, StateTable, TableId};

/// Rows of a partition up to which this is done: the numbers of so many fit a cache line.
const FEW: i64 = 16;

/// A change on its way out: a row's number, its rank, a weight.
type Pick = (u32, i64, i64);

pub struct FirstRows {
    partition: Vec<usize>,
    ranks: Ranks,
    ranked: bool,
    most: usize,
    schema: SchemaRef,
    codec: KeyCodec,
    keys: Keys,
    hashes: Vec<u64>,
    /// The tick's partitions.
    index: KeyIndex,
    tick: NumberedRows,
    /// `most` numbers of the tick's rows for each partition, first rank first, [`NOWHERE`] behind the last.
    candidates: Vec<u32>,
    /// How many numbers these are.
    candidate_rows: usize,
    account: Account,
    table: KeyedTable<KeptRows>,
    slots: Vec<u32>,
    /// The partition of the tick that comes next; none while rows are taken in.
    next: Option<u32>,
    picks: Vec<Pick>,
    given: usize,
}

impl FirstRows {
    /// Whether a plan asks for what this does.
    pub fn suits(plan: &Plan<'_>) -> bool {
        let by_number = plan.ranks.function == RankFunction::RowNumber && (1..=FEW).contains(&plan.ranks.last);
        by_number && plan.changelog == Changelog::AppendOnly && !plan.at_once
    }

    pub fn new(
        id: TableId,
        plan: &Plan<'_>,
        input: &SchemaRef,
        schema: &SchemaRef,
        context: &StateContext,
    ) -> Result<Self> {
        let codec = key_codec(plan.partition, input)?;
        let most = plan.ranks.last.clamp(1, FEW) as usize;
        let ranking = Ranking::new(plan.ranks, plan.ranked, plan.order, input)?;
        let order_columns = plan.order.iter().map(|sort| sort.column).collect();
        Ok(FirstRows {
            partition: plan.partition.to_vec(),
            ranks: plan.ranks,
            ranked: plan.ranked,
            most,
            schema: Arc::clone(schema),
            keys: Keys::new(codec.stride()),
            hashes: Vec::new(),
            index: KeyIndex::new(codec.stride()),
            tick: NumberedRows::new(input, ranking.order, order_columns),
            candidates: Vec::new(),
            candidate_rows: 0,
            account: context.budget.account(),
            table: KeyedTable::open(context, id, codec.stride(), false, KeptRows::new(input, most)),
            codec,
            slots: Vec::new(),
            next: None,
            picks: Vec::new(),
            given: 0,
        })
    }

    /// Puts a row of the tick among the first of its partition, if it is one of them.
    fn offer(&mut self, partition: u32, row: u32) -> Result<()> {
        let from = partition as usize * self.most;
        if self.candidates.len() == from {
            self.candidates.resize(from + self.most, NOWHERE);
        }
        let places = self.candidates.get_mut(from..from + self.most).unwrap_or_default();
        self.candidate_rows += usize::from(places.last() == Some(&NOWHERE));
        let mut at = places.len();
        while let Some(before) = at.checked_sub(1).and_then(|before| places.get(before))
            && (*before == NOWHERE || self.tick.compare(row, *before)?.is_lt())
        {
            at -= 1;
        }
        let behind = places.get_mut(at..).unwrap_or_default();
        behind.rotate_right(usize::from(!behind.is_empty()));
        if let Some(place) = behind.first_mut() {
            *place = row;
        }
        Ok(())
    }

    /// Drops the tick's rows that are no candidates, if they are most: each row that came pays for moving at most one other.
    fn compact(&mut self) -> Result<()> {
        if self.tick.store.len() as usize <= 2 * self.candidate_rows + CHUNK_ROWS {
            return Ok(());
        }
        self.tick.retain(self.candidates.iter_mut().filter(|row| **row != NOWHERE))
    }

    /// Brings partitions `from..to` of the tick, whose slots are looked up, to the tick's end.
    fn merge(&mut self, from: u32, to: u32) -> Result<()> {
        let kept_numbers: Vec<u32> = self.slots.iter().flat_map(|slot| self.table.values().rows(*slot)).collect();
        let mut kept_from = match kept_numbers.is_empty() {
            true => self.tick.store.len(),
            false => self.tick.push(&self.table.values().store().batch(&kept_numbers)?)?,
        };
        let first_kept = kept_from;
        let mut changed = Vec::new();
        // Rows of the tick that are kept from now on, and for each changed partition how many rows it has.
        let (mut entering, mut now, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        let slots = std::mem::take(&mut self.slots);
        let mut new = Vec::with_capacity(self.most);
        for (partition, slot) in (from..to).zip(&slots) {
            let kept = self.table.values().rows(*slot).count() as u32;
            let old = kept_from..kept_from + kept;
            kept_from = old.end;
            self.first_of(partition, old.clone(), &mut new)?;
            if new.iter().copied().eq(old.clone()) {
                continue;
            }
            self.emit(old, &new)?;
            changed.push(*slot);
            lengths.push(new.len());
            for row in new.drain(..) {
                let number = row.checked_sub(first_kept).and_then(|at| kept_numbers.get(at as usize)).copied();
                now.push(number);
                entering.extend(number.is_none().then_some(row));
            }
        }
        self.slots = slots;
        let values = self.table.update(&changed);
        let mut next_number = match entering.is_empty() {
            true => 0,
            false => values.push(&self.tick.store.batch(&entering)?)?,
        };
        let mut now = now.into_iter().map(|number| {
            number.unwrap_or_else(|| {
                next_number += 1;
                next_number - 1
            })
        });
        for (slot, length) in changed.into_iter().zip(lengths) {
            values.set(slot, now.by_ref().take(length));
        }
        values.compact()
    }

    /// The first rows of a partition of the tick, of those that were kept and those of the tick, into `first`.
    fn first_of(&self, partition: u32, kept: Range<u32>, first: &mut Vec<u32>) -> Result<()> {
        let from = partition as usize * self.most;
        let candidates = self.candidates.get(from..from + self.most).unwrap_or_default();
        let mut candidates = candidates.iter().copied().take_while(|row| *row != NOWHERE).peekable();
        let mut kept = kept.peekable();
        first.clear();
        while first.len() < self.most {
            // Equal rows stay where they are.
            let next = match (kept.peek(), candidates.peek()) {
                (Some(old), Some(new)) if self.tick.compare(*new, *old)?.is_lt() => candidates.next(),
                (Some(_), _) => kept.next(),
                (None, _) => candidates.next(),
            };
            match next {
                Some(row) => first.push(row),
                None => break,
            }
        }
        Ok(())
    }

    /// Picks what changes of the answer when a partition's first rows change.
    fn emit(&mut self, old: Range<u32>, new: &[u32]) -> Result<()> {
        let in_front = usize::try_from(self.ranks.first - 1).unwrap_or(0);
        let (mut old, mut new) = (old.skip(in_front).peekable(), new.iter().copied().skip(in_front).peekable());
        let mut rank = self.ranks.first;
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(was), Some(is)) => self.tick.compare(*was, *is)?,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Ok(()),
            };
            // With ranks, the two that have the same one stand beside each other; without, equal rows do.
            let was = if self.ranked || order.is_le() { old.next() } else { None };
            let is = if self.ranked || order.is_ge() { new.next() } else { None };
            if order.is_ne() {
                let shown = if self.ranked { rank } else { 0 };
                self.picks.extend(was.map(|row| (row, shown, -1)));
                self.picks.extend(is.map(|row| (row, shown, 1)));
            }
            rank += 1;
        }
    }

    /// The next chunk of what is picked; none if there is none.
    fn chunk(&mut self) -> Result<Option<ChangeBatch>> {
        let to = (self.given + CHUNK_ROWS).min(self.picks.len());
        let picks = self.picks.get(self.given..to).unwrap_or_default();
        if picks.is_empty() {
            return Ok(None);
        }
        let numbers: Vec<u32> = picks.iter().map(|(row, ..)| *row).collect();
        let mut columns = self.tick.store.gather_all(&numbers)?;
        if self.ranked {
            columns.push(Arc::new(picks.iter().map(|(_, rank, _)| *rank).collect::<Int64Array>()));
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let weights = picks.iter().map(|(.., weight)| *weight).collect();
        self.given = to;
        if self.given == self.picks.len() {
            self.picks.clear();
            self.given = 0;
        }
        ChangeBatch::new(rows, Some(weights)).map(Some)
    }

    fn settle(&mut self) {
        let numbers = 4 * self.candidates.capacity() + size_of::<Pick>() * self.picks.capacity();
        self.account.set(self.index.bytes() + self.tick.bytes_held() + numbers);
    }
}

impl Operator for FirstRows {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let picked = self.partition.iter().map(|at| batch.rows().columns().get(*at).cloned());
        let columns: Vec<ArrayRef> = picked.collect::<Option<_>>().ok_or_else(no_such_column)?;
        self.codec.encode(&columns, batch.num_rows(), &mut self.keys)?;
        self.keys.hash_into(&mut self.hashes);
        let first = self.tick.push(batch.rows())?;
        let hashes = std::mem::take(&mut self.hashes);
        for (at, (hash, row)) in hashes.iter().zip(first..).enumerate() {
            let partition = self.index.find_or_insert(*hash, self.keys.get(at));
            self.offer(partition, row)?;
        }
        self.hashes = hashes;
        self.compact()?;
        self.settle();
        Ok(())
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        self.next = Some(0);
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        while let Some(from) = self.next {
            if self.picks.len() - self.given >= CHUNK_ROWS {
                break;
            }
            let to = (from + PARTITIONS_AT_ONCE).min(self.index.slots() as u32);
            if from == to {
                break;
            }
            if self.table.lookup(&self.index, from..to, &mut self.slots)? == Poll::Pending {
                return Ok(Pull::Blocked);
            }
            self.merge(from, to)?;
            self.settle();
            self.next = Some(to);
        }
        if let Some(changes) = self.chunk()? {
            return Ok(Pull::Batch(changes));
        }
        if self.next.take().is_some() {
            self.index.clear(PARTITIONS_KEPT);
            self.tick.clear();
            self.candidates.clear();
            self.candidate_rows = 0;
            self.settle();
        }
        Ok(Pull::Done)
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.table]
    }
}
