//! When the next tick is due, and running it. The clock is an input too: a due timer, a partition that becomes idle, makes
//! a tick as rows do. One tick at a time, a long one in turns; the next one's input is fetched by the readers meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::clock::{Micros, SharedClock};
use crate::connector::Waker;
use crate::dataflow::WorkerPool;
use crate::error::{Error, Result};
use crate::memory::Account;

use super::core::{Core, TickResult};
use super::meter::Meter;
use super::reading::Reading;

/// Longest sleep before the timers are looked at again: bounds what a jump of the wall clock can do.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

pub struct TickLoop {
    core: Core,
    wake: Arc<Notify>,
    clock: SharedClock,
    pool: WorkerPool,
    meter: Meter,
    /// What readers have fetched, and what the present tick has taken.
    input: Account,
    /// When the present tick began.
    began: Micros,
}

impl TickLoop {
    /// `input` counts what its readers have fetched and the present tick has taken.
    pub fn new(
        core: Core,
        wake: Arc<Notify>,
        clock: SharedClock,
        pool: WorkerPool,
        meter: Meter,
        input: Account,
    ) -> Self {
        TickLoop { core, wake, clock, pool, meter, input, began: 0 }
    }

    pub fn core(&self) -> &Core {
        &self.core
    }

    pub fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Runs one tick if there is anything to run it for, or a turn of a long one: whoever calls may look around between two
    /// turns, and may drop all of it there.
    ///
    /// # Errors
    /// Only if the worker pool is gone; failures of members are kept in the members.
    pub async fn tick(&mut self) -> Result<Option<TickResult>> {
        let mut cut = None;
        if !self.core.is_in_tick() {
            self.began = self.clock.now();
            let input = self.core.cut(self.began);
            self.input.set(self.core.buffered_bytes() + input.bytes());
            if !input.is_due() {
                return Ok(None);
            }
            cut = Some(input);
        }
        let (send, receive) = oneshot::channel();
        let mut core = std::mem::take(&mut self.core);
        self.pool.spawn(move || {
            let result = match cut {
                Some(cut) => core.run(cut),
                None => core.go_on(),
            };
            // Whoever waited may have been dropped with the whole pipeline.
            let _ = send.send((core, result));
        });
        let (core, result) = receive.await.map_err(|_| Error::internal("a tick was lost with its worker"))?;
        self.core = core;
        if result.over {
            self.meter.tick(&self.core, self.began, self.clock.now());
        }
        Ok(Some(result))
    }

    /// Waits until a reader has something, a timer is due, or someone pokes the pipeline.
    #[expect(clippy::disallowed_methods, reason = "timers are an input of the tick loop")]
    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let due = self.core.readings().filter_map(|r| r.wake_at()).chain(self.core.due_at()).min();
        let sleep = due.map_or(LONGEST_SLEEP, |due| {
            let micros = u64::try_from(due.saturating_sub(self.clock.now())).unwrap_or_default();
            LONGEST_SLEEP.min(Duration::from_micros(micros.max(1_000)))
        });
        let wake = Arc::clone(&self.wake);
        let letters = self.core.readings().filter_map(Reading::pending_letters).collect::<Vec<_>>();
        let waiting = !letters.is_empty();
        let delivered = async move {
            for letters in letters {
                letters.outbox.emptied().await;
            }
        };
        async move {
            tokio::select! {
                () = wake.notified() => {}
                () = delivered, if waiting => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Whether all input that exists now has gone through: every partition is at its end, and what could not be decoded
    /// is delivered.
    pub fn is_at_end(&self) -> bool {
        self.core.readings().all(|r| r.watermarks.all_at_end() && r.pending_letters().is_none())
    }

    /// Whether all input that has an end has gone through, likewise.
    pub fn has_read_to_end(&self) -> bool {
        !self.core.readings().any(Reading::goes_to_an_end)
    }

    /// Whether no input will ever come again, likewise.
    pub fn is_finished(&self) -> bool {
        self.core.readings().all(|r| r.watermarks.all_finished() && r.pending_letters().is_none())
    }
}

/// What readers call when they have something.
pub fn waker(wake: &Arc<Notify>) -> Waker {
    let wake = Arc::clone(wake);
    Arc::new(move || wake.notify_one())
}
