//! What Kafka knows of a message beside its value: METADATA columns, and the key.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, Int32Array, Int64Array, ListArray, NullBufferBuilder, RecordBatch, RecordBatchOptions,
    StringViewBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::error::{Error, Result};
use crate::types::{SqlType, UTC};

/// What a METADATA column can be FROM, and its type in words.
pub(super) const READABLE: &[(&str, &str)] = &[
    ("topic", "text"),
    ("partition", "integer"),
    ("offset", "bigint"),
    ("timestamp", "timestamp, or timestamp with time zone"),
    ("timestamp-type", "text"),
    ("timestamp_type", "text"),
    ("headers", "an array of rows: ROW<key TEXT, value BYTEA>[]"),
    ("key", "bytea: use 'key.format' and 'key.fields' for anything else"),
];

/// What a sink's METADATA column can be FROM.
pub(super) const WRITABLE: &[(&str, &str)] = &[
    ("timestamp", "timestamp, or timestamp with time zone"),
    ("headers", "an array of rows: ROW<key TEXT, value BYTEA>[]"),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Metadata {
    Topic,
    Partition,
    Offset,
    Timestamp {
        zoned: bool,
    },
    TimestampType,
    /// The declared type: rows of a text and bytes.
    Headers(DataType),
    Key,
}

impl Metadata {
    /// `None`: there is none of that type.
    pub(super) fn find(key: &str, ty: &SqlType) -> Option<Metadata> {
        Some(match (key, ty) {
            ("topic", SqlType::Text | SqlType::Varchar(None)) => Metadata::Topic,
            ("partition", SqlType::Integer) => Metadata::Partition,
            ("offset", SqlType::BigInt) => Metadata::Offset,
            ("timestamp", SqlType::Timestamp(3..=6)) => Metadata::Timestamp { zoned: false },
            ("timestamp", SqlType::TimestampTz(3..=6)) => Metadata::Timestamp { zoned: true },
            ("timestamp-type" | "timestamp_type", SqlType::Text | SqlType::Varchar(None)) => Metadata::TimestampType,
            ("headers", SqlType::Array(item)) => match &**item {
                SqlType::Row(fields) => match fields.as_slice() {
                    [(_, SqlType::Text | SqlType::Varchar(None)), (_, SqlType::Bytea)] => {
                        Metadata::Headers(ty.to_arrow())
                    }
                    _ => return None,
                },
                _ => return None,
            },
            ("key", SqlType::Bytea) => Metadata::Key,
            _ => return None,
        })
    }

    fn data_type(&self) -> DataType {
        match self {
            Metadata::Topic | Metadata::TimestampType => DataType::Utf8View,
            Metadata::Partition => DataType::Int32,
            Metadata::Offset => DataType::Int64,
            Metadata::Timestamp { zoned: false } => SqlType::Timestamp(6).to_arrow(),
            Metadata::Timestamp { zoned: true } => SqlType::TimestampTz(6).to_arrow(),
            Metadata::Headers(ty) => ty.clone(),
            Metadata::Key => DataType::BinaryView,
        }
    }
}

/// Where a message's timestamp is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// What librdkafka says of one message beside offset and value; empty where nobody wants it.
#[derive(Debug, Default)]
pub(super) struct About<'a> {
    pub key: Option<&'a [u8]>,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp: Option<(i64, TimestampType)>,
    /// Names, which need not be UTF-8, and values.
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// What is to be collected of each message, in this order.
#[derive(Debug)]
pub(super) struct Wanted {
    topic: String,
    metadata: Vec<Metadata>,
    schema: SchemaRef,
}

impl Wanted {
    /// `None` if it is nothing.
    pub(super) fn new(topic: &str, metadata: Vec<Metadata>) -> Option<Arc<Wanted>> {
        let field = |(i, m): (usize, &Metadata)| Field::new(i.to_string(), m.data_type(), true);
        let schema = Arc::new(Schema::new(metadata.iter().enumerate().map(field).collect::<Vec<_>>()));
        (!metadata.is_empty()).then(|| Arc::new(Wanted { topic: topic.to_string(), metadata, schema }))
    }

    pub(super) fn headers(&self) -> bool {
        self.metadata.iter().any(|metadata| matches!(metadata, Metadata::Headers(_)))
    }

    pub(super) fn timestamp(&self) -> bool {
        self.metadata.iter().any(|m| matches!(m, Metadata::Timestamp { .. } | Metadata::TimestampType))
    }
}

/// Growing columns: a row for each message of a chunk.
#[derive(Debug)]
pub(super) struct Collector {
    wanted: Arc<Wanted>,
    partition: i32,
    columns: Vec<Column>,
    rows: usize,
}

#[derive(Debug)]
enum Column {
    Text(Box<StringViewBuilder>),
    Partition,
    Offset(Vec<i64>),
    Timestamp { micros: Vec<i64>, validity: NullBufferBuilder, zoned: bool },
    Headers(Box<Headers>),
    Key(Box<BinaryViewBuilder>),
}

#[derive(Debug)]
struct Headers {
    names: StringViewBuilder,
    values: BinaryViewBuilder,
    ends: Vec<i32>,
    count: i32,
    fields: Fields,
    item: FieldRef,
}

impl Collector {
    pub(super) fn new(wanted: Arc<Wanted>, partition: i32) -> Collector {
        let column = |metadata: &Metadata| match metadata {
            Metadata::Topic | Metadata::TimestampType => {
                Column::Text(Box::new(StringViewBuilder::new().with_deduplicate_strings()))
            }
            Metadata::Partition => Column::Partition,
            Metadata::Offset => Column::Offset(Vec::new()),
            Metadata::Timestamp { zoned } => {
                Column::Timestamp { micros: Vec::new(), validity: NullBufferBuilder::new(0), zoned: *zoned }
            }
            Metadata::Headers(ty) => Column::Headers(Box::new(Headers::new(ty))),
            Metadata::Key => Column::Key(Box::default()),
        };
        let columns = wanted.metadata.iter().map(column).collect();
        Collector { wanted, partition, columns, rows: 0 }
    }

    /// Takes up one message; gives about the bytes that it costs.
    pub(super) fn push(&mut self, offset: u64, about: &About) -> usize {
        /// Of a number, or of a view.
        const VALUE: usize = 16;
        let mut bytes = VALUE * self.columns.len();
        for (column, metadata) in self.columns.iter_mut().zip(&self.wanted.metadata) {
            match column {
                Column::Text(builder) if *metadata == Metadata::Topic => builder.append_value(&self.wanted.topic),
                Column::Text(builder) => builder.append_value(match about.timestamp {
                    None => "NoTimestampType",
                    Some((_, TimestampType::CreateTime)) => "CreateTime",
                    Some((_, TimestampType::LogAppendTime)) => "LogAppendTime",
                }),
                Column::Partition => {}
                Column::Offset(offsets) => offsets.push(i64::try_from(offset).unwrap_or(i64::MAX)),
                Column::Timestamp { micros, validity, .. } => {
                    let timestamp = about.timestamp.and_then(|(millis, _)| millis.checked_mul(1000));
                    micros.push(timestamp.unwrap_or(0));
                    validity.append(timestamp.is_some());
                }
                Column::Headers(headers) => bytes += headers.push(&about.headers),
                Column::Key(keys) => {
                    keys.append_option(about.key);
                    bytes += about.key.map_or(0, <[u8]>::len);
                }
            }
        }
        self.rows += 1;
        bytes
    }

    pub(super) fn finish(self) -> Result<RecordBatch> {
        let (rows, partition) = (self.rows, self.partition);
        let finish = |column: Column| -> Result<ArrayRef> {
            Ok(match column {
                Column::Text(mut texts) => Arc::new(texts.finish()),
                Column::Partition => Arc::new(Int32Array::from_value(partition, rows)),
                Column::Offset(offsets) => Arc::new(Int64Array::from(offsets)),
                Column::Timestamp { micros, mut validity, zoned } => {
                    let array = TimestampMicrosecondArray::try_new(micros.into(), validity.finish())?;
                    Arc::new(array.with_timezone_opt(zoned.then_some(UTC)))
                }
                Column::Headers(headers) => headers.finish()?,
                Column::Key(mut keys) => Arc::new(keys.finish()),
            })
        };
        let columns = self.columns.into_iter().map(finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.wanted.schema), columns, &options)?)
    }
}

