//! What of a file is one message: a line, or a CSV record, and what is none.

use std::sync::Arc;

use crate::error::Result;
use crate::format::Format;
use crate::format::csv::{self, CsvOptions, Header};

#[derive(Debug, Clone)]
pub struct Framing {
    /// Quotes may hold line ends.
    csv: Option<CsvOptions>,
    /// A blank line is a message too.
    blank_counts: bool,
    /// Names of the declared columns, for a header that must name them.
    columns: Arc<[String]>,
}

impl Framing {
    /// `columns`: those that a line holds.
    pub fn new(format: &Format, columns: Vec<String>) -> Self {
        let csv = if let Format::Csv(options) = format { Some(options.clone()) } else { None };
        let blank_counts = match format {
            Format::Json(_) | Format::DebeziumJson(_) => false,
            // A record of one null.
            Format::Csv(_) => columns.len() == 1,
            // (Avro's messages are no lines; no file has them.)
            Format::Raw(_) | Format::Avro(_) => true,
        };
        Framing { csv, blank_counts, columns: columns.into() }
    }

    /// Behind the line end of the message that `bytes` begin with; `None` if it does not end here.
    pub fn line_end(&self, bytes: &[u8]) -> Option<usize> {
        match &self.csv {
            Some(options) => csv::record_end(bytes, options),
            None => line_end(bytes).map(|at| at + 1),
        }
    }

    /// Whether `line` is a message. `is_first`: of its file.
    ///
    /// # Errors
    /// 22P04 if it is a header that does not name the columns.
    pub fn is_message(&self, line: &[u8], is_first: bool) -> Result<bool> {
        if let Some(options) = &self.csv {
            match options.header {
                Header::Skip if is_first => return Ok(false),
                Header::Match if is_first => {
                    csv::check_header(line, options, &self.columns)?;
                    return Ok(false);
                }
                _ => {}
            }
            if csv::is_comment(line, options) {
                return Ok(false);
            }
        }
        Ok(self.blank_counts || !line.trim_ascii().is_empty())
    }

    /// Whether a line that is no message may stand in front of one, as a part of it: a blank one in front of JSON.
    pub fn may_lead(&self, line: &[u8]) -> bool {
        self.csv.is_none() && line.trim_ascii().is_empty()
    }

    pub fn long_line_hint(&self) -> &'static str {
        if self.csv.as_ref().is_some_and(|options| options.quote().is_some()) {
            "Perhaps a quote is never closed."
        } else {
            "Split it: a line is read as a whole."
        }
    }
}

/// Where the first line end is: blocks without one are passed in a few vector instructions.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let is_end = |b: &u8| *b == b'\n';
    for (i, block) in blocks.iter().enumerate() {
        if block.iter().fold(false, |found, b| found | is_end(b)) {
            return block.iter().position(is_end).map(|at| 32 * i + at);
        }
    }
    rest.iter().position(is_end).map(|at| 32 * blocks.len() + at)
}
