//! What is mutated: the statements of the scripts, of `examples/` and of the documentation, each with what it needs to be
//! understood.

use std::path::Path;

use sqllogictest::Record;
use tempfile::TempDir;
use tidemill::sql::{Dialect, parse_script};

use super::borders::WIDE;
use crate::root;
use crate::script::Script;

/// Statements that follow each other.
pub struct Scene {
    pub name: String,
    pub statements: Vec<String>,
    pub dialect: Dialect,
    /// Where its files are.
    pub dir: TempDir,
}

impl Scene {
    fn new(name: String, dialect: Dialect) -> Result<Scene, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        Ok(Scene { name, statements: Vec::new(), dialect, dir })
    }

    /// Every type, for calls of functions.
    pub fn of_calls() -> Result<Scene, String> {
        let mut scene = Scene::new("calls".into(), Dialect::Postgres)?;
        scene.statements.push(WIDE.replace("$DIR", &scene.dir.path().to_string_lossy()));
        Ok(scene)
    }
}

/// All scenes but that of calls, in an order that does not change.
pub fn all() -> Result<Vec<Scene>, String> {
    let mut scenes = Vec::new();
    for script in Script::all()? {
        let mut scene = Scene::new(script.name.clone(), Dialect::Postgres)?;
        scene.statements = script.lay_out(scene.dir.path())?.into_iter().filter_map(sql).collect();
        scenes.push(scene);
    }
    for (folder, dialect) in [
        ("examples", Dialect::Postgres),
        ("examples/nexmark", Dialect::Postgres),
        ("examples/nexmark/flink", Dialect::Flink),
    ] {
        for name in files(&root().join(folder), "sql")? {
            let mut scene = Scene::new(format!("{folder}/{name}"), dialect)?;
            let text = std::fs::read_to_string(root().join(folder).join(&name)).map_err(|e| format!("{name}: {e}"))?;
            // What is not supported yet cannot be read to its end.
            scene.statements = statements(&text, dialect).unwrap_or_default();
            scenes.push(scene);
        }
    }
    let mut texts = vec!["README.md".to_string()];
    texts.extend(files(&root().join("docs"), "md")?.into_iter().map(|name| format!("docs/{name}")));
    for name in texts {
        let text = std::fs::read_to_string(root().join(&name)).map_err(|e| format!("{name}: {e}"))?;
        let mut scene = Scene::new(name, Dialect::Postgres)?;
        // What stands there in part only is no statement.
        let blocks = text.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
        scene.statements = blocks.flat_map(|block| statements(block, Dialect::Postgres).unwrap_or_default()).collect();
        scenes.push(scene);
    }
    Ok(scenes)
}

fn sql(record: Record<sqllogictest::DefaultColumnType>) -> Option<String> {
    match record {
        Record::Statement { sql, .. } | Record::Query { sql, .. } if !sql.starts_with('\\') => Some(sql),
        _ => None,
    }
}

fn files(folder: &Path, extension: &str) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let wanted = paths.filter(|path| path.extension().is_some_and(|e| e == extension));
    let mut names: Vec<String> = wanted.filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}

fn statements(text: &str, dialect: Dialect) -> Result<Vec<String>, String> {
    let statements = parse_script(text, dialect).map_err(|e| e.to_string())?;
    Ok(statements.into_iter().map(|statement| statement.text.to_string()).collect())
}
