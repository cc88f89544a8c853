//! From a statement to another one that nobody would write: tokens lost, swapped, repeated and exchanged for their like,
//! values at the borders of their types, deep nesting, queries crossed with each other.
//!
//! Most changes leave a statement that can be read, since what cannot is soon tested.

use std::collections::BTreeMap;

use super::borders::{DOMAINS, NUMBERS, TEXTS};
use crate::variant::Rng;

/// How deep a value is wrapped now and then: beyond what the parser takes.
const DEEP: usize = 210;
/// Members of a long chain of operators.
const LONG: usize = 250;
/// A statement that grows beyond this is not changed further.
const MAX_TOKENS: usize = 3_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Blank,
    /// The scripts write them in capitals.
    Keyword,
    Name,
    /// A name with a parenthesis behind it.
    Function,
    Number,
    Text,
    Operator,
    Punctuation,
}

#[derive(Debug, Clone)]
pub struct Token {
    kind: Kind,
    text: String,
}

/// What takes the place of a token: those of all statements of a scene, and the catalogue's functions.
pub struct Words {
    by_kind: BTreeMap<Kind, Vec<String>>,
    /// SELECTs of the scene.
    queries: Vec<String>,
}

impl Words {
    pub fn of(statements: &[Vec<Token>], functions: &[String]) -> Words {
        let mut by_kind: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        for token in statements.iter().flatten() {
            by_kind.entry(token.kind).or_default().push(token.text.clone());
        }
        for words in by_kind.values_mut() {
            words.sort();
            words.dedup();
        }
        by_kind.entry(Kind::Function).or_default().extend_from_slice(functions);
        let queries = statements.iter().filter_map(|tokens| Some(text(&tokens[query(tokens)?..]))).collect();
        Words { by_kind, queries }
    }

    fn like(&self, kind: Kind, rng: &mut Rng) -> Option<String> {
        self.by_kind.get(&kind).and_then(|words| pick(words, rng)).cloned()
    }

    fn query(&self, rng: &mut Rng) -> String {
        pick(&self.queries, rng).cloned().unwrap_or_else(|| "SELECT 1".into())
    }
}

fn pick<'a, T>(all: &'a [T], rng: &mut Rng) -> Option<&'a T> {
    if all.is_empty() { None } else { all.get(rng.below(all.len())) }
}

fn word(all: &[&'static str], rng: &mut Rng) -> &'static str {
    all[rng.below(all.len())]
}

/// Words, quoted texts, blanks, and single characters.
pub fn tokens(sql: &str) -> Vec<Token> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let end = |still: fn(char) -> bool| rest.find(|c| !still(c)).unwrap_or(rest.len());
        let (length, kind) = match first {
            '\'' => (rest[1..].find('\'').map_or(rest.len(), |end| end + 2), Kind::Text),
            c if c.is_ascii_digit() => (end(|c| c.is_ascii_digit() || c == '.'), Kind::Number),
            c if c.is_whitespace() => (end(char::is_whitespace), Kind::Blank),
            c if is_word(c) => {
                let length = end(is_word);
                let word = &rest[..length];
                let capitals = length > 1 && word.chars().all(|c| c.is_ascii_uppercase());
                let kind = match capitals {
                    true => Kind::Keyword,
                    false if rest[length..].starts_with('(') => Kind::Function,
                    false => Kind::Name,
                };
                (length, kind)
            }
            c if "<>=!|-+*/%@#?".contains(c) => (end(|c| "<>=!|-+*/%@#?".contains(c)), Kind::Operator),
            c => (c.len_utf8(), Kind::Punctuation),
        };
        let (text, behind) = rest.split_at(length);
        tokens.push(Token { kind, text: text.to_string() });
        rest = behind;
    }
    tokens
}

fn text(tokens: &[Token]) -> String {
    tokens.iter().map(|token| token.text.as_str()).collect()
}

/// Where the statement's query begins.
pub fn query(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0_i32;
    tokens.iter().position(|token| {
        match token.text.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth == 0 && (token.text == "SELECT" || token.text == "WITH" && token.kind == Kind::Keyword)
    })
}

/// A changed form of a statement; `free` is how many tokens at its beginning stay.
pub fn mutant(statement: &[Token], free: usize, words: &Words, rng: &mut Rng) -> String {
    let mut tokens = statement.to_vec();
    for _ in 0..1 + rng.below(16) / 15 {
        if tokens.len() > free && tokens.len() < MAX_TOKENS {
            change(&mut tokens, free, words, rng);
        }
    }
    if rng.below(16) == 0
        && let Some(at) = query(&tokens)
        && !tokens[at..].iter().any(|token| token.text == "EMIT")
    {
        let whole = crossed(&text(&tokens[at..]), words, rng);
        return format!("{}{whole}", text(&tokens[..at]));
    }
    text(&tokens)
}

/// A query of two.
fn crossed(query: &str, words: &Words, rng: &mut Rng) -> String {
    let query = query.trim_end().trim_end_matches(';');
    let other = words.query(rng);
    let other = other.trim_end().trim_end_matches(';');
    match rng.below(10) {
        0 => format!("SELECT * FROM ({query}) AS one UNION ALL SELECT * FROM ({other}) AS other"),
        1 => format!("SELECT * FROM ({query}) AS one EXCEPT SELECT * FROM ({query}) AS other"),
        2 => format!("SELECT count(*) FROM ({query}) AS one JOIN ({other}) AS other ON TRUE"),
        3 => format!("SELECT one.* FROM ({query}) AS one LEFT JOIN ({query}) AS other ON one = other"),
        4 => format!("SELECT count(*), min(one) FROM ({query}) AS one"),
        5 => format!("SELECT * FROM ({query}) AS one WHERE EXISTS ({other})"),
        6 => format!("SELECT *, (SELECT count(*) FROM ({other}) AS other) AS how_many FROM ({query}) AS one"),
        7 => format!("SELECT DISTINCT * FROM ({query}) AS one ORDER BY 1 LIMIT 3"),
        8 => format!("WITH one AS ({query}), other AS ({other}) SELECT * FROM one, other WHERE 1 = 1"),
        _ => format!("SELECT one.*, ROW_NUMBER() OVER (ORDER BY 1) AS nr FROM ({query}) AS one"),
    }
}

