//! EXPLAIN ANALYZE: the plan of what runs, and how far each of its operators is. It shows where rows stay: the operator
//! behind which there are none, and what its watermark waits for.

use std::fmt::Write;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::catalog::ObjectId;
use crate::change::Watermark;
use crate::dataflow::OperatorStats;
use crate::error::{Error, Result, SqlState};
use crate::pipeline::Engine;
use crate::pipeline::status::{Counts, Running};
use crate::plan;

/// A job as of its last tick.
///
/// # Errors
/// `55000` if it does not run.
pub fn job(engine: &Engine, id: ObjectId) -> Result<String> {
    let job = engine.jobs().into_iter().find(|job| job.id == id).ok_or_else(gone)?;
    let Some(running) = job.running.filter(|_| !job.state.is_over()) else {
        let message = format!("streaming job \"{}\" is not running: it is {}", job.name, job.state);
        return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
            .with_hint("EXPLAIN of its statement shows the plan; SHOW JOBS says why a job has failed."));
    };
    let mut text = operators(&running);
    let _ = writeln!(text, "Job: {}, parallelism {}", job.state, job.parallelism);
    totals(&mut text, &job.counts);
    let _ = writeln!(text, "Delivered: {} rows; {} bytes wait for sinks", job.delivered_rows, job.outbox_bytes);
    if let Some(reason) = job.reason {
        let _ = writeln!(text, "Held up: {}", reason.message());
    }
    Ok(text)
}

/// A materialized view as of its last tick.
///
/// # Errors
/// Its own, if it has failed.
pub fn view(engine: &Engine, id: ObjectId) -> Result<String> {
    let view = engine.views().into_iter().find(|view| view.id == id).ok_or_else(gone)?;
    if let Some(failed) = view.failed {
        return Err(failed);
    }
    engine.check_running()?;
    let mut text = operators(&view.running.ok_or_else(gone)?);
    totals(&mut text, &view.counts);
    Ok(text)
}

fn gone() -> Error {
    Error::new(SqlState::ObjectNotInPrerequisiteState, "it has not begun to run yet").with_hint("Try again.")
}

fn operators(running: &Running) -> String {
    plan::explain_with(&running.plan, &|node| running.operators.get(node).map(figures))
}

fn figures(stats: &OperatorStats) -> String {
    let mut text = format!("rows={}", stats.output_rows);
    if stats.late_rows > 0 {
        let _ = write!(text, " late={}", stats.late_rows);
    }
    if stats.state_bytes > 0 {
        let _ = write!(text, " state={} bytes", stats.state_bytes);
    }
    let _ = write!(text, " watermark={}", moment(stats.watermark));
    text
}

fn totals(text: &mut String, counts: &Counts) {
    let Counts { input_rows, output_rows, late_rows, bad_rows, .. } = counts;
    let _ = writeln!(text, "Input: {input_rows} rows, {late_rows} late, {bad_rows} bad");
    let _ = writeln!(text, "Output: {output_rows} rows");
}

/// A watermark as event time.
fn moment(watermark: Watermark) -> String {
    let time: ArrayRef = match watermark {
        Watermark::NONE => return "none".into(),
        Watermark::END => return "end of input".into(),
        Watermark(micros) => std::sync::Arc::new(TimestampMicrosecondArray::from(vec![micros])),
    };
    let options = FormatOptions::new().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let shown = ArrayFormatter::try_new(&time, &options).and_then(|formatter| formatter.value(0).try_to_string());
    // Beyond the calendar.
    shown.unwrap_or_else(|_| format!("{} us", watermark.0))
}
