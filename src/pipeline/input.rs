//! Chunks on their way through the first stage: decoded and judged side by side, in the order in which they were cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::change::{ChangeBatch, Watermark};
use crate::connector::Payload;
use crate::dataflow::scan::{Decoded, Scan};
use crate::error::Error;

use super::core::ReadingId;
use super::member::panic_text;
use super::reading::CutChunk;

/// A chunk on its way through the first stage.
pub(super) struct Chunk {
    pub reading: ReadingId,
    pub partition: usize,
    scan: Arc<Scan>,
    pub bytes: usize,
    pub bad: u64,
    pub state: ChunkState,
}

pub(super) enum ChunkState {
    Raw(Payload),
    /// With the watermark in front of it, once known.
    Decoded(Decoded, Watermark),
    Judged(ChangeBatch),
    Failed(Error),
    /// Only while a step runs.
    Taken,
}

impl Chunk {
    pub fn new(reading: ReadingId, scan: Arc<Scan>, chunk: CutChunk) -> Self {
        let state = ChunkState::Raw(chunk.payload);
        Chunk { reading, partition: chunk.partition, scan, bytes: chunk.bytes, bad: 0, state }
    }

    pub fn decode(&mut self) {
        if let ChunkState::Raw(payload) = std::mem::replace(&mut self.state, ChunkState::Taken) {
            let scan = &self.scan;
            let decoded = catch_unwind(AssertUnwindSafe(|| scan.decode(payload)))
                .unwrap_or_else(|panic| Err(Error::internal(format!("a decoder panicked: {}", panic_text(&*panic)))));
            self.state = match decoded {
                Ok(decoded) => ChunkState::Decoded(decoded, Watermark::NONE),
                Err(error) => ChunkState::Failed(error),
            };
        }
    }

    pub fn judge(&mut self) {
        self.state = match std::mem::replace(&mut self.state, ChunkState::Taken) {
            ChunkState::Decoded(decoded, front) => {
                decoded.judge(front).map_or_else(ChunkState::Failed, ChunkState::Judged)
            }
            other => other,
        };
    }

    pub fn error(&self) -> Option<&Error> {
        match &self.state {
            ChunkState::Failed(error) => Some(error),
            _ => None,
        }
    }
}
