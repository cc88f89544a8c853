//! The epochs of one pipeline: when one ends, and what becomes of it.
//!
//! An epoch ends between two ticks. Its state is frozen by a swap there; then ticks go on, and between any two of them a
//! piece of what is frozen is handed out. Once all of it is, the commit log writes it in a task of its own. At most one
//! epoch is on its way; the next ends when it is true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::checkpoint::{Checkpoints, Committed, EpochContent, EpochError, EpochOptions, OutboxPart, SortedEntries};
use crate::clock::Micros;
use crate::connector::PartId;
use crate::error::{Error, Result};
use crate::metrics::EpochSteps;

use super::durability::LIFE_WIDTH;
use super::history::{EpochHistory, EpochRecord};
use super::image::Life;
use super::tick_loop::TickLoop;

/// Bytes of frozen state handed out between two ticks: some milliseconds.
const DRAIN_BYTES: usize = 2 << 20;

/// What the sinks have of an epoch's results.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Parts since the last epoch that are not known to be delivered.
    pub parts: Vec<OutboxPart>,
    /// The last part that each sink is known to have.
    pub delivered: BTreeMap<String, PartId>,
    /// Something waits for a sink.
    pub waiting: bool,
}

/// State on its way into a commit: keys with the life that they belong to in front.
pub type Entries = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The epochs of a pipeline.
pub struct Epochs {
    log: Log,
    stage: Stage,
    /// What identifies the plans that the state belongs to.
    fingerprint: String,
    options: EpochOptions,
    /// Told when an epoch is true, so that the tick loop looks.
    wake: Arc<Notify>,
    /// The last tick whose state is in an epoch that has ended.
    covered: u64,
    /// What was noted as delivered in it.
    noted: BTreeMap<String, PartId>,
    /// It left something to deliver: that will be delivered is worth another epoch.
    owes: bool,
    /// When the last epoch ended, and when the one before it became true.
    ended_at: Option<Micros>,
    true_at: Option<Micros>,
    history: EpochHistory,
}

/// The commit log, here or with the task that writes.
enum Log {
    Here(Box<Checkpoints>),
    Away(JoinHandle<(Box<Checkpoints>, Result<Committed, EpochError>)>),
    /// A write failed for good.
    Lost,
}

enum Stage {
    Rest,
    /// Frozen, being handed out.
    Draining(Box<Draft>),
    /// With the task that writes.
    Writing,
}

/// An epoch that has ended and is not written yet.
struct Draft {
    ended: Micros,
    /// As far as they are over.
    steps: EpochSteps,
    image: Bytes,
    entries: Entries,
    outgoing: Outgoing,
    /// Whether what could not be decoded in its ticks is delivered.
    letters: BoxFuture<'static, bool>,
}

impl Epochs {
    /// `covered`: the tick that the log's newest epoch holds. `wake`: the tick loop's.
    pub fn new(
        log: Checkpoints,
        fingerprint: String,
        options: EpochOptions,
        covered: u64,
        noted: BTreeMap<String, PartId>,
        wake: Arc<Notify>,
        history: EpochHistory,
    ) -> Self {
        Epochs {
            log: Log::Here(Box::new(log)),
            stage: Stage::Rest,
            fingerprint,
            options,
            wake,
            covered,
            noted,
            owes: true,
            ended_at: None,
            true_at: None,
            history,
        }
    }

    /// Between two ticks: ends an epoch if it is time, or goes on with the one that has ended. `outgoing` is asked when one
    /// ends; `None`: results are on their way to their outboxes, it is not the moment.
    ///
    /// # Errors
    /// What ends the pipeline: another process runs it, the store is away for too long.
    pub async fn turn(
        &mut self,
        ticks: &mut TickLoop,
        outgoing: impl FnOnce(u64) -> Result<Option<Outgoing>>,
    ) -> Result<()> {
        self.collect(false, ticks.clock().now()).await?;
        if let Stage::Rest = self.stage {
            let now = ticks.clock().now();
            if self.due_at(ticks.core().tick()).is_none_or(|at| at > now) {
                return Ok(());
            }
            let Some(outgoing) = outgoing(self.covered)? else { return Ok(()) };
            if ticks.core().tick() == self.covered && outgoing.delivered == self.noted {
                self.ended_at = Some(now);
                return Ok(());
            }
            self.end(ticks, outgoing).await?;
        }
        self.drain(ticks).await
    }

    /// Ends the last epoch, and waits until it is true. Nothing is written if nothing changed.
    ///
    /// # Errors
    /// As [`Epochs::turn`].
    pub async fn finish(&mut self, ticks: &mut TickLoop, outgoing: impl Fn(u64) -> Result<Outgoing>) -> Result<()> {
        loop {
            self.store(ticks, &outgoing).await?;
            let outgoing = outgoing(self.covered)?;
            if outgoing.delivered == self.noted {
                return Ok(());
            }
            self.end(ticks, outgoing).await?;
        }
    }

    /// Makes all ticks so far durable, and waits for that. What sinks have been handed since the last epoch is not waited
    /// for.
    ///
    /// # Errors
    /// As [`Epochs::turn`].
    pub async fn store(&mut self, ticks: &mut TickLoop, outgoing: impl Fn(u64) -> Result<Outgoing>) -> Result<()> {
        loop {
            while let Stage::Draining(_) = self.stage {
                self.drain(ticks).await?;
            }
            self.collect(true, ticks.clock().now()).await?;
            if ticks.core().tick() == self.covered {
                return Ok(());
            }
            self.end(ticks, outgoing(self.covered)?).await?;
        }
    }

