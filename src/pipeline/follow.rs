//! A job that reads views: it runs in the database pipeline, so that it sees the same ticks as they do, and its results are
//! handed from there to the job's own task, which delivers them.
//!
//! The channel holds one part of a tick: when the job's outbox is full, the database pipeline waits for it, as the job's own tick
//! loop would.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc, watch};

use crate::change::ChangeBatch;
use crate::error::Error;

use super::database::Progress;
use super::status::{Counts, Running};

/// Parts of ticks between the database pipeline and a job, at most.
const PARTS: usize = 1;

/// What one tick of the database pipeline, or a part of it, gave a job.
pub struct JobTick {
    pub tick: u64,
    /// The net change of each of the plan's outputs.
    pub outputs: Vec<Vec<ChangeBatch>>,
    /// At the tick's end; `None`: there is more of it to come.
    pub standing: Option<Standing>,
}

/// How a member stands at a tick's end.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    pub counts: Counts,
    pub running: Option<Running>,
    pub failed: Option<Error>,
    pub trouble: Option<Error>,
    /// Bytes that its readers have prefetched.
    pub buffered_bytes: usize,
    /// No input will ever come again.
    pub finished: bool,
    /// The views that it reads have not caught up yet.
    pub waiting: bool,
}

/// The job's end of the channel.
pub struct Follower {
    ticks: mpsc::Receiver<JobTick>,
    progress: watch::Receiver<Progress>,
    /// Came while the job waited.
    waiting: Option<JobTick>,
    /// As of the last tick; `None` before the first.
    standing: Option<Standing>,
    in_hand: InHand,
    /// The database pipeline's: it may wait for what is in hand.
    wake: Arc<Notify>,
    /// The last tick given out is still in hand.
    holds: bool,
}

/// Ticks on their way to the job, and the one that it has in hand: while there are any, the job has not come to rest.
pub type InHand = Arc<AtomicUsize>;

/// The database pipeline's end.
#[derive(Clone)]
pub struct JobTicks {
    ticks: mpsc::Sender<JobTick>,
    in_hand: InHand,
}

impl JobTicks {
    /// Whether results are on their way into the job's outboxes.
    pub fn is_busy(&self) -> bool {
        !self.ticks.is_closed() && self.in_hand.load(Ordering::Acquire) > 0
    }

    /// Waits while the job has as many ticks as it may have. One that has ended takes nothing more.
    pub async fn send(&self, tick: JobTick) {
        self.in_hand.fetch_add(1, Ordering::AcqRel);
        if self.ticks.send(tick).await.is_err() {
            self.in_hand.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Follower {
    /// `wake`: the database pipeline's.
    pub fn new(progress: watch::Receiver<Progress>, wake: Arc<Notify>) -> (JobTicks, Follower) {
        let (sender, ticks) = mpsc::channel(PARTS);
        let in_hand = InHand::default();
        let follower = Follower {
            ticks,
            progress,
            waiting: None,
            standing: None,
            in_hand: Arc::clone(&in_hand),
            wake,
            holds: false,
        };
        (JobTicks { ticks: sender, in_hand }, follower)
    }

    pub fn in_hand(&self) -> InHand {
        Arc::clone(&self.in_hand)
    }

    pub fn standing(&self) -> Standing {
        self.standing.clone().unwrap_or_default()
    }

    /// The next tick, if it is there; whoever asks is done with the last one.
    pub fn take(&mut self) -> Option<JobTick> {
        if std::mem::take(&mut self.holds) && self.in_hand.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake.notify_one();
        }
        let next = self.waiting.take().or_else(|| self.ticks.try_recv().ok());
        if let Some(tick) = &next {
            if let Some(standing) = &tick.standing {
                self.standing = Some(standing.clone());
            }
            self.holds = true;
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
        let begun = self.standing.as_ref().is_some_and(|standing| !standing.waiting);
        begun && self.waiting.is_none() && self.ticks.is_empty() && self.progress.borrow().settled
    }
}
