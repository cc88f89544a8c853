//! A pipeline between two ticks, written down: all that it is besides the entries of its state. Versioned; a fixture of every
//! version is kept and read by a test. Fields that are not known are an error: an image is never half understood.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::catalog::ObjectId;
use crate::change::Watermark;
use crate::change::key::hash;
use crate::connector::{PartitionId, Positions};
use crate::dataflow::FragmentImage;
use crate::dataflow::watermark::PartitionProgress;
use crate::error::{Error, Result, SqlState};

use super::core::ReadingId;
use super::member::{Counters, Origin};
use super::reading::PartitionCounts;

/// The format that is written.
const VERSION: u32 = 1;

/// Tells a member's stored plan from any other: our own 64-bit hash of its text, which is versioned with keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// Under which number the entries of a member's state are filed. A member that begins anew has a new life, so what an earlier
/// one left behind is never taken for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Life(pub u32);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreImage {
    version: u32,
    /// The last tick that was over.
    pub tick: u64,
    /// Lives that were given so far.
    pub(super) lives: u32,
    /// Of a source the main one comes first.
    pub(super) readings: Vec<ReadingImage>,
    pub(super) members: Vec<MemberImage>,
}

/// A source being read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingImage {
    pub id: ReadingId,
    pub source: String,
    /// Where the next tick goes on.
    pub positions: Positions,
    pub watermark: Watermark,
    pub partitions: Vec<PartitionImage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionImage {
    pub id: PartitionId,
    pub progress: PartitionProgress,
    pub counts: PartitionCounts,
    /// It has been read to its end of some moment.
    pub met_end: bool,
}

/// A job or a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberImage {
    pub object: ObjectId,
    pub life: Life,
    pub plan: Fingerprint,
    pub feeds: Vec<FeedImage>,
    pub fragment: FragmentImage,
    pub counters: Counters,
}

/// What feeds a scan of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedImage {
    /// The scan.
    pub operator: u32,
    pub from: Origin,
}

impl CoreImage {
    pub(super) fn new(tick: u64, lives: u32, readings: Vec<ReadingImage>, members: Vec<MemberImage>) -> Self {
        CoreImage { version: VERSION, tick, lives, readings, members }
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal(format!("an image cannot be written: {e}")))
    }

    /// # Errors
    /// `XX001` if it is damaged, or of a version that is not known here.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = |why: &dyn fmt::Display| {
            Error::new(SqlState::DataCorrupted, format!("the image of a pipeline cannot be read: {why}"))
        };
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(|e| damaged(&e))?;
        if version != VERSION {
            return Err(damaged(&format_args!("format {version} is not known here")));
        }
        serde_json::from_slice(bytes).map_err(|e| damaged(&e))
    }

    /// The lives of all members: entries of state that belong to no such life are of no use any more.
    pub fn lives(&self) -> impl Iterator<Item = Life> {
        self.members.iter().map(|member| member.life)
    }

    /// The member that an object of the catalog was.
    pub(super) fn member(&self, object: ObjectId) -> Option<&MemberImage> {
        self.members.iter().find(|member| member.object == object)
    }
}

impl Fingerprint {
    /// Of a plan's stored text.
    pub fn of(plan: &str) -> Self {
        Fingerprint(hash(plan.as_bytes()))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Fingerprint).map_err(serde::de::Error::custom)
    }
}
