//! A streaming job at work: a tick loop whose results go through outboxes to sinks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::catalog::{Ended, ObjectId, Wanted};
use crate::change::ChangeBatch;
use crate::connector::{Part, PartId, Sink};
use crate::error::{Error, Result};
use crate::memory::Budget;
use crate::metrics::JobMetrics;

use super::delivery::Delivery;
use super::durability::Owed;
use super::epochs::{Epochs, Outgoing};
use super::follow::{Follower, InHand, Standing};
use super::status::{JobState, JobStatus};
use super::tick_loop::TickLoop;

/// A sink that a job writes: one for each output of its plan.
pub struct JobSink {
    pub name: String,
    pub sink: Arc<dyn Sink>,
    pub schema: SchemaRef,
    /// What waits for it is counted there.
    pub budget: Arc<Budget>,
}

/// What is on its way to a job's sinks: one for each output of its plan.
pub type Deliveries = Arc<[Arc<Delivery>]>;

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
struct Results {
    tick: u64,
    /// Of each of the plan's outputs.
    outputs: Vec<Vec<ChangeBatch>>,
    /// The tick is over.
    over: bool,
}

impl Ticks {
    /// What the next tick gives, or the next turn of a long one, if there is anything to run one for.
    async fn next(&mut self) -> Result<Option<Results>> {
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

    fn standing(&self) -> Standing {
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

    fn is_at_end(&self) -> bool {
        match self {
            Ticks::Own(tick_loop, _) => tick_loop.is_at_end(),
            Ticks::Database(follower) => follower.is_at_end(),
        }
    }

    async fn wait(&mut self) {
        match self {
            Ticks::Own(tick_loop, epochs) => {
                let due = epochs.as_ref().and_then(|epochs| epochs.wake_at(tick_loop.core().tick()));
                tick_loop.wait(due).await;
            }
            Ticks::Database(follower) => follower.wait().await,
        }
    }

    /// Between two ticks: the epochs of a pipeline of its own.
    async fn turn_epochs(&mut self, job: ObjectId, deliveries: &[Arc<Delivery>]) -> Result<()> {
        match self {
            Ticks::Own(tick_loop, Some(epochs)) if !tick_loop.core().is_in_tick() => {
                epochs.turn(tick_loop, |covered| Outgoing::of(job, deliveries, covered).map(Some)).await
            }
            _ => Ok(()),
        }
    }

    /// The last epoch of a pipeline of its own. One that ended within a tick goes on from the last but one.
    async fn finish_epochs(&mut self, job: ObjectId, deliveries: &[Arc<Delivery>]) -> Result<()> {
        match self {
            Ticks::Own(tick_loop, Some(epochs)) if !tick_loop.core().is_in_tick() => {
                epochs.finish(tick_loop, |covered| Outgoing::of(job, deliveries, covered)).await
            }
            _ => Ok(()),
        }
    }
}

/// What the user wants of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Run,
    /// No new ticks; deliver what is computed.
    Stop,
    /// The same, and go on when the server starts again.
    ShutDown,
    /// Drop what is not delivered.
    Cancel,
}

/// A job that was started in this process.
pub struct Job {
    status: Arc<Mutex<JobStatus>>,
    order: watch::Sender<Order>,
    wake: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// Notified whenever the status changes.
    changed: watch::Receiver<u64>,
    /// Ticks that it has yet to take from the database pipeline.
    in_hand: InHand,
    deliveries: Deliveries,
}

/// What a job tells whoever keeps it when it comes to its end by itself.
pub type OnEnd = Box<dyn FnOnce(ObjectId, Wanted, Ended) + Send>;

impl Job {
    /// Starts a job; `start` opens its sources. A failure to start is a state of the job.
    pub fn spawn(
        status: JobStatus,
        (wake, in_hand): (Arc<Notify>, InHand),
        sinks: Vec<JobSink>,
        metrics: JobMetrics,
        start: impl FnOnce() -> Result<Started> + Send + 'static,
        on_end: OnEnd,
    ) -> Self {
        let status = Arc::new(Mutex::new(status));
        let (order, orders) = watch::channel(Order::Run);
        let (tell, changed) = watch::channel(0);
        let delivery =
            |sink: &JobSink| Delivery::new(metrics.sink(&sink.name), sink.name.clone(), sink.budget.account());
        let deliveries: Deliveries = sinks.iter().map(delivery).collect();
        let runner = Runner { status: Arc::clone(&status), orders, tell, deliveries: Arc::clone(&deliveries), part: 0 };
        let task = tokio::spawn(runner.run(sinks, start, on_end));
        Job { status, order, wake, task: Mutex::new(Some(task)), changed, in_hand, deliveries }
    }

