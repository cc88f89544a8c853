//! A file's bytes become chunks of whole lines, or of CSV records, which may have line ends inside quotes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;

use super::framing::Framing;
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
    framing: Framing,
    /// It begins with [`BYTE_ORDER_MARK`], seen just now.
    has_mark: bool,
    /// Where in the file `rest` begins.
    offset: u64,
    /// Bytes read that are not handed out: no whole line among them after `next_chunk` has returned.
    rest: Vec<u8>,
}

impl Lines {
    /// # Errors
    /// If the file cannot be opened, or has become shorter than `offset`.
    pub fn open(name: Arc<str>, offset: u64, framing: Framing) -> Result<Self> {
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
        Ok(Lines { file, name, framing, has_mark: false, offset, rest: Vec::new() })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The next lines, up to about [`CHUNK_BYTES`]. `None`: no whole line is left now.
    ///
    /// # Errors
    /// If the file cannot be read, a line is longer than [`MAX_LINE_BYTES`], or the header is not as it must be.
    pub fn next_chunk(&mut self) -> Result<Option<FileChunk>> {
        loop {
            // What was read before may hold more than one chunk.
            if let Some(chunk) = self.cut(false)? {
                return Ok(Some(chunk));
            }
            if self.rest.len() > MAX_LINE_BYTES {
                let message = format!("a line of file \"{}\" is longer than {MAX_LINE_BYTES} bytes", self.name);
                return Err(Error::new(SqlState::BadCopyFileFormat, message)
                    .with_detail(format!("It begins at byte {}.", self.offset))
                    .with_hint(self.framing.long_line_hint()));
            }
            let read = (&mut self.file).take(CHUNK_BYTES as u64).read_to_end(&mut self.rest);
            let read = read.map_err(|e| Error::from(e).context(format!("file \"{}\"", self.name)))?;
            if read == 0 {
                return Ok(None);
            }
            self.skip_byte_order_mark();
        }
    }

    /// What stands behind the last line end, as a line. To be called when the file is finished.
    ///
    /// # Errors
    /// If it is a header, and not as it must be.
    pub fn last(&mut self) -> Result<Option<FileChunk>> {
        self.cut(true)
    }

    fn skip_byte_order_mark(&mut self) {
        if self.offset == 0 && self.rest.starts_with(BYTE_ORDER_MARK) {
            self.rest.drain(..BYTE_ORDER_MARK.len());
            self.offset = BYTE_ORDER_MARK.len() as u64;
            self.has_mark = true;
        }
    }

    /// Takes whole lines off the rest; at the file's end, all of it. A chunk is a run of messages: what is none (a header, a
    /// comment) ends it, except for blank lines that a message may begin with.
    fn cut(&mut self, at_end: bool) -> Result<Option<FileChunk>> {
        let (mut ends, mut offsets) = (Vec::new(), Vec::new());
        // Where the chunk begins, and how far we are.
        let (mut begin, mut at) = (0, 0);
        while let Some(rest) = self.rest.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(length) = self.framing.line_end(rest).or(at_end.then_some(rest.len())) else { break };
            let line = rest.get(..length).unwrap_or_default();
            let offset = self.offset + at as u64;
            let is_first = offset == if self.has_mark { BYTE_ORDER_MARK.len() as u64 } else { 0 };
            let is_message = self.framing.is_message(line, is_first);
            if is_message.map_err(|e| e.context(format!("file \"{}\"", self.name)))? {
                offsets.push(offset);
                ends.push((at + length - begin) as u32);
            } else if !self.framing.may_lead(line) {
                if !ends.is_empty() {
                    break;
                }
                begin = at + length;
            }
            at += length;
        }
        let kept = self.rest.split_off(at);
        let taken = std::mem::replace(&mut self.rest, kept);
        let base = self.offset + begin as u64;
        self.offset += at as u64;
        let Some(end) = ends.last().map(|end| begin + *end as usize) else { return Ok(None) };
        let data = Bytes::from(taken).slice(begin..end);
        let file = Some(Arc::clone(&self.name));
        let lines = RawChunk { data, ends, offsets, file, ..RawChunk::default() };
        Ok(Some(FileChunk { file: Arc::clone(&self.name), base, lines }))
    }
}
