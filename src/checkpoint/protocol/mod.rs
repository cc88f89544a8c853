//! What to do next: a state machine that is told what happened ([`Event`]) and says what is to be done ([`Action`]). It
//! waits for nothing, reads no clock, and draws no number, so that tests can drive the very type that runs a pipeline
//! through any order of events.
//!
//! 1. [`vocabulary`]: events and actions. [`rules`]: what it insists on, by name.
//! 2. [`opening`]: find the newest commit, check it, and create the next one with a new generation and the same content.
//! 3. [`creating`]: a commit is created, and what became of it is found out whatever the answer was.
//! 4. [`ending`]: the files of an epoch, then its commit, then its parts go to their sinks.
//! 5. [`log`]: the commits that are there, and which files they name. [`keeping`]: when runs are merged, and what may be
//!    collected.
//! 6. [`delivering`]: which parts a sink is to be handed, what it has.
//!
//! What does not live here: bytes. The shell reads, writes, hashes and merges what it is told to.
//!
//! Invariants:
//! - Once a commit of a generation is there, no older generation's commit becomes true.
//! - Whatever a true commit names is in the store, and stays until the commit is collected.
//! - A part is handed to its sink only when its epoch is true, and named by every commit until the sink has it.

mod creating;
mod delivering;
mod ending;
mod keeping;
mod log;
mod opening;
mod rules;
mod vocabulary;

#[cfg(test)]
mod simulation;

use std::time::Duration;

use super::commit::ProcessId;
use super::options::EpochOptions;
use crate::error::{Error, SqlState};
use creating::Creating;
use delivering::Deliveries;
use keeping::Keeping;
use log::Log;

pub use log::Known;
pub use rules::Rule;
pub use vocabulary::{Action, Ended, Event, Found, Image, Leave, Marker, Written};

/// The pauses between tries begin with this and double.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What of [`EpochOptions`] the protocol goes by, and what only tests set.
#[derive(Debug, Clone)]
pub struct Limits {
    pub tolerable_failures: u32,
    pub retained: u32,
    pub base_threshold: f64,
    /// Deltas smaller than this together are not worth a base.
    pub smallest_base: u64,
    /// So many runs of one level become one of the next.
    pub fan_in: usize,
}

impl From<&EpochOptions> for Limits {
    fn from(options: &EpochOptions) -> Self {
        Limits {
            tolerable_failures: options.tolerable_failures,
            retained: options.retained.max(2),
            base_threshold: options.base_threshold,
            smallest_base: 1 << 20,
            fan_in: 32,
        }
    }
}

/// One life of a pipeline, as its commit log sees it.
#[derive(Debug)]
pub struct Protocol {
    process: ProcessId,
    limits: Limits,
    phase: Phase,
    /// This life's; 0 until it is known.
    generation: u64,
    log: Log,
    keeping: Keeping,
    deliveries: Deliveries,
    /// How often in a row the operation under way has failed.
    tries: u32,
    /// How many listings in a row have not fitted what was there.
    relisted: u32,
    /// How many times in a row an epoch has not become true in its time.
    late: u32,
    last_error: Option<Error>,
    #[cfg(test)]
    broken: Option<Rule>,
}

/// What is under way.
#[derive(Debug)]
enum Phase {
    New,
    Listing,
    /// The commits that a listing found.
    Reading(Vec<u64>),
    /// The first commit of this life.
    Fencing(Creating),
    Open,
    /// An epoch's files.
    Writing(Ended),
    /// An epoch's commit.
    Committing(Creating),
    Left,
}

impl Protocol {
    pub fn new(process: ProcessId, limits: Limits) -> Self {
        Protocol {
            process,
            limits,
            phase: Phase::New,
            generation: 0,
            log: Log::default(),
            keeping: Keeping::default(),
            deliveries: Deliveries::default(),
            tries: 0,
            relisted: 0,
            late: 0,
            last_error: None,
            #[cfg(test)]
            broken: None,
        }
    }

    /// Without that rule.
    #[cfg(test)]
    pub fn without(mut self, rule: Option<Rule>) -> Self {
        self.broken = rule;
        self
    }

    #[cfg(test)]
    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    #[cfg(not(test))]
    fn keeps(&self, _: Rule) -> bool {
        true
    }

