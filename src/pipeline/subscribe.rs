//! A subscription: what each tick of the database pipeline changes in a query over views, for as long as somebody reads.
//!
//! The query runs in the pipeline as a job over views does, so that it sees the same ticks. Where a job makes the pipeline
//! wait until it has taken a tick, a subscription never does: its changes queue, whole ticks, up to [`WAITING_BYTES`].
//! Whoever falls further behind loses the subscription, with an error that says so, and its queue is given back. The rows
//! that are there when it begins are not counted: no reader could have taken them before.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::catalog::ObjectId;
use crate::change::ChangeBatch;
use crate::error::{Error, Result, SqlState};
use crate::memory::Account;
use crate::metrics::SubscriptionMetrics;

/// Changes that may wait for their reader: a minute of a view that changes by a megabyte each second. Together with
/// [`MAX_SUBSCRIPTIONS`] it bounds what slow readers can cost.
const WAITING_BYTES: usize = 64 << 20;

/// Subscriptions at once. Each is a query that every tick runs.
pub const MAX_SUBSCRIPTIONS: usize = 256;

/// What an entry of the queue takes beyond its rows: keeps a great many small ticks bounded, too.
const TICK_BYTES: usize = 256;

/// Subscriptions run under ids that no object of the catalog comes to have.
const FIRST_ID: u32 = 1 << 31;

/// The id of the `n`th subscription.
pub(super) fn subscription_id(n: u32) -> ObjectId {
    ObjectId(FIRST_ID | n)
}

pub(super) fn is_subscription(id: ObjectId) -> bool {
    id.0 >= FIRST_ID
}

/// What is new for a reader.
#[derive(Debug)]
pub enum News {
    /// The rows that are there at first, as of `tick`.
    Snapshot { tick: u64, rows: Vec<ChangeBatch> },
    /// All that `tick` has changed.
    Changes { tick: u64, changes: Vec<ChangeBatch> },
    /// Everything up to `tick` has been told.
    Progress { tick: u64 },
}

impl News {
    fn rows(&self) -> usize {
        match self {
            News::Snapshot { rows, .. } | News::Changes { changes: rows, .. } => {
                rows.iter().map(ChangeBatch::num_rows).sum()
            }
            News::Progress { .. } => 0,
        }
    }
}

/// The reader's end. Dropping it ends the subscription.
pub struct Subscription {
    shared: Arc<Shared>,
    /// Makes the pipeline look whether readers have gone.
    wake: Arc<Notify>,
    /// The last tick that was told to be over.
    told: u64,
}

/// The pipeline's end. Dropping it ends the subscription with the server.
pub struct Publisher {
    shared: Arc<Shared>,
    begun: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    news: Notify,
}

struct Queue {
    waiting: VecDeque<(News, usize)>,
    /// Bytes of the changes that wait, without the first rows.
    account: Account,
    metrics: SubscriptionMetrics,
    /// The last tick that has gone through.
    tick: u64,
    /// Nothing comes any more, for this reason.
    ended: Option<Error>,
    /// Nobody reads any more.
    closed: bool,
}

impl Subscription {
    pub fn new(account: Account, metrics: SubscriptionMetrics, wake: Arc<Notify>) -> (Publisher, Subscription) {
        let queue = Queue { waiting: VecDeque::new(), account, metrics, tick: 0, ended: None, closed: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), news: Notify::new() });
        let publisher = Publisher { shared: Arc::clone(&shared), begun: false };
        (publisher, Subscription { shared, wake, told: 0 })
    }

    /// Waits for what is new. May be dropped at any await: nothing is lost.
    ///
    /// # Errors
    /// Once nothing comes any more: the query has failed, a view that it reads was dropped, the server stops, or this
    /// reader is too slow (53400).
    pub async fn next(&mut self) -> Result<News> {
        loop {
            if let Some(news) = self.take()? {
                return Ok(news);
            }
            self.shared.news.notified().await;
        }
    }

    fn take(&mut self) -> Result<Option<News>> {
        let mut queue = self.shared.queue.lock();
        if let Some((news, bytes)) = queue.waiting.pop_front() {
            let left = queue.account.bytes().saturating_sub(bytes);
            queue.set_waiting_bytes(left);
            queue.metrics.rows.inc_by(news.rows() as u64);
            return Ok(Some(news));
        }
        if queue.tick > self.told {
            self.told = queue.tick;
            return Ok(Some(News::Progress { tick: queue.tick }));
        }
        queue.ended.clone().map_or(Ok(None), Err)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        queue.clear();
        drop(queue);
        self.wake.notify_one();
    }
}

impl Publisher {
    /// Nobody reads any more, or nothing more will be taken.
    pub fn is_over(&self) -> bool {
        let queue = self.shared.queue.lock();
        queue.closed || queue.ended.is_some()
    }

    /// Hands on a tick. `waiting`: the views that the query reads have not all caught up, so it has not begun.
    pub fn publish(&mut self, tick: u64, changes: Vec<ChangeBatch>, waiting: bool) {
        if waiting {
            return;
        }
        let changes: Vec<ChangeBatch> = changes.into_iter().filter(|batch| !batch.is_empty()).collect();
        let first = !std::mem::replace(&mut self.begun, true);
        let mut queue = self.shared.queue.lock();
        if queue.ended.is_some() {
            return;
        }
        queue.tick = tick;
        if first {
            queue.waiting.push_back((News::Snapshot { tick, rows: changes }, 0));
        } else if !changes.is_empty() {
            let bytes = TICK_BYTES + changes.iter().map(ChangeBatch::bytes).sum::<usize>();
            let total = queue.account.bytes() + bytes;
            if total > WAITING_BYTES {
                queue.give_up(too_slow());
            } else {
                queue.set_waiting_bytes(total);
                queue.waiting.push_back((News::Changes { tick, changes }, bytes));
            }
        }
        drop(queue);
        self.shared.news.notify_one();
    }

