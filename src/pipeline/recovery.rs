//! A core taken down between two ticks, and gone on with as another: in another process, or at another parallelism.
//!
//! Down: [`Core::freeze`] freezes all state by a swap and takes the image; [`Core::drain_frozen`] hands the frozen entries
//! out, a bounded piece at a time, between any later ticks.
//!
//! Up: [`Core::resumed`] begins with an image; every member is added as if it were new, in the catalog's order; entries are
//! put back by [`Core::restore`]; [`Core::begin`] opens what is read, at the image's positions, and ticks go on. A member that
//! the image does not have begins anew, from its start positions; what an image has beyond is forgotten.
//!
//! An image has only members that have had a tick and have not failed: what a failing tick left behind is no state. A
//! subscription ends with its reader.

use std::sync::Arc;

use crate::catalog::{ObjectId, Starts};
use crate::error::{Error, Result};

use super::core::{Core, ReadingId};
use super::delivery::Delivery;
use super::image::{CoreImage, Life, ReadingImage};
use super::member::{Member, NewPlan, Origin};
use super::reading::{CutPolicy, OpenReading, Reading, Wanted, needs};
use super::subscribe::is_subscription;

/// What was frozen is on its way out.
#[derive(Default)]
pub(super) struct Draining {
    /// Members that were removed meanwhile.
    pub gone: Vec<Member>,
}

/// An image that is being gone on from.
pub(super) struct Restoring {
    image: CoreImage,
    /// Members that begin anew, and where.
    anew: Vec<(ObjectId, Starts)>,
    /// The place of the member that the last entry was put into.
    last: usize,
}

/// Is told a member's life, a state key and its value; none: it was deleted.
pub type EachStateChange<'a> = dyn FnMut(Life, &[u8], Option<&[u8]>) -> Result<()> + 'a;

impl Core {
    /// Freezes all state as it is now, between two ticks, and takes the image that belongs to it.
    ///
    /// # Errors
    /// If not all that was frozen last has been drained, or a tick is not over.
    pub fn freeze(&mut self) -> Result<CoreImage> {
        if self.is_in_tick() || self.restoring.is_some() || self.draining.is_some() {
            return Err(Error::internal("a pipeline was frozen at the wrong time"));
        }
        self.draining = Some(Draining::default());
        let mut members = Vec::new();
        for member in self.members.iter_mut().filter(|member| is_durable(member)) {
            member.freeze()?;
            members.push(member.image());
        }
        let feeds = |id: ReadingId| {
            let mut feeds = members.iter().flat_map(|member| &member.feeds);
            feeds.any(|feed| feed.from == Origin::Reading(id))
        };
        let readings =
            self.readings.iter().filter(|(id, _)| feeds(*id)).map(|(id, reading)| reading.image(*id)).collect();
        Ok(CoreImage::new(self.tick, self.lives, readings, members))
    }

    /// Hands out frozen entries until about `limit_bytes` are out, in no particular order; between two ticks. True when all
    /// are out.
    pub fn drain_frozen(&mut self, limit_bytes: usize, each: &mut EachStateChange<'_>) -> Result<bool> {
        let Some(draining) = &mut self.draining else { return Ok(true) };
        let (mut left, mut all) = (limit_bytes, true);
        for member in draining.gone.iter_mut().chain(&mut self.members) {
            let (life, limit) = (member.life, left);
            all &= member.drain_frozen(limit, &mut |key, value| {
                left = left.saturating_sub(key.len() + value.map_or(0, <[u8]>::len));
                each(life, key, value)
            })?;
        }
        if all {
            self.draining = None;
        }
        Ok(all)
    }

    /// Resolves when the dead letters met so far are delivered; false: they never will be, and whoever reads their source fails.
    /// Nobody reads those messages again behind an image taken now, so it is not to be durable before.
    pub fn letters_delivered(&self) -> impl Future<Output = bool> + Send + use<> {
        let marked = |letters: Arc<Delivery>| (letters.outbox.mark(), letters);
        let waiting: Vec<(u64, Arc<Delivery>)> =
            self.readings().filter_map(Reading::pending_letters).map(marked).collect();
        async move {
            let mut all = true;
            for (mark, letters) in waiting {
                all &= letters.outbox.delivered_upto(mark).await;
            }
            all
        }
    }

