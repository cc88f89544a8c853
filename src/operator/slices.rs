//! Slices of event time: the pieces that windows are made of. Rows are aggregated once, in their slice; a window's answer
//! merges the slices it consists of. A tumbling window is one slice.

use crate::error::{Error, Result, SqlState};
use crate::plan::WindowSpec;

/// Slices `[end - size, end)`, in microseconds; every slice's end is a multiple of the size, moved by the offset.
#[derive(Debug, Clone, Copy)]
pub struct Slices {
    size: i64,
    offset: i64,
}

impl Slices {
    /// # Errors
    /// `22023` for a window that has no length.
    pub fn new(window: &WindowSpec) -> Result<Self> {
        let WindowSpec::Tumble { size, offset } = *window;
        if size <= 0 {
            return Err(Error::new(SqlState::InvalidParameterValue, "a window's size must be greater than zero"));
        }
        Ok(Slices { size, offset: offset.rem_euclid(size) })
    }

    pub fn size(&self) -> i64 {
        self.size
    }

    /// The end of each time's slice.
    ///
    /// # Errors
    /// `22008` for a time so far out that its window is not.
    pub fn ends(&self, times: &[i64], ends: &mut Vec<i64>) -> Result<()> {
        ends.clear();
        ends.reserve(times.len());
        // Times come nearly in order: most fall into the slice of the one before.
        let (mut start, mut end) = (0, 0);
        for time in times {
            if *time < start || *time >= end {
                end = self.end(*time).ok_or_else(out_of_range)?;
                start = end - self.size;
            }
            ends.push(end);
        }
        Ok(())
    }

    fn end(&self, time: i64) -> Option<i64> {
        let into = time.checked_sub(self.offset)?.rem_euclid(self.size);
        let end = time.checked_sub(into)?.checked_add(self.size)?;
        // Every instant of the slice is a time.
        end.checked_sub(self.size).map(|_| end)
    }
}

fn out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range for its window")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_around_zero_offsets_and_extremes() {
        let ends = |size, offset, times: &[i64]| {
            let mut ends = Vec::new();
            Slices::new(&WindowSpec::Tumble { size, offset }).and_then(|s| s.ends(times, &mut ends)).map(|()| ends)
        };
        assert_eq!(ends(10, 0, &[0, 9, 10, -1, -10, -11]).unwrap(), [10, 10, 20, 0, 0, -10]);
        assert_eq!(ends(10, 3, &[0, 2, 3, 12, 13, -7, -8]).unwrap(), [3, 3, 13, 13, 23, 3, -7]);
        assert_eq!(ends(10, -7, &[0, 2, 3]).unwrap(), [3, 3, 13], "an offset is one modulo the size");
        assert_eq!(ends(10, 13, &[2, 3]).unwrap(), [3, 13]);
        assert_eq!(ends(10, 0, &[i64::MAX]).unwrap_err().state().code(), "22008");
        assert_eq!(ends(10, 0, &[i64::MIN]).unwrap_err().state().code(), "22008");
        assert_eq!(ends(0, 0, &[1]).unwrap_err().state().code(), "22023");
    }
}
