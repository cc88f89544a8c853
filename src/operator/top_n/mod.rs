//! Top-N: the rows of each partition whose ranks are within bounds; ORDER BY with LIMIT, and DISTINCT ON.
//!
//! 1. A tick's rows are gathered by partition, each as its sort key and then its columns, so that bytes order as ORDER BY
//!    does and ties are broken by the columns' bytes, whatever the order of arrival.
//! 2. At the tick's end partitions are looked up in batches, and each is walked once, before and after its changes side by
//!    side ([`Ranking`]). What entered, left, or changed its rank is emitted, and nothing else.
//! 3. Over append-only input a row beyond the last rank can never come back: it is not kept. Over changing input all rows
//!    are.
//!
//! If a plan promises that all of a partition's rows come within one tick, nothing is kept at all.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;

use super::bags::Bags;
use super::ranks::Ranking;
use super::{CHUNK_ROWS, Operator, Pull, TickEnd, key_codec};
use crate::change::ChangeBatch;
use crate::change::key::{KeyCodec, Keys, OrderCodec};
use crate::change::row::{decode_rows, encode_rows};
use crate::error::{Error, Result};
use crate::memory::Account;
use crate::plan::{Changelog, RankFunction, Ranks, SortColumn};
use crate::state::{KeyIndex, KeyedTable, StateContext, StateTable, TableId, Values};

/// Partitions looked up at once.
const PARTITIONS_AT_ONCE: u32 = 4096;

/// Partitions that a tick keeps room for from the last one: those of a busy tick.
const PARTITIONS_KEPT: usize = 64 << 10;

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

