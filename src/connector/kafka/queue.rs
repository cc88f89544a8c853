//! One partition's queue in librdkafka, read in batches. The only `unsafe` code of Tidemill: `rdkafka` offers messages one
//! at a time only, which costs twice as much CPU as `rd_kafka_consume_batch_queue`.

#![expect(unsafe_code, reason = "librdkafka's batch queue has no safe interface; every block says why it is sound")]

use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::client::SharedContext;
use super::metadata::{About, TimestampType, Wanted};

/// Messages taken from librdkafka at once: enough that the call does not count.
const BATCH: usize = 1024;

/// Wakes the fetching thread: messages came, room was made, or it is to stop.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(super) fn raise(&self) {
        let mut raised = self.raised.lock();
        if !*raised {
            *raised = true;
            self.changed.notify_one();
        }
    }

    /// Waits until the signal is raised, at most `timeout`, and lowers it.
    pub(super) fn wait(&self, timeout: std::time::Duration) {
        let mut raised = self.raised.lock();
        if !*raised {
            self.changed.wait_for(&mut raised, timeout);
        }
        *raised = false;
    }
}

/// What a queue yields.
pub(super) enum Fetched<'a> {
    /// `None`: the message has no value (a tombstone).
    Message {
        offset: u64,
        value: Option<&'a [u8]>,
        about: About<'a>,
    },
    /// The partition's present end: the offset that the next message will have at least.
    End {
        offset: u64,
    },
    Failed {
        code: RDKafkaErrorCode,
        reason: String,
    },
}

/// A partition's own queue. It takes the partition's messages out of the consumer's common queue, so that a partition can
/// be left alone without losing what was fetched.
pub(super) struct PartitionQueue {
    queue: NonNull<rd::rd_kafka_queue_t>,
    batch: Vec<*mut rd::rd_kafka_message_t>,
    /// Raised from librdkafka's threads, which hold a plain pointer to it: alive until the callback is taken back in Drop.
    signal: Arc<Signal>,
    /// The queue belongs to this client: it must be destroyed first. Fields are dropped after `Drop::drop` ran.
    _consumer: Arc<BaseConsumer<SharedContext>>,
}

// SAFETY: librdkafka's queues may be used from any thread; `batch` is empty between calls, and only `&mut self` fills it.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Splits off the queue of an assigned partition; `signal` is raised when it becomes non-empty.
    pub(super) fn split(
        consumer: &Arc<BaseConsumer<SharedContext>>,
        topic: &str,
        partition: i32,
        signal: Arc<Signal>,
    ) -> Option<PartitionQueue> {
        let topic = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: `client` is alive (we hold the consumer), `topic` is a C string that librdkafka copies. The returned
        // reference is ours and is given back in Drop. Forwarding to null only detaches the queue.
        let queue = unsafe {
            let queue = NonNull::new(rd::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition))?;
            rd::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            queue
        };
        // SAFETY: the pointer stays valid until Drop takes the callback back: `signal` is kept beside the queue.
        unsafe {
            let opaque = Arc::as_ptr(&signal).cast_mut().cast::<c_void>();
            rd::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(raise_signal), opaque);
        }
        Some(PartitionQueue { queue, batch: Vec::with_capacity(BATCH), signal, _consumer: Arc::clone(consumer) })
    }

    /// Hands what is at hand, at most one batch, to `each`; says how much it was. Does not block. Of a message's metadata
    /// there is what is `wanted`.
    pub(super) fn consume(&mut self, wanted: Option<&Wanted>, mut each: impl FnMut(Fetched<'_>)) -> usize {
        self.batch.clear();
        // SAFETY: the vector has room for BATCH pointers; librdkafka writes as many as it returns, each to a message that
        // is ours from then on.
        let count = unsafe {
            let count = rd::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.batch.as_mut_ptr(), BATCH);
            let count = usize::try_from(count).unwrap_or(0);
            self.batch.set_len(count);
            count
        };
        for message in self.batch.drain(..).filter_map(NonNull::new) {
            let message = Message(message);
            each(message.fetched(wanted));
        }
        count
    }

    /// Messages that librdkafka holds for us.
    pub(super) fn len(&self) -> usize {
        // SAFETY: the queue is alive until Drop.
        unsafe { rd::rd_kafka_queue_length(self.queue.as_ptr()) }
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: takes the callback back under the queue's lock, so that nobody uses `signal` afterwards; then gives our
        // reference to the queue back. The client is alive: `_consumer` is dropped later.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
        self.signal.raise();
    }
}

