//! A store for tests: what a plan says goes wrong, the rest goes to a real store.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Created, Listed, Store};
use crate::error::{Error, Result, SqlState};

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    Create(&'a str),
    Put(&'a str),
    Get(&'a str),
    List(&'a str),
    Delete(&'a str),
}

/// What goes wrong with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and that is said.
    Fails,
    /// The same, since the disk is full.
    DiskFull,
    /// It is done, but the answer is lost.
    LosesAnswer,
    /// It is never answered, and not done.
    Hangs,
    /// What is read has a bit flipped, in the byte at this place (from the beginning, over and over).
    FlipsBit(usize),
}

/// Decides what goes wrong; asked once for each operation, in order.
pub type Plan = dyn Fn(Asked<'_>) -> Option<Fault> + Send + Sync;

struct Faulty {
    inner: Arc<dyn Backend>,
    plan: Box<Plan>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faulty").field(&self.inner).finish()
    }
}

impl Store {
    /// This store, with faults.
    pub fn with_faults(&self, plan: impl Fn(Asked<'_>) -> Option<Fault> + Send + Sync + 'static) -> Store {
        let backend = Arc::new(Faulty { inner: Arc::clone(&self.backend), plan: Box::new(plan) });
        Store { url: Arc::clone(&self.url), backend }
    }
}

impl Faulty {
    /// Does `work` as far as `fault` lets it.
    async fn around<T>(
        fault: Option<Fault>,
        asked: Asked<'_>,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let failed = |state, what: &str| Err(Error::new(state, format!("{what}: {asked:?}")));
        match fault {
            Some(Fault::Fails) => failed(SqlState::IoError, "fails as planned"),
            Some(Fault::DiskFull) => failed(SqlState::DiskFull, "the disk is full as planned"),
            Some(Fault::LosesAnswer) => {
                let _ = work.await;
                failed(SqlState::IoError, "the answer is lost as planned")
            }
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::FlipsBit(_)) | None => work.await,
        }
    }
}

/// `bytes` with a bit of the byte at `at` flipped, counted over and over.
fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = at % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (at % 8);
    }
    bytes.into()
}

#[async_trait]
impl Backend for Faulty {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        Self::around((self.plan)(Asked::Create(path)), Asked::Create(path), self.inner.create(path, bytes)).await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        Self::around((self.plan)(Asked::Put(path)), Asked::Put(path), self.inner.put(path, bytes)).await
    }

    async fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        let asked = Asked::Get(path);
        let fault = (self.plan)(asked);
        let read = Self::around(fault, asked, self.inner.get(path, range)).await?;
        Ok(match fault {
            Some(Fault::FlipsBit(at)) => read.map(|bytes| flip(&bytes, at)),
            _ => read,
        })
    }

    async fn list(&self, folder: &str, after: Option<&str>) -> Result<Vec<Listed>> {
        Self::around((self.plan)(Asked::List(folder)), Asked::List(folder), self.inner.list(folder, after)).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        Self::around((self.plan)(Asked::Delete(path)), Asked::Delete(path), self.inner.delete(path)).await
    }
}