    /// A core that will go on where `image` was taken, once all members are there and [`Core::begin`] is called.
    pub fn resumed(image: CoreImage, policy: CutPolicy, open: OpenReading) -> Self {
        let mut core = Core::new(policy, open);
        core.tick = image.tick;
        core.lives = image.lives;
        core.last_reading = image.readings.iter().map(|reading| reading.id).max().unwrap_or_default();
        core.restoring = Some(Restoring { image, anew: Vec::new(), last: 0 });
        core
    }

    /// Whether it does not tick yet: there are members and entries to come.
    pub fn is_restoring(&self) -> bool {
        self.restoring.is_some()
    }

    /// Adds a member that goes on if the image has it, and begins anew if not.
    pub(super) fn add_restored(&mut self, new: NewPlan) -> Result<()> {
        let Some(restoring) = &mut self.restoring else { return Err(Error::internal("nothing is being restored")) };
        match restoring.image.member(new.id).cloned() {
            Some(image) => {
                let mut member = self.member(new, image.life);
                member.resume(&image, self.tick)?;
                self.members.push(member);
            }
            None => {
                restoring.anew.push((new.id, new.starts.clone()));
                let life = self.new_life();
                let member = self.member(new, life);
                self.members.push(member);
            }
        }
        Ok(())
    }

    /// Puts an entry in place that was handed out under this life. Of a life that no member has it is forgotten.
    ///
    /// # Errors
    /// If it can be none of the member's.
    pub fn restore(&mut self, life: Life, state_key: &[u8], value: &[u8]) -> Result<()> {
        let last = self.restoring.as_ref().map_or(0, |restoring| restoring.last);
        let is_meant = |member: &Member| member.life == life;
        let at = match self.members.get(last) {
            Some(member) if is_meant(member) => Some(last),
            _ => self.members.iter().position(is_meant),
        };
        let Some(at) = at else { return Ok(()) };
        if let Some(restoring) = &mut self.restoring {
            restoring.last = at;
        }
        self.members.get_mut(at).map_or(Ok(()), |member| member.restore(state_key, value))
    }

    /// All members and entries are there: opens what is read, and ticks from here on. A source that cannot be opened fails
    /// whoever reads it.
    pub fn begin(&mut self) {
        let Some(Restoring { image, anew, .. }) = self.restoring.take() else { return };
        for reading in &image.readings {
            match self.reopen(reading) {
                Ok(Some(opened)) => {
                    self.members.iter_mut().for_each(|m| m.read_from(reading.id, reading.id, opened.columns()));
                    self.readings.push((reading.id, opened));
                }
                Ok(None) => {}
                Err(error) => self.fail_readers(reading.id, &error),
            }
        }
        for (id, starts) in anew {
            let Some(at) = self.members.iter().position(|member| member.id == id) else { continue };
            let mut member = self.members.remove(at);
            if let Err(error) = self.attach(&mut member, &starts) {
                member.failed = Some(error);
            }
            self.members.insert(at, member);
        }
        self.members.iter_mut().filter(|member| member.begun).for_each(Member::look);
        self.drop_unread();
        self.due = true;
    }

    /// Opens a reading where its image was taken, for all whom it feeds; none if there is nobody any more.
    fn reopen(&self, image: &ReadingImage) -> Result<Option<Reading>> {
        let fed = self.members.iter().filter(|member| member.feeds.iter().any(|feed| feed.reads(image.id)));
        let (columns, watermark) = needs(&image.source, fed.clone().map(|member| member.fragment.plan().as_ref()));
        if fed.count() == 0 {
            return Ok(None);
        }
        let mut reading =
            self.open(&image.source, Wanted { columns, watermark, positions: image.positions.clone() })?;
        reading.resume(image);
        Ok(Some(reading))
    }
}

/// Whether a member is part of images.
pub(super) fn is_durable(member: &Member) -> bool {
    member.begun && member.failed.is_none() && !is_subscription(member.id)
}
