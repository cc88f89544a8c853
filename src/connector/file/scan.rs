//! File after file, from a position on. Synchronous: the reader's thread calls it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::framing::Framing;
use super::lines::{FileChunk, Lines};
use super::listing::Listing;
use super::reader::Ahead;
use crate::connector::Position;
use crate::error::{Error, Result, SqlState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is there at the start, then the end.
    Bounded,
    /// New files and appended lines too, looked for this often.
    Watch(Duration),
}

#[derive(Debug)]
pub enum Step<C> {
    Chunk(C),
    /// Nothing more now.
    AtEnd,
    /// Nothing more ever.
    Finished,
}

#[derive(Debug)]
pub struct Scan {
    listing: Listing,
    mode: Mode,
    framing: Framing,
    /// Where to begin, until the first file is open.
    start: Option<Position>,
    current: Option<Lines>,
    /// The file last opened; those before it in name order are done.
    newest: Option<Arc<str>>,
    /// Files after it, as of the last listing.
    ahead: VecDeque<Arc<str>>,
    listed: bool,
}

impl Scan {
    pub fn new(listing: Listing, mode: Mode, framing: Framing, start: Position) -> Self {
        Scan {
            listing,
            mode,
            framing,
            start: Some(start),
            current: None,
            newest: None,
            ahead: VecDeque::new(),
            listed: false,
        }
    }

    fn at_end(&self) -> Step<FileChunk> {
        match self.mode {
            Mode::Bounded => Step::Finished,
            Mode::Watch(_) => Step::AtEnd,
        }
    }

    /// Opens the next file, if there is one.
    fn open_next(&mut self) -> Result<bool> {
        if !self.look_ahead()? {
            return Ok(false);
        }
        let start = self.start.take();
        let resumed = start.and_then(|p| p.file.map(|file| (file, p.offset)));
        let Some(name) = self.ahead.pop_front() else { return Ok(false) };
        let offset = match resumed {
            Some((file, _)) if file != name => return Err(gone(&file)),
            Some((_, offset)) => offset,
            None => 0,
        };
        self.newest = Some(Arc::clone(&name));
        self.current = Some(Lines::open(name, offset, self.framing.clone())?);
        Ok(true)
    }

    /// Whether there is a file after the newest. Bounded, the files are listed once.
    fn look_ahead(&mut self) -> Result<bool> {
        if self.ahead.is_empty() && (self.mode != Mode::Bounded || !self.listed) {
            let resumed = self.start.as_ref().and_then(|p| p.file.as_ref());
            let newest = self.newest.as_ref();
            let mut files = self.listing.files()?;
            files.retain(|file| resumed.is_none_or(|r| file >= r) && newest.is_none_or(|n| file > n));
            if let Some(file) = resumed
                && files.is_empty()
            {
                return Err(gone(file));
            }
            self.ahead = files.into();
            self.listed = true;
        }
        Ok(!self.ahead.is_empty())
    }
}

impl Ahead for Scan {
    type Chunk = FileChunk;

    fn mode(&self) -> Mode {
        self.mode
    }

    /// The next lines.
    ///
    /// # Errors
    /// See [`Lines`] and [`Listing::files`]; and if the file of the start position is gone. The scan cannot go on then.
    fn step(&mut self) -> Result<Step<FileChunk>> {
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(self.at_end());
            }
            let Some(lines) = &mut self.current else { continue };
            if let Some(chunk) = lines.next_chunk()? {
                return Ok(Step::Chunk(chunk));
            }
            // Listed before the file is read again: what was appended before the next file came is not missed.
            if self.mode != Mode::Bounded && !self.look_ahead()? {
                return Ok(Step::AtEnd);
            }
            let Some(lines) = &mut self.current else { continue };
            if let Some(chunk) = lines.next_chunk()? {
                return Ok(Step::Chunk(chunk));
            }
            let last = lines.last()?;
            self.current = None;
            if let Some(chunk) = last {
                return Ok(Step::Chunk(chunk));
            }
        }
    }
}

/// The error for a file that must be read on and is not there.
pub fn gone(file: &str) -> Error {
    Error::new(SqlState::UndefinedFile, format!("file \"{file}\" is gone, though it was not read to its end"))
        .with_hint("Put it back, or create the job anew to read the files that are there.")
}
