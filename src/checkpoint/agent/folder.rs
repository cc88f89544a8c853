//! A pipeline's folder in the store: names within it, checks of what is read, and tries of what may be tried again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::EpochError;
use crate::checkpoint::NOTHING_IS_SKIPPED;
use crate::checkpoint::commit::{Place, Stored};
use crate::checkpoint::frame::{self, Frame};
use crate::checkpoint::names::{self, COMMITS, FileKind};
use crate::checkpoint::protocol::{Found, Leave};
use crate::clock::SharedTimer;
use crate::error::{Error, Result, SqlState};
use crate::store::{Created, Digest, Store};

/// Commits read side by side when a log is opened: an object store answers in tens of milliseconds.
const READS_AT_ONCE: usize = 16;

/// What reads again after a failure does so this often, with pauses that double.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Folder {
    store: Store,
    path: Arc<str>,
    pub timer: SharedTimer,
}

impl Folder {
    pub fn new(store: Store, path: &str, timer: SharedTimer) -> Self {
        Folder { store, path: path.into(), timer }
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// For messages.
    fn shown(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.store.url(), self.path)
    }

    /// The numbers of all commits, in order.
    pub async fn list_commits(&self) -> Result<Vec<u64>> {
        let listed = self.store.list(&self.at(COMMITS)).await?;
        Ok(listed
            .iter()
            .filter_map(|file| names::epoch_of(file.path.strip_prefix(&*self.path)?.strip_prefix('/')?))
            .collect())
    }

    pub async fn is_newer_there(&self, epoch: u64) -> Result<bool> {
        let newer = self.store.list_after(&self.at(COMMITS), &self.at(&names::commit(epoch))).await?;
        Ok(!newer.is_empty())
    }

    /// Reads commits; gives also the image of the last one of them that is there.
    pub async fn read_commits(&self, epochs: &[u64]) -> Result<(Vec<(u64, Found)>, Option<Bytes>)> {
        let read = stream::iter(epochs.iter().copied()).map(|epoch| async move {
            let frame = self.persistently(|| self.read_commit(epoch)).await?;
            Ok::<_, Error>(match frame {
                None => ((epoch, Found::Missing), None),
                Some(Err(error)) => ((epoch, Found::Damaged(error)), None),
                Some(Ok((frame, digest))) => {
                    ((epoch, Found::Commit(Box::new(frame.commit), digest)), Some(frame.image))
                }
            })
        });
        let read: Vec<_> = read.buffered(READS_AT_ONCE).try_collect().await?;
        let (found, images): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        Ok((found, images.into_iter().flatten().next_back()))
    }

    /// `None`: it is not there. An error within: it is damaged.
    async fn read_commit(&self, epoch: u64) -> Result<Option<Result<(Frame, Digest)>>> {
        let name = names::commit(epoch);
        let Some(bytes) = self.store.get(&self.at(&name)).await? else { return Ok(None) };
        Ok(Some(frame::decode(&bytes, epoch).map_err(|e| e.context(format!("\"{}\"", self.shown(&name))))))
    }

    pub async fn create_commit(&self, epoch: u64, bytes: Bytes) -> Result<Created> {
        self.store.create(&self.at(&names::commit(epoch)), bytes).await
    }

    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.store.put(&self.at(name), bytes).await
    }

    pub async fn delete(&self, name: &str) -> Result<()> {
        self.store.delete(&self.at(name)).await
    }

    /// The names of all files but commits.
    pub async fn list_files(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for kind in FileKind::ALL {
            let listed = self.store.list(&self.at(kind.folder())).await?;
            let within = |path: &str| Some(path.strip_prefix(&*self.path)?.strip_prefix('/')?.to_string());
            names.extend(listed.iter().filter_map(|file| within(&file.path)));
        }
        Ok(names)
    }

    /// Reads all of what a commit names, and checks it.
    pub async fn read(&self, stored: &Stored) -> Result<Bytes> {
        let bytes = match &stored.at {
            Place::File(name) => {
                let path = self.at(name);
                let read = self.persistently(|| self.store.get(&path)).await?;
                read.ok_or_else(|| self.missing(stored))?
            }
            Place::Within(epoch, piece) => {
                let read = self.persistently(|| self.read_commit(*epoch)).await?;
                let (frame, _) = read.ok_or_else(|| self.missing(stored))??;
                frame.within.get(*piece as usize).cloned().ok_or_else(|| self.missing(stored))?
            }
        };
        self.check(stored, bytes.len() as u64, Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// Reads a range of a file that a commit names; nothing of it is checked.
    pub async fn read_range(&self, stored: &Stored, from: u64, to: u64) -> Result<Bytes> {
        let Place::File(name) = &stored.at else { return Err(Error::internal("pieces of commits are read whole")) };
        let path = self.at(name);
        let read = self.persistently(|| self.store.get_range(&path, from..to)).await?;
        read.ok_or_else(|| self.missing(stored))
    }

    /// Whether what was read is what was written.
    pub fn check(&self, stored: &Stored, length: u64, sha256: Digest) -> Result<()> {
        if length == stored.length && sha256 == stored.sha256 {
            return Ok(());
        }
        let message = format!("\"{}\" is damaged: it is not what was written", self.place(stored));
        let detail = format!(
            "It should have {} bytes with SHA-256 {}; it has {length} with {sha256}.",
            stored.length, stored.sha256
        );
        Err(damaged(message).with_detail(detail))
    }

    /// What an error says that came up while the files of commit `epoch` were read. If that is no longer the newest, they
    /// may have been collected by whoever runs the pipeline now.
    pub async fn of_reading(&self, epoch: u64, error: Error) -> EpochError {
        if error.state() != SqlState::DataCorrupted {
            return EpochError::Failed(error);
        }
        match self.is_newer_there(epoch).await {
            Ok(true) => Leave::Fenced { epoch, by: None }.into(),
            _ => EpochError::Broken(error),
        }
    }

    fn missing(&self, stored: &Stored) -> Error {
        damaged(format!("\"{}\" is missing", self.place(stored)))
    }

    pub fn place(&self, stored: &Stored) -> String {
        match &stored.at {
            Place::File(name) => self.shown(name),
            Place::Within(epoch, piece) => format!("{}#{piece}", self.shown(&names::commit(*epoch))),
        }
    }

    /// Tries what changes nothing, or the same again, a few times.
    pub async fn persistently<T, F: Future<Output = Result<T>>>(&self, operation: impl Fn() -> F) -> Result<T> {
        for attempt in 0..TRIES {
            match operation().await {
                Err(error) if error.state() == SqlState::DataCorrupted => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, attempt, "the store failed; trying again");
                    self.timer.sleep(FIRST_PAUSE * (1 << attempt)).await;
                }
                done => return done,
            }
        }
        operation().await
    }
}

fn damaged(message: String) -> Error {
    Error::new(SqlState::DataCorrupted, message).with_hint(NOTHING_IS_SKIPPED)
}