    /// Nothing comes any more; what waits can still be read.
    pub fn end(&self, reason: Error) {
        self.shared.queue.lock().end(reason);
        self.shared.news.notify_one();
    }
}

impl Queue {
    fn end(&mut self, reason: Error) {
        self.ended.get_or_insert(reason);
    }

    /// Ends with what waits left untold.
    fn give_up(&mut self, reason: Error) {
        self.end(reason);
        self.clear();
        self.tick = 0;
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.set_waiting_bytes(0);
    }

    fn set_waiting_bytes(&mut self, bytes: usize) {
        self.account.set(bytes);
        self.metrics.set_waiting_bytes(bytes);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.end(Error::new(SqlState::AdminShutdown, "the server is shutting down"));
    }
}

fn too_slow() -> Error {
    let message = "the subscription was canceled because its reader is too slow";
    Error::new(SqlState::ConfigurationLimitExceeded, message)
        .with_detail(format!("More than {} MiB of changes waited.", WAITING_BYTES >> 20))
        .with_hint("Subscribe again, and read faster or to fewer changes: SUBSCRIBE (SELECT ... WHERE ...).")
}

pub(super) fn too_many() -> Error {
    Error::new(SqlState::ConfigurationLimitExceeded, "too many subscriptions")
        .with_hint(format!("At most {MAX_SUBSCRIPTIONS} can run at once; end those that nobody needs."))
}

pub(super) fn view_dropped() -> Error {
    let message = "a materialized view that the subscription reads was dropped";
    Error::new(SqlState::ObjectNotInPrerequisiteState, message)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};

    use super::*;
    use crate::memory::Budget;
    use crate::metrics::Metrics;

    fn numbers(range: std::ops::Range<i64>) -> ChangeBatch {
        let column: arrow::array::ArrayRef = Arc::new(Int64Array::from_iter_values(range));
        ChangeBatch::append_only(RecordBatch::try_from_iter([("n", column)]).unwrap())
    }

    fn opened(budget: &Arc<Budget>, wake: Arc<Notify>) -> (Publisher, Subscription) {
        Subscription::new(budget.account(), Metrics::new().subscription(), wake)
    }

    /// What is ready now, as words.
    fn ready(subscription: &mut Subscription) -> String {
        match subscription.take() {
            Ok(None) => "nothing".into(),
            Ok(Some(News::Snapshot { tick, rows })) => format!("snapshot {tick}: {}", count(&rows)),
            Ok(Some(News::Changes { tick, changes })) => format!("changes {tick}: {}", count(&changes)),
            Ok(Some(News::Progress { tick })) => format!("progress {tick}"),
            Err(error) => error.state().code().to_string(),
        }
    }

    fn count(batches: &[ChangeBatch]) -> usize {
        batches.iter().map(ChangeBatch::num_rows).sum()
    }

    #[test]
    fn first_the_rows_then_whole_ticks() {
        let (mut publisher, mut subscription) = opened(&Budget::new(), Arc::default());
        publisher.publish(1, Vec::new(), true);
        assert_eq!(ready(&mut subscription), "nothing");
        publisher.publish(2, vec![numbers(0..3)], false);
        publisher.publish(3, Vec::new(), false);
        publisher.publish(4, vec![numbers(0..1), numbers(0..1)], false);
        assert_eq!(ready(&mut subscription), "snapshot 2: 3");
        assert_eq!(ready(&mut subscription), "changes 4: 2");
        assert_eq!(ready(&mut subscription), "progress 4");
        assert_eq!(ready(&mut subscription), "nothing");
        publisher.publish(5, vec![numbers(0..1)], false);
        publisher.end(view_dropped());
        assert_eq!(ready(&mut subscription), "changes 5: 1");
        assert_eq!(ready(&mut subscription), "progress 5");
        assert_eq!(ready(&mut subscription), "55000");
    }

    #[test]
    fn a_slow_reader_loses_its_subscription_and_nothing_is_kept_for_it() {
        let budget = Budget::new();
        let (mut publisher, mut subscription) = opened(&budget, Arc::default());
        let megabyte = || vec![numbers(0..131_072)];
        let limit = WAITING_BYTES >> 20;
        // The first rows may be as many as they are.
        publisher.publish(1, (0..2 * limit).flat_map(|_| megabyte()).collect(), false);
        for tick in 2..=limit as u64 {
            publisher.publish(tick, megabyte(), false);
        }
        assert!(!publisher.is_over());
        assert!(budget.used_bytes() > WAITING_BYTES - (1 << 20));
        publisher.publish(1_000, megabyte(), false);
        assert!(publisher.is_over());
        assert_eq!(budget.used_bytes(), 0);
        assert_eq!(ready(&mut subscription), "53400");
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_and_who_goes_is_noticed() {
        let wake = Arc::new(Notify::new());
        let (mut publisher, mut subscription) = opened(&Budget::new(), Arc::clone(&wake));
        let reader = tokio::spawn(async move {
            let news = subscription.next().await;
            (subscription, news.is_ok())
        });
        tokio::task::yield_now().await;
        publisher.publish(1, vec![numbers(0..1)], false);
        let (subscription, told) = reader.await.unwrap();
        assert!(told && !publisher.is_over());
        drop(subscription);
        wake.notified().await;
        assert!(publisher.is_over());
    }
}
