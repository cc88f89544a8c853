//! What is done about a job that has failed: `restart.strategy` and its options, named and meant as in Flink.

use std::time::Duration;

use crate::connector::options::{Choice, OptionReader};
use crate::error::Result;

/// When a job that has failed is started again from its last epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RestartStrategy {
    /// Never.
    None,
    FixedDelay {
        /// After so many it has failed for good.
        attempts: u32,
        delay: Duration,
    },
    FailureRate {
        /// One more within the interval, and it has failed for good.
        max_failures: u32,
        interval: Duration,
        delay: Duration,
    },
    ExponentialDelay {
        initial: Duration,
        max: Duration,
        /// The pause grows by it, from one failure to the next.
        multiplier: f64,
        /// A job that has run for so long begins with the first pause again.
        reset_after: Duration,
        /// By this share of it a pause is longer or shorter, at random.
        jitter: f64,
        /// `None`: without end.
        attempts: Option<u32>,
    },
}

impl Default for RestartStrategy {
    fn default() -> Self {
        RestartStrategy::ExponentialDelay {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            multiplier: 1.5,
            reset_after: Duration::from_secs(3600),
            jitter: 0.1,
            attempts: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    FixedDelay,
    FailureRate,
    ExponentialDelay,
}

impl Choice for Kind {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("exponential-delay", Kind::ExponentialDelay),
        ("fixed-delay", Kind::FixedDelay),
        ("failure-rate", Kind::FailureRate),
        ("none", Kind::None),
    ];
}

impl RestartStrategy {
    /// Takes the options of a job.
    ///
    /// # Errors
    /// 22023 for a value that cannot be, and for options of another strategy.
    pub fn read(options: &mut OptionReader) -> Result<Self> {
        let kind = options.choice("restart.strategy")?.unwrap_or(Kind::ExponentialDelay);
        for (name, _) in Kind::CHOICES.iter().filter(|(_, other)| *other != kind) {
            if let Some((_, option)) = options.prefixed(&format!("restart.{name}.")).first() {
                let key = &option.key.value;
                let (message, hint) = (
                    format!("option \"{key}\" belongs to another restart strategy"),
                    format!("Remove it, or add 'restart.strategy' = '{name}'."),
                );
                return Err(options.error(key, message).with_hint(hint));
            }
        }
        match kind {
            Kind::None => Ok(RestartStrategy::None),
            Kind::FixedDelay => Ok(RestartStrategy::FixedDelay {
                attempts: options.optional("restart.fixed-delay.attempts")?.unwrap_or(1),
                delay: options.optional("restart.fixed-delay.delay")?.unwrap_or(Duration::from_secs(1)),
            }),
            Kind::FailureRate => Ok(RestartStrategy::FailureRate {
                max_failures: options.optional("restart.failure-rate.max-failures-per-interval")?.unwrap_or(1),
                interval: options
                    .optional("restart.failure-rate.failure-rate-interval")?
                    .unwrap_or(Duration::from_secs(60)),
                delay: options.optional("restart.failure-rate.delay")?.unwrap_or(Duration::from_secs(1)),
            }),
            Kind::ExponentialDelay => exponential_delay(options),
        }
    }
}

fn exponential_delay(options: &mut OptionReader) -> Result<RestartStrategy> {
    const MULTIPLIER: &str = "restart.exponential-delay.backoff-multiplier";
    const JITTER: &str = "restart.exponential-delay.jitter-factor";
    const MAX: &str = "restart.exponential-delay.max-backoff";
    let seconds = Duration::from_secs;
    let initial = options.optional("restart.exponential-delay.initial-backoff")?.unwrap_or(seconds(1));
    let max = options.optional(MAX)?.unwrap_or(seconds(60));
    let multiplier = options.optional(MULTIPLIER)?.unwrap_or(1.5);
    let jitter = options.optional(JITTER)?.unwrap_or(0.1);
    if max < initial {
        return Err(options.error(MAX, "the longest pause is shorter than the first").with_hint(
            "Raise restart.exponential-delay.max-backoff, or lower restart.exponential-delay.initial-backoff.",
        ));
    }
    if multiplier < 1.0 {
        return Err(options.error(MULTIPLIER, "not a multiplier").with_hint("Pauses grow by it: 1.0 or more."));
    }
    if !(0.0..=1.0).contains(&jitter) {
        return Err(options.error(JITTER, "not a share").with_hint("It lies between 0.0 and 1.0."));
    }
    Ok(RestartStrategy::ExponentialDelay {
        initial,
        max,
        multiplier,
        reset_after: options.optional("restart.exponential-delay.reset-backoff-threshold")?.unwrap_or(seconds(3600)),
        jitter,
        attempts: options.optional("restart.exponential-delay.attempts-before-reset-backoff")?,
    })
}
