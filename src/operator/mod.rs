//! Operators: synchronous, single-threaded pieces of a dataflow. They know neither threads nor tokio nor storage
//! engines; the driver in `dataflow/` calls them, state reaches them through `state/`.
//!
//! The life of an operator within a tick:
//!
//! 1. `push(port, batch)`, any number of times, for each input port;
//! 2. after each push, `pull()` until it says [`Pull::Done`]: output comes in bounded chunks, so that one exploding
//!    operator cannot fill memory, and the driver may go and do something else between two of them. An operator that can
//!    look at any number of candidates and give nothing says [`Pull::More`] in between;
//! 3. `end_tick(tick)` once all of the tick's input was pushed, then `pull()` until `Done` again. What changes is
//!    emitted net, here: an updated group is one -1/+1 pair however many rows changed it, and nothing if it did not.
//!
//! Where things are:
//!
//! - [`build()`] makes the operator of a plan's node; [`Checked`] holds any operator to the contract, in tests.
//! - `filter`, `project`, `window`, `late_rows`, `expand`, `union` work on each batch as it comes, in `chunks`.
//! - `aggregate` and `window_aggregate` combine a tick's rows by key (`combine`), merge them into state as `group`s of
//!   `accumulator` columns, and emit what changed (`net`) or what closed; so does `sliding_aggregate` for HOP and
//!   CUMULATE that answer once. `slices` cuts event time (by the
//!   `wall_clock` of a zone, if told so), `sweep` lays slices out window by window.
//! - `session_aggregate` joins a tick's `arrivals` with the open `sessions` of each key.
//! - `processing_time` appends the tick's reading of the clock.
//! - `upsert` stands in front of sinks that keep one row a key, `normalize` behind sources whose messages replace each
//!   other by key: both `settle` a tick's keys. `early_firing` holds back what open windows answer (`upsert` and it gather
//!   `tick_changes`).
//! - `join` matches the rows of two inputs by key; if these only append, it keeps them in a `row_store`.
//! - `top_n` keeps the first rows of each partition, `window_top_n` those of each window until it closes; `ranks` tells what
//!   a change does to them, `ranked_rows` is what both are made of.
//! - `interval_join` keeps the rows of both sides for as long as the watermark lets them find partners.
//! - `multiset` and `bags` are what operators keep that need every row of a key.
//!
//! What does not live here: scans and exchanges, ticks, watermarks of sources (`dataflow/`), what state lies on (`state/`).
//!
//! Invariants: nothing is pushed into an operator that has not said `Done`; the same calls give the same bytes; what outlives
//! a tick lies in tables, or is what an operator can be told again ([`Operator::resume`]).

pub mod accumulator;
mod aggregate;
mod arrivals;
mod bags;
mod build;
mod checked;
mod chunks;
mod combine;
mod early_firing;
mod expand;
mod filter;
mod group;
mod interval_join;
mod join;
mod late_rows;
mod multiset;
mod net;
mod normalize;
mod processing_time;
mod project;
mod ranked_rows;
mod ranks;
mod row_store;
mod session_aggregate;
mod sessions;
mod settle;
mod slices;
mod sliding_aggregate;
mod sweep;
mod tick_changes;
mod top_n;
mod union;
mod upsert;
mod wall_clock;
mod window;
mod window_aggregate;
mod window_top_n;

#[cfg(test)]
mod tests;

use crate::change::{ChangeBatch, Watermark};
use crate::clock::Micros;
use crate::error::Result;

use build::key_codec;

pub use build::build;
pub use checked::Checked;

/// Rows in an output chunk, at most.
pub const CHUNK_ROWS: usize = 8192;

/// The end of a tick as an operator sees it.
#[derive(Debug, Clone)]
pub struct TickEnd {
    /// Counts from 1 within the life of a pipeline.
    pub number: u64,
    /// The tick's one reading of the clock.
    pub now: Micros,
    /// The watermark of each input port at the end of this tick. Never goes back.
    pub watermarks: Vec<Watermark>,
}

impl TickEnd {
    /// That of an operator's only input.
    pub fn watermark(&self) -> Watermark {
        self.watermarks.first().copied().unwrap_or(Watermark::NONE)
    }
}

/// What `pull` answers.
#[derive(Debug)]
pub enum Pull {
    /// A chunk of output; pull again.
    Batch(ChangeBatch),
    /// A chunk's worth of candidates was judged, and there is no full chunk of output yet: pull again, now or later.
    More,
    /// Nothing more until the next push or end of tick.
    Done,
    /// State is being fetched: pull again later, nothing is lost. Work of other operators may go on meanwhile.
    Blocked,
}

pub trait Operator: Send {
    /// Takes one batch of the tick. The driver has pulled until `Done` before.
    fn push(&mut self, port: usize, batch: ChangeBatch) -> Result<()>;

    /// All of the tick's input was pushed.
    fn end_tick(&mut self, tick: &TickEnd) -> Result<()>;

    /// The next chunk of output.
    fn pull(&mut self) -> Result<Pull>;

    /// A new life goes on where an earlier one ended its last tick, `last`: told once, before the first tick. Whatever an
    /// operator remembers from tick to tick outside of its tables is derived from it.
    fn resume(&mut self, _last: &TickEnd) {}

    /// The watermark behind this operator, given those in front of it (one for each port) at the same tick's end, and that
    /// tick's one reading of the clock.
    fn watermark(&self, inputs: &[Watermark], _now: Micros) -> Watermark {
        inputs.iter().copied().min().unwrap_or(Watermark::NONE)
    }

    /// The state tables of this operator (none for a stateless one): for accounting, freezing and eviction.
    fn tables(&mut self) -> Vec<&mut dyn crate::state::StateTable> {
        Vec::new()
    }

    /// Rows dropped for being late, since the start.
    fn late_rows(&self) -> u64 {
        0
    }
}
