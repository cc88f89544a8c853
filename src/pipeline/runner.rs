//! The task of a streaming job: a tick loop whose results go through outboxes to sinks.
//!
//! It has one life or several. A life begins at the last epoch ([`Start`](super::job::Start)) and ends by an order, with the
//! input, or by an error; if that may pass another one begins after a pause ([`Restarts`](super::restarts::Restarts)), and
//! what the last one had not delivered is handed out, or computed, again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::catalog::Wanted;
use crate::change::ChangeBatch;
use crate::clock::Micros;
use crate::connector::{Part, PartId};
use crate::error::{Error, Result};

use super::delivery::blocking;
use super::durability::Owed;
use super::epochs::span;
use super::follow::Standing;
use super::job::{Deliveries, Lives, OnEnd, Order};
use super::status::{JobState, JobStatus};
use super::ticks::{Results, Started, Ticks};

/// For how long a failed life lets its sinks go on with the part that they have in hand.
const LAST_DELIVERY: Duration = Duration::from_secs(10);

/// Longest sleep before the clock is looked at again: bounds what a jump of it can do.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The task of a job.
pub(super) struct Runner {
    pub status: Arc<Mutex<JobStatus>>,
    pub orders: watch::Receiver<Order>,
    pub tell: watch::Sender<u64>,
    /// The tick loop's.
    pub wake: Arc<Notify>,
    /// Shards that it is to have; how many it has says the status.
    pub parallelism: Arc<AtomicUsize>,
    pub lives: Lives,
    /// Of the present life.
    pub deliveries: Deliveries,
    /// Parts of the present tick that were handed on.
    pub part: u32,
    /// Rows that sinks have confirmed to earlier lives.
    pub delivered_rows: u64,
}

/// How a life ended.
enum LifeEnd {
    Over(Result<JobState>),
    /// By an error, and after a pause there is another one.
    Again(Error, Duration),
}

/// Why there are no more ticks.
enum Left {
    Over(JobState),
    /// All is stored, and it is to go on with other shards.
    Rescale,
}

impl Runner {
    pub async fn run(mut self, on_end: OnEnd) {
        let outcome = loop {
            match self.live().await {
                LifeEnd::Over(outcome) => break outcome,
                LifeEnd::Again(error, pause) => {
                    self.report_deliveries();
                    self.delivered_rows = self.status.lock().delivered_rows;
                    self.deliveries = self.lives.deliveries();
                    if let Some(state) = self.rest_before_restart(error, pause).await {
                        break Ok(state);
                    }
                }
            }
        };
        let (id, state, ended) = {
            let mut status = self.status.lock();
            status.settled = true;
            status.next_restart = None;
            status.state = match outcome {
                Ok(state) => state,
                Err(error) => {
                    tracing::error!(job = %status.name, error = ?error, "streaming job failed");
                    status.reason = Some(error);
                    JobState::Failed
                }
            };
            (status.id, status.state, status.ended())
        };
        self.tell();
        // What the user or the server ended is recorded by them; a failed job is tried again at the next start.
        if state == JobState::Finished {
            on_end(id, Wanted::Finished, ended);
        }
    }

