//! A pipeline is opened: the newest commit is found and checked, and the next one is created with a new generation and
//! the same content. From then on an older process can commit nothing.

use std::collections::BTreeMap;

use super::creating::Creating;
use super::log::{Known, Log};
use super::vocabulary::{Action, Found, Image, Leave};
use super::{Phase, Protocol, Rule};
use crate::checkpoint::NOTHING_IS_SKIPPED;
use crate::checkpoint::commit::{Commit, ProcessId};
use crate::error::{Error, SqlState};

/// Listings and reads are no snapshot: while another process commits and collects, what a listing found may be gone when
/// it is read. Whatever is missing after so many new listings is missing.
const LISTINGS: u32 = 8;

impl Protocol {
    pub(super) fn list(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Listing;
        actions.push(Action::List);
    }

    pub(super) fn listed(&mut self, epochs: Vec<u64>, actions: &mut Vec<Action>) {
        if epochs.is_empty() {
            return self.fence(actions);
        }
        self.phase = Phase::Reading(epochs.clone());
        actions.push(Action::Read(epochs));
    }

    pub(super) fn read(&mut self, found: Vec<(u64, Found)>, actions: &mut Vec<Action>) {
        let newest = found.iter().map(|(epoch, _)| *epoch).max().unwrap_or(0);
        let mut log = Log::default();
        let mut damaged = Vec::new();
        for (epoch, found) in found {
            match found {
                Found::Commit(commit, digest) => log.push(Known { commit: *commit, digest }),
                Found::Missing => {}
                Found::Damaged(error) => damaged.push((epoch, error)),
            }
        }
        if let Some(error) = self.needed_damage(newest, &log, damaged) {
            return self.leave(Leave::Broken(error), actions);
        }
        match self.missing(newest, &log) {
            Some(epoch) if self.relisted < LISTINGS => {
                self.last_error = Some(missing(epoch));
                self.relisted += 1;
                self.phase = Phase::Listing;
                self.pause(actions);
            }
            Some(epoch) => self.leave(Leave::Broken(missing(epoch)), actions),
            None => match self.chain_is_whole(newest, &log) {
                true => {
                    self.log = log;
                    self.fence(actions);
                }
                false => self.leave(Leave::Broken(broken_chain(newest)), actions),
            },
        }
    }

    /// Why the pipeline cannot be opened, if one of the damaged commits is needed.
    fn needed_damage(&self, newest: u64, log: &Log, damaged: Vec<(u64, Error)>) -> Option<Error> {
        let named: Vec<u64> = log.newest().map(|known| known.commit.commits().collect()).unwrap_or_default();
        let is_needed = |epoch: u64| epoch + 1 >= newest || named.contains(&epoch);
        damaged.into_iter().find(|(epoch, _)| is_needed(*epoch)).map(|(_, error)| error)
    }

    /// A commit that must be there and is not.
    fn missing(&self, newest: u64, log: &Log) -> Option<u64> {
        let Some(known) = log.get(newest) else { return Some(newest) };
        let before = newest.checked_sub(1).filter(|before| *before > 0 && self.keeps(Rule::ChainIsChecked));
        before.into_iter().chain(known.commit.commits()).find(|epoch| !log.contains(*epoch))
    }

    fn chain_is_whole(&self, newest: u64, log: &Log) -> bool {
        let digest_of = |epoch: u64| log.get(epoch).map(|known| known.digest);
        let named = log.get(newest).and_then(|known| known.commit.previous);
        named == newest.checked_sub(1).and_then(digest_of) || !self.keeps(Rule::ChainIsChecked)
    }

    /// Creates the first commit of this life.
    fn fence(&mut self, actions: &mut Vec<Action>) {
        let commit = match self.log.newest() {
            Some(Known { commit, digest }) => Commit {
                epoch: commit.epoch + 1,
                generation: commit.generation + 1,
                process: self.process,
                previous: Some(*digest),
                ..commit.clone()
            },
            None => first_commit(self.process),
        };
        self.generation = commit.generation;
        if !self.keeps(Rule::FenceFirst) && commit.epoch > 1 {
            return self.opened(commit.image.is_some().then(|| Box::new(commit)), actions);
        }
        let image = Image::Of(commit.epoch - 1);
        let creating = Creating::new(commit, image);
        actions.push(creating.action());
        self.phase = Phase::Fencing(creating);
    }

    /// Someone was faster, or is far ahead: everything is found out anew.
    pub(super) fn outrun(&mut self, actions: &mut Vec<Action>) {
        self.log = Log::default();
        self.phase = Phase::Listing;
        self.pause(actions);
    }

    /// This process owns the pipeline.
    pub(super) fn fenced(&mut self, known: Known, actions: &mut Vec<Action>) {
        let recovered = known.commit.image.map(|_| Box::new(known.commit.clone()));
        self.log.push(known);
        self.opened(recovered, actions);
    }

    fn opened(&mut self, recovered: Option<Box<Commit>>, actions: &mut Vec<Action>) {
        self.phase = Phase::Open;
        (self.tries, self.relisted) = (0, 0);
        self.last_error = None;
        actions.push(Action::Opened(recovered));
        self.ask_sinks(actions);
        self.collect(actions);
        actions.push(Action::ListFiles);
    }
}

fn first_commit(process: ProcessId) -> Commit {
    Commit {
        epoch: 1,
        generation: 1,
        process,
        previous: None,
        fingerprint: String::new(),
        image: None,
        base: None,
        deltas: Vec::new(),
        outbox: Vec::new(),
        delivered: BTreeMap::new(),
    }
}

fn missing(epoch: u64) -> Error {
    Error::new(SqlState::DataCorrupted, format!("commit {epoch} is missing")).with_hint(NOTHING_IS_SKIPPED)
}

fn broken_chain(newest: u64) -> Error {
    let before = newest.saturating_sub(1);
    Error::new(SqlState::DataCorrupted, format!("commit {newest} does not follow on commit {before} as it is now"))
        .with_detail("One of the two was replaced after it was written: the newer one names another digest.")
        .with_hint(NOTHING_IS_SKIPPED)
}
