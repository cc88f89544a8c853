//! When a job that has failed is started again: the strategies' arithmetic. What was going on is gone on with from the last
//! epoch, so only what may pass is worth another try: data that cannot be computed fails again where it did.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::catalog::RestartStrategy;
use crate::clock::Micros;
use crate::error::{Error, SqlState};

use super::epochs::span;

/// The failures of a job so far, as its strategy counts them.
#[derive(Debug)]
pub struct Restarts {
    strategy: RestartStrategy,
    /// Restarts so far; of an exponential delay since it was last reset.
    attempts: u32,
    /// The next pause of an exponential delay, without its jitter.
    backoff: Duration,
    /// When the job was last started again.
    started: Option<Micros>,
    /// Failures within the interval of a failure rate: at most as many as it allows.
    failures: VecDeque<Micros>,
    /// A number between -1 and 1, so that jobs that fail together are not all started together.
    jitter: fn() -> f64,
}

impl Restarts {
    pub fn new(strategy: RestartStrategy) -> Self {
        Restarts { strategy, attempts: 0, backoff: Duration::ZERO, started: None, failures: VecDeque::new(), jitter }
    }

    /// After which pause a job that failed at `now` is started again; `None`: it has failed for good.
    pub fn after(&mut self, error: &Error, now: Micros) -> Option<Duration> {
        if !may_pass(error.state()) {
            return None;
        }
        let pause = match self.strategy {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay } => (self.attempts < attempts).then_some(delay),
            RestartStrategy::FailureRate { max_failures, interval, delay } => {
                self.failures.retain(|at| span(*at, now) <= interval);
                let allowed = self.failures.len() < max_failures as usize;
                if allowed {
                    self.failures.push_back(now);
                }
                allowed.then_some(delay)
            }
            RestartStrategy::ExponentialDelay { initial, max, multiplier, reset_after, jitter, attempts } => {
                if self.started.is_none_or(|started| span(started, now) >= reset_after) {
                    self.attempts = 0;
                    self.backoff = initial;
                }
                let pause = self.backoff.mul_f64(1.0 + jitter * (self.jitter)());
                self.backoff = max.min(self.backoff.mul_f64(multiplier));
                attempts.is_none_or(|attempts| self.attempts < attempts).then_some(pause.min(max))
            }
        }?;
        self.attempts = self.attempts.saturating_add(1);
        let micros = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
        self.started = Some(now.saturating_add(micros));
        Some(pause)
    }
}

/// Whether the same may succeed another time: what was not there, or had no room, and what nobody has foreseen. What a row
/// cannot be computed for, what is damaged, and what is forbidden stays so.
fn may_pass(state: SqlState) -> bool {
    let of_class = |class: &str| state.code().starts_with(class);
    ["08", "53", "57", "58"].into_iter().any(of_class) || state == SqlState::InternalError
}

/// From the randomness that the system gives to hash maps.
fn jitter() -> f64 {
    let drawn = RandomState::new().hash_one(std::process::id());
    drawn as f64 / u64::MAX as f64 * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MICROS_PER_SECOND;

    /// What becomes of failures at these seconds: pauses in milliseconds, `x` where it is over.
    fn pauses(strategy: RestartStrategy, failures: &[i64]) -> String {
        let mut restarts = Restarts { jitter: || 1.0, ..Restarts::new(strategy) };
        let away = Error::new(SqlState::IoError, "away");
        let pause = |at: &i64| match restarts.after(&away, at * MICROS_PER_SECOND) {
            Some(pause) => pause.as_millis().to_string(),
            None => "x".into(),
        };
        failures.iter().map(pause).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn strategies_as_in_flink() {
        let seconds = Duration::from_secs;
        let fixed = RestartStrategy::FixedDelay { attempts: 2, delay: seconds(3) };
        assert_eq!(pauses(fixed, &[1, 10, 20]), "3000 3000 x");
        let rate = RestartStrategy::FailureRate { max_failures: 2, interval: seconds(60), delay: seconds(1) };
        assert_eq!(pauses(rate, &[0, 50, 61, 62, 112]), "1000 1000 1000 x 1000");
        assert_eq!(pauses(RestartStrategy::None, &[0]), "x");
        let exponential = |jitter, attempts| RestartStrategy::ExponentialDelay {
            initial: seconds(1),
            max: seconds(6),
            multiplier: 2.0,
            reset_after: seconds(100),
            jitter,
            attempts,
        };
        assert_eq!(pauses(exponential(0.0, None), &[0, 5, 10, 20, 30, 200, 210]), "1000 2000 4000 6000 6000 1000 2000");
        assert_eq!(pauses(exponential(0.1, None), &[0, 5, 10, 20]), "1100 2200 4400 6000");
        assert_eq!(pauses(exponential(0.0, Some(2)), &[0, 5, 10, 200]), "1000 2000 x 1000");
    }

    #[test]
    fn what_would_fail_again_is_not_tried_again() {
        let tried = |state| Restarts::new(RestartStrategy::default()).after(&Error::new(state, ""), 0).is_some();
        for state in [SqlState::IoError, SqlState::ConnectionFailure, SqlState::DiskFull, SqlState::InternalError] {
            assert!(tried(state), "{state:?}");
        }
        let stays = [SqlState::DivisionByZero, SqlState::NotNullViolation, SqlState::DataCorrupted];
        for state in stays.into_iter().chain([SqlState::ObjectNotInPrerequisiteState, SqlState::UndefinedTable]) {
            assert!(!tried(state), "{state:?}");
        }
    }
}
