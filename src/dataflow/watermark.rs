//! Watermarks of a source: one for each partition, their minimum over those that are not idle. Pure: it is told what was
//! read and what time it is.

use serde::{Deserialize, Serialize};

use crate::change::Watermark;
use crate::clock::Micros;

/// What the last look at a partition showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Rows came, or more is known to exist.
    Reading,
    /// Read to its present end.
    AtEnd,
    /// Bounded, and read to its last row.
    Finished,
}

/// How far a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionProgress {
    watermark: Watermark,
    progress: Progress,
    /// Since when it has been at its end.
    at_end_since: Micros,
    idle: bool,
}

/// The watermarks of a source's partitions.
///
/// Invariant: [`SourceWatermarks::combined`] never goes back.
#[derive(Debug, Clone)]
pub struct SourceWatermarks {
    partitions: Vec<PartitionProgress>,
    combined: Watermark,
    idle_timeout: Micros,
}

impl SourceWatermarks {
    /// `idle_timeout`: how long a partition may stay at its end before it no longer holds the others back.
    pub fn new(idle_timeout: Micros) -> Self {
        SourceWatermarks { partitions: Vec::new(), combined: Watermark::NONE, idle_timeout }
    }

    /// Partitions beyond those known so far join now, at the combined watermark.
    pub fn grow(&mut self, partitions: usize) {
        while self.partitions.len() < partitions {
            self.partitions.push(PartitionProgress {
                watermark: self.combined,
                progress: Progress::Reading,
                at_end_since: 0,
                idle: false,
            });
        }
    }

    /// Goes on from an earlier life: its combined watermark, and how far each partition was; one that is new joins now.
    pub fn resume(&mut self, combined: Watermark, partitions: impl Iterator<Item = Option<PartitionProgress>>) {
        self.combined = combined;
        self.partitions.clear();
        for known in partitions {
            self.grow(self.partitions.len() + 1);
            if let (Some(known), Some(partition)) = (known, self.partitions.last_mut()) {
                *partition = known;
            }
        }
    }

    /// How far a partition is.
    pub fn progress(&self, partition: usize) -> Option<&PartitionProgress> {
        self.partitions.get(partition)
    }

    /// What the cut at `now` found of a partition. One that returns from idleness starts at the combined watermark.
    pub fn observe(&mut self, partition: usize, progress: Progress, now: Micros) {
        let combined = self.combined;
        let Some(p) = self.partitions.get_mut(partition) else { return };
        match progress {
            Progress::Reading | Progress::Finished => {
                if p.idle && progress == Progress::Reading {
                    p.watermark = p.watermark.max(combined);
                }
                p.idle = false;
            }
            Progress::AtEnd => {
                if p.progress != Progress::AtEnd {
                    p.at_end_since = now;
                }
                p.idle = now.saturating_sub(p.at_end_since) >= self.idle_timeout;
            }
        }
        p.progress = progress;
    }

    /// The watermark in front of a partition's next row.
    pub fn of(&self, partition: usize) -> Watermark {
        self.partitions.get(partition).map_or(Watermark::NONE, |p| p.watermark)
    }

    /// Rows were read whose WATERMARK expression had the maximum `to`.
    pub fn advance(&mut self, partition: usize, to: Watermark) {
        if let Some(p) = self.partitions.get_mut(partition) {
            p.watermark = p.watermark.max(to);
        }
    }

    /// The source's watermark at this tick's end: the minimum over the active partitions; if none is active, the maximum
    /// of the idle ones (as in Flink: nothing holds it back any more); the end if all are finished.
    pub fn combine(&mut self) -> Watermark {
        let active = |p: &&PartitionProgress| !p.idle && p.progress != Progress::Finished;
        let reached = match self.partitions.iter().filter(active).map(|p| p.watermark).min() {
            Some(least) => least,
            None if self.partitions.is_empty() => Watermark::NONE,
            None if self.all_finished() => Watermark::END,
            None => self.partitions.iter().filter(|p| p.idle).map(|p| p.watermark).max().unwrap_or(Watermark::NONE),
        };
        self.combined = self.combined.max(reached);
        self.combined
    }

    pub fn combined(&self) -> Watermark {
        self.combined
    }

    pub fn all_finished(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.iter().all(|p| p.progress == Progress::Finished)
    }

