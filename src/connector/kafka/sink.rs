//! A Kafka topic as a sink: an idempotent producer, at least once.
//!
//! A part counts as delivered when the brokers have acknowledged each of its records: [`Outcomes`] counts them. Whatever
//! goes wrong, `deliver` first waits until no record of this attempt is still under way, so that a repeated part cannot
//! be overtaken by its own past.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::super::declared::Declared;
use super::super::options::OptionReader;
use super::super::{DeliveryError, Part, Sink, SinkWriter, Takes};
use super::client::{self, SharedContext, TIMEOUT};
use super::options::{SinkOptions, read_sink, read_upsert_sink};
use crate::change::ChangeBatch;
use crate::error::{Error, Result, SqlState};
use crate::format::Encoder;
use crate::format::changes::{ChangeEncoder, Message, Messages};
use crate::types::schema_of;

/// How long a record may be under way before it counts as failed (and its part is tried again).
const MESSAGE_TIMEOUT_MS: &str = "30000";

/// What librdkafka buffers for one sink.
const BUFFER_KBYTES: &str = "65536";

/// How long we wait for acknowledgements at a time: `rdkafka` always waits it out, so it is a part of the latency.
const POLL: Duration = Duration::from_millis(1);

/// A topic that brokers create on demand is there after at most so many questions.
const CREATION_ATTEMPTS: u32 = 3;

/// `'connector' = 'kafka'` in CREATE SINK.
///
/// # Errors
/// `22023` for options that are missing, ill-typed or ours; `0A000` for what is not supported. The broker is not asked.
pub fn sink(declared: Declared, primary_key: &[usize], options: &mut OptionReader) -> Result<Arc<dyn Sink>> {
    new_sink(declared, read_sink(declared, primary_key, options)?)
}

/// `'connector' = 'upsert-kafka'` in CREATE SINK: keys set, and tombstones where nothing is left of a key.
///
/// # Errors
/// As [`sink`]; `42P16` without a primary key.
pub fn upsert_sink(declared: Declared, primary_key: &[usize], options: &mut OptionReader) -> Result<Arc<dyn Sink>> {
    new_sink(declared, read_upsert_sink(declared, primary_key, options)?)
}

fn new_sink(declared: Declared, options: SinkOptions) -> Result<Arc<dyn Sink>> {
    Encoders::new(&options, &schema_of(declared.columns))?;
    Ok(Arc::new(KafkaSink { options }))
}

#[derive(Debug)]
struct KafkaSink {
    options: SinkOptions,
}

impl Sink for KafkaSink {
    fn takes(&self) -> Takes {
        Takes::told_as(&self.options.form, &self.options.fields.key)
    }

    fn notice(&self) -> Option<String> {
        Some("delivery is at least once: after a failure or a restart records may be repeated".to_string())
    }

    fn preflight(&self) -> Result<()> {
        let (topic, servers) = (&self.options.topic, self.options.properties.servers());
        let context = Context::default();
        let producer = producer(&self.options, context.clone()).map_err(|e| client::cannot_configure(&e))?;
        let failed = |error: &KafkaError| client::call_failed("write", topic, servers, error, &context.client.0);
        let mut last = client::missing_topic(topic, servers);
        for _ in 0..CREATION_ATTEMPTS {
            let metadata = producer.client().fetch_metadata(Some(topic), TIMEOUT);
            // Serves librdkafka's logs, and gives the broker time to create the topic.
            producer.poll(Duration::from_millis(100));
            let metadata = metadata.map_err(|e| failed(&e))?;
            let Some(found) = metadata.topics().first() else {
                continue;
            };
            match found.error().map(RDKafkaErrorCode::from) {
                None if !found.partitions().is_empty() => return Ok(()),
                None => {}
                Some(code) => last = failed(&KafkaError::MetadataFetch(code)),
            }
        }
        Err(last)
    }

    fn open(&self, job: &str, schema: SchemaRef) -> Result<Box<dyn SinkWriter>> {
        let encoders = Encoders::new(&self.options, &schema)?;
        tracing::debug!(target: "kafka", "job \"{job}\" writes topic \"{}\"", self.options.topic);
        let options = self.options.clone();
        Ok(Box::new(KafkaWriter {
            options,
            encoders,
            producer: None,
            messages: Messages::default(),
            keys: Encoded::default(),
        }))
    }
}

