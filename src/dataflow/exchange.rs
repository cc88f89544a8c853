//! The exchange: which shard a row goes to. Equal keys meet on the shard that owns their key group.
//!
//! A batch has rows for every shard. They wait with the sender until there are enough for a chunk, or its turn ends, and
//! are copied once, into that chunk: what a batch costs its receiver does not grow with the number of shards.

use std::mem;

use crate::change::ChangeBatch;
use crate::change::key::{key_group, shard_of};
use crate::error::Result;
use crate::operator::CHUNK_ROWS;

use super::shard::Outbound;
use super::stages::Route;

/// A batch of which all rows go to one shard is not copied if it has so many.
const WHOLE_ROWS: usize = CHUNK_ROWS / 2;

/// Rows of so many batches do not wait for more: each of them brings buffers of texts along.
const MOST_BATCHES: usize = 64;

/// Splits batches by key. Belongs to one sending shard.
///
/// Invariants: what one receiver gets by one route stays in order; nothing waits between two turns.
pub struct Router {
    shard: usize,
    shards: usize,
    /// Row numbers for each receiving shard; kept to save allocations.
    rows: Vec<Vec<u32>>,
    hashes: Vec<u64>,
    /// In the order of first use.
    waiting: Vec<Waiting>,
}

/// Rows on their way to a shard by a route.
struct Waiting {
    route: Route,
    shard: usize,
    batches: Vec<ChangeBatch>,
    /// Batch and row of each.
    picks: Vec<(usize, usize)>,
    /// Theirs, of the batches'.
    bytes: usize,
}

impl Router {
    /// For the sender on `shard` of `shards`.
    pub fn new(shard: usize, shards: usize) -> Self {
        Router { shard, shards, rows: vec![Vec::new(); shards], hashes: Vec::new(), waiting: Vec::new() }
    }

    /// Takes `batch` in, and appends to `out` what is enough for a chunk. Tells how many bytes were taken in: all of them
    /// are in `out` after [`Router::flush`].
    pub fn route(&mut self, route: &Route, batch: &ChangeBatch, out: &mut Vec<Outbound>) -> Result<usize> {
        let Some(columns) = route.key.as_ref().filter(|_| self.shards > 1) else {
            let bytes = batch.bytes();
            out.push(Outbound { route: route.clone(), shard: self.shard, batch: batch.clone(), bytes });
            return Ok(bytes);
        };
        batch.keys(columns)?.hash_into(&mut self.hashes);
        self.rows.iter_mut().for_each(Vec::clear);
        for (row, hash) in (0u32..).zip(&self.hashes) {
            if let Some(rows) = self.rows.get_mut(shard_of(key_group(*hash), self.shards)) {
                rows.push(row);
            }
        }
        let rows = mem::take(&mut self.rows);
        let some = rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty());
        let taken = some.map(|(shard, rows)| self.waiting(route, shard).take(batch, rows, out)).sum();
        self.rows = rows;
        taken
    }

    /// Appends all that waits.
    pub fn flush(&mut self, out: &mut Vec<Outbound>) -> Result<()> {
        self.waiting.iter_mut().try_for_each(|waiting| waiting.send(usize::MAX, out))
    }

    fn waiting(&mut self, route: &Route, shard: usize) -> &mut Waiting {
        let known = self.waiting.iter().position(|waiting| waiting.shard == shard && waiting.route == *route);
        let at = known.unwrap_or(self.waiting.len());
        if known.is_none() {
            let (batches, picks) = (Vec::new(), Vec::new());
            self.waiting.push(Waiting { route: route.clone(), shard, batches, picks, bytes: 0 });
        }
        &mut self.waiting[at]
    }
}

impl Waiting {
    /// Takes some rows of a batch, and sends what is enough. Tells their bytes.
    fn take(&mut self, batch: &ChangeBatch, rows: &[u32], out: &mut Vec<Outbound>) -> Result<usize> {
        let is_whole = rows.len() == batch.num_rows();
        if is_whole && rows.len() >= WHOLE_ROWS {
            self.send(usize::MAX, out)?;
            let bytes = batch.bytes();
            out.push(Outbound { route: self.route.clone(), shard: self.shard, batch: batch.clone(), bytes });
            return Ok(bytes);
        }
        let bytes = batch.bytes() * rows.len() / batch.num_rows().max(1);
        self.picks.extend(rows.iter().map(|row| (self.batches.len(), *row as usize)));
        self.batches.push(batch.clone());
        self.bytes += bytes;
        while self.picks.len() >= CHUNK_ROWS {
            self.send(CHUNK_ROWS, out)?;
        }
        if self.batches.len() >= MOST_BATCHES {
            self.send(usize::MAX, out)?;
        }
        Ok(bytes)
    }

