//! How an engine runs.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::EpochOptions;
use crate::clock::{SharedClock, SystemClock};
use crate::error::Result;
use crate::state::BackendKind;

use super::delivery::blocking;
use super::durability::Durability;
use super::reading::CutPolicy;
use super::rehearsal::RehearsalPlan;

/// How an engine runs. `Default` is what `serve` uses without flags, in memory.
#[derive(Clone)]
pub struct EngineConfig {
    /// Where the catalog lies; `None`: nowhere, it is gone with the process.
    pub data_dir: Option<PathBuf>,
    /// Shards of a pipeline that does not say; also the worker threads.
    pub parallelism: NonZeroUsize,
    pub cuts: CutPolicy,
    pub backend: BackendKind,
    pub clock: SharedClock,
    pub work: Work,
    /// Where epochs are stored, as a URL; `None`: below the data directory, if there is one, else nowhere.
    pub store: Option<String>,
    pub epochs: EpochOptions,
    /// For tests: how recovery is rehearsed while pipelines run.
    pub rehearsal: Option<RehearsalPlan>,
}

/// What an engine does with its views and jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Work {
    #[default]
    Run,
    /// They stay as they were left, to be looked at, canceled and dropped: for a server that they would end.
    Pause,
    /// They come into being and do not run: for checking a script.
    PlanOnly,
}

impl EngineConfig {
    /// Where epochs go. What does not run leaves nothing to store; nor does what is taken down for rehearsals.
    pub(super) async fn open_store(&self) -> Result<Option<Durability>> {
        if self.work != Work::Run || self.rehearsal.is_some() {
            return Ok(None);
        }
        let (store, dir, epochs) = (self.store.clone(), self.data_dir.clone(), self.epochs.clone());
        blocking(move || Durability::open_store(store.as_deref(), dir.as_deref(), epochs)).await?
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            data_dir: None,
            parallelism: cores(),
            cuts: CutPolicy::default(),
            backend: BackendKind::default(),
            clock: Arc::new(SystemClock),
            work: Work::default(),
            store: None,
            epochs: EpochOptions::default(),
            rehearsal: None,
        }
    }
}

pub(super) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
