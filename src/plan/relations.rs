//! What planning asks of the catalog: relations by name.

use crate::catalog::WatermarkClause;
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
    Source { watermark: Option<WatermarkClause> },
    Sink { takes_changes: bool },
    View,
    Job,
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
