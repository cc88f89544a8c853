//! A file's bytes become chunks of whole lines.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result, SqlState};
use crate::format::RawChunk;

/// Bytes read at once: large enough that a chunk's cost does not count, small enough to stay in a core's cache while it is
/// decoded.
pub const CHUNK_BYTES: usize = 256 << 10;

/// A line may be this long: it has to be in memory as a whole.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// Some editors begin files with it; it is no part of the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Some lines of one file.
#[derive(Debug)]
pub struct FileChunk {
    pub file: Arc<str>,
    /// Where in the file the first byte of `lines.data` stands. Each message ends behind its line end, so that line `i` ends
    /// at `base + lines.ends[i]`.
    pub base: u64,
    pub lines: RawChunk,
}

impl FileChunk {
    /// Where the last line ends.
    pub fn end(&self) -> u64 {
        self.base + self.lines.data.len() as u64
    }
}

/// A file being read line by line.
#[derive(Debug)]
pub struct Lines {
    file: File,
    name: Arc<str>,
    /// Where in the file `rest` begins.
    offset: u64,
    /// Bytes read that are not handed out: no line end among them after `next_chunk` has returned.
    rest: Vec<u8>,
}

impl Lines {
    /// # Errors
    /// If the file cannot be opened, or has become shorter than `offset`.
    pub fn open(name: Arc<str>, offset: u64) -> Result<Self> {
        let failed = |e: std::io::Error| Error::from(e).context(format!("file \"{name}\""));
        let mut file = File::open(&*name).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length < offset {
            let message = format!("file \"{name}\" is shorter than what was read of it");
            return Err(Error::new(SqlState::DataCorrupted, message)
                .with_detail(format!("It has {length} bytes, and {offset} were read."))
                .with_hint("Files may grow, but must not be truncated or replaced while they are read."));
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Lines { file, name, offset, rest: Vec::new() })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The next lines, up to about [`CHUNK_BYTES`]. `None`: no whole line is left now.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is longer than [`MAX_LINE_BYTES`].
    pub fn next_chunk(&mut self) -> Result<Option<FileChunk>> {
        loop {
            let known = self.rest.len();
            let read = (&mut self.file).take(CHUNK_BYTES as u64).read_to_end(&mut self.rest);
            let read = read.map_err(|e| Error::from(e).context(format!("file \"{}\"", self.name)))?;
            self.skip_byte_order_mark();
            let new = self.rest.get(known.min(self.rest.len())..).unwrap_or_default();
            if let Some(last) = new.iter().rposition(|b| *b == b'\n') {
                let end = self.rest.len() - new.len() + last + 1;
                let chunk = self.cut(end);
                if !chunk.lines.is_empty() {
                    return Ok(Some(chunk));
                }
            }
            if self.rest.len() > MAX_LINE_BYTES {
                let message = format!("a line of file \"{}\" is longer than {MAX_LINE_BYTES} bytes", self.name);
                return Err(Error::new(SqlState::BadCopyFileFormat, message)
                    .with_detail(format!("It begins at byte {}.", self.offset)));
            }
            if read == 0 {
                return Ok(None);
            }
        }
    }

    /// What stands behind the last line end, as a line. To be called when the file is finished.
    pub fn last(&mut self) -> Option<FileChunk> {
        let chunk = self.cut(self.rest.len());
        (!chunk.lines.is_empty()).then_some(chunk)
    }

    fn skip_byte_order_mark(&mut self) {
        if self.offset == 0 && self.rest.starts_with(BYTE_ORDER_MARK) {
            self.rest.drain(..BYTE_ORDER_MARK.len());
            self.offset = BYTE_ORDER_MARK.len() as u64;
        }
    }

    /// Takes `end` bytes off the rest. Blank lines are no messages: they belong to the message behind them, and vanish where
    /// there is none.
    fn cut(&mut self, end: usize) -> FileChunk {
        let kept = self.rest.split_off(end);
        let mut data = std::mem::replace(&mut self.rest, kept);
        let base = self.offset;
        self.offset += data.len() as u64;
        let (mut ends, mut offsets) = (Vec::new(), Vec::new());
        let mut start = 0;
        while let Some(line) = data.get(start..).filter(|line| !line.is_empty()) {
            let length = line_end(line).map_or(line.len(), |at| at + 1);
            let line = line.get(..length).unwrap_or_default();
            if !line.trim_ascii().is_empty() {
                offsets.push(base + start as u64);
                ends.push((start + length) as u32);
            }
            start += length;
        }
        data.truncate(ends.last().map_or(0, |end| *end as usize));
        let lines = RawChunk { data: Bytes::from(data), ends, offsets, nulls: Vec::new() };
        FileChunk { file: Arc::clone(&self.name), base, lines }
    }
}

/// Where the first line end is: blocks without one are passed in a few vector instructions.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let is_end = |b: &u8| *b == b'\n';
    for (i, block) in blocks.iter().enumerate() {
        if block.iter().fold(false, |found, b| found | is_end(b)) {
            return block.iter().position(is_end).map(|at| 32 * i + at);
        }
    }
    rest.iter().position(is_end).map(|at| 32 * blocks.len() + at)
}
