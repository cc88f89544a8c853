//! The thread that reads a topic: from librdkafka's queues into the partitions' buffers.
//!
//! It never waits for the tick loop while it holds a lock, and the tick loop never waits for it: they share one short
//! lock a partition. It ends by itself when the reader is gone (at the latest when a call to a silent broker times out).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::buffer::{Buffer, Limits};
use super::client::{self, SharedContext};
use super::metadata::{About, Wanted};
use super::offsets;
use super::options::SourceOptions;
use super::queue::{Fetched, PartitionQueue, Signal};
use super::startup::Bound;
use crate::clock::{MICROS_PER_SECOND, Micros};
use crate::connector::ReaderContext;
use crate::error::{Error, Result, SqlState};

/// How long the thread sleeps at most: librdkafka's logs and errors are looked at this often.
const PAUSE: Duration = Duration::from_millis(100);

/// Logs and errors that librdkafka hands over in a pause, more than ever wait; and while messages come, when each call
/// would hold up the next batch.
const EVENTS_IN_A_PAUSE: usize = 32;
const EVENTS_BETWEEN_BATCHES: usize = 2;

/// How often a topic is looked at for new partitions. (Flink's default is 5 minutes: too long to wait for rows.)
const DISCOVERY_INTERVAL: Micros = 30 * MICROS_PER_SECOND;

/// While something is wrong, the broker is asked this often whether it still is, and given this long to answer.
const PROBE_INTERVAL: Micros = MICROS_PER_SECOND;
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// What reader and thread share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Only ever grows, at its end.
    pub partitions: RwLock<Vec<Arc<Partition>>>,
    pub trouble: Mutex<Option<Error>>,
    /// The tick loop found nothing, and wants to be woken.
    pub hungry: AtomicBool,
    pub stop: AtomicBool,
    /// Wakes the thread.
    pub signal: Arc<Signal>,
    /// Bytes in librdkafka's queues, estimated.
    pub queued_bytes: AtomicUsize,
    pub buffered_limit: AtomicUsize,
    /// What is collected of each message beside its value.
    pub wanted: Option<Arc<Wanted>>,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub number: i32,
    pub state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub buffer: Buffer,
    /// The offset behind what the tick loop has taken.
    pub position: u64,
    /// The partition's end, if everything before it was fetched.
    pub end: Option<u64>,
    /// Unbounded reading: the end when reading began, once the broker has told it.
    pub first_end: Option<u64>,
    /// Bounded reading: the first offset that does not count.
    pub bound: Option<u64>,
    /// Bounded reading: everything before the bound was fetched.
    pub complete: bool,
    /// The partition cannot be read any further.
    pub error: Option<Error>,
}

impl Partition {
    pub(super) fn new(number: i32, position: u64, wanted: Option<Arc<Wanted>>) -> Arc<Partition> {
        let buffer = Buffer::new(wanted, number);
        let state = State { buffer, position, end: None, first_end: None, bound: None, complete: false, error: None };
        Arc::new(Partition { number, state: Mutex::new(state) })
    }
}

impl State {
    fn set_bound(&mut self, bound: u64) {
        self.bound = Some(bound);
        self.complete = self.position >= bound;
    }

    fn message(&mut self, offset: u64, value: Option<&[u8]>, about: &About) {
        self.end = None;
        if self.bound.is_none_or(|bound| offset < bound) {
            self.buffer.push(offset, value, about);
        }
        self.complete |= self.bound.is_some_and(|bound| offset + 1 >= bound);
    }

    fn reached(&mut self, end: u64) {
        self.end = Some(end);
        self.complete |= self.bound.is_some_and(|bound| end >= bound);
    }
}

/// The fetching thread's own things.
pub(super) struct Fetcher {
    options: SourceOptions,
    context: ReaderContext,
    shared: Arc<Shared>,
    consumer: Arc<BaseConsumer<SharedContext>>,
    complaints: SharedContext,
    queues: Vec<(Arc<Partition>, PartitionQueue)>,
    /// When to look for new partitions, and at the broker's health.
    next_discovery: Micros,
    next_probe: Micros,
    /// For the estimate of queued bytes.
    fetched_messages: usize,
    fetched_bytes: usize,
}

impl Fetcher {
    /// # Errors
    /// If librdkafka cannot be configured so. Nothing is connected yet.
    pub(super) fn new(options: SourceOptions, context: ReaderContext, shared: Arc<Shared>) -> Result<Fetcher> {
        let limits = Limits::for_partitions(shared.partitions.read().len());
        shared.buffered_limit.store(limits.buffered_bytes, Ordering::Relaxed);
        let mut config = client::config(&options.properties);
        for (key, value) in [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("check.crcs", "true"),
            // A queue that was full is filled again at once: the default of a second would starve the tick loop.
            ("fetch.queue.backoff.ms", "10"),
        ] {
            config.set(key, value);
        }
        config.set("queued.max.messages.kbytes", limits.queued_kbytes.to_string());
        // librdkafka wants a group's name to assign partitions; nobody joins it, nothing is committed to it.
        for (key, default) in [("group.id", "tidemill"), ("isolation.level", "read_committed")] {
            if config.get(key).is_none() {
                config.set(key, default);
            }
        }
        let complaints = SharedContext::default();
        let consumer = config.create_with_context(complaints.clone()).map_err(|e| client::cannot_configure(&e))?;
        Ok(Fetcher {
            options,
            context,
            shared,
            consumer: Arc::new(consumer),
            complaints,
            queues: Vec::new(),
            next_discovery: Micros::MIN,
            next_probe: Micros::MIN,
            fetched_messages: 0,
            fetched_bytes: 0,
        })
    }

