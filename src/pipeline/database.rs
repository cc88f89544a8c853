//! The database pipeline: all materialized views, and the jobs that read views, in one tick loop, so that a SELECT over
//! several sees one tick of all.
//! Views come between two ticks, and go also within a long one; what a tick changed is published at its end, at once for
//! all views.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::catalog::{ObjectId, Starts};
use crate::change::ChangeBatch;
use crate::checkpoint::StateReader;
use crate::connector::Waker;
use crate::dataflow::Fragment;
use crate::error::{Error, Result, SqlState};
use crate::memory::Account;
use crate::metrics::SubscriptionMetrics;
use crate::table::{Database, DatabaseSnapshot, ViewEntry, ViewState, view_failed};

use super::core::TickResult;
use super::delivery::blocking;
use super::durability::restore;
use super::epochs::{Epochs, Outgoing};
use super::follow::{Follower, JobTick, JobTicks};
use super::image::Fingerprint;
use super::job::Deliveries;
use super::member::{Member, NewPlan};
use super::status::{Counts, Running, ViewStatus};
use super::subscribe::{self, MAX_SUBSCRIPTIONS, Publisher, Subscription, subscription_id};
use super::tick_loop::{TickLoop, waker};

/// Orders that may wait for the tick loop: one a session at most, and sessions are few.
const ORDERS: usize = 64;

/// A view, or a job that reads views, to be added.
pub struct NewMember {
    pub plan: NewPlan,
    pub kind: NewKind,
}

pub enum NewKind {
    View(SchemaRef),
    /// Its results go there.
    Job(JobTicks, Deliveries),
    /// Likewise.
    Subscription(Publisher),
}

enum Order {
    Add(Box<NewMember>, oneshot::Sender<Result<()>>),
    /// Everything that is wanted was added: what is stored of it is put in place, and ticks begin.
    Begin(Box<StateReader>, oneshot::Sender<()>),
    Remove(ObjectId, oneshot::Sender<()>),
    Shutdown,
}

/// The handle of the running database pipeline.
pub struct DatabasePipeline {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    progress: watch::Receiver<Progress>,
    /// Subscriptions so far.
    subscriptions: AtomicU32,
}

struct Shared {
    database: Database,
    statuses: Mutex<Vec<ViewStatus>>,
}

/// Told at each tick's end and whenever there was nothing to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Every partition is at its end, and no order waits.
    pub settled: bool,
    /// Every partition that has an end was read to it, and no order waits.
    read_to_end: bool,
    over: bool,
}

impl DatabasePipeline {
    /// One that goes on from an image waits for [`DatabasePipeline::begin`]. One whose log could not be opened does nothing but
    /// tell everybody so.
    pub fn spawn(tick_loop: TickLoop, epochs: Result<Option<Epochs>>, wake: Arc<Notify>) -> Self {
        let (orders, receive) = mpsc::channel(ORDERS);
        let (tell, progress) = watch::channel(Progress::default());
        let shared = Arc::new(Shared { database: Database::default(), statuses: Mutex::default() });
        let (epochs, broken) = epochs.map_or_else(|error| (None, Some(error)), |epochs| (epochs, None));
        let runner = Runner {
            tick_loop,
            epochs,
            broken,
            orders: receive,
            put_off: VecDeque::new(),
            shared: Arc::clone(&shared),
            tell,
            present: DatabaseSnapshot::default(),
            jobs: Vec::new(),
            subscriptions: Vec::new(),
        };
        tokio::spawn(runner.run());
        DatabasePipeline { orders, shared, wake, progress, subscriptions: AtomicU32::new(0) }
    }

    /// All views as of the last tick.
    pub fn snapshot(&self) -> Arc<DatabaseSnapshot> {
        self.shared.database.snapshot()
    }

    pub fn statuses(&self) -> Vec<ViewStatus> {
        self.shared.statuses.lock().clone()
    }

