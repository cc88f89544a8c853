//! A Kafka topic as a source.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;

use super::super::declared::Declared;
use super::super::options::OptionReader;
use super::super::{
    Chunk, PartitionId, Payload, Position, Positions, Reader, ReaderContext, Source, Taken, place_column,
};
use super::fetch::{Fetcher, Partition, Shared};
use super::metadata::{Metadata, Wanted};
use super::offsets::{self, partition_id};
use super::options::{SourceOptions, read_source, read_upsert_source};
use crate::change::Changelog;
use crate::error::{Error, Result};
use crate::format::message::{Collected, MessageDecoder, Origin};
use crate::format::{Decoder, RawChunk};
use crate::types::{Column, schema_of};

/// `'connector' = 'kafka'` in CREATE SOURCE.
///
/// # Errors
/// `22023` for options that are missing, ill-typed or ours; `0A000` for what is not supported yet. The broker is not
/// asked.
pub fn source(declared: Declared, options: &mut OptionReader) -> Result<Arc<dyn Source>> {
    new_source(declared.columns.to_vec(), read_source(declared, options)?)
}

/// `'connector' = 'upsert-kafka'` in CREATE SOURCE: messages that replace each other by key, and tombstones.
///
/// # Errors
/// As [`source`]; `42P16` without a primary key.
pub fn upsert_source(declared: Declared, primary_key: &[usize], options: &mut OptionReader) -> Result<Arc<dyn Source>> {
    let mut options = read_upsert_source(declared, primary_key, options)?;
    let mut columns = declared.columns.to_vec();
    options.metadata.push((columns.len(), Metadata::Offset));
    columns.push(place_column());
    new_source(columns, options)
}

fn new_source(columns: Vec<Column>, options: SourceOptions) -> Result<Arc<dyn Source>> {
    let source = KafkaSource { options, schema: schema_of(&columns) };
    source.decoder(&(0..columns.len()).collect::<Vec<_>>())?;
    Ok(Arc::new(source))
}

#[derive(Debug)]
struct KafkaSource {
    options: SourceOptions,
    /// All declared columns; behind them, of upserts, their place.
    schema: SchemaRef,
}

/// Where the wanted columns come from.
#[derive(Default)]
struct Plan {
    origins: Vec<Origin>,
    /// Of the value's and the key's columns, those that are wanted.
    values: Vec<usize>,
    keys: Vec<usize>,
    /// What the reader collects. The last is the key, if any of its columns is wanted.
    sides: Vec<Metadata>,
}

impl KafkaSource {
    fn plan(&self, wanted: &[usize]) -> Plan {
        let mut plan = Plan::default();
        let fields = &self.options.fields;
        for column in wanted {
            let place = |columns: &[usize]| columns.iter().position(|index| index == column);
            plan.origins.push(if let Some((_, metadata)) = self.options.metadata.iter().find(|(i, _)| i == column) {
                plan.sides.push(metadata.clone());
                Origin::Side(plan.sides.len() - 1)
            } else if let Some(place) = place(&fields.key) {
                plan.keys.push(place);
                Origin::Key(plan.keys.len() - 1)
            } else {
                plan.values.extend(place(&fields.value));
                Origin::Value(plan.values.len().saturating_sub(1))
            });
        }
        if !plan.keys.is_empty() {
            plan.sides.push(Metadata::Key);
        }
        plan
    }

    fn collected(&self, wanted: &[usize]) -> Option<Arc<Wanted>> {
        Wanted::new(&self.options.topic, self.plan(wanted).sides)
    }
}

impl Source for KafkaSource {
    fn changelog(&self) -> Changelog {
        if self.options.upserts { Changelog::Upsert } else { self.options.fields.value_format.changelog() }
    }

    fn key(&self) -> &[usize] {
        if self.options.upserts { &self.options.fields.key } else { &[] }
    }

    fn is_bounded(&self) -> bool {
        self.options.bound.is_some()
    }

    fn resolve_start(&self) -> Result<Positions> {
        offsets::resolve_start(&self.options)
    }