/// Called on librdkafka's threads. Must not call back into librdkafka, and must not unwind: raising a signal does neither.
unsafe extern "C" fn raise_signal(_client: *mut rd::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `opaque` is the pointer given in `split`, valid while the callback is enabled.
    let signal = unsafe { &*opaque.cast::<Signal>() };
    signal.raise();
}

/// A message that is ours: given back when dropped, also if `each` unwinds.
struct Message(NonNull<rd::rd_kafka_message_t>);

impl Message {
    fn fetched(&self, wanted: Option<&Wanted>) -> Fetched<'_> {
        // SAFETY: librdkafka hands out initialised messages that stay unchanged until they are destroyed.
        let message = unsafe { self.0.as_ref() };
        let offset = u64::try_from(message.offset).unwrap_or(0);
        match message.err {
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                let value = (!message.payload.is_null()).then(|| {
                    // SAFETY: `payload` points to `len` bytes that live as long as the message.
                    unsafe { std::slice::from_raw_parts(message.payload.cast::<u8>(), message.len) }
                });
                let about = wanted.map_or_else(About::default, |wanted| self.about(wanted));
                Fetched::Message { offset, value, about }
            }
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => Fetched::End { offset },
            code => Fetched::Failed { code: code.into(), reason: self.reason() },
        }
    }

    fn about(&self, wanted: &Wanted) -> About<'_> {
        // SAFETY: librdkafka hands out initialised messages that stay unchanged until they are destroyed.
        let message = unsafe { self.0.as_ref() };
        let key = (!message.key.is_null()).then(|| {
            // SAFETY: `key` points to `key_len` bytes that live as long as the message.
            unsafe { std::slice::from_raw_parts(message.key.cast::<u8>(), message.key_len) }
        });
        let timestamp = if wanted.timestamp() { self.timestamp() } else { None };
        let headers = if wanted.headers() { self.headers() } else { Vec::new() };
        About { key, timestamp, headers }
    }

    fn timestamp(&self) -> Option<(i64, TimestampType)> {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive; librdkafka writes the type to `kind`.
        let millis = unsafe { rd::rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) };
        match kind {
            rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => Some((millis, TimestampType::CreateTime)),
            rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => {
                Some((millis, TimestampType::LogAppendTime))
            }
            _ => None,
        }
    }

    /// In the order in which they were written; a name may come twice.
    fn headers(&self) -> Vec<(&[u8], Option<&[u8]>)> {
        let mut found = Vec::new();
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive; the headers that librdkafka points us to are the message's own.
        let code = unsafe { rd::rd_kafka_message_headers(self.0.as_ptr(), &raw mut headers) };
        if code != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
            return found;
        }
        loop {
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            // SAFETY: `headers` is alive; librdkafka writes to the three places only if there is a header of that index.
            let code = unsafe {
                let (name, value, length) = (&raw mut name, &raw mut value, &raw mut length);
                rd::rd_kafka_header_get_all(headers, found.len(), name, value, length)
            };
            if code != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return found;
            }
            // SAFETY: a C string, and `length` bytes, that live as long as the message.
            let (name, value) = unsafe {
                let bytes = |at: *const c_void| std::slice::from_raw_parts(at.cast::<u8>(), length);
                (CStr::from_ptr(name).to_bytes(), (!value.is_null()).then(|| bytes(value)))
            };
            found.push((name, value));
        }
    }

    /// What librdkafka says about an error.
    fn reason(&self) -> String {
        // SAFETY: for a message with an error this is a C string that lives as long as the message, or null.
        unsafe {
            let text = rd::rd_kafka_message_errstr(self.0.as_ptr());
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the message is ours, and nothing borrows from it any more.
        unsafe { rd::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}
