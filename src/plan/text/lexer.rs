//! Tokens of a stored plan, with the byte each begins at.

use crate::error::{Error, Result, SqlState};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Unquoted: a keyword, a function, a type, a plain name.
    Word(String),
    /// In double quotes.
    Quoted(String),
    /// In single quotes.
    Text(String),
    /// Digits, perhaps with a point: its sign is a symbol of its own.
    Number(String),
    Symbol(&'static str),
}

/// Longer ones first, so that the first match is the longest.
const SYMBOLS: &[&str] = &[
    "!~~*", "!~~", "~~*", "!~*", "#>>", "->>", "::", "<>", "<=", ">=", "||", "~~", "~*", "!~", "<<", ">>", "->", "<-",
    "#>", "@>", "<@", "(", ")", "[", "]", ",", "+", "-", "*", "/", "%", "=", "<", ">", "~", "&", "|", "#", ":", "@",
    "?",
];

/// How deep parentheses may nest: what lowering writes stays far below, and the reader's recursion stays bounded.
pub const MAX_DEPTH: usize = 300;

pub struct Lexer<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start();
            let start = text.len() - rest.len();
            let Some(first) = rest.chars().next() else { break };
            let (token, length) = match first {
                '\'' => quoted(rest, '\'').map(|(s, n)| (Token::Text(s), n)),
                '"' => quoted(rest, '"').map(|(s, n)| (Token::Quoted(s), n)),
                c if c.is_ascii_digit() => {
                    let n = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
                    rest.get(..n).map(|s| (Token::Number(s.into()), n))
                }
                c if c.is_alphabetic() || c == '_' => {
                    let n = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                    rest.get(..n).map(|s| (Token::Word(s.into()), n))
                }
                _ => SYMBOLS.iter().find(|s| rest.starts_with(**s)).map(|s| (Token::Symbol(s), s.len())),
            }
            .ok_or_else(|| damaged(text, start, "it cannot be read"))?;
            tokens.push((start, token));
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(Lexer { text, tokens, at: 0, depth: 0 })
    }

    pub fn peek(&self) -> Option<&Token> {
        self.peek_nth(0)
    }

    pub fn peek_nth(&self, n: usize) -> Option<&Token> {
        self.tokens.get(self.at + n).map(|(_, token)| token)
    }

    pub fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    pub fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Where reading stands, to come back to.
    pub fn mark(&self) -> usize {
        self.at
    }

    pub fn reset(&mut self, mark: usize) {
        self.at = mark;
    }

    /// Takes a keyword if it is next. Keywords of expressions are upper case, so that no plain name can be taken for one.
    pub fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(w)) if w == wanted);
        self.at += usize::from(found);
        found
    }

    /// Takes a run of keywords if they are next.
    pub fn words(&mut self, wanted: &[&str]) -> bool {
        let mark = self.mark();
        let found = wanted.iter().all(|w| self.word(w));
        if !found {
            self.reset(mark);
        }
        found
    }

    pub fn symbol(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(s)) if *s == wanted);
        self.at += usize::from(found);
        found
    }

    pub fn require_word(&mut self, wanted: &str) -> Result<()> {
        if self.word(wanted) { Ok(()) } else { Err(self.unexpected(wanted)) }
    }

    pub fn require(&mut self, wanted: &str) -> Result<()> {
        if self.symbol(wanted) { Ok(()) } else { Err(self.unexpected(wanted)) }
    }

    /// A name: a word or in double quotes.
    pub fn name(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Word(name) | Token::Quoted(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    pub fn text(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Text(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected("a string")),
        }
    }

    /// A whole number, with a sign perhaps.
    pub fn integer<T: TryFrom<i128>>(&mut self) -> Result<T> {
        let mark = self.mark();
        let negative = self.symbol("-");
        let digits = match self.peek() {
            Some(Token::Number(digits)) => digits.parse::<i128>().ok(),
            _ => None,
        };
        match digits.map(|d| if negative { -d } else { d }).and_then(|d| T::try_from(d).ok()) {
            Some(number) => {
                self.at += 1;
                Ok(number)
            }
            None => {
                self.reset(mark);
                Err(self.unexpected("a whole number"))
            }
        }
    }

    /// `[a, b, ...]` or `(a, b, ...)`, perhaps empty.
    pub fn list<T>(&mut self, open: &str, close: &str, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.require(open)?;
        let mut items = Vec::new();
        if self.symbol(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.symbol(close) {
                return Ok(items);
            }
            self.require(",")?;
        }
    }

    pub fn descend(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("it is nested too deeply"));
        }
        Ok(())
    }

    pub fn ascend(&mut self) {
        self.depth -= 1;
    }

    pub fn unexpected(&self, wanted: &str) -> Error {
        self.error(&format!("expected {wanted}"))
    }

    pub fn error(&self, what: &str) -> Error {
        let start = self.tokens.get(self.at).map_or(self.text.len(), |(start, _)| *start);
        damaged(self.text, start, what)
    }
}

/// The content of a quoted run at the start of `text`, quotes within doubled, and its length with the quotes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            content.push(c);
        } else if matches!(chars.peek(), Some((_, next)) if *next == quote) {
            content.push(quote);
            chars.next();
        } else {
            return Some((content, at + 1));
        }
    }
    None
}

fn damaged(text: &str, start: usize, what: &str) -> Error {
    let rest = text.get(start..).unwrap_or_default();
    let near: String = rest.chars().take_while(|c| *c != '\n').take(40).collect();
    let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    let near = if near.is_empty() { "its end".to_string() } else { format!("\"{near}\"") };
    Error::new(SqlState::DataCorrupted, format!("stored plan is damaged: {what} at {near} in line {line}"))
        .with_hint("Create the job or view again from its statement.")
}
