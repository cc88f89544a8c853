//! Chunks taken from a reader while the tick in front of theirs runs, so that the worker pool can decode them where that
//! tick leaves a core without work: one shard has more to do than another, results are handed on, the next tick is cut.
//!
//! Nothing else happens ahead of time: what a chunk means for positions and watermarks is found out when it is cut.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::connector::{Chunk, PartitionId, Position, Positions, Reader, Taken};
use crate::dataflow::scan::Scan;
use crate::error::Result;

use super::input::Decoding;
use super::reading::CutPolicy;

/// A chunk that a reader gave.
pub(super) struct Fetched {
    pub decoding: Arc<Decoding>,
    /// Where to go on after it.
    pub next: Position,
    pub bytes: usize,
}

impl Fetched {
    pub fn new(chunk: Chunk, scan: &Arc<Scan>) -> Self {
        let bytes = chunk.payload.bytes();
        Fetched { decoding: Arc::new(Decoding::new(Arc::clone(scan), chunk.payload)), next: chunk.next, bytes }
    }
}

/// What a reading has taken ahead: at most a tick's input.
#[derive(Default)]
pub(super) struct Ahead {
    /// By partition. An error is what the reader failed with.
    chunks: Vec<VecDeque<Result<Fetched>>>,
    bytes: usize,
}

impl Ahead {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next chunk of a partition.
    pub fn take(&mut self, partition: usize) -> Option<Result<Fetched>> {
        let chunk = self.chunks.get_mut(partition)?.pop_front()?;
        self.bytes -= chunk.as_ref().map_or(0, |chunk| chunk.bytes);
        Some(chunk)
    }

    /// Takes what is at hand, partition by partition in turn, until there is enough for a tick. Gives what is new.
    pub fn fill(&mut self, reader: &mut dyn Reader, scan: &Arc<Scan>, policy: &CutPolicy) -> Vec<Arc<Decoding>> {
        let mut new = Vec::new();
        let mut count: usize = self.chunks.iter().map(VecDeque::len).sum();
        self.chunks.resize_with(reader.partitions().len(), VecDeque::new);
        let mut open: Vec<usize> = (0..self.chunks.len()).collect();
        while !open.is_empty() {
            open.retain(|partition| {
                if count >= policy.tick_chunks || self.bytes >= policy.tick_bytes {
                    return false;
                }
                let chunk = match reader.take(*partition, policy.chunk_bytes, None) {
                    Ok(Taken::Chunk(chunk)) => Ok(Fetched::new(chunk, scan)),
                    Ok(Taken::Pending | Taken::AtEnd | Taken::Finished) => return false,
                    Err(error) => Err(error),
                };
                let goes_on = chunk.is_ok();
                if let Ok(chunk) = &chunk {
                    new.push(Arc::clone(&chunk.decoding));
                    self.bytes += chunk.bytes;
                }
                count += 1;
                self.chunks[*partition].push_back(chunk);
                goes_on
            });
        }
        new
    }

