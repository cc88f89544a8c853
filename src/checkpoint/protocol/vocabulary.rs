//! What the protocol is told, and what it wants done.

use std::time::Duration;

use crate::checkpoint::commit::{Commit, OutboxRef, ProcessId, Run};
use crate::connector::PartId;
use crate::error::Error;
use crate::store::Digest;

/// What has happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The pipeline is to be opened. The first event.
    Open,
    /// [`Action::List`]: the numbers of the commits that are there, in order.
    Listed(Vec<u64>),
    /// [`Action::Read`]: what was found, in the order asked for.
    Read(Vec<(u64, Found)>),
    /// [`Action::Create`]: it was not there, and is now.
    Created(Digest),
    /// [`Action::Create`]: something is there already.
    Exists,
    /// [`Action::LookBehind`]: whether a newer commit is there.
    Newer(bool),
    /// The operation under way failed, or its answer was lost: it may have been done, and may still be.
    Failed(Error),
    /// [`Action::Pause`] is over.
    Resumed,
    /// The time for an epoch, or for opening, is over.
    Late,
    /// The pipeline ends an epoch. Only when it is open and no other epoch is being ended.
    End(Ended),
    /// [`Action::Write`]: all files of the epoch are in the store, whole.
    Written(Written),
    /// The sink has this part, and all before it.
    Delivered(String, PartId),
    /// A delivery to this sink failed, or nobody knows: its marker tells.
    Undelivered(String),
    /// [`Action::ReadMarker`].
    Marker(String, Marker),
    /// [`Action::Merge`]: the new run's files are in the store, whole.
    Merged(Run),
    /// [`Action::Merge`] failed, and leaves nothing that anybody names.
    MergeFailed(Error),
    /// [`Action::Collect`]: how many of the files, from the first on, are gone.
    Collected(usize),
    /// [`Action::ListFiles`]: the names of all files in the pipeline's folder but commits.
    FilesListed(Vec<String>),
}

/// What a read gave.
#[derive(Debug, Clone)]
pub enum Found {
    Commit(Box<Commit>, Digest),
    Missing,
    Damaged(Error),
}

/// What an epoch holds besides its files.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    pub fingerprint: String,
    /// The image's length.
    pub image: u64,
}

/// The files of an epoch.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// `None`: no entry of state has changed.
    pub delta: Option<Run>,
    pub outbox: Vec<OutboxRef>,
}

/// What a sink's own system says of what it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// It keeps no marker: what is not known to be delivered is delivered, perhaps again.
    NotKept,
    /// The last part that it was delivered.
    At(Option<PartId>),
}

/// What is to be done. Of what asks the store one thing is under way at a time, besides a merge, a collection and a
/// listing of files in the background. Each is answered once.
#[derive(Debug, Clone)]
pub enum Action {
    /// List the commits.
    List,
    /// Read and check those commits, side by side. Fails if one of them cannot be read for now.
    Read(Vec<u64>),
    /// Create that commit, which must not be there. Everything it names is.
    Create(Box<Commit>, Image),
    /// Look whether a commit newer than that one is there.
    LookBehind(u64),
    /// Wait before going on.
    Pause(Duration),
    /// Write the files of epoch `epoch`, or what is missing of them after a failure.
    Write { epoch: u64, generation: u64 },
    /// Merge runs, oldest first, in the background, while epoch `epoch` is the next one.
    Merge { runs: Vec<Run>, epoch: u64, generation: u64, without_gone: bool },
    /// Delete files, in that order, in the background; after the first failure no further one.
    Collect(Vec<String>),
    /// List all files but commits.
    ListFiles,
    /// Ask a sink for its marker. Whatever older life of the pipeline still delivers to it is fenced first.
    ReadMarker(String),
    /// Hand a part to its sink: its epoch is true. Parts of a sink come in order.
    Deliver(String, PartId),
    /// The pipeline is open, and this process owns it: what its state is, if there ever was an epoch.
    Opened(Option<Box<Commit>>),
    /// The epoch is true.
    Committed(u64),
    /// It is over. Nothing is accepted from now on.
    Leave(Leave),
}

/// Which image a commit carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// That of the epoch that is being ended.
    OfThisEpoch,
    /// The same as that commit's.
    Of(u64),
}

/// Why a process gives its pipeline up.
#[derive(Debug, Clone)]
pub enum Leave {
    /// Another one owns it, or a newer commit than ours is there.
    Fenced { epoch: u64, by: Option<(ProcessId, u64)> },
    /// What is stored is not what was written.
    Broken(Error),
    /// The store is away for too long.
    Failed(Error),
}
