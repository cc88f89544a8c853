//! JSON text (RFC 8259) to jsonb.

use super::{MAX_DEPTH, build};
use crate::error::{Error, Result, SqlState};

/// # Errors
/// `22P02` with PostgreSQL's words for text that is not JSON, `22P05` for the one character that no text has, `22003` for
/// numbers that numeric does not hold, `54001` for too deep nesting.
pub fn parse(text: &str) -> Result<Vec<u8>> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.unexpected("end of input")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// What stands here is not what could.
    fn unexpected(&self, wanted: &str) -> Error {
        let error = Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json");
        let rest = self.rest();
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let token = rest.get(..word.max(first)).unwrap_or_default();
        match token {
            "" => error.with_detail("The input string ended unexpectedly."),
            token if word > 0 && !first_is_digit(token) => error.with_detail(format!("Token \"{token}\" is invalid.")),
            token => error.with_detail(format!("Expected {wanted}, but found \"{token}\".")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Vec<u8>> {
        if depth > MAX_DEPTH {
            let message = format!("a jsonb value is nested more than {MAX_DEPTH} deep");
            return Err(Error::new(SqlState::StatementTooComplex, message));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(build::string(&self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let words = [("null", build::null()), ("true", build::boolean(true)), ("false", build::boolean(false))];
                for (word, value) in words {
                    let behind = self.rest().strip_prefix(word);
                    if behind.is_some_and(|behind| !behind.starts_with(|c: char| c.is_alphanumeric() || c == '_')) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.unexpected("JSON value"))
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<u8>> {
        self.at += 1;
        let mut elements = Vec::new();
        self.blanks();
        if !self.eat(b']') {
            loop {
                elements.push(self.value(depth + 1)?);
                self.blanks();
                if self.eat(b']') {
                    break;
                }
                if !self.eat(b',') {
                    return Err(self.unexpected("\",\" or \"]\""));
                }
            }
        }
        build::array(&elements)
    }

    fn object(&mut self, depth: usize) -> Result<Vec<u8>> {
        self.at += 1;
        let mut fields = Vec::new();
        self.blanks();
        if !self.eat(b'}') {
            loop {
                self.blanks();
                if self.peek() != Some(b'"') {
                    return Err(self.unexpected("string"));
                }
                let name = self.string()?;
                self.blanks();
                if !self.eat(b':') {
                    return Err(self.unexpected("\":\""));
                }
                fields.push((name, self.value(depth + 1)?));
                self.blanks();
                if self.eat(b'}') {
                    break;
                }
                if !self.eat(b',') {
                    return Err(self.unexpected("\",\" or \"}\""));
                }
            }
        }
        build::object(fields)
    }

    fn number(&mut self) -> Result<Vec<u8>> {
        let from = self.at;
        let digits = |reader: &mut Self| {
            let begin = reader.at;
            while reader.peek().is_some_and(|b| b.is_ascii_digit()) {
                reader.at += 1;
            }
            reader.at > begin
        };
        let _ = self.eat(b'-');
        let whole = self.at;
        let mut good = digits(self) && (self.text.as_bytes().get(whole) != Some(&b'0') || self.at == whole + 1);
        if self.eat(b'.') {
            good &= digits(self);
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            good &= digits(self);
        }
        let text = self.text.get(from..self.at).unwrap_or_default();
        if !good || self.peek().is_some_and(|b| b.is_ascii_alphanumeric()) {
            let error = Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json");
            return Err(error.with_detail(format!("Token \"{text}\" is invalid.")));
        }
        build::number(text)
    }

    /// A string, from its opening quote on, without escapes.
    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(|c: char| matches!(c, '"' | '\\' | '\0'..='\u{1f}')) else {
                self.at = self.text.len();
                return Err(self.unexpected("\""));
            };
            out.push_str(rest.get(..end).unwrap_or_default());
            self.at += end;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(byte) => {
                    let error = Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json");
                    return Err(error.with_detail(format!("Character with value 0x{byte:02x} must be escaped.")));
                }
                None => return Err(self.unexpected("\"")),
            }
        }
    }

    /// The character that an escape stands for, behind its backslash.
    fn escape(&mut self) -> Result<char> {
        let Some(letter) = self.rest().chars().next() else { return Err(self.unexpected("\"")) };
        self.at += letter.len_utf8();
        Ok(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.code_point(),
            other => {
                let error = Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json");
                return Err(error.with_detail(format!("Escape sequence \"\\{other}\" is invalid.")));
            }
        })
    }

    fn code_point(&mut self) -> Result<char> {
        let wrong = |detail: &str| {
            Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json").with_detail(detail)
        };
        let first = self.hex().ok_or_else(|| wrong("\"\\u\" must be followed by four hexadecimal digits."))?;
        let low = 0xdc00..0xe000;
        let code = match first {
            0 => {
                return Err(Error::new(SqlState::UntranslatableCharacter, "unsupported Unicode escape sequence")
                    .with_detail("\\u0000 cannot be converted to text."));
            }
            0xd800..0xdc00 => {
                let second = if self.eat(b'\\') && self.eat(b'u') { self.hex() } else { None };
                match second.filter(|second| low.contains(second)) {
                    Some(second) => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    None => return Err(wrong("Unicode high surrogate must be followed by a low surrogate.")),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| wrong("Unicode low surrogate must follow a high surrogate."))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

fn first_is_digit(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_digit())
}
