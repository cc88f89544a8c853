//! Chunks that lack what decoding them takes: they wait, with the reason told, and come in their place.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::format::{Decoded, RawChunk, Waits, Waker};

/// Numbers from 0 on, each a message of one byte. All but the first chunk wait until it is `ready`.
#[derive(Debug, Clone)]
struct Bytes {
    numbers: usize,
    chunk: usize,
    next: usize,
    ids: [PartitionId; 1],
    ready: Arc<AtomicBool>,
}

impl Source for Bytes {
    fn resolve_start(&self) -> Result<Positions> {
        Ok(Positions::new())
    }

    fn open(&self, _columns: &[usize], positions: &Positions, _context: ReaderContext) -> Result<Box<dyn Reader>> {
        Ok(Box::new(Bytes { next: positions[&self.ids[0]].offset as usize, ..self.clone() }))
    }

    fn decoder(&self, _columns: &[usize]) -> Result<Option<Arc<dyn Decoder>>> {
        Ok(Some(Arc::new(Late(Arc::clone(&self.ready)))))
    }
}

impl Reader for Bytes {
    fn partitions(&self) -> &[PartitionId] {
        &self.ids
    }

    fn take(&mut self, _partition: usize, _max_bytes: usize, until: Option<&Position>) -> Result<Taken> {
        let from = self.next;
        let to = self.numbers.min(from + self.chunk).min(until.map_or(usize::MAX, |until| until.offset as usize));
        if from == to {
            return Ok(if from == self.numbers { Taken::Finished } else { Taken::Pending });
        }
        self.next = to;
        let raw = RawChunk {
            data: (from..to).map(|n| n as u8).collect::<Vec<u8>>().into(),
            ends: (1..=(to - from) as u32).collect(),
            offsets: (from as u64..to as u64).collect(),
            ..RawChunk::default()
        };
        Ok(Taken::Chunk(Chunk { payload: Payload::Raw(raw), next: at(to) }))
    }
}

struct Late(Arc<AtomicBool>);

impl Decoder for Late {
    fn decode(&self, chunk: &RawChunk) -> Result<Decoded> {
        let values = (0..chunk.len()).map(|index| i64::from(chunk.message(index)[0])).collect::<Int64Array>();
        let rows = RecordBatch::try_new(numbers(), vec![Arc::new(values)])?;
        Ok(Decoded { rows, weights: None, messages: None, bad: Vec::new() })
    }

    fn waits(&self) -> Option<&dyn Waits> {
        Some(self)
    }
}

impl Waits for Late {
    fn prepare(&self, chunk: &RawChunk, _now: Micros, _wake: &Waker) -> Result<bool> {
        Ok(chunk.offsets.first() == Some(&0) || self.0.load(Ordering::SeqCst))
    }

    fn wake_at(&self) -> Option<Micros> {
        Some(7)
    }

    fn trouble(&self) -> Option<Error> {
        Some(Error::new(SqlState::ConnectionFailure, "away"))
    }
}

fn trouble(bench: &Bench) -> Option<String> {
    let standing = bench.core.standing(&bench.core.members()[0]);
    standing.trouble.map(|error| error.message().to_string())
}

/// Another reader comes meanwhile, to be met in the middle of what waits.
#[test]
fn what_waits_comes_in_its_place() {
    for second in [None, Some(4)] {
        let ready = Arc::new(AtomicBool::new(false));
        let mut bench = Bench::new(WHOLE);
        let source = Bytes { numbers: 8, chunk: 3, next: 0, ids: [id(0)], ready: Arc::clone(&ready) };
        bench.sources.lock().insert("s".into(), object(columns(), Arc::new(source), 0));
        bench.view(1, "s", &[0]);
        bench.run();
        assert_eq!(bench.rows(1), [0, 1, 2]);
        assert_eq!(trouble(&bench).as_deref(), Some("away"));
        assert!(bench.core.buffered_bytes() > 0);
        assert_eq!(bench.core.readings().filter_map(|reading| reading.wake_at()).min(), Some(7));
        second.iter().for_each(|start| bench.view(2, "s", &[*start]));
        bench.run();
        assert_eq!(bench.rows(1), [0, 1, 2]);
        ready.store(true, Ordering::SeqCst);
        bench.run();
        assert_eq!(bench.rows(1), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((trouble(&bench), bench.core.buffered_bytes()), (None, 0));
        if second.is_some() {
            assert_eq!(bench.rows(2), [4, 5, 6, 7]);
            assert_eq!(bench.core.readings().count(), 1);
        }
    }
}
