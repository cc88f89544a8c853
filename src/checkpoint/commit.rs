//! What a commit says: the whole of a pipeline as of one epoch, by naming files or bytes within commits.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::connector::PartId;
use crate::error::{Error, SqlState};
use crate::store::Digest;

/// One life of a pipeline, by a number drawn at random for it: not for an operating system's process, since one of those
/// may open the same pipeline twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessId(pub u128);

/// All of a commit but the bytes it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Its number, from 1, without gaps.
    pub epoch: u64,
    /// The lives of the pipeline, from 1.
    pub generation: u64,
    pub process: ProcessId,
    /// The digest of the commit before.
    pub previous: Option<Digest>,
    /// Of the plan that the image and the state belong to.
    pub fingerprint: String,
    /// The image's length. A pipeline that was opened and never ended an epoch has none.
    pub image: Option<u64>,
    /// State as of some earlier epoch, all of it.
    pub base: Option<Run>,
    /// What changed since, oldest first.
    pub deltas: Vec<Run>,
    /// Parts not known to be delivered, in the order of their ids for each sink.
    pub outbox: Vec<OutboxRef>,
    /// For each sink the last part known to be delivered; so are all before it.
    pub delivered: BTreeMap<String, PartId>,
}

/// Sorted entries of state, each key once, over one or more files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// In the order of their keys.
    pub files: Vec<Stored>,
    pub entries: u64,
    /// 0 for an epoch's own delta, one more than its inputs' for what was merged of several.
    pub level: u8,
}

/// A part of an outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxRef {
    pub sink: String,
    pub id: PartId,
    pub stored: Stored,
}

/// Bytes in the store, and how to tell that they are whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub at: Place,
    pub length: u64,
    pub sha256: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A file, by its name within the pipeline's folder.
    File(String),
    /// Within a commit: its number, and which of its pieces. The commit stays as long as this is named.
    Within(u64, u32),
}

impl Run {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }
}

impl Commit {
    /// Everything that this commit needs besides itself.
    pub fn stored(&self) -> impl Iterator<Item = &Stored> {
        let runs = self.base.iter().chain(&self.deltas).flat_map(|run| &run.files);
        runs.chain(self.outbox.iter().map(|part| &part.stored))
    }

    /// The names of the files it needs.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.stored().filter_map(|stored| match &stored.at {
            Place::File(name) => Some(name.as_str()),
            Place::Within(..) => None,
        })
    }

    /// The numbers of the commits within which there is something it needs.
    pub fn commits(&self) -> impl Iterator<Item = u64> {
        self.stored().filter_map(|stored| match stored.at {
            Place::Within(epoch, _) => Some(epoch),
            Place::File(_) => None,
        })
    }

    pub fn delta_bytes(&self) -> u64 {
        self.deltas.iter().map(Run::bytes).sum()
    }

    pub fn base_bytes(&self) -> u64 {
        self.base.as_ref().map_or(0, Run::bytes)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ProcessId {
    type Err = Error;

    fn from_str(text: &str) -> Result<ProcessId, Error> {
        let digits = Some(text).filter(|text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number.map(ProcessId).ok_or_else(|| Error::new(SqlState::DataCorrupted, format!("\"{text}\" is no process id")))
    }
}

impl TryFrom<String> for ProcessId {
    type Error = Error;

    fn try_from(text: String) -> Result<ProcessId, Error> {
        text.parse()
    }
}

impl From<ProcessId> for String {
    fn from(id: ProcessId) -> String {
        id.to_string()
    }
}
