//! A compiled expression that says which one it is when it fails.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::errors::through;
use crate::error::Error;

/// Characters of an expression that an error quotes: enough to know it by.
const MAX_QUOTED: usize = 120;

#[derive(Debug)]
pub struct Named {
    inner: Arc<dyn PhysicalExpr>,
    /// As EXPLAIN shows it.
    name: String,
}

impl Named {
    pub fn wrap(inner: Arc<dyn PhysicalExpr>, mut name: String) -> Arc<dyn PhysicalExpr> {
        if let Some((end, _)) = name.char_indices().nth(MAX_QUOTED) {
            name.truncate(end);
            name.push_str("...");
        }
        Arc::new(Named { inner, name })
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Display for Named {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Named {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.inner.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.inner.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let explain = |e| through(Error::from(e).context(format_args!("expression \"{}\"", self.name)));
        self.inner.evaluate(batch).map_err(explain)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Named { inner, name: self.name.clone() }))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
