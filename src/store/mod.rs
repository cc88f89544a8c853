//! The store: where epochs become durable. A folder (`file://DIR`), behind one [`Store`] so that there can be other kinds.
//!
//! 1. [`options`]: a URL and what it takes to get in, as types.
//! 2. [`Store`] is the handle that everybody clones. Paths are ours: lower-case words, digits, `.`, `-`, `_` and `/`.
//! 3. [`local`] is the folder, written so that what is acknowledged survives a power failure.
//! 4. [`digest`]: SHA-256, by which files are named and checked.
//! 5. [`faulty`]: a store for tests that fails, loses answers, and flips bits.
//!
//! What does not live here: what is stored, and when an operation is tried again. Nothing here tries anything twice, for
//! whoever repeats a `create` must know that its first try may have been refused by nobody but itself.
//!
//! Invariants:
//! - [`Store::create`] never replaces a file, and of many at once exactly one is answered [`Created::Created`].
//! - A file appears whole or not at all.
//! - What was acknowledged is durable, and seen by every later read and list.

pub mod digest;
pub mod faulty;
mod local;
mod options;

#[cfg(test)]
pub mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Result};

pub use digest::Digest;
pub use options::StoreUrl;

/// A create-only write's answer. An error is no answer: the file may be there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Created,
    /// Something is there already, perhaps from an earlier try of the same writer.
    Exists,
}

/// A file that a listing found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub path: String,
    pub bytes: u64,
}

/// What a kind of store can do; [`Store`] says what each means.
#[async_trait]
trait Backend: Send + Sync + fmt::Debug {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created>;
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()>;
    async fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>>;
    async fn list(&self, folder: &str, after: Option<&str>) -> Result<Vec<Listed>>;
    async fn delete(&self, path: &str) -> Result<()>;
}

/// A handle to a store; cheap to clone. Its methods need a tokio runtime, and are not tried again here. Errors: 58030
/// (or 53100, the disk is full; 42501, it is not allowed) with the path, and a hint.
#[derive(Clone, Debug)]
pub struct Store {
    url: Arc<str>,
    backend: Arc<dyn Backend>,
}

impl Store {
    /// Opens a store; a folder is made if it is not there.
    pub fn open(url: &StoreUrl) -> Result<Store> {
        let backend: Arc<dyn Backend> = match url {
            StoreUrl::File(folder) => Arc::new(local::Folder::open(folder)?),
        };
        Ok(Store { url: url.to_string().into(), backend })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes a file that must not be there yet.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        self.backend.create(checked(path)?, bytes).await
    }

    /// Writes a file, whatever was there. For files that are named by their content only.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.backend.put(checked(path)?, bytes).await
    }

    /// A whole file; `None` if there is none.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.backend.get(checked(path)?, None).await
    }

    /// Those bytes of a file, fewer if it ends before; `None` if there is no file.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        self.backend.get(checked(path)?, Some(range)).await
    }

    /// All files below a folder, in the order of their paths.
    pub async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        self.listed(folder, None).await
    }

    /// The files below a folder whose paths come after `after`, which lies in it.
    pub async fn list_after(&self, folder: &str, after: &str) -> Result<Vec<Listed>> {
        self.listed(folder, Some(checked(after)?)).await
    }

    async fn listed(&self, folder: &str, after: Option<&str>) -> Result<Vec<Listed>> {
        let mut listed = self.backend.list(checked(folder)?, after).await?;
        listed.sort_unstable();
        Ok(listed)
    }

    /// Deletes a file; that it is not there is no error.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.backend.delete(checked(path)?).await
    }
}

/// Paths are made by us of what cannot mean anything else in a file system or a URL.
fn checked(path: &str) -> Result<&str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && name.chars().all(plain);
    if path.split('/').all(is_name) {
        Ok(path)
    } else {
        Err(Error::internal(format!("\"{path}\" is no path within a store")))
    }
}
