//! Writing: each part becomes one whole file of a folder.
//!
//! A file is written under a name that begins with a dot, synced, and only then linked to the name that readers look for;
//! that never replaces a file. At-least-once: a part that was delivered before a crash can be delivered again.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::super::sink::delivery_error;
use super::form::Form;
use crate::connector::{DeliveryError, Part, Sink, SinkWriter, Takes};
use crate::error::{Error, Result, SqlState};

/// Tells the writers of this server apart.
static WRITERS: AtomicU64 = AtomicU64::new(0);

/// How columns are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Snappy,
    Zstd,
    Lz4,
    None,
}

#[derive(Debug)]
pub struct ParquetSink {
    folder: Arc<Path>,
    form: Form,
    compression: Compression,
}

impl ParquetSink {
    pub fn new(folder: String, form: Form, compression: Compression) -> Self {
        ParquetSink { folder: PathBuf::from(folder).into(), form, compression }
    }

    fn make_folder(&self) -> Result<()> {
        let failed = |e: std::io::Error| failed(&self.folder, e);
        match fs::create_dir(&self.folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(failed(e)),
            _ if self.folder.is_dir() => Ok(()),
            _ => {
                let message = format!("\"{}\" is not a directory", self.folder.display());
                Err(Error::new(SqlState::WrongObjectType, message).with_hint(
                    "A Parquet sink writes files into a directory: name one that is not there yet, or is one.",
                ))
            }
        }
    }
}

fn failed(path: &Path, e: std::io::Error) -> Error {
    let missing = e.kind() == ErrorKind::NotFound;
    let error = Error::from(e).context(format!("directory \"{}\"", path.display()));
    if missing { error.with_hint("The directory above it must exist; only the last one is made.") } else { error }
}

impl Sink for ParquetSink {
    fn takes(&self) -> Takes {
        Takes::Appends
    }

    fn notice(&self) -> Option<String> {
        Some("a file sink is at-least-once: after a crash rows can be written again".into())
    }

    fn preflight(&self) -> Result<()> {
        self.make_folder()?;
        // Whether it can be written is shown by writing.
        let probe = self.folder.join(".tidemill-probe");
        File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(|e| failed(&self.folder, e))
    }

    fn open(&self, job: &str, _schema: SchemaRef) -> Result<Box<dyn SinkWriter>> {
        self.make_folder()?;
        let codec = match self.compression {
            Compression::Snappy => Codec::SNAPPY,
            Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
            Compression::Lz4 => Codec::LZ4_RAW,
            Compression::None => Codec::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder().set_compression(codec).build();
        let next = next_number(&self.folder).map_err(|e| failed(&self.folder, e))?;
        // Sinks of one job, and servers, may share the folder.
        let (job, server) = (job.replace(['/', '\\', '\0'], "_"), std::process::id());
        let draft = format!(".{job}-{server}-{}.inprogress", WRITERS.fetch_add(1, Ordering::Relaxed));
        let draft = self.folder.join(draft);
        let (folder, form) = (Arc::clone(&self.folder), self.form.clone());
        Ok(Box::new(ParquetWriter { folder, form, properties, draft, next }))
    }
}

/// The number behind the highest that a file of the folder has.
fn next_number(folder: &Path) -> std::io::Result<u64> {
    let mut next = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("part-")?.strip_suffix(".parquet")?.parse().ok());
        next = number.map_or(next, |number: u64| next.max(number.saturating_add(1)));
    }
    Ok(next)
}

struct ParquetWriter {
    folder: Arc<Path>,
    form: Form,
    properties: WriterProperties,
    /// Where a file is until it is whole.
    draft: PathBuf,
    next: u64,
}

impl ParquetWriter {
    fn write(&mut self, part: &Part) -> Result<(), DeliveryError> {
        let cannot_write = |e: ParquetError| match e {
            ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(io) => self.io(*io),
                Err(other) => self.fatal(&other),
            },
            other => self.fatal(&other),
        };
        let file = File::create(&self.draft).map_err(|e| self.io(e))?;
        // Whoever reads sees Parquet's types; a source of ours is told by its declared columns.
        let options = ArrowWriterOptions::new().with_properties(self.properties.clone());
        let options = options.with_skip_arrow_metadata(true).with_parquet_schema(self.form.file.clone());
        let rows = Arc::clone(&self.form.rows);
        let mut writer = ArrowWriter::try_new_with_options(file, rows, options).map_err(cannot_write)?;
        for batch in &part.batches {
            let rows = self.form.write(batch.rows()).map_err(DeliveryError::Fatal)?;
            writer.write(&rows).map_err(cannot_write)?;
        }
        let file = writer.into_inner().map_err(cannot_write)?;
        file.sync_all().map_err(|e| self.io(e))
    }

    /// Gives the draft the name under which readers find it.
    fn publish(&mut self) -> std::io::Result<()> {
        loop {
            // Names sort in the order in which files are written.
            let name = self.folder.join(format!("part-{:012}.parquet", self.next));
            match fs::hard_link(&self.draft, &name) {
                Ok(()) => break,
                // Another writer's.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => self.next = self.next.saturating_add(1),
                Err(e) => return Err(e),
            }
        }
        self.next = self.next.saturating_add(1);
        fs::remove_file(&self.draft)?;
        File::open(&*self.folder)?.sync_all()
    }

    fn io(&self, e: std::io::Error) -> DeliveryError {
        delivery_error(e, |e| failed(&self.folder, e))
    }

    #[cold]
    fn fatal(&self, e: &impl std::fmt::Display) -> DeliveryError {
        let error = Error::new(SqlState::IoError, format!("cannot write Parquet: {e}"));
        DeliveryError::Fatal(error.context(format!("directory \"{}\"", self.folder.display())))
    }
}

impl Drop for ParquetWriter {
    /// What could not be finished is left to nobody.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.draft);
    }
}

impl SinkWriter for ParquetWriter {
    fn deliver(&mut self, part: &Part) -> Result<(), DeliveryError> {
        if part.rows() == 0 {
            return Ok(());
        }
        self.write(part)?;
        self.publish().map_err(|e| self.io(e))
    }
}