struct Encoders {
    value: ChangeEncoder,
    /// None: messages have no key.
    key: Option<Box<dyn Encoder>>,
}

impl Encoders {
    fn new(options: &SinkOptions, schema: &SchemaRef) -> Result<Encoders> {
        let fields = &options.fields;
        let value = fields.value_format.encoder(schema, &fields.value)?;
        let value = ChangeEncoder::new(options.form.clone(), value);
        let key = (!fields.key.is_empty()).then(|| fields.key_format.encoder(schema, &fields.key));
        Ok(Encoders { value, key: key.transpose()? })
    }
}

fn producer(options: &SinkOptions, context: Context) -> Result<BaseProducer<Context>, KafkaError> {
    let mut config: ClientConfig = client::config(&options.properties);
    let defaults = [("compression.type", "lz4"), ("message.timeout.ms", MESSAGE_TIMEOUT_MS)];
    for (key, value) in defaults {
        let given = |alias: &str| options.properties.iter().any(|(name, _)| name == alias);
        let aliases =
            if key == "message.timeout.ms" { ["delivery.timeout.ms", key] } else { ["compression.codec", key] };
        if !aliases.into_iter().any(given) {
            config.set(key, value);
        }
    }
    config.set("enable.idempotence", "true");
    config.set("partitioner", "murmur2_random");
    config.set("queue.buffering.max.kbytes", BUFFER_KBYTES);
    config.create_with_context(context)
}

/// The keys of a batch's rows, back to back.
#[derive(Default)]
struct Encoded {
    data: Vec<u8>,
    ends: Vec<usize>,
}

impl Encoded {
    fn fill(&mut self, encoder: &dyn Encoder, rows: &RecordBatch) -> Result<()> {
        self.data.clear();
        self.ends.clear();
        encoder.encode(rows, &mut self.data, &mut self.ends)
    }

    fn get(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(row).and_then(|end| self.data.get(start..*end)).unwrap_or_default()
    }
}

struct KafkaWriter {
    options: SinkOptions,
    encoders: Encoders,
    /// Made when first needed, and anew after it failed for good.
    producer: Option<BaseProducer<Context>>,
    messages: Messages,
    keys: Encoded,
}

impl SinkWriter for KafkaWriter {
    fn deliver(&mut self, part: &Part) -> Result<(), DeliveryError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => producer(&self.options, Context::default())
                .map_err(|e| DeliveryError::Fatal(client::cannot_configure(&e)))?,
        };
        producer.context().outcomes.lock().begin();
        let sent = part.batches.iter().try_for_each(|batch| self.send(&producer, batch));
        // Each record's outcome is known at the latest when its timeout has passed.
        while producer.context().outcomes.lock().under_way() > 0 {
            producer.poll(POLL);
        }
        let failure = producer.context().outcomes.lock().failure.take();
        let broken = producer.client().fatal_error();
        if broken.is_none() {
            self.producer = Some(producer);
        }
        sent?;
        match (failure, broken) {
            (Some(failure), _) => Err(self.explain(failure)),
            (None, Some((code, reason))) => Err(DeliveryError::Retry(self.failed(code).with_detail(reason))),
            (None, None) => Ok(()),
        }
    }
}

impl KafkaWriter {
    /// Hands the messages of `batch` to the producer.
    fn send(&mut self, producer: &BaseProducer<Context>, batch: &ChangeBatch) -> Result<(), DeliveryError> {
        self.messages.clear();
        self.encoders.value.encode(batch, &mut self.messages).map_err(not_encoded)?;
        if let Some(key) = &self.encoders.key {
            self.keys.fill(&**key, batch.rows()).map_err(not_encoded)?;
        }
        self.messages.iter().try_for_each(|message| self.send_message(producer, batch, &message))
    }

