//! When runs are merged, and what may be collected.
//!
//! Runs of one level become one of the next when there are enough of them, so that a commit names few, and an entry is
//! written again once for each level. When the deltas outweigh the base, everything becomes a new base. Both happen in
//! the background from what is stored, without a look at live state; the next commit names the result.

use std::collections::VecDeque;
use std::ops::Range;

use super::vocabulary::{Action, Leave};
use super::{Protocol, Rule};
use crate::checkpoint::commit::{Commit, Run};
use crate::checkpoint::names;
use crate::error::{Error, SqlState};

#[derive(Debug, Default)]
pub(super) struct Keeping {
    merge: Option<Merge>,
    /// Files that nothing names any more, in the order in which they may go.
    condemned: VecDeque<String>,
    /// How many of them are being deleted.
    under_way: usize,
    damage: Option<Error>,
}

/// What is being merged, or was and waits for the next commit.
#[derive(Debug)]
struct Merge {
    into_base: bool,
    deltas: Range<usize>,
    done: Option<Run>,
    /// The commit that is being created names it.
    is_adopted: bool,
}

impl Keeping {
    pub(super) fn merged(&mut self, run: Run) {
        if let Some(merge) = &mut self.merge {
            merge.done = Some(run);
        }
    }

    /// Puts a merged run in the place of its inputs. Those are where they were: deltas only come behind them.
    pub(super) fn adopt(&mut self, commit: &mut Commit, only_inputs: bool) {
        let Some(Merge { into_base, deltas, done: Some(run), is_adopted }) = &mut self.merge else { return };
        *is_adopted = true;
        let until = if only_inputs { deltas.end } else { commit.deltas.len() };
        let inputs = deltas.start.min(commit.deltas.len())..until.min(commit.deltas.len());
        if *into_base {
            commit.deltas.drain(inputs);
            commit.base = Some(run.clone());
        } else {
            commit.deltas.splice(inputs, Some(run.clone()).filter(|run| run.entries > 0));
        }
    }

    /// The commit that was being created is true.
    pub(super) fn committed(&mut self) {
        self.merge.take_if(|merge| merge.is_adopted);
    }
}

impl Protocol {
    /// Begins a merge if one is due.
    pub(super) fn merge(&mut self, actions: &mut Vec<Action>) {
        let Some(known) = self.log.newest() else { return };
        let commit = &known.commit;
        if self.keeping.merge.is_some() {
            return;
        }
        let heavy = commit.base_bytes().max(self.limits.smallest_base) as f64 * self.limits.base_threshold;
        let into_base = !commit.deltas.is_empty() && commit.delta_bytes() as f64 >= heavy;
        let deltas = match into_base {
            true => 0..commit.deltas.len(),
            false => match first_full_level(&commit.deltas, self.limits.fan_in) {
                Some(deltas) => deltas,
                None => return,
            },
        };
        let lies_lowest = into_base || deltas.start == 0 && commit.base.is_none();
        let without_gone = lies_lowest || !self.keeps(Rule::GoneIsKept);
        let base = commit.base.iter().filter(|_| into_base);
        let runs = base.chain(commit.deltas.get(deltas.clone()).unwrap_or_default()).cloned().collect();
        let (epoch, generation) = (self.log.next_epoch(), self.generation);
        actions.push(Action::Merge { runs, epoch, generation, without_gone });
        self.keeping.merge = Some(Merge { into_base, deltas, done: None, is_adopted: false });
    }

    /// It is tried again after the next commit. What is damaged or missing may be so because a newer life has collected
    /// it: the next commit finds that out, and otherwise ends the pipeline, since a restart would find the same.
    pub(super) fn merge_failed(&mut self, error: Error) {
        self.keeping.merge = None;
        if error.state() == SqlState::DataCorrupted {
            self.keeping.damage = Some(error.clone());
        }
        self.last_error = Some(error);
    }

    /// What a merge found damaged, once this life is known to be the newest.
    pub(super) fn stop_if_damaged(&mut self, actions: &mut Vec<Action>) {
        if let Some(error) = self.keeping.damage.take() {
            self.leave(Leave::Broken(error), actions);
        }
    }

    /// Has deleted what no commit names that is kept.
    pub(super) fn collect(&mut self, actions: &mut Vec<Action>) {
        let retained = if self.keeps(Rule::RetainedStay) { self.limits.retained } else { 0 };
        for epoch in self.log.superfluous(retained, self.keeps(Rule::NamedCommitsStay)) {
            self.keeping.condemned.push_back(names::commit(epoch));
            self.keeping.condemned.extend(self.log.forget(epoch));
        }
        self.delete_condemned(actions);
    }

    /// Files that older lives left behind. What this one writes no commit names yet is none of them.
    pub(super) fn files_listed(&mut self, names: Vec<String>, actions: &mut Vec<Action>) {
        let own_too = !self.keeps(Rule::OwnFilesAreNoStrays);
        let is_older = |name: &str| names::generation_of(name).is_some_and(|g| g < self.generation || own_too);
        for name in names {
            if is_older(&name) && !self.log.names(&name) && !self.keeping.condemned.contains(&name) {
                self.keeping.condemned.push_back(name);
            }
        }
        self.delete_condemned(actions);
    }

    /// What could not be deleted is tried again after the next commit; what was condemned meanwhile is not kept waiting.
    pub(super) fn collected(&mut self, files: usize, actions: &mut Vec<Action>) {
        let Keeping { condemned, under_way, .. } = &mut self.keeping;
        let was_asked = std::mem::take(under_way);
        condemned.drain(..files.min(was_asked));
        if files >= was_asked {
            self.delete_condemned(actions);
        }
    }

    fn delete_condemned(&mut self, actions: &mut Vec<Action>) {
        let Keeping { condemned, under_way, .. } = &mut self.keeping;
        if *under_way == 0 && !condemned.is_empty() {
            *under_way = condemned.len();
            actions.push(Action::Collect(condemned.iter().cloned().collect()));
        }
    }
}

/// The oldest `fan_in` runs of a level that has as many. Levels never rise from older to newer runs.
fn first_full_level(deltas: &[Run], fan_in: usize) -> Option<Range<usize>> {
    let mut start = 0;
    for level in deltas.chunk_by(|a, b| a.level == b.level) {
        if level.len() >= fan_in {
            return Some(start..start + fan_in);
        }
        start += level.len();
    }
    None
}
