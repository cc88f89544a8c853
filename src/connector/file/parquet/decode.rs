//! A range of a row group's rows, decoded: only the wanted columns are read and unpacked.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, Type};
use parquet::file::metadata::ColumnChunkMetaData;

use crate::connector::declared::Declared;
use crate::connector::options::nearest;
use crate::error::{Error, Result, SqlState};
use crate::format::conform::{conform, place_of};
use crate::types::{Column, SqlType, schema_of};

/// The columns of the rows, and where each comes from.
#[derive(Debug, Clone)]
pub struct Wanted {
    columns: Vec<(Column, Origin)>,
    schema: SchemaRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    File,
    Path,
    Row,
}

/// What a file's METADATA columns can be.
const METADATA: &[(&str, &str)] = &[("path", "text"), ("offset", "bigint: the row's number in its file")];

/// Rows decoded at once of columns whose values may hold more than their footer tells.
const ROWS_THAT_SWELL: usize = 1024;

/// What the rows of one chunk may hold of such columns once decoded. A chunk is cut to be about a MiB.
const MAX_DECODED_BYTES: usize = 1 << 30;

/// A row group of a file.
#[derive(Debug, Clone)]
pub struct Group {
    pub file: Arc<str>,
    pub metadata: ArrowReaderMetadata,
    pub index: usize,
    /// The number in the file of the group's first row.
    pub first_row: u64,
    pub rows: usize,
}

impl Wanted {
    /// All declared columns.
    ///
    /// # Errors
    /// What METADATA columns are refused for.
    pub fn new(declared: Declared) -> Result<Self> {
        let metadata = declared.resolve_metadata(METADATA, |key, ty| match (key, ty) {
            ("path", SqlType::Text | SqlType::Varchar(None)) => Some(Origin::Path),
            ("offset", SqlType::BigInt) => Some(Origin::Row),
            _ => None,
        })?;
        let origin =
            |index: usize| metadata.iter().find(|(i, _)| *i == index).map_or(Origin::File, |(_, origin)| *origin);
        let columns = declared.columns.iter().enumerate().map(|(i, column)| (column.clone(), origin(i))).collect();
        Ok(Wanted { columns, schema: schema_of(declared.columns) })
    }

    /// Those with these indices, in that order.
    pub fn project(&self, indices: &[usize]) -> Wanted {
        let columns = indices.iter().filter_map(|index| self.columns.get(*index)).cloned().collect::<Vec<_>>();
        let schema = schema_of(&columns.iter().map(|(column, _)| column.clone()).collect::<Vec<_>>());
        Wanted { columns, schema }
    }

    /// The places of the wanted columns among the file's, in the order of the rows.
    ///
    /// # Errors
    /// 42703 for a column that the file lacks.
    fn places(&self, metadata: &ArrowReaderMetadata) -> Result<Vec<usize>> {
        let fields = metadata.schema().fields();
        let mut places = Vec::new();
        for (column, _) in self.columns.iter().filter(|(_, origin)| *origin == Origin::File) {
            let Some(place) = place_of(&column.name, fields) else {
                let message = format!("column \"{}\" does not exist", column.name);
                let error = Error::new(SqlState::UndefinedColumn, message);
                let near = nearest(&column.name, fields.iter().map(|field| field.name().as_str()));
                return Err(match near {
                    Some(near) => error.with_hint(format!("Perhaps you meant the column \"{near}\".")),
                    None => error,
                });
            };
            places.push(place);
        }
        Ok(places)
    }

    /// Those of a row group's columns, with their indices among its leaves, that are wanted.
    fn leaves<'a>(
        &self,
        metadata: &'a ArrowReaderMetadata,
        group: usize,
    ) -> Result<impl Iterator<Item = &'a ColumnChunkMetaData>> {
        let places = self.places(metadata)?;
        let schema = metadata.metadata().file_metadata().schema_descr();
        let leaves = metadata.metadata().row_groups().get(group).map_or(&[][..], |group| group.columns()).iter();
        let is_wanted =
            move |leaf: usize| leaf < schema.num_columns() && places.contains(&schema.get_column_root_idx(leaf));
        Ok(leaves.enumerate().filter(move |(leaf, _)| is_wanted(*leaf)).map(|(_, leaf)| leaf))
    }

    /// What the wanted columns of a row group hold once decoded, about: more than their encoded size, which says a value of
    /// a dictionary once however often it is there.
    ///
    /// # Errors
    /// As [`Wanted::check`].
    pub fn bytes(&self, metadata: &ArrowReaderMetadata, group: usize) -> Result<usize> {
        let bytes = self.leaves(metadata, group)?.map(decoded_bytes);
        Ok(bytes.fold(0, usize::saturating_add))
    }

    /// Whether the file has the columns, of types that can become the declared ones, packed in a way that we can unpack.
    ///
    /// # Errors
    /// 42703, 42804 or 0A000, naming the column.
    pub fn check(&self, metadata: &ArrowReaderMetadata) -> Result<()> {
        let places = self.places(metadata)?;
        let of_file = self.columns.iter().filter(|(_, origin)| *origin == Origin::File);
        for ((column, _), place) in of_file.zip(places) {
            let empty = arrow::array::new_empty_array(metadata.schema().field(place).data_type());
            conformed(&empty, column)?;
            let name = metadata.schema().field(place).name();
            let groups = metadata.metadata().row_groups().iter();
            let chunks = groups.flat_map(|group| group.columns());
            let own = chunks.filter(|chunk| chunk.column_path().parts().first() == Some(name));
            if let Some(packed) = own.map(|chunk| chunk.compression()).find_map(unknown_packing) {
                return Err(Error::unsupported(
                    format!("column \"{}\": Parquet files packed with {packed} are not supported", column.name),
                    "Write them with Snappy, Zstandard or LZ4, or unpacked.",
                ));
            }
        }
        Ok(())
    }
}

