//! What both kinds of Top-N are made of: the rows of a tick by partition, and output on its way.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;

use super::bags::Bags;
use super::ranks::{Ranking, no_such_column};
use super::{CHUNK_ROWS, key_codec};
use crate::change::ChangeBatch;
use crate::change::key::{KeyCodec, Keys, TIME_WIDTH};
use crate::change::row::{decode_rows, encode_rows};
use crate::error::Result;
use crate::memory::Account;
use crate::plan::{RankFunction, SortColumn};
use crate::state::{KeyIndex, StateContext, Values};

/// Partitions that a tick keeps room for from the last one: those of a busy tick.
pub const PARTITIONS_KEPT: usize = 64 << 10;

/// The rows of a tick by partition, equal ones added up.
pub struct TickRows {
    partition: Vec<usize>,
    order: Vec<usize>,
    codec: KeyCodec,
    stride: Option<usize>,
    /// A partition's slot is the bag of its rows.
    pub index: KeyIndex,
    pub bags: Bags,
    account: Account,
}

impl TickRows {
    /// The partitions of rows of `input`; with `timed`, each has a time in front of its columns.
    pub fn new(
        partition: &[usize],
        order: &[SortColumn],
        timed: bool,
        input: &SchemaRef,
        context: &StateContext,
    ) -> Result<Self> {
        let codec = key_codec(partition, input)?;
        let front = if timed { TIME_WIDTH } else { 0 };
        Ok(TickRows {
            partition: partition.to_vec(),
            order: order.iter().map(|sort| sort.column).collect(),
            stride: codec.stride().map(|stride| stride + front),
            index: KeyIndex::new(codec.stride().map(|stride| stride + front)),
            codec,
            bags: Bags::default(),
            account: context.budget.account(),
        })
    }

    /// Bytes of every partition's key, if they are all alike.
    pub fn stride(&self) -> Option<usize> {
        self.stride
    }

    /// Adds the rows of a batch; with `times`, the key of each row's partition starts with its time.
    pub fn push(
        &mut self,
        batch: &ChangeBatch,
        times: Option<&[i64]>,
        ranking: &Ranking,
        drops_beyond: bool,
    ) -> Result<()> {
        let pick = |columns: &[usize]| -> Result<Vec<ArrayRef>> {
            let picked = columns.iter().map(|at| batch.rows().columns().get(*at).cloned());
            picked.collect::<Option<_>>().ok_or_else(no_such_column)
        };
        let mut keys = Keys::new(self.stride);
        let partition = pick(&self.partition)?;
        match times {
            Some(times) => self.codec.encode_timed(times, &partition, &mut keys)?,
            None => self.codec.encode(&partition, batch.num_rows(), &mut keys)?,
        }
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
    pub fn len(&self) -> u32 {
        self.index.slots() as u32
    }

    /// The tick is over.
    pub fn clear(&mut self) {
        self.index.clear(PARTITIONS_KEPT);
        self.bags.clear();
        self.account.set(self.index.bytes());
    }
}

/// Output on its way.
pub struct Changes {
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
    /// Rows of `input`, with their rank behind them if they are `ranked`; if the output only `appends`, without weights.
    pub fn new(input: &SchemaRef, schema: &SchemaRef, ranked: bool, appends: bool) -> Self {
        Changes {
            input: Arc::clone(input),
            schema: Arc::clone(schema),
            ranked,
            appends,
            rows: Keys::new(None),
            picks: Vec::new(),
            given: 0,
        }
    }

    /// `last`: the row that was pushed before and its place, so that one row with many ranks is held once.
    pub fn push(&mut self, last: &mut Option<usize>, row: &[u8], rank: i64, weight: i64) {
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

    /// Rows that were not given out yet.
    pub fn len(&self) -> usize {
        self.picks.len() - self.given
    }

    /// The next chunk.
    pub fn next(&mut self) -> Result<Option<ChangeBatch>> {
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
