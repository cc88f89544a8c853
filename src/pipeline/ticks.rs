//! Where a job's ticks come from: a pipeline of its own, or that of all views; and the epochs of the former.

use std::sync::Arc;

use crate::catalog::ObjectId;
use crate::change::ChangeBatch;
use crate::error::Result;

use super::delivery::Delivery;
use super::durability::Owed;
use super::epochs::{Epochs, Outgoing};
use super::follow::{Follower, Standing};
use super::tick_loop::TickLoop;

/// A job that has been started.
pub struct Started {
    pub ticks: Ticks,
    /// What an earlier life owes the sink of each output.
    pub owed: Vec<Owed>,
}

/// Where a job's ticks come from.
pub enum Ticks {
    /// A pipeline of its own, with its epochs if it is durable.
    Own(Box<TickLoop>, Option<Box<Epochs>>),
    /// The database pipeline, since it reads views.
    Database(Box<Follower>),
}

/// A tick's results, or some of them.
pub(super) struct Results {
    pub tick: u64,
    /// Of each of the plan's outputs.
    pub outputs: Vec<Vec<ChangeBatch>>,
    /// The tick is over.
    pub over: bool,
}

impl Ticks {
    /// What the next tick gives, or the next turn of a long one, if there is anything to run one for.
    pub(super) async fn next(&mut self) -> Result<Option<Results>> {
        Ok(match self {
            Ticks::Own(tick_loop, _) => tick_loop.tick().await?.map(|result| {
                let outputs = result.results.into_iter().flat_map(|(_, outputs)| outputs).collect();
                Results { tick: result.tick, outputs, over: result.over }
            }),
            Ticks::Database(follower) => follower.take().map(|tick| {
                let over = tick.standing.is_some();
                Results { tick: tick.tick, outputs: tick.outputs, over }
            }),
        })
    }

    pub(super) fn standing(&self) -> Standing {
        match self {
            Ticks::Own(tick_loop, _) => {
                let core = tick_loop.core();
                let standing = core.members().first().map(|member| core.standing(member)).unwrap_or_default();
                // What could not be decoded must be written, too, before the job is at its end.
                Standing { finished: tick_loop.is_finished(), ..standing }
            }
            Ticks::Database(follower) => follower.standing(),
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        match self {
            Ticks::Own(tick_loop, _) => tick_loop.is_at_end(),
            Ticks::Database(follower) => follower.is_at_end(),
        }
    }

    pub(super) async fn wait(&mut self) {
        match self {
            Ticks::Own(tick_loop, epochs) => {
                let due = epochs.as_ref().and_then(|epochs| epochs.wake_at(tick_loop.core().tick()));
                tick_loop.wait(due).await;
            }
            Ticks::Database(follower) => follower.wait().await,
        }
    }

    /// Between two ticks: the epochs of a pipeline of its own.
    pub(super) async fn turn_epochs(&mut self, job: ObjectId, deliveries: &[Arc<Delivery>]) -> Result<()> {
        match self {
            Ticks::Own(tick_loop, Some(epochs)) if !tick_loop.core().is_in_tick() => {
                epochs.turn(tick_loop, |covered| Outgoing::of(job, deliveries, covered).map(Some)).await
            }
            _ => Ok(()),
        }
    }

    /// The last epoch of a pipeline of its own. One that ended within a tick goes on from the last but one.
    pub(super) async fn finish_epochs(&mut self, job: ObjectId, deliveries: &[Arc<Delivery>]) -> Result<()> {
        match self {
            Ticks::Own(tick_loop, Some(epochs)) if !tick_loop.core().is_in_tick() => {
                epochs.finish(tick_loop, |covered| Outgoing::of(job, deliveries, covered)).await
            }
            _ => Ok(()),
        }
    }

    /// Waits until an epoch is due, or until somebody pokes: what a job does that is to read nothing.
    pub(super) async fn wait_for_epoch(&mut self) {
        match self {
            Ticks::Own(tick_loop, epochs) => {
                let due = epochs.as_ref().and_then(|epochs| epochs.wake_at(tick_loop.core().tick()));
                tick_loop.wait_for(due).await;
            }
            Ticks::Database(_) => std::future::pending().await,
        }
    }

    /// Makes all that is computed durable. `false`: it cannot be now, within a tick, or not at all.
    pub(super) async fn store(&mut self, job: ObjectId, deliveries: &[Arc<Delivery>]) -> Result<bool> {
        match self {
            Ticks::Own(tick_loop, Some(epochs)) if !tick_loop.core().is_in_tick() => {
                epochs.store(tick_loop, |covered| Outgoing::of(job, deliveries, covered)).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
