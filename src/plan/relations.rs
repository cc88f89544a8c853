//! What planning asks of the catalog: relations by name.

use crate::catalog::{CatalogSnapshot, ObjectKind, WatermarkClause};
use crate::connector::Takes;
use crate::error::{Error, Result};
use crate::types::Column;

use super::stream::{Changelog, EventTime, StreamPlan};

/// Resolves names. The catalog's snapshot is one; tests have their own.
pub trait Relations: Sync {
    /// The relation of that name (already folded).
    ///
    /// # Errors
    /// 42P01 if there is none.
    fn relation(&self, name: &str) -> Result<Relation>;

    /// The zone of whoever asks.
    fn time_zone(&self) -> &str {
        "UTC"
    }
}

/// A relation as planning sees it.
#[derive(Debug, Clone)]
pub struct Relation {
    pub name: String,
    pub columns: Vec<Column>,
    pub kind: RelationKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationKind {
    Source {
        watermark: Option<WatermarkClause>,
        changelog: Changelog,
        /// Of a source of upserts: the columns by which its messages replace each other.
        key: Vec<usize>,
    },
    Sink {
        takes: Takes,
    },
    View(ViewOutput),
    Job,
}

/// What is known of a view's rows, by its stored plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewOutput {
    pub changelog: Changelog,
    pub event_time: Option<EventTime>,
    pub unique_key: Option<Vec<usize>>,
}

impl Relations for CatalogSnapshot {
    fn relation(&self, name: &str) -> Result<Relation> {
        let object = CatalogSnapshot::relation(self, name)?;
        let kind = match &object.kind {
            ObjectKind::Source(source) => RelationKind::Source {
                watermark: source.watermark.clone(),
                changelog: source.source.changelog(),
                key: source.source.key().to_vec(),
            },
            ObjectKind::Sink(sink) => RelationKind::Sink { takes: sink.sink.takes() },
            ObjectKind::View(view) => RelationKind::View(ViewOutput::of(&StreamPlan::from_text(&view.plan)?)?),
            ObjectKind::Job(_) => RelationKind::Job,
        };
        Ok(Relation { name: object.name.clone(), columns: object.columns().to_vec(), kind })
    }
}

impl ViewOutput {
    /// # Errors
    /// If the plan has no output: it was checked when it was read.
    pub fn of(plan: &StreamPlan) -> Result<Self> {
        let output = plan.outputs.first().and_then(|output| plan.nodes.get(output.node));
        let node = output.ok_or_else(|| Error::internal("a view's plan has no output"))?;
        Ok(ViewOutput { changelog: node.changelog, event_time: node.event_time, unique_key: node.unique_key.clone() })
    }
}

impl RelationKind {
    /// As in a sentence.
    pub fn noun(&self) -> &'static str {
        match self {
            RelationKind::Source { .. } => "source",
            RelationKind::Sink { .. } => "sink",
            RelationKind::View(_) => "materialized view",
            RelationKind::Job => "streaming job",
        }
    }
}
