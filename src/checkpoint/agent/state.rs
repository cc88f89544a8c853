//! Stored state, read: the files of runs piece by piece, checked on the way.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::EpochError;
use super::folder::Folder;
use crate::checkpoint::commit::{Commit, Place, Run, Stored};
use crate::checkpoint::delta::segment::Input;
use crate::checkpoint::delta::{Cursor, Entries, Merged, SegmentReader, WithoutGone};
use crate::error::{Error, Result, SqlState};
use crate::store::digest::Hasher;

/// What all runs that are read at once hold, half of it being fetched.
const WINDOWS_BYTES: u64 = 64 << 20;

/// No request is smaller or larger.
const WINDOW_BYTES: std::ops::RangeInclusive<u64> = (256 << 10)..=(8 << 20);

/// Entries handed over at once.
const ENTRIES_BYTES: usize = 256 << 10;

/// State as of a commit: each key once, in order, with its value. Read it to its end before the next epoch is ended, since
/// what it reads may be merged and collected then.
pub struct StateReader {
    /// The empty batch is the end.
    entries: mpsc::Receiver<Result<Entries>>,
    has_ended: bool,
    bytes: u64,
    folder: Folder,
    epoch: u64,
}

impl StateReader {
    pub(super) fn new(folder: &Folder, commit: &Commit) -> Self {
        let runs: Vec<Run> = commit.base.iter().chain(&commit.deltas).cloned().collect();
        let bytes = runs.iter().map(Run::bytes).sum();
        // Two batches wait at most: one is being put in place, one comes.
        let (sender, entries) = mpsc::channel(2);
        let mut state = WithoutGone(merged(folder, runs));
        tokio::task::spawn_blocking(move || {
            // Nobody reads any more if nothing can be sent.
            if let Err(error) = send_entries(&mut state, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        });
        StateReader { entries, has_ended: false, bytes, folder: folder.clone(), epoch: commit.epoch }
    }

    /// Stored bytes, read or to be read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next entries; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<Entries>, EpochError> {
        if self.has_ended {
            return Ok(None);
        }
        let lost = || Err(Error::internal("the thread that reads state ended"));
        let entries = match self.entries.recv().await.unwrap_or_else(lost) {
            Ok(entries) => entries,
            Err(error) => return Err(self.folder.of_reading(self.epoch, error).await),
        };
        self.has_ended = entries.is_empty();
        Ok(Some(entries).filter(|entries| !entries.is_empty()))
    }
}

fn send_entries(state: &mut impl Cursor, sender: &mpsc::Sender<Result<Entries>>) -> Result<()> {
    let mut entries = Entries::default();
    while state.advance()? {
        entries.push(state.key(), state.value().unwrap_or_default());
        if entries.bytes() >= ENTRIES_BYTES && sender.blocking_send(Ok(std::mem::take(&mut entries))).is_err() {
            return Ok(());
        }
    }
    let has_more = !entries.is_empty();
    if has_more && sender.blocking_send(Ok(entries)).is_err() {
        return Ok(());
    }
    let _ = sender.blocking_send(Ok(Entries::default()));
    Ok(())
}

/// Runs laid over each other, oldest first. Must be made within a runtime, and walked over on a thread that may block.
pub(super) fn merged(folder: &Folder, runs: Vec<Run>) -> Merged {
    let window = (WINDOWS_BYTES / 2 / runs.len().max(1) as u64).clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end());
    let cursor = |run: Run| -> Box<dyn Cursor> { Box::new(RunCursor::new(folder.clone(), run, window)) };
    Merged::new(runs.into_iter().map(cursor).collect())
}

/// The entries of a run, over all its files.
struct RunCursor {
    folder: Folder,
    runtime: Handle,
    window: u64,
    files: VecDeque<Stored>,
    reader: Option<SegmentReader<FileInput>>,
    /// What entries are still to come.
    missing: u64,
    last_key: Vec<u8>,
}

impl RunCursor {
    fn new(folder: Folder, run: Run, window: u64) -> Self {
        let (files, missing) = (run.files.into(), run.entries);
        RunCursor { folder, runtime: Handle::current(), window, files, reader: None, missing, last_key: Vec::new() }
    }

    /// Goes to the next entry of the present file, or to the first one of the next file.
    fn step(&mut self) -> Result<bool> {
        loop {
            if let Some(reader) = &mut self.reader {
                if reader.advance()? {
                    return Ok(true);
                }
                self.last_key = reader.key().to_vec();
            }
            let Some(stored) = self.files.pop_front() else { return Ok(false) };
            let input = FileInput::new(self.folder.clone(), self.runtime.clone(), stored, self.window);
            let mut reader = SegmentReader::new(input);
            if reader.advance()? {
                let is_in_order = self.last_key.is_empty() || reader.key() > self.last_key.as_slice();
                self.reader = Some(reader);
                return if is_in_order { Ok(true) } else { Err(damaged("its files are not in order")) };
            }
            self.reader = None;
        }
    }
}

impl Cursor for RunCursor {
    fn advance(&mut self) -> Result<bool> {
        if self.step()? {
            self.missing = self.missing.checked_sub(1).ok_or_else(|| damaged("it has more entries than it should"))?;
            return Ok(true);
        }
        if self.missing > 0 { Err(damaged("entries are missing")) } else { Ok(false) }
    }

    fn key(&self) -> &[u8] {
        self.reader.as_ref().map_or(&[], |reader| reader.key())
    }

    fn value(&self) -> Option<&[u8]> {
        self.reader.as_ref()?.value()
    }
}

fn damaged(why: &str) -> Error {
    Error::new(SqlState::DataCorrupted, format!("a run of state is damaged: {why}"))
}

/// A file's bytes, window by window, the next one being fetched meanwhile. At its end its digest must be right.
struct FileInput {
    folder: Folder,
    runtime: Handle,
    stored: Stored,
    window: u64,
    /// Where the next window to be fetched begins.
    fetched: u64,
    read: u64,
    hasher: Option<Hasher>,
    coming: Option<JoinHandle<Result<Bytes>>>,
}

impl FileInput {
    fn new(folder: Folder, runtime: Handle, stored: Stored, window: u64) -> Self {
        let hasher = Some(Hasher::default());
        FileInput { folder, runtime, stored, window, fetched: 0, read: 0, hasher, coming: None }
    }

    fn fetch(&mut self) {
        if self.fetched >= self.stored.length {
            return;
        }
        let from = self.fetched;
        let to = match self.stored.at {
            Place::File(_) => (from + self.window).min(self.stored.length),
            Place::Within(..) => self.stored.length,
        };
        self.fetched = to;
        let (folder, stored) = (self.folder.clone(), self.stored.clone());
        self.coming = Some(self.runtime.spawn(async move {
            match stored.at {
                Place::File(_) => folder.read_range(&stored, from, to).await,
                Place::Within(..) => folder.read(&stored).await,
            }
        }));
    }
}

impl Input for FileInput {
    fn name(&self) -> String {
        self.folder.place(&self.stored)
    }

    fn next(&mut self) -> Result<Option<Bytes>> {
        if self.coming.is_none() {
            self.fetch();
        }
        let Some(coming) = self.coming.take() else {
            return match self.hasher.take() {
                Some(hasher) => self.folder.check(&self.stored, self.read, hasher.finish()).map(|()| None),
                None => Ok(None),
            };
        };
        let lost = |e| Error::internal(format!("a task that reads state ended: {e}"));
        let bytes = self.runtime.block_on(coming).map_err(lost)??;
        self.fetch();
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        self.read += bytes.len() as u64;
        Ok(Some(bytes))
    }
}
