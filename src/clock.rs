//! Time as an input. Nothing below `pipeline/` reads the machine's clock: a [`Clock`] is handed in, so that a test (and
//! later a replay) decides what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;

/// Microseconds since 1970-01-01 UTC, as everywhere inside Tidemill.
pub type Micros = i64;

pub const MICROS_PER_MILLI: Micros = 1_000;
pub const MICROS_PER_SECOND: Micros = 1_000_000;
pub const MICROS_PER_DAY: Micros = 86_400 * MICROS_PER_SECOND;

pub trait Clock: Send + Sync + 'static {
    /// The wall clock. May jump; callers that need order take the maximum with what they saw before.
    fn now(&self) -> Micros;
}

pub type SharedClock = Arc<dyn Clock>;

/// A clock that can be waited by: pauses between tries, and time limits.
pub trait Timer: Clock {
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
}

pub type SharedTimer = Arc<dyn Timer>;

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Micros {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Timer for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that waits by the machine's clock for those below pipeline/"
    )]
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn new(now: Micros) -> Self {
        ManualClock(AtomicI64::new(now))
    }
    pub fn set(&self, now: Micros) {
        self.0.store(now, Ordering::SeqCst);
    }
    pub fn advance(&self, by: Micros) {
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Micros {
        self.0.load(Ordering::SeqCst)
    }
}

/// When a time-out that begins now is over: whoever says one waits by the clock.
#[expect(clippy::disallowed_methods, reason = "waiting for a client's time-out is no computation")]
pub fn deadline(timeout: Duration) -> std::time::Instant {
    std::time::Instant::now() + timeout
}