fn change(tokens: &mut Vec<Token>, free: usize, words: &Words, rng: &mut Rng) {
    let places: Vec<usize> = (free..tokens.len()).filter(|i| tokens[*i].kind != Kind::Blank).collect();
    let of = |kinds: &[Kind]| -> Vec<usize> {
        places.iter().copied().filter(|i| kinds.contains(&tokens[*i].kind)).collect()
    };
    let values: &[Kind] = &[Kind::Name, Kind::Number, Kind::Text];
    let (places, what): (Vec<usize>, usize) = match rng.below(100) {
        0..26 => (of(&[Kind::Number, Kind::Text]), 0),
        26..33 => (of(&[Kind::Name]), 1),
        33..37 => (of(&[Kind::Function]), 1),
        37..51 => (of(&[Kind::Operator]), 1),
        51..80 => (of(values), 2),
        80..86 => (of(values), 3),
        86..90 => (of(values), 4),
        90..93 => (places, 5),
        93..97 => (of(values), 5),
        _ => (places, 6),
    };
    let Some(&at) = pick(&places, rng) else { return };
    let kind = tokens[at].kind;
    match what {
        0 => tokens[at].text = border(kind, rng),
        1 => tokens[at].text = words.like(kind, rng).unwrap_or_default(),
        2 => wrap(tokens, at, rng),
        3 => {
            let alike: Vec<usize> = places.into_iter().filter(|i| tokens[*i].kind == kind).collect();
            let other = alike[rng.below(alike.len())];
            tokens.swap(at, other);
        }
        4 => {
            let query = words.query(rng);
            let query = query.trim_end().trim_end_matches(';');
            let own = &tokens[at].text;
            tokens[at].text = match rng.below(3) {
                0 => format!("(SELECT max(z) FROM ({query}) AS q(z))"),
                1 => format!("({own} IN ({query}))"),
                _ => format!("({query})"),
            };
        }
        5 => lose(tokens, at, rng),
        _ => {
            let end = (at + 1 + rng.below(6)).min(tokens.len());
            let again: Vec<Token> = tokens[at..end].to_vec();
            tokens.splice(end..end, again);
        }
    }
}

/// Mostly of the literal's own kind.
fn border(kind: Kind, rng: &mut Rng) -> String {
    match (rng.below(10), kind) {
        (0..7, Kind::Number) => word(NUMBERS, rng),
        (0..7, _) => word(TEXTS, rng),
        (7, _) => "NULL",
        _ => word(DOMAINS[rng.below(DOMAINS.len())].literals, rng),
    }
    .to_string()
}

/// More around a value, which mostly stays one of its type.
fn wrap(tokens: &mut [Token], at: usize, rng: &mut Rng) {
    let qualified = tokens.get(at + 1).is_some_and(|next| next.text == ".") || (at > 0 && tokens[at - 1].text == ".");
    if qualified {
        return;
    }
    let own = &tokens[at].text;
    let ty = DOMAINS[rng.below(DOMAINS.len())].ty;
    let wrapped = match rng.below(60) {
        0 => format!("{}{own}{}", "(".repeat(DEEP), ")".repeat(DEEP)),
        1 => format!("{}{own}{}", "coalesce(".repeat(DEEP), ", NULL)".repeat(DEEP)),
        2 => format!("{}({own})", "- ".repeat(DEEP)),
        3 => format!("{own}{}", format!(" + {own}").repeat(LONG)),
        4 => format!("({own} = {own}{})", format!(" OR {own} = {own}").repeat(LONG)),
        5 => format!("({own} IN ({own}{}))", format!(", {own}").repeat(LONG)),
        6 => format!("{}{own}{}", "ARRAY[".repeat(20), "]".repeat(20)),
        7..20 => format!("coalesce({own}, NULL)"),
        20..26 => format!("nullif({own}, {own})"),
        26..34 => format!("CASE WHEN {own} IS NULL THEN {own} ELSE {own} END"),
        34..39 => format!("(- {own})"),
        39..44 => format!("CAST({own} AS {ty})"),
        44..48 => format!("CAST(CAST({own} AS TEXT) AS {ty})"),
        48..51 => format!("ARRAY[{own}, {own}]"),
        51..54 => format!("(NOT {own})"),
        54..57 => format!("({own} IS DISTINCT FROM {own})"),
        _ => format!("greatest({own}, {own}, NULL)"),
    };
    tokens[at].text = wrapped;
}

/// A token, or from there to the parenthesis, comma or word that ends its part.
fn lose(tokens: &mut Vec<Token>, at: usize, rng: &mut Rng) {
    let whole = rng.below(2) == 0;
    let mut depth = 0_i32;
    let ends = |token: &Token| {
        match token.text.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth < 0 || (depth == 0 && (token.text == "," || token.kind == Kind::Keyword))
    };
    let length = if whole { tokens[at + 1..].iter().position(ends).unwrap_or(0) } else { 0 };
    tokens.drain(at..=at + length);
}
