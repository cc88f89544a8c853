//! File after file, row group after row group: footers only. Synchronous: the reader's thread calls it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use super::super::files::{Files, Mode};
use super::super::listing::Listing;
use super::super::reader::{Ahead, Piece, Step};
use super::decode::{Group, Wanted, damaged};
use crate::connector::{Deferred, Payload, Position};
use crate::error::{Error, Result, SqlState};

/// What a row group that is only looked up counts for in the read-ahead: its footer, about.
const GROUP_BYTES: usize = 64 << 10;

/// Rows of a chunk, at most: what the pool decodes at once.
const CHUNK_ROWS: usize = 64 << 10;

/// What a whole file ends with.
const MAGIC: &[u8; 4] = b"PAR1";

pub struct GroupScan {
    files: Files,
    wanted: Arc<Wanted>,
    /// Row of the first file to begin with.
    start: u64,
    /// A file that is not whole yet.
    awaited: Option<Arc<str>>,
    groups: VecDeque<Chunk>,
}

/// A row group, and how its rows are to be decoded.
pub struct Chunk {
    group: Arc<Group>,
    wanted: Arc<Wanted>,
    /// Where reading begins within the group.
    skipped: usize,
    /// Of the wanted columns, once decoded, on average.
    row_bytes: usize,
}

impl GroupScan {
    pub fn new(listing: Listing, mode: Mode, wanted: Arc<Wanted>, start: Position) -> Self {
        let row = start.file.as_ref().map_or(0, |_| start.offset);
        let files = Files::new(listing, mode, start.file);
        GroupScan { files, wanted, start: row, awaited: None, groups: VecDeque::new() }
    }

    /// The row groups of a file from row `from` on.
    fn open(&self, name: &Arc<str>, from: u64) -> Result<VecDeque<Chunk>> {
        let metadata = footer(name)?;
        self.wanted.check(&metadata)?;
        let mut first_row = 0;
        let mut chunks = VecDeque::new();
        for (index, group) in metadata.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            let skipped = usize::try_from(from.saturating_sub(first_row)).unwrap_or(usize::MAX).min(rows);
            if rows > skipped {
                let row_bytes = self.wanted.bytes(&metadata, index)? / rows + 1;
                let group = Group { file: Arc::clone(name), metadata: metadata.clone(), index, first_row, rows };
                let wanted = Arc::clone(&self.wanted);
                chunks.push_back(Chunk { group: Arc::new(group), wanted, skipped, row_bytes });
            }
            first_row = first_row.saturating_add(rows as u64);
        }
        if from > first_row {
            let message = "the file has fewer rows than were read of it";
            return Err(Error::new(SqlState::DataCorrupted, message)
                .with_hint("Files must not be replaced while they are read."));
        }
        Ok(chunks)
    }
}

/// Where everything is in a file. Of types only Parquet's own count, not what its writer remembers of Arrow's. Texts are views:
/// those of a dictionary are there once, however many rows show them.
fn footer(name: &str) -> Result<ArrowReaderMetadata> {
    let file = File::open(name)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    // What a damaged footer leads the library to must not end the reader's thread, which nobody would notice.
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        let plain = ArrowReaderMetadata::load(&file, options.clone())?;
        let views = with_views(plain.schema().fields());
        ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options.with_schema(Arc::new(Schema::new(views))))
    }));
    match loaded {
        Ok(loaded) => loaded.map_err(damaged),
        Err(_) => Err(Error::new(SqlState::DataCorrupted, "not a readable Parquet file: its footer is damaged")),
    }
}

/// The same fields with views of texts and bytes.
fn with_views(fields: &Fields) -> Fields {
    let field = |field: &FieldRef| -> FieldRef {
        let ty = match field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            DataType::List(item) => match with_views(&Fields::from(vec![Arc::clone(item)])).first() {
                Some(item) => DataType::List(Arc::clone(item)),
                None => return Arc::clone(field),
            },
            DataType::Struct(fields) => DataType::Struct(with_views(fields)),
            _ => return Arc::clone(field),
        };
        Arc::new(field.as_ref().clone().with_data_type(ty))
    };
    fields.iter().map(field).collect()
}

/// Whether the end of the file is there. Whoever writes it in place is done then, or at least with its last bytes.
fn is_whole(name: &str) -> std::io::Result<bool> {
    let mut file = File::open(name)?;
    let mut end = [0; MAGIC.len()];
    match file.seek(SeekFrom::End(-(MAGIC.len() as i64))).and_then(|_| file.read_exact(&mut end)) {
        Ok(()) => Ok(end == *MAGIC),
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::UnexpectedEof) => Ok(false),
        Err(e) => Err(e),
    }
}

impl Ahead for GroupScan {
    type Chunk = Chunk;

    fn mode(&self) -> Mode {
        self.files.mode()
    }

    /// The next row group.
    ///
    /// # Errors
    /// See [`Files::look_ahead`]; and if a file cannot be read, or does not fit. The scan cannot go on then.
    fn step(&mut self) -> Result<Step<Chunk>> {
        loop {
            if let Some(chunk) = self.groups.pop_front() {
                return Ok(Step::Chunk(chunk));
            }
            let next = match self.awaited.take() {
                Some(name) => Some(name),
                None => self.files.take_next()?,
            };
            let watched = self.files.mode() != Mode::Bounded;
            let Some(name) = next else { return Ok(if watched { Step::AtEnd } else { Step::Finished }) };
            let in_file = |e: Error| e.context(format!("file \"{name}\""));
            let whole = match is_whole(&name) {
                // It was taken away before anything of it was read.
                Err(e) if watched && e.kind() == ErrorKind::NotFound && self.start == 0 => continue,
                whole => whole.map_err(|e| in_file(e.into()))?,
            };
            if watched && !whole {
                let message = "not a whole Parquet file yet: its end is missing";
                let trouble = Error::new(SqlState::DataCorrupted, message)
                    .with_hint("Files are read in name order; those behind it wait until it is whole, or gone.");
                let trouble = in_file(trouble);
                self.awaited = Some(name);
                return Ok(Step::Waits(trouble));
            }
            let from = std::mem::take(&mut self.start);
            self.groups = self.open(&name, from).map_err(in_file)?;
        }
    }
}

impl Piece for Chunk {
    fn messages(&self) -> usize {
        self.group.rows - self.skipped
    }

    fn bytes(&self) -> usize {
        GROUP_BYTES
    }

    fn end(&self, from: usize, max_bytes: usize, until: Option<&Position>) -> usize {
        let limit = match until.map(|p| (p.file.as_deref(), p.offset)) {
            None => u64::MAX,
            Some((file, _)) if file > Some(&*self.group.file) => u64::MAX,
            Some((file, row)) if file == Some(&*self.group.file) => row,
            Some(_) => 0,
        };
        let here = self.group.first_row + (self.skipped + from) as u64;
        let reachable = usize::try_from(limit.saturating_sub(here)).unwrap_or(usize::MAX).min(self.messages() - from);
        from + reachable.min((max_bytes / self.row_bytes).clamp(1, CHUNK_ROWS))
    }

    fn piece(&self, from: usize, to: usize) -> (Payload, Position) {
        let (group, wanted) = (Arc::clone(&self.group), Arc::clone(&self.wanted));
        let (first, end) = (self.skipped + from, self.skipped + to);
        let make = move || group.decode(&wanted, first, end);
        let payload = Payload::Deferred(Deferred::new(to - from, (to - from) * self.row_bytes, make));
        let offset = self.group.first_row + end as u64;
        (payload, Position { offset, file: Some(Arc::clone(&self.group.file)) })
    }
}
