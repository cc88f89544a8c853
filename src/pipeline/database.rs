//! The database pipeline: all materialized views, and the jobs that read views, in one tick loop, so that a SELECT over
//! several sees one tick of all.
//! Views come and go between two ticks; what a tick changed is published at its end, at once for all views.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::catalog::ObjectId;
use crate::change::ChangeBatch;
use crate::connector::Waker;
use crate::dataflow::Fragment;
use crate::error::{Error, Result, SqlState};
use crate::plan::StreamPlan;
use crate::table::{Database, DatabaseSnapshot, View, ViewEntry, ViewState};

use super::follow::{Follower, JobTick, JobTicks};
use super::reading::Reading;
use super::status::{Counts, Running, ViewStatus};
use super::tick_loop::{TickLoop, waker};

/// Orders that may wait for the tick loop: one a session at most, and sessions are few.
const ORDERS: usize = 64;

/// Opens a source for a plan: called on the tick loop, does not block.
pub type OpenReading = Box<dyn FnMut(&str, &StreamPlan) -> Result<Reading> + Send>;

/// A view, or a job that reads views, to be added.
pub struct NewMember {
    pub id: ObjectId,
    pub name: String,
    pub fragment: Fragment,
    pub kind: NewKind,
    pub open: OpenReading,
}

pub enum NewKind {
    View(SchemaRef, View),
    /// Its results go there.
    Job(JobTicks),
}

enum Order {
    Add(Box<NewMember>, oneshot::Sender<Result<()>>),
    Remove(ObjectId, oneshot::Sender<()>),
    Shutdown,
}

/// The handle of the running database pipeline.
pub struct DatabasePipeline {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    progress: watch::Receiver<Progress>,
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
    over: bool,
}

impl DatabasePipeline {
    pub fn spawn(tick_loop: TickLoop, wake: Arc<Notify>) -> Self {
        let (orders, receive) = mpsc::channel(ORDERS);
        let (tell, progress) = watch::channel(Progress::default());
        let shared = Arc::new(Shared { database: Database::default(), statuses: Mutex::default() });
        let runner = Runner {
            tick_loop,
            orders: receive,
            shared: Arc::clone(&shared),
            tell,
            present: DatabaseSnapshot::default(),
            jobs: Vec::new(),
        };
        tokio::spawn(runner.run());
        DatabasePipeline { orders, shared, wake, progress }
    }

    /// All views as of the last tick.
    pub fn snapshot(&self) -> Arc<DatabaseSnapshot> {
        self.shared.database.snapshot()
    }

    pub fn statuses(&self) -> Vec<ViewStatus> {
        self.shared.statuses.lock().clone()
    }

    /// Adds a view, hidden until it has caught up, or a job.
    pub async fn add(&self, member: NewMember) -> Result<()> {
        let (answer, added) = oneshot::channel();
        self.order(Order::Add(Box::new(member), answer)).await?;
        added.await.map_err(|_| gone())?
    }

