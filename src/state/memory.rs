//! Nothing beneath: the table in memory is everything.

use std::task::Poll;

use super::backend::{Backend, EachEntry, EachFound, Page};
use crate::change::key::Keys;
use crate::error::Result;

pub(super) struct Memory;

impl Backend for Memory {
    fn is_empty(&self) -> bool {
        true
    }

    fn get(&mut self, _: &Keys, _: &mut EachFound<'_>) -> Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }

    fn next_time(&mut self, _: Option<i64>) -> Result<Poll<Option<i64>>> {
        Ok(Poll::Ready(None))
    }

    fn scan_time(&mut self, _: i64, _: &[u8], _: usize, _: &mut EachEntry<'_>) -> Result<Poll<Page>> {
        Ok(Poll::Ready(Page::Last))
    }

    fn write(&mut self, _: &[u8], _: Option<&[u8]>) -> Result<()> {
        Ok(())
    }

    fn is_written(&self) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        0
    }
}
