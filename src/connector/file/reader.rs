//! A thread scans ahead, bounded in bytes; the tick loop takes what is at hand.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::files::Mode;
use super::lines::FileChunk;
use crate::connector::{Chunk, PartitionId, Payload, Position, Reader, Taken, Waker};
use crate::error::{Error, Result};
use crate::format::RawChunk;

/// Bytes read ahead: enough for a disk to keep up while a tick runs.
const PREFETCH_BYTES: usize = 4 << 20;

/// What a thread scans ahead.
pub trait Ahead: Send + 'static {
    type Chunk: Piece;

    /// What comes next. After an error, or the end, it is not asked again.
    fn step(&mut self) -> Result<Step<Self::Chunk>>;

    fn mode(&self) -> Mode;
}

#[derive(Debug)]
pub enum Step<C> {
    Chunk(C),
    /// Nothing more now.
    AtEnd,
    /// Nothing more now, since the next file is not whole yet, as the error says.
    Waits(Error),
    /// Nothing more ever.
    Finished,
}

/// Messages or rows in a run, that can be handed out in pieces.
pub trait Piece: Send + 'static {
    /// Messages or rows, at least one.
    fn messages(&self) -> usize;

    /// What it counts for while it waits.
    fn bytes(&self) -> usize;

    /// Where a piece that begins at `from` ends: it is about `max_bytes`, and has at least one message, unless that lies
    /// behind `until`.
    fn end(&self, from: usize, max_bytes: usize, until: Option<&Position>) -> usize;

    /// Messages `from..to`, and the position behind them.
    fn piece(&self, from: usize, to: usize) -> (Payload, Position);
}

pub struct FileReader<C> {
    id: [PartitionId; 1],
    shared: Arc<Shared<C>>,
    /// A chunk begun: its next message.
    begun: Option<(C, usize)>,
}

struct Shared<C> {
    queue: Mutex<Queue<C>>,
    /// There is room again, or the reader is gone.
    changed: Condvar,
}

struct Queue<C> {
    chunks: VecDeque<C>,
    bytes: usize,
    /// What comes behind the chunks.
    then: Then,
    /// What is waited for there, if it should have come.
    trouble: Option<Error>,
    stopped: bool,
}

#[derive(Clone)]
enum Then {
    More,
    AtEnd,
    Finished,
    Failed(Error),
}

impl<C: Piece> FileReader<C> {
    /// # Errors
    /// If the machine has no thread left.
    pub fn start(scan: impl Ahead<Chunk = C>, id: PartitionId, waker: Waker) -> Result<Self> {
        let queue = Queue { chunks: VecDeque::new(), bytes: 0, then: Then::More, trouble: None, stopped: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("file-reader".into());
        thread.spawn(move || read_ahead(scan, &mine, &waker))?;
        Ok(FileReader { id: [id], shared, begun: None })
    }
}

impl<C> Drop for FileReader<C> {
    fn drop(&mut self) {
        self.shared.queue.lock().stopped = true;
        self.shared.changed.notify_one();
    }
}

/// The thread: until the end, an error, or the reader's drop.
fn read_ahead<A: Ahead>(mut scan: A, shared: &Shared<A::Chunk>, waker: &Waker) {
    loop {
        let step = scan.step();
        let mut queue = shared.queue.lock();
        queue.trouble = None;
        let (then, is_news) = match step {
            Ok(Step::Chunk(chunk)) => {
                queue.bytes += chunk.bytes();
                queue.chunks.push_back(chunk);
                (Then::More, true)
            }
            Ok(Step::AtEnd) => (Then::AtEnd, !matches!(queue.then, Then::AtEnd)),
            Ok(Step::Waits(trouble)) => {
                queue.trouble = Some(trouble);
                (Then::AtEnd, !matches!(queue.then, Then::AtEnd))
            }
            Ok(Step::Finished) => (Then::Finished, true),
            Err(e) => (Then::Failed(e), true),
        };
        let is_over = matches!(then, Then::Finished | Then::Failed(_));
        let waits = matches!(then, Then::AtEnd);
        queue.then = then;
        if is_news {
            drop(queue);
            waker();
            queue = shared.queue.lock();
        }
        if let (Mode::Watch(poll_interval), true, false) = (scan.mode(), waits, queue.stopped) {
            shared.changed.wait_for(&mut queue, poll_interval);
        }
        while queue.bytes >= PREFETCH_BYTES && !queue.stopped {
            shared.changed.wait(&mut queue);
        }
        if is_over || queue.stopped {
            return;
        }
    }
}

impl<C: Piece> Reader for FileReader<C> {
    fn partitions(&self) -> &[PartitionId] {
        &self.id
    }

