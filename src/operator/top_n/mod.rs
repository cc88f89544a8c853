//! Top-N: the rows of each partition whose ranks are within bounds; ORDER BY with LIMIT, and DISTINCT ON.
//!
//! 1. A tick's rows are gathered by partition, each as its sort key and then its columns, so that bytes order as ORDER BY
//!    does and ties are broken by the columns' bytes, whatever the order of arrival.
//! 2. At the tick's end partitions are looked up in batches, and each is walked once, before and after its changes side by
//!    side ([`Ranking`]). What entered, left, or changed its rank is emitted, and nothing else.
//! 3. Over append-only input a row beyond the last rank can never come back: it is not kept. Over changing input all rows
//!    are.
//!
//! If a plan promises that all of a partition's rows come within one tick, nothing is kept at all. Where the first few rows by
//! ROW_NUMBER of append-only input are asked for, [`first`] does the same with much less: [`top_n`] chooses.

mod first;
mod kept;
mod numbered_rows;

use arrow::datatypes::SchemaRef;

use first::FirstRows;

use super::bags::Bags;
use super::ranked_rows::{Changes, TickRows};
use super::ranks::Ranking;
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::error::{Error, Result};
use crate::plan::{Changelog, Ranks, SortColumn};
use crate::state::{KeyedTable, StateContext, StateTable, TableId};

/// Partitions looked up at once.
const PARTITIONS_AT_ONCE: u32 = 4096;

/// What a plan says of a Top-N.
pub struct Plan<'a> {
    pub partition: &'a [usize],
    pub order: &'a [SortColumn],
    pub ranks: Ranks,
    pub ranked: bool,
    pub at_once: bool,
    /// Of the input.
    pub changelog: Changelog,
}

/// The Top-N of a plan.
pub fn top_n(
    id: TableId,
    plan: &Plan<'_>,
    input: &SchemaRef,
    schema: &SchemaRef,
    context: &StateContext,
) -> Result<Box<dyn Operator>> {
    Ok(match FirstRows::suits(plan) {
        true => Box::new(FirstRows::new(id, plan, input, schema, context)?),
        false => Box::new(TopN::new(id, plan, input, schema, context)?),
    })
}

struct TopN {
    ranking: Ranking,
    tick: TickRows,
    /// None if partitions come at once.
    table: Option<KeyedTable<Bags>>,
    /// Rows beyond the last rank are of no use.
    drops_beyond: bool,
    /// The partition of the tick that comes next; none while rows are taken in.
    next: Option<u32>,
    /// Partitions of the tick before this one have a slot in `slots`, which ends with theirs.
    looked_up: u32,
    slots: Vec<u32>,
    out: Changes,
}

impl TopN {
    fn new(
        id: TableId,
        plan: &Plan<'_>,
        input: &SchemaRef,
        schema: &SchemaRef,
        context: &StateContext,
    ) -> Result<Self> {
        let tick = TickRows::new(plan.partition, plan.order, false, input, context)?;
        let table = || KeyedTable::open(context, id, tick.stride(), false, Bags::default());
        Ok(TopN {
            table: (!plan.at_once).then(table),
            ranking: Ranking::new(plan.ranks, plan.ranked, plan.order, input)?,
            tick,
            drops_beyond: plan.changelog == Changelog::AppendOnly,
            next: None,
            looked_up: 0,
            slots: Vec::new(),
            out: Changes::new(input, schema, plan.ranked, plan.at_once),
        })
    }

    /// Finds the slots of the next partitions; false while state is being fetched.
    fn look_up(&mut self, from: u32) -> Result<bool> {
        if from < self.looked_up {
            return Ok(true);
        }
        let to = (from + PARTITIONS_AT_ONCE).min(self.tick.len());
        if let Some(table) = &mut self.table
            && table.lookup(&self.tick.index, from..to, &mut self.slots)?.is_pending()
        {
            return Ok(false);
        }
        self.looked_up = to;
        Ok(true)
    }

    /// Applies the tick's changes to one partition; what changes of its answer goes into `out`.
    fn merge(&mut self, at: u32) -> Result<()> {
        let changes = self.tick.bags.rows(at);
        let out = &mut self.out;
        let mut row_of = None;
        let mut emit = |row: &[u8], rank: i64, weight: i64| {
            let (_, columns) = self.ranking.order.split(row);
            out.push(&mut row_of, columns, rank, weight);
        };
        let Some(table) = &mut self.table else {
            return self.ranking.changes(std::iter::empty(), changes, &mut emit);
        };
        let behind = (self.looked_up - at) as usize;
        let slot = self.slots.len().checked_sub(behind).and_then(|place| self.slots.get(place));
        let slot = *slot.ok_or_else(|| Error::internal("a partition was not looked up"))?;
        self.ranking.changes(table.values().rows(slot), changes, &mut emit)?;
        let kept = table.update(&[slot]);
        self.tick.bags.rows(at).for_each(|(row, weight)| kept.add(slot, row, weight));
        if self.drops_beyond {
            let within = self.ranking.within(kept.rows(slot));
            kept.truncate(slot, within);
        }
        if kept.len(slot) == 0 {
            table.remove(&[slot])?;
        }
        Ok(())
    }
}

impl Operator for TopN {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let ranking = &self.ranking;
        self.tick.push(&batch, None, ranking, self.drops_beyond)
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        self.next = Some(0);
        self.looked_up = 0;
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        while let Some(at) = self.next {
            if self.out.len() >= CHUNK_ROWS {
                break;
            }
            if at == self.tick.len() {
                self.tick.clear();
                self.next = None;
                break;
            }
            if !self.look_up(at)? {
                return Ok(Pull::Blocked);
            }
            self.merge(at)?;
            self.next = Some(at + 1);
        }
        Ok(match self.out.next()? {
            Some(changes) => Pull::Batch(changes),
            None => Pull::Done,
        })
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        self.table.iter_mut().map(|table| table as &mut dyn StateTable).collect()
    }
}
