//! A store in a folder: each file is written beside its place and synced, then it gets its name, then the folder is
//! synced. So a file appears whole or not at all, and what was acknowledged survives a power failure. object_store's
//! own local files are not synced.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Created, Listed};
use crate::error::{Error, Result, SqlState};
use crate::failpoint;

/// Where files are written before they get their names. No path of ours begins with a dot.
const UNFINISHED: &str = ".unfinished";

/// Numbers the unfinished files of this process.
static NEXT_UNFINISHED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub struct Folder {
    root: Arc<Path>,
}

/// How a file that was written gets its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// By a hard link, which never replaces anything.
    CreateOnly,
    Replacing,
}

impl Folder {
    pub fn open(root: &Path) -> Result<Folder> {
        let unfinished = root.join(UNFINISHED);
        let prepare = || {
            make_folder(&unfinished)?;
            clear_left_over(&unfinished)
        };
        prepare().map_err(|e| failed("could not open store", root, &e))?;
        Ok(Folder { root: root.into() })
    }

    /// Runs `work` on a thread that may block. An error of its says what could not be done to which file.
    async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        path: &str,
        work: impl FnOnce(&Path, &Path) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (root, file) = (Arc::clone(&self.root), self.root.join(path));
        let done = tokio::task::spawn_blocking(move || work(&root, &file).map_err(|e| failed(what, &file, &e))).await;
        done.map_err(|e| Error::internal(format!("a thread of the store ended: {e}")))?
    }
}

#[async_trait]
impl Backend for Folder {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let work = move |root: &Path, file: &Path| write(root, file, &bytes, Naming::CreateOnly);
        self.blocking("could not create", path, work).await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let work = move |root: &Path, file: &Path| write(root, file, &bytes, Naming::Replacing).map(|_| ());
        self.blocking("could not write", path, work).await
    }

    async fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        self.blocking("could not read", path, move |_, file| match read(file, range) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
        .await
    }

    async fn list(&self, folder: &str, after: Option<&str>) -> Result<Vec<Listed>> {
        let after = after.map(str::to_string);
        let work = move |root: &Path, folder: &Path| {
            let mut listed = files_below(root, folder)?;
            listed.retain(|file| after.as_ref().is_none_or(|after| file.path > *after));
            Ok(listed)
        };
        self.blocking("could not list", folder, work).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.blocking("could not delete", path, |_, file| match fs::remove_file(file) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        })
        .await
    }
}

fn write(root: &Path, file: &Path, bytes: &[u8], naming: Naming) -> std::io::Result<Created> {
    let number = NEXT_UNFINISHED.fetch_add(1, Ordering::Relaxed);
    let unfinished = root.join(UNFINISHED).join(format!("{}-{number}", std::process::id()));
    let written = write_and_name(&unfinished, file, bytes, naming);
    // A rename has taken it away; left over otherwise, and no loss if it stays until the next start.
    let _ = fs::remove_file(&unfinished);
    written
}

fn write_and_name(unfinished: &Path, file: &Path, bytes: &[u8], naming: Naming) -> std::io::Result<Created> {
    let mut writing = File::create(unfinished)?;
    writing.write_all(bytes)?;
    failpoint::reach("store::file::written");
    writing.sync_all()?;
    drop(writing);
    failpoint::reach("store::file::synced");
    let folder = file.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut named = name(unfinished, file, naming);
    if named.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound) {
        make_folder(folder)?;
        named = name(unfinished, file, naming);
    }
    match named {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && naming == Naming::CreateOnly => return Ok(Created::Exists),
        named => named?,
    }
    failpoint::reach("store::file::named");
    File::open(folder)?.sync_all()?;
    Ok(Created::Created)
}

fn name(unfinished: &Path, file: &Path, naming: Naming) -> std::io::Result<()> {
    match naming {
        Naming::CreateOnly => fs::hard_link(unfinished, file),
        Naming::Replacing => fs::rename(unfinished, file),
    }
}

/// Makes a folder and those above it, synced: a file is as durable as the folders on the way to it.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).collect();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
            File::open(above)?.sync_all()?;
        }
    }
    Ok(())
}

/// Deletes what earlier processes left unfinished. If one of them is still alive its write fails, and is tried again.
fn clear_left_over(unfinished: &Path) -> std::io::Result<()> {
    let ours = format!("{}-", std::process::id());
    for entry in fs::read_dir(unfinished)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(&ours) {
            match fs::remove_file(entry.path()) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
    }
    Ok(())
}

fn read(file: &Path, range: Option<Range<u64>>) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(file)?;
    let mut bytes = Vec::new();
    match range {
        None => file.read_to_end(&mut bytes)?,
        Some(range) => {
            file.seek(SeekFrom::Start(range.start))?;
            file.take(range.end - range.start).read_to_end(&mut bytes)?
        }
    };
    Ok(bytes)
}

/// A file or folder that goes away meanwhile was not there.
fn files_below(root: &Path, folder: &Path) -> std::io::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    let mut pending: VecDeque<PathBuf> = VecDeque::from([folder.to_path_buf()]);
    while let Some(folder) = pending.pop_front() {
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let metadata = match entry.metadata() {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_dir() {
                pending.push_back(path);
            } else if let Ok(within) = path.strip_prefix(root) {
                listed.push(Listed { path: within.to_string_lossy().replace('\\', "/"), bytes: metadata.len() });
            }
        }
    }
    Ok(listed)
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    let message = format!("{what} \"{}\": {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Error::new(SqlState::DiskFull, message).with_hint("Free some space; what failed is then tried again.")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::new(SqlState::InsufficientPrivilege, message)
                .with_hint("The user that runs Tidemill must be able to write to the data directory.")
        }
        _ => Error::new(SqlState::IoError, message)
            .with_hint("The file system must be there, and must know hard links; what failed is tried again."),
    }
}