    /// The newest true commit.
    pub fn newest(&self) -> Option<&Known> {
        self.log.newest()
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many times in a row an epoch has not become true in its time.
    pub fn late(&self) -> u32 {
        self.late
    }

    pub fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// Takes an event in, and says what is to be done now.
    pub fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match (&self.phase, event) {
            (Phase::Left, _) => {}
            (Phase::New, Event::Open) => self.list(&mut actions),
            (Phase::Listing, Event::Listed(epochs)) => self.listed(epochs, &mut actions),
            (Phase::Reading(_), Event::Read(found)) => self.read(found, &mut actions),
            (Phase::Fencing(_) | Phase::Committing(_), event @ (Event::Created(_) | Event::Exists)) => {
                self.answered(event, &mut actions);
            }
            (Phase::Fencing(_) | Phase::Committing(_), event @ (Event::Read(_) | Event::Newer(_))) => {
                self.answered(event, &mut actions);
            }
            (Phase::Open, Event::End(ended)) => self.end(ended, &mut actions),
            (Phase::Writing(_), Event::Written(written)) => self.written(written, &mut actions),
            (_, Event::Failed(error)) => self.failed(error, &mut actions),
            (_, Event::Resumed) => self.again(&mut actions),
            (_, Event::Late) => self.is_late(&mut actions),
            (_, Event::Delivered(sink, id)) => self.deliveries.delivered(sink, id),
            (_, Event::Undelivered(sink)) => self.undelivered(sink, &mut actions),
            (_, Event::Marker(sink, marker)) => self.marker(sink, marker, &mut actions),
            (_, Event::Merged(run)) => self.keeping.merged(run),
            (_, Event::MergeFailed(error)) => self.merge_failed(error),
            (_, Event::Collected(files)) => self.collected(files, &mut actions),
            (_, Event::FilesListed(names)) => self.files_listed(names, &mut actions),
            (_, event) => {
                let error = Error::internal(format!("the commit log was told {event:?} while {:?}", self.phase));
                self.leave(Leave::Failed(error), &mut actions);
            }
        }
        actions
    }

    /// What asks the store failed: it is tried again after a pause. A create may have been done all the same.
    fn failed(&mut self, error: Error, actions: &mut Vec<Action>) {
        self.last_error = Some(error);
        let (is_failure, is_success) = (self.keeps(Rule::ErrorIsNoFailure), self.keeps(Rule::ErrorIsNoSuccess));
        if let Phase::Fencing(creating) | Phase::Committing(creating) = &mut self.phase {
            if !is_success {
                return self.answered(Event::Created(crate::store::Digest::of(&[])), actions);
            }
            creating.failed(is_failure);
        }
        self.pause(actions);
    }

    fn pause(&mut self, actions: &mut Vec<Action>) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.tries.min(10)).min(LONGEST_PAUSE);
        self.tries += 1;
        actions.push(Action::Pause(pause));
    }

    /// A pause is over: what is under way is asked for again.
    fn again(&mut self, actions: &mut Vec<Action>) {
        let generation = self.generation;
        let action = match &self.phase {
            Phase::Listing => Action::List,
            Phase::Reading(epochs) => Action::Read(epochs.clone()),
            Phase::Fencing(creating) | Phase::Committing(creating) => creating.action(),
            Phase::Writing(_) => Action::Write { epoch: self.log.next_epoch(), generation },
            Phase::New | Phase::Open | Phase::Left => return,
        };
        actions.push(action);
    }

    fn is_late(&mut self, actions: &mut Vec<Action>) {
        let epoch = self.log.next_epoch();
        let why = match &self.phase {
            Phase::New | Phase::Open | Phase::Left => return,
            Phase::Writing(_) | Phase::Committing(_) => {
                self.late += 1;
                if self.late <= self.limits.tolerable_failures {
                    return;
                }
                format!("epoch {epoch} could not be made durable in time")
            }
            Phase::Listing | Phase::Reading(_) | Phase::Fencing(_) => {
                "the commit log could not be opened in time".into()
            }
        };
        let error = match self.last_error.take() {
            Some(error) => error.context(why),
            None => Error::new(SqlState::IoError, why).with_hint("The store is too slow, or the time limit too short."),
        };
        self.leave(Leave::Failed(error), actions);
    }

    fn leave(&mut self, why: Leave, actions: &mut Vec<Action>) {
        self.phase = Phase::Left;
        actions.push(Action::Leave(why));
    }
}
