//! Chunks on their way through the first stage: decoded and judged side by side, in the order in which they were cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::change::{ChangeBatch, Watermark};
use crate::connector::Payload;
use crate::dataflow::scan::{Decoded, Scan};
use crate::error::{Error, Result};

use super::core::ReadingId;
use super::member::panic_text;
use super::reading::CutChunk;

/// A chunk's payload being decoded: by its tick, or by whoever has time before that.
pub(super) struct Decoding {
    scan: Arc<Scan>,
    stage: Mutex<Stage>,
}

enum Stage {
    Raw(Payload),
    Done(Result<Decoded>),
    Taken,
}

impl Decoding {
    pub fn new(scan: Arc<Scan>, payload: Payload) -> Self {
        Decoding { scan, stage: Mutex::new(Stage::Raw(payload)) }
    }

    /// Decodes, if nobody has yet; if somebody is about to, waits for it.
    pub fn run(&self) {
        let mut stage = self.stage.lock();
        *stage = match std::mem::replace(&mut *stage, Stage::Taken) {
            Stage::Raw(payload) => Stage::Done(self.decode(payload)),
            other => other,
        };
    }

    fn decode(&self, payload: Payload) -> Result<Decoded> {
        catch_unwind(AssertUnwindSafe(|| self.scan.decode(payload)))
            .unwrap_or_else(|panic| Err(Error::internal(format!("a decoder panicked: {}", panic_text(&*panic)))))
    }

    /// What came of it; once.
    pub fn take(&self) -> Result<Decoded> {
        self.run();
        match std::mem::replace(&mut *self.stage.lock(), Stage::Taken) {
            Stage::Done(decoded) => decoded,
            Stage::Raw(_) | Stage::Taken => Err(Error::internal("a chunk was taken twice")),
        }
    }
}

/// A chunk on its way through the first stage.
pub(super) struct Chunk {
    pub reading: ReadingId,
    pub partition: usize,
    pub bytes: usize,
    pub bad: u64,
    pub state: ChunkState,
}

pub(super) enum ChunkState {
    Cut(Arc<Decoding>),
    /// With the watermark in front of it, once known.
    Decoded(Decoded, Watermark),
    Judged(ChangeBatch),
    Failed(Error),
    /// Only while a step runs.
    Taken,
}

impl Chunk {
    pub fn new(reading: ReadingId, chunk: CutChunk) -> Self {
        let state = ChunkState::Cut(chunk.decoding);
        Chunk { reading, partition: chunk.partition, bytes: chunk.bytes, bad: 0, state }
    }

    pub fn decode(&mut self) {
        if let ChunkState::Cut(decoding) = &self.state {
            self.state = match decoding.take() {
                Ok(decoded) => ChunkState::Decoded(decoded, Watermark::NONE),
                Err(error) => ChunkState::Failed(error),
            };
        }
    }

    pub fn judge(&mut self) {
        self.state = match std::mem::replace(&mut self.state, ChunkState::Taken) {
            ChunkState::Decoded(decoded, front) => match decoded.judge(front) {
                Ok(rows) => {
                    // A batch remembers its bytes: they are counted here, where chunks go side by side.
                    rows.bytes();
                    ChunkState::Judged(rows)
                }
                Err(error) => ChunkState::Failed(error),
            },
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
