//! A job that reads views: it runs in the database pipeline, so that it sees the same ticks as they do, and its results are
//! handed from there to the job's own task, which delivers them.
//!
//! The channel holds one tick: when the job's outbox is full, the database pipeline waits for it, as the job's own tick
//! loop would.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::change::ChangeBatch;
use crate::error::Error;

use super::database::Progress;
use super::status::Counts;

/// Ticks between the database pipeline and a job, at most.
const TICKS: usize = 1;

/// What one tick of the database pipeline gave a job.
pub struct JobTick {
    pub tick: u64,
    /// The net change of each of the plan's outputs.
    pub outputs: Vec<Vec<ChangeBatch>>,
    pub standing: Standing,
}

/// How a member stands at a tick's end.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    pub counts: Counts,
    pub failed: Option<Error>,
    pub trouble: Option<Error>,
    /// Bytes that its readers have prefetched.
    pub buffered_bytes: usize,
    /// No input will ever come again.
    pub finished: bool,
}

/// The job's end of the channel.
pub struct Follower {
    ticks: mpsc::Receiver<JobTick>,
    progress: watch::Receiver<Progress>,
    /// Came while the job waited.
    waiting: Option<JobTick>,
    pub standing: Standing,
}

/// The database pipeline's end.
pub type JobTicks = mpsc::Sender<JobTick>;

impl Follower {
    pub fn new(progress: watch::Receiver<Progress>) -> (JobTicks, Follower) {
        let (sender, ticks) = mpsc::channel(TICKS);
        (sender, Follower { ticks, progress, waiting: None, standing: Standing::default() })
    }

    /// The next tick, if it is there.
    pub fn next(&mut self) -> Option<JobTick> {
        let next = self.waiting.take().or_else(|| self.ticks.try_recv().ok());
        if let Some(tick) = &next {
            self.standing = tick.standing.clone();
        }
        next
    }

    /// Waits for a tick, or for the database pipeline to come to rest.
    pub async fn wait(&mut self) {
        tokio::select! {
            tick = self.ticks.recv() => match tick {
                Some(tick) => self.waiting = Some(tick),
                // The pipeline is gone: an order to end is on its way.
                None => std::future::pending().await,
            },
            _ = self.progress.changed() => {}
        }
    }

    /// Whether all input that exists now has gone through and was taken.
    pub fn is_at_end(&self) -> bool {
        self.waiting.is_none() && self.ticks.is_empty() && self.progress.borrow().settled
    }
}
