//! An epoch that is being ended: its files are written, and what was written is kept over failures of the store.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::folder::Folder;
use super::outcome::{Committed, StepTimes};
use super::{EpochContent, EpochError, OutboxPart};
use crate::checkpoint::commit::{OutboxRef, Place, Run, Stored};
use crate::checkpoint::delta::{Cursor, RunWriter};
use crate::checkpoint::names::{self, FileKind};
use crate::checkpoint::protocol::{Ended, Written};
use crate::clock::Micros;
use crate::error::Result;
use crate::failpoint;
use crate::store::Digest;

/// What is smaller is carried by the commit itself: a file of its own costs a write and a sync, or a request.
const CARRIED_BYTES: usize = 64 << 10;

/// While so many parts wait for a sink, further ones have files: a commit stays as long as a part within it is needed,
/// and a log is opened by reading all of its commits.
const WAITING_PARTS: usize = 64;

/// A commit carries at most this much, since it is read whole.
const ALL_CARRIED_BYTES: usize = 512 << 10;

pub struct Epoch {
    fingerprint: String,
    image: Bytes,
    /// Segments of the delta as they are made; `None` when all were taken.
    segments: Option<Segments>,
    /// A segment that waits to see whether another one comes.
    first: Option<Bytes>,
    delta: Run,
    outbox: VecDeque<OutboxPart>,
    /// A file that is to be written next, or again.
    unwritten: Option<(String, Bytes)>,
    written: Written,
    /// What the commit carries.
    pub within: Vec<Bytes>,
    carried_bytes: usize,
    carries_parts: bool,
    /// When the files were all written.
    files_at: Option<Micros>,
    pub commit_bytes: u64,
}

/// What writing files of an epoch failed with.
pub enum WriteError {
    /// The store: it is tried again.
    Store(crate::error::Error),
    /// The entries cannot be had.
    State(EpochError),
}

impl Epoch {
    /// `waiting`: parts of earlier epochs that sinks are not known to have.
    pub fn new(content: EpochContent, waiting: usize) -> Self {
        let EpochContent { fingerprint, image, delta, outbox, delivered: _ } = content;
        Epoch {
            fingerprint,
            image,
            segments: Some(Segments::of(delta)),
            first: None,
            delta: Run { files: Vec::new(), entries: 0, level: 0 },
            outbox: outbox.into(),
            unwritten: None,
            written: Written::default(),
            within: Vec::new(),
            carried_bytes: 0,
            carries_parts: waiting < WAITING_PARTS,
            files_at: None,
            commit_bytes: 0,
        }
    }

    pub fn ended(&self) -> Ended {
        Ended { fingerprint: self.fingerprint.clone(), image: self.image.len() as u64 }
    }

    pub fn image(&self) -> &Bytes {
        &self.image
    }

    pub fn into_image(self) -> Bytes {
        self.image
    }

    /// Writes what is not written yet.
    pub async fn write(&mut self, folder: &Folder, epoch: u64, generation: u64) -> Result<Written, WriteError> {
        failpoint::reach("checkpoint::delta::before");
        while self.segments.is_some() || self.unwritten.is_some() {
            self.write_unwritten(folder).await?;
            self.take_segment(epoch, generation).await?;
        }
        failpoint::reach("checkpoint::delta::after");
        failpoint::reach("checkpoint::outbox::before");
        loop {
            self.write_unwritten(folder).await?;
            let Some(part) = self.outbox.pop_front() else { break };
            let stored = self.store(FileKind::Outbox, part.bytes, epoch, generation);
            self.written.outbox.push(OutboxRef { sink: part.sink, id: part.id, stored });
        }
        failpoint::reach("checkpoint::outbox::after");
        if self.delta.entries > 0 {
            self.written.delta = Some(self.delta.clone());
        }
        self.files_at.get_or_insert(folder.timer.now());
        Ok(self.written.clone())
    }

    async fn write_unwritten(&mut self, folder: &Folder) -> Result<(), WriteError> {
        if let Some((name, bytes)) = &self.unwritten {
            folder.put(name, bytes.clone()).await.map_err(WriteError::Store)?;
            self.unwritten = None;
        }
        Ok(())
    }

