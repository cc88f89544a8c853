//! Why a message cannot be read. Cold: everything here happens once a bad message.

use crate::error::{Error, SqlState};

/// Of a value, an error text shows this many bytes: enough to recognise it, too few to fill a log.
const SHOWN_BYTES: usize = 40;

/// Boxed, so that the results of the hot path stay small.
pub(in crate::format) type Scan<T> = Result<T, Box<Failure>>;

#[derive(Debug)]
pub(in crate::format) struct Failure {
    state: SqlState,
    what: String,
    hint: Option<&'static str>,
    /// Innermost first: fields of rows, places in arrays.
    path: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Field(String),
    /// Counted from 1, as PostgreSQL counts.
    Element(usize),
}

impl Failure {
    pub(in crate::format) fn new(state: SqlState, what: impl Into<String>) -> Box<Failure> {
        Box::new(Failure { state, what: what.into(), hint: None, path: Vec::new() })
    }

    /// The bytes are not JSON.
    pub(in crate::format) fn syntax(what: impl std::fmt::Display) -> Box<Failure> {
        Failure::new(SqlState::BadCopyFileFormat, format!("invalid JSON: {what}"))
    }

    pub(in crate::format) fn with_hint(mut self: Box<Self>, hint: &'static str) -> Box<Failure> {
        self.hint = Some(hint);
        self
    }

    pub(in crate::format) fn in_field(mut self: Box<Self>, name: &str) -> Box<Failure> {
        self.path.push(Step::Field(name.to_string()));
        self
    }

    pub(in crate::format) fn in_element(mut self: Box<Self>, index: usize) -> Box<Failure> {
        self.path.push(Step::Element(index + 1));
        self
    }

    pub(in crate::format) fn into_error(self) -> Error {
        let mut path = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Element(index) => path.push_str(&format!("[{index}]")),
            }
        }
        let message = if path.is_empty() { self.what } else { format!("field \"{path}\": {}", self.what) };
        let error = Error::new(self.state, message);
        match self.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// A piece of a message as an error text shows it.
pub(in crate::format) fn excerpt(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN_BYTES) {
        Some(start) if bytes.len() > SHOWN_BYTES => format!("{}...", String::from_utf8_lossy(start)),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}
