//! Answers as sorted lines, and how two of them differ.

use sqllogictest::{AsyncDB, DBOutput};

use crate::database::Database;

/// Rows of one kind only that a difference shows.
const SHOWN_ROWS: usize = 10;

/// The sorted rows of a statement, values separated by ` | `.
pub async fn rows(database: &mut Database, sql: &str) -> Result<Vec<String>, String> {
    match database.run(sql).await.map_err(|e| e.to_string())? {
        DBOutput::Rows { rows, .. } => {
            let mut rows: Vec<String> = rows.into_iter().map(|row| row.join(" | ")).collect();
            rows.sort();
            Ok(rows)
        }
        _ => Ok(Vec::new()),
    }
}

/// `Err` shows the rows that only one of two sorted answers has. Each answer comes with what it is called.
pub fn compare((what, answer): (&str, &[String]), (judge, expected): (&str, &[String])) -> Result<(), String> {
    if answer == expected {
        return Ok(());
    }
    let mut missing: Vec<&String> = expected.iter().collect();
    let mut surplus = Vec::new();
    for row in answer {
        match missing.iter().position(|m| *m == row) {
            Some(index) => {
                missing.remove(index);
            }
            None => surplus.push(row),
        }
    }
    let shown = |rows: &[&String]| rows.iter().take(SHOWN_ROWS).map(|r| format!("\n    {r}")).collect::<String>();
    Err(format!(
        "{what} has {} rows, {judge} {}\n  only in {what}:{}\n  only in {judge}:{}",
        answer.len(),
        expected.len(),
        shown(&surplus),
        shown(&missing)
    ))
}
