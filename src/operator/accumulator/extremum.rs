//! MIN and MAX where nothing is ever retracted: the best value so far.

use std::cmp::Ordering;

use arrow::array::ArrayRef;

use super::Input;
use super::column::Kind;
use super::domain::Domain;
use crate::change::bytes::Reader;
use crate::error::{Error, Result};

pub struct Extremum<D> {
    pub domain: D,
    pub max: bool,
}

impl<D: Domain> Extremum<D> {
    #[inline]
    fn offer(&self, best: &mut Option<D::Value>, value: D::Ref<'_>) {
        let worse = if self.max { Ordering::Less } else { Ordering::Greater };
        let better = best.as_ref().is_none_or(|best| D::compare(best, value) == worse);
        if better {
            *best = Some(D::keep(value));
        }
    }
}

impl<D: Domain> Kind for Extremum<D> {
    type Cell = Option<D::Value>;
    type View<'a> = D::View<'a>;
    const OWNS_HEAP: bool = true;

    fn view<'a>(&self, input: &Input<'a>) -> Result<D::View<'a>> {
        self.domain.view(input.argument()?)
    }

    #[inline]
    fn add(&self, cell: &mut Self::Cell, view: &D::View<'_>, row: usize, weight: i64) -> Result<()> {
        if weight < 0 {
            return Err(Error::internal("a row was retracted from an append-only input"));
        }
        if let Some(value) = D::get(view, row) {
            self.offer(cell, value);
        }
        Ok(())
    }

    fn merge(&self, cell: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        if let Some(value) = other {
            self.offer(cell, D::lend(value));
        }
        Ok(())
    }

    fn unmerge(&self, _: &mut Self::Cell, _: &Self::Cell) -> Result<()> {
        Err(Error::internal("the best value so far cannot be taken out"))
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a Self::Cell>) -> Result<ArrayRef> {
        self.domain.column(cells.map(Option::as_ref))
    }

    fn encode(&self, cell: &Self::Cell, out: &mut Vec<u8>) {
        out.push(u8::from(cell.is_some()));
        if let Some(value) = cell {
            D::encode(value, out);
        }
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<Self::Cell> {
        Ok(if reader.byte()? == 0 { None } else { Some(D::decode(reader)?) })
    }

    fn heap_bytes(&self, cell: &Self::Cell) -> usize {
        cell.as_ref().map_or(0, D::heap_bytes)
    }
}
