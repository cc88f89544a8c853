//! How the partitions of a source are read: idle ones are waited for no longer than told, a fast one is held back for a slow
//! one, and one alone is decoded on all cores.

use std::num::NonZeroUsize;
use std::time::Duration;

use arrow::array::TimestampMicrosecondArray;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::*;
use crate::clock::MICROS_PER_SECOND;
use crate::connector::Deferred;
use crate::dataflow::WorkerPool;
use crate::metrics::Metrics;
use crate::pipeline::meter::Meter;
use crate::pipeline::tick_loop::TickLoop;

/// Partitions whose row number `n` has the time of `n` seconds.
#[derive(Debug, Clone)]
struct Seconds {
    /// Rows of each, and how often a take finds the next one.
    partitions: Vec<(usize, usize)>,
    ids: Vec<PartitionId>,
    next: Vec<usize>,
    takes: Vec<usize>,
    /// Behind their last row there will never be another.
    bounded: bool,
    /// Rows of each that were there at first.
    first: Option<usize>,
}

impl Seconds {
    fn new(partitions: &[(usize, usize)]) -> Self {
        let ids: Vec<_> = (0..partitions.len()).map(id).collect();
        let zeros = vec![0; ids.len()];
        Seconds { partitions: partitions.to_vec(), next: zeros.clone(), takes: zeros, ids, bounded: false, first: None }
    }
}

/// A source whose every opening reads with a copy of one reader.
#[derive(Debug)]
struct Copies<R>(R);

impl<R: Reader + Clone + Sync + std::fmt::Debug + 'static> Source for Copies<R> {
    fn resolve_start(&self) -> Result<Positions> {
        Ok(Positions::new())
    }

    fn open(&self, _columns: &[usize], _positions: &Positions, _context: ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(self.0.clone()))
    }

    fn decoder(&self, _columns: &[usize]) -> Result<Option<Arc<dyn Decoder>>> {
        Ok(None)
    }
}

impl Reader for Seconds {
    fn partitions(&self) -> &[PartitionId] {
        &self.ids
    }

    fn take(&mut self, partition: usize, _max_bytes: usize, _until: Option<&Position>) -> Result<Taken> {
        let ((rows, every), next) = (self.partitions[partition], self.next[partition]);
        self.takes[partition] += 1;
        if next == rows {
            return Ok(if self.bounded { Taken::Finished } else { Taken::AtEnd });
        }
        if !self.takes[partition].is_multiple_of(every) {
            return Ok(Taken::Pending);
        }
        self.next[partition] = next + 1;
        let time = TimestampMicrosecondArray::from(vec![next as i64 * MICROS_PER_SECOND]);
        let rows = RecordBatch::try_new(schema_of(&times()), vec![Arc::new(time)])?;
        Ok(Taken::Chunk(Chunk { payload: Payload::Rows(rows), next: at(next + 1) }))
    }

    fn is_past_its_beginning(&self, partition: usize) -> bool {
        self.first.is_some_and(|first| self.next[partition] >= first)
    }
}

fn times() -> Vec<Column> {
    vec![Column { name: "ts".into(), ty: SqlType::Timestamp(6), not_null: true }]
}

/// Seconds, counted in windows of ten of them.
const WINDOWS: &str = "#0 scan s [0] watermark 0/1 as ts -> (ts timestamp) append_only time 0/1
#1 window_aggregate tumble 10000000 offset 0 time 0/1 keys [] calls [count()] emit on_close <- #0 by [] -> (window_start timestamp, window_end timestamp, window_time timestamp, count bigint) append_only time 2/1 key [0]
#2 project [count] <- #1 -> (count bigint) append_only
output #2 view";

fn bench_of(source: Seconds, idle_timeout: Micros) -> Bench {
    let mut bench = Bench::new(TINY);
    bench.sources.lock().insert("s".into(), object(times(), Arc::new(Copies(source)), idle_timeout));
    bench.add(1, WINDOWS, Some(View::new(schema_of(&columns()), None, true)), &[]);
    bench
}

fn tick_loop(core: Core, clock: &Arc<ManualClock>) -> TickLoop {
    counted(core, clock, &Metrics::new())
}

fn counted(core: Core, clock: &Arc<ManualClock>, metrics: &Arc<Metrics>) -> TickLoop {
    let pool = WorkerPool::new(NonZeroUsize::new(2).unwrap()).unwrap();
    let meter = Meter::new(metrics, "p");
    TickLoop::new(core, Arc::new(Notify::new()), Arc::clone(clock) as _, pool, meter, Budget::new().account())
}

async fn run(tick_loop: &mut TickLoop) {
    while tick_loop.tick().await.unwrap().is_some() {}
}

fn counts(tick_loop: &TickLoop) -> u64 {
    tick_loop.core().members()[0].view.as_ref().unwrap().snapshot().num_rows()
}

#[tokio::test]
async fn an_idle_partition_is_waited_for_as_long_as_told_and_then_the_clock_makes_a_tick() {
    let clock = Arc::new(ManualClock::default());
    // The second partition has nothing, and the last row of the first closes two windows.
    let bench = bench_of(Seconds::new(&[(21, 1), (0, 1)]), MICROS_PER_SECOND);
    let mut tick_loop = tick_loop(bench.core, &clock);
    run(&mut tick_loop).await;
    assert_eq!(counts(&tick_loop), 0, "the empty partition holds the windows back");
    clock.set(MICROS_PER_SECOND - 1);
    run(&mut tick_loop).await;
    assert_eq!(counts(&tick_loop), 0);
    // It waits for that moment, not for one of the looks at the clock that are seconds apart.
    tokio::time::timeout(Duration::from_secs(3), tick_loop.wait(None)).await.unwrap();
    clock.set(MICROS_PER_SECOND);
    run(&mut tick_loop).await;
    assert_eq!(counts(&tick_loop), 2);
}

