//! From a startup mode to offsets: asked of the broker, once.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, SharedContext, TIMEOUT};
use super::options::{Properties, SourceOptions, Startup};
use crate::connector::{PartitionId, Position, Positions};
use crate::error::{Error, Result};

/// The numbers of the topic's partitions.
///
/// # Errors
/// `08006` if the broker cannot be reached within `timeout`, `42P01` if there is no such topic.
pub(super) fn partitions(
    consumer: &BaseConsumer<SharedContext>,
    topic: &str,
    servers: &str,
    timeout: Duration,
) -> Result<Vec<i32>> {
    let context = &consumer.context().0;
    let metadata = consumer
        .fetch_metadata(Some(topic), timeout)
        .map_err(|e| client::call_failed("read", topic, servers, &e, context))?;
    let Some(found) = metadata.topics().first() else {
        return Err(client::missing_topic(topic, servers));
    };
    if let Some(code) = found.error() {
        let error = KafkaError::MetadataFetch(RDKafkaErrorCode::from(code));
        return Err(client::call_failed("read", topic, servers, &error, context));
    }
    if found.partitions().is_empty() {
        return Err(client::missing_topic(topic, servers));
    }
    let mut partitions = found.partitions().iter().map(|p| p.id()).collect::<Vec<_>>();
    partitions.sort_unstable();
    Ok(partitions)
}

/// What to ask for: as `ListOffsets` of Kafka's protocol takes it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    First,
    /// Behind the last committed record.
    End,
    /// The first record with this timestamp (milliseconds) or a later one; `None` in the answer if there is none.
    AtOrAfter(i64),
}

/// While a partition is without leader it is asked again this often and after this long: some ten seconds, as for any call.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// The wanted offset of each of `partitions`, in that order. One round trip to each of the brokers.
pub(super) fn query(
    consumer: &BaseConsumer<SharedContext>,
    topic: &str,
    servers: &str,
    partitions: &[i32],
    wanted: Wanted,
) -> Result<Vec<Option<u64>>> {
    let failed = |e: KafkaError| client::call_failed("read offsets of", topic, servers, &e, &consumer.context().0);
    let asked = match wanted {
        Wanted::First => Offset::Beginning,
        Wanted::End => Offset::End,
        Wanted::AtOrAfter(millis) => Offset::Offset(millis),
    };
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(topic, *partition, asked).map_err(failed)?;
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        let answer = consumer.offsets_for_times(list.clone(), TIMEOUT);
        let passes = match &answer {
            Ok(answer) => answer.elements().iter().any(|found| found.error().is_err_and(|e| passes_by(&e))),
            Err(error) => passes_by(error),
        };
        if passes && attempts < ATTEMPTS {
            // Nothing is assigned: this is a pause in which the client goes on working.
            consumer.poll(PAUSE);
            continue;
        }
        let answer = answer.map_err(failed)?;
        let offset = |partition: &i32| {
            let Some(found) = answer.find_partition(topic, *partition) else {
                return Err(Error::internal(format!("Kafka left out partition {partition} of topic \"{topic}\"")));
            };
            found.error().map_err(failed)?;
            match found.offset() {
                Offset::Offset(offset) => Ok(u64::try_from(offset).ok()),
                _ => Ok(None),
            }
        };
        return partitions.iter().map(offset).collect();
    }
}

/// Errors of a partition that moves to another broker, or whose broker has just started: asking again helps.
fn passes_by(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as C;
    matches!(
        error.rdkafka_error_code(),
        Some(
            C::UnknownLeaderEpoch
                | C::FencedLeaderEpoch
                | C::NotLeaderForPartition
                | C::LeaderNotAvailable
                | C::ReplicaNotAvailable
                | C::OffsetNotAvailable
        )
    )
}

/// Where a new job starts reading.
pub(super) fn resolve_start(options: &SourceOptions) -> Result<Positions> {
    let consumer = consumer(&options.properties)?;
    let (topic, servers) = (&options.topic, options.properties.servers());
    let partitions = partitions(&consumer, topic, servers, TIMEOUT)?;
    let wanted = match options.startup {
        Startup::Earliest => Wanted::First,
        Startup::Latest => Wanted::End,
        Startup::Timestamp(millis) => Wanted::AtOrAfter(millis),
    };
    let mut offsets = query(&consumer, topic, servers, &partitions, wanted)?;
    if offsets.contains(&None) {
        let ends = query(&consumer, topic, servers, &partitions, Wanted::End)?;
        offsets = offsets.into_iter().zip(ends).map(|(offset, end)| offset.or(end)).collect();
    }
    let position = |(partition, offset): (&i32, Option<u64>)| match offset {
        Some(offset) => Ok((partition_id(*partition), Position { offset, file: None })),
        None => Err(Error::internal(format!("Kafka names no offset for partition {partition} of topic \"{topic}\""))),
    };
    partitions.iter().zip(offsets).map(position).collect()
}

pub(super) fn partition_id(partition: i32) -> PartitionId {
    PartitionId(partition.to_string().into())
}

/// A consumer that only asks questions.
fn consumer(properties: &Properties) -> Result<BaseConsumer<SharedContext>> {
    let mut config = client::config(properties);
    config.set("isolation.level", "read_committed");
    config.create_with_context(SharedContext::default()).map_err(|e| client::cannot_configure(&e))
}
