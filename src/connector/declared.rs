//! The columns of a source or sink as they are declared, and which of them are METADATA.

use crate::error::{Error, Result, SqlState};
use crate::types::{Column, SqlType};

/// What stands between the parentheses of CREATE SOURCE and CREATE SINK, as connectors see it.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    pub columns: &'a [Column],
    pub metadata: &'a [MetadataColumn],
}

/// `name type METADATA [FROM 'key'] [VIRTUAL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataColumn {
    /// Index into the declared columns.
    pub column: usize,
    /// What the connector calls it; the column's own name if nothing else is said.
    pub key: String,
    /// It cannot be written.
    pub is_virtual: bool,
    /// Of METADATA in the statement.
    pub position: usize,
}

impl Declared<'_> {
    /// Indices of the columns that are no METADATA: those that a message or line holds, in their order.
    pub fn physical(&self) -> Vec<usize> {
        (0..self.columns.len()).filter(|index| self.metadata.iter().all(|m| m.column != *index)).collect()
    }

    /// Each METADATA column with what `find` makes of its key and type.
    ///
    /// # Errors
    /// 42703 for a key that is not among `keys` (what each is called, and its type in words); 42804 for a type that `find`
    /// does not take.
    pub fn resolve_metadata<T>(
        &self,
        keys: &[(&str, &str)],
        find: impl Fn(&str, &SqlType) -> Option<T>,
    ) -> Result<Vec<(usize, T)>> {
        let mut resolved = Vec::with_capacity(self.metadata.len());
        for MetadataColumn { column, key, position, .. } in self.metadata {
            let Some(declared) = self.columns.get(*column) else { continue };
            let Some((_, types)) = keys.iter().find(|(known, _)| known == key) else {
                let names = keys.iter().map(|(name, _)| *name).collect::<Vec<_>>();
                let hint = if names.is_empty() {
                    "This connector has no metadata: remove the column.".to_string()
                } else {
                    super::options::one_of(key, &names)
                };
                return Err(Error::new(SqlState::UndefinedColumn, format!("metadata \"{key}\" does not exist"))
                    .with_hint(hint)
                    .at(*position));
            };
            let Some(found) = find(key, &declared.ty) else {
                let name = &declared.name;
                let message = format!("metadata column \"{name}\" cannot be of type {}", declared.ty);
                return Err(Error::new(SqlState::DatatypeMismatch, message)
                    .with_hint(format!("Metadata \"{key}\" is {types}."))
                    .at(*position));
            };
            resolved.push((*column, found));
        }
        Ok(resolved)
    }
}

impl<'a> From<&'a [Column]> for Declared<'a> {
    fn from(columns: &'a [Column]) -> Self {
        Declared { columns, metadata: &[] }
    }
}

impl<'a> From<&'a Vec<Column>> for Declared<'a> {
    fn from(columns: &'a Vec<Column>) -> Self {
        Declared { columns, metadata: &[] }
    }
}

impl<'a, const N: usize> From<&'a [Column; N]> for Declared<'a> {
    fn from(columns: &'a [Column; N]) -> Self {
        Declared { columns, metadata: &[] }
    }
}