    /// Reads on its own thread. Messages come whole; `columns` say what is wanted of their metadata.
    fn open(&self, columns: &[usize], positions: &Positions, context: ReaderContext) -> Result<Box<dyn Reader>> {
        let wanted = self.collected(columns);
        let mut partitions = Vec::with_capacity(positions.len());
        for (PartitionId(name), position) in positions {
            let number = name.parse::<i32>().map_err(|_| Error::internal(format!("Kafka partition \"{name}\"")))?;
            partitions.push(Partition::new(number, position.offset, wanted.clone()));
        }
        partitions.sort_unstable_by_key(|p| p.number);
        let names = partitions.iter().map(|p| partition_id(p.number)).collect();
        let shared = Arc::new(Shared { partitions: partitions.clone().into(), wanted, ..Shared::default() });
        let fetcher = Fetcher::new(self.options.clone(), context, Arc::clone(&shared))?;
        std::thread::Builder::new().name("kafka-fetch".into()).spawn(move || fetcher.run())?;
        Ok(Box::new(KafkaReader { shared, partitions, names }))
    }

    fn decoder(&self, columns: &[usize]) -> Result<Option<Arc<dyn Decoder>>> {
        let Plan { origins, values, keys, sides } = self.plan(columns);
        let fields = &self.options.fields;
        let value = fields.value_format.decoder(&self.schema.project(&fields.value)?, &values)?;
        if sides.is_empty() {
            return Ok(Some(value));
        }
        let key_decoder = || fields.key_format.decoder(&self.schema.project(&fields.key)?, &keys);
        let key = (!keys.is_empty()).then(key_decoder).transpose()?;
        let collected = Collected { key: key.is_some().then(|| sides.len() - 1) };
        let schema = Arc::new(self.schema.project(columns)?);
        let (sides, upserts) = (Box::new(collected), self.options.upserts);
        Ok(Some(Arc::new(MessageDecoder { schema, value, key, sides, origins, upserts })))
    }
}

/// The tick loop's end of a topic.
struct KafkaReader {
    shared: Arc<Shared>,
    partitions: Vec<Arc<Partition>>,
    names: Vec<PartitionId>,
}

impl KafkaReader {
    /// Takes over the partitions found since.
    fn notice_new_partitions(&mut self) {
        let all = self.shared.partitions.read();
        for new in all.iter().skip(self.partitions.len()) {
            self.names.push(partition_id(new.number));
            self.partitions.push(Arc::clone(new));
        }
    }
}

impl Reader for KafkaReader {
    fn partitions(&self) -> &[PartitionId] {
        &self.names
    }

    fn take(&mut self, partition: usize, max_bytes: usize, until: Option<&Position>) -> Result<Taken> {
        self.notice_new_partitions();
        let Some(partition) = self.partitions.get(partition) else {
            return Err(Error::internal(format!("no partition {partition} in this Kafka topic")));
        };
        let until = until.map(|position| position.offset);
        let mut state = partition.state.lock();
        let full = state.buffer.bytes() >= self.shared.buffered_limit.load(Ordering::Relaxed);
        if let Some((chunk, next)) = state.buffer.take(max_bytes, until)? {
            state.position = next;
            if full {
                self.shared.signal.raise();
            }
            return Ok(chunk_up_to(chunk, next));
        }
        // Offsets have gaps (compaction, transactions): the limit may lie in one.
        if let Some(until) = until
            && state.position < until
            && state.buffer.first_offset().or(state.end).is_some_and(|next| next >= until)
        {
            state.position = until;
            return Ok(chunk_up_to(RawChunk::default(), until));
        }
        if !state.buffer.is_empty() {
            return Ok(Taken::Pending);
        }
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        if state.complete {
            return Ok(Taken::Finished);
        }
        // Said under the partition's lock: whoever adds to the buffer afterwards sees it.
        self.shared.hungry.store(true, Ordering::Release);
        Ok(if state.end.is_some() { Taken::AtEnd } else { Taken::Pending })
    }

    fn is_past_its_beginning(&self, partition: usize) -> bool {
        self.partitions.get(partition).is_some_and(|partition| {
            let state = partition.state.lock();
            state.first_end.is_some_and(|end| state.position >= end)
        })
    }

    fn trouble(&self) -> Option<Error> {
        self.shared.trouble.lock().clone()
    }

    fn buffered_bytes(&self) -> usize {
        let buffered = self.partitions.iter().map(|p| p.state.lock().buffer.bytes()).sum::<usize>();
        buffered + self.shared.queued_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.signal.raise();
    }
}

fn chunk_up_to(chunk: RawChunk, next: u64) -> Taken {
    Taken::Chunk(Chunk { payload: Payload::Raw(chunk), next: Position { offset: next, file: None } })
}
