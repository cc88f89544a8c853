//! Parquet files, in and out.
//!
//! Reading: [`scan`] goes through the footers of the files, in name order, and hands out row groups; the tick loop takes
//! ranges of their rows, and the worker pool decodes these ([`decode`]), only the wanted columns, several at once.
//! [`conform`](crate::format::conform) brings a file's types to the declared ones. Writing: [`form`] says how rows lie in a file, [`mod@sink`] writes
//! whole ones.
//!
//! What holds:
//!
//! - A position is a file and the number of the next row in it.
//! - A Parquet file has its footer at its end, so nothing of it is read before it is whole. Watching waits for the end of a
//!   file, and says so; files with later names wait with it.
//! - Columns are found by name. A column that a file lacks, or whose values could not all be held, is an error that names
//!   file and column: nothing is filled in or converted by guess.
//! - A file that is being written has another name until it is whole and on disk.

pub mod decode;
mod form;
mod scan;
mod sink;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::files::Mode;
use super::listing::Listing;
use super::no_key;
use super::reader::FileReader;
use crate::connector::declared::Declared;
use crate::connector::options::{Choice, OptionReader};
use crate::connector::{PartitionId, Position, Positions, Reader, ReaderContext, Sink, Source};
use crate::error::{Error, Result};
use crate::format::Decoder;
use crate::types::SqlType;

use self::decode::Wanted;
use self::form::Form;
use self::scan::GroupScan;
pub use self::sink::Compression;
use self::sink::ParquetSink;

impl Choice for Compression {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("snappy", Compression::Snappy),
        ("zstd", Compression::Zstd),
        ("lz4", Compression::Lz4),
        ("uncompressed", Compression::None),
    ];
}

/// `listing` and `mode`: of options 'path' and 'mode'. The caller has taken the other options of a file source.
///
/// # Errors
/// 0A000 for a column of a type that Parquet has no form for, and for 'on_error', since there are no messages to skip.
pub fn source(declared: Declared, listing: Listing, mode: Mode, options: &OptionReader) -> Result<Arc<dyn Source>> {
    check_columns(declared)?;
    if let Some(option) = options.option("on_error").filter(|o| !o.value.trim().eq_ignore_ascii_case("fail")) {
        return Err(Error::unsupported(
            format!("a source of Parquet files cannot have 'on_error' = '{}'", option.value),
            "What does not fit into its column stops the view or job. Remove the option, and declare the columns as the files \
             have them.",
        )
        .at(option.value_position));
    }
    Ok(Arc::new(ParquetSource { listing: listing.or_folder(".parquet"), mode, wanted: Wanted::new(declared)? }))
}

/// # Errors
/// As [`source`]; 0A000 for a primary key; 22023 for an unknown compression.
pub fn sink(
    declared: Declared,
    path: String,
    primary_key: &[usize],
    options: &mut OptionReader,
) -> Result<Arc<dyn Sink>> {
    check_columns(declared)?;
    if !primary_key.is_empty() {
        return Err(no_key("parquet"));
    }
    let compression = options.choice("parquet.compression")?.unwrap_or(Compression::Snappy);
    Ok(Arc::new(ParquetSink::new(path, Form::new(declared.columns)?, compression)))
}

fn check_columns(declared: Declared) -> Result<()> {
    fn supported(ty: &SqlType) -> bool {
        match ty {
            SqlType::Interval => false,
            SqlType::Row(fields) => !fields.is_empty() && fields.iter().all(|(_, ty)| supported(ty)),
            SqlType::Array(item) => supported(item),
            _ => true,
        }
    }
    match declared.columns.iter().find(|column| !supported(&column.ty)) {
        None => Ok(()),
        Some(column) => Err(Error::unsupported(
            format!("column \"{}\" of type {} has no form in Parquet", column.name, column.ty),
            "Declare the column as text, or as bigint with a unit of your own.",
        )),
    }
}

#[derive(Debug)]
struct ParquetSource {
    listing: Listing,
    mode: Mode,
    wanted: Wanted,
}

impl Source for ParquetSource {
    fn resolve_start(&self) -> Result<Positions> {
        if self.mode == Mode::Bounded {
            self.listing.check_not_empty()?;
        }
        Ok(Positions::from([(PartitionId(super::PARTITION.into()), Position { offset: 0, file: None })]))
    }

    fn open(&self, columns: &[usize], positions: &Positions, context: ReaderContext) -> Result<Box<dyn Reader>> {
        let id = PartitionId(super::PARTITION.into());
        let start = positions.get(&id).cloned().unwrap_or(Position { offset: 0, file: None });
        let wanted = Arc::new(self.wanted.project(columns));
        let scan = GroupScan::new(self.listing.clone(), self.mode, wanted, start);
        Ok(Box::new(FileReader::start(scan, id, context.waker)?))
    }

    fn decoder(&self, _columns: &[usize]) -> Result<Option<Arc<dyn Decoder>>> {
        Ok(None)
    }
}
