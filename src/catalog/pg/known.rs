//! What every session finds beside its objects: the tables of schema `tidemill`, and the functions that SQL can call. Whoever
//! has them hands them in ([`super::Facts`]); here they get object ids.

use crate::types::Column;

/// The schema whose tables show what SHOW shows.
pub const TIDEMILL: &str = "tidemill";
pub const TIDEMILL_OID: i64 = 12_000;
/// Below those of the system catalogs.
const FIRST_TABLE_OID: i64 = 900;
const FIRST_FUNCTION_OID: i64 = 20_000;

#[derive(Debug, Default)]
pub struct Known {
    pub tables: Vec<KnownTable>,
    pub functions: Vec<KnownFunction>,
}

/// A table of schema [`TIDEMILL`].
#[derive(Debug)]
pub struct KnownTable {
    pub name: &'static str,
    pub columns: Vec<Column>,
}

/// A way to call a function, as `\df` shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownFunction {
    pub name: String,
    pub arguments: String,
    pub result: String,
    /// `pg_proc.prokind`.
    pub kind: &'static str,
}

impl Known {
    pub fn tables(&self) -> impl Iterator<Item = (i64, &KnownTable)> {
        (FIRST_TABLE_OID..).zip(&self.tables)
    }

    pub fn table(&self, oid: i64) -> Option<&KnownTable> {
        self.tables.get(usize::try_from(oid - FIRST_TABLE_OID).ok()?)
    }

    pub fn functions(&self) -> impl Iterator<Item = (i64, &KnownFunction)> {
        (FIRST_FUNCTION_OID..).zip(&self.functions)
    }

    pub fn function(&self, oid: i64) -> Option<&KnownFunction> {
        self.functions.get(usize::try_from(oid - FIRST_FUNCTION_OID).ok()?)
    }
}