    /// Adds a view, hidden until it is filled, or a job.
    pub async fn add(&self, member: NewMember) -> Result<()> {
        let (answer, added) = oneshot::channel();
        self.order(Order::Add(Box::new(member), answer)).await?;
        added.await.map_err(|_| gone())?
    }

    /// Puts stored state in place once all members are there. They fail if it is damaged.
    pub async fn begin(&self, state: StateReader) -> Result<()> {
        let (answer, begun) = oneshot::channel();
        self.order(Order::Begin(Box::new(state), answer)).await?;
        begun.await.map_err(|_| gone())
    }

    /// For a job that will be added: where it takes its results, and the end that [`NewKind::Job`] wants.
    pub fn follower(&self) -> (JobTicks, Follower) {
        Follower::new(self.progress.clone(), Arc::clone(&self.wake))
    }

    /// Runs a query over views for as long as what it gives is read. `account` holds what waits to be read.
    pub async fn subscribe(
        &self,
        fragment: Fragment,
        account: Account,
        metrics: SubscriptionMetrics,
    ) -> Result<Subscription> {
        let (publisher, subscription) = Subscription::new(account, metrics, Arc::clone(&self.wake));
        let id = subscription_id(self.subscriptions.fetch_add(1, Ordering::Relaxed));
        let plan = NewPlan {
            id,
            name: "a subscription".into(),
            // It is part of no image.
            fingerprint: Fingerprint::of(""),
            fragment,
            view: None,
            starts: Starts::new(),
        };
        self.add(NewMember { plan, kind: NewKind::Subscription(publisher) }).await?;
        Ok(subscription)
    }

    pub async fn remove(&self, id: ObjectId) -> Result<()> {
        let (answer, removed) = oneshot::channel();
        self.order(Order::Remove(id, answer)).await?;
        removed.await.map_err(|_| gone())
    }

    async fn order(&self, order: Order) -> Result<()> {
        self.orders.send(order).await.map_err(|_| gone())?;
        self.poke();
        Ok(())
    }

    /// What readers of its sources call.
    pub fn waker(&self) -> Waker {
        waker(&self.wake)
    }

    pub fn poke(&self) {
        self.wake.notify_one();
    }