    /// Whether no row will ever come of this partition again.
    pub fn is_finished(&self, partition: usize) -> bool {
        self.partitions.get(partition).is_some_and(|p| p.progress == Progress::Finished)
    }

    /// Whether every partition has been read to its present end.
    pub fn all_at_end(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.iter().all(|p| p.progress != Progress::Reading)
    }

    /// When the next partition becomes idle if nothing comes: a due timer makes a tick. `None` while it would not
    /// change the combined watermark for want of any.
    pub fn next_deadline(&self) -> Option<Micros> {
        let waiting = |p: &&PartitionProgress| p.progress == Progress::AtEnd && !p.idle;
        self.partitions.iter().filter(waiting).map(|p| p.at_end_since.saturating_add(self.idle_timeout)).min()
    }

    /// Whether a partition must wait so that partitions are read in step: it is more than `drift` ahead of one that
    /// still has something to read. Keeps a replay from holding the whole history in window state.
    pub fn must_wait(&self, partition: usize, drift: Micros) -> bool {
        let behind = self.partitions.iter().enumerate();
        let slowest =
            behind.filter(|(i, p)| *i != partition && p.progress == Progress::Reading).map(|(_, p)| p.watermark).min();
        slowest.is_some_and(|s| self.of(partition).0 > s.0.saturating_add(drift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(watermarks: &[i64]) -> SourceWatermarks {
        let mut s = SourceWatermarks::new(10);
        s.grow(watermarks.len());
        for (i, w) in watermarks.iter().enumerate() {
            s.observe(i, Progress::Reading, 0);
            s.advance(i, Watermark(*w));
        }
        s
    }

    #[test]
    fn the_slowest_active_partition_decides() {
        let mut s = source(&[50, 20, 70]);
        assert_eq!(s.combine(), Watermark(20));
        s.advance(1, Watermark(60));
        assert_eq!(s.combine(), Watermark(50));
    }

    #[test]
    fn an_empty_partition_holds_the_others_only_until_it_is_idle() {
        let mut s = source(&[50, 20]);
        s.grow(3);
        s.observe(2, Progress::AtEnd, 0);
        assert_eq!(s.combine(), Watermark::NONE, "not idle yet, and has no watermark");
        assert_eq!(s.next_deadline(), Some(10));
        s.observe(2, Progress::AtEnd, 9);
        assert_eq!(s.combine(), Watermark::NONE);
        s.observe(2, Progress::AtEnd, 10);
        assert_eq!(s.combine(), Watermark(20));
        assert_eq!(s.next_deadline(), None);
    }

    #[test]
    fn back_from_idleness_it_starts_at_the_combined_watermark() {
        let mut s = source(&[50, 20]);
        s.observe(1, Progress::AtEnd, 0);
        s.observe(1, Progress::AtEnd, 10);
        assert_eq!(s.combine(), Watermark(50));
        s.observe(1, Progress::Reading, 11);
        assert_eq!(s.of(1), Watermark(50));
        s.advance(1, Watermark(30));
        assert_eq!(s.combine(), Watermark(50), "never goes back");
    }

    #[test]
    fn all_idle_takes_the_maximum_and_all_finished_the_end() {
        let mut s = source(&[50, 20]);
        for p in 0..2 {
            s.observe(p, Progress::AtEnd, 0);
        }
        assert_eq!(s.combine(), Watermark(20));
        for p in 0..2 {
            s.observe(p, Progress::AtEnd, 10);
        }
        assert_eq!(s.combine(), Watermark(50));
        for p in 0..2 {
            s.observe(p, Progress::Finished, 11);
        }
        assert_eq!(s.combine(), Watermark::END);
    }

    #[test]
    fn a_finished_partition_holds_nobody() {
        let mut s = source(&[5, 20]);
        s.observe(0, Progress::Finished, 0);
        assert_eq!(s.combine(), Watermark(20));
    }

    #[test]
    fn partitions_are_read_in_step() {
        let mut s = source(&[100, 20]);
        assert!(s.must_wait(0, 50));
        assert!(!s.must_wait(0, 80));
        assert!(!s.must_wait(1, 50));
        s.observe(1, Progress::AtEnd, 0);
        assert!(!s.must_wait(0, 50), "one without anything to read holds nobody up");
    }

    #[test]
    fn who_joins_late_starts_at_the_combined_watermark() {
        let mut s = source(&[50]);
        s.combine();
        s.grow(2);
        assert_eq!(s.of(1), Watermark(50));
    }
}
