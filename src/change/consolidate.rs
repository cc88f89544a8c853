//! Consolidation: equal rows added up, rows of weight zero dropped.