#[test]
fn a_fast_partition_is_read_in_step_with_a_slow_one() {
    const ROWS: usize = 200;
    let mut bench = bench_of(Seconds::new(&[(ROWS, 1), (ROWS, 20)]), MICROS_PER_SECOND);
    let (mut furthest, mut last) = (0, [0; 2]);
    for _ in 0..40 * ROWS {
        bench.tick();
        let reading = bench.core.readings().next().unwrap();
        last = [0, 1].map(|p| reading.positions().get(&id(p)).map_or(0, |at| at.offset));
        furthest = furthest.max(last[0].saturating_sub(last[1]));
    }
    assert_eq!(last, [ROWS as u64; 2], "both come to their end");
    // Thirty seconds, and the row that a tick takes.
    assert!((25..=32).contains(&furthest), "{furthest} seconds ahead");
}

#[tokio::test]
async fn a_watermark_lags_while_there_is_one() {
    let clock = Arc::new(ManualClock::new(25 * MICROS_PER_SECOND));
    let lags = async |source: Seconds| {
        let metrics = Metrics::new();
        run(&mut counted(bench_of(source, MICROS_PER_SECOND).core, &clock, &metrics)).await;
        let text = metrics.encode().unwrap();
        text.lines()
            .filter(|line| line.starts_with("tidemill_watermark_lag_seconds{"))
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let series = r#"tidemill_watermark_lag_seconds{job="p",source="s",partition="0"} 5.0"#;
    assert_eq!(lags(Seconds::new(&[(21, 1), (0, 1)])).await, [series], "of the one that has rows");
    let ended = Seconds { bounded: true, ..Seconds::new(&[(21, 1), (3, 1)]) };
    assert_eq!(lags(ended).await, [""; 0], "nothing is behind once all is read");
}

#[test]
fn a_view_is_filled_once_each_partition_was_read_to_an_end() {
    let mut bench = bench_of(Seconds::new(&[(5, 1), (9, 3)]), MICROS_PER_SECOND);
    let filled = |bench: &Bench| bench.core.is_filled(&bench.core.members()[0]);
    let rows = |bench: &Bench| bench.core.members()[0].stats.counters.input_rows;
    assert!(!filled(&bench));
    while !filled(&bench) {
        assert!(bench.caught_up(1), "it is the only one");
        bench.tick();
    }
    assert_eq!(rows(&bench), 14);
}

#[test]
fn a_view_is_filled_although_a_partition_never_runs_dry() {
    const WRITTEN_ON_AND_ON: usize = 1_000_000;
    let source = Seconds { first: Some(7), ..Seconds::new(&[(WRITTEN_ON_AND_ON, 1)]) };
    let mut bench = bench_of(source, MICROS_PER_SECOND);
    let filled = |bench: &Bench| bench.core.is_filled(&bench.core.members()[0]);
    let rows = |bench: &Bench| bench.core.members()[0].stats.counters.input_rows;
    while !filled(&bench) && rows(&bench) < 100 {
        bench.tick();
    }
    assert_eq!(rows(&bench), 7, "what was there at first, and nothing more is waited for");
}

/// Who is decoding now, and the most that ever did.
#[derive(Debug, Default)]
struct Meeting {
    present: Mutex<(usize, usize)>,
    came: Condvar,
}

impl Meeting {
    /// Waits a while for somebody else to be here, too.
    fn attend(&self) {
        let mut present = self.present.lock();
        present.0 += 1;
        present.1 = present.1.max(present.0);
        self.came.notify_all();
        if present.1 < 2 {
            self.came.wait_for(&mut present, Duration::from_secs(5));
        }
        present.0 -= 1;
    }
}

/// One partition with a few chunks, whose making is attended.
#[derive(Debug, Clone)]
struct Attended {
    meeting: Arc<Meeting>,
    chunks: usize,
    ids: Vec<PartitionId>,
}

impl Reader for Attended {
    fn partitions(&self) -> &[PartitionId] {
        &self.ids
    }

    fn take(&mut self, _partition: usize, max_bytes: usize, _until: Option<&Position>) -> Result<Taken> {
        let Some(left) = self.chunks.checked_sub(1) else { return Ok(Taken::Finished) };
        self.chunks = left;
        let meeting = Arc::clone(&self.meeting);
        let make = move || {
            meeting.attend();
            Ok(RecordBatch::try_new(numbers(), vec![Arc::new(Int64Array::from(vec![left as i64]))])?)
        };
        Ok(Taken::Chunk(Chunk { payload: Payload::Deferred(Deferred::new(1, max_bytes, make)), next: at(left) }))
    }
}

#[tokio::test]
async fn one_partition_is_decoded_by_several_threads() {
    let meeting = Arc::new(Meeting::default());
    let source = Attended { meeting: Arc::clone(&meeting), chunks: 4, ids: vec![id(0)] };
    let mut bench = Bench::new(CutPolicy::default());
    bench.sources.lock().insert("s".into(), object(columns(), Arc::new(Copies(source)), 0));
    bench.view(1, "s", &[]);
    let mut tick_loop = tick_loop(bench.core, &Arc::default());
    run(&mut tick_loop).await;
    assert_eq!(counts(&tick_loop), 4);
    assert!(meeting.present.lock().1 >= 2, "one after the other");
}