    /// A record without value is a tombstone.
    fn send_message(
        &self,
        producer: &BaseProducer<Context>,
        batch: &ChangeBatch,
        &Message { row, value }: &Message,
    ) -> Result<(), DeliveryError> {
        let about = |column: Option<usize>| column.and_then(|column| batch.rows().columns().get(column));
        let timestamp = about(self.options.timestamp).and_then(|column| timestamp_millis(column, row));
        let headers = about(self.options.headers).and_then(|column| headers(column, row));
        let key = self.encoders.key.is_some().then(|| self.keys.get(row));
        let value_bytes = value.map_or(0, <[u8]>::len);
        let record = BaseRecord::with_opaque_to(&self.options.topic, value_bytes);
        let mut record = BaseRecord { key, payload: value, timestamp, headers, ..record };
        loop {
            // Once one record has failed the whole part will be sent again: the rest is spared.
            if producer.context().outcomes.lock().failure.is_some() {
                return Ok(());
            }
            match producer.send(record) {
                Ok(()) => {
                    producer.context().outcomes.lock().sent += 1;
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    producer.poll(POLL);
                }
                Err((error, _)) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                    return Err(self.explain(Failure { code, value_bytes }));
                }
            }
        }
    }

    /// Whether trying again may help.
    fn explain(&self, failure: Failure) -> DeliveryError {
        use RDKafkaErrorCode as C;
        let (topic, servers) = (&self.options.topic, self.options.properties.servers());
        match failure.code {
            C::MessageSizeTooLarge | C::MessageBatchTooLarge | C::InvalidMessageSize => DeliveryError::Fatal(
                Error::new(
                    SqlState::ConfigurationLimitExceeded,
                    format!("a record of {} bytes is too large for Kafka topic \"{topic}\"", failure.value_bytes),
                )
                .with_hint(
                    "Raise 'properties.message.max.bytes' of the sink and the topic's max.message.bytes, or write less.",
                ),
            ),
            C::UnknownTopic | C::UnknownPartition | C::UnknownTopicOrPartition => {
                DeliveryError::Fatal(client::missing_topic(topic, servers))
            }
            C::InvalidMessage | C::InvalidRecord => DeliveryError::Fatal(
                self.failed(failure.code)
                    .with_hint("A compacted topic takes only records with a key: set 'key.fields' of the sink."),
            ),
            C::TopicAuthorizationFailed | C::ClusterAuthorizationFailed | C::InvalidTopic | C::PolicyViolation => {
                DeliveryError::Fatal(self.failed(failure.code))
            }
            code if client::is_connection_trouble(Some(code)) => {
                let complaint = self.producer.as_ref().and_then(|p| p.context().client.0.complaint());
                DeliveryError::Retry(client::unreachable(servers, complaint.or(Some(client::words(code)))))
            }
            code => DeliveryError::Retry(self.failed(code)),
        }
    }

    fn failed(&self, code: RDKafkaErrorCode) -> Error {
        client::failed("write", &self.options.topic, code)
    }
}

/// A schema registry that is away may come back; rows that have no form never get one.
fn not_encoded(error: Error) -> DeliveryError {
    match error.state() {
        SqlState::ConnectionFailure => DeliveryError::Retry(error),
        _ => DeliveryError::Fatal(error),
    }
}

/// A METADATA column's timestamp; none: the producer's clock is taken.
fn timestamp_millis(column: &ArrayRef, row: usize) -> Option<i64> {
    let micros = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    micros.is_valid(row).then(|| micros.value(row).div_euclid(1000))
}

/// A METADATA column's headers.
fn headers(column: &ArrayRef, row: usize) -> Option<OwnedHeaders> {
    let list = column.as_list_opt::<i32>().filter(|list| list.is_valid(row))?.value(row);
    let rows = list.as_struct_opt()?;
    let (names, values) = (rows.columns().first()?.as_string_view_opt()?, rows.columns().get(1)?.as_binary_view_opt()?);
    let mut headers = OwnedHeaders::new_with_capacity(rows.len());
    for (name, value) in names.iter().zip(values) {
        headers = headers.insert(Header { key: name.unwrap_or_default(), value });
    }
    Some(headers)
}

/// What became of the records of the part at hand.
#[derive(Debug, Default)]
struct Outcomes {
    sent: usize,
    settled: usize,
    /// The first that failed.
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    code: RDKafkaErrorCode,
    value_bytes: usize,
}

impl Outcomes {
    fn begin(&mut self) {
        *self = Outcomes::default();
    }

    fn under_way(&self) -> usize {
        self.sent.saturating_sub(self.settled)
    }
}

/// The producer's context: a shared one for logs, and the count of outcomes. A record carries its length.
#[derive(Debug, Clone, Default)]
struct Context {
    client: SharedContext,
    outcomes: Arc<Mutex<Outcomes>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, value_bytes: usize) {
        let mut outcomes = self.outcomes.lock();
        outcomes.settled += 1;
        if let Err((error, _)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            outcomes.failure.get_or_insert(Failure { code, value_bytes });
        }
    }
}
