//! A thread scans ahead, bounded in bytes; the tick loop takes what is at hand.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::lines::FileChunk;
use super::scan::{Mode, Scan, Step};
use crate::connector::{Chunk, PartitionId, Payload, Position, Reader, Taken, Waker};
use crate::error::{Error, Result};
use crate::format::RawChunk;

/// Bytes read ahead: enough for a disk to keep up while a tick runs.
const PREFETCH_BYTES: usize = 4 << 20;

pub struct FileReader {
    id: [PartitionId; 1],
    shared: Arc<Shared>,
    /// A chunk begun: its next line.
    begun: Option<(FileChunk, usize)>,
}

#[derive(Default)]
struct Shared {
    ahead: Mutex<Ahead>,
    /// There is room again, or the reader is gone.
    changed: Condvar,
}

#[derive(Default)]
struct Ahead {
    chunks: VecDeque<FileChunk>,
    bytes: usize,
    /// What comes behind the chunks.
    then: Then,
    stopped: bool,
}

#[derive(Default, Clone)]
enum Then {
    #[default]
    More,
    AtEnd,
    Finished,
    Failed(Error),
}

impl FileReader {
    /// # Errors
    /// If the machine has no thread left.
    pub fn start(scan: Scan, id: PartitionId, waker: Waker) -> Result<Self> {
        let shared: Arc<Shared> = Arc::default();
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("file-reader".into());
        thread.spawn(move || read_ahead(scan, &mine, &waker))?;
        Ok(FileReader { id: [id], shared, begun: None })
    }
}

impl Drop for FileReader {
    fn drop(&mut self) {
        self.shared.ahead.lock().stopped = true;
        self.shared.changed.notify_one();
    }
}

/// The thread: until the end, an error, or the reader's drop.
fn read_ahead(mut scan: Scan, shared: &Shared, waker: &Waker) {
    loop {
        let step = scan.step();
        let mut ahead = shared.ahead.lock();
        let (then, is_news) = match step {
            Ok(Step::Chunk(chunk)) => {
                ahead.bytes += chunk.lines.bytes();
                ahead.chunks.push_back(chunk);
                (Then::More, true)
            }
            Ok(Step::AtEnd) => (Then::AtEnd, !matches!(ahead.then, Then::AtEnd)),
            Ok(Step::Finished) => (Then::Finished, true),
            Err(e) => (Then::Failed(e), true),
        };
        let is_over = matches!(then, Then::Finished | Then::Failed(_));
        let waits = matches!(then, Then::AtEnd);
        ahead.then = then;
        if is_news {
            drop(ahead);
            waker();
            ahead = shared.ahead.lock();
        }
        if let (Mode::Watch(poll_interval), true, false) = (scan.mode(), waits, ahead.stopped) {
            shared.changed.wait_for(&mut ahead, poll_interval);
        }
        while ahead.bytes >= PREFETCH_BYTES && !ahead.stopped {
            shared.changed.wait(&mut ahead);
        }
        if is_over || ahead.stopped {
            return;
        }
    }
}

impl Reader for FileReader {
    fn partitions(&self) -> &[PartitionId] {
        &self.id
    }

    fn take(&mut self, _partition: usize, max_bytes: usize, until: Option<&Position>) -> Result<Taken> {
        if self.begun.is_none() {
            let mut ahead = self.shared.ahead.lock();
            let Some(chunk) = ahead.chunks.pop_front() else {
                return match &ahead.then {
                    Then::More => Ok(Taken::Pending),
                    Then::AtEnd => Ok(Taken::AtEnd),
                    Then::Finished => Ok(Taken::Finished),
                    Then::Failed(e) => Err(e.clone()),
                };
            };
            ahead.bytes -= chunk.lines.bytes();
            drop(ahead);
            self.shared.changed.notify_one();
            self.begun = Some((chunk, 0));
        }
        let Some((chunk, from)) = self.begun.take() else { return Ok(Taken::Pending) };
        let to = piece_end(&chunk, from, max_bytes, until);
        if to == from {
            self.begun = Some((chunk, from));
            return Ok(Taken::Pending);
        }
        let (lines, next) = piece(&chunk, from, to);
        if to < chunk.lines.len() {
            self.begun = Some((chunk, to));
        }
        Ok(Taken::Chunk(Chunk { payload: Payload::Raw(lines), next }))
    }

    fn buffered_bytes(&self) -> usize {
        let begun = self.begun.as_ref().map_or(0, |(chunk, _)| chunk.lines.bytes());
        self.shared.ahead.lock().bytes + begun
    }
}

/// The line before which a piece that begins with line `from` ends: at least one line, unless it lies behind `until`.
fn piece_end(chunk: &FileChunk, from: usize, max_bytes: usize, until: Option<&Position>) -> usize {
    let limit = match until.map(|p| (p.file.as_deref(), p.offset)) {
        None => u64::MAX,
        Some((file, _)) if file > Some(&*chunk.file) => u64::MAX,
        Some((file, offset)) if file == Some(&*chunk.file) => offset,
        Some(_) => 0,
    };
    let ends = chunk.lines.ends.get(from..).unwrap_or_default();
    let reachable = ends.partition_point(|end| chunk.base + u64::from(*end) <= limit);
    let start = line_start(&chunk.lines, from) as usize;
    let affordable = ends.partition_point(|end| *end as usize - start <= max_bytes).max(1);
    from + reachable.min(affordable)
}

fn line_start(lines: &RawChunk, line: usize) -> u32 {
    line.checked_sub(1).and_then(|before| lines.ends.get(before)).copied().unwrap_or(0)
}

/// Lines `from..to` of `chunk`, sharing its bytes, and the position behind them.
fn piece(chunk: &FileChunk, from: usize, to: usize) -> (RawChunk, Position) {
    let (start, end) = (line_start(&chunk.lines, from), line_start(&chunk.lines, to));
    let ends = chunk.lines.ends.get(from..to).unwrap_or_default();
    let lines = RawChunk {
        data: chunk.lines.data.slice(start as usize..end as usize),
        ends: ends.iter().map(|end| end - start).collect(),
        offsets: chunk.lines.offsets.get(from..to).unwrap_or_default().to_vec(),
        file: chunk.lines.file.clone(),
        ..RawChunk::default()
    };
    (lines, Position { offset: chunk.base + u64::from(end), file: Some(Arc::clone(&chunk.file)) })
}
