//! The reader: which events are due, cut into chunks.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::Stream;
use super::stripe::Stripe;
use crate::clock::{MICROS_PER_SECOND, Micros, SharedClock};
use crate::connector::{Chunk, Deferred, PartitionId, Payload, Position, Positions, Reader, ReaderContext, Taken};
use crate::error::{Error, Result};

/// Rows of one chunk at most, so that one chunk's rows stay in a core's cache while they are worked on.
const CHUNK_ROWS: u64 = 8192;

/// A paced generator asks to be woken at most this often: less would make ticks of single rows.
const PACING_STEP: Micros = 5_000;

pub struct GeneratorReader {
    stream: Arc<dyn Stream>,
    columns: Arc<[usize]>,
    row_bytes: u64,
    ids: Vec<PartitionId>,
    partitions: Vec<Partition>,
    /// Global number of the first event that is not made; `u64::MAX`: no end.
    end: u64,
    pace: Option<Pace>,
}

struct Partition {
    stripe: Stripe,
    /// Local number of the next event.
    next: u64,
}

/// Event n is due at `started + (n - first) / rate`: pacing by the event's number keeps partitions in step.
struct Pace {
    clock: SharedClock,
    started: Micros,
    /// The latest time seen; the clock may jump back.
    latest: Micros,
    first: u64,
    rate: NonZeroU64,
}

impl Pace {
    /// Global number of the first event that is not due yet.
    fn due(&mut self) -> u64 {
        self.latest = self.latest.max(self.clock.now());
        let elapsed = u128::try_from(self.latest - self.started).unwrap_or(0);
        let events = elapsed * u128::from(self.rate.get()) / MICROS_PER_SECOND as u128;
        u64::try_from(events).unwrap_or(u64::MAX).saturating_add(self.first).saturating_add(1)
    }

    /// When event `global` is due.
    fn due_at(&self, global: u64) -> Micros {
        let events = u128::from(global.saturating_sub(self.first));
        let after = (events * MICROS_PER_SECOND as u128).div_ceil(u128::from(self.rate.get()));
        self.started.saturating_add(Micros::try_from(after).unwrap_or(Micros::MAX))
    }
}

impl GeneratorReader {
    /// Partitions that `positions` does not name start at their beginning. `events`: how many there are in all.
    pub fn new(
        stream: Arc<dyn Stream>,
        columns: &[usize],
        stripes: &[Stripe],
        positions: &Positions,
        events: Option<u64>,
        rows_per_second: Option<NonZeroU64>,
        context: &ReaderContext,
    ) -> Self {
        let ids: Vec<PartitionId> = stripes.iter().map(|s| PartitionId(s.index.to_string().into())).collect();
        let start = |(id, stripe): (&PartitionId, &Stripe)| {
            let next = positions.get(id).map_or(0, |p| stripe.local(p.offset));
            Partition { stripe: *stripe, next }
        };
        let partitions: Vec<Partition> = ids.iter().zip(stripes).map(start).collect();
        let pace = rows_per_second.map(|rate| {
            let now = context.clock.now();
            let first = partitions.iter().map(|p| p.stripe.global(p.next)).min().unwrap_or(0);
            Pace { clock: Arc::clone(&context.clock), started: now, latest: now, first, rate }
        });
        let row_bytes = stream.row_bytes(columns).max(1) as u64;
        GeneratorReader {
            row_bytes,
            stream,
            columns: columns.into(),
            ids,
            partitions,
            end: events.unwrap_or(u64::MAX),
            pace,
        }
    }
}

impl Reader for GeneratorReader {
    fn partitions(&self) -> &[PartitionId] {
        &self.ids
    }

    fn take(&mut self, partition: usize, max_bytes: usize, until: Option<&Position>) -> Result<Taken> {
        let Some(partition) = self.partitions.get_mut(partition) else {
            return Err(Error::internal("a generator was asked for a partition that it does not have"));
        };
        let stripe = partition.stripe;
        let start = partition.next;
        if start >= stripe.local(self.end) {
            return Ok(Taken::Finished);
        }
        let due = self.pace.as_mut().map_or(u64::MAX, Pace::due);
        let until = until.map_or(u64::MAX, |p| p.offset);
        let limit = stripe.local(self.end.min(due).min(until));
        if start >= limit {
            return Ok(Taken::Pending);
        }
        let rows = (max_bytes as u64 / self.row_bytes).clamp(1, CHUNK_ROWS);
        let last_row = self.stream.rows_before(start).saturating_add(rows - 1);
        let end = self.stream.event_of_row(last_row).saturating_add(1).min(limit);
        partition.next = end;
        let rows = (self.stream.rows_before(end) - self.stream.rows_before(start)) as usize;
        let (stream, columns) = (Arc::clone(&self.stream), Arc::clone(&self.columns));
        let make = move || stream.make(stripe, start..end, &columns);
        let payload = Payload::Deferred(Deferred::new(rows, rows * self.row_bytes as usize, make));
        Ok(Taken::Chunk(Chunk { payload, next: Position { offset: stripe.global(end), file: None } }))
    }

    fn is_endless(&self) -> bool {
        self.pace.is_some() || self.end == u64::MAX
    }

