//! Writing seen answers into a script, for `TIDEMILL_BLESS=1`.

use std::fs;
use std::path::Path;

/// An answer that differs from the one written down.
pub struct Correction {
    /// Of the record's first line, counted from 1.
    pub line: usize,
    /// What belongs below `----`.
    pub seen: Vec<String>,
    /// An error text ends with two empty lines, rows end with one.
    pub is_error: bool,
}

/// Replaces what stands below `----` in the records that `corrections` name.
pub fn correct(path: &Path, corrections: &[Correction]) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    // From the end, so that line numbers in front stay right.
    for correction in corrections.iter().rev() {
        let Some(rule) = (correction.line..lines.len()).find(|i| lines[*i] == "----") else { continue };
        let ends = |i: usize| {
            let empty = |i: usize| lines.get(i).is_none_or(String::is_empty);
            empty(i) && (!correction.is_error || empty(i + 1))
        };
        let Some(end) = (rule + 1..=lines.len()).find(|i| ends(*i)) else { continue };
        lines.splice(rule + 1..end, correction.seen.iter().cloned());
    }
    fs::write(path, lines.join("\n") + "\n").map_err(|e| format!("{}: {e}", path.display()))
}
