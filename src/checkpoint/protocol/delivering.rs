//! Which parts a sink is to be handed, and which it has.

use std::collections::BTreeMap;

use super::vocabulary::{Action, Leave, Marker};
use super::{Protocol, Rule};
use crate::connector::PartId;
use crate::error::{Error, SqlState};

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// For each sink the last part that it has, as it said in this life.
    delivered: BTreeMap<String, PartId>,
    sinks: BTreeMap<String, SinkState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SinkState {
    /// Its marker is being read.
    Asked,
    /// It is handed parts; the last one that was.
    Ready(Option<PartId>),
}

impl Deliveries {
    /// The sink has `id` and all before it.
    pub(super) fn delivered(&mut self, sink: String, id: PartId) {
        let last = self.delivered.entry(sink).or_insert(id);
        *last = id.max(*last);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (String, PartId)> {
        self.delivered.iter().map(|(sink, id)| (sink.clone(), *id))
    }
}

impl Protocol {
    /// Asks all sinks that the newest commit knows for their markers, once.
    pub(super) fn ask_sinks(&mut self, actions: &mut Vec<Action>) {
        let Some(known) = self.log.newest() else { return };
        let commit = &known.commit;
        for sink in commit.delivered.keys().chain(commit.outbox.iter().map(|part| &part.sink)) {
            if !self.deliveries.sinks.contains_key(sink) {
                self.deliveries.sinks.insert(sink.clone(), SinkState::Asked);
                actions.push(Action::ReadMarker(sink.clone()));
            }
        }
    }

    /// What the sink says that it has. It cannot have more than was ever true, nor less than it once said.
    pub(super) fn marker(&mut self, sink: String, marker: Marker, actions: &mut Vec<Action>) {
        let Some(known) = self.log.newest() else { return };
        let commit = &known.commit;
        let known = commit.delivered.get(&sink).copied();
        let noted = known.max(self.deliveries.delivered.get(&sink).copied());
        if let Marker::At(at) = marker {
            let ids = commit.outbox.iter().filter(|part| part.sink == sink).map(|part| part.id);
            if at > ids.max().max(known) || at < known {
                return self.leave(Leave::Broken(strange_marker(&sink, at, known)), actions);
            }
        }
        let has = match marker {
            Marker::At(at) if self.keeps(Rule::MarkerCounts) => at,
            _ => noted,
        };
        if let Some(has) = has {
            self.deliveries.delivered(sink.clone(), has);
        }
        self.deliveries.sinks.insert(sink, SinkState::Ready(has));
        self.hand_out(actions);
    }

    /// What was handed to the sink since its marker was read may be there or not.
    pub(super) fn undelivered(&mut self, sink: String, actions: &mut Vec<Action>) {
        self.deliveries.sinks.insert(sink.clone(), SinkState::Asked);
        actions.push(Action::ReadMarker(sink));
    }

    /// Hands the parts of true epochs to sinks that are ready.
    pub(super) fn hand_out(&mut self, actions: &mut Vec<Action>) {
        let Some(known) = self.log.newest() else { return };
        for part in &known.commit.outbox {
            if let Some(SinkState::Ready(last)) = self.deliveries.sinks.get_mut(&part.sink)
                && last.is_none_or(|last| last < part.id)
            {
                *last = Some(part.id);
                actions.push(Action::Deliver(part.sink.clone(), part.id));
            }
        }
    }
}

fn strange_marker(sink: &str, at: Option<PartId>, known: Option<PartId>) -> Error {
    let shown = |id: Option<PartId>| match id {
        Some(PartId { epoch, part }) => format!("part {part} of epoch {epoch}"),
        None => "nothing".to_string(),
    };
    let message = format!("sink \"{sink}\" does not have what it was delivered");
    Error::new(SqlState::DataCorrupted, message)
        .with_detail(format!("By its delivery marker it has {}; by the commit log it had {}.", shown(at), shown(known)))
        .with_hint(
            "The sink's marker or the data directory was replaced by another one; going on would lose or repeat rows.",
        )
}
