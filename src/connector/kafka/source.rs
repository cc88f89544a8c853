//! A Kafka topic as a source.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::options::OptionReader;
use super::super::{Chunk, PartitionId, Payload, Position, Positions, Reader, ReaderContext, Source, Taken};
use super::fetch::{Fetcher, Partition, Shared};
use super::offsets::{self, partition_id};
use super::options::{SourceOptions, read_source};
use crate::change::Changelog;
use crate::error::{Error, Result};
use crate::format::{Decoder, RawChunk};
use crate::types::{Column, schema_of};

/// `'connector' = 'kafka'` in CREATE SOURCE.
///
/// # Errors
/// `22023` for options that are missing, ill-typed or ours; `0A000` for what is not supported yet. The broker is not
/// asked.
pub fn source(columns: &[Column], options: &mut OptionReader) -> Result<Arc<dyn Source>> {
    let options = read_source(options)?;
    let source = KafkaSource { options, columns: columns.to_vec() };
    source.decoder(&(0..columns.len()).collect::<Vec<_>>())?;
    Ok(Arc::new(source))
}

#[derive(Debug)]
struct KafkaSource {
    options: SourceOptions,
    columns: Vec<Column>,
}

impl Source for KafkaSource {
    fn changelog(&self) -> Changelog {
        self.options.format.changelog()
    }

    fn resolve_start(&self) -> Result<Positions> {
        offsets::resolve_start(&self.options)
    }

    /// Reads on its own thread. `columns` do not matter: messages come whole.
    fn open(&self, _columns: &[usize], positions: &Positions, context: ReaderContext) -> Result<Box<dyn Reader>> {
        let mut partitions = Vec::with_capacity(positions.len());
        for (PartitionId(name), position) in positions {
            let number = name.parse::<i32>().map_err(|_| Error::internal(format!("Kafka partition \"{name}\"")))?;
            partitions.push(Partition::new(number, position.offset));
        }
        partitions.sort_unstable_by_key(|p| p.number);
        let names = partitions.iter().map(|p| partition_id(p.number)).collect();
        let shared = Arc::new(Shared { partitions: partitions.clone().into(), ..Shared::default() });
        let fetcher = Fetcher::new(self.options.clone(), context, Arc::clone(&shared))?;
        std::thread::Builder::new().name("kafka-fetch".into()).spawn(move || fetcher.run())?;
        Ok(Box::new(KafkaReader { shared, partitions, names }))
    }

    fn decoder(&self, columns: &[usize]) -> Result<Option<Arc<dyn Decoder>>> {
        let wanted = columns.iter().filter_map(|index| self.columns.get(*index)).cloned().collect::<Vec<_>>();
        self.options.format.decoder(schema_of(&wanted)).map(Some)
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
        if let Some((chunk, next)) = state.buffer.take(max_bytes, until) {
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
