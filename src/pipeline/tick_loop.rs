//! When the next tick is due, and running it. The clock is an input too: a due timer, a partition that becomes idle, makes
//! a tick as rows do. One tick at a time, a long one in turns; the next one's input is fetched by the readers meanwhile, and
//! decoded where cores have nothing else to do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::clock::{Micros, SharedClock};
use crate::connector::Waker;
use crate::dataflow::WorkerPool;
use crate::error::{Error, Result};
use crate::memory::Account;

use super::core::{Core, TickResult};
use super::image::Life;
use super::meter::Meter;
use super::reading::Reading;
use super::rehearsal::Rehearsal;

/// Longest sleep before the timers are looked at again: bounds what a jump of the wall clock can do.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Takes an entry of state: whose it is, its key, and its value unless it is gone.
pub type Take<T> = fn(&mut T, Life, &[u8], Option<&[u8]>) -> Result<()>;

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
    rehearsal: Option<Rehearsal>,
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
        TickLoop { core, wake, clock, pool, meter, input, began: 0, rehearsal: None }
    }

    /// Has recovery rehearsed now and then.
    pub fn rehearsing(self, rehearsal: Option<Rehearsal>) -> Self {
        TickLoop { rehearsal, ..self }
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
    /// Only if the worker pool is gone, or a rehearsed recovery fails; failures of members are kept in the members.
    pub async fn tick(&mut self) -> Result<Option<TickResult>> {
        let (mut cut, mut ahead) = (None, Vec::new());
        if !self.core.is_in_tick() {
            self.began = self.clock.now();
            let input = self.core.cut(self.began);
            self.input.set(self.core.buffered_bytes() + input.bytes());
            if !input.is_due() {
                return Ok(None);
            }
            ahead = self.core.take_ahead();
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
        // Behind the tick itself, so for whichever worker it leaves without work.
        ahead.into_iter().for_each(|decoding| self.pool.spawn(move || decoding.run()));
        let (core, result) = receive.await.map_err(|_| Error::internal("a tick was lost with its worker"))?;
        self.core = core;
        if result.over {
            self.meter.tick(&self.core, self.began, self.clock.now());
            if let Some(rehearsal) = &mut self.rehearsal {
                rehearsal.after_tick(&mut self.core)?;
            }
        }
        Ok(Some(result))
    }

    /// Hands frozen state to `take`, until about `limit_bytes` are out, on a worker of the pool: between two ticks, so a piece is to
    /// be small. Gives back what was handed in, and whether all is out.
    ///
    /// # Errors
    /// As `take` says, or if the worker pool is gone.
    pub async fn drain_frozen<T: Send + 'static>(
        &mut self,
        limit_bytes: usize,
        mut into: T,
        take: Take<T>,
    ) -> Result<(T, bool)> {
        let (send, receive) = oneshot::channel();
        let mut core = std::mem::take(&mut self.core);
        self.pool.spawn(move || {
            let drained = core.drain_frozen(limit_bytes, &mut |life, key, value| take(&mut into, life, key, value));
            let _ = send.send((core, drained.map(|all| (into, all))));
        });
        let (core, drained) = receive.await.map_err(|_| Error::internal("state was lost with its worker"))?;
        self.core = core;
        drained
    }

    /// Waits until a reader has something, a timer is due (also the caller's own, `or_at`), or someone pokes the pipeline.
    #[expect(clippy::disallowed_methods, reason = "timers are an input of the tick loop")]
    pub fn wait(&self, or_at: Option<Micros>) -> impl Future<Output = ()> + Send + use<> {
        let due = self.core.readings().filter_map(|r| r.wake_at()).chain(self.core.due_at()).chain(or_at).min();
        let (sleep, wake) = (self.sleep_until(due), Arc::clone(&self.wake));
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

    /// Waits until then, or until someone pokes the pipeline, whatever its readers have.
    #[expect(clippy::disallowed_methods, reason = "as in `wait`")]
    pub fn wait_for(&self, due: Option<Micros>) -> impl Future<Output = ()> + Send + use<> {
        let (sleep, wake) = (self.sleep_until(due), Arc::clone(&self.wake));
        async move {
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    fn sleep_until(&self, due: Option<Micros>) -> Duration {
        due.map_or(LONGEST_SLEEP, |due| {
            let micros = u64::try_from(due.saturating_sub(self.clock.now())).unwrap_or_default();
            LONGEST_SLEEP.min(Duration::from_micros(micros.max(1_000)))
        })
    }

    /// Whether all input that exists now has gone through: every partition is at its end, and what could not be decoded
    /// is delivered.
    pub fn is_at_end(&self) -> bool {
        let at_end = |r: &Reading| r.watermarks.all_at_end() && r.pending_letters().is_none();
        !self.core.is_restoring() && self.core.readings().all(at_end)
    }

    /// Whether all input that has an end has gone through, likewise.
    pub fn has_read_to_end(&self) -> bool {
        !self.core.is_restoring() && !self.core.readings().any(Reading::goes_to_an_end)
    }

    /// Whether no input will ever come again, likewise.
    pub fn is_finished(&self) -> bool {
        let finished = |r: &Reading| r.watermarks.all_finished() && r.pending_letters().is_none();
        !self.core.is_restoring() && self.core.readings().all(finished)
    }
}

/// What readers call when they have something.
pub fn waker(wake: &Arc<Notify>) -> Waker {
    let wake = Arc::clone(wake);
    Arc::new(move || wake.notify_one())
}
