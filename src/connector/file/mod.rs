//! Files of lines: one JSON object, CSV record or raw text each.
//!
//! Reading, in the order of the data path:
//!
//! 1. [`listing`]: a path or a glob becomes files in name order.
//! 2. [`files`]: one file after the other, bounded or watched.
//! 3. [`lines`]: a file's bytes become chunks of whole lines, with where each stands; [`framing`] says what is one;
//!    [`scan`] goes from file to file, from a position on.
//! 4. [`reader`]: a thread scans ahead, bounded in bytes; the tick loop takes what is at hand.
//! 5. [`layout`]: which columns a line holds, and which are metadata; the decoder of both.
//!
//! Writing: [`mod@sink`]. Parquet files, which have no lines, go the same ways in [`parquet`].
//!
//! What holds:
//!
//! - A source is one partition. A position is a file and the byte behind the last line that was read.
//! - Bounded reading takes the files that are there at its start; the end of a file ends its last line. Watching
//!   takes lines when their line end is there; once a file with a later name exists, a file is as good as finished and its
//!   last line ends with it. So whoever writes opens the next file only when he is done with the one before.
//! - A file is never in memory as a whole, only [`lines::CHUNK_BYTES`] of it, and a line's [`lines::MAX_LINE_BYTES`].
//! - Paths are relative to the directory that the server runs in. Whether a file is there is asked when a job is created,
//!   not when the source is declared.

pub mod files;
pub mod framing;
pub mod layout;
pub mod lines;
pub mod listing;
pub mod parquet;
pub mod reader;
pub mod scan;
pub mod sink;

use std::sync::Arc;
use std::time::Duration;

use self::files::Mode;
use self::layout::Layout;
use self::listing::Listing;
use self::reader::FileReader;
use self::scan::Scan;
use self::sink::FileSink;
use super::declared::Declared;
use super::format_options::{Carrier, check_metadata, no_format, read_format};
use super::options::{Choice, OptionReader};
use super::{PartitionId, Position, Positions, Reader, ReaderContext, Sink, Source};
use crate::change::Changelog;
use crate::error::{Error, Result};
use crate::format::{Decoder, Format};
use crate::types::schema_of;

/// How often a watched directory is looked at, unless 'poll-interval' says otherwise.
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// More often would keep a core busy with nothing.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A source's only partition.
const PARTITION: &str = "0";

/// 'mode' of a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ModeName {
    Bounded,
    Watch,
}

impl Choice for ModeName {
    const CHOICES: &'static [(&'static str, Self)] = &[("bounded", ModeName::Bounded), ("watch", ModeName::Watch)];
}

/// `'connector' = 'file'`, 'path', 'format' with its options, 'mode' = 'bounded' (the default) or 'watch' with 'poll-interval'.
pub fn source(declared: Declared, options: &mut OptionReader) -> Result<Arc<dyn Source>> {
    let path: String = options.required("path")?;
    let listing = Listing::new(&path).map_err(|problem| {
        options.error("path", format!("invalid pattern \"{path}\": {problem}")).with_hint(
            "* and ? stand for letters of a name, ** for directories; write [*] or [?] or [[] for these letters themselves.",
        )
    })?;
    let format = file_format(options)?;
    let mode = options.choice("mode")?.unwrap_or(ModeName::Bounded);
    let poll_interval: Option<Duration> = options.optional_either("poll-interval", "source.monitor-interval")?;
    let mode = match mode {
        ModeName::Bounded if poll_interval.is_some() => {
            return Err(options
                .error("poll-interval", "option \"poll-interval\" needs mode \"watch\"")
                .with_hint("Add 'mode' = 'watch', or remove 'poll-interval'."));
        }
        ModeName::Bounded => Mode::Bounded,
        ModeName::Watch => Mode::Watch(poll_interval.unwrap_or(DEFAULT_POLL_INTERVAL).max(MIN_POLL_INTERVAL)),
    };
    let format = match format {
        FileFormat::Lines(format) => format,
        FileFormat::Parquet => return parquet::source(declared, listing, mode, options),
    };
    check_metadata(&format, declared)?;
    let layout = Layout::new(declared, format)?;
    layout.decoder(&(0..declared.columns.len()).collect::<Vec<_>>())?;
    Ok(Arc::new(FileSource { listing, mode, layout }))
}

/// `'connector' = 'file'`, 'path', 'format' with its options.
pub fn sink(declared: Declared, primary_key: &[usize], options: &mut OptionReader) -> Result<Arc<dyn Sink>> {
    let path: String = options.required("path")?;
    declared.resolve_metadata(&[], |_, _| None::<()>)?;
    let format = match file_format(options)? {
        FileFormat::Lines(format) => format,
        FileFormat::Parquet => return parquet::sink(declared, path, primary_key, options),
    };
    if format.changelog() == Changelog::AppendOnly && !primary_key.is_empty() {
        return Err(no_key(format.name()));
    }
    Ok(Arc::new(FileSink::new(path, primary_key, &schema_of(declared.columns), format)?))
}

/// The error for a primary key where rows are written plainly.
fn no_key(format: &str) -> Error {
    Error::unsupported(
        format!("a file sink in format \"{format}\" cannot have a primary key"),
        "Plain rows have no form for updates and deletions. Remove PRIMARY KEY, or use 'format' = 'debezium-json'.",
    )
}

/// 'format' of files.
enum FileFormat {
    /// A message a line.
    Lines(Format),
    Parquet,
}

fn file_format(options: &mut OptionReader) -> Result<FileFormat> {
    if options.option("format").is_some_and(|option| option.value.trim().eq_ignore_ascii_case("parquet")) {
        options.required::<String>("format")?;
        return Ok(FileFormat::Parquet);
    }
    Ok(FileFormat::Lines(read_format(options, "format", "", Carrier::File)?.ok_or_else(|| no_format(options))?))
}

#[derive(Debug)]
struct FileSource {
    listing: Listing,
    mode: Mode,
    layout: Layout,
}

impl Source for FileSource {
    fn changelog(&self) -> Changelog {
        self.layout.changelog()
    }

    fn is_bounded(&self) -> bool {
        self.mode == Mode::Bounded
    }

    fn resolve_start(&self) -> Result<Positions> {
        if self.mode == Mode::Bounded {
            self.listing.check_not_empty()?;
        }
        Ok(Positions::from([(PartitionId(PARTITION.into()), Position { offset: 0, file: None })]))
    }

    fn open(&self, _columns: &[usize], positions: &Positions, context: ReaderContext) -> Result<Box<dyn Reader>> {
        let id = PartitionId(PARTITION.into());
        let start = positions.get(&id).cloned().unwrap_or(Position { offset: 0, file: None });
        let scan = Scan::new(self.listing.clone(), self.mode, self.layout.framing(), start);
        Ok(Box::new(FileReader::start(scan, id, context.waker)?))
    }

    fn decoder(&self, columns: &[usize]) -> Result<Option<Arc<dyn Decoder>>> {
        self.layout.decoder(columns).map(Some)
    }
}

#[cfg(test)]
mod tests;
