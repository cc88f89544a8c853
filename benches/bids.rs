//! Nexmark bids, straight from the generator.

use std::sync::Arc;

use arrow::array::RecordBatch;
use tidemill::clock::SystemClock;
use tidemill::connector::options::WithOption;
use tidemill::connector::{PartitionId, Payload, ReaderContext, Source, Taken, registry};
use tidemill::types::{Column, SqlType};

use crate::measure::{measure, report};

/// Events of a run: bids are 46 of 50.
const EVENTS: u64 = 30_000_000;

/// Bytes of a chunk, as a tick takes them.
const CHUNK_BYTES: usize = 1 << 20;

/// All columns of a bid.
pub fn columns() -> Vec<Column> {
    let column = |name: &str, ty: SqlType| Column { name: name.into(), ty, not_null: false };
    vec![
        column("auction", SqlType::BigInt),
        column("bidder", SqlType::BigInt),
        column("price", SqlType::BigInt),
        column("channel", SqlType::Text),
        column("url", SqlType::Text),
        column("datetime", SqlType::Timestamp(3)),
        column("extra", SqlType::Text),
    ]
}

/// The bids of the first `events` events, batch by batch, in order.
pub fn for_each(events: u64, mut each: impl FnMut(RecordBatch) -> Result<(), String>) -> Result<(), String> {
    let option = |key: &str, value: &str| WithOption::new(key, value, 1);
    let options = vec![
        option("connector", "generator"),
        option("kind", "nexmark"),
        option("nexmark.table", "bid"),
        option("number-of-rows", &events.to_string()),
    ];
    let source: Arc<dyn Source> = registry::source(&columns(), &[], options).map_err(text)?.source;
    let starts = source.resolve_start().map_err(text)?;
    let context = ReaderContext { waker: Arc::new(|| {}), clock: Arc::new(SystemClock) };
    let mut reader = source.open(&[0, 1, 2, 3, 4, 5, 6], &starts, context).map_err(text)?;
    let partitions: Vec<PartitionId> = reader.partitions().to_vec();
    for partition in 0..partitions.len() {
        loop {
            match reader.take(partition, CHUNK_BYTES, None).map_err(text)? {
                Taken::Chunk(chunk) => match chunk.payload {
                    Payload::Rows(rows) => each(rows)?,
                    Payload::Deferred(deferred) => each(deferred.make().map_err(text)?)?,
                    Payload::Raw(_) => return Err("the generator gives rows".into()),
                },
                Taken::Finished => break,
                Taken::Pending | Taken::AtEnd => return Err("an unpaced generator always has rows".into()),
            }
        }
    }
    Ok(())
}

pub fn text(error: tidemill::error::Error) -> String {
    format!("{error:?}")
}

/// Making events alone: bids with all columns, on one thread.
pub fn generator() -> Result<(), String> {
    let (rows, took) = measure(|| {
        let mut rows = 0;
        for_each(EVENTS, |batch| {
            rows += std::hint::black_box(batch).num_rows() as u64;
            Ok(())
        })?;
        Ok(rows)
    })?;
    if rows != EVENTS / 50 * 46 {
        return Err(format!("{} bids expected, {rows} came", EVENTS / 50 * 46));
    }
    report("generator", "events", EVENTS, took, 10.0);
    Ok(())
}
