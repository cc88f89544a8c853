//! A streaming job that was started: what orders it takes, and what is told of it. Its task is [`super::runner`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::catalog::{Ended, ObjectId, Wanted};
use crate::clock::SharedClock;
use crate::connector::Sink;
use crate::error::Result;
use crate::memory::Budget;
use crate::metrics::JobMetrics;

use super::delivery::Delivery;
use super::follow::InHand;
use super::restarts::Restarts;
use super::runner::Runner;
use super::status::{JobState, JobStatus};
use super::ticks::Started;

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

/// Brings a job up with so many shards, from its last epoch if there is one. From a thread that may block.
pub type Start = dyn Fn(usize) -> Result<Started> + Send + Sync;

/// What the lives of a job have in common.
pub struct Lives {
    pub sinks: Vec<JobSink>,
    pub metrics: JobMetrics,
    pub clock: SharedClock,
    pub start: Arc<Start>,
    /// `None`: if it fails it stays so.
    pub restarts: Option<Restarts>,
}

impl Lives {
    /// Outboxes for a new life.
    pub fn deliveries(&self) -> Deliveries {
        let delivery =
            |sink: &JobSink| Delivery::new(self.metrics.sink(&sink.name), sink.name.clone(), sink.budget.account());
        self.sinks.iter().map(delivery).collect()
    }
}

/// What the user wants of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Run,
    /// No new ticks, until it is to run again.
    Pause,
    /// No new ticks; deliver what is computed.
    Stop,
    /// The same, and go on when the server starts again.
    ShutDown,
    /// Drop what is not delivered.
    Cancel,
}

impl Order {
    /// The job is to end.
    pub fn ends(self) -> bool {
        !matches!(self, Order::Run | Order::Pause)
    }
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
    /// Shards that it is to have.
    parallelism: Arc<AtomicUsize>,
}

/// What a job tells whoever keeps it when it comes to its end by itself.
pub type OnEnd = Box<dyn FnOnce(ObjectId, Wanted, Ended) + Send>;

impl Job {
    /// Starts a job. `deliveries`: of its first life. A failure to start is a state of the job.
    pub fn spawn(
        status: JobStatus,
        (wake, in_hand): (Arc<Notify>, InHand),
        lives: Lives,
        deliveries: Deliveries,
        on_end: OnEnd,
    ) -> Self {
        let parallelism = Arc::new(AtomicUsize::new(status.parallelism));
        let status = Arc::new(Mutex::new(status));
        let (order, orders) = watch::channel(Order::Run);
        let (tell, changed) = watch::channel(0);
        let runner = Runner {
            status: Arc::clone(&status),
            orders,
            tell,
            wake: Arc::clone(&wake),
            parallelism: Arc::clone(&parallelism),
            lives,
            deliveries,
            part: 0,
            delivered_rows: 0,
        };
        let task = tokio::spawn(runner.run(on_end));
        Job { status, order, wake, task: Mutex::new(Some(task)), changed, in_hand, parallelism }
    }

    /// A job that does not run, as the catalog remembers it.
    pub fn ended(status: JobStatus) -> Self {
        let (_, changed) = watch::channel(0);
        let (order, _) = watch::channel(Order::Cancel);
        let parallelism = Arc::new(AtomicUsize::new(status.parallelism));
        let status = Arc::new(Mutex::new(status));
        let (wake, in_hand) = (Arc::default(), InHand::default());
        Job { status, order, wake, task: Mutex::new(None), changed, in_hand, parallelism }
    }

    pub fn status(&self) -> JobStatus {
        self.status.lock().clone()
    }

    /// Makes the tick loop look at its inputs and the clock.
    pub fn poke(&self) {
        self.wake.notify_one();
    }

    /// Whether its task is there to take orders.
    pub fn is_alive(&self) -> bool {
        self.task.lock().as_ref().is_some_and(|task| !task.is_finished())
    }

    /// No more ticks after the present one, or the present turn of a long one; waits for that.
    pub async fn pause(&self) {
        self.order_if(|now| now == Order::Run, Order::Pause);
        self.until(|status| status.state == JobState::Paused).await;
    }

    /// Goes on.
    pub fn resume(&self) {
        self.order_if(|now| now == Order::Pause, Order::Run);
    }

    /// Goes on with so many shards from the present tick's end on; waits for that.
    pub async fn rescale(&self, parallelism: usize) {
        self.parallelism.store(parallelism, Ordering::Release);
        self.poke();
        self.until(|status| status.parallelism == parallelism).await;
    }

    /// Shows the parallelism that one will have which does not run now.
    pub fn set_parallelism(&self, parallelism: usize) {
        self.status.lock().parallelism = parallelism;
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
        self.order_if(|now| now != Order::Cancel, order);
        let task = self.task.lock().take();
        if let Some(task) = task {
            // It reports by its status; a panic in it has been turned into one.
            let _ = task.await;
        }
    }

    fn order_if(&self, applies: impl Fn(Order) -> bool, order: Order) {
        self.order.send_if_modified(|now| {
            let differs = applies(*now) && *now != order;
            if differs {
                *now = order;
            }
            differs
        });
        self.poke();
    }

    /// Waits until the job has nothing left to do for now.
    pub async fn settled(&self) {
        let at_rest = |status: &JobStatus| status.settled && self.in_hand.load(Ordering::Acquire) == 0;
        self.until(|status| at_rest(status) || status.state == JobState::Paused).await;
    }

    /// Waits until `there`, or until the job is over and takes no orders.
    async fn until(&self, there: impl Fn(&JobStatus) -> bool) {
        let mut changed = self.changed.clone();
        loop {
            let _ = changed.borrow_and_update();
            {
                let status = self.status.lock();
                if there(&status) || (status.state.is_over() && status.state != JobState::Paused) {
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}
