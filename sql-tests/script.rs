//! Reading a `*.slt` file. The format is sqllogictest's with two additions:
//!
//! - `file NAME`, then lines up to an empty one: a file of that content lies in the script's own folder before its first
//!   record runs;
//! - `$DIR` is that folder, `$DATA` is `sql-tests/data`, anywhere in the text.
//!
//! A script that begins with `# stateless` keeps no keyed state, so nobody checks over how many shards its rows went.

use std::path::{Path, PathBuf};

use sqllogictest::{DefaultColumnType, Record};

pub type SqlRecord = Record<DefaultColumnType>;

pub struct Script {
    /// The file's name without `.slt`.
    pub name: String,
    path: PathBuf,
    text: String,
}

/// The folder of this test binary in the source tree.
pub fn folder() -> PathBuf {
    crate::root().join("sql-tests")
}

impl Script {
    /// All scripts, by name; also those that generated statements have left.
    pub fn all() -> Result<Vec<Script>, String> {
        let mut scripts = Vec::new();
        let entries = std::fs::read_dir(folder()).map_err(|e| format!("sql-tests: {e}"))?;
        // There may be none.
        let cases = std::fs::read_dir(folder().join("generated/cases")).into_iter().flatten();
        for path in entries.chain(cases).filter_map(|e| e.ok().map(|e| e.path())) {
            if path.extension().is_some_and(|e| e == "slt") {
                let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                scripts.push(Script { name, path, text });
            }
        }
        scripts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(scripts)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_stateless(&self) -> bool {
        self.text.starts_with("# stateless")
    }

    /// Writes the script's files into `dir` and gives its records, whose places are those of the file.
    pub fn lay_out(&self, dir: &Path) -> Result<Vec<SqlRecord>, String> {
        let text = self.text.replace("$DIR", &dir.to_string_lossy());
        let text = text.replace("$DATA", &folder().join("data").to_string_lossy());
        let mut rest = String::with_capacity(text.len());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix("file ") else {
                rest.push_str(line);
                rest.push('\n');
                continue;
            };
            // Empty lines take the place of the block, so that line numbers stay right.
            rest.push('\n');
            let mut content = String::new();
            for line in lines.by_ref().take_while(|l| !l.is_empty()) {
                content.push_str(line);
                content.push('\n');
                rest.push('\n');
            }
            rest.push('\n');
            let path = dir.join(name.trim());
            let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            written.and_then(|()| std::fs::write(&path, content)).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let shown = self.path.strip_prefix(crate::root()).unwrap_or(&self.path);
        sqllogictest::parse_with_name(&rest, shown.to_string_lossy()).map_err(|e| e.to_string())
    }
}

/// Whether a record checks something (and is counted).
pub fn is_checked(record: &SqlRecord) -> bool {
    matches!(record, Record::Statement { .. } | Record::Query { .. } | Record::System { stdout: Some(_), .. })
}
