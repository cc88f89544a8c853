//! How often epochs end, and what is done about a store that fails.

use std::time::Duration;

/// A pipeline's epochs.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochOptions {
    /// From the end of an epoch to the end of the next one.
    pub interval: Duration,
    /// At least this long from when an epoch became true to the end of the next one, however long that took.
    pub min_pause: Duration,
    /// An epoch that has not become true in this time has failed once. It is tried on; nothing of it is lost.
    pub timeout: Duration,
    /// How often in a row that may happen before the pipeline gives up.
    pub tolerable_failures: u32,
    /// How many of the newest commits are kept; two at least, so that the chain between them can be checked.
    pub retained: u32,
    /// A new base is written when the deltas are this many times as large as the last one.
    pub base_threshold: f64,
}

impl Default for EpochOptions {
    fn default() -> Self {
        EpochOptions {
            interval: Duration::from_secs(1),
            min_pause: Duration::ZERO,
            timeout: Duration::from_secs(60),
            tolerable_failures: 9,
            retained: 2,
            base_threshold: 1.0,
        }
    }
}
