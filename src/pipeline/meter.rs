//! Tells the metrics what a tick loop did: once a tick, by the difference to the last.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::change::Watermark;
use crate::clock::{MICROS_PER_SECOND, Micros};
use crate::dataflow::OperatorStats;
use crate::metrics::{JobMetrics, Metrics, OperatorMetrics, PartitionMetrics};
use crate::plan::Op;

use super::core::Core;
use super::member::Member;
use super::reading::{PartitionCounts, Reading};
use super::subscribe::is_subscription;

/// The series of one pipeline. Partitions and ticks are the pipeline's; operators those of each job or view in it.
pub struct Meter {
    metrics: Arc<Metrics>,
    pipeline: JobMetrics,
    partitions: BTreeMap<(String, usize), PartitionSeries>,
    operators: BTreeMap<(String, usize), (OperatorMetrics, OperatorStats)>,
}

/// Of one partition.
struct PartitionSeries {
    handle: PartitionMetrics,
    last: PartitionCounts,
    /// It has a lag, since it has a watermark and goes on.
    lags: bool,
}

impl Meter {
    pub fn new(metrics: &Arc<Metrics>, pipeline: &str) -> Self {
        Meter {
            metrics: Arc::clone(metrics),
            pipeline: metrics.job(pipeline),
            partitions: BTreeMap::new(),
            operators: BTreeMap::new(),
        }
    }

    /// A tick that began at `began` has ended at `now`.
    pub fn tick(&mut self, core: &Core, began: Micros, now: Micros) {
        self.pipeline.tick(now.saturating_sub(began) as f64 / MICROS_PER_SECOND as f64);
        for reading in core.readings() {
            self.partitions(reading, now);
        }
        let members = core.members();
        // Subscriptions come and go with their readers, and have no names to be told apart by.
        members.iter().filter(|member| !is_subscription(member.id)).for_each(|member| self.operators(member));
        self.operators.retain(|(name, _), _| members.iter().any(|member| member.name == *name));
    }

    fn partitions(&mut self, reading: &Reading, now: Micros) {
        for (index, counts) in reading.counts.iter().enumerate() {
            let Some(partition) = reading.partition_id(index) else { continue };
            let series = self.partitions.entry((reading.name().to_string(), index));
            let PartitionSeries { handle, last, lags } = series.or_insert_with(|| PartitionSeries {
                handle: self.pipeline.partition(reading.name(), &partition.0),
                last: PartitionCounts::default(),
                lags: false,
            });
            // A source that is read anew starts to count from zero.
            handle.rows.inc_by(counts.rows.saturating_sub(last.rows));
            handle.bytes.inc_by(counts.bytes.saturating_sub(last.bytes));
            handle.bad_messages.inc_by(counts.bad_messages.saturating_sub(last.bad_messages));
            *last = *counts;
            let watermark = reading.watermarks.of(index);
            let goes_on = watermark != Watermark::END && !reading.watermarks.is_finished(index);
            let lag = (goes_on && watermark != Watermark::NONE).then(|| now.saturating_sub(watermark.0));
            if lag.is_some() || *lags {
                *lags = lag.is_some();
                self.pipeline.set_watermark_lag(reading.name(), &partition.0, lag);
            }
        }
    }

    fn operators(&mut self, member: &Member) {
        for (index, (stats, node)) in member.operators.iter().zip(&member.fragment.plan().nodes).enumerate() {
            let series = self.operators.entry((member.name.clone(), index));
            let (handle, last) = series.or_insert_with(|| {
                let label = format!("{} {}", node.id.0, name_of(&node.op));
                (self.metrics.job(&member.name).operator(&label), OperatorStats::default())
            });
            handle.output_rows.inc_by(stats.output_rows.saturating_sub(last.output_rows));
            handle.late_rows.inc_by(stats.late_rows.saturating_sub(last.late_rows));
            handle.set_state_bytes(stats.state_bytes);
            *last = *stats;
        }
    }
}

/// As EXPLAIN names operators.
fn name_of(op: &Op) -> &'static str {
    match op {
        Op::Scan { .. } => "scan",
        Op::ViewScan { .. } => "view scan",
        Op::Filter { .. } => "filter",
        Op::Project { .. } => "project",
        Op::Window { .. } => "window",
        Op::ProcessingTime => "processing time",
        Op::LateRows { .. } => "late rows",
        Op::Expand { .. } => "expand",
        Op::EarlyFiring { .. } => "early firing",
        Op::Aggregate { .. } => "aggregate",
        Op::WindowAggregate { .. } => "window aggregate",
        Op::Normalize { .. } => "normalize",
        Op::Upsert { .. } => "upsert",
        Op::Join { .. } => "join",
        Op::Union => "union",
        Op::TopN { .. } => "top-n",
        Op::WindowTopN(_) => "window-top-n",
        Op::IntervalJoin(_) => "interval join",
    }
}
