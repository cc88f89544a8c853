//! Messages of one partition on their way from the fetching thread to the tick loop. Pure: no Kafka, no threads.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::metadata::{About, Collector, Wanted};
use crate::error::Result;
use crate::format::RawChunk;

/// A chunk is handed over when it holds this much: large enough that a chunk's cost does not count, small enough to stay
/// in a core's cache while it is decoded.
const CHUNK_BYTES: usize = 1 << 20;

/// What a message costs beyond its value: its end and its offset.
const MESSAGE_BYTES: usize = 12;

/// How much one reader prefetches: half of it here, half of it in librdkafka.
const READER_BYTES: usize = 64 << 20;

/// Bounds of one partition's prefetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Held here.
    pub buffered_bytes: usize,
    /// Held by librdkafka, which counts in units of 1024.
    pub queued_kbytes: usize,
}

impl Limits {
    /// An even share of the reader's budget, but at least one chunk, and no more than is needed to keep up.
    pub(super) fn for_partitions(partitions: usize) -> Limits {
        let share = (READER_BYTES / 2 / partitions.max(1)).clamp(CHUNK_BYTES, 8 * CHUNK_BYTES);
        Limits { buffered_bytes: share, queued_kbytes: share / 1024 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Oldest first; the last one is still filled.
    chunks: VecDeque<Filling>,
    /// A chunk that was too large to be handed out whole.
    rest: Option<Rest>,
    /// What to collect of each message beside its value, and the partition's number.
    wanted: Option<(Arc<Wanted>, i32)>,
    bytes: usize,
    /// Of the last chunk that was handed out: what to reserve for the next.
    typical_bytes: usize,
    typical_messages: usize,
}

#[derive(Debug)]
struct Rest {
    chunk: RawChunk,
    /// The first message not handed out.
    from: usize,
    /// What the metadata of those not handed out counts for.
    side_bytes: usize,
}

#[derive(Debug, Default)]
struct Filling {
    data: Vec<u8>,
    ends: Vec<u32>,
    offsets: Vec<u64>,
    nulls: Vec<u32>,
    side: Option<Collector>,
    /// What `side` counts for.
    side_bytes: usize,
}

impl Buffer {
    pub(super) fn new(wanted: Option<Arc<Wanted>>, partition: i32) -> Buffer {
        Buffer { wanted: wanted.map(|wanted| (wanted, partition)), ..Buffer::default() }
    }

    /// Appends a message; `None`: it has no value.
    pub(super) fn push(&mut self, offset: u64, value: Option<&[u8]>, about: &About) {
        let value_bytes = value.map_or(0, <[u8]>::len);
        // Ends are 32 bits: a message that would not fit begins a chunk, and none is larger than 2 GB (librdkafka's limit).
        let full =
            |chunk: &Filling| chunk.data.len() >= CHUNK_BYTES || chunk.data.len() + value_bytes > u32::MAX as usize;
        if self.chunks.back().is_none_or(full) {
            self.chunks.push_back(Filling {
                data: Vec::with_capacity(self.typical_bytes.max(value_bytes)),
                ends: Vec::with_capacity(self.typical_messages),
                offsets: Vec::with_capacity(self.typical_messages),
                nulls: Vec::new(),
                side: self.wanted.as_ref().map(|(wanted, partition)| Collector::new(Arc::clone(wanted), *partition)),
                side_bytes: 0,
            });
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        match value {
            Some(value) => chunk.data.extend_from_slice(value),
            None => chunk.nulls.push(chunk.ends.len() as u32),
        }
        chunk.ends.push(chunk.data.len() as u32);
        chunk.offsets.push(offset);
        let side_bytes = chunk.side.as_mut().map_or(0, |side| side.push(offset, about));
        chunk.side_bytes += side_bytes;
        self.bytes += value_bytes + MESSAGE_BYTES + side_bytes;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.rest.is_none()
    }

    /// The offset of the first message.
    pub(super) fn first_offset(&self) -> Option<u64> {
        match &self.rest {
            Some(rest) => rest.chunk.offsets.get(rest.from).copied(),
            None => self.chunks.front().and_then(|chunk| chunk.offsets.first().copied()),
        }
    }

    /// The next messages: about `max_bytes` of them, at least one, and none at or behind offset `until`. With the offset
    /// behind the last of them.
    pub(super) fn take(&mut self, max_bytes: usize, until: Option<u64>) -> Result<Option<(RawChunk, u64)>> {
        let rest = match (self.rest.take(), self.chunks.is_empty()) {
            (None, true) => return Ok(None),
            (None, false) => self.chunks.pop_front().map(|chunk| self.seal(chunk)).transpose()?,
            (rest, _) => rest,
        };
        let Some(Rest { chunk, from, side_bytes }) = rest else { return Ok(None) };
        let to = cut(&chunk, from, max_bytes, until);
        if to == from {
            self.rest = Some(Rest { chunk, from, side_bytes });
            return Ok(None);
        }
        let mut taken_side_bytes = side_bytes;
        let taken = if from == 0 && to == chunk.len() {
            chunk
        } else {
            let piece = slice(&chunk, from, to);
            if to < chunk.len() {
                taken_side_bytes = side_bytes * (to - from) / (chunk.len() - from);
                self.rest = Some(Rest { chunk, from: to, side_bytes: side_bytes - taken_side_bytes });
            }
            piece
        };
        let taken_bytes = taken.data.len() + MESSAGE_BYTES * taken.len() + taken_side_bytes;
        self.bytes = self.bytes.saturating_sub(taken_bytes);
        let next = taken.offsets.last().map_or(0, |last| last + 1);
        Ok(Some((taken, next)))
    }

    fn seal(&mut self, chunk: Filling) -> Result<Rest> {
        let Filling { data, ends, offsets, nulls, side, side_bytes } = chunk;
        self.typical_bytes = data.len().min(CHUNK_BYTES + CHUNK_BYTES / 8);
        self.typical_messages = ends.len();
        let side = side.map(Collector::finish).transpose()?;
        let chunk = RawChunk { data: Bytes::from(data), ends, offsets, nulls, file: None, side };
        Ok(Rest { chunk, from: 0, side_bytes })
    }
}

/// The end of the run of messages from `from` on that may be handed out.
fn cut(chunk: &RawChunk, from: usize, max_bytes: usize, until: Option<u64>) -> usize {
    let allowed = match until {
        Some(until) => chunk.offsets.partition_point(|offset| *offset < until),
        None => chunk.len(),
    };
    let start = start_of(chunk, from);
    let fitting = chunk.ends.partition_point(|end| (*end as usize).saturating_sub(start) <= max_bytes);
    fitting.max(from + 1).min(allowed).max(from)
}

fn start_of(chunk: &RawChunk, message: usize) -> usize {
    message.checked_sub(1).and_then(|before| chunk.ends.get(before)).map_or(0, |end| *end as usize)
}

/// Messages `from..to` as a chunk of their own; the data is shared.
fn slice(chunk: &RawChunk, from: usize, to: usize) -> RawChunk {
    let (start, end) = (start_of(chunk, from), start_of(chunk, to));
    let piece = |ends: &[u32]| ends.iter().map(|end| end - start as u32).collect();
    let inside = |null: &&u32| (from..to).contains(&(**null as usize));
    RawChunk {
        data: chunk.data.slice(start..end),
        ends: chunk.ends.get(from..to).map(piece).unwrap_or_default(),
        offsets: chunk.offsets.get(from..to).unwrap_or_default().to_vec(),
        nulls: chunk.nulls.iter().filter(inside).map(|null| null - from as u32).collect(),
        file: None,
        side: chunk.side.as_ref().map(|side| side.slice(from, to - from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages with these offsets; the value is the offset's text, and a multiple of 5 has none.
    fn filled(offsets: impl Iterator<Item = u64>) -> Buffer {
        let mut buffer = Buffer::default();
        for offset in offsets {
            let text = offset.to_string();
            buffer.push(offset, (!offset.is_multiple_of(5)).then_some(text.as_bytes()), &About::default());
        }
        buffer
    }

    fn shown(chunk: &RawChunk) -> String {
        let message = |i: usize| {
            let value = String::from_utf8(chunk.message(i).to_vec()).unwrap();
            let null = chunk.nulls.contains(&(i as u32));
            assert_eq!(value.is_empty(), null);
            format!("{}:{}", chunk.offsets[i], if null { "null".into() } else { value })
        };
        (0..chunk.len()).map(message).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn everything_comes_out_in_order_however_it_is_cut() {
        for max_bytes in [0, 1, 2, 3, 7, 100, usize::MAX] {
            let mut buffer = filled((1..40).filter(|o| o % 3 != 0));
            let expected = shown(&filled((1..40).filter(|o| o % 3 != 0)).take(usize::MAX, None).unwrap().unwrap().0);
            let mut found = Vec::new();
            while let Some((chunk, next)) = buffer.take(max_bytes, None).unwrap() {
                assert_eq!(next, chunk.offsets.last().unwrap() + 1);
                assert!(chunk.len() == 1 || chunk.data.len() <= max_bytes);
                found.push(shown(&chunk));
            }
            assert_eq!(found.join(" "), expected);
            assert!(buffer.is_empty());
            assert_eq!(buffer.bytes(), 0);
        }
    }

    #[test]
    fn nothing_at_or_behind_the_limit_comes_out() {
        let mut buffer = filled([1, 2, 6, 7].into_iter());
        assert_eq!(shown(&buffer.take(usize::MAX, Some(6)).unwrap().unwrap().0), "1:1 2:2");
        assert!(buffer.take(usize::MAX, Some(6)).unwrap().is_none());
        assert_eq!(buffer.first_offset(), Some(6));
        assert_eq!(shown(&buffer.take(usize::MAX, Some(100)).unwrap().unwrap().0), "6:6 7:7");
        assert!(buffer.take(usize::MAX, None).unwrap().is_none());
    }

    #[test]
    fn a_chunk_ends_when_it_is_full() {
        let mut buffer = Buffer::default();
        let value = vec![b'x'; CHUNK_BYTES / 2];
        for offset in 0..5 {
            buffer.push(offset, Some(&value), &About::default());
        }
        let lengths =
            std::iter::from_fn(|| buffer.take(usize::MAX, None).unwrap()).map(|(c, _)| c.len()).collect::<Vec<_>>();
        assert_eq!(lengths, [2, 2, 1]);
    }

    #[test]
    fn the_budget_is_shared_by_the_partitions() {
        assert_eq!(Limits::for_partitions(1).buffered_bytes, 8 * CHUNK_BYTES);
        assert_eq!(Limits::for_partitions(16).buffered_bytes, 2 * CHUNK_BYTES);
        assert_eq!(Limits::for_partitions(1000).buffered_bytes, CHUNK_BYTES);
        assert_eq!(Limits::for_partitions(0), Limits::for_partitions(1));
    }
}
