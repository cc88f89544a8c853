//! Ranks within a partition: what a change of some rows does to the ranks of all, in one walk over them in order.
//!
//! A walk has two sides, before and after the change, each of which counts on its own. It ends where no row behind can be
//! within the ranks that are kept, on either side.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use arrow::datatypes::SchemaRef;

use super::aggregate::retracted_too_often;
use crate::change::key::OrderCodec;
use crate::error::{Error, Result};
use crate::plan::{RankFunction, Ranks, SortColumn};

/// One side of a walk.
#[derive(Default)]
struct Side<'a> {
    /// Rows passed.
    rows: i64,
    /// The rank of the peers passed last; groups of peers passed, for a dense rank.
    rank: i64,
    peers: Option<&'a [u8]>,
}

/// The ranks of a row that is there several times. A row number goes on from `rank`; other ranks are `rank` each time.
struct Place {
    rank: i64,
    count: i64,
}

impl<'a> Side<'a> {
    fn rank_of(&self, function: RankFunction, order: &[u8]) -> i64 {
        match function {
            RankFunction::RowNumber => self.rows + 1,
            _ if self.peers == Some(order) => self.rank,
            RankFunction::Rank => self.rows + 1,
            RankFunction::DenseRank => self.rank + 1,
        }
    }

    /// Passes a row whose sort key is `order`.
    fn pass(&mut self, function: RankFunction, order: &'a [u8], count: i64) -> Place {
        let rank = self.rank_of(function, order);
        if count > 0 {
            self.rank = rank;
            self.rows = self.rows.saturating_add(count);
            self.peers = Some(order);
        }
        Place { rank, count }
    }
}

/// What is emitted of a row: its bytes, its rank (zero if ranks are not asked for) and a weight.
pub type Emit<'e> = &'e mut dyn FnMut(&[u8], i64, i64);

/// Ranks of rows, each of which is its sort key and then its columns.
pub struct Ranking {
    pub ranks: Ranks,
    /// Whether the rank is part of the answer.
    pub ranked: bool,
    pub order: OrderCodec,
}

impl Ranking {
    /// `order`: columns of `input`.
    pub fn new(ranks: Ranks, ranked: bool, order: &[SortColumn], input: &SchemaRef) -> Result<Self> {
        let ordered = order.iter().map(|sort| {
            let field = input.fields().get(sort.column).ok_or_else(no_such_column)?;
            Ok((field.data_type(), sort.direction))
        });
        Ok(Ranking { ranks, ranked, order: OrderCodec::new(ordered.collect::<Result<Vec<_>>>()?)? })
    }

    /// The net change of the answer when `changes` come to the rows `before`; both are in order, with their weights.
    pub fn changes<'a>(
        &self,
        before: impl Iterator<Item = (&'a [u8], i64)>,
        changes: impl Iterator<Item = (&'a [u8], i64)>,
        emit: Emit<'_>,
    ) -> Result<()> {
        let (mut before, mut changes) = (before.peekable(), changes.peekable());
        let (mut old, mut new) = (Side::default(), Side::default());
        loop {
            let order = match (before.peek(), changes.peek()) {
                (Some((kept, _)), Some((changed, _))) => kept.cmp(changed),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Ok(()),
            };
            let kept = if order.is_le() { before.next() } else { None };
            let changed = if order.is_ge() { changes.next() } else { None };
            let Some((row, _)) = kept.or(changed) else { return Ok(()) };
            let was = kept.map_or(0, |(_, weight)| weight);
            let is = was.saturating_add(changed.map_or(0, |(_, weight)| weight));
            if is < 0 {
                return Err(retracted_too_often());
            }
            let (order, _) = self.order.split(row);
            if self.is_beyond(&old, order) && self.is_beyond(&new, order) {
                return Ok(());
            }
            let function = self.ranks.function;
            let (was, is) = (old.pass(function, order, was), new.pass(function, order, is));
            self.difference(row, &was, &is, emit);
        }
    }

    /// How many of these distinct rows have a rank that is not beyond those kept.
    pub fn within<'a>(&self, rows: impl Iterator<Item = (&'a [u8], i64)>) -> usize {
        let mut side = Side::default();
        let passes = |(row, weight): &(&'a [u8], i64)| {
            let (order, _) = self.order.split(row);
            let beyond = self.is_beyond(&side, order);
            side.pass(self.ranks.function, order, *weight);
            !beyond
        };
        rows.take_while(passes).count()
    }

    fn is_beyond(&self, side: &Side<'_>, order: &[u8]) -> bool {
        side.rank_of(self.ranks.function, order) > self.ranks.last
    }

    fn difference(&self, row: &[u8], was: &Place, is: &Place, emit: Emit<'_>) {
        let (old, new) = (self.kept(was), self.kept(is));
        match (self.ranked, self.ranks.function) {
            (false, _) => {
                if self.count(was) != self.count(is) {
                    emit(row, 0, self.count(is) - self.count(was));
                }
            }
            (true, RankFunction::RowNumber) => {
                old.clone().filter(|rank| !new.contains(rank)).for_each(|rank| emit(row, rank, -1));
                new.filter(|rank| !old.contains(rank)).for_each(|rank| emit(row, rank, 1));
            }
            (true, _) if was.rank == is.rank => {
                if self.count(was) != self.count(is) {
                    emit(row, is.rank, self.count(is) - self.count(was));
                }
            }
            (true, _) => {
                if self.count(was) > 0 {
                    emit(row, was.rank, -self.count(was));
                }
                if self.count(is) > 0 {
                    emit(row, is.rank, self.count(is));
                }
            }
        }
    }

    /// The row numbers of a place that are kept.
    fn kept(&self, place: &Place) -> RangeInclusive<i64> {
        let last = place.rank.saturating_add(place.count - 1);
        place.rank.max(self.ranks.first)..=last.min(self.ranks.last)
    }

    /// How often a row at a place is in the answer.
    fn count(&self, place: &Place) -> i64 {
        match self.ranks.function {
            RankFunction::RowNumber => {
                let kept = self.kept(place);
                (kept.end() - kept.start()).saturating_add(1).max(0)
            }
            _ if (self.ranks.first..=self.ranks.last).contains(&place.rank) => place.count,
            _ => 0,
        }
    }
}

pub(super) fn no_such_column() -> Error {
    Error::internal("no such column to rank rows by")
}
