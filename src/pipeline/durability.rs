//! Where and how pipelines are made durable, and bringing one back.
//!
//! Opening a pipeline's commit log fences whoever wrote it before. What its newest epoch holds is put in place: the image
//! first, then each entry of state; readings are opened where the image says, and results that no sink is known to have are
//! handed out again.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::catalog::{EpochSettings, ObjectId};
use crate::change::stored;
use crate::checkpoint::{Checkpoints, EpochOptions, OutboxPart, ProcessId, StateReader};
use crate::clock::{SharedTimer, SystemClock};
use crate::connector::{Part, PartId};
use crate::error::{Error, Result, SqlState};
use crate::store::{Store, StoreUrl};

use super::core::Core;
use super::delivery::Delivery;
use super::epochs::{Epochs, Outgoing};
use super::history::EpochHistory;
use super::image::{CoreImage, Life};

/// The database pipeline's log.
pub const DATABASE: &str = "pipelines/database";

/// Bytes of the number in front of a state key: whose it is.
pub const LIFE_WIDTH: usize = 4;

/// Where the store is, if there is to be one: what was asked for, or below the data directory.
fn location(store: Option<&str>, data_dir: Option<&Path>) -> Result<Option<StoreUrl>> {
    match (store, data_dir) {
        (Some(url), _) => StoreUrl::parse(url).map(Some),
        (None, Some(dir)) => Ok(Some(StoreUrl::File(std::path::absolute(dir.join("store"))?))),
        (None, None) => Ok(None),
    }
}

/// What makes the pipelines of a process durable.
#[derive(Clone)]
pub struct Durability {
    pub store: Store,
    pub options: EpochOptions,
    pub timer: SharedTimer,
}

/// A pipeline that was durable before.
pub struct Reopened {
    pub image: CoreImage,
    pub state: StateReader,
    /// By sink, see [`sink_id`].
    pub owed: BTreeMap<String, Owed>,
}

/// What an earlier life owes a sink.
#[derive(Debug, Default)]
pub struct Owed {
    /// In order.
    pub parts: Vec<Part>,
    /// The last part that the sink is known to have.
    pub delivered: Option<PartId>,
}

/// What is owed to each output of a job, of which there are `outputs`.
pub fn owed_to(job: ObjectId, outputs: usize, owed: &mut BTreeMap<String, Owed>) -> Vec<Owed> {
    (0..outputs).map(|output| owed.remove(&sink_id(job, output)).unwrap_or_default()).collect()
}

impl Durability {
    /// `None` if there is no place for it.
    ///
    /// # Errors
    /// 22023 for a URL that is none, 58030 for a folder that cannot be made.
    pub fn open_store(store: Option<&str>, data_dir: Option<&Path>, options: EpochOptions) -> Result<Option<Self>> {
        let Some(url) = location(store, data_dir)? else { return Ok(None) };
        Ok(Some(Durability { store: Store::open(&url)?, options, timer: Arc::new(SystemClock) }))
    }

    /// Opens the log at `path` and fences whoever has it. From a thread that may block.
    ///
    /// # Errors
    /// If another process is faster, the store is away, or what is stored is damaged.
    pub fn open(
        &self,
        path: &str,
        fingerprint: String,
        settings: &EpochSettings,
        wake: Arc<Notify>,
        history: EpochHistory,
    ) -> Result<(Epochs, Option<Reopened>)> {
        let (options, runtime) = (with(&self.options, settings), Handle::current());
        let (store, timer) = (self.store.clone(), Arc::clone(&self.timer));
        let opening = Checkpoints::open(store, path, fresh_process(), options.clone(), timer);
        let (log, recovered) = runtime.block_on(opening)?;
        let Some(mut recovered) = recovered else {
            return Ok((Epochs::new(log, fingerprint, options, 0, BTreeMap::new(), wake, history), None));
        };
        let image = CoreImage::from_bytes(&recovered.image)?;
        let mut owed: BTreeMap<String, Owed> = BTreeMap::new();
        while let Some(OutboxPart { sink, id, bytes }) = runtime.block_on(recovered.outbox.next())? {
            owed.entry(sink).or_default().parts.push(Part { id, batches: stored::decode(&bytes)? });
        }
        for (sink, id) in &recovered.delivered {
            owed.entry(sink.clone()).or_default().delivered = Some(*id);
        }
        let epochs = Epochs::new(log, fingerprint, options, image.tick, recovered.delivered, wake, history);
        Ok((epochs, Some(Reopened { image, state: recovered.state, owed })))
    }

