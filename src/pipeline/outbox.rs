//! The outbox: results on their way to one sink, in order, bounded in bytes. When it is full the tick loop waits, and
//! says why; nothing else does.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::connector::{Part, PartId};
use crate::memory::Account;

/// Bytes that may wait for a sink before the tick loop does. Larger than a tick's output usually is, so that computing and
/// delivering overlap.
pub const OUTBOX_BYTES: usize = 64 << 20;

/// Bytes of parts handed to a sink at once: whole parts, at least one.
const DELIVERY_BYTES: usize = 8 << 20;

#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    /// Parts came, or the box was closed.
    filled: Notify,
    /// Room came.
    drained: Notify,
    /// Nothing is left.
    empty: Notify,
    /// Some were delivered, or nothing will be any more.
    moved: Notify,
}

#[derive(Debug)]
struct Queue {
    parts: VecDeque<Part>,
    /// What [`Outbox::next`] joined and gave last, until it is delivered.
    in_delivery: Vec<Part>,
    last_delivered: Option<PartId>,
    /// Bytes of all parts not yet delivered, including those being delivered.
    account: Account,
    /// Rows not yet delivered, likewise.
    rows: usize,
    /// Rows ever put in.
    put: u64,
    closed: bool,
    given_up: bool,
}

impl Outbox {
    /// `account` counts what waits.
    pub fn new(account: Account) -> Self {
        Outbox {
            queue: Mutex::new(Queue {
                parts: VecDeque::new(),
                in_delivery: Vec::new(),
                last_delivered: None,
                account,
                rows: 0,
                put: 0,
                closed: false,
                given_up: false,
            }),
            filled: Notify::new(),
            drained: Notify::new(),
            empty: Notify::new(),
            moved: Notify::new(),
        }
    }

    /// Waits for room, then appends. A part larger than the whole box goes in alone.
    pub async fn push(&self, mut part: Part) {
        loop {
            let drained = self.drained.notified();
            match self.try_push(part) {
                Ok(()) => return,
                Err(refused) => part = refused,
            }
            drained.await;
        }
    }

    /// Appends if there is room; if not, gives the part back.
    pub fn try_push(&self, part: Part) -> Result<(), Part> {
        let bytes = part.bytes();
        {
            let mut queue = self.queue.lock();
            let waiting = queue.account.bytes();
            if waiting > 0 && waiting + bytes > OUTBOX_BYTES {
                return Err(part);
            }
            queue.account.set(waiting + bytes);
            queue.rows += part.rows();
            queue.put += part.rows() as u64;
            queue.parts.push_back(part);
        }
        self.filled.notify_one();
        Ok(())
    }

    pub fn is_full(&self) -> bool {
        self.queue.lock().account.bytes() >= OUTBOX_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.queue.lock().account.bytes() == 0
    }

    pub fn bytes(&self) -> usize {
        self.queue.lock().account.bytes()
    }

    /// All parts that are not known to be delivered, in order: what must not be lost with this process. Their rows are
    /// shared, not copied.
    pub fn undelivered(&self) -> Vec<Part> {
        let queue = self.queue.lock();
        queue.in_delivery.iter().chain(&queue.parts).cloned().collect()
    }

    /// The newest part that the sink is known to have.
    pub fn last_delivered(&self) -> Option<PartId> {
        self.queue.lock().last_delivered
    }

    /// The same of an earlier life.
    pub fn was_delivered(&self, upto: PartId) {
        self.queue.lock().last_delivered = Some(upto);
    }

    /// Waits until everything is delivered.
    pub async fn emptied(&self) {
        loop {
            let empty = self.empty.notified();
            if self.is_empty() {
                return;
            }
            empty.await;
        }
    }

    /// How far it has been filled: [`Outbox::delivered_upto`] waits for that.
    pub fn mark(&self) -> u64 {
        self.queue.lock().put
    }

    /// Waits until what had been put in at a mark is delivered. False if that will never be.
    pub async fn delivered_upto(&self, mark: u64) -> bool {
        loop {
            let moved = self.moved.notified();
            {
                let queue = self.queue.lock();
                if queue.put - queue.rows as u64 >= mark {
                    return true;
                }
                if queue.given_up {
                    return false;
                }
            }
            moved.await;
        }
    }

    /// Nothing of what is in it will be delivered.
    pub fn give_up(&self) {
        self.queue.lock().given_up = true;
        self.moved.notify_waiters();
    }