    /// Sends the first `most` rows, or all. What stays is of the last batch.
    fn send(&mut self, most: usize, out: &mut Vec<Outbound>) -> Result<()> {
        let count = most.min(self.picks.len());
        let Some(last) = self.batches.last().filter(|_| count > 0).cloned() else { return Ok(()) };
        let bytes = self.bytes * count / self.picks.len();
        let rest = self.picks.split_off(count);
        let batch = ChangeBatch::interleave(&last.schema(), &self.batches, &self.picks)?;
        out.push(Outbound { route: self.route.clone(), shard: self.shard, batch, bytes });
        self.bytes -= bytes;
        self.picks = rest;
        self.picks.iter_mut().for_each(|(batch, _)| *batch = 0);
        self.batches.clear();
        if !self.picks.is_empty() {
            self.batches.push(last);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::change::Watermark;

    fn batch(keys: &[i64], numbers: std::ops::Range<i64>, weights: Option<i64>) -> ChangeBatch {
        let length = numbers.clone().count();
        let keys: Int64Array = keys.iter().cycle().take(length).copied().collect();
        let texts: StringViewArray = numbers.clone().map(|n| Some(format!("a text beyond twelve bytes {n}"))).collect();
        let numbers: Int64Array = numbers.collect();
        let columns: [(&str, ArrayRef); 3] = [("k", Arc::new(keys)), ("n", Arc::new(numbers)), ("s", Arc::new(texts))];
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        ChangeBatch::new(rows, weights.map(|weight| std::iter::repeat_n(weight, length).collect())).unwrap()
    }

    fn route() -> Route {
        Route { stage: 1, operator: 0, port: 0, key: Some(vec![0]) }
    }

    /// What a shard receives: rows a batch, and all (number, text, weight).
    type Received = (Vec<usize>, Vec<(i64, String, i64)>);

    /// Routes `batches` to `shards`.
    fn received(shards: usize, batches: &[ChangeBatch]) -> Vec<Received> {
        let (mut router, mut out, mut taken) = (Router::new(0, shards), Vec::new(), 0);
        for batch in batches {
            taken += router.route(&route(), batch, &mut out).unwrap();
        }
        router.flush(&mut out).unwrap();
        assert_eq!(out.iter().map(|o| o.bytes).sum::<usize>(), taken);
        let mut all = vec![(Vec::new(), Vec::new()); shards];
        for Outbound { shard, batch, .. } in out {
            let (sizes, rows) = &mut all[shard];
            sizes.push(batch.num_rows());
            let (numbers, texts) = (batch.column(1).as_primitive::<Int64Type>(), batch.column(2).as_string_view());
            rows.extend((0..batch.num_rows()).map(|at| {
                assert_eq!(batch.judge(at), Watermark::NONE);
                (numbers.value(at), texts.value(at).to_string(), batch.weight(at))
            }));
        }
        let mut again = Vec::new();
        router.flush(&mut again).unwrap();
        assert!(again.is_empty());
        all
    }

    #[test]
    fn rows_leave_by_the_chunk_and_in_order() {
        let keys: Vec<i64> = (0..1000).collect();
        let batches: Vec<_> = (0..9).map(|i| batch(&keys, i * 3000..(i + 1) * 3000, (i == 4).then_some(-1))).collect();
        let mut seen = Vec::new();
        for (sizes, rows) in received(3, &batches) {
            let (last, full) = sizes.split_last().unwrap();
            assert!(full.iter().all(|size| *size == CHUNK_ROWS) && *last <= CHUNK_ROWS, "{sizes:?}");
            assert!(rows.is_sorted_by_key(|(number, ..)| *number));
            seen.extend(rows);
        }
        seen.sort_unstable();
        let expected = (0..27_000).map(|n| {
            let weight = if (12_000..15_000).contains(&n) { -1 } else { 1 };
            (n, format!("a text beyond twelve bytes {n}"), weight)
        });
        assert!(seen.into_iter().eq(expected));
    }

    #[test]
    fn many_small_batches_do_not_wait() {
        let small: Vec<_> = (0..100).map(|n| batch(&[7], n..n + 1, None)).collect();
        let all = received(2, &small);
        assert!(all.iter().any(|(sizes, _)| *sizes == [MOST_BATCHES, 100 - MOST_BATCHES]));
    }

    #[test]
    fn a_large_batch_for_one_shard_is_not_copied_and_passes_nothing() {
        let all = received(2, &[batch(&[7], 0..10, None), batch(&[7], 10..5010, None), batch(&[7], 5010..5020, None)]);
        let (sizes, rows) = all.iter().find(|(sizes, _)| !sizes.is_empty()).unwrap();
        assert_eq!(*sizes, [10, 5000, 10]);
        assert!(rows.iter().map(|(number, ..)| *number).eq(0..5020));
    }
}