    /// From a start to what ends it. In between it may be taken down at an epoch's end, and go on with other shards.
    async fn live(&mut self) -> LifeEnd {
        let id = self.status.lock().id;
        let mut agents = self.agents();
        let (mut ticks, mut first) = (None, true);
        let ended = loop {
            // Readers and state go before others come.
            drop(ticks.take());
            let owed = match self.start().await {
                Ok(Started { ticks: started, owed }) => {
                    ticks = Some(started);
                    owed
                }
                Err(error) => break Err(error),
            };
            // What is owed at a change of shards waits in the outboxes already.
            if std::mem::take(&mut first)
                && let Err(error) = self.redeliver(owed, &mut agents).await
            {
                break Err(error);
            }
            let Some(ticks) = &mut ticks else { continue };
            match self.tick(ticks, &mut agents).await {
                Ok(Left::Over(state)) => break Ok(state),
                Ok(Left::Rescale) => {}
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = &ended
            && let Some(pause) = self.pause_before_restart(error)
        {
            drop(ticks);
            self.abandon(agents).await;
            return LifeEnd::Again(error.clone(), pause);
        }
        let mut wound_up = self.wind_up(ended, agents).await;
        if let (Ok(JobState::Stopped | JobState::Finished), Some(mut ticks)) = (&wound_up, ticks)
            && let Err(error) = ticks.finish_epochs(id, &self.deliveries).await
        {
            wound_up = Err(error);
        }
        match wound_up {
            Err(error) => match self.pause_before_restart(&error) {
                Some(pause) => LifeEnd::Again(error, pause),
                None => LifeEnd::Over(Err(error)),
            },
            Ok(state) => LifeEnd::Over(Ok(state)),
        }
    }

    async fn start(&mut self) -> Result<Started> {
        let parallelism = self.parallelism.load(Ordering::Acquire);
        let start = Arc::clone(&self.lives.start);
        let started = blocking(move || start(parallelism)).await.and_then(|started| started)?;
        self.status.lock().parallelism = parallelism;
        self.part = 0;
        self.tell();
        Ok(started)
    }

    /// A delivery agent for each sink.
    fn agents(&self) -> JoinSet<Result<()>> {
        let job = self.status.lock().name.clone();
        let mut agents = JoinSet::new();
        for (sink, delivery) in self.lives.sinks.iter().zip(&*self.deliveries) {
            agents.spawn(Arc::clone(delivery).run(job.clone(), Arc::clone(&sink.sink), Arc::clone(&sink.schema)));
        }
        agents
    }

    /// How long to wait before the next life, if there is to be one.
    fn pause_before_restart(&mut self, error: &Error) -> Option<Duration> {
        if self.orders.borrow().ends() {
            return None;
        }
        let now = self.lives.clock.now();
        self.lives.restarts.as_mut()?.after(error, now)
    }

    /// Ends the delivery agents: what is not delivered is handed out, or computed, again. A part that is being delivered gets
    /// some time, so that a sink is rarely written by two at once.
    async fn abandon(&mut self, mut agents: JoinSet<Result<()>>) {
        self.deliveries.iter().for_each(|d| d.outbox.abandon());
        tokio::select! {
            () = async { while agents.join_next().await.is_some() {} } => {}
            () = sleep(LAST_DELIVERY) => {}
            () = canceled(&mut self.orders) => {}
        }
        agents.shutdown().await;
    }

    /// Waits for the next life; the state of the job if it was ended instead.
    async fn rest_before_restart(&mut self, error: Error, pause: Duration) -> Option<JobState> {
        let now = self.lives.clock.now();
        let mut at = now.saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX));
        {
            let mut status = self.status.lock();
            tracing::warn!(job = %status.name, ?error, ?pause, "streaming job failed, it is started again");
            status.restarts += 1;
            status.reason = Some(error);
            status.settled = true;
        }
        loop {
            let order = *self.orders.borrow_and_update();
            let left = span(self.lives.clock.now(), at);
            // There are no shards now, so these are those of the next life.
            self.status.lock().parallelism = self.parallelism.load(Ordering::Acquire);
            match order {
                Order::Stop | Order::ShutDown => return Some(JobState::Stopped),
                Order::Cancel => return Some(JobState::Canceled),
                Order::Pause => {
                    // Resumed, it is not to wait again.
                    at = now;
                    self.set_state(JobState::Paused, None);
                }
                Order::Run if left.is_zero() => break,
                Order::Run => self.set_state(JobState::Restarting, Some(at)),
            }
            tokio::select! {
                () = sleep(LOOK_AGAIN.min(left)), if order == Order::Run => {}
                () = self.wake.notified() => {}
                _ = self.orders.changed() => {}
            }
        }
        self.status.lock().settled = false;
        self.set_state(JobState::Starting, None);
        None
    }

