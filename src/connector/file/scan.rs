//! Lines, file after file, from a position on. Synchronous: the reader's thread calls it.

use super::files::{Files, Mode};
use super::framing::Framing;
use super::lines::{FileChunk, Lines};
use super::listing::Listing;
use super::reader::{Ahead, Step};
use crate::connector::Position;
use crate::error::Result;

#[derive(Debug)]
pub struct Scan {
    files: Files,
    framing: Framing,
    /// Where to begin in the first file, if not at its beginning.
    start: u64,
    current: Option<Lines>,
}

impl Scan {
    pub fn new(listing: Listing, mode: Mode, framing: Framing, start: Position) -> Self {
        let offset = start.file.as_ref().map_or(0, |_| start.offset);
        Scan { files: Files::new(listing, mode, start.file), framing, start: offset, current: None }
    }

    fn at_end(&self) -> Step<FileChunk> {
        match self.files.mode() {
            Mode::Bounded => Step::Finished,
            Mode::Watch(_) => Step::AtEnd,
        }
    }

    /// Opens the next file, if there is one.
    fn open_next(&mut self) -> Result<bool> {
        let Some(name) = self.files.take_next()? else { return Ok(false) };
        let offset = std::mem::take(&mut self.start);
        self.current = Some(Lines::open(name, offset, self.framing.clone())?);
        Ok(true)
    }
}

impl Ahead for Scan {
    type Chunk = FileChunk;

    fn mode(&self) -> Mode {
        self.files.mode()
    }

    /// The next lines.
    ///
    /// # Errors
    /// See [`Lines`] and [`Files::look_ahead`]. The scan cannot go on then.
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
            if self.files.mode() != Mode::Bounded && !self.files.look_ahead()? {
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