    /// Reads until the reader is gone.
    pub(super) fn run(mut self) {
        if let Some(bound) = self.options.bound.clone()
            && !self.resolve_bounds(&bound)
        {
            return;
        }
        let partitions = self.shared.partitions.read().clone();
        if let Err(error) = self.assign(&partitions) {
            self.fail_all(&error);
        }
        self.note_first_ends(&partitions);
        while !self.stopped() {
            let messages = self.fetch();
            self.serve_events(if messages > 0 { EVENTS_BETWEEN_BATCHES } else { EVENTS_IN_A_PAUSE });
            self.discover();
            self.probe(messages > 0);
            if messages == 0 {
                self.shared.signal.wait(PAUSE);
            }
        }
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Asks for the ends of all partitions until the broker answers; false: stopped meanwhile, or there are none.
    fn resolve_bounds(&mut self, bound: &Bound) -> bool {
        loop {
            if self.stopped() {
                return false;
            }
            let partitions = self.shared.partitions.read().clone();
            let numbers = partitions.iter().map(|p| p.number).collect::<Vec<_>>();
            match offsets::resolve_bound(&self.consumer, &self.options, bound, &numbers) {
                Ok(ends) => {
                    for (partition, end) in partitions.iter().zip(ends) {
                        partition.state.lock().set_bound(end);
                    }
                    self.set_trouble(None);
                    return true;
                }
                // What only a person can change; a broker may come back.
                Err(error)
                    if error.state() != SqlState::ConnectionFailure && error.state() != SqlState::UndefinedTable =>
                {
                    self.fail_all(&error);
                    return false;
                }
                Err(error) => self.set_trouble(Some(error)),
            }
            self.serve_events(EVENTS_IN_A_PAUSE);
            self.shared.signal.wait(PAUSE);
        }
    }

    /// Where partitions end before anything was taken from them. A broker that does not tell is not asked again: then it is
    /// their end that is waited for.
    fn note_first_ends(&self, partitions: &[Arc<Partition>]) {
        if self.options.bound.is_some() {
            return;
        }
        let numbers = partitions.iter().map(|p| p.number).collect::<Vec<_>>();
        match offsets::resolve_bound(&self.consumer, &self.options, &Bound::Latest, &numbers) {
            Ok(ends) => {
                for (partition, end) in partitions.iter().zip(ends) {
                    partition.state.lock().first_end = Some(end);
                }
            }
            Err(error) => tracing::debug!(target: "kafka", "where a topic ends is not known: {error}"),
        }
    }

    /// Begins reading `partitions` at their positions. Their queues are split off first, so that no message gets into the
    /// common queue.
    fn assign(&mut self, partitions: &[Arc<Partition>]) -> Result<()> {
        let topic = self.options.topic.as_str();
        let servers = self.options.properties.servers();
        let failed = |e: KafkaError| client::call_failed("read", topic, servers, &e, &self.complaints.0);
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        let mut queues = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let offset = i64::try_from(partition.state.lock().position).unwrap_or(i64::MAX);
            list.add_partition_offset(topic, partition.number, Offset::Offset(offset)).map_err(failed)?;
            let signal = Arc::clone(&self.shared.signal);
            let Some(queue) = PartitionQueue::split(&self.consumer, topic, partition.number, signal) else {
                return Err(Error::internal(format!("no queue for Kafka topic \"{topic}\"")));
            };
            queues.push((Arc::clone(partition), queue));
        }
        self.consumer.incremental_assign(&list).map_err(failed)?;
        self.queues.extend(queues);
        Ok(())
    }

    /// Lets librdkafka hand over its logs and errors, so many of them at most (a call looks at one).
    fn serve_events(&self, at_most: usize) {
        for _ in 0..at_most {
            if let Some(Err(KafkaError::MessageConsumption(code))) = self.consumer.poll(Duration::ZERO) {
                tracing::debug!(target: "kafka", "{code}");
            }
        }
    }

