//! What SHOW EPOCHS and the metrics tell of a pipeline's epochs. An epoch that would write nothing is none, and leaves no
//! record; nor does one that is still being handed out.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::checkpoint::{Committed, EpochError};
use crate::clock::Micros;
use crate::error::Error;
use crate::metrics::{EpochMetrics, EpochSteps};

/// Epochs that are remembered of a pipeline: a minute of them at the default interval. They are gone with the process.
pub const REMEMBERED: usize = 60;

/// An epoch of a pipeline.
#[derive(Debug, Clone)]
pub struct EpochRecord {
    /// Its number in the commit log.
    pub epoch: u64,
    pub state: EpochState,
    /// When its last tick was over.
    pub ended: Micros,
    /// As far as they are over.
    pub steps: EpochSteps,
    /// Entries of state that changed in it.
    pub entries: u64,
    /// What these are in the store. Known of a complete one, like all sizes.
    pub state_bytes: u64,
    /// Results that no sink was known to have.
    pub outbox_bytes: u64,
    /// All state: base and deltas.
    pub total_bytes: u64,
}

impl EpochRecord {
    pub(super) fn writing(epoch: u64, ended: Micros, steps: EpochSteps, entries: u64) -> Self {
        let (state, state_bytes, outbox_bytes, total_bytes) = (EpochState::Writing, 0, 0, 0);
        EpochRecord { epoch, state, ended, steps, entries, state_bytes, outbox_bytes, total_bytes }
    }
}

#[derive(Debug, Clone)]
pub enum EpochState {
    /// Handed out, on its way into the store; tried again if that fails.
    Writing,
    Complete,
    /// The log is closed: what became of it is found out when the pipeline is opened anew.
    Failed(Error),
}

/// The last epochs of one pipeline, oldest first, over its lives in this process.
#[derive(Debug, Clone)]
pub struct EpochHistory {
    records: Arc<Mutex<VecDeque<EpochRecord>>>,
    metrics: EpochMetrics,
}

impl EpochHistory {
    pub fn new(metrics: EpochMetrics) -> Self {
        EpochHistory { records: Arc::default(), metrics }
    }

    pub fn records(&self) -> Vec<EpochRecord> {
        self.records.lock().iter().cloned().collect()
    }

    /// An epoch is on its way into the store.
    pub(super) fn writes(&self, record: EpochRecord) {
        let mut records = self.records.lock();
        if records.len() == REMEMBERED {
            records.pop_front();
        }
        records.push_back(record);
    }

    /// What came of it, at `now`.
    pub(super) fn wrote(&self, epoch: u64, outcome: &Result<Committed, EpochError>, now: Micros) {
        let mut records = self.records.lock();
        let is_it = |record: &&mut EpochRecord| record.epoch == epoch && matches!(record.state, EpochState::Writing);
        let record = records.iter_mut().rev().find(is_it);
        match (outcome, record) {
            (Ok(committed), Some(record)) => {
                record.state = EpochState::Complete;
                record.steps.upload = committed.steps.files;
                record.steps.commit = committed.steps.commit;
                record.steps.total = super::epochs::span(record.ended, now);
                record.state_bytes = committed.state_bytes;
                record.outbox_bytes = committed.outbox_bytes;
                record.total_bytes = committed.total_state_bytes;
                self.metrics.complete(now, &record.steps, record.state_bytes, record.total_bytes);
            }
            (Err(error), Some(record)) => {
                record.state = EpochState::Failed(error.error().clone());
                self.metrics.failed();
            }
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checkpoint::StepTimes;
    use crate::error::SqlState;
    use crate::metrics::Metrics;

    fn record(epoch: u64) -> EpochRecord {
        let steps = EpochSteps { freeze: Duration::from_millis(2), ..EpochSteps::default() };
        EpochRecord::writing(epoch, 5_000, steps, 3)
    }

    #[test]
    fn the_last_epochs_are_remembered_with_what_came_of_them() {
        let metrics = Metrics::new();
        let history = EpochHistory::new(metrics.job("j").epochs());
        for epoch in 1..=REMEMBERED as u64 + 5 {
            history.writes(record(epoch));
            let steps = StepTimes { files: Duration::from_millis(7), ..StepTimes::default() };
            let committed = Committed { epoch, state_bytes: 10, total_state_bytes: 50, steps, ..Committed::default() };
            history.wrote(epoch, &Ok(committed), 25_000);
        }
        history.writes(record(100));
        let away = EpochError::Failed(Error::new(SqlState::IoError, "the store is away"));
        history.wrote(100, &Err(away), 30_000);
        // Of another life, which does not know of it any more.
        history.wrote(100, &Ok(Committed::default()), 40_000);

        let records = history.records();
        assert_eq!(records.len(), REMEMBERED);
        let first = records.first().unwrap();
        assert_eq!((first.epoch, first.steps.total), (7, Duration::from_millis(20)));
        assert_eq!((first.steps.freeze, first.steps.upload), (Duration::from_millis(2), Duration::from_millis(7)));
        assert_eq!((first.state_bytes, first.total_bytes), (10, 50));
        assert!(matches!(&records.last().unwrap().state, EpochState::Failed(e) if e.message() == "the store is away"));

        let text = metrics.encode().unwrap();
        for line in [
            r#"tidemill_epochs_total{job="j",outcome="complete"} 65"#,
            r#"tidemill_epochs_total{job="j",outcome="failed"} 1"#,
            r#"tidemill_epoch_step_duration_seconds_count{job="j",step="upload"} 65"#,
            r#"tidemill_epoch_bytes_total{job="j"} 650"#,
            r#"tidemill_epoch_total_bytes{job="j"} 50"#,
            r#"tidemill_last_epoch_timestamp_seconds{job="j"} 0.025"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
        metrics.remove_job("j");
        assert!(!metrics.encode().unwrap().contains("\"j\""));
    }
}
