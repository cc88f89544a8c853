//! What planning asks of the catalog: relations by name.

use crate::catalog::{CatalogSnapshot, ObjectKind, WatermarkClause};
use crate::change::Changelog;
use crate::connector::Takes;
use crate::error::Result;
use crate::types::Column;

/// Resolves names. The catalog's snapshot is one; tests have their own.
pub trait Relations: Sync {
    /// The relation of that name (already folded).
    ///
    /// # Errors
    /// 42P01 if there is none.
    fn relation(&self, name: &str) -> Result<Relation>;
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
    Source { watermark: Option<WatermarkClause>, changelog: Changelog },
    Sink { takes: Takes },
    View,
    Job,
}

impl Relations for CatalogSnapshot {
    fn relation(&self, name: &str) -> Result<Relation> {
        let object = CatalogSnapshot::relation(self, name)?;
        let kind = match &object.kind {
            ObjectKind::Source(source) => {
                RelationKind::Source { watermark: source.watermark.clone(), changelog: source.source.changelog() }
            }
            ObjectKind::Sink(sink) => RelationKind::Sink { takes: sink.sink.takes() },
            ObjectKind::View(_) => RelationKind::View,
            ObjectKind::Job(_) => RelationKind::Job,
        };
        Ok(Relation { name: object.name.clone(), columns: object.columns().to_vec(), kind })
    }
}

impl RelationKind {
    /// As in a sentence.
    pub fn noun(&self) -> &'static str {
        match self {
            RelationKind::Source { .. } => "source",
            RelationKind::Sink { .. } => "sink",
            RelationKind::View => "materialized view",
            RelationKind::Job => "streaming job",
        }
    }
}