    /// A job that does not run, as the catalog remembers it.
    pub fn ended(status: JobStatus) -> Self {
        let (_, changed) = watch::channel(0);
        let (order, _) = watch::channel(Order::Cancel);
        let status = Arc::new(Mutex::new(status));
        let (wake, in_hand, deliveries) = (Arc::default(), InHand::default(), Deliveries::default());
        Job { status, order, wake, task: Mutex::new(None), changed, in_hand, deliveries }
    }

    /// What is on its way to its sinks.
    pub fn deliveries(&self) -> Deliveries {
        Arc::clone(&self.deliveries)
    }

    pub fn status(&self) -> JobStatus {
        self.status.lock().clone()
    }

    /// Makes the tick loop look at its inputs and the clock.
    pub fn poke(&self) {
        self.wake.notify_one();
    }

    /// Ends after the present tick, or the present turn of a long one, with everything delivered that was handed on.
    pub async fn stop(&self) {
        self.end(Order::Stop).await;
    }

    /// Ends after the present tick, or the present turn of a long one, and drops what is not delivered.
    pub async fn cancel(&self) {
        self.end(Order::Cancel).await;
    }

    /// The server ends: as [`Job::stop`], but the job is still wanted.
    pub async fn shut_down(&self) {
        self.end(Order::ShutDown).await;
    }

    async fn end(&self, order: Order) {
        self.order.send_if_modified(|now| {
            let stronger = *now != Order::Cancel && *now != order;
            if stronger {
                *now = order;
            }
            stronger
        });
        self.poke();
        let task = self.task.lock().take();
        if let Some(task) = task {
            // It reports by its status; a panic in it has been turned into one.
            let _ = task.await;
        }
    }

    /// Waits until the job has nothing left to do for now.
    pub async fn settled(&self) {
        let mut changed = self.changed.clone();
        loop {
            let _ = changed.borrow_and_update();
            {
                let status = self.status.lock();
                let at_rest = status.settled && self.in_hand.load(Ordering::Acquire) == 0;
                if at_rest || status.state.is_over() {
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The task of a job.
struct Runner {
    status: Arc<Mutex<JobStatus>>,
    orders: watch::Receiver<Order>,
    tell: watch::Sender<u64>,
    deliveries: Deliveries,
    /// Parts of the present tick that were handed on.
    part: u32,
}

impl Runner {
    async fn run(
        mut self,
        sinks: Vec<JobSink>,
        start: impl FnOnce() -> Result<Started> + Send + 'static,
        on_end: OnEnd,
    ) {
        let (id, name) = {
            let status = self.status.lock();
            (status.id, status.name.clone())
        };
        let mut agents = JoinSet::new();
        for (sink, delivery) in sinks.into_iter().zip(&*self.deliveries) {
            agents.spawn(Arc::clone(delivery).run(name.clone(), sink.sink, sink.schema));
        }
        let outcome = match super::delivery::blocking(start).await.and_then(|started| started) {
            Ok(Started { mut ticks, owed }) => {
                let ended = match self.redeliver(owed, &mut agents).await {
                    Ok(()) => self.tick(&mut ticks, &mut agents).await,
                    Err(error) => Err(error),
                };
                let mut wound_up = self.wind_up(ended, agents).await;
                if let Ok(JobState::Stopped | JobState::Finished) = wound_up
                    && let Err(error) = ticks.finish_epochs(id, &self.deliveries).await
                {
                    wound_up = Err(error);
                }
                wound_up
            }
            Err(error) => self.wind_up(Err(error), agents).await,
        };
        let (id, state, ended) = {
            let mut status = self.status.lock();
            status.settled = true;
            status.state = match outcome {
                Ok(state) => state,
                Err(error) => {
                    tracing::error!(job = %name, error = ?error, "streaming job failed");
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

    /// What an earlier life has not delivered goes first.
    async fn redeliver(&mut self, owed: Vec<Owed>, agents: &mut JoinSet<Result<()>>) -> Result<()> {
        let deliveries = Arc::clone(&self.deliveries);
        for (delivery, Owed { parts, delivered }) in deliveries.iter().zip(owed) {
            delivered.into_iter().for_each(|upto| delivery.outbox.was_delivered(upto));
            for part in parts {
                tokio::select! {
                    () = delivery.outbox.push(part) => {}
                    Some(ended) = agents.join_next() => joined(ended)?,
                    _ = self.orders.wait_for(|order| *order != Order::Run) => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Ticks until the input ends, the user says so, or something fails.
    async fn tick(&mut self, ticks: &mut Ticks, agents: &mut JoinSet<Result<()>>) -> Result<JobState> {
        let id = {
            let mut status = self.status.lock();
            status.state = JobState::Running;
            status.id
        };
        loop {
            match *self.orders.borrow_and_update() {
                Order::Run => {}
                Order::Stop | Order::ShutDown => return Ok(JobState::Stopped),
                Order::Cancel => return Ok(JobState::Canceled),
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
                return Ok(JobState::Finished);
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
        status.delivered_rows = self.deliveries.iter().map(|d| d.state().rows).sum();
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
