//! The condition on time, and what follows from it: how long a row is kept, which rows a row can meet, and how far the
//! watermark behind the join lags. All in microseconds.

use super::Side;
use crate::change::Watermark;

/// `l.t` in `[r.t + lower, r.t + upper]`.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    lower: i64,
    upper: i64,
    /// Width of the buckets of time in which rows are kept: half the range, so that a row meets three of them at most.
    bucket: i64,
}

impl Range {
    /// `unit`: the finer of the two times' units.
    pub fn new(lower: i64, upper: i64, unit: i64) -> Self {
        let width = upper.saturating_sub(lower).max(0);
        Range { lower, upper, bucket: (width / 2 + width % 2).max(unit).max(1) }
    }

    /// No pair of rows can match.
    pub fn is_empty(&self) -> bool {
        self.lower > self.upper
    }

    /// The times of the other side, both included, that a row of `side` at `time` can meet.
    pub fn partners(&self, side: Side, time: i64) -> (i64, i64) {
        match side {
            Side::Left => (time.saturating_sub(self.upper), time.saturating_sub(self.lower)),
            Side::Right => (time.saturating_add(self.lower), time.saturating_add(self.upper)),
        }
    }

    /// Whether a row of `side` at `time` is still kept at a watermark: a row that carries it may match.
    pub fn is_kept(&self, side: Side, time: i64, watermark: i64) -> bool {
        match Watermark(watermark) {
            Watermark::NONE => true,
            Watermark::END => false,
            Watermark(watermark) => watermark < self.partners(side, time).1,
        }
    }

    /// Rows of `side` up to this time are no longer kept at a watermark.
    pub fn past(&self, side: Side, watermark: Watermark) -> Option<i64> {
        match (watermark, side) {
            (Watermark::NONE, _) => None,
            (Watermark::END, _) => Some(i64::MAX),
            (Watermark(watermark), Side::Left) => Some(watermark.saturating_add(self.lower)),
            (Watermark(watermark), Side::Right) => Some(watermark.saturating_sub(self.upper)),
        }
    }

    /// Whether a row at `time` that carries `judge` can match nothing: even its last partner is past at that watermark.
    pub fn is_late(&self, time: i64, judge: i64) -> bool {
        judge != Watermark::NONE.0 && judge >= time.saturating_add(self.upper.saturating_sub(self.lower))
    }

    /// The watermark behind the join for a result whose event time is that of `side`.
    pub fn behind(&self, side: Side, watermark: Watermark) -> Watermark {
        match (watermark, side) {
            (Watermark::NONE | Watermark::END, _) => watermark,
            (Watermark(watermark), Side::Left) => Watermark(watermark.saturating_add(self.lower.min(0))),
            (Watermark(watermark), Side::Right) => Watermark(watermark.saturating_sub(self.upper.max(0))),
        }
    }

    /// The end of the bucket that holds `time`.
    pub fn bucket_end(&self, time: i64) -> i64 {
        let width = i128::from(self.bucket);
        let end = (i128::from(time).div_euclid(width) + 1) * width;
        i64::try_from(end).unwrap_or(i64::MAX)
    }

    /// The ends of the buckets that hold times from `first` to `last`.
    pub fn bucket_ends(&self, first: i64, last: i64) -> impl Iterator<Item = i64> {
        let (next, last) = (self.bucket_end(first), self.bucket_end(last));
        let width = self.bucket;
        std::iter::successors(Some(next), move |end| end.checked_add(width).or((*end < last).then_some(last)))
            .take_while(move |end| *end <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_meets_whom_and_for_how_long() {
        // l.t in [r.t - 5, r.t + 3]
        let range = Range::new(-5, 3, 1);
        assert_eq!(range.partners(Side::Left, 10), (7, 15));
        assert_eq!(range.partners(Side::Right, 10), (5, 13));
        assert!(range.is_kept(Side::Left, 10, 14) && !range.is_kept(Side::Left, 10, 15));
        assert!(range.is_kept(Side::Right, 10, 12) && !range.is_kept(Side::Right, 10, 13));
        assert_eq!(range.past(Side::Left, Watermark(15)), Some(10));
        assert_eq!(range.past(Side::Right, Watermark(13)), Some(10));
        assert!(range.is_late(10, 18) && !range.is_late(10, 17));
        assert_eq!(range.behind(Side::Left, Watermark(10)), Watermark(5));
        assert_eq!(range.behind(Side::Right, Watermark(10)), Watermark(7));
        assert_eq!(Range::new(2, 3, 1).behind(Side::Left, Watermark(10)), Watermark(10));
        assert_eq!(Range::new(-3, -2, 1).behind(Side::Right, Watermark(10)), Watermark(10));
        assert!(Range::new(1, 0, 1).is_empty());
    }

    #[test]
    fn buckets_cover_what_a_row_can_meet_and_are_few() {
        for (lower, upper) in [(0, 0), (-1, 0), (0, 3), (-5, 3), (-7, -7), (2, 13)] {
            let range = Range::new(lower, upper, 1);
            for time in -40..40 {
                let (first, last) = range.partners(Side::Left, time);
                let ends: Vec<i64> = range.bucket_ends(first, last).collect();
                assert!(ends.len() <= 3, "{ends:?}");
                assert!((first..=last).all(|t| ends.contains(&range.bucket_end(t)) && range.bucket_end(t) > t));
            }
        }
    }

    #[test]
    fn nothing_overflows() {
        for (lower, upper) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN), (-1, 1)] {
            let range = Range::new(lower, upper, 1);
            for side in Side::BOTH {
                for time in [i64::MIN, 0, i64::MAX] {
                    let (first, last) = range.partners(side, time);
                    assert!(range.bucket_ends(first, last).count() <= 4, "wider than time itself");
                    range.is_late(time, i64::MAX);
                }
                assert_eq!(range.behind(side, Watermark::NONE), Watermark::NONE);
                assert_eq!(range.behind(side, Watermark::END), Watermark::END);
                assert_eq!(range.past(side, Watermark::NONE), None);
                assert_eq!(range.past(side, Watermark::END), Some(i64::MAX));
            }
        }
    }
}
