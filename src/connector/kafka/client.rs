//! What sources and sinks share: librdkafka's settings, its logs and errors, errors in words.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::options::Properties;
use crate::error::{Error, SqlState};

/// How long a statement waits for a broker: long enough for a cluster that elects a leader, short enough for a person.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest pause between two attempts to connect, in milliseconds: a broker that comes back is found again soon.
const RECONNECT_MAX_MS: &str = "2000";

/// Settings for any client.
pub(super) fn config(properties: &Properties) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("client.id", "tidemill");
    config.set("reconnect.backoff.max.ms", RECONNECT_MAX_MS);
    // Brokers close idle connections: nothing to tell.
    config.set("log.connection.close", "false");
    config.set_log_level(RDKafkaLogLevel::Info);
    for (key, value) in properties.iter() {
        config.set(key, value);
    }
    config
}

/// Whether librdkafka knows the property and takes the value; if not, what it says (without the value, which may be
/// secret).
pub(super) fn check_property(name: &str, value: &str) -> Result<(), String> {
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, ..)) if reason.contains("No such configuration property") => {
            Err("librdkafka has no such property; see its CONFIGURATION.md.".to_string())
        }
        Err(_) => Err("librdkafka does not take this value; see its CONFIGURATION.md.".to_string()),
    }
}

/// Takes librdkafka's logs to ours, and remembers why it does not get on.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// The newest complaint about connections, in librdkafka's words; cleared when something works again.
    complaint: Mutex<Option<String>>,
}

impl Context {
    pub(super) fn complaint(&self) -> Option<String> {
        self.complaint.lock().clone()
    }

    pub(super) fn clear_complaint(&self) {
        *self.complaint.lock() = None;
    }
}

/// A handle to one client's context: librdkafka has one, we keep another.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedContext(pub Arc<Context>);

impl ClientContext for SharedContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel as L;
        match level {
            L::Emerg | L::Alert | L::Critical | L::Error => tracing::warn!(target: "kafka", "{facility} {message}"),
            L::Warning | L::Notice => tracing::info!(target: "kafka", "{facility} {message}"),
            L::Info | L::Debug => tracing::debug!(target: "kafka", "{facility} {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "kafka", "{error}: {reason}");
        if is_connection_trouble(error.rdkafka_error_code()) {
            *self.0.complaint.lock() = Some(reason.to_string());
        }
    }
}

impl ConsumerContext for SharedContext {}

pub(super) fn is_connection_trouble(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as C;
    matches!(
        code,
        Some(
            C::BrokerTransportFailure
                | C::AllBrokersDown
                | C::Resolve
                | C::OperationTimedOut
                | C::RequestTimedOut
                | C::MessageTimedOut
                | C::NetworkException
                | C::BrokerNotAvailable
                | C::Authentication
                | C::SaslAuthenticationFailed
                | C::Fail
        )
    )
}

/// The broker cannot be reached. `detail`: librdkafka's words.
pub(super) fn unreachable(servers: &str, detail: Option<String>) -> Error {
    let error = Error::new(SqlState::ConnectionFailure, format!("cannot reach Kafka at \"{servers}\""))
        .with_hint("Check that the broker runs, and that 'properties.bootstrap.servers' and its listeners name it.");
    match detail {
        Some(detail) => error.with_detail(detail),
        None => error,
    }
}

pub(super) fn missing_topic(topic: &str, servers: &str) -> Error {
    Error::new(SqlState::UndefinedTable, format!("Kafka topic \"{topic}\" does not exist at \"{servers}\""))
        .with_hint(format!("Create it (kafka-topics.sh --create --topic {topic} ...), or correct the 'topic' option."))
}

/// Any other error of librdkafka, while `doing` something with a topic.
pub(super) fn failed(doing: &str, topic: &str, code: RDKafkaErrorCode) -> Error {
    Error::new(SqlState::ConnectionFailure, format!("cannot {doing} Kafka topic \"{topic}\": {}", words(code)))
}

/// librdkafka's code in words.
pub(super) fn words(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    // "UnknownTopicOrPartition (Broker: Unknown topic or partition)"
    match text.split_once(" (") {
        Some((_, words)) => words.trim_end_matches(')').to_string(),
        None => text,
    }
}

/// A client that cannot even be made: a setting that only the whole shows to be wrong.
pub(super) fn cannot_configure(error: &KafkaError) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("cannot configure the Kafka client: {error}"))
        .with_hint("Check the 'properties.' options against librdkafka's CONFIGURATION.md.")
}

/// What a failed call means: the broker is away, the topic is missing, or something else.
pub(super) fn call_failed(doing: &str, topic: &str, servers: &str, error: &KafkaError, context: &Context) -> Error {
    use RDKafkaErrorCode as C;
    match error.rdkafka_error_code() {
        code if is_connection_trouble(code) => unreachable(servers, context.complaint()),
        Some(C::UnknownTopicOrPartition | C::UnknownTopic | C::UnknownPartition) => missing_topic(topic, servers),
        Some(code) => failed(doing, topic, code),
        None => Error::new(SqlState::ConnectionFailure, format!("cannot {doing} Kafka topic \"{topic}\": {error}")),
    }
}
