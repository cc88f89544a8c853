//! The memory budget: who holds how many bytes.
//!
//! Every part that keeps data (state tables, prefetch queues, exchanges, outboxes, results) has an [`Account`]. Accounts
//! add up in one [`Budget`] for the process. Accounting is cooperative and counts what Arrow buffers and our own tables
//! say they hold; it is shown by metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The process's one budget.
#[derive(Debug, Default)]
pub struct Budget {
    used_bytes: AtomicUsize,
}

impl Budget {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub fn account(self: &Arc<Self>) -> Account {
        Account { budget: Arc::clone(self), bytes: 0 }
    }
}

/// What one holder has taken from the budget; given back when dropped.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Account {
    /// States what the holder holds now.
    pub fn set(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.budget.used_bytes.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.budget.used_bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0);
    }
}
