//! The catalog on disk: `catalog.json`, replaced whole and atomically.
//!
//! Version 1. An object is kept as the statement that made it, which is parsed and typed again on loading; of jobs and
//! views also what was decided once: the stored plan, where its sources started, what is wanted of a job. A fixture of
//! every version is kept and read by a test.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::define;
use super::object::{Ended, JobObject, Object, ObjectId, ObjectKind, Starts, ViewObject, Wanted};
use super::snapshot::CatalogSnapshot;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::StatementKind;
use crate::sql::{column_type, parse_statement};
use crate::types::Column;

const FILE: &str = "catalog.json";
/// Written first, then renamed.
const NEW_FILE: &str = "catalog.json.new";
const LOCK: &str = "lock";
const VERSION: u32 = 1;

#[derive(Debug)]
pub struct CatalogFile {
    dir: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    next_id: u32,
    objects: Vec<StoredObject>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredObject {
    id: ObjectId,
    name: String,
    definition: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    view: Option<StoredView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<StoredJob>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredView {
    columns: Vec<StoredColumn>,
    plan: String,
    starts: Starts,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredColumn {
    name: String,
    #[serde(rename = "type")]
    ty: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredJob {
    plan: String,
    starts: Starts,
    wanted: Wanted,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
    /// As ALTER has last set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parallelism: Option<usize>,
}

/// Every version begins with it.
#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl CatalogFile {
    /// Makes the directory if need be, and locks it.
    pub fn open(dir: &Path) -> Result<Self> {
        let failed =
            |what: &str, e: std::io::Error| Error::from(e).context(format!("could not {what} \"{}\"", dir.display()));
        fs::create_dir_all(dir).map_err(|e| failed("create data directory", e))?;
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK));
        let lock = lock.map_err(|e| failed("open the lock in data directory", e))?;
        match lock.try_lock() {
            Ok(()) => Ok(CatalogFile { dir: dir.to_path_buf(), _lock: lock }),
            Err(fs::TryLockError::Error(e)) => Err(failed("lock data directory", e)),
            Err(fs::TryLockError::WouldBlock) => {
                let message = format!("data directory \"{}\" is in use by another process", dir.display());
                Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
                    .with_hint("Stop the other server, or give another directory with --data."))
            }
        }
    }

    /// The catalog as it was written last; empty if it never was.
    pub fn read(&self) -> Result<CatalogSnapshot> {
        let path = self.dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(CatalogSnapshot::default()),
            Err(e) => return Err(Error::from(e).context(format!("could not read \"{}\"", path.display()))),
        };
        decode(&text).map_err(|e| e.context(format!("catalog file \"{}\"", path.display())))
    }

    /// Replaces the file. When this returns, the new one survives a power failure; until then the old one is whole.
    pub fn write(&self, catalog: &CatalogSnapshot) -> Result<()> {
        let replace = || -> std::io::Result<()> {
            let new = self.dir.join(NEW_FILE);
            let mut file = File::create(&new)?;
            file.write_all(encode(catalog)?.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, self.dir.join(FILE))?;
            File::open(&self.dir)?.sync_all()
        };
        let context = || format!("could not write \"{}\"", self.dir.join(FILE).display());
        replace().map_err(|e| Error::from(e).context(context()))
    }
}

fn encode(catalog: &CatalogSnapshot) -> std::io::Result<String> {
    let objects = catalog.objects().map(|object| stored(object)).collect();
    let stored = Stored { version: VERSION, next_id: catalog.next_id(), objects };
    let mut text = serde_json::to_string_pretty(&stored)?;
    text.push('\n');
    Ok(text)
}

fn stored(object: &Object) -> StoredObject {
    let (view, job) = match &object.kind {
        ObjectKind::Source(_) | ObjectKind::Sink(_) => (None, None),
        ObjectKind::View(view) => {
            let column = |c: &Column| StoredColumn { name: c.name.clone(), ty: column_type::to_sql(&c.ty) };
            let columns = view.columns.iter().map(column).collect();
            (Some(StoredView { columns, plan: view.plan.to_string(), starts: view.starts.clone() }), None)
        }
        ObjectKind::Job(job) => {
            let (plan, starts) = (job.plan.to_string(), job.starts.clone());
            let (wanted, ended, parallelism) = (job.wanted, job.ended, job.options.altered_parallelism);
            (None, Some(StoredJob { plan, starts, wanted, ended, parallelism }))
        }
    };
    let Object { id, name, definition, depends_on, .. } = object;
    let (name, definition, depends_on) = (name.clone(), definition.clone(), depends_on.clone());
    StoredObject { id: *id, name, definition, depends_on, view, job }
}

fn decode(text: &str) -> Result<CatalogSnapshot> {
    let VersionOnly { version } = serde_json::from_str(text).map_err(damaged)?;
    if version != VERSION {
        return Err(Error::new(SqlState::DataCorrupted, format!("format {version} is not known here")).with_hint(
            format!("This Tidemill reads format {VERSION}; start the one that wrote the file, or a newer one."),
        ));
    }
    let stored: Stored = serde_json::from_str(text).map_err(damaged)?;
    let mut catalog = CatalogSnapshot::with_next_id(stored.next_id);
    for object in stored.objects {
        let name = object.name.clone();
        if catalog.find(&name).is_some() || catalog.get(object.id).is_some() || object.id.0 >= stored.next_id {
            return Err(damaged(format!("object \"{name}\" is there twice, or has an id not yet given")));
        }
        if let Some(missing) = object.depends_on.iter().find(|id| catalog.get(**id).is_none()) {
            return Err(damaged(format!("\"{name}\" depends on object {}, which is not there", missing.0)));
        }
        catalog.insert(restored(object).map_err(|e| e.context(format!("object \"{name}\"")))?);
    }
    Ok(catalog)
}

fn restored(stored: StoredObject) -> Result<Object> {
    let StoredObject { id, name, definition, depends_on, view, job } = stored;
    let kind = match (parse_statement(&definition)?.kind, view, job) {
        (StatementKind::CreateSource(create), None, None) => ObjectKind::Source(define::source(&create)?),
        (StatementKind::CreateSink(create), None, None) => ObjectKind::Sink(define::sink(&create)?),
        (StatementKind::CreateView(_), Some(StoredView { columns, plan, starts }), None) => {
            let column = |c: StoredColumn| -> Result<Column> {
                Ok(Column { ty: column_type::parse(&c.ty)?, name: c.name, not_null: false })
            };
            let columns = columns.into_iter().map(column).collect::<Result<_>>()?;
            ObjectKind::View(ViewObject { columns, plan: plan.into(), starts })
        }
        (StatementKind::CreateJob(create), None, Some(StoredJob { plan, starts, wanted, ended, parallelism })) => {
            let mut options = define::job(&create)?;
            options.altered_parallelism = parallelism;
            ObjectKind::Job(JobObject { plan: plan.into(), options, starts, wanted, ended })
        }
        _ => return Err(damaged("its statement does not fit what else is stored")),
    };
    Ok(Object { id, name, definition, depends_on, kind })
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(SqlState::DataCorrupted, format!("damaged: {what}"))
        .with_hint("Restore the file from a backup, or move it away to begin with an empty catalog.")
}