    fn take(&mut self, _partition: usize, max_bytes: usize, until: Option<&Position>) -> Result<Taken> {
        if self.begun.is_none() {
            let mut queue = self.shared.queue.lock();
            let Some(chunk) = queue.chunks.pop_front() else {
                return match &queue.then {
                    Then::More => Ok(Taken::Pending),
                    Then::AtEnd => Ok(Taken::AtEnd),
                    Then::Finished => Ok(Taken::Finished),
                    Then::Failed(e) => Err(e.clone()),
                };
            };
            queue.bytes -= chunk.bytes();
            drop(queue);
            self.shared.changed.notify_one();
            self.begun = Some((chunk, 0));
        }
        let Some((chunk, from)) = self.begun.take() else { return Ok(Taken::Pending) };
        let to = chunk.end(from, max_bytes, until);
        if to == from {
            self.begun = Some((chunk, from));
            return Ok(Taken::Pending);
        }
        let (payload, next) = chunk.piece(from, to);
        if to < chunk.messages() {
            self.begun = Some((chunk, to));
        }
        Ok(Taken::Chunk(Chunk { payload, next }))
    }

    fn trouble(&self) -> Option<Error> {
        self.shared.queue.lock().trouble.clone()
    }

    fn buffered_bytes(&self) -> usize {
        let begun = self.begun.as_ref().map_or(0, |(chunk, _)| chunk.bytes());
        self.shared.queue.lock().bytes + begun
    }
}

impl Piece for FileChunk {
    fn messages(&self) -> usize {
        self.lines.len()
    }

    fn bytes(&self) -> usize {
        self.lines.bytes()
    }

    fn end(&self, from: usize, max_bytes: usize, until: Option<&Position>) -> usize {
        let limit = match until.map(|p| (p.file.as_deref(), p.offset)) {
            None => u64::MAX,
            Some((file, _)) if file > Some(&*self.file) => u64::MAX,
            Some((file, offset)) if file == Some(&*self.file) => offset,
            Some(_) => 0,
        };
        let ends = self.lines.ends.get(from..).unwrap_or_default();
        let reachable = ends.partition_point(|end| self.base + u64::from(*end) <= limit);
        let start = line_start(&self.lines, from) as usize;
        let affordable = ends.partition_point(|end| *end as usize - start <= max_bytes).max(1);
        from + reachable.min(affordable)
    }

    /// Shares the chunk's bytes.
    fn piece(&self, from: usize, to: usize) -> (Payload, Position) {
        let (start, end) = (line_start(&self.lines, from), line_start(&self.lines, to));
        let ends = self.lines.ends.get(from..to).unwrap_or_default();
        let lines = RawChunk {
            data: self.lines.data.slice(start as usize..end as usize),
            ends: ends.iter().map(|end| end - start).collect(),
            offsets: self.lines.offsets.get(from..to).unwrap_or_default().to_vec(),
            file: self.lines.file.clone(),
            ..RawChunk::default()
        };
        let next = Position { offset: self.base + u64::from(end), file: Some(Arc::clone(&self.file)) };
        (Payload::Raw(lines), next)
    }
}

fn line_start(lines: &RawChunk, line: usize) -> u32 {
    line.checked_sub(1).and_then(|before| lines.ends.get(before)).copied().unwrap_or(0)
}
