//! Avro messages whose schemas live in a registry, in the form that Confluent's clients write: a zero, the number of the
//! writer's schema (four bytes, the highest first), and the value in Avro's binary encoding. Reading and writing that encoding
//! is `arrow-avro`'s.
//!
//! Reading, in the order of the data path:
//!
//! 1. [`schemas`]: each schema that a chunk names is asked of the [`Registry`], once; the chunk waits meanwhile.
//! 2. [`decode`]: [`AvroDecoder`] sorts messages by their schemas.
//! 3. [`bounds`]: what a schema may be, since it comes from elsewhere.
//! 4. [`writer`]: messages of one schema become columns of Avro's types, only the wanted ones; then
//!    [`conform`](super::conform) brings these to the declared types.
//!
//! Writing: [`encode`] makes a schema of the columns ([`schema`]), registers it when the first row is written, and writes rows
//! by it.
//!
//! What holds:
//!
//! - A message is read by the schema that it was written with. Fields meet columns by name, as in JSON; a column without a field
//!   is null, a field without a column is skipped.
//! - A message that cannot be read leaves nothing behind; what is wrong with the registry is wrong with no message.
//! - No schema and no message makes the library panic, recurse without bound, or allocate more than a message's size warrants.
//! - What the encoder writes, the decoder reads back to the same values.
//!
//! What does not live here: how a registry is asked (`connector/schema_registry.rs`).

mod bounds;
mod decode;
mod encode;
mod schema;
mod schemas;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::sync::Arc;

pub use decode::AvroDecoder;
pub use encode::AvroEncoder;
pub use schemas::Asker;

use crate::error::{Error, Result};
use crate::types::SqlType;

/// The first byte of each message.
const MAGIC: u8 = 0;

/// A schema registry.
pub trait Registry: Send + Sync + fmt::Debug {
    /// The text of the schema with this number; `None` if there is none. Blocks; bounded in time and size.
    ///
    /// # Errors
    /// 08006 if the registry is away or out of order; others if it refuses.
    fn schema(&self, id: u32) -> Result<Option<String>>;

    /// Tells `asker` what [`Registry::schema`] gives, now or later, from any thread. Does not block.
    fn ask(&self, asker: Asker);

    /// The number of `schema` under `subject`; a registry that does not know it yet takes it up. Blocks; bounded.
    ///
    /// # Errors
    /// As [`Registry::schema`].
    fn register(&self, subject: &str, schema: &str) -> Result<u32>;
}

#[derive(Debug, Clone)]
pub struct AvroOptions {
    pub registry: Arc<dyn Registry>,
    /// Under what a sink registers its schema.
    pub subject: String,
}

impl PartialEq for AvroOptions {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry) && self.subject == other.subject
    }
}

impl Eq for AvroOptions {}

/// Refuses what Avro has no form for.
///
/// # Errors
/// `0A000`, naming the column.
fn check_columns(schema: &arrow::datatypes::Schema) -> Result<()> {
    fn supported(ty: &SqlType) -> bool {
        match ty {
            SqlType::Interval => false,
            SqlType::Row(fields) => fields.iter().all(|(_, ty)| supported(ty)),
            SqlType::Array(item) => supported(item),
            _ => true,
        }
    }
    for field in schema.fields() {
        let ty = SqlType::from_field(field);
        if !supported(&ty) {
            return Err(Error::unsupported(
                format!("column \"{}\" of type {ty} has no form in Avro", field.name()),
                "Declare the column as bigint with a unit of your own.",
            ));
        }
    }
    Ok(())
}
