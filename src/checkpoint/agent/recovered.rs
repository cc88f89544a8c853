//! What a pipeline goes on from.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::folder::Folder;
use super::state::StateReader;
use super::{EpochError, OutboxPart};
use crate::checkpoint::commit::OutboxRef;
use crate::connector::PartId;

/// The newest epoch, as it was committed.
pub struct Recovered {
    /// The commit by which this life began: the one after the epoch that was recovered.
    pub epoch: u64,
    /// Of the plan that image and state belong to.
    pub fingerprint: String,
    pub image: Bytes,
    pub state: StateReader,
    pub outbox: OutboxReader,
    /// For each sink the last part that it is known to have.
    pub delivered: BTreeMap<String, PartId>,
}

/// The parts that their sinks are not known to have, in the order of their ids for each sink. It may be read while
/// epochs are ended: parts stay until they are noted as delivered.
pub struct OutboxReader {
    folder: Folder,
    epoch: u64,
    parts: VecDeque<OutboxRef>,
}

impl OutboxReader {
    /// The parts of commit `epoch`.
    pub(super) fn new(folder: Folder, epoch: u64, parts: Vec<OutboxRef>) -> Self {
        OutboxReader { folder, epoch, parts: parts.into() }
    }

    /// Parts not yet read.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub async fn next(&mut self) -> Result<Option<OutboxPart>, EpochError> {
        let Some(part) = self.parts.front() else { return Ok(None) };
        let bytes = match self.folder.read(&part.stored).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.folder.of_reading(self.epoch, error).await),
        };
        Ok(self.parts.pop_front().map(|part| OutboxPart { sink: part.sink, id: part.id, bytes }))
    }
}
