//! The generator: rows that depend on (seed, row number) alone.
//!
//! 1. [`source`] types the options and chooses the stream: [`fields`] (each column by its own rule) or [`nexmark`].
//! 2. A [`Stream`] says how many rows a run of events holds and makes them, directly as Arrow. Event n is the same
//!    whichever chunk it is made in.
//! 3. [`stripe`] deals the events out to partitions.
//! 4. [`reader`] paces them by the clock handed in and cuts them into chunks. A chunk is only a range: its rows are made by
//!    the worker pool, since making them is work ([`super::Deferred`]).
//! 5. [`random`]: the random numbers.
//!
//! What does not live here: state. Any event can be made at any time, by any shard, so a position is an event's number.

pub mod fields;
pub mod nexmark;
pub mod random;
pub mod reader;
pub mod stripe;

use std::fmt::Debug;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;

use self::reader::GeneratorReader;
use self::stripe::Stripe;
use super::options::{Choice, OptionReader};
use super::{PartitionId, Position, Positions, Reader, ReaderContext, Source};
use crate::error::Result;
use crate::format::Decoder;
use crate::types::Column;

/// Partitions at most: far more than shards are useful on one machine.
const MAX_PARTITIONS: u32 = 4096;

/// A sequence of events of which any part can be made at any time. Runs of events are given in a partition's local
/// numbers.
pub trait Stream: Debug + Send + Sync {
    /// Events dealt out to a partition together; a pattern that repeats within a block is the same in every partition.
    fn block(&self) -> u64;

    /// Rows that the events below `local` give.
    fn rows_before(&self, local: u64) -> u64;

    /// The event that gives row `row`.
    fn event_of_row(&self, row: u64) -> u64;

    /// About how many bytes a row of `columns` takes.
    fn row_bytes(&self, columns: &[usize]) -> usize;

    /// The rows of `events`, with the declared columns `columns`.
    fn make(&self, stripe: Stripe, events: Range<u64>, columns: &[usize]) -> Result<RecordBatch>;
}

/// 'kind' of a generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fields,
    Nexmark,
}

impl Choice for Kind {
    const CHOICES: &'static [(&'static str, Self)] = &[("fields", Kind::Fields), ("nexmark", Kind::Nexmark)];
}

/// `'connector' = 'generator'`.
///
/// # Errors
/// What [`fields`] and [`nexmark`] say of columns that they cannot fill; 22023 for options.
pub fn source(columns: &[Column], options: &mut OptionReader) -> Result<Arc<dyn Source>> {
    let kind = options.choice("kind")?.unwrap_or(Kind::Fields);
    let events: Option<u64> = match kind {
        Kind::Fields => options.optional("number-of-rows")?,
        Kind::Nexmark => options.optional_either("number-of-rows", "nexmark.events")?,
    };
    let rows_per_second = options.optional::<u64>("rows-per-second")?.and_then(NonZeroU64::new);
    let seed = options.optional("seed")?.unwrap_or(0);
    let partitions = options.optional::<NonZeroU32>("partitions")?.map_or(1, NonZeroU32::get);
    if partitions > MAX_PARTITIONS {
        return Err(options
            .error("partitions", format!("invalid value for option \"partitions\": \"{partitions}\""))
            .with_hint(format!("Expected at most {MAX_PARTITIONS}.")));
    }
    let (stream, ends_at): (Arc<dyn Stream>, Option<u64>) = match kind {
        Kind::Fields => {
            let fields = fields::Fields::new(columns, seed, rows_per_second, options)?;
            let ends_at = fields.ends_at();
            (Arc::new(fields), ends_at)
        }
        Kind::Nexmark => (Arc::new(nexmark::Nexmark::new(columns, seed, options)?), None),
    };
    let events = events.into_iter().chain(ends_at).min();
    Ok(Arc::new(GeneratorSource { stream, events, rows_per_second, partitions }))
}

#[derive(Debug)]
struct GeneratorSource {
    stream: Arc<dyn Stream>,
    /// Events in all partitions together; `None`: no end.
    events: Option<u64>,
    /// Events a second in all partitions together; `None`: as fast as possible.
    rows_per_second: Option<NonZeroU64>,
    partitions: u32,
}

impl GeneratorSource {
    fn stripes(&self) -> impl Iterator<Item = Stripe> {
        let (partitions, block) = (u64::from(self.partitions), self.stream.block());
        (0..partitions).map(move |index| Stripe { index, partitions, block })
    }
}

impl Source for GeneratorSource {
    fn is_bounded(&self) -> bool {
        self.events.is_some()
    }

    fn resolve_start(&self) -> Result<Positions> {
        let start = |stripe: Stripe| {
            (PartitionId(stripe.index.to_string().into()), Position { offset: stripe.global(0), file: None })
        };
        Ok(self.stripes().map(start).collect())
    }

    fn open(&self, columns: &[usize], positions: &Positions, context: ReaderContext) -> Result<Box<dyn Reader>> {
        let stripes: Vec<Stripe> = self.stripes().collect();
        let stream = Arc::clone(&self.stream);
        Ok(Box::new(GeneratorReader::new(
            stream,
            columns,
            &stripes,
            positions,
            self.events,
            self.rows_per_second,
            &context,
        )))
    }

    fn decoder(&self, _columns: &[usize]) -> Result<Option<Arc<dyn Decoder>>> {
        Ok(None)
    }
}
