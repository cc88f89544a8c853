//! Joins.

use datafusion::logical_expr::Join;

use super::{Lowering, Rows};
use crate::error::{Error, Result};

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Rows> {
        match self.interval_join(join)? {
            Some(rows) => Ok(rows),
            None => Err(Error::unsupported(
                "a join without bounds on the inputs' event times is not supported yet",
                "Bound their distance at both ends, as in l.ts BETWEEN r.ts - INTERVAL '5' SECOND AND r.ts + INTERVAL \
                 '1' MINUTE, or join equal windows: otherwise state would grow without end.",
            )),
        }
    }
}