/// What a column of a row group holds once decoded.
fn decoded_bytes(column: &ColumnChunkMetaData) -> usize {
    let size = |bytes: i64| usize::try_from(bytes).unwrap_or(0);
    let width = match column.column_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 | Type::BYTE_ARRAY => 16,
        Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(column.column_descr().type_length()).unwrap_or(0),
    };
    let texts = match column.column_type() {
        // Writers have not always said it.
        Type::BYTE_ARRAY => column.unencoded_byte_array_data_bytes().unwrap_or(column.uncompressed_size()),
        _ => 0,
    };
    size(column.num_values()).saturating_mul(width).saturating_add(size(texts))
}

/// Whether rows of the column can hold much more than their share of what the column holds, or than its footer says.
fn may_swell(column: &ColumnChunkMetaData) -> bool {
    let has_prefixes = column.encodings().any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY);
    has_prefixes || column.column_descr().max_rep_level() > 0
}

/// The name of what packs a column, if we cannot unpack it.
fn unknown_packing(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::GZIP(_) => Some("gzip"),
        Compression::BROTLI(_) => Some("Brotli"),
        Compression::LZO => Some("LZO"),
        _ => None,
    }
}

impl Group {
    /// Rows `from..to` of the group.
    ///
    /// # Errors
    /// If the file is damaged or gone, or a value does not fit its column.
    pub fn decode(&self, wanted: &Wanted, from: usize, to: usize) -> Result<RecordBatch> {
        // The library asserts in places what a damaged file does not hold.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decode_range(wanted, from, to)));
        let decoded = decoded.unwrap_or_else(|_| {
            Err(Error::new(SqlState::DataCorrupted, "not a readable Parquet file: its pages are damaged"))
        });
        decoded.map_err(|e| e.context(format!("file \"{}\"", self.file)))
    }

    /// The reader of those rows, so many at a time: it yields the wanted columns that are the file's, in the file's order.
    pub(super) fn open(
        &self,
        places: &[usize],
        (from, to): (usize, usize),
        at_once: usize,
    ) -> Result<ParquetRecordBatchReader> {
        let file = File::open(&*self.file)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), places.iter().copied());
        let rows = to.saturating_sub(from);
        let builder = builder.with_projection(mask).with_row_groups(vec![self.index]);
        builder.with_offset(from).with_limit(rows).with_batch_size(at_once.max(1)).build().map_err(damaged)
    }

    #[cold]
    fn too_large(&self, from: usize, to: usize) -> Error {
        let row = |row: usize| self.first_row + row as u64;
        let most = MAX_DECODED_BYTES >> 20;
        let message = format!("rows {} to {} hold more than {most} MiB once unpacked", row(from), row(to));
        Error::new(SqlState::ProgramLimitExceeded, message).with_hint(
            "Write the file anew, with shorter arrays or texts, or by a writer that says how large they are.",
        )
    }

    fn decode_range(&self, wanted: &Wanted, from: usize, to: usize) -> Result<RecordBatch> {
        let rows = to.saturating_sub(from);
        let places = wanted.places(&self.metadata)?;
        let mut in_file_order = places.clone();
        in_file_order.sort_unstable();
        let read = if places.is_empty() {
            None
        } else {
            let swells = wanted.leaves(&self.metadata, self.index)?.any(may_swell);
            let reader = self.open(&places, (from, to), if swells { ROWS_THAT_SWELL } else { rows })?;
            let schema = arrow::array::RecordBatchReader::schema(&reader);
            let (mut batches, mut bytes) = (Vec::new(), 0_usize);
            for batch in reader {
                let batch = batch?;
                bytes = bytes.saturating_add(batch.get_array_memory_size());
                if swells && bytes > MAX_DECODED_BYTES {
                    return Err(self.too_large(from, to));
                }
                batches.push(batch);
            }
            let read = concat_batches(&schema, &batches)?;
            if read.num_rows() != rows {
                return Err(Error::new(SqlState::DataCorrupted, "a row group has fewer rows than the footer says"));
            }
            Some(read)
        };
        let mut places = places.into_iter();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(wanted.columns.len());
        for (column, origin) in &wanted.columns {
            columns.push(match origin {
                Origin::Path => Arc::new((0..rows).map(|_| Some(&*self.file)).collect::<StringViewArray>()),
                Origin::Row => {
                    let first = i64::try_from(self.first_row + from as u64).unwrap_or(i64::MAX);
                    Arc::new((0..rows as i64).map(|row| Some(first.saturating_add(row))).collect::<Int64Array>())
                }
                Origin::File => {
                    let place = places.next().and_then(|place| in_file_order.iter().position(|p| *p == place));
                    let found = place.and_then(|place| read.as_ref()?.columns().get(place));
                    conformed(found.ok_or_else(|| Error::internal("a column was not read"))?, column)?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&wanted.schema), columns, &options)?)
    }
}

fn conformed(array: &ArrayRef, column: &Column) -> Result<ArrayRef> {
    conform(array, &column.ty).map_err(|e| e.context(format!("column \"{}\"", column.name)))
}

/// What the Parquet reader says, in our terms.
pub(super) fn damaged(e: parquet::errors::ParquetError) -> Error {
    match e {
        parquet::errors::ParquetError::NYI(what) => Error::unsupported(
            format!("this Parquet file cannot be read: {what}"),
            "Write it anew without this feature.",
        ),
        other => Error::new(SqlState::DataCorrupted, format!("not a readable Parquet file: {other}")),
    }
}