    /// Deletes a pipeline's log: what it belongs to was dropped. What could not be deleted is left behind, and said.
    pub async fn forget(&self, path: &str) {
        let delete = async {
            for listed in self.store.list(path).await? {
                self.store.delete(&listed.path).await?;
            }
            Result::<()>::Ok(())
        };
        if let Err(error) = delete.await {
            tracing::warn!(path, %error, "what was stored for a dropped job could not be deleted");
        }
    }
}

/// The log of a job that has a pipeline of its own.
pub fn job_path(id: ObjectId) -> String {
    format!("pipelines/job-{}", id.0)
}

/// How commits name a job's output on its way into a sink.
fn sink_id(job: ObjectId, output: usize) -> String {
    format!("{}/{output}", job.0)
}

impl Outgoing {
    /// What the sinks of `job` have, and what no epoch up to tick `covered` holds for them.
    pub fn of(job: ObjectId, deliveries: &[Arc<Delivery>], covered: u64) -> Result<Self> {
        let mut outgoing = Outgoing::default();
        outgoing.add(job, deliveries, covered)?;
        Ok(outgoing)
    }

    /// The same of one more job.
    pub fn add(&mut self, job: ObjectId, deliveries: &[Arc<Delivery>], covered: u64) -> Result<()> {
        for (output, delivery) in deliveries.iter().enumerate() {
            let (sink, outbox) = (sink_id(job, output), &delivery.outbox);
            for part in outbox.undelivered().into_iter().filter(|part| part.id.epoch > covered) {
                let bytes = Bytes::from(stored::encode(&part.batches)?);
                self.parts.push(OutboxPart { sink: sink.clone(), id: part.id, bytes });
            }
            self.waiting |= !outbox.is_empty();
            self.delivered.extend(outbox.last_delivered().map(|id| (sink, id)));
        }
        Ok(())
    }
}

/// Puts the stored state in place and opens the readings. From a thread that may block.
///
/// # Errors
/// If what is stored is damaged. A source that no longer has what is needed fails whoever reads it.
pub fn restore(core: &mut Core, mut state: StateReader) -> Result<()> {
    let runtime = Handle::current();
    while let Some(entries) = runtime.block_on(state.next())? {
        for (key, value) in entries.iter() {
            let Some((life, state_key)) = key.split_first_chunk::<LIFE_WIDTH>() else {
                return Err(Error::new(SqlState::DataCorrupted, "a key of stored state is too short"));
            };
            core.restore(Life(u32::from_be_bytes(*life)), state_key, value)?;
        }
    }
    core.begin();
    Ok(())
}

/// A number that no other process has, from the randomness that the system gives to hash maps.
fn fresh_process() -> ProcessId {
    let random = || RandomState::new().hash_one(std::process::id());
    ProcessId(u128::from(random()) << 64 | u128::from(random()))
}

/// The server's options, but for what a job wants otherwise.
fn with(options: &EpochOptions, settings: &EpochSettings) -> EpochOptions {
    EpochOptions {
        interval: settings.interval.unwrap_or(options.interval),
        min_pause: settings.min_pause.unwrap_or(options.min_pause),
        timeout: settings.timeout.unwrap_or(options.timeout),
        tolerable_failures: settings.tolerable_failures.unwrap_or(options.tolerable_failures),
        retained: settings.retained.map_or(options.retained, |n| n.get()),
        base_threshold: settings.base_threshold.unwrap_or(options.base_threshold),
    }
}
