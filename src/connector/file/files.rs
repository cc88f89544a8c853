//! One file after the other: those of a listing in name order, bounded or watched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::listing::Listing;
use crate::error::{Error, Result, SqlState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is there at the start, then the end.
    Bounded,
    /// New files and appended lines too, looked for this often.
    Watch(Duration),
}

#[derive(Debug)]
pub struct Files {
    listing: Listing,
    mode: Mode,
    /// The file to begin with, until it is found.
    first: Option<Arc<str>>,
    /// The file last given; those before it in name order are done.
    newest: Option<Arc<str>>,
    /// Files after it, as of the last listing.
    ahead: VecDeque<Arc<str>>,
    listed: bool,
}

impl Files {
    /// `first`: the file to begin with, if it is not the first that there is.
    pub fn new(listing: Listing, mode: Mode, first: Option<Arc<str>>) -> Self {
        Files { listing, mode, first, newest: None, ahead: VecDeque::new(), listed: false }
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether there is a file after the one last given. Bounded, the files are listed once.
    ///
    /// # Errors
    /// See [`Listing::files`]; and if the file to begin with is gone.
    pub fn look_ahead(&mut self) -> Result<bool> {
        if self.ahead.is_empty() && (self.mode != Mode::Bounded || !self.listed) {
            let from = self.first.as_ref();
            let newest = self.newest.as_ref();
            let mut files = self.listing.files()?;
            files.retain(|file| from.is_none_or(|from| file >= from) && newest.is_none_or(|newest| file > newest));
            if let Some(from) = from
                && files.first() != Some(from)
            {
                return Err(gone(from));
            }
            self.first = None;
            self.ahead = files.into();
            self.listed = true;
        }
        Ok(!self.ahead.is_empty())
    }

    /// The next file, if there is one.
    ///
    /// # Errors
    /// As [`Files::look_ahead`].
    pub fn take_next(&mut self) -> Result<Option<Arc<str>>> {
        self.look_ahead()?;
        let next = self.ahead.pop_front();
        if next.is_some() {
            self.newest.clone_from(&next);
        }
        Ok(next)
    }
}

/// The error for a file that must be read on and is not there.
fn gone(file: &str) -> Error {
    Error::new(SqlState::UndefinedFile, format!("file \"{file}\" is gone, though it was not read to its end"))
        .with_hint("Put it back, or create the job anew to read the files that are there.")
}
