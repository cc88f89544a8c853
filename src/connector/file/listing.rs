//! A path or a glob becomes files in name order.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result, SqlState};

/// What option 'path' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    One(Arc<str>),
    Glob {
        pattern: Arc<str>,
    },
    /// A file, or the files of a directory whose names end so.
    Folder {
        path: Arc<str>,
        extension: &'static str,
    },
}

impl Listing {
    /// A path with `*`, `?` or `[` is a glob.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(path: &str) -> Result<Self, String> {
        if !path.contains(['*', '?', '[']) {
            return Ok(Listing::One(path.into()));
        }
        match glob::Pattern::new(path) {
            Ok(_) => Ok(Listing::Glob { pattern: path.into() }),
            Err(e) => Err(format!("{} at letter {}", e.msg, e.pos + 1)),
        }
    }

    /// The same; but a path that names a directory stands for the files in it whose names end so.
    pub fn or_folder(self, extension: &'static str) -> Self {
        match self {
            Listing::One(path) => Listing::Folder { path, extension },
            other => other,
        }
    }

    /// # Errors
    /// 58P01 if there is no file now.
    pub fn check_not_empty(&self) -> Result<()> {
        if !self.files()?.is_empty() {
            return Ok(());
        }
        let path = self.path();
        let message = match self {
            Listing::Folder { path, extension } if Path::new(&**path).is_dir() => {
                format!("no file in \"{path}\" ends in {extension}")
            }
            Listing::One(_) | Listing::Folder { .. } => format!("file \"{path}\" does not exist"),
            Listing::Glob { .. } => format!("no file matches \"{path}\""),
        };
        Err(Error::new(SqlState::UndefinedFile, message).with_hint(
            "Paths are relative to the directory that the server runs in; with 'mode' = 'watch' files may come later.",
        ))
    }

    /// As it was written.
    pub fn path(&self) -> &str {
        match self {
            Listing::One(path) => path,
            Listing::Glob { pattern } => pattern,
            Listing::Folder { path, .. } => path,
        }
    }

    /// The files that are there now, in the order of their names (by bytes, directories included).
    ///
    /// # Errors
    /// If a directory cannot be read, if a name is not UTF-8, or if the path names a directory.
    pub fn files(&self) -> Result<Vec<Arc<str>>> {
        match self {
            Listing::One(path) => match Path::new(&**path).metadata() {
                Ok(found) if found.is_dir() => Err(directory(path)),
                Ok(_) => Ok(vec![Arc::clone(path)]),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(e) => Err(Error::from(e).context(format!("file \"{path}\""))),
            },
            Listing::Glob { pattern } => matches(pattern),
            Listing::Folder { path, extension } if Path::new(&**path).is_dir() => {
                matches(&format!("{}/*{extension}", glob::Pattern::escape(path.trim_end_matches('/'))))
            }
            Listing::Folder { path, .. } => Listing::One(Arc::clone(path)).files(),
        }
    }
}

fn matches(pattern: &str) -> Result<Vec<Arc<str>>> {
    let failed = |e: String| Error::new(SqlState::IoError, format!("files \"{pattern}\": {e}"));
    let mut files = Vec::new();
    // As in a shell: a file that is being written may lie hidden beside those that are whole.
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    for path in glob::glob_with(pattern, options).map_err(|e| failed(e.to_string()))? {
        let path = path.map_err(|e| failed(e.to_string()))?;
        let Some(name) = path.to_str() else {
            return Err(failed(format!("the name {path:?} is not UTF-8")));
        };
        if !path.is_dir() {
            files.push(Arc::from(name));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The error for a path that names a directory.
pub fn directory(path: &str) -> Error {
    Error::new(SqlState::WrongObjectType, format!("\"{path}\" is a directory"))
        .with_hint(format!("To read all files in it, use 'path' = '{}/*'.", path.trim_end_matches('/')))
}