    fn wake_at(&self) -> Option<Micros> {
        let pace = self.pace.as_ref()?;
        let open = self.partitions.iter().map(|p| p.stripe.global(p.next)).filter(|next| *next < self.end);
        open.min().map(|next| pace.due_at(next).max(pace.latest + PACING_STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::connector::Source;
    use crate::connector::options::WithOption;
    use crate::connector::registry;
    use crate::types::{Column, SqlType};
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    struct Run {
        clock: Arc<ManualClock>,
        reader: Box<dyn Reader>,
    }

    fn generator(options: &[(&str, &str)]) -> Arc<dyn Source> {
        let columns = [Column { name: "n".into(), ty: SqlType::BigInt, not_null: false }];
        let mut all = vec![
            WithOption::new("connector", "generator", 1),
            WithOption::new("fields.n.kind", "sequence", 1),
            WithOption::new("fields.n.start", "0", 1),
        ];
        all.extend(options.iter().map(|(k, v)| WithOption::new(k, v, 1)));
        registry::source(&columns, &[], all).expect("a source").source
    }

    fn open(source: &Arc<dyn Source>, positions: &Positions) -> Run {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let context = ReaderContext { waker: Arc::new(|| {}), clock: Arc::clone(&clock) as SharedClock };
        Run { reader: source.open(&[0], positions, context).expect("a reader"), clock }
    }

    fn run(options: &[(&str, &str)]) -> Run {
        let source = generator(options);
        open(&source, &source.resolve_start().expect("positions"))
    }

    /// What a partition hands in, up to `max_bytes`: the values, and the position behind them.
    fn take(run: &mut Run, partition: usize, max_bytes: usize, until: Option<u64>) -> Result<(Vec<i64>, u64), String> {
        let until = until.map(|offset| Position { offset, file: None });
        match run.reader.take(partition, max_bytes, until.as_ref()).expect("taken") {
            Taken::Chunk(Chunk { payload: Payload::Deferred(rows), next }) => {
                let count = rows.rows();
                let rows = rows.make().expect("rows");
                assert_eq!(rows.num_rows(), count);
                Ok((rows.column(0).as_primitive::<Int64Type>().values().to_vec(), next.offset))
            }
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_bounded_stream_ends() {
        let mut run = run(&[("number-of-rows", "5")]);
        assert_eq!(take(&mut run, 0, 24, None), Ok((vec![0, 1, 2], 3)));
        assert_eq!(take(&mut run, 0, 1, None), Ok((vec![3], 4)));
        assert_eq!(take(&mut run, 0, 1 << 20, None), Ok((vec![4], 5)));
        assert_eq!(take(&mut run, 0, 1 << 20, None), Err("Finished".into()));
        assert_eq!(run.reader.wake_at(), None);
    }

    #[test]
    fn the_end_of_a_sequence_ends_the_stream() {
        let mut run = run(&[("fields.n.end", "2"), ("number-of-rows", "1000")]);
        assert_eq!(take(&mut run, 0, 1 << 20, None), Ok((vec![0, 1, 2], 3)));
        assert_eq!(take(&mut run, 0, 1 << 20, None), Err("Finished".into()));
    }

    #[test]
    fn partitions_share_the_rows_and_positions_resume() {
        let source = generator(&[("number-of-rows", "8"), ("partitions", "3")]);
        let mut positions = source.resolve_start().expect("positions");
        let mut first = open(&source, &positions);
        assert_eq!(take(&mut first, 1, 16, None), Ok((vec![1, 4], 7)));
        positions.insert(PartitionId("1".into()), Position { offset: 7, file: None });
        let mut second = open(&source, &positions);
        assert_eq!(take(&mut second, 0, 1 << 20, None), Ok((vec![0, 3, 6], 9)));
        assert_eq!(take(&mut second, 1, 1 << 20, None), Ok((vec![7], 10)));
        assert_eq!(take(&mut second, 2, 1 << 20, None), Ok((vec![2, 5], 8)));
        assert_eq!(take(&mut second, 1, 1 << 20, None), Err("Finished".into()));
    }

    #[test]
    fn a_chunk_stops_where_it_is_told() {
        let mut run = run(&[]);
        assert_eq!(take(&mut run, 0, 1 << 20, Some(2)), Ok((vec![0, 1], 2)));
        assert_eq!(take(&mut run, 0, 1 << 20, Some(2)), Err("Pending".into()));
    }

    #[test]
    fn rows_come_when_they_are_due() {
        let mut run = run(&[("rows-per-second", "100")]);
        assert_eq!(take(&mut run, 0, 1 << 20, None), Ok((vec![0], 1)));
        assert_eq!(take(&mut run, 0, 1 << 20, None), Err("Pending".into()));
        assert_eq!(run.reader.wake_at(), Some(1_010_000));
        run.clock.advance(9_999);
        assert_eq!(take(&mut run, 0, 1 << 20, None), Err("Pending".into()));
        run.clock.advance(20_001);
        assert_eq!(take(&mut run, 0, 1 << 20, None), Ok((vec![1, 2, 3], 4)));
        run.clock.set(0);
        assert_eq!(take(&mut run, 0, 1 << 20, None), Err("Pending".into()));
        assert_eq!(run.reader.wake_at(), Some(1_040_000));
    }
}
