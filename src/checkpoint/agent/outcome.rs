//! What came of an epoch, and how a log stands.

use std::time::Duration;

use crate::checkpoint::commit::Commit;
use crate::checkpoint::protocol::{Leave, Protocol};
use crate::error::{Error, SqlState};

/// An epoch that is true.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    pub epoch: u64,
    /// Of entries of state that changed, as they were written.
    pub state_bytes: u64,
    pub outbox_bytes: u64,
    /// The commit's own size, with the small files it carries.
    pub commit_bytes: u64,
    /// All state: the base and the deltas on top of it.
    pub total_state_bytes: u64,
    pub steps: StepTimes,
}

/// How long an epoch's steps took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepTimes {
    /// Changed entries were read, sorted into files and written, and the outbox.
    pub files: Duration,
    /// The commit was created, and seen to be the newest.
    pub commit: Duration,
    pub total: Duration,
}

/// Why a pipeline's log is closed.
#[derive(Debug, Clone)]
pub enum EpochError {
    /// Another process runs the pipeline (55000): this one leaves, and does not start it again.
    Fenced(Error),
    /// What is stored is not what was written (XX001): a restart would find the same.
    Broken(Error),
    /// The store is away (58030, 53100, ...), or state could not be read: a restart may help.
    Failed(Error),
}

impl EpochError {
    pub fn error(&self) -> &Error {
        match self {
            EpochError::Fenced(error) | EpochError::Broken(error) | EpochError::Failed(error) => error,
        }
    }
}

impl From<Leave> for EpochError {
    fn from(leave: Leave) -> Self {
        match leave {
            Leave::Broken(error) => EpochError::Broken(error),
            Leave::Failed(error) => EpochError::Failed(error),
            Leave::Fenced { epoch, by } => {
                let message = "another process runs this pipeline";
                let detail = match by {
                    Some((process, generation)) => {
                        format!("Epoch {epoch} was committed by process {process} in generation {generation}.")
                    }
                    None => format!("A newer epoch than {epoch} was committed."),
                };
                let error = Error::new(SqlState::ObjectNotInPrerequisiteState, message).with_detail(detail);
                EpochError::Fenced(
                    error.with_hint("Let only one server run on a store; this one leaves the pipeline to the other."),
                )
            }
        }
    }
}

impl From<EpochError> for Error {
    fn from(error: EpochError) -> Error {
        match error {
            EpochError::Fenced(error) | EpochError::Broken(error) | EpochError::Failed(error) => error,
        }
    }
}

/// How a commit log stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The newest one that is true.
    pub epoch: u64,
    pub generation: u64,
    pub base_bytes: u64,
    pub deltas: usize,
    pub delta_bytes: u64,
    /// Parts not known to be delivered.
    pub outbox_parts: usize,
    /// How many times in a row an epoch has not become true in its time.
    pub failures: u32,
    pub last_error: Option<Error>,
}

impl Status {
    pub(super) fn of(newest: Option<&Commit>, protocol: &Protocol) -> Status {
        Status {
            epoch: newest.map_or(0, |commit| commit.epoch),
            generation: protocol.generation(),
            base_bytes: newest.map_or(0, Commit::base_bytes),
            deltas: newest.map_or(0, |commit| commit.deltas.len()),
            delta_bytes: newest.map_or(0, Commit::delta_bytes),
            outbox_parts: newest.map_or(0, |commit| commit.outbox.len()),
            failures: protocol.late(),
            last_error: protocol.last_error().cloned(),
        }
    }
}
