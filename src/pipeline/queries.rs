//! The threads that compute SELECTs.
//!
//! A query can compute for seconds before it yields once: on the threads of the ticks, the sessions and the listeners it
//! would hold up all of them. Here it holds up other queries at most, and of those as many run at once as there are
//! threads; the operating system shares the cores among them. Whoever finds no thread waits in order, and can be canceled
//! meanwhile.

use std::num::NonZeroUsize;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};

/// Queries that compute at once. More than cores, so that a short one is not behind as many long ones; not many more,
/// since each holds its rows in memory.
const THREADS_PER_CORE: usize = 4;

/// Stack of a thread: expressions of SQL recurse.
const STACK_BYTES: usize = 64 << 20;

/// Of two pieces of work, one is taken from those that wait in front of the threads: whoever comes is not behind all that
/// goes on.
const ARRIVALS_EVERY: u32 = 2;

/// Queries that run end with it: nobody waits for them.
pub struct QueryThreads {
    handle: Handle,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl QueryThreads {
    pub fn start(cores: NonZeroUsize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.get().saturating_mul(THREADS_PER_CORE))
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .global_queue_interval(ARRIVALS_EVERY)
            .build()
            .map_err(|e| Error::from(e).context("cannot start the threads of queries"))?;
        Ok(QueryThreads { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
