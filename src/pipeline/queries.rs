//! The threads that compute SELECTs, and those that plan statements.
//!
//! A query can compute for seconds before it yields once: on the threads of the ticks, the sessions and the listeners it
//! would hold up all of them. Here it holds up other queries at most, and of those as many run at once as there are
//! threads; the operating system shares the cores among them. Whoever finds no thread waits in order, and can be canceled
//! meanwhile.
//!
//! Planning cannot yield at all, and needs a large stack: each statement is planned on a thread of its own, and whoever
//! waits for it can let go of it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, Result};
use crate::plan;

/// Queries that compute at once. More than cores, so that a short one is not behind as many long ones; not many more,
/// since each holds its rows in memory.
const THREADS_PER_CORE: usize = 4;

/// Stack of a thread: expressions of SQL recurse.
const STACK_BYTES: usize = 64 << 20;

/// Of two pieces of work, one is taken from those that wait in front of the threads: whoever comes is not behind all that
/// goes on.
const ARRIVALS_EVERY: u32 = 2;

/// Statements planned at once; the others wait in order. Those that nobody waits for any more count until they are through,
/// which takes a second or two at worst, so there are far more than cores.
const PLANNERS: usize = 64;

/// Queries that run end with it: nobody waits for them.
pub struct QueryThreads {
    handle: Handle,
    planners: Arc<Semaphore>,
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
        let planners = Arc::new(Semaphore::new(PLANNERS));
        Ok(QueryThreads { handle: runtime.handle().clone(), planners, runtime: Some(runtime) })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Plans on a stack that is large enough for any statement that is parsed. Given up, planning ends by itself, for nobody.
    pub async fn plan<T: Send + 'static>(&self, plan: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let planner = Arc::clone(&self.planners).acquire_owned().await;
        let planner = planner.map_err(|_| Error::internal("statements are no longer planned"))?;
        let (answer, planned) = oneshot::channel();
        // Only what is used of a stack is ever backed by memory.
        let thread = std::thread::Builder::new().name("planner".into()).stack_size(plan::STACK_BYTES);
        thread.spawn(move || {
            let planned = plan();
            drop(planner);
            // Nobody may wait any more.
            let _ = answer.send(planned);
        })?;
        planned.await.unwrap_or_else(|_| Err(Error::internal("planning this statement failed")))
    }
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn threads() -> QueryThreads {
        QueryThreads::start(NonZeroUsize::MIN).unwrap()
    }

    /// On one thread, which planning must not hold.
    #[tokio::test]
    async fn whoever_waits_for_a_plan_can_let_go() {
        let threads = threads();
        let (finish, finished) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        let endless = threads.plan(move || {
            let waited = finished.recv();
            let _ = ended.send(waited);
            Ok(())
        });
        assert!(tokio::time::timeout(SOON, endless).await.is_err());
        assert_eq!(threads.plan(|| Ok(1)).await.unwrap(), 1, "others go on");
        finish.send(()).unwrap();
        assert_eq!(end.recv_timeout(Duration::from_secs(10)), Ok(Ok(())), "it comes to its end by itself");
    }

    #[tokio::test]
    async fn so_many_are_planned_at_once() {
        let threads = threads();
        let (finish, finished) = mpsc::channel::<()>();
        let finished = Arc::new(parking_lot::Mutex::new(finished));
        for _ in 0..PLANNERS {
            let finished = Arc::clone(&finished);
            let endless = threads.plan(move || {
                let _ = finished.lock().recv();
                Ok(())
            });
            assert!(tokio::time::timeout(Duration::from_millis(1), endless).await.is_err());
        }
        let next = threads.plan(|| Ok(1));
        tokio::pin!(next);
        assert!(tokio::time::timeout(SOON, &mut next).await.is_err(), "it waits, and can be given up");
        drop(finish);
        assert_eq!(next.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_planner_that_panics_is_an_error() {
        let error = threads().plan::<()>(|| panic!("on purpose")).await.unwrap_err();
        assert_eq!(error.message(), "planning this statement failed");
    }
}
