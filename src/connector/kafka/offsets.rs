//! From a startup mode to offsets: asked of the broker, once.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, SharedContext, TIMEOUT};
use super::options::{Properties, SourceOptions};
use super::startup::{Bound, GroupReset, Offsets, Startup};
use crate::connector::{PartitionId, Position, Positions};
use crate::error::{Error, Result, SqlState};

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
    let ask = |wanted: Wanted| query(&consumer, topic, servers, &partitions, wanted);
    let offsets = match &options.startup {
        Startup::Earliest => ask(Wanted::First)?,
        Startup::Latest => ask(Wanted::End)?,
        Startup::Timestamp(millis) => or(ask(Wanted::AtOrAfter(*millis))?, ask(Wanted::End)?),
        Startup::Specific(named) => or(specific(topic, &partitions, named)?, ask(Wanted::First)?),
        Startup::Group(reset) => {
            let committed = committed(&consumer, topic, servers, &partitions)?;
            match reset {
                GroupReset::Earliest => or(committed, ask(Wanted::First)?),
                GroupReset::Latest => or(committed, ask(Wanted::End)?),
                GroupReset::None => {
                    all_committed(&options.properties, topic, &partitions, &committed)?;
                    committed
                }
            }
        }
    };
    let position = |(partition, offset): (&i32, Option<u64>)| match offset {
        Some(offset) => Ok((partition_id(*partition), Position { offset, file: None })),
        None => Err(Error::internal(format!("Kafka names no offset for partition {partition} of topic \"{topic}\""))),
    };
    partitions.iter().zip(offsets).map(position).collect()
}

/// Where bounded reading ends: for each of `partitions` the first offset that does not count.
///
/// # Errors
/// As [`query`]; and `55000` for a partition that has no end.
pub(super) fn resolve_bound(
    consumer: &BaseConsumer<SharedContext>,
    options: &SourceOptions,
    bound: &Bound,
    partitions: &[i32],
) -> Result<Vec<u64>> {
    let (topic, servers) = (&options.topic, options.properties.servers());
    let ask = |wanted: Wanted| query(consumer, topic, servers, partitions, wanted);
    let ends = match bound {
        Bound::Latest => ask(Wanted::End)?,
        Bound::Timestamp(millis) => or(ask(Wanted::AtOrAfter(*millis))?, ask(Wanted::End)?),
        Bound::Specific(named) => {
            let ends = specific(topic, partitions, named)?;
            if let Some((partition, _)) = partitions.iter().zip(&ends).find(|(_, end)| end.is_none()) {
                let message = format!("no end is given for partition {partition} of Kafka topic \"{topic}\"");
                return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
                    .with_hint("Name every partition in 'scan.bounded.specific-offsets'."));
            }
            ends
        }
        Bound::Group => {
            let committed = committed(consumer, topic, servers, partitions)?;
            all_committed(&options.properties, topic, partitions, &committed)?;
            committed
        }
    };
    Ok(ends.into_iter().map(Option::unwrap_or_default).collect())
}

fn or(offsets: Vec<Option<u64>>, others: Vec<Option<u64>>) -> Vec<Option<u64>> {
    offsets.into_iter().zip(others).map(|(offset, other)| offset.or(other)).collect()
}

/// The named offsets.
fn specific(topic: &str, partitions: &[i32], named: &Offsets) -> Result<Vec<Option<u64>>> {
    if let Some(partition) = named.keys().find(|partition| !partitions.contains(partition)) {
        let message = format!("Kafka topic \"{topic}\" has no partition {partition}");
        return Err(Error::new(SqlState::InvalidParameterValue, message).with_hint(format!(
            "Its partitions are {}.",
            partitions.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(partitions.iter().map(|partition| named.get(partition).copied()).collect())
}

/// What the consumer group has committed; `None` where it has not.
fn committed(
    consumer: &BaseConsumer<SharedContext>,
    topic: &str,
    servers: &str,
    partitions: &[i32],
) -> Result<Vec<Option<u64>>> {
    let failed =
        |e: KafkaError| client::call_failed("read a group's offsets of", topic, servers, &e, &consumer.context().0);
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    partitions.iter().for_each(|partition| {
        list.add_partition(topic, *partition);
    });
    let answer = consumer.committed_offsets(list, TIMEOUT).map_err(failed)?;
    let offset = |partition: &i32| match answer.find_partition(topic, *partition).map(|found| found.offset()) {
        Some(Offset::Offset(offset)) => u64::try_from(offset).ok(),
        _ => None,
    };
    Ok(partitions.iter().map(offset).collect())
}

fn all_committed(properties: &Properties, topic: &str, partitions: &[i32], committed: &[Option<u64>]) -> Result<()> {
    let Some((partition, _)) = partitions.iter().zip(committed).find(|(_, offset)| offset.is_none()) else {
        return Ok(());
    };
    let group = properties.iter().find(|(key, _)| *key == "group.id").map_or("", |(_, group)| group);
    let message = format!(
        "consumer group \"{group}\" has committed no offset for partition {partition} of Kafka topic \"{topic}\""
    );
    Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message).with_hint(
        "Add 'properties.auto.offset.reset' = 'earliest' or 'latest', or choose another 'scan.startup.mode'.",
    ))
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