impl Headers {
    fn new(ty: &DataType) -> Headers {
        let item = if let DataType::List(item) = ty {
            Arc::clone(item)
        } else {
            Arc::new(Field::new("item", DataType::Null, true))
        };
        let fields = if let DataType::Struct(fields) = item.data_type() { fields.clone() } else { Fields::empty() };
        let (names, values) = (StringViewBuilder::new().with_deduplicate_strings(), BinaryViewBuilder::new());
        Headers { names, values, ends: Vec::new(), count: 0, fields, item }
    }

    fn push(&mut self, headers: &[(&[u8], Option<&[u8]>)]) -> usize {
        let mut bytes = 0;
        for (name, value) in headers {
            self.names.append_value(String::from_utf8_lossy(name));
            self.values.append_option(*value);
            self.count += 1;
            bytes += 32 + name.len() + value.map_or(0, <[u8]>::len);
        }
        self.ends.push(self.count);
        bytes
    }

    fn finish(mut self: Box<Self>) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![Arc::new(self.names.finish()), Arc::new(self.values.finish())];
        if self.fields.len() != columns.len() {
            return Err(Error::internal("Kafka headers are rows of a name and a value"));
        }
        let rows = StructArray::try_new(self.fields, columns, None)?;
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.extend(self.ends);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(ListArray::try_new(self.item, offsets, Arc::new(rows), None)?))
    }
}
