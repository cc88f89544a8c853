//! Nexmark bids, straight from the generator.

use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arrow::array::RecordBatch;
use tidemill::clock::SystemClock;
use tidemill::connector::options::WithOption;
use tidemill::connector::{Chunk, Deferred, Payload, ReaderContext, Source, Taken, registry};
use tidemill::dataflow::{WorkerPool, pool};
use tidemill::types::{Column, SqlType};

use crate::cores;
use crate::measure::{measure, report};

/// Events of a run: bids are 46 of 50.
const EVENTS: u64 = 30_000_000;

/// Bytes of a chunk, as a tick takes them.
const CHUNK_BYTES: usize = 1 << 20;

/// Chunks of a tick.
const TICK_CHUNKS: usize = 16;

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

/// The chunks of the bids of the first `events` events, in order, not made yet.
fn chunks(events: u64) -> Result<impl Iterator<Item = Result<Deferred, String>>, String> {
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
    Ok(std::iter::from_fn(move || match reader.take(0, CHUNK_BYTES, None) {
        Ok(Taken::Chunk(Chunk { payload: Payload::Deferred(deferred), .. })) => Some(Ok(deferred)),
        Ok(Taken::Finished) => None,
        Ok(other) => Some(Err(format!("an unpaced generator gives deferred rows, not {other:?}"))),
        Err(error) => Some(Err(text(error))),
    }))
}

/// The bids of the first `events` events, batch by batch, in order.
pub fn for_each(events: u64, mut each: impl FnMut(RecordBatch) -> Result<(), String>) -> Result<(), String> {
    chunks(events)?.try_for_each(|chunk| each(chunk?.make().map_err(text)?))
}

pub fn text(error: tidemill::error::Error) -> String {
    format!("{error:?}")
}

/// Making events alone, bids with all columns: on one core, on two, and by two processes with a core each, which is what
/// the machine has to give.
pub fn generator() -> Result<(), String> {
    let (alone, _) = cores::on(1, &["generator"])?;
    report("generator", "events", EVENTS, alone, 10.0);
    let (together, _) = cores::on(2, &["generator"])?;
    let apart = cores::on_each(2, &["generator"])?;
    let times = |wall: Duration, runs: f64| runs * alone.wall.as_secs_f64() / wall.as_secs_f64();
    println!(
        "generator: {:.2} times on two cores; two processes, a core each, make {:.2} times as much",
        times(together.wall, 1.0),
        times(apart.wall, 2.0)
    );
    Ok(())
}

/// Makes events as a tick does: its chunks side by side on the worker pool.
pub fn made_on(cores: NonZeroUsize) -> cores::Outcome {
    let pool = WorkerPool::new(cores).map_err(text)?;
    let mut chunks = chunks(EVENTS)?;
    let (rows, took) = measure(|| {
        let mut rows = 0;
        loop {
            let tick: Vec<Deferred> = chunks.by_ref().take(TICK_CHUNKS).collect::<Result<_, _>>()?;
            if tick.is_empty() {
                return Ok(rows);
            }
            rows += make(&pool, tick)?;
        }
    })?;
    if rows != EVENTS / 50 * 46 {
        return Err(format!("{} bids expected, {rows} came", EVENTS / 50 * 46));
    }
    Ok((took, format!("{rows} bids")))
}

/// How many rows the chunks have, once made.
fn make(pool: &WorkerPool, tick: Vec<Deferred>) -> Result<u64, String> {
    let (send, receive) = mpsc::channel();
    pool.spawn(move || {
        let mut made: Vec<(Option<Deferred>, u64)> = tick.into_iter().map(|chunk| (Some(chunk), 0)).collect();
        let outcome = pool::for_each(&mut made, usize::MAX, |(chunk, rows)| {
            if let Some(chunk) = chunk.take() {
                *rows = std::hint::black_box(chunk.make()?).num_rows() as u64;
            }
            Ok(())
        });
        // Whoever asked waits for it.
        let _ = send.send(outcome.map(|()| made.iter().map(|(_, rows)| rows).sum()));
    });
    receive.recv().map_err(|e| e.to_string())?.map_err(text)
}