    /// Nothing more will come: once what is in it is delivered, [`Outbox::next`] answers `None`.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.filled.notify_one();
    }

    /// Nothing more will come, and nothing of what waits is to be delivered: whoever runs next has it.
    pub fn abandon(&self) {
        let mut queue = self.queue.lock();
        queue.parts.clear();
        let (bytes, rows) = queue.in_delivery.iter().fold((0, 0), |(b, r), part| (b + part.bytes(), r + part.rows()));
        queue.account.set(bytes);
        queue.rows = rows;
        queue.closed = true;
        drop(queue);
        self.filled.notify_one();
    }

    /// The next parts in order, joined into one whose id is the last's. The caller says when they are delivered. `None`
    /// once the box is closed and empty.
    pub async fn next(&self) -> Option<Part> {
        loop {
            {
                let mut queue = self.queue.lock();
                if let Some(mut joined) = queue.parts.pop_front() {
                    let mut bytes = joined.bytes();
                    queue.in_delivery = vec![joined.clone()];
                    while let Some(next) = queue.parts.front() {
                        bytes += next.bytes();
                        if bytes > DELIVERY_BYTES {
                            break;
                        }
                        if let Some(next) = queue.parts.pop_front() {
                            joined.id = next.id;
                            joined.batches.extend_from_slice(&next.batches);
                            queue.in_delivery.push(next);
                        }
                    }
                    return Some(joined);
                }
                if queue.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// The part that [`Outbox::next`] gave is delivered.
    pub fn delivered(&self, bytes: usize, rows: usize) {
        let mut queue = self.queue.lock();
        let left = queue.account.bytes().saturating_sub(bytes);
        queue.account.set(left);
        queue.rows = queue.rows.saturating_sub(rows);
        queue.last_delivered = queue.in_delivery.last().map(|part| part.id).or(queue.last_delivered);
        queue.in_delivery.clear();
        let empty = left == 0;
        drop(queue);
        self.drained.notify_one();
        self.moved.notify_waiters();
        if empty {
            self.empty.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::ChangeBatch;
    use crate::memory::Budget;
    use arrow::array::{Int64Array, RecordBatch};
    use std::sync::Arc;

    fn part(epoch: u64, rows: i64) -> Part {
        let column: Int64Array = (0..rows).collect();
        let rows = RecordBatch::try_from_iter([("a", Arc::new(column) as _)]).unwrap();
        Part { id: PartId { epoch, part: 0 }, batches: vec![ChangeBatch::append_only(rows)] }
    }

    #[tokio::test]
    async fn parts_come_in_order_and_joined() {
        let outbox = Outbox::new(Budget::new().account());
        for epoch in 1..=3 {
            outbox.push(part(epoch, 10)).await;
        }
        outbox.close();
        let joined = outbox.next().await.unwrap();
        assert_eq!((joined.id.epoch, joined.rows()), (3, 30));
        assert!(!outbox.is_empty(), "not delivered yet");
        assert_eq!(outbox.undelivered().len(), 3, "parts that are joined on their way stay apart here");
        outbox.delivered(joined.bytes(), joined.rows());
        assert!(outbox.is_empty() && outbox.undelivered().is_empty());
        assert_eq!(outbox.last_delivered(), Some(PartId { epoch: 3, part: 0 }));
        assert!(outbox.next().await.is_none());
    }

    #[tokio::test]
    async fn what_was_there_at_a_mark_is_waited_for() {
        let outbox = Arc::new(Outbox::new(Budget::new().account()));
        assert!(outbox.delivered_upto(outbox.mark()).await, "nothing was");
        outbox.push(part(1, 10)).await;
        let mark = outbox.mark();
        let first = outbox.next().await.unwrap();
        outbox.push(part(2, 10)).await;
        let waiter = |mark| {
            let outbox = Arc::clone(&outbox);
            tokio::spawn(async move { outbox.delivered_upto(mark).await })
        };
        let (first_only, both) = (waiter(mark), waiter(outbox.mark()));
        tokio::task::yield_now().await;
        assert!(!first_only.is_finished());
        outbox.delivered(first.bytes(), first.rows());
        assert!(first_only.await.unwrap());
        assert!(!both.is_finished());
        outbox.give_up();
        assert!(!both.await.unwrap());
    }

    #[tokio::test]
    async fn a_full_box_makes_the_next_part_wait() {
        let outbox = Arc::new(Outbox::new(Budget::new().account()));
        outbox.push(part(1, (OUTBOX_BYTES / 8) as i64)).await;
        assert!(outbox.is_full());
        let second = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move { outbox.push(part(2, 1)).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        let first = outbox.next().await.unwrap();
        outbox.delivered(first.bytes(), first.rows());
        second.await.unwrap();
        assert_eq!(outbox.next().await.unwrap().id.epoch, 2);
    }
}