    /// Waits until `done` says so of the published snapshot and of how far the pipeline is.
    async fn until(&self, done: impl Fn(&DatabaseSnapshot, Progress) -> bool) {
        let mut progress = self.progress.clone();
        loop {
            let now = *progress.borrow_and_update();
            if now.over || done(&self.snapshot(), now) {
                return;
            }
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the view is filled, or failed, or is gone.
    pub async fn view_filled(&self, id: ObjectId) {
        self.until(|snapshot, _| snapshot.view(id).is_none_or(|v| !matches!(v.state, ViewState::Filling))).await;
    }

    /// Waits until all input there is has gone through.
    pub async fn settled(&self) {
        self.until(|_, progress| progress.settled).await;
    }

    /// Waits until all input that has an end has gone through.
    pub async fn read_to_end(&self) {
        self.until(|_, progress| progress.read_to_end).await;
    }

    /// Ends after the present turn.
    pub async fn shutdown(&self) {
        if self.order(Order::Shutdown).await.is_ok() {
            self.until(|_, _| false).await;
        }
    }
}

/// Why views cannot go on from what is stored.
pub fn stored_views(error: Error) -> Error {
    let remedy = "Stop the server and move the folder pipelines/database of its store away: then views are computed anew from their \
                  sources, and the jobs that read them begin anew.";
    let error = error.context("what is stored of views");
    if error.state() == SqlState::DataCorrupted { error.with_hint(remedy) } else { error }
}

fn gone() -> Error {
    Error::new(SqlState::AdminShutdown, "the server is shutting down")
}

struct Runner {
    tick_loop: TickLoop,
    epochs: Option<Epochs>,
    /// Why nothing can go on: all members have failed with it, and whoever comes does.
    broken: Option<Error>,
    orders: mpsc::Receiver<Order>,
    /// Those that wait for the tick's end: at most [`ORDERS`].
    put_off: VecDeque<Order>,
    shared: Arc<Shared>,
    tell: watch::Sender<Progress>,
    /// What was published last.
    present: DatabaseSnapshot,
    /// Where the results of jobs go, and where they wait for their sinks.
    jobs: Vec<(ObjectId, JobTicks, Deliveries)>,
    subscriptions: Vec<(ObjectId, Publisher)>,
}

impl Runner {
    async fn run(mut self) {
        loop {
            if self.take_orders().await {
                if let Err(error) = self.finish_epochs().await {
                    tracing::error!(
                        ?error,
                        "the last epoch of the views was not stored: they will go on from the one before"
                    );
                }
                self.tell.send_replace(Progress { settled: true, read_to_end: true, over: true });
                return;
            }
            self.forget_subscriptions();
            if let Err(error) = self.turn_epochs().await {
                self.fail(error).await;
            }
            match self.tick_loop.tick().await {
                Ok(Some(mut result)) => {
                    if result.over {
                        self.publish(result.tick, &result.changed);
                        self.tell_subscribers(result.tick, &mut result.results);
                    }
                    for (ticks, message) in self.messages(result) {
                        // Waits for a job whose outbox is full; one that has ended takes nothing more.
                        ticks.send(message).await;
                    }
                    self.tell.send_replace(Progress { settled: false, ..self.progress() });
                }
                Ok(None) => {
                    self.publish(self.present.tick, &[]);
                    self.tell.send_replace(self.progress());
                    let due = self.epochs.as_ref().and_then(|epochs| epochs.wake_at(self.tick_loop.core().tick()));
                    self.tick_loop.wait(due).await;
                }
                Err(error) => {
                    tracing::error!(?error, "the database pipeline has stopped");
                    self.tell.send_replace(Progress { settled: true, read_to_end: true, over: true });
                    return;
                }
            }
        }
    }

    /// Nothing here goes on. Views keep no answer that is not true any more, and everybody is told.
    async fn fail(&mut self, error: Error) {
        tracing::error!(?error, "the database pipeline has stopped");
        self.epochs = None;
        self.broken = Some(error);
        self.fail_members().await;
    }

    async fn fail_members(&mut self) {
        let Some(error) = &self.broken else { return };
        self.tick_loop.core_mut().fail(error);
        let tick = self.tick_loop.core().tick();
        self.publish(tick, &[]);
        self.tell_subscribers(tick, &mut []);
        for (ticks, message) in self.messages(TickResult { tick, over: true, ..TickResult::default() }) {
            ticks.send(message).await;
        }
    }

    /// Between two ticks: ends an epoch if it is time, once the jobs have all results in their outboxes.
    async fn turn_epochs(&mut self) -> Result<()> {
        let Some(epochs) = &mut self.epochs else { return Ok(()) };
        let core = self.tick_loop.core();
        if core.is_in_tick() || core.is_restoring() {
            return Ok(());
        }
        let jobs = &self.jobs;
        epochs.turn(&mut self.tick_loop, |covered| handed_on(jobs, covered)).await
    }

    /// The last epoch. Without it, within a tick or while a job has results in hand, the one before it holds.
    async fn finish_epochs(&mut self) -> Result<()> {
        let Some(epochs) = &mut self.epochs else { return Ok(()) };
        let core = self.tick_loop.core();
        if core.is_in_tick() || core.is_restoring() || self.jobs.iter().any(|(_, ticks, _)| ticks.is_busy()) {
            return Ok(());
        }
        let jobs = &self.jobs;
        epochs.finish(&mut self.tick_loop, |covered| Ok(handed_on(jobs, covered)?.unwrap_or_default())).await
    }

    fn progress(&self) -> Progress {
        let orders = !self.orders.is_empty() || !self.put_off.is_empty();
        let core = self.tick_loop.core();
        let still = !orders && !core.is_in_tick() && !core.is_restoring();
        let (settled, read_to_end) = (self.tick_loop.is_at_end(), self.tick_loop.has_read_to_end());
        Progress { settled: settled && still, read_to_end: read_to_end && still, over: false }
    }

    /// Carries out what was ordered. Within a tick only what ends something: what is new begins with a tick of its own.
    /// True if there was the last order.
    async fn take_orders(&mut self) -> bool {
        let in_tick = self.tick_loop.core().is_in_tick();
        while !in_tick && let Some(order) = self.put_off.pop_front() {
            if self.carry_out(order).await {
                return true;
            }
        }
        while self.put_off.len() < ORDERS
            && let Ok(order) = self.orders.try_recv()
        {
            if in_tick && matches!(order, Order::Add(..)) {
                self.put_off.push_back(order);
            } else if self.carry_out(order).await {
                return true;
            }
        }
        false
    }

    /// True if this was the last order.
    async fn carry_out(&mut self, order: Order) -> bool {
        self.tell.send_replace(Progress::default());
        match order {
            Order::Add(new, answer) => {
                let added = self.add(*new);
                self.fail_members().await;
                // A session that went away does not undo its statement.
                let _ = answer.send(added);
            }
            Order::Begin(state, answer) => {
                if let Err(error) = self.begin(*state).await {
                    self.fail(stored_views(error)).await;
                }
                let _ = answer.send(());
            }
            Order::Remove(id, answer) => {
                // What waits to be added is not to come either.
                self.put_off.retain(|order| !matches!(order, Order::Add(new, _) if new.plan.id == id));
                self.end_subscriptions_over(id);
                self.tick_loop.core_mut().remove(id);
                self.jobs.retain(|(job, ..)| *job != id);
                self.present.remove(id);
                self.shared.database.publish(self.present.clone());
                let _ = answer.send(());
            }
            Order::Shutdown => return true,
        }
        false
    }

    async fn begin(&mut self, state: StateReader) -> Result<()> {
        let mut core = std::mem::take(self.tick_loop.core_mut());
        let (core, restored) = blocking(move || {
            let restored = restore(&mut core, state);
            (core, restored)
        })
        .await?;
        *self.tick_loop.core_mut() = core;
        restored
    }

    fn add(&mut self, new: NewMember) -> Result<()> {
        let NewMember { plan, kind } = new;
        let (id, core) = (plan.id, self.tick_loop.core_mut());
        match kind {
            NewKind::View(schema) => {
                core.add(plan)?;
                self.present.insert(id, ViewEntry::filling(schema));
                self.shared.database.publish(self.present.clone());
            }
            NewKind::Job(ticks, deliveries) => {
                core.add(plan)?;
                self.jobs.push((id, ticks, deliveries));
            }
            NewKind::Subscription(_) if self.subscriptions.len() >= MAX_SUBSCRIPTIONS => {
                return Err(subscribe::too_many());
            }
            NewKind::Subscription(publisher) => {
                core.add(plan)?;
                self.subscriptions.push((id, publisher));
            }
        }
        Ok(())
    }

    /// Hands each subscription its part of a tick; readers see the tick where a SELECT sees it already.
    fn tell_subscribers(&mut self, tick: u64, results: &mut [(ObjectId, Vec<Vec<ChangeBatch>>)]) {
        let core = self.tick_loop.core();
        for (id, publisher) in &mut self.subscriptions {
            let Some(member) = core.members().iter().find(|member| member.id == *id) else { continue };
            if let Some(error) = &member.failed {
                // Of a view that has failed, its reason says more.
                let views = core.members().iter().filter(|view| member.views_read().any(|id| id == view.id));
                let of_view = |view: &Member| view.failed.as_ref().map(|why| view_failed(&view.name, why));
                publisher.end({ views }.find_map(of_view).unwrap_or_else(|| error.clone()));
                continue;
            }
            let outputs = results.iter_mut().find(|(of, _)| of == id).map(|(_, outputs)| std::mem::take(outputs));
            publisher.publish(tick, outputs.into_iter().flatten().flatten().collect(), member.waits_for_views());
        }
    }

    /// Stops to run what nobody reads, or what has ended.
    fn forget_subscriptions(&mut self) {
        let core = self.tick_loop.core_mut();
        self.subscriptions.retain(|(id, publisher)| {
            let over = publisher.is_over();
            if over {
                core.remove(*id);
            }
            !over
        });
    }

    /// A view goes: whoever watches it is told.
    fn end_subscriptions_over(&mut self, view: ObjectId) {
        let core = self.tick_loop.core();
        let reads = |id: ObjectId| core.members().iter().any(|m| m.id == id && m.views_read().any(|v| v == view));
        for (_, publisher) in self.subscriptions.iter().filter(|(id, _)| reads(*id)) {
            publisher.end(subscribe::view_dropped());
        }
    }

    /// For each job its results: within a tick if it has any, and at its end.
    fn messages(&self, mut result: TickResult) -> Vec<(JobTicks, JobTick)> {
        let core = self.tick_loop.core();
        let message = |(id, ticks, _): &(ObjectId, JobTicks, Deliveries)| {
            let member = core.members().iter().find(|member| member.id == *id)?;
            let outputs =
                result.results.iter_mut().find(|(of, _)| of == id).map(|(_, outputs)| std::mem::take(outputs));
            let standing = result.over.then(|| core.standing(member));
            if outputs.is_none() && standing.is_none() {
                return None;
            }
            Some((ticks.clone(), JobTick { tick: result.tick, outputs: outputs.unwrap_or_default(), standing }))
        };
        self.jobs.iter().filter_map(message).collect()
    }

    /// Publishes the views as of `tick`: those that changed, those that are filled, those that failed.
    fn publish(&mut self, tick: u64, changed: &[ObjectId]) {
        let core = self.tick_loop.core();
        let mut differs = self.present.tick != tick;
        self.present.tick = tick;
        for member in core.members() {
            let (Some(view), Some(entry)) = (&member.view, self.present.view(member.id)) else { continue };
            let next = match (&member.failed, &entry.state) {
                (Some(_), ViewState::Failed(_)) => continue,
                (Some(error), _) => {
                    tracing::error!(view = %member.name, ?error, "materialized view failed");
                    ViewEntry::new(ViewState::Failed(error.clone()), view.snapshot())
                }
                (None, ViewState::Filling) if core.is_filled(member) => {
                    ViewEntry::new(ViewState::Ready, view.snapshot())
                }
                (None, ViewState::Ready) if changed.contains(&member.id) => {
                    ViewEntry::new(ViewState::Ready, view.snapshot())
                }
                _ => continue,
            };
            self.present.insert(member.id, next);
            differs = true;
        }
        if differs {
            self.shared.database.publish(self.present.clone());
        }
        let ticks = core.tick();
        *self.shared.statuses.lock() = core
            .members()
            .iter()
            .filter(|member| member.view.is_some())
            .map(|member| ViewStatus {
                id: member.id,
                name: member.name.clone(),
                failed: member.failed.clone(),
                counts: Counts::of(member, ticks),
                running: Some(Running::of(member)),
            })
            .collect();
    }
}

/// What the sinks of jobs over views have, and what no epoch up to tick `covered` holds for them; `None`: a job has results in
/// hand.
fn handed_on(jobs: &[(ObjectId, JobTicks, Deliveries)], covered: u64) -> Result<Option<Outgoing>> {
    let mut outgoing = Outgoing::default();
    for (job, ticks, deliveries) in jobs {
        if ticks.is_busy() {
            return Ok(None);
        }
        outgoing.add(*job, deliveries, covered)?;
    }
    Ok(Some(outgoing))
}
