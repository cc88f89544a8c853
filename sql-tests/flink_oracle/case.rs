//! Reading a script and Flink's answers to it.
//!
//! A script is Flink's own text, statements ending in `;` at a line's end: tables, views, settings, and cases, which are
//! queries behind a line `-- case NAME`. A statement behind a line `-- ours` says the one before it in our words, where
//! putting SOURCE for TABLE does not do. The answers stand in the file's `.out`: behind `-- case NAME` the rows as Flink
//! put them out, each with its change kind, up to an empty line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A script in our words.
pub struct Script {
    /// The file's name without `.sql`.
    pub name: String,
    /// Statements that declare what the cases read, and settings.
    pub sources: Vec<String>,
    pub cases: Vec<Case>,
}

pub struct Case {
    pub name: String,
    pub query: String,
    /// What remains of Flink's answer when all of it has come, sorted.
    pub flink: Vec<String>,
}

/// What a statement of a script is.
enum Statement {
    Source,
    Case,
    /// Of Flink alone.
    Setting,
}

impl Script {
    /// Reads `path` and its `.out`. The tables' files are looked for in the folder of the script.
    pub fn read(path: &Path) -> Result<Script, String> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(path).to_string_lossy();
        let text = read(path)?;
        let mut answers = answers(&read(&path.with_extension("out"))?)?;
        let mut script = Script { name, sources: Vec::new(), cases: Vec::new() };
        let (mut views, mut last) = (Vec::new(), Statement::Setting);
        for statement in text.split(";\n") {
            let (header, body): (Vec<&str>, Vec<&str>) = statement.lines().partition(|line| line.starts_with("--"));
            let body = body.join("\n").trim().to_string();
            if body.is_empty() {
                continue;
            }
            let ours = our_words(&body).replace("'data/", &format!("'{folder}/data/"));
            if header.contains(&"-- ours") {
                match last {
                    Statement::Source => script.sources.last_mut().map(|source| *source = ours),
                    Statement::Case => script.cases.last_mut().map(|case| case.query = with_views(&views, &ours)),
                    Statement::Setting => {
                        script.sources.push(ours);
                        Some(())
                    }
                }
                .ok_or_else(|| format!("nothing stands before: {body}"))?;
            } else if let Some(name) = header.iter().find_map(|line| line.strip_prefix("-- case ")) {
                let flink = answers.remove(name).ok_or_else(|| format!("Flink was not asked for {name}"))?;
                script.cases.push(Case { name: name.into(), query: with_views(&views, &ours), flink });
                last = Statement::Case;
            } else if let Some(view) = ours.strip_prefix("CREATE VIEW ") {
                views.push(view.split_once(" AS ").map(|(n, q)| format!("{n} AS ({q})")).unwrap_or_default());
            } else if body.starts_with("SET ") {
                last = Statement::Setting;
            } else {
                script.sources.push(ours);
                last = Statement::Source;
            }
        }
        match answers.keys().next() {
            Some(name) => Err(format!("there is no case {name} any more")),
            None => Ok(script),
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn our_words(flink: &str) -> String {
    flink.replacen("CREATE TABLE ", "CREATE SOURCE ", 1).replace("'filesystem'", "'file'")
}

/// Flink's views become the query's own.
fn with_views(views: &[String], query: &str) -> String {
    if views.is_empty() { query.to_string() } else { format!("WITH {}\n{query}", views.join(",\n")) }
}

/// What remains of each case's answer.
fn answers(text: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut answers = BTreeMap::new();
    for part in text.split("-- case ").skip(1) {
        let (name, changes) = part.split_once('\n').unwrap_or((part, ""));
        let remaining = remaining(changes).map_err(|why| format!("{name}: {why}"))?;
        answers.insert(name.trim().to_string(), remaining);
    }
    Ok(answers)
}

/// The net of changes: what was inserted and not taken back, sorted.
fn remaining(changes: &str) -> Result<Vec<String>, String> {
    let mut rows: Vec<String> = Vec::new();
    for change in changes.lines().filter(|line| !line.is_empty()) {
        match change.split_once(' ') {
            Some(("+I" | "+U", row)) => rows.push(row.to_string()),
            Some(("-D" | "-U", row)) => {
                let index = rows.iter().position(|r| r == row).ok_or_else(|| format!("{row} was not there"))?;
                rows.remove(index);
            }
            _ => return Err(format!("Flink has no answer: {change}")),
        }
    }
    rows.sort();
    Ok(rows)
}