    /// When an epoch is due, if anything has happened since the last: `tick` is the last one over.
    fn due_at(&self, tick: u64) -> Option<Micros> {
        if tick == self.covered && !self.owes {
            return None;
        }
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let after = |at: Option<Micros>, span| at.map(|at| at.saturating_add(micros(span)));
        let at = after(self.ended_at, self.options.interval).max(after(self.true_at, self.options.min_pause));
        Some(at.unwrap_or(Micros::MIN))
    }

    /// When the tick loop must look again although nothing has come; `Micros::MIN`: at once.
    pub fn wake_at(&self, tick: u64) -> Option<Micros> {
        match self.stage {
            Stage::Rest => self.due_at(tick),
            Stage::Draining(_) => Some(Micros::MIN),
            Stage::Writing => None,
        }
    }

    async fn end(&mut self, ticks: &mut TickLoop, outgoing: Outgoing) -> Result<()> {
        let now = ticks.clock().now();
        let letters = ticks.core().letters_delivered().boxed();
        let (image, tick) = (ticks.core_mut().freeze()?.to_bytes()?, ticks.core().tick());
        let freeze = span(now, ticks.clock().now());
        self.ended_at = Some(now);
        self.covered = tick;
        self.noted.clone_from(&outgoing.delivered);
        self.owes = outgoing.waiting;
        let (entries, steps) = (Entries::new(), EpochSteps { freeze, stall: freeze, ..EpochSteps::default() });
        let draft = Draft { ended: now, steps, image: image.into(), entries, outgoing, letters };
        self.stage = Stage::Draining(Box::new(draft));
        Ok(())
    }

    /// Takes a piece of what is frozen; the last one sends it all on its way.
    async fn drain(&mut self, ticks: &mut TickLoop) -> Result<()> {
        let Stage::Draining(draft) = &mut self.stage else { return Ok(()) };
        let (entries, began) = (std::mem::take(&mut draft.entries), ticks.clock().now());
        let (entries, all) = ticks.drain_frozen(DRAIN_BYTES, entries, take).await?;
        let now = ticks.clock().now();
        draft.entries = entries;
        draft.steps.stall += span(began, now);
        draft.steps.drain = span(draft.ended, now).saturating_sub(draft.steps.freeze);
        if !all {
            return Ok(());
        }
        let Stage::Draining(draft) = std::mem::replace(&mut self.stage, Stage::Rest) else { return Ok(()) };
        let Log::Here(mut log) = std::mem::replace(&mut self.log, Log::Lost) else {
            return Err(Error::internal("an epoch ended while another was being written"));
        };
        let Draft { ended, steps, image, entries, outgoing, letters } = *draft;
        let (fingerprint, wake) = (self.fingerprint.clone(), Arc::clone(&self.wake));
        let (epoch, history, clock) = (log.next_epoch(), self.history.clone(), Arc::clone(ticks.clock()));
        history.writes(EpochRecord::writing(epoch, ended, steps, entries.len() as u64));
        self.log = Log::Away(tokio::spawn(async move {
            let sorted = tokio::task::spawn_blocking(move || SortedEntries::sort(entries)).await;
            let outcome = match sorted {
                // Nobody reads those messages again behind this epoch. Whoever reads their source fails.
                Ok(_) if !letters.await => {
                    Err(EpochError::Failed(Error::internal("dead letters that belong to an epoch cannot be delivered")))
                }
                Ok(delta) => {
                    let Outgoing { parts: outbox, delivered, .. } = outgoing;
                    log.commit(EpochContent { fingerprint, image, delta: Box::new(delta), outbox, delivered }).await
                }
                Err(panic) => Err(EpochError::Failed(Error::internal(format!("state could not be sorted: {panic}")))),
            };
            history.wrote(epoch, &outcome, clock.now());
            wake.notify_one();
            (log, outcome)
        }));
        self.stage = Stage::Writing;
        Ok(())
    }

    /// Takes the log back from the task that has written, or (`wait`) will have.
    async fn collect(&mut self, wait: bool, now: Micros) -> Result<()> {
        let Log::Away(task) = &mut self.log else { return Ok(()) };
        if !wait && !task.is_finished() {
            return Ok(());
        }
        let joined = task.await;
        self.log = Log::Lost;
        let (log, outcome) = joined.map_err(|e| Error::internal(format!("the commit log panicked: {e}")))?;
        outcome?;
        self.log = Log::Here(log);
        self.true_at = Some(now);
        self.stage = Stage::Rest;
        Ok(())
    }
}

/// An entry as commits keep it: the life that it belongs to in front of its key.
fn take(entries: &mut Entries, life: Life, state_key: &[u8], value: Option<&[u8]>) -> Result<()> {
    let mut key = Vec::with_capacity(LIFE_WIDTH + state_key.len());
    key.extend_from_slice(&life.0.to_be_bytes());
    key.extend_from_slice(state_key);
    entries.push((key, value.map(<[u8]>::to_vec)));
    Ok(())
}

/// From one instant to another.
pub(super) fn span(from: Micros, to: Micros) -> Duration {
    Duration::from_micros(u64::try_from(to.saturating_sub(from)).unwrap_or_default())
}
