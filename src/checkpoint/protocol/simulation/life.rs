//! A process: the protocol, the requests that it has under way, and a small pipeline, whose state after `n` inputs
//! anybody can compute, and which writes each input's number to both sinks.

use std::collections::{BTreeMap, VecDeque};

use super::super::{Action, Ended, Event, Image, Leave, Limits, Marker, Phase, Protocol, Rule, Written};
use super::world::{
    AT_LEAST_ONCE, Content, EXACTLY_ONCE, Entry, StoredCommit, World, change, digest, digest_of_numbers, state_after,
};
use super::{Chance, Flaw};
use crate::checkpoint::commit::{Commit, OutboxRef, Place, ProcessId, Run, Stored};
use crate::checkpoint::names::{self, FileKind};
use crate::connector::PartId;
use crate::error::{Error, SqlState};

/// What is asked of the store or a sink.
#[derive(Debug, Clone)]
pub enum Request {
    List,
    Read(Vec<u64>),
    Create(Box<StoredCommit>),
    LookBehind(u64),
    Pause,
    Write(Vec<(String, Content)>, Written),
    Merge {
        runs: Vec<Run>,
        epoch: u64,
        generation: u64,
        without_gone: bool,
    },
    Collect(Vec<String>),
    ListFiles,
    ReadMarker(&'static str),
    /// With the number of the question by which the sink was taken over.
    Deliver(&'static str, u64, PartId, Vec<u64>),
}

/// A request under way.
#[derive(Debug, Clone)]
pub struct Pending {
    pub request: Request,
    /// Steps of it that have taken effect.
    pub steps: usize,
    pub answer: Option<Event>,
    /// Of a question for a marker: its number.
    owner: u64,
}

/// An epoch that is being ended.
#[derive(Debug)]
struct Work {
    /// Read so far, in all.
    inputs: u64,
    files: Vec<(String, Content)>,
    written: Written,
    /// What the commit carries.
    within: Vec<Content>,
}

#[derive(Debug)]
pub struct Life {
    pub number: usize,
    pub protocol: Protocol,
    pub pending: Vec<Pending>,
    /// Not before that step of the run does it do anything.
    pub asleep_until: usize,
    pub left: Option<Leave>,
    /// The newest epoch and the inputs read when it was opened.
    pub opened: Option<(u64, u64)>,
    /// The newest epoch that it was told is true, and its inputs.
    pub acknowledged: Vec<(u64, u64)>,
    inputs: u64,
    dirty: BTreeMap<u8, Option<u64>>,
    records: Vec<u64>,
    /// The epoch that is being ended.
    work: Option<Work>,
    /// What it changes, and its records, until there is [`Work`].
    work_changes: (Vec<Entry>, Vec<u64>),
    /// Parts as they were written by this life.
    parts: BTreeMap<(String, PartId), Vec<u64>>,
    to_deliver: BTreeMap<&'static str, VecDeque<PartId>>,
    owns: BTreeMap<&'static str, u64>,
    carries: u64,
}

impl Life {
    pub fn new(number: usize, rule: Option<Rule>, chance: &mut Chance) -> Self {
        let limits = Limits {
            tolerable_failures: 0,
            retained: 2 + chance.below(2) as u32,
            base_threshold: 1.0,
            smallest_base: 3,
            fan_in: 2 + chance.below(2),
        };
        Life {
            number,
            protocol: Protocol::new(ProcessId(number as u128 + 1), limits).without(rule),
            pending: Vec::new(),
            asleep_until: 0,
            left: None,
            opened: None,
            acknowledged: Vec::new(),
            inputs: 0,
            dirty: BTreeMap::new(),
            records: Vec::new(),
            work: None,
            work_changes: Default::default(),
            parts: BTreeMap::new(),
            to_deliver: BTreeMap::new(),
            owns: BTreeMap::new(),
            carries: chance.next() % 101,
        }
    }

    /// Grows with whatever is to be checked.
    pub fn came_to(&self) -> usize {
        self.acknowledged.len() + usize::from(self.opened.is_some()) + usize::from(self.left.is_some())
    }

    pub fn is_open(&self) -> bool {
        matches!(self.protocol.phase, Phase::Open) && self.opened.is_some()
    }

    pub fn is_idle(&self) -> bool {
        self.is_open() && self.pending.is_empty()
    }

    /// Reads inputs, and ends an epoch.
    pub fn end_epoch(&mut self, inputs: u64, world: &mut World, chance: &mut Chance) {
        for input in self.inputs..self.inputs + inputs {
            let (key, value) = change(input);
            self.dirty.insert(key, value);
            self.records.push(input);
        }
        self.inputs += inputs;
        let (dirty, records) = (std::mem::take(&mut self.dirty), std::mem::take(&mut self.records));
        self.work_changes = (dirty.into_iter().collect(), records);
        self.tell(Event::End(Ended { fingerprint: String::new(), image: 8 }), world, chance);
    }

    pub fn tell(&mut self, event: Event, world: &mut World, chance: &mut Chance) {
        for action in self.protocol.on(event) {
            self.act(action, world, chance);
        }
        self.deliver_next();
    }

    fn ask(&mut self, request: Request) {
        self.pending.push(Pending { request, steps: 0, answer: None, owner: 0 });
    }

    fn act(&mut self, action: Action, world: &mut World, chance: &mut Chance) {
        match action {
            Action::List => self.ask(Request::List),
            Action::Read(epochs) => self.ask(Request::Read(epochs)),
            Action::LookBehind(epoch) => self.ask(Request::LookBehind(epoch)),
            Action::Pause(_) => self.ask(Request::Pause),
            Action::Create(commit, image) => self.create(*commit, image, world),
            Action::Write { epoch, generation } => {
                if self.work.is_none() {
                    self.prepare(epoch, generation, chance);
                }
                if let Some(work) = &self.work {
                    let request = Request::Write(work.files.clone(), work.written.clone());
                    self.ask(request);
                }
            }
            Action::Merge { runs, epoch, generation, without_gone } => {
                self.ask(Request::Merge { runs, epoch, generation, without_gone });
            }
            Action::Collect(files) => self.ask(Request::Collect(files)),
            Action::ListFiles => self.ask(Request::ListFiles),
            Action::ReadMarker(sink) => {
                let sink = known_sink(&sink);
                self.to_deliver.remove(sink);
                self.ask(Request::ReadMarker(sink));
            }
            Action::Deliver(sink, id) => self.to_deliver.entry(known_sink(&sink)).or_default().push_back(id),
            Action::Opened(commit) => self.open(commit, world),
            Action::Committed(epoch) => {
                if let Some(work) = self.work.take() {
                    self.acknowledged.push((epoch, work.inputs));
                }
            }
            Action::Leave(why) => self.left = Some(why),
        }
    }

    /// The files of an epoch: each by chance in the commit or not.
    fn prepare(&mut self, epoch: u64, generation: u64, chance: &mut Chance) {
        let (entries, records) = std::mem::take(&mut self.work_changes);
        let (mut files, mut within) = (Vec::new(), Vec::new());
        let carries = self.carries;
        let mut store = |kind, content: Content| {
            let (length, sha256) = (4, digest(&content));
            let at = if chance.percent(carries) {
                within.push(content);
                Place::Within(epoch, within.len() as u32 - 1)
            } else {
                let name = names::file(kind, generation, epoch, &sha256);
                files.push((name.clone(), content));
                Place::File(name)
            };
            Stored { at, length, sha256 }
        };
        let mut written = Written::default();
        if !entries.is_empty() {
            let count = entries.len() as u64;
            let mut stored = store(FileKind::Delta, Content::Run(entries));
            stored.length = count;
            written.delta = Some(Run { files: vec![stored], entries: count, level: 0 });
        }
        for sink in [EXACTLY_ONCE, AT_LEAST_ONCE] {
            let id = PartId { epoch, part: 0 };
            if !records.is_empty() {
                let stored = store(FileKind::Outbox, Content::Part(records.clone()));
                written.outbox.push(OutboxRef { sink: sink.to_string(), id, stored });
                self.parts.insert((sink.to_string(), id), records.clone());
            }
        }
        self.work = Some(Work { inputs: self.inputs, files, written, within });
    }

    fn create(&mut self, commit: Commit, image: Image, world: &World) {
        let (image, within) = match (image, &self.work) {
            (Image::OfThisEpoch, Some(work)) => (work.inputs, work.within.clone()),
            (Image::Of(epoch), _) => (world.commit(epoch).map_or(0, |c| c.image), Vec::new()),
            _ => return,
        };
        let numbers = [commit.epoch, commit.generation, commit.process.0 as u64, image];
        let previous = commit.previous.map_or(0, |digest| u64::from(digest.as_bytes()[0]) + 1);
        let digest = digest_of_numbers(numbers.into_iter().chain([previous]));
        self.ask(Request::Create(Box::new(StoredCommit { commit, digest, image, within, is_damaged: false })));
    }

    /// Restores state, and checks that it is what it was.
    fn open(&mut self, commit: Option<Box<Commit>>, world: &mut World) {
        let newest = self.protocol.newest().map_or(0, |known| known.commit.epoch);
        let Some(commit) = commit else {
            self.opened = Some((newest, 0));
            return;
        };
        let runs: Vec<Run> = commit.base.iter().chain(&commit.deltas).cloned().collect();
        let image = world.commit(commit.epoch).or_else(|| world.commit(newest)).map(|stored| stored.image);
        let (state, image) = match (world.merged(&runs), image) {
            (Ok(state), Some(image)) => (state, image),
            (Err(why), _) => {
                if !world.has_damage && world.newest().is_some_and(|c| c.commit.epoch == newest) {
                    world.violated(format!("commit {newest} cannot be restored: {why}"));
                }
                self.left = Some(Leave::Broken(Error::new(SqlState::DataCorrupted, why)));
                return;
            }
            (_, None) => {
                self.left = Some(Leave::Broken(Error::new(SqlState::DataCorrupted, "no image")));
                return;
            }
        };
        self.inputs = image;
        let state: BTreeMap<u8, u64> = state.into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
        if state != state_after(image) {
            let expected = state_after(image);
            world.violated(format!("commit {newest}: state {state:?} is not that after {image}: {expected:?}"));
        }
        self.opened = Some((newest, image));
        for part in &commit.outbox {
            match world.content(&part.stored) {
                Ok(Content::Part(records)) => {
                    self.parts.insert((part.sink.clone(), part.id), records);
                }
                _ => {
                    let why = "a part cannot be read";
                    if !world.has_damage && world.newest().is_some_and(|c| c.commit.epoch == newest) {
                        world.violated(why);
                    }
                    self.left = Some(Leave::Broken(Error::new(SqlState::DataCorrupted, why)));
                    self.opened = None;
                }
            }
        }
    }

    /// A sink has one part under way at a time.
    fn deliver_next(&mut self) {
        for (sink, waiting) in &mut self.to_deliver {
            let is_busy = |pending: &Pending| matches!(pending.request, Request::Deliver(s, ..) if s == *sink);
            if self.pending.iter().any(is_busy) {
                continue;
            }
            if let Some(id) = waiting.pop_front() {
                let records = self.parts.get(&(sink.to_string(), id)).cloned().unwrap_or_default();
                let request = Request::Deliver(sink, self.owns.get(sink).copied().unwrap_or(0), id, records);
                self.pending.push(Pending { request, steps: 0, answer: None, owner: 0 });
            }
        }
    }

    /// Tells what came of a request that is over; `None`: it failed, or its answer is lost.
    pub fn finish(&mut self, pending: Pending, answer: Option<Event>, world: &mut World, chance: &mut Chance) {
        let lost = || Error::new(SqlState::IoError, "lost");
        if let (Some(Event::Marker(..)), Request::ReadMarker(sink)) = (&answer, &pending.request) {
            self.owns.insert(sink, pending.owner);
        }
        let event = match (answer, &pending.request) {
            (Some(answer), _) => answer,
            (None, Request::Pause) => Event::Resumed,
            (None, Request::Merge { .. }) => Event::MergeFailed(lost()),
            (None, Request::Collect(_)) => Event::Collected(0),
            (None, Request::ListFiles) => Event::FilesListed(Vec::new()),
            (None, Request::Deliver(sink, ..)) => Event::Undelivered(sink.to_string()),
            (None, Request::ReadMarker(_)) => {
                self.ask(pending.request);
                return;
            }
            (None, _) => Event::Failed(lost()),
        };
        if self.left.is_none() {
            self.tell(event, world, chance);
        }
    }
}

impl Pending {
    /// Lets the next step of it take effect.
    pub fn step(&mut self, world: &mut World) {
        self.steps += 1;
        let step = self.steps;
        self.answer = match &self.request {
            Request::Pause => Some(Event::Resumed),
            Request::List => Some(Event::Listed(world.epochs())),
            Request::Read(epochs) => Some(Event::Read(epochs.iter().map(|e| (*e, world.read(*e))).collect())),
            Request::LookBehind(epoch) => {
                Some(Event::Newer(world.newest().is_some_and(|newest| newest.commit.epoch > *epoch)))
            }
            Request::Create(stored) => Some(match world.create(StoredCommit::clone(stored)) {
                true => Event::Created(stored.digest),
                false => Event::Exists,
            }),
            Request::Write(files, written) => {
                if let Some((name, content)) = files.get(step - 1) {
                    world.files.insert(name.clone(), content.clone());
                }
                (step >= files.len()).then(|| Event::Written(written.clone()))
            }
            Request::Merge { runs, epoch, generation, without_gone } => {
                Some(merge(world, runs, (*epoch, *generation), *without_gone))
            }
            Request::Collect(files) => {
                if let Some(name) = files.get(step - 1) {
                    world.delete(name);
                }
                (step >= files.len()).then_some(Event::Collected(files.len()))
            }
            Request::ListFiles => Some(Event::FilesListed(world.files.keys().cloned().collect())),
            Request::ReadMarker(sink) => {
                let state = world.sinks.entry(sink).or_default();
                state.owner += 1;
                self.owner = state.owner;
                let marker = state.marker;
                let kept = if *sink == EXACTLY_ONCE { Marker::At(marker) } else { Marker::NotKept };
                Some(Event::Marker(sink.to_string(), kept))
            }
            Request::Deliver(sink, owner, id, records) => Some(deliver(world, *owner, sink, *id, records)),
        };
    }

    /// Whether files that were said to be written are still to come.
    pub fn is_answered_too_early(&self, world: &World) -> bool {
        world.flaw == Some(Flaw::CommitBeforeItsFiles) && matches!(self.request, Request::Write(..)) && self.steps == 0
    }
}

fn merge(world: &mut World, runs: &[Run], (epoch, generation): (u64, u64), without_gone: bool) -> Event {
    let merged = match world.merged(runs) {
        Ok(merged) => merged,
        Err(why) => return Event::MergeFailed(Error::new(SqlState::DataCorrupted, why)),
    };
    let entries: Vec<Entry> = merged.into_iter().filter(|(_, value)| value.is_some() || !without_gone).collect();
    let level = runs.iter().map(|run| run.level).max().unwrap_or(0) + 1;
    let count = entries.len() as u64;
    if count == 0 {
        return Event::Merged(Run { files: Vec::new(), entries: 0, level });
    }
    let content = Content::Run(entries);
    let sha256 = digest(&content);
    let name = names::file(FileKind::Merged, generation, epoch, &sha256);
    world.files.insert(name.clone(), content);
    let files = vec![Stored { at: Place::File(name), length: count, sha256 }];
    Event::Merged(Run { files, entries: count, level })
}

/// Data and marker in one step, by the owner only; or data alone, by anybody.
fn deliver(world: &mut World, owner: u64, sink: &str, id: PartId, records: &[u64]) -> Event {
    let Some(state) = world.sinks.get_mut(sink) else { return Event::Undelivered(sink.to_string()) };
    if sink == EXACTLY_ONCE {
        if state.owner != owner {
            return Event::Undelivered(sink.to_string());
        }
        state.marker = Some(id);
    }
    state.records.extend(records);
    Event::Delivered(sink.to_string(), id)
}

fn known_sink(name: &str) -> &'static str {
    if name == EXACTLY_ONCE { EXACTLY_ONCE } else { AT_LEAST_ONCE }
}