    /// Whether it goes past one of `limits`.
    pub fn is_past(&self, limits: &Positions, partitions: &[PartitionId]) -> bool {
        self.chunks.iter().zip(partitions).any(|(chunks, id)| {
            let last = chunks.iter().rev().find_map(|chunk| chunk.as_ref().ok());
            last.zip(limits.get(id)).is_some_and(|(last, limit)| last.next > *limit)
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{Int64Type, Schema};

    use super::*;
    use crate::connector::{OnError, Payload};
    use crate::dataflow::required::Required;
    use crate::error::{Error, SqlState};

    /// Gives a number at a time, from 0 on, from each of two partitions; one has four, the other fails behind two.
    struct Numbers {
        partitions: Vec<PartitionId>,
        next: [u64; 2],
    }

    fn numbers() -> Numbers {
        Numbers { partitions: ["a", "b"].map(|id| PartitionId(id.into())).to_vec(), next: [0, 0] }
    }

    fn batch(number: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![number])) as _)]).unwrap()
    }

    impl Reader for Numbers {
        fn partitions(&self) -> &[PartitionId] {
            &self.partitions
        }

        fn take(&mut self, partition: usize, _max_bytes: usize, _until: Option<&Position>) -> Result<Taken> {
            match (partition, self.next[partition]) {
                (0, 4) => Ok(Taken::Pending),
                (1, 2) => Err(Error::new(SqlState::IoError, "broken")),
                (_, number) => {
                    self.next[partition] += 1;
                    let payload = Payload::Rows(batch(number as i64));
                    Ok(Taken::Chunk(Chunk { payload, next: Position { offset: number + 1, file: None } }))
                }
            }
        }
    }

    fn scan() -> Arc<Scan> {
        let schema: Arc<Schema> = batch(0).schema();
        Arc::new(Scan::new(schema, None, Required::new("s", std::iter::empty()), None, None, OnError::Fail).unwrap())
    }

    fn policy(tick_chunks: usize) -> CutPolicy {
        CutPolicy { tick_chunks, ..CutPolicy::default() }
    }

    /// What is next of a partition: its number, or what the reader failed with.
    fn next(ahead: &mut Ahead, partition: usize) -> Option<Result<i64, String>> {
        ahead.take(partition).map(|chunk| {
            let rows = chunk.map_err(|e| e.to_string())?.decoding.take().unwrap();
            let rows = rows.judge(crate::change::Watermark::NONE).unwrap();
            Ok(rows.column(0).as_primitive::<Int64Type>().value(0))
        })
    }

    #[test]
    fn chunks_come_in_the_order_of_their_partition_and_errors_behind_them() {
        let (mut ahead, mut reader) = (Ahead::default(), numbers());
        let decodings = ahead.fill(&mut reader, &scan(), &policy(100));
        assert_eq!(decodings.len(), 6);
        decodings.iter().for_each(|decoding| decoding.run());
        assert!(ahead.bytes() > 0);
        let of: [Vec<_>; 2] = [0, 1].map(|partition| std::iter::from_fn(|| next(&mut ahead, partition)).collect());
        assert_eq!(of[0], [Ok(0), Ok(1), Ok(2), Ok(3)]);
        assert_eq!(of[1], [Ok(0), Ok(1), Err("broken".into())]);
        assert_eq!(ahead.bytes(), 0);
    }

    #[test]
    fn there_is_a_tick_at_most_and_it_is_topped_up() {
        let (mut ahead, mut reader) = (Ahead::default(), numbers());
        assert_eq!(ahead.fill(&mut reader, &scan(), &policy(3)).len(), 3);
        assert_eq!(ahead.fill(&mut reader, &scan(), &policy(3)).len(), 0);
        assert_eq!(next(&mut ahead, 0), Some(Ok(0)));
        assert_eq!(ahead.fill(&mut reader, &scan(), &policy(3)).len(), 1);
        assert_eq!([next(&mut ahead, 0), next(&mut ahead, 0), next(&mut ahead, 1)], [1, 2, 0].map(|n| Some(Ok(n))));
    }

    #[test]
    fn what_was_taken_past_a_limit_is_noticed() {
        let (mut ahead, mut reader) = (Ahead::default(), numbers());
        ahead.fill(&mut reader, &scan(), &policy(100));
        let past = |limits: &[(&str, u64)]| {
            let limit =
                |(id, offset): &(&str, u64)| (PartitionId((*id).into()), Position { offset: *offset, file: None });
            ahead.is_past(&limits.iter().map(limit).collect(), &reader.partitions)
        };
        assert!(!past(&[]) && !past(&[("a", 4)]) && !past(&[("b", 2), ("c", 0)]));
        assert!(past(&[("a", 3)]) && past(&[("a", 9), ("b", 1)]));
    }
}