    /// Takes one batch from each partition whose buffer has room; gives the number of messages and other news.
    fn fetch(&mut self) -> usize {
        let limit = self.shared.buffered_limit.load(Ordering::Relaxed);
        let mut news = 0;
        let mut queued = 0;
        let mut trouble = None;
        for (partition, queue) in &mut self.queues {
            let mut state = partition.state.lock();
            if state.buffer.bytes() < limit && state.error.is_none() && !state.complete {
                let before = state.buffer.bytes();
                let wanted = self.shared.wanted.as_deref();
                let count = queue.consume(wanted, |fetched| match fetched {
                    Fetched::Message { offset, value, about } => state.message(offset, value, &about),
                    Fetched::End { offset } => state.reached(offset),
                    Fetched::Failed { code, reason } => {
                        match classify(&self.options, partition.number, state.position, code, &reason) {
                            Failure::Fatal(error) => state.error = Some(error),
                            Failure::Trouble(error) => trouble = Some(error),
                        }
                    }
                });
                news += count;
                self.fetched_messages += count;
                self.fetched_bytes += state.buffer.bytes() - before;
            }
            drop(state);
            queued += queue.len();
        }
        let message_bytes = self.fetched_bytes.checked_div(self.fetched_messages).unwrap_or(0);
        self.shared.queued_bytes.store(queued * message_bytes, Ordering::Relaxed);
        if trouble.is_some() {
            self.set_trouble(trouble);
        }
        if news > 0 {
            self.wake();
        }
        news
    }

    /// Looks for partitions that the topic got since, first of all when reading begins.
    fn discover(&mut self) {
        let now = self.context.clock.now();
        if self.options.bound.is_some() || now < self.next_discovery {
            return;
        }
        self.next_discovery = now.saturating_add(DISCOVERY_INTERVAL);
        let servers = self.options.properties.servers();
        let found = match offsets::partitions(&self.consumer, &self.options.topic, servers, PROBE_TIMEOUT) {
            Ok(found) => found,
            Err(error) => return self.set_trouble(Some(error)),
        };
        let known = self.shared.partitions.read().clone();
        let new = found.into_iter().filter(|number| known.iter().all(|p| p.number != *number));
        // A partition that did not exist when the job began has nothing but what the job must read.
        let new = new.map(|number| Partition::new(number, 0, self.shared.wanted.clone())).collect::<Vec<_>>();
        if new.is_empty() {
            return;
        }
        match self.assign(&new) {
            Ok(()) => {
                self.shared.partitions.write().extend(new);
                self.wake();
            }
            Err(error) => self.set_trouble(Some(error)),
        }
    }

    /// Keeps `trouble` true: complaints of librdkafka become trouble unless messages come; trouble ends when messages
    /// come, or the broker answers.
    fn probe(&mut self, messages: bool) {
        let troubled = self.shared.trouble.lock().is_some();
        let complaint = self.complaints.0.complaint();
        if !troubled && complaint.is_none() {
            return;
        }
        if messages {
            self.complaints.0.clear_complaint();
            return self.set_trouble(None);
        }
        let now = self.context.clock.now();
        if now < self.next_probe {
            return;
        }
        self.next_probe = now.saturating_add(PROBE_INTERVAL);
        let servers = self.options.properties.servers();
        match offsets::partitions(&self.consumer, &self.options.topic, servers, PROBE_TIMEOUT) {
            Ok(_) => {
                self.complaints.0.clear_complaint();
                self.set_trouble(None);
            }
            Err(error) => self.set_trouble(Some(error)),
        }
    }

    fn set_trouble(&self, trouble: Option<Error>) {
        let text = |error: &Option<Error>| error.as_ref().map(|e| e.message().to_string());
        let mut current = self.shared.trouble.lock();
        if text(&current) == text(&trouble) {
            return;
        }
        match &trouble {
            Some(error) => tracing::warn!(target: "kafka", "{error}"),
            None => tracing::info!(target: "kafka", "reading Kafka topic \"{}\" again", self.options.topic),
        }
        *current = trouble;
    }

    fn fail_all(&self, error: &Error) {
        for partition in self.shared.partitions.read().iter() {
            partition.state.lock().error.get_or_insert(error.clone());
        }
        self.wake();
    }

    fn wake(&self) {
        if self.shared.hungry.swap(false, Ordering::AcqRel) {
            (self.context.waker)();
        }
    }
}

enum Failure {
    Fatal(Error),
    /// May pass by itself.
    Trouble(Error),
}

/// What an error that librdkafka reports for a partition means.
fn classify(options: &SourceOptions, partition: i32, position: u64, code: RDKafkaErrorCode, reason: &str) -> Failure {
    use RDKafkaErrorCode as C;
    let topic = &options.topic;
    let place = format!("partition {partition} of Kafka topic \"{topic}\"");
    match code {
        C::AutoOffsetReset | C::OffsetOutOfRange => Failure::Fatal(
            Error::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!("{place} does not have offset {position} (any more)"),
            )
            .with_detail(reason)
            .with_hint(
                "The topic's retention has removed it, or the topic was created anew. Nothing was skipped: drop the job \
                 and create it again to start from what is there.",
            ),
        ),
        C::BadMessage | C::InvalidMessage => Failure::Fatal(
            Error::new(SqlState::DataCorrupted, format!("{place} is damaged near offset {position}")).with_detail(reason),
        ),
        C::UnknownTopic | C::UnknownPartition | C::UnknownTopicOrPartition => {
            Failure::Trouble(client::missing_topic(topic, options.properties.servers()))
        }
        code if client::is_connection_trouble(Some(code)) => {
            Failure::Trouble(client::unreachable(options.properties.servers(), Some(reason.to_string())))
        }
        code => Failure::Trouble(client::failed("read", topic, code)),
    }
}