pub struct TopN {
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
    pub fn new(
        id: TableId,
        plan: &Plan<'_>,
        input: &SchemaRef,
        schema: &SchemaRef,
        context: &StateContext,
    ) -> Result<Self> {
        let codec = key_codec(plan.partition, input)?;
        let ordered = plan.order.iter().map(|sort| {
            let field = input.fields().get(sort.column).ok_or_else(no_such_column)?;
            Ok((field.data_type(), sort.direction))
        });
        let order = OrderCodec::new(ordered.collect::<Result<Vec<_>>>()?)?;
        let table = || KeyedTable::open(context, id, codec.stride(), false, Bags::default());
        Ok(TopN {
            table: (!plan.at_once).then(table),
            ranking: Ranking { ranks: plan.ranks, ranked: plan.ranked, order },
            tick: TickRows {
                partition: plan.partition.to_vec(),
                order: plan.order.iter().map(|sort| sort.column).collect(),
                index: KeyIndex::new(codec.stride()),
                codec,
                bags: Bags::default(),
                account: context.budget.account(),
            },
            drops_beyond: plan.changelog == Changelog::AppendOnly,
            next: None,
            looked_up: 0,
            slots: Vec::new(),
            out: Changes {
                input: Arc::clone(input),
                schema: Arc::clone(schema),
                ranked: plan.ranked,
                appends: plan.at_once,
                rows: Keys::new(None),
                picks: Vec::new(),
                given: 0,
            },
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

fn no_such_column() -> Error {
    Error::internal("no such column to order by")
}

impl Operator for TopN {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let ranking = &self.ranking;
        self.tick.push(&batch, ranking, self.drops_beyond)
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

/// The rows of a tick by partition, equal ones added up.
struct TickRows {
    partition: Vec<usize>,
    order: Vec<usize>,
    codec: KeyCodec,
    /// A partition's slot is the bag of its rows.
    index: KeyIndex,
    bags: Bags,
    account: Account,
}

impl TickRows {
    fn push(&mut self, batch: &ChangeBatch, ranking: &Ranking, drops_beyond: bool) -> Result<()> {
        let pick = |columns: &[usize]| -> Result<Vec<ArrayRef>> {
            let picked = columns.iter().map(|at| batch.rows().columns().get(*at).cloned());
            picked.collect::<Option<_>>().ok_or_else(no_such_column)
        };
        let mut keys = Keys::new(self.codec.stride());
        self.codec.encode(&pick(&self.partition)?, batch.num_rows(), &mut keys)?;
        let mut hashes = Vec::new();
        keys.hash_into(&mut hashes);
        let sort_keys = ranking.order.encode(&pick(&self.order)?, batch.num_rows())?;
        let rows = encode_rows(batch.rows())?;
        let first_only = drops_beyond && ranking.ranks.function == RankFunction::RowNumber;
        let mut bytes = Vec::new();
        for (row, hash) in hashes.iter().enumerate() {
            let slot = self.index.find_or_insert(*hash, keys.get(row));
            self.bags.grow(self.index.slots());
            bytes.clear();
            sort_keys.write(row, &mut bytes);
            bytes.extend_from_slice(rows.get(row));
            match first_only {
                true => self.add_first(slot, &bytes, batch.weight(row), ranking),
                false => self.bags.add(slot, &bytes, batch.weight(row)),
            }
        }
        self.account.set(self.index.bytes() + self.bags.bytes());
        Ok(())
    }

    /// Adds a row unless as many as have a row number stand in front of it. Twice as many may gather before those beyond
    /// leave, so that looking for them costs little.
    fn add_first(&mut self, slot: u32, row: &[u8], weight: i64, ranking: &Ranking) {
        let enough = usize::try_from(ranking.ranks.last.max(0)).unwrap_or(usize::MAX);
        let full = self.bags.len(slot) >= enough;
        if full && self.bags.last(slot).is_none_or(|last| last < row) {
            return;
        }
        self.bags.add(slot, row, weight);
        if self.bags.len(slot) >= enough.saturating_mul(2) {
            let within = ranking.within(self.bags.rows(slot));
            self.bags.truncate(slot, within);
        }
    }

    /// Partitions of the tick so far.
    fn len(&self) -> u32 {
        self.index.slots() as u32
    }

    /// The tick is over.
    fn clear(&mut self) {
        self.index.clear(PARTITIONS_KEPT);
        self.bags.clear();
        self.account.set(self.index.bytes());
    }
}

/// Output on its way.
struct Changes {
    input: SchemaRef,
    schema: SchemaRef,
    ranked: bool,
    appends: bool,
    /// Distinct rows, encoded.
    rows: Keys,
    /// Which of them, with which rank and weight.
    picks: Vec<(usize, i64, i64)>,
    given: usize,
}

impl Changes {
    /// `last`: the row that was pushed before and its place, so that one row with many ranks is held once.
    fn push(&mut self, last: &mut Option<usize>, row: &[u8], rank: i64, weight: i64) {
        let place = match *last {
            Some(place) if self.rows.get(place) == row => place,
            _ => {
                self.rows.push(row);
                self.rows.len() - 1
            }
        };
        *last = Some(place);
        match self.appends {
            true => (0..weight).for_each(|_| self.picks.push((place, rank, 1))),
            false => self.picks.push((place, rank, weight)),
        }
    }

    fn len(&self) -> usize {
        self.picks.len() - self.given
    }

    /// The next chunk.
    fn next(&mut self) -> Result<Option<ChangeBatch>> {
        let to = (self.given + CHUNK_ROWS).min(self.picks.len());
        let picks = self.picks.get(self.given..to).unwrap_or_default();
        if picks.is_empty() {
            return Ok(None);
        }
        let decoded = decode_rows(&self.input, picks.iter().map(|(row, ..)| self.rows.get(*row)))?;
        let mut columns = decoded.columns().to_vec();
        if self.ranked {
            columns.push(Arc::new(picks.iter().map(|(_, rank, _)| *rank).collect::<Int64Array>()));
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let weights: Option<ScalarBuffer<i64>> =
            (!self.appends).then(|| picks.iter().map(|(.., weight)| *weight).collect());
        self.given = to;
        if self.given == self.picks.len() {
            self.rows.clear();
            self.picks.clear();
            self.given = 0;
        }
        ChangeBatch::new(rows, weights).map(Some)
    }
}
