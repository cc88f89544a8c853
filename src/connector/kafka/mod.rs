//! Apache Kafka, through librdkafka: the only room that names `rdkafka`.
//!
//! A source, in the order of the data path:
//!
//! 1. [`options`]: WITH options become types; what we must own of librdkafka's settings is refused. [`fields`]: which columns
//!    a message's value holds, and which its key.
//! 2. [`startup`]: where to begin and to end; [`offsets`]: the startup mode becomes an offset for each partition, once, by asking the broker.
//! 3. [`fetch`]: a thread of its own takes messages from librdkafka in batches ([`queue`], where `unsafe` is)
//!    and copies their values into each partition's [`buffer`], with what is wanted of their [`metadata`].
//! 4. [`mod@source`]: the tick loop takes chunks out of the buffers; `format/` decodes them elsewhere.
//!
//! A sink: [`mod@sink`] encodes a part's changes, hands them to an idempotent producer and waits until the outcome of each is
//! known. [`client`] is what both share: settings, logs, errors in words.
//!
//! What holds:
//!
//! - Consumer groups are not used: partitions are assigned with explicit offsets, and an offset that is gone is an error
//!   (`auto.offset.reset=error`), never a jump.
//! - Only committed records are read, and their checksums are checked.
//! - Everything prefetched is bounded: ours by [`buffer::Limits`], librdkafka's by `queued.max.messages.kbytes`, per
//!   partition. A partition that is held back stays fetched: it is simply not asked (`pause` would throw away).
//! - A broker that is away is trouble, not an error: the reader says so and goes on trying.
//! - Delivery is at least once: a part is acknowledged by the brokers record by record before it counts as delivered.
//! - Passwords and keys never appear in Debug output, errors or logs of ours.
//!
//! What does not live here: what a message says (`format/`), watermarks, late rows, retries of a whole job.

mod buffer;
mod client;
mod fetch;
mod fields;
mod metadata;
mod offsets;
mod options;
mod queue;
mod sink;
mod source;
mod startup;

pub use self::sink::{sink, upsert_sink};
pub use self::source::{source, upsert_source};
