//! End to end with a real Apache Kafka broker.
//!
//! 1. [`broker`]: starts it, freezes it, kills it; writes and reads topics behind the engine's back.
//! 2. [`connector`]: the connector alone: sources and sinks as a pipeline drives them.

mod broker;
mod connector;

use crate::tally::Tally;

pub use broker::Broker;

/// What went wrong, in words.
pub type Outcome<T = ()> = Result<T, String>;

/// A test may do anything with the broker, but leaves it running; its topics are its own.
type Test = (&'static str, fn(&mut Broker) -> Outcome);

pub fn run(tally: &mut Tally) {
    let wanted = connector::TESTS.iter().filter(|(name, _)| tally.wants(name)).collect::<Vec<_>>();
    if wanted.is_empty() {
        return;
    }
    match Broker::start() {
        Ok(mut broker) => {
            for (name, test) in wanted {
                tally.count(name, test(&mut broker));
            }
        }
        Err(why) => tally.fail(format_args!("kafka: {why}")),
    }
}
