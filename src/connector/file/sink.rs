//! Writing lines: each part is appended to one file.
//!
//! At-least-once: a part that was delivered before a crash can be delivered again. A part whose write fails is cut off the
//! file again before it is tried anew; a line that a crash left half written is closed by a line end, so that it cannot
//! swallow the line after it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::listing::directory;
use crate::connector::{DeliveryError, Part, Sink, SinkWriter, Takes};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::changes::{ChangeEncoder, ChangeForm, Messages};
use crate::format::csv::{CsvEncoder, Header};

#[derive(Debug)]
pub struct FileSink {
    path: Arc<str>,
    format: Format,
    form: ChangeForm,
}

impl FileSink {
    /// # Errors
    /// 0A000 for a column that the format has no form for.
    pub fn new(path: String, primary_key: &[usize], schema: &Schema, format: Format) -> Result<Self> {
        let sink = FileSink { path: path.into(), form: format.form(primary_key), format };
        sink.encoder(schema)?;
        Ok(sink)
    }

    fn encoder(&self, schema: &Schema) -> Result<ChangeEncoder> {
        let every_column = (0..schema.fields().len()).collect::<Vec<_>>();
        Ok(ChangeEncoder::new(self.form.clone(), self.format.encoder(schema, &every_column)?))
    }

    /// What a new file begins with.
    fn header(&self, schema: &Schema) -> Option<Vec<u8>> {
        match &self.format {
            Format::Csv(options) if options.header != Header::None => {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let mut header = CsvEncoder::header(names, options);
                header.push(b'\n');
                Some(header)
            }
            _ => None,
        }
    }

    /// Opens the file for appending; it is made if it is not there.
    fn append(&self) -> Result<File> {
        if Path::new(&*self.path).is_dir() {
            let error = directory(&self.path);
            return Err(error.with_hint("Add a file's name: all rows are written into one file."));
        }
        let opened = OpenOptions::new().create(true).append(true).read(true).open(&*self.path);
        opened.map_err(|e| failed(&self.path, e))
    }
}

fn failed(path: &str, e: std::io::Error) -> Error {
    let missing = e.kind() == ErrorKind::NotFound;
    let error = Error::from(e).context(format!("file \"{path}\""));
    if missing { error.with_hint("The directory must exist; only the file is made.") } else { error }
}

impl Sink for FileSink {
    fn takes(&self) -> Takes {
        Takes::told_as(&self.form, &[])
    }

    fn notice(&self) -> Option<String> {
        Some("a file sink is at-least-once: after a crash rows can be written again".into())
    }

    fn preflight(&self) -> Result<()> {
        self.append().map(drop)
    }

    fn open(&self, _job: &str, schema: SchemaRef) -> Result<Box<dyn SinkWriter>> {
        let encoder = self.encoder(&schema)?;
        let mut file = self.append()?;
        let length = close_last_line(&mut file).map_err(|e| failed(&self.path, e))?;
        let header = self.header(&schema).filter(|_| length == 0);
        let path = Arc::clone(&self.path);
        Ok(Box::new(FileWriter { path, file, length, is_torn: false, header, encoder, messages: Messages::default() }))
    }
}

/// The file's length, after ending a line that was left half written.
fn close_last_line(file: &mut File) -> std::io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(0);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(length);
    }
    file.write_all(b"\n")?;
    Ok(length + 1)
}

struct FileWriter {
    path: Arc<str>,
    file: File,
    /// Bytes of the file up to the end of the last part delivered.
    length: u64,
    /// A failed write may have left bytes behind `length`.
    is_torn: bool,
    /// Still to be written.
    header: Option<Vec<u8>>,
    encoder: ChangeEncoder,
    /// Kept for its capacity.
    messages: Messages,
}

impl FileWriter {
    fn write(&mut self, part: &Part) -> std::io::Result<Result<u64>> {
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        let mut written = 0;
        if let Some(header) = &self.header {
            self.is_torn = true;
            self.file.write_all(header)?;
            written += header.len() as u64;
        }
        for batch in &part.batches {
            self.messages.clear();
            if let Err(e) = self.encoder.encode(batch, &mut self.messages) {
                return Ok(Err(e));
            }
            let lines = lines(&self.messages);
            self.is_torn = true;
            self.file.write_all(&lines)?;
            written += lines.len() as u64;
        }
        self.file.flush()?;
        Ok(Ok(written))
    }

    fn delivery_error(&self, e: std::io::Error) -> DeliveryError {
        delivery_error(e, |e| failed(&self.path, e))
    }
}

/// Whether it may pass by itself that a file cannot be written; `named` names the file.
pub(super) fn delivery_error(e: std::io::Error, named: impl FnOnce(std::io::Error) -> Error) -> DeliveryError {
    let may_pass = matches!(
        e.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::Interrupted | ErrorKind::TimedOut
    );
    let error = named(e);
    if may_pass { DeliveryError::Retry(error) } else { DeliveryError::Fatal(error) }
}

/// Messages with a line end behind each.
fn lines(messages: &Messages) -> Vec<u8> {
    let mut lines = Vec::new();
    for value in messages.iter().filter_map(|message| message.value) {
        lines.extend_from_slice(value);
        lines.push(b'\n');
    }
    lines
}

impl SinkWriter for FileWriter {
    fn deliver(&mut self, part: &Part) -> Result<(), DeliveryError> {
        match self.write(part) {
            Ok(Ok(written)) => {
                self.length += written;
                self.is_torn = false;
                self.header = None;
                Ok(())
            }
            Ok(Err(e)) => Err(DeliveryError::Fatal(e)),
            Err(e) => Err(self.delivery_error(e)),
        }
    }

    fn finish(&mut self) -> Result<(), DeliveryError> {
        self.file.sync_all().map_err(|e| self.delivery_error(e))
    }
}
