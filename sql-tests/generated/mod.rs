//! Statements that nobody wrote.
//!
//! 1. [`streaming`]: a random query over random inputs ([`data`], [`query`]) is kept as a materialized view; what the view
//!    holds in the end must be what the same query gives over the final tables, computed at once by DataFusion's executor.
//!    What fails is made small and kept ([`shrink`]).
//! 2. [`consistency`]: views of one source, read again and again while it is being read, always tell of one prefix of it.
//! 3. [`mutated`]: statements of the scripts with words exchanged, lost and repeated are answered or refused, never with a
//!    panic.
//!
//! `TIDEMILL_SEEDS` says how many queries are tried, `TIDEMILL_SEED` where their seeds begin. A failure names its seed.

mod choices;
mod consistency;
mod data;
pub mod mutated;
mod query;
mod shrink;
mod streaming;

use std::future::Future;
use std::time::Duration;

use crate::tally::Tally;

/// A test of this group that takes longer hangs: a query takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(first_seed: u64, tally: &mut Tally) {
    if let Err(why) = streaming::run(first_seed, tally) {
        tally.fail(format_args!("{}: {why}", streaming::NAME));
    }
    for (name, test) in [(consistency::NAME, consistency::run as fn() -> _), (mutated::NAME, mutated::run)] {
        if tally.wants(name) {
            tally.count(name, test());
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())
}

/// Runs a test to its end, on threads of its own.
fn to_the_end<T>(test: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = runtime()?;
    let done = runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await });
    runtime.shutdown_background();
    done.unwrap_or_else(|_| Err("hangs".into()))
}
