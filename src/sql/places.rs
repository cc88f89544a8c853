//! Places in a text: sqlparser's lines and columns, bytes, and positions (characters counted from 1).

use datafusion::sql::sqlparser::tokenizer::Location;

/// Where the lines of a text begin. Built once for a text; lookups cost one line.
pub struct Places<'a> {
    text: &'a str,
    /// For each line its first byte and the characters in front of it.
    lines: Vec<(usize, usize)>,
}

impl<'a> Places<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut lines = vec![(0, 0)];
        for (chars, (byte, c)) in text.char_indices().enumerate() {
            if c == '\n' {
                lines.push((byte + 1, chars + 1));
            }
        }
        Places { text, lines }
    }

    /// The byte a location stands at; the text's end for a location that is none (sqlparser's end of input).
    pub fn byte(&self, location: Location) -> usize {
        let Some((first, _)) = self.line(location) else {
            return self.text.len();
        };
        let column = column(location);
        self.text[first..].char_indices().nth(column).map_or(self.text.len(), |(byte, _)| first + byte)
    }

    /// The position of a location: one past the last character for a location that is none.
    pub fn position(&self, location: Location) -> usize {
        match self.line(location) {
            Some((_, before)) => before + column(location) + 1,
            None => self.text.chars().count() + 1,
        }
    }

    /// What stands between two locations.
    pub fn slice(&self, start: Location, end: Location) -> &'a str {
        self.text.get(self.byte(start)..self.byte(end)).unwrap_or_default()
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    fn line(&self, location: Location) -> Option<(usize, usize)> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        self.lines.get(line).copied()
    }
}

/// The column of a location, counted from 0.
fn column(location: Location) -> usize {
    usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_columns_and_characters() {
        let places = Places::new("sélect\n  \"ü\" from\nt");
        let at = |line, column| Location { line, column };
        assert_eq!(places.position(at(1, 1)), 1);
        assert_eq!(places.position(at(2, 3)), 10);
        assert_eq!(places.slice(at(2, 3), at(2, 6)), "\"ü\"");
        assert_eq!(places.position(at(3, 1)), 19);
        assert_eq!(places.position(at(0, 0)), 20);
        assert_eq!(places.slice(at(3, 1), at(0, 0)), "t");
    }
}
