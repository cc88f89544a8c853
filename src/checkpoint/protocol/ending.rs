//! An epoch is ended: its files, then its commit.

use super::creating::Creating;
use super::log::Known;
use super::vocabulary::{Action, Ended, Image, Written};
use super::{Phase, Protocol, Rule};
use crate::checkpoint::commit::Commit;

impl Protocol {
    pub(super) fn end(&mut self, ended: Ended, actions: &mut Vec<Action>) {
        self.tries = 0;
        self.late = 0;
        self.phase = Phase::Writing(ended);
        actions.push(Action::Write { epoch: self.log.next_epoch(), generation: self.generation });
    }

    /// All files of the epoch are there: now it can become true.
    pub(super) fn written(&mut self, written: Written, actions: &mut Vec<Action>) {
        let Phase::Writing(ended) = std::mem::replace(&mut self.phase, Phase::Open) else { return };
        if !self.keeps(Rule::CommitBeforeDelivery) {
            actions.extend(written.outbox.iter().map(|part| Action::Deliver(part.sink.clone(), part.id)));
        }
        let Some(commit) = self.next_commit(ended, written) else { return };
        let creating = Creating::new(commit, Image::OfThisEpoch);
        actions.push(creating.action());
        self.phase = Phase::Committing(creating);
    }

    /// `None`: nothing was opened.
    fn next_commit(&mut self, ended: Ended, written: Written) -> Option<Commit> {
        let newest = self.log.newest()?;
        let mut commit = newest.commit.clone();
        let previous = Some(newest.digest);
        let only_inputs = self.keeps(Rule::MergeReplacesItsInputs);
        self.keeping.adopt(&mut commit, only_inputs);
        commit.deltas.extend(written.delta);
        commit.delivered.extend(self.deliveries.all());
        if !self.keeps(Rule::HandedIsNotDelivered) {
            commit.delivered.extend(commit.outbox.iter().map(|part| (part.sink.clone(), part.id)));
        }
        let delivered = &commit.delivered;
        commit.outbox.retain(|part| delivered.get(&part.sink).is_none_or(|last| *last < part.id));
        if !self.keeps(Rule::UndeliveredStay) {
            commit.outbox.clear();
        }
        commit.outbox.extend(written.outbox);
        Some(Commit {
            epoch: self.log.next_epoch() + u64::from(!self.keeps(Rule::NoEpochIsSkipped)),
            generation: self.generation,
            process: self.process,
            previous,
            fingerprint: ended.fingerprint,
            image: Some(ended.image),
            ..commit
        })
    }

    /// The epoch is true.
    pub(super) fn committed(&mut self, known: Known, actions: &mut Vec<Action>) {
        self.phase = Phase::Open;
        self.late = 0;
        self.last_error = None;
        self.keeping.committed();
        actions.push(Action::Committed(known.commit.epoch));
        self.log.push(known);
        self.ask_sinks(actions);
        self.hand_out(actions);
        self.merge(actions);
        self.collect(actions);
        self.stop_if_damaged(actions);
    }
}