    fn set_state(&self, state: JobState, next_restart: Option<Micros>) {
        let mut status = self.status.lock();
        status.state = state;
        status.next_restart = next_restart;
        drop(status);
        self.tell();
    }

    /// Runs no ticks until it is to go on; epochs end and sinks deliver what was computed.
    async fn pause(&mut self, ticks: &mut Ticks, agents: &mut JoinSet<Result<()>>) -> Result<()> {
        let id = self.status.lock().id;
        self.set_state(JobState::Paused, None);
        loop {
            let order = *self.orders.borrow_and_update();
            if order != Order::Pause || self.is_to_rescale() {
                break;
            }
            ticks.turn_epochs(id, &self.deliveries).await?;
            self.report_deliveries();
            self.rest(ticks.wait_for_epoch(), agents).await?;
        }
        self.set_state(self.state_at_work(), None);
        Ok(())
    }

    fn state_at_work(&self) -> JobState {
        match *self.orders.borrow() {
            Order::Pause => JobState::Paused,
            _ => JobState::Running,
        }
    }

    fn is_to_rescale(&self) -> bool {
        self.parallelism.load(Ordering::Acquire) != self.status.lock().parallelism
    }

    /// What an earlier life has not delivered goes first.
    async fn redeliver(&mut self, owed: Vec<Owed>, agents: &mut JoinSet<Result<()>>) -> Result<()> {
        let deliveries = Arc::clone(&self.deliveries);
        for (delivery, Owed { parts, delivered }) in deliveries.iter().zip(owed) {
            delivered.into_iter().for_each(|upto| delivery.outbox.was_delivered(upto));
            for part in parts {
                tokio::select! {
                    () = delivery.outbox.push(part) => {}
                    Some(ended) = agents.join_next() => joined(ended)?,
                    _ = self.orders.wait_for(|order| order.ends()) => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Ticks until the input ends, the user says so, or something fails.
    async fn tick(&mut self, ticks: &mut Ticks, agents: &mut JoinSet<Result<()>>) -> Result<Left> {
        let id = self.status.lock().id;
        self.set_state(self.state_at_work(), None);
        loop {
            let order = *self.orders.borrow_and_update();
            match order {
                Order::Pause if !self.is_to_rescale() => {
                    self.pause(ticks, agents).await?;
                    continue;
                }
                Order::Run | Order::Pause => {}
                Order::Stop | Order::ShutDown => return Ok(Left::Over(JobState::Stopped)),
                Order::Cancel => return Ok(Left::Over(JobState::Canceled)),
            }
            if self.is_to_rescale() && ticks.store(id, &self.deliveries).await? {
                return Ok(Left::Rescale);
            }
            if let Some(Err(error)) = agents.try_join_next().map(joined) {
                return Err(error);
            }
            let results = ticks.next().await?;
            let standing = ticks.standing();
            self.report(&standing, results.is_none() && ticks.is_at_end());
            let idle = results.is_none();
            if let Some(results) = results {
                let over = results.over;
                self.hand_on(results, agents).await?;
                if !over {
                    continue;
                }
            }
            ticks.turn_epochs(id, &self.deliveries).await?;
            if let Some(error) = standing.failed {
                return Err(error);
            }
            if standing.finished {
                return Ok(Left::Over(JobState::Finished));
            }
            if idle {
                self.rest(ticks.wait(), agents).await?;
            }
        }
    }

    /// Waits for input, a timer, an order, or a sink that gives up or catches up.
    async fn rest(&mut self, due: impl Future<Output = ()>, agents: &mut JoinSet<Result<()>>) -> Result<()> {
        let deliveries = Arc::clone(&self.deliveries);
        let delivered = async {
            for delivery in &*deliveries {
                delivery.outbox.emptied().await;
            }
        };
        let waiting = self.deliveries.iter().any(|d| !d.outbox.is_empty());
        tokio::select! {
            () = due => Ok(()),
            () = delivered, if waiting => Ok(()),
            _ = self.orders.changed() => Ok(()),
            Some(ended) = agents.join_next() => joined(ended),
        }
    }

    /// Puts results into the outboxes, as a part for each output.
    async fn hand_on(&mut self, results: Results, agents: &mut JoinSet<Result<()>>) -> Result<()> {
        let id = PartId { epoch: results.tick, part: self.part };
        self.part = if results.over { 0 } else { self.part + u32::from(!results.outputs.is_empty()) };
        let deliveries = Arc::clone(&self.deliveries);
        for (delivery, batches) in deliveries.iter().zip(results.outputs) {
            if batches.is_empty() {
                continue;
            }
            // They wait: what their texts were read from must not wait with them.
            let batches = batches.into_iter().map(ChangeBatch::compacted).collect::<Result<Vec<_>>>()?;
            if delivery.outbox.is_full() {
                self.status.lock().reason = Some(delivery.full());
            }
            tokio::select! {
                () = delivery.outbox.push(Part { id, batches }) => {}
                Some(ended) = agents.join_next() => joined(ended)?,
                () = canceled(&mut self.orders) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Lets the sinks deliver what is computed (also after a failure: the results up to the last good tick are good).
    async fn wind_up(&mut self, outcome: Result<JobState>, mut agents: JoinSet<Result<()>>) -> Result<JobState> {
        if let Ok(JobState::Canceled) = outcome {
            agents.shutdown().await;
            return outcome;
        }
        self.status.lock().state = JobState::Stopping;
        self.tell();
        self.deliveries.iter().for_each(|d| d.outbox.close());
        loop {
            tokio::select! {
                ended = agents.join_next() => match ended {
                    Some(ended) => {
                        let delivered = joined(ended);
                        if outcome.is_ok() {
                            delivered?;
                        }
                    }
                    None => return outcome,
                },
                () = canceled(&mut self.orders) => {
                    agents.shutdown().await;
                    return Ok(JobState::Canceled);
                }
            }
            self.report_deliveries();
        }
    }

    fn report(&self, standing: &Standing, at_end: bool) {
        let delivered = self.deliveries.iter().all(|d| d.outbox.is_empty());
        let mut status = self.status.lock();
        status.counts = standing.counts;
        status.running.clone_from(&standing.running);
        status.buffered_bytes = standing.buffered_bytes;
        status.reason = standing.trouble.clone().or_else(|| self.deliveries.iter().find_map(|d| d.state().trouble));
        status.settled = delivered && at_end;
        drop(status);
        self.report_deliveries();
    }

    fn report_deliveries(&self) {
        self.deliveries.iter().for_each(|d| d.metrics.set_outbox_bytes(d.outbox.bytes()));
        let mut status = self.status.lock();
        status.delivered_rows = self.delivered_rows + self.deliveries.iter().map(|d| d.state().rows).sum::<u64>();
        status.outbox_bytes = self.deliveries.iter().map(|d| d.outbox.bytes()).sum();
        drop(status);
        self.tell();
    }

    fn tell(&self) {
        self.tell.send_modify(|changes| *changes += 1);
    }
}

/// Waits until the job is canceled; for ever, if nobody can any more.
async fn canceled(orders: &mut watch::Receiver<Order>) {
    let canceled = orders.wait_for(|order| *order == Order::Cancel).await.is_ok();
    if !canceled {
        std::future::pending().await
    }
}

fn joined(ended: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    ended.map_err(|e| Error::internal(format!("a delivery agent panicked: {e}")))?
}

#[expect(clippy::disallowed_methods, reason = "a job that failed waits before it is tried again")]
async fn sleep(pause: Duration) {
    tokio::time::sleep(pause).await;
}
