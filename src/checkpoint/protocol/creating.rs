//! A commit is created, and what became of it is found out whatever the answer was.
//!
//! The name may be taken by nobody but ourselves, in a try whose answer was lost: so a name that is taken is read, and
//! the process id decides. It may also be free although the pipeline is far ahead, since old commits are collected: so a
//! commit that was created counts only if no newer one is there. The newest commit is never collected, so whoever took
//! over is seen.

use super::log::Known;
use super::vocabulary::{Action, Event, Found, Image, Leave};
use super::{Phase, Protocol, Rule};
use crate::checkpoint::commit::Commit;
use crate::store::Digest;

#[derive(Debug)]
pub(super) struct Creating {
    commit: Box<Commit>,
    image: Image,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Creating,
    /// Its name is taken, or may be: whose is it?
    Reading,
    /// It is there: is it the newest?
    LookingBehind(Digest),
}

impl Creating {
    pub(super) fn new(commit: Commit, image: Image) -> Self {
        Creating { commit: Box::new(commit), image, step: Step::Creating }
    }

    /// What is to be done for the present step.
    pub(super) fn action(&self) -> Action {
        match self.step {
            Step::Creating => Action::Create(self.commit.clone(), self.image),
            Step::Reading => Action::Read(vec![self.commit.epoch]),
            Step::LookingBehind(_) => Action::LookBehind(self.commit.epoch),
        }
    }

    /// The step failed, or its answer was lost.
    pub(super) fn failed(&mut self, may_be_done: bool) {
        if matches!(self.step, Step::Creating) && may_be_done {
            self.step = Step::Reading;
        }
    }
}

impl Protocol {
    /// Takes in the answer to a step of creating a commit.
    pub(super) fn answered(&mut self, event: Event, actions: &mut Vec<Action>) {
        let error_is_failure = !self.keeps(Rule::ErrorIsNoFailure);
        let any_is_ours = !self.keeps(Rule::ProcessIdDecides);
        let looks_behind = self.keeps(Rule::NothingNewer);
        let (Phase::Fencing(creating) | Phase::Committing(creating)) = &mut self.phase else { return };
        match event {
            Event::Created(digest) if looks_behind => {
                creating.step = Step::LookingBehind(digest);
                actions.push(creating.action());
            }
            Event::Created(digest) => self.is_ours(digest, actions),
            Event::Exists if error_is_failure => self.is_theirs(None, actions),
            Event::Exists => {
                creating.step = Step::Reading;
                actions.push(creating.action());
            }
            Event::Read(found) => match found.into_iter().next() {
                Some((_, Found::Commit(commit, digest))) if commit.process == self.process || any_is_ours => {
                    creating.step = Step::LookingBehind(digest);
                    actions.push(creating.action());
                }
                Some((_, Found::Commit(commit, _))) => self.is_theirs(Some(*commit), actions),
                Some((_, Found::Damaged(error))) => self.leave(Leave::Broken(error), actions),
                // It was not created, or was collected: then looking behind will tell.
                Some((_, Found::Missing)) | None => {
                    creating.step = Step::Creating;
                    self.pause(actions);
                }
            },
            Event::Newer(true) => self.is_theirs(None, actions),
            Event::Newer(false) => {
                if let Step::LookingBehind(digest) = creating.step {
                    self.is_ours(digest, actions);
                }
            }
            _ => {}
        }
    }

    /// The commit is there, and true.
    fn is_ours(&mut self, digest: Digest, actions: &mut Vec<Action>) {
        self.tries = 0;
        match std::mem::replace(&mut self.phase, Phase::Open) {
            Phase::Fencing(creating) => self.fenced(Known { commit: *creating.commit, digest }, actions),
            Phase::Committing(creating) => self.committed(Known { commit: *creating.commit, digest }, actions),
            _ => {}
        }
    }

    /// Someone else's commit is there, `commit` or a newer one.
    fn is_theirs(&mut self, commit: Option<Commit>, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Fencing(_)) {
            return self.outrun(actions);
        }
        let by = commit.map(|commit| (commit.process, commit.generation));
        self.leave(Leave::Fenced { epoch: self.log.next_epoch(), by }, actions);
    }
}
