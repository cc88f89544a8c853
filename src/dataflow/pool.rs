//! The process's one worker pool: a thread a core, shared by all pipelines.
//!
//! A tick is one job in first-in-first-out order, so that pipelines take turns; a large tick forks over its shards, which
//! idle workers steal. Ticks are bounded, hence so is any pipeline's turn.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Bytes of a stage's input below which it stays on one thread: forking costs more than it brings.
const FORK_BYTES: usize = 256 * 1024;

/// Stack of a worker: expressions of SQL recurse.
const STACK_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct WorkerPool(Arc<rayon::ThreadPool>);

impl WorkerPool {
    pub fn new(threads: NonZeroUsize) -> Result<Self> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .thread_name(|i| format!("worker-{i}"))
            .stack_size(STACK_BYTES)
            .build()
            .map(|pool| WorkerPool(Arc::new(pool)))
            .map_err(|e| Error::internal(format!("cannot start the worker pool: {e}")))
    }

    /// Queues `job` behind those that wait already.
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.spawn_fifo(job);
    }
}

/// Runs `work` on each item: side by side if they have enough `bytes` to be worth it, else one after the other. Must be
/// called on a worker of the pool. The first error (in the items' order) is returned, so that it does not depend on timing.
pub fn for_each<T: Send>(
    items: &mut [T],
    bytes: usize,
    work: impl Fn(&mut T) -> Result<()> + Send + Sync,
) -> Result<()> {
    use rayon::prelude::*;
    if items.len() < 2 || bytes < FORK_BYTES {
        return items.iter_mut().try_for_each(work);
    }
    let outcomes: Vec<Result<()>> = items.par_iter_mut().with_max_len(1).map(work).collect();
    outcomes.into_iter().collect()
}
