//! The shell around the protocol: does against a store what it says, and tells it what came of that.
//!
//! 1. [`Checkpoints::open`] finds the newest epoch and fences whoever else runs the pipeline; [`recovered`] is what a
//!    pipeline starts from: an image, a reader of its state ([`state`]), the parts that its sinks lack.
//! 2. [`Checkpoints::commit`] ends an epoch: [`epoch`] writes its files, then its commit is created.
//! 3. [`drive`] is the loop between the protocol and what is under way; [`background`] merges and collects beside it.
//! 4. [`folder`]: a pipeline's folder in the store, with names, checks and tries.
//!
//! What does not live here: what to do when something fails (the protocol decides), and when an epoch ends (the
//! pipeline does).

mod background;
mod drive;
mod epoch;
mod folder;
mod outcome;
mod recovered;
mod state;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::commit::{Commit, ProcessId};
use super::delta::Cursor;
use super::options::EpochOptions;
use super::protocol::{Event, Protocol};
use crate::clock::SharedTimer;
use crate::connector::PartId;
use crate::error::{Error, SqlState};
use crate::store::Store;
use background::Background;
use drive::Reached;
use epoch::Epoch;
use folder::Folder;

pub use outcome::{Committed, EpochError, Status, StepTimes};
pub use recovered::{OutboxReader, Recovered};
pub use state::StateReader;

/// A part of a sink's outbox, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxPart {
    pub sink: String,
    pub id: PartId,
    pub bytes: Bytes,
}

/// All that becomes durable when an epoch ends.
pub struct EpochContent {
    /// Of the plan that runs.
    pub fingerprint: String,
    pub image: Bytes,
    /// The entries of state that changed since the epoch before. It is asked on a thread that may block.
    pub delta: Box<dyn Cursor>,
    /// Ids increase for each sink, over all epochs.
    pub outbox: Vec<OutboxPart>,
    /// For each sink the last part that it has.
    pub delivered: BTreeMap<String, PartId>,
}

/// A pipeline's commit log, open. Dropping it leaves the pipeline to whoever opens it next.
pub struct Checkpoints {
    folder: Folder,
    protocol: Protocol,
    options: EpochOptions,
    background: Background,
    /// The newest commit's.
    image: Bytes,
    is_closed: bool,
}

impl Checkpoints {
    /// Opens the commit log in the folder `path` of the store, and fences every other process that has it open. Gives
    /// what the pipeline goes on from, unless no epoch of it was ever ended.
    ///
    /// `process` must be a new random number for each call.
    ///
    /// # Errors
    /// [`EpochError::Failed`] if the store does not answer within the options' timeout, [`EpochError::Broken`] if what
    /// is stored is not what was written.
    pub async fn open(
        store: Store,
        path: &str,
        process: ProcessId,
        options: EpochOptions,
        timer: SharedTimer,
    ) -> Result<(Checkpoints, Option<Recovered>), EpochError> {
        let mut checkpoints = Checkpoints {
            folder: Folder::new(store, path, timer),
            protocol: Protocol::new(process, (&options).into()),
            options,
            background: Background::default(),
            image: Bytes::new(),
            is_closed: false,
        };
        let recovered = match checkpoints.drive(Event::Open, &mut None).await? {
            Reached::Opened(Some(commit)) => Some(checkpoints.recovered(*commit)),
            _ => None,
        };
        Ok((checkpoints, recovered))
    }

    /// Ends an epoch: when this returns, it is true. Nothing else is asked of the pipeline meanwhile.
    ///
    /// # Errors
    /// After any error the log is closed: what became of the epoch is found out by opening it anew, if at all.
    pub async fn commit(&mut self, content: EpochContent) -> Result<Committed, EpochError> {
        if self.is_closed {
            let closed = Error::new(SqlState::ObjectNotInPrerequisiteState, "the commit log is closed");
            return Err(EpochError::Failed(closed.with_hint("An epoch has failed: the pipeline must be opened anew.")));
        }
        let committed = self.end_epoch(content).await;
        self.is_closed = committed.is_err();
        committed
    }

    async fn end_epoch(&mut self, content: EpochContent) -> Result<Committed, EpochError> {
        let begun = self.folder.timer.now();
        for (sink, id) in &content.delivered {
            self.tell(Event::Delivered(sink.clone(), *id)).await?;
        }
        while let Some(event) = self.background.done() {
            self.tell(event).await?;
        }
        let epoch = Epoch::new(content, self.newest().map_or(0, |commit| commit.outbox.len()));
        let ended = epoch.ended();
        let mut work = Some(epoch);
        let reached = self.drive(Event::End(ended), &mut work).await?;
        let (Reached::Committed, Some(commit), Some(done)) = (reached, self.newest(), work) else {
            return Err(EpochError::Failed(Error::internal("an epoch ended without a commit")));
        };
        let total = commit.base_bytes() + commit.delta_bytes();
        let committed = done.committed(commit.epoch, total, begun, &self.folder);
        self.image = done.into_image();
        Ok(committed)
    }

    /// The number of the epoch that is ended next.
    pub fn next_epoch(&self) -> u64 {
        self.newest().map_or(1, |commit| commit.epoch + 1)
    }

    /// How the log stands.
    pub fn status(&self) -> Status {
        Status::of(self.newest(), &self.protocol)
    }

    pub fn options(&self) -> &EpochOptions {
        &self.options
    }

    fn newest(&self) -> Option<&Commit> {
        self.protocol.newest().map(|known| &known.commit)
    }

    fn recovered(&self, commit: Commit) -> Recovered {
        Recovered {
            epoch: commit.epoch,
            image: self.image.clone(),
            state: StateReader::new(&self.folder, &commit),
            outbox: OutboxReader::new(self.folder.clone(), commit.epoch, commit.outbox),
            delivered: commit.delivered,
            fingerprint: commit.fingerprint,
        }
    }
}
