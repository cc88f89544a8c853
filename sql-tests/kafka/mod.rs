//! End to end with a real Apache Kafka broker.
//!
//! 1. [`broker`]: starts it, freezes it, kills it; writes and reads topics behind the engine's back.
//! 2. [`connector`]: the connector alone: sources and sinks as a pipeline drives them.
//! 3. [`jobs`]: streaming jobs and views over topics, as a user writes them; [`changes`]: those whose results change.
//! 4. [`messages`]: the whole of a message: keys, metadata, formats; where reading starts and ends. [`avro`]: with a schema
//!    registry.

#![expect(clippy::disallowed_methods, reason = "tests have patience, which ends by the clock")]

mod avro;
mod broker;
mod changes;
mod connector;
mod jobs;
mod messages;

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::tally::Tally;

pub use broker::Broker;

/// What went wrong, in words.
pub type Outcome<T = ()> = Result<T, String>;

/// A test may do anything with the broker, but leaves it running; its topics are its own.
type Test = (&'static str, fn(&mut Broker) -> Outcome);

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(tally: &mut Tally) {
    let all =
        connector::TESTS.iter().chain(jobs::TESTS).chain(changes::TESTS).chain(messages::TESTS).chain(avro::TESTS);
    let wanted = all.filter(|(name, _)| tally.wants(name)).collect::<Vec<_>>();
    if wanted.is_empty() {
        return;
    }
    match Broker::start() {
        Ok(mut broker) => {
            for (name, test) in wanted {
                tally.count(name, test(&mut broker));
                // A test that failed in an outage must not fail the next one.
                if let Err(why) = broker.ensure_running() {
                    return tally.fail(format_args!("kafka: {why}"));
                }
            }
        }
        Err(why) => tally.fail(format_args!("kafka: {why}")),
    }
}

macro_rules! check {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
use check;

/// Asks again and again, for as long as a test has patience.
fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> Outcome<T> {
    let deadline = Instant::now() + PATIENCE;
    let pause = (Mutex::new(()), Condvar::new());
    loop {
        if let Some(found) = ready() {
            return Ok(found);
        }
        check!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        pause.1.wait_for(&mut pause.0.lock(), Duration::from_millis(50));
    }
}