    /// Takes the next segment; the last one says how many entries there were.
    async fn take_segment(&mut self, epoch: u64, generation: u64) -> Result<(), WriteError> {
        let Some(segments) = &mut self.segments else { return Ok(()) };
        match segments.next().await.map_err(|e| WriteError::State(EpochError::Failed(e)))? {
            Segment::Next(bytes) => {
                // The one before is not the only one, so it gets a file.
                if let Some(first) = self.first.replace(bytes) {
                    let stored = self.store_in_file(FileKind::Delta, first, epoch, generation);
                    self.delta.files.push(stored);
                }
            }
            Segment::End { entries } => {
                self.segments = None;
                self.delta.entries = entries;
                if let Some(last) = self.first.take() {
                    let stored = match self.delta.files.is_empty() {
                        true => self.store(FileKind::Delta, last, epoch, generation),
                        false => self.store_in_file(FileKind::Delta, last, epoch, generation),
                    };
                    self.delta.files.push(stored);
                }
            }
        }
        Ok(())
    }

    /// Finds a place for bytes: in the commit if they are small.
    fn store(&mut self, kind: FileKind, bytes: Bytes, epoch: u64, generation: u64) -> Stored {
        let is_carried = kind != FileKind::Outbox || self.carries_parts;
        if !is_carried || bytes.len() > CARRIED_BYTES || self.carried_bytes + bytes.len() > ALL_CARRIED_BYTES {
            return self.store_in_file(kind, bytes, epoch, generation);
        }
        self.carried_bytes += bytes.len();
        let at = Place::Within(epoch, self.within.len() as u32);
        let stored = Stored { at, length: bytes.len() as u64, sha256: Digest::of(&bytes) };
        self.within.push(bytes);
        stored
    }

    fn store_in_file(&mut self, kind: FileKind, bytes: Bytes, epoch: u64, generation: u64) -> Stored {
        let (stored, name) = in_file(kind, &bytes, epoch, generation);
        self.unwritten = Some((name, bytes));
        stored
    }

    /// What came of it.
    pub fn committed(&self, epoch: u64, total_state_bytes: u64, begun: Micros, folder: &Folder) -> Committed {
        let now = folder.timer.now();
        let files_at = self.files_at.unwrap_or(begun);
        let span = |from: Micros, to: Micros| Duration::from_micros(u64::try_from(to - from).unwrap_or(0));
        Committed {
            epoch,
            state_bytes: self.delta.bytes(),
            outbox_bytes: self.written.outbox.iter().map(|part| part.stored.length).sum(),
            commit_bytes: self.commit_bytes,
            total_state_bytes,
            steps: StepTimes { files: span(begun, files_at), commit: span(files_at, now), total: span(begun, now) },
        }
    }
}

/// How bytes are named in a file of their own, and the file's name.
pub fn in_file(kind: FileKind, bytes: &Bytes, epoch: u64, generation: u64) -> (Stored, String) {
    let sha256 = Digest::of(bytes);
    let name = names::file(kind, generation, epoch, &sha256);
    (Stored { at: Place::File(name.clone()), length: bytes.len() as u64, sha256 }, name)
}

pub enum Segment {
    Next(Bytes),
    /// There is no more; so many entries there were.
    End {
        entries: u64,
    },
}

/// A cursor's entries as segments, made on a thread that may block. One is made while another one is written.
pub struct Segments(mpsc::Receiver<Result<Segment>>);

impl Segments {
    pub fn of(mut cursor: impl Cursor + 'static) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            // Nobody wants them any more if one cannot be sent.
            if let Err(error) = make_segments(&mut cursor, |segment| sender.blocking_send(Ok(segment)).is_ok()) {
                let _ = sender.blocking_send(Err(error));
            }
        });
        Segments(receiver)
    }

    pub async fn next(&mut self) -> Result<Segment> {
        let lost = || crate::error::Error::internal("the thread that makes segments ended");
        self.0.recv().await.unwrap_or_else(|| Err(lost()))
    }
}

fn make_segments(cursor: &mut impl Cursor, mut send: impl FnMut(Segment) -> bool) -> Result<()> {
    let mut writer = RunWriter::new();
    while cursor.advance()? {
        if let Some(segment) = writer.push(cursor.key(), cursor.value())?
            && !send(Segment::Next(segment))
        {
            return Ok(());
        }
    }
    if let Some(last) = writer.finish() {
        send(Segment::Next(last));
    }
    send(Segment::End { entries: writer.entries() });
    Ok(())
}
