//! The catalog that changes: one writer at a time, readers never wait.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::file::CatalogFile;
use super::object::{Ended, JobObject, NewObject, Object, ObjectId, ObjectKind, Wanted};
use super::snapshot::CatalogSnapshot;
use crate::error::{Error, Result, SqlState};

#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<CatalogSnapshot>,
    /// Held while the catalog changes.
    kept: Mutex<Kept>,
}

/// Where the catalog outlives the process.
#[derive(Debug)]
enum Kept {
    Nowhere,
    /// Locked against other processes.
    File(CatalogFile),
    /// Given back: nothing changes any more.
    Closed,
}

impl Catalog {
    /// Opens the catalog of a data directory, which is made if need be and locked against other processes; without a
    /// directory an empty one that is kept in memory.
    ///
    /// # Errors
    /// 55000 if another process has it; XX001 naming the file if it cannot be read back.
    pub fn load(dir: Option<&Path>) -> Result<Catalog> {
        let (kept, snapshot) = match dir {
            None => (Kept::Nowhere, CatalogSnapshot::default()),
            Some(dir) => {
                let file = CatalogFile::open(dir)?;
                let snapshot = file.read()?;
                (Kept::File(file), snapshot)
            }
        };
        Ok(Catalog { current: ArcSwap::from_pointee(snapshot), kept: Mutex::new(kept) })
    }

    /// Gives the data directory back, for another process or a later opening. What is there can still be read.
    pub fn close(&self) {
        *self.kept.lock() = Kept::Closed;
    }

    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.current.load_full()
    }

    /// Adds an object. With IF NOT EXISTS an object of that name, of whatever kind, is left as it is and its id
    /// returned.
    ///
    /// # Errors
    /// 42P07 if the name is taken, 42710 if by a job.
    pub fn create(&self, new: NewObject) -> Result<ObjectId> {
        self.change(|catalog| match catalog.find(&new.name) {
            Some(there) if new.if_not_exists => Ok((None, there.id)),
            _ => catalog.added(new).map(|(next, id)| (Some(next), id)),
        })
    }

    /// Removes objects, all or none. What depends on them must be among them ([`CatalogSnapshot::plan_drop`]).
    ///
    /// # Errors
    /// 2BP01 if something else has come to depend on them.
    pub fn drop(&self, ids: &[ObjectId]) -> Result<()> {
        self.change(|catalog| Ok((Some(catalog.removed(ids)?), ())))
    }

    /// Remembers what the user last asked of a job, or that it came to its end, and what it had done.
    pub fn set_wanted(&self, id: ObjectId, wanted: Wanted, ended: Option<Ended>) -> Result<()> {
        self.change_job(id, |job| {
            let differs = job.wanted != wanted;
            (job.wanted, job.ended) = if differs { (wanted, ended) } else { (wanted, job.ended) };
            differs
        })
    }

    /// Remembers how many shards a job is to have, whatever stands in its statement.
    pub fn set_parallelism(&self, id: ObjectId, parallelism: usize) -> Result<()> {
        self.change_job(id, |job| job.options.altered_parallelism.replace(parallelism) != Some(parallelism))
    }

    /// `change` says whether there is anything to be kept.
    fn change_job(&self, id: ObjectId, change: impl FnOnce(&mut JobObject) -> bool) -> Result<()> {
        self.change(|catalog| {
            let Some(object) = catalog.get(id) else { return Err(dropped()) };
            let ObjectKind::Job(job) = &object.kind else { return Err(dropped()) };
            let mut job = job.clone();
            if !change(&mut job) {
                return Ok((None, ()));
            }
            let mut next = catalog.clone();
            next.insert(Object { kind: ObjectKind::Job(job), ..Object::clone(object) });
            Ok((Some(next), ()))
        })
    }

    /// Makes the next snapshot, writes it, shows it: in this order.
    fn change<T>(&self, make: impl FnOnce(&CatalogSnapshot) -> Result<(Option<CatalogSnapshot>, T)>) -> Result<T> {
        let kept = self.kept.lock();
        let (next, answer) = make(&self.current.load())?;
        if let Some(next) = next {
            match &*kept {
                Kept::Nowhere => {}
                Kept::File(file) => file.write(&next)?,
                Kept::Closed => return Err(Error::new(SqlState::AdminShutdown, "the server is shutting down")),
            }
            self.current.store(Arc::new(next));
        }
        Ok(answer)
    }
}

fn dropped() -> Error {
    Error::new(SqlState::UndefinedTable, "the streaming job was dropped meanwhile")
}
