//! What goes on beside epochs: runs are merged, and files that nothing names are deleted. What came of it is told to the
//! protocol when the next epoch is ended; dropping this ends it.

use futures::FutureExt;
use tokio::task::JoinSet;

use super::epoch::{Segment, Segments, in_file};
use super::folder::Folder;
use super::state;
use crate::checkpoint::commit::Run;
use crate::checkpoint::delta::{Cursor, WithoutGone};
use crate::checkpoint::names::FileKind;
use crate::checkpoint::protocol::{Action, Event};
use crate::error::{Error, Result};
use crate::failpoint;

/// At most a merge, a collection and a listing are under way: the protocol sees to that.
#[derive(Default)]
pub struct Background {
    tasks: JoinSet<Event>,
}

impl Background {
    pub fn start(&mut self, action: Action, folder: &Folder) {
        let folder = folder.clone();
        match action {
            Action::Merge { runs, epoch, generation, without_gone } => {
                self.tasks.spawn(async move {
                    match merge(&folder, runs, epoch, generation, without_gone).await {
                        Ok(run) => Event::Merged(run),
                        Err(error) => {
                            tracing::warn!(%error, "runs of state could not be merged");
                            Event::MergeFailed(error)
                        }
                    }
                });
            }
            Action::Collect(files) => {
                self.tasks.spawn(async move { Event::Collected(collect(&folder, &files).await) });
            }
            Action::ListFiles => {
                self.tasks.spawn(async move {
                    Event::FilesListed(folder.list_files().await.unwrap_or_else(|error| {
                        tracing::warn!(%error, "files left behind could not be listed; they stay until the next start");
                        Vec::new()
                    }))
                });
            }
            _ => {}
        }
    }

    /// What came of something that has ended.
    pub fn done(&mut self) -> Option<Event> {
        let ended = self.tasks.join_next().now_or_never()??;
        Some(ended.unwrap_or_else(|e| Event::MergeFailed(Error::internal(format!("a background task ended: {e}")))))
    }

    /// Waits until nothing is under way, and gives what came of it.
    #[cfg(test)]
    pub async fn all_done(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.tasks).join_all().await
    }
}

async fn merge(folder: &Folder, runs: Vec<Run>, epoch: u64, generation: u64, without_gone: bool) -> Result<Run> {
    failpoint::reach("checkpoint::merge::before");
    let level = runs.iter().map(|run| run.level).max().unwrap_or(0).saturating_add(1);
    let merged = state::merged(folder, runs);
    let cursor: Box<dyn Cursor> = if without_gone { Box::new(WithoutGone(merged)) } else { Box::new(merged) };
    let mut segments = Segments::of(cursor);
    let mut files = Vec::new();
    loop {
        match segments.next().await? {
            Segment::Next(bytes) => {
                let (stored, name) = in_file(FileKind::Merged, &bytes, epoch, generation);
                folder.persistently(|| folder.put(&name, bytes.clone())).await?;
                files.push(stored);
                failpoint::reach("checkpoint::merge::between");
            }
            Segment::End { entries } => {
                failpoint::reach("checkpoint::merge::after");
                return Ok(Run { files, entries, level });
            }
        }
    }
}

/// Deletes files in that order, up to the first failure; gives how many are gone.
async fn collect(folder: &Folder, files: &[String]) -> usize {
    failpoint::reach("checkpoint::collect::before");
    for (gone, file) in files.iter().enumerate() {
        if let Err(error) = folder.delete(file).await {
            tracing::warn!(%error, "a file that is no longer needed could not be deleted; trying again later");
            return gone;
        }
        failpoint::reach("checkpoint::collect::between");
    }
    failpoint::reach("checkpoint::collect::after");
    files.len()
}
