//! The loop between the protocol and what it wants done.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::future::{Either, select};

use super::epoch::{Epoch, WriteError};
use super::folder::Folder;
use super::{Checkpoints, EpochError};
use crate::checkpoint::commit::Commit;
use crate::checkpoint::frame;
use crate::checkpoint::protocol::{Action, Event, Image, Marker};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::store::Created;

/// Where driving the protocol got to.
pub enum Reached {
    Opened(Option<Box<Commit>>),
    Committed,
    /// It wants nothing more for now.
    Rest,
}

impl Checkpoints {
    /// Tells the protocol what happened, and does what it wants until it is at rest.
    pub(super) async fn tell(&mut self, event: Event) -> Result<(), EpochError> {
        self.drive(event, &mut None).await.map(|_| ())
    }

    /// The same for an event after which the pipeline is opened, or the epoch in `work` becomes true.
    pub(super) async fn drive(&mut self, event: Event, work: &mut Option<Epoch>) -> Result<Reached, EpochError> {
        let mut reached = Reached::Rest;
        let mut actions: VecDeque<Action> = self.protocol.on(event).into();
        let mut deadline = self.folder.timer.sleep(self.options.timeout);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Leave(why) => return Err(why.into()),
                Action::Opened(commit) => reached = Reached::Opened(commit),
                Action::Committed(_) => reached = Reached::Committed,
                // Sinks are the pipeline's: it hands them the parts of an epoch that is true. None keeps a marker.
                Action::Deliver(..) => {}
                Action::ReadMarker(sink) => actions.extend(self.protocol.on(Event::Marker(sink, Marker::NotKept))),
                Action::Merge { .. } | Action::Collect(_) | Action::ListFiles => {
                    self.background.start(action, &self.folder);
                }
                Action::Pause(_)
                | Action::List
                | Action::Read(_)
                | Action::Create(..)
                | Action::LookBehind(_)
                | Action::Write { .. } => {
                    let folder = self.folder.clone();
                    let mut asking = std::pin::pin!(ask(&folder, action, &mut self.image, work));
                    let event = loop {
                        match select(asking.as_mut(), deadline).await {
                            Either::Left((event, rest)) => {
                                deadline = rest;
                                break event?;
                            }
                            Either::Right(_) => {
                                deadline = folder.timer.sleep(self.options.timeout);
                                actions.extend(self.protocol.on(Event::Late));
                                if let Some(Action::Leave(why)) = actions.pop_front() {
                                    return Err(why.into());
                                }
                            }
                        }
                    };
                    actions.extend(self.protocol.on(event));
                }
            }
        }
        Ok(reached)
    }
}

/// Does what the protocol asks of the store, and says what came of it.
async fn ask(
    folder: &Folder,
    action: Action,
    image: &mut Bytes,
    work: &mut Option<Epoch>,
) -> Result<Event, EpochError> {
    let done = match action {
        Action::Pause(pause) => {
            folder.timer.sleep(pause).await;
            Ok(Event::Resumed)
        }
        Action::List => folder.list_commits().await.map(Event::Listed),
        Action::Read(epochs) => folder.read_commits(&epochs).await.map(|(found, last)| {
            if let Some(last) = last {
                *image = last;
            }
            Event::Read(found)
        }),
        Action::Create(commit, of) => return create(folder, &commit, of, image, work.as_mut()).await,
        Action::LookBehind(epoch) => folder.is_newer_there(epoch).await.map(Event::Newer),
        Action::Write { epoch, generation } => match work {
            Some(work) => match work.write(folder, epoch, generation).await {
                Ok(written) => Ok(Event::Written(written)),
                Err(WriteError::Store(error)) => Err(error),
                Err(WriteError::State(error)) => return Err(error),
            },
            None => Err(Error::internal("there is no epoch to be written")),
        },
        other => Err(Error::internal(format!("{other:?} asks nothing of the store"))),
    };
    Ok(done.unwrap_or_else(|error| {
        tracing::warn!(%error, "the store failed");
        Event::Failed(error)
    }))
}

async fn create(
    folder: &Folder,
    commit: &Commit,
    of: Image,
    image: &Bytes,
    work: Option<&mut Epoch>,
) -> Result<Event, EpochError> {
    let encoded = match (of, &work) {
        (Image::OfThisEpoch, Some(epoch)) => frame::encode(commit, epoch.image(), &epoch.within),
        _ => frame::encode(commit, if commit.image.is_some() { image } else { &[] }, &[]),
    };
    let (bytes, digest) = encoded.map_err(EpochError::Failed)?;
    let length = bytes.len() as u64;
    match of {
        Image::OfThisEpoch => failpoint::reach("checkpoint::commit::before"),
        Image::Of(_) => failpoint::reach("checkpoint::open::before-fence"),
    }
    let created = folder.create_commit(commit.epoch, bytes).await;
    match of {
        Image::OfThisEpoch => failpoint::reach("checkpoint::commit::after"),
        Image::Of(_) => failpoint::reach("checkpoint::open::after-fence"),
    }
    if let Some(work) = work {
        work.commit_bytes = length;
    }
    Ok(match created {
        Ok(Created::Created) => Event::Created(digest),
        Ok(Created::Exists) => Event::Exists,
        Err(error) => {
            tracing::warn!(%error, "the store failed");
            Event::Failed(error)
        }
    })
}