    /// For a job that will be added: where it takes its results, and the end that [`NewKind::Job`] wants.
    pub fn follower(&self) -> (JobTicks, Follower) {
        Follower::new(self.progress.clone())
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

    /// Waits until `done` says so of the published snapshot and of whether the pipeline has settled.
    async fn until(&self, done: impl Fn(&DatabaseSnapshot, bool) -> bool) {
        let mut progress = self.progress.clone();
        loop {
            let now = *progress.borrow_and_update();
            if now.over || done(&self.snapshot(), now.settled) {
                return;
            }
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the view has caught up, or failed, or is gone.
    pub async fn view_filled(&self, id: ObjectId) {
        self.until(|snapshot, _| snapshot.view(id).is_none_or(|v| !matches!(v.state, ViewState::Filling))).await;
    }

    /// Waits until all input there is has gone through.
    pub async fn settled(&self) {
        self.until(|_, settled| settled).await;
    }

    /// Ends after the present tick.
    pub async fn shutdown(&self) {
        if self.order(Order::Shutdown).await.is_ok() {
            self.until(|_, _| false).await;
        }
    }
}

fn gone() -> Error {
    Error::new(SqlState::AdminShutdown, "the server is shutting down")
}

struct Runner {
    tick_loop: TickLoop,
    orders: mpsc::Receiver<Order>,
    shared: Arc<Shared>,
    tell: watch::Sender<Progress>,
    /// What was published last.
    present: DatabaseSnapshot,
    /// Where the results of jobs go.
    jobs: Vec<(ObjectId, JobTicks)>,
}

impl Runner {
    async fn run(mut self) {
        loop {
            while let Ok(order) = self.orders.try_recv() {
                if self.carry_out(order) {
                    self.tell.send_replace(Progress { settled: true, over: true });
                    return;
                }
            }
            match self.tick_loop.tick().await {
                Ok(Some(result)) => {
                    self.publish(result.tick, &result.changed);
                    for (ticks, message) in self.messages(result.tick, result.results) {
                        // Waits for a job whose outbox is full; one that has ended takes nothing more.
                        ticks.send(message).await;
                    }
                    self.tell.send_replace(Progress { settled: false, over: false });
                }
                Ok(None) => {
                    self.publish(self.present.tick, &[]);
                    let settled = self.tick_loop.is_at_end() && self.orders.is_empty();
                    self.tell.send_replace(Progress { settled, over: false });
                    self.tick_loop.wait().await;
                }
                Err(error) => {
                    tracing::error!(?error, "the database pipeline has stopped");
                    self.tell.send_replace(Progress { settled: true, over: true });
                    return;
                }
            }
        }
    }

    /// True if this was the last order.
    fn carry_out(&mut self, order: Order) -> bool {
        self.tell.send_replace(Progress { settled: false, over: false });
        match order {
            Order::Add(new, answer) => {
                let added = self.add(*new);
                // A session that went away does not undo its statement.
                let _ = answer.send(added);
            }
            Order::Remove(id, answer) => {
                self.tick_loop.core_mut().remove(id);
                self.jobs.retain(|(job, _)| *job != id);
                self.present.remove(id);
                self.shared.database.publish(self.present.clone());
                let _ = answer.send(());
            }
            Order::Shutdown => return true,
        }
        false
    }

    fn add(&mut self, new: NewMember) -> Result<()> {
        let NewMember { id, name, fragment, kind, open } = new;
        let core = self.tick_loop.core_mut();
        match kind {
            NewKind::View(schema, view) => {
                core.add(id, &name, fragment, Some(view), open)?;
                self.present.insert(id, ViewEntry::filling(schema));
                self.shared.database.publish(self.present.clone());
            }
            NewKind::Job(ticks) => {
                core.add(id, &name, fragment, None, open)?;
                self.jobs.push((id, ticks));
            }
        }
        Ok(())
    }

    /// For each job its results.
    fn messages(&self, tick: u64, mut results: Vec<(ObjectId, Vec<Vec<ChangeBatch>>)>) -> Vec<(JobTicks, JobTick)> {
        let core = self.tick_loop.core();
        let message = |(id, ticks): &(ObjectId, JobTicks)| {
            let member = core.members().iter().find(|member| member.id == *id)?;
            let outputs = results.iter_mut().find(|(of, _)| of == id).map(|(_, outputs)| std::mem::take(outputs));
            let standing = core.standing(member);
            Some((ticks.clone(), JobTick { tick, outputs: outputs.unwrap_or_default(), standing }))
        };
        self.jobs.iter().filter_map(message).collect()
    }

    /// Publishes the views as of `tick`: those that changed, those that have caught up, those that failed.
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
                (None, ViewState::Filling) if core.caught_up(member) => {
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
                running: Running::of(member),
            })
            .collect();
    }
}
