//! Scripts into statements, statements into types.

use std::sync::Arc;

use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use super::ast::{DropObjects, Explain, ObjectClass, Statement, StatementKind};
use super::cursor::Cursor;
use super::dialect::{self, Dialect};
use super::places::Places;
use super::{refuse, syntax};
use crate::error::{Error, Result, SqlState};

/// Reads a script. Nothing is returned if any of its statements is wrong: nothing of it may run then. Positions in an
/// error count from the script's first character. What follows a SET of the dialect is read in that dialect.
pub fn parse_script(script: &str, dialect: Dialect) -> Result<Vec<Statement>> {
    parse_each(script, dialect).into_iter().collect()
}

/// Reads a script, each statement for itself: one that is wrong does not hide the others. Where it cannot be told any more
/// where a statement ends (a quote that is not closed), nothing more is read.
pub fn parse_each(script: &str, dialect: Dialect) -> Vec<Result<Statement>> {
    let mut statements = Vec::new();
    let (mut rest, mut before, mut dialect) = (script, 0, dialect);
    'dialect: loop {
        let (pieces, broken) = match split(rest, dialect) {
            Ok(pieces) => (pieces, None),
            Err(error) => (whole_before(rest, dialect, &error), Some(shift(error, before))),
        };
        for Piece { text, semicolon, offset, end } in pieces {
            let offset = before + offset;
            let kind = match parse_kind(semicolon.unwrap_or(text), dialect) {
                Ok(kind) => kind,
                Err(error) => {
                    statements.push(Err(shift(error, offset)));
                    continue;
                }
            };
            let next = dialect_behind(&kind).filter(|next| *next != dialect);
            statements.push(Ok(Statement { text: text.into(), offset, dialect, kind }));
            if let Some(next) = next {
                let (read, unread) = rest.split_at_checked(end).unwrap_or((rest, ""));
                (rest, before, dialect) = (unread, before + read.chars().count(), next);
                continue 'dialect;
            }
        }
        statements.extend(broken.map(Err));
        return statements;
    }
}

/// The statements that end in front of an error.
fn whole_before<'a>(script: &'a str, dialect: Dialect, error: &Error) -> Vec<Piece<'a>> {
    let start = error.position().and_then(|position| script.char_indices().nth(position - 1));
    let read = start.and_then(|(byte, _)| script.get(..byte)).unwrap_or_default();
    let mut pieces = split(read, dialect).unwrap_or_default();
    pieces.retain(|piece| piece.semicolon.is_some());
    pieces
}

/// The dialect of what follows a statement, if the statement says it.
fn dialect_behind(kind: &StatementKind) -> Option<Dialect> {
    let is_it = |name: &str| name == Dialect::SETTING;
    match kind {
        StatementKind::Set(set) if is_it(&set.name) => match &set.value {
            Some(value) => Dialect::by_name(value),
            None => Some(Dialect::default()),
        },
        StatementKind::Reset(name) if name.as_deref().is_none_or(is_it) => Some(Dialect::default()),
        StatementKind::DiscardAll => Some(Dialect::default()),
        _ => None,
    }
}

/// Reads one statement of ours, with or without a semicolon behind it.
pub fn parse_statement(text: &str) -> Result<Statement> {
    let mut statements = parse_script(text, Dialect::Postgres)?;
    match (statements.pop(), statements.is_empty()) {
        (None, _) => {
            let dialect = Dialect::Postgres;
            Ok(Statement { text: Arc::from(""), offset: 0, dialect, kind: StatementKind::Empty })
        }
        (Some(statement), true) => Ok(statement),
        (Some(second), false) => {
            let message = "cannot insert multiple commands into a prepared statement";
            Err(Error::new(SqlState::SyntaxError, message).at(second.offset + 1))
        }
    }
}

/// Moves an error's place from a statement to the script that holds it.
pub fn shift(error: Error, offset: usize) -> Error {
    match error.position() {
        Some(position) => error.moved_to(position + offset),
        None => error,
    }
}

/// Words and signs of a statement. Chains of operators (a OR b OR ...) nest as deep as they are long, and whoever walks
/// them recurses; this bounds how deep.
pub const MAX_TOKENS: usize = 10_000;

/// More shards than this never help on one machine: there are 256 key groups.
pub const MAX_PARALLELISM: usize = 256;

/// Arithmetic signs in a statement: types are worked out anew at every level of a chain, so the time goes with the square
/// of its length.
const MAX_SIGNS: usize = 600;

/// What was read of a statement.
#[derive(Default)]
struct Length {
    tokens: usize,
    signs: usize,
    /// It begins with CREATE.
    creates: bool,
    /// CREATE SOURCE, CREATE SINK: a list of columns, which may be long and nests nothing.
    declares: bool,
}

impl Length {
    fn count(&mut self, token: &Token) -> Result<()> {
        let is_sign =
            matches!(token, Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat);
        let is = |word: &str| matches!(token, Token::Word(w) if w.value.eq_ignore_ascii_case(word));
        self.tokens += 1;
        match self.tokens {
            1 => self.creates = is("CREATE"),
            2 => self.declares = self.creates && (is("SOURCE") || is("SINK")),
            _ => {}
        }
        self.signs += usize::from(is_sign);
        if (self.tokens <= MAX_TOKENS || self.declares) && self.signs <= MAX_SIGNS {
            return Ok(());
        }
        Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded").with_hint(format!(
            "A statement has at most {MAX_TOKENS} words and signs, {MAX_SIGNS} of them arithmetic: split it."
        )))
    }
}

struct Piece<'a> {
    text: &'a str,
    /// The text up to and with the semicolon, if there is one.
    semicolon: Option<&'a str>,
    /// Characters of the script in front of it.
    offset: usize,
    /// Bytes of the script up to its end, with the semicolon.
    end: usize,
}

/// The statements of a script. A semicolon within parentheses belongs to its statement: `AS (INSERT ...; INSERT ...)`; so
/// does one within BEGIN and END of a statement set.
fn split(script: &str, dialect: Dialect) -> Result<Vec<Piece<'_>>> {
    let places = Places::new(script);
    let tokens = dialect::tokenize(script, dialect).map_err(|e| syntax::from_tokenizer(&places, &e))?;
    let mut pieces = Vec::new();
    let mut piece = None;
    let mut depth = 0_usize;
    let mut length = Length::default();
    let mut close = |piece: Option<(Location, Location)>, semicolon: Option<Location>| {
        pieces.extend(piece.map(|(start, end)| Piece {
            text: places.slice(start, end),
            semicolon: semicolon.map(|end| places.slice(start, end)),
            offset: places.position(start) - 1,
            end: places.byte(semicolon.unwrap_or(end)),
        }));
    };
    let mut set = StatementSet::default();
    for token in &tokens {
        match token.token {
            Token::Whitespace(_) | Token::EOF => continue,
            Token::SemiColon if depth == 0 && !set.goes_on() => {
                set = StatementSet::default();
                length = Length::default();
                close(piece.take(), Some(token.span.end));
                continue;
            }
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        set.read(&token.token);
        length.count(&token.token).map_err(|e| e.at(places.position(token.span.start)))?;
        let start = piece.map_or(token.span.start, |(start, _)| start);
        piece = Some((start, token.span.end));
    }
    close(piece, None);
    Ok(pieces)
}

/// Whether a statement is `[EXPLAIN | EXECUTE] STATEMENT SET BEGIN INSERT ...; INSERT ...; END`, and how far it was read.
#[derive(Default)]
struct StatementSet {
    tokens: usize,
    begun: bool,
    /// A semicolon was read last.
    between: bool,
    ended: bool,
}

impl StatementSet {
    fn read(&mut self, token: &Token) {
        const WORDS: [&[&str]; 4] = [&["EXPLAIN", "EXECUTE"], &["STATEMENT"], &["SET"], &["BEGIN"]];
        let is = |words: &[&str]| match token {
            Token::Word(w) => words.iter().any(|word| w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word)),
            _ => false,
        };
        // The words must come in this order, from the first on.
        match WORDS.get(self.tokens) {
            Some(words) if is(words) => self.tokens += 1,
            Some(_) => self.tokens = usize::MAX,
            None => {}
        }
        self.begun |= self.tokens == WORDS.len();
        self.ended = self.begun && self.between && is(&["END"]);
        self.between = matches!(token, Token::SemiColon);
    }

    fn goes_on(&self) -> bool {
        self.begun && !self.ended
    }
}

fn parse_kind(text: &str, dialect: Dialect) -> Result<StatementKind> {
    let mut cursor = Cursor::new(text, dialect)?;
    let kind = cursor.statement()?;
    if let (StatementKind::CreateView(_) | StatementKind::CreateJob(_), true) = (&kind, cursor.at(&["EMIT"])) {
        let hint = "EMIT ON UPDATE shows open windows, EMIT ON WINDOW CLOSE waits for their end: one of the two.";
        let error = Error::new(SqlState::SyntaxError, "EMIT specified more than once").with_hint(hint);
        return Err(error.at(cursor.position()));
    }
    if cursor.at(&["EMIT"]) || cursor.at(&["ALLOWED", "LATENESS"]) {
        return Err(Error::unsupported(
            "EMIT is not supported in a query of its own",
            "Use it in CREATE MATERIALIZED VIEW or CREATE STREAMING JOB; a SELECT answers once.",
        )
        .at(cursor.position()));
    }
    cursor.expect_end()?;
    Ok(kind)
}

impl Cursor<'_> {
    fn statement(&mut self) -> Result<StatementKind> {
        if self.is_flink()
            && let Some(statement) = self.flink_statement()?
        {
            return Ok(statement);
        }
        if self.at_token(&Token::LParen) || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| self.at(&[word])) {
            return self.query().map(StatementKind::Query);
        }
        if self.take(&["CREATE"]) {
            return self.create();
        }
        if self.take(&["DROP"]) {
            return self.drop_objects();
        }
        if self.take(&["EXPLAIN"]) {
            return self.explain();
        }
        if self.take(&["SHOW"]) {
            return self.show();
        }
        if self.take(&["SET"]) {
            return self.set();
        }
        if self.take(&["RESET"]) {
            return self.reset();
        }
        if self.take(&["STOP"]) {
            return self.job_name().map(StatementKind::StopJob);
        }
        if self.take(&["CANCEL"]) {
            return self.job_name().map(StatementKind::CancelJob);
        }
        if self.take(&["PAUSE"]) {
            return self.job_name().map(StatementKind::PauseJob);
        }
        if self.take(&["RESUME"]) {
            return self.job_name().map(StatementKind::ResumeJob);
        }
        if self.at(&["ALTER", "STREAMING", "JOB"]) || self.at(&["ALTER", "JOB"]) {
            return self.alter_job();
        }
        if self.take(&["DECLARE"]) {
            return self.declare();
        }
        if self.at(&["FETCH"]) || self.at(&["MOVE"]) {
            let moves = self.take(&["MOVE"]);
            let _ = moves || self.take(&["FETCH"]);
            return self.fetch(moves);
        }
        if self.take(&["CLOSE"]) {
            return self.close();
        }
        if self.take(&["COPY"]) {
            return self.copy();
        }
        if self.take(&["SUBSCRIBE"]) {
            return Ok(StatementKind::Subscribe(Box::new(self.subscribe()?)));
        }
        let transaction = ["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"];
        if transaction.iter().any(|word| self.at(&[word])) && !self.at(&["BEGIN", "STATEMENT"]) {
            return self.transaction();
        }
        self.give_back()
    }

    /// What connection pools and drivers send between two uses of a session.
    fn give_back(&mut self) -> Result<StatementKind> {
        if self.take(&["DISCARD"]) {
            let parts =
                [(&["PLANS"], "DISCARD PLANS"), (&["TEMP"], "DISCARD TEMP"), (&["SEQUENCES"], "DISCARD SEQUENCES")];
            if let Some((_, tag)) = parts.into_iter().find(|(word, _)| self.take(*word)) {
                return Ok(StatementKind::Release(tag));
            }
            self.expect(&["ALL"])?;
            return Ok(StatementKind::DiscardAll);
        }
        if self.take(&["DEALLOCATE"]) {
            let _ = self.take(&["PREPARE"]);
            let name = if self.take(&["ALL"]) { None } else { Some(self.name()?.value) };
            return Ok(StatementKind::Deallocate(name));
        }
        if self.take(&["UNLISTEN"]) {
            if !self.take_token(&Token::Mul) {
                self.name()?;
            }
            return Ok(StatementKind::Release("UNLISTEN"));
        }
        Err(refuse::statement(self))
    }

    /// Behind DROP.
    fn drop_objects(&mut self) -> Result<StatementKind> {
        let classes = [
            (&["SOURCE"][..], ObjectClass::Source),
            (&["SINK"], ObjectClass::Sink),
            (&["STREAMING", "JOB"], ObjectClass::Job),
            (&["MATERIALIZED", "VIEW"], ObjectClass::View),
        ];
        let Some((_, class)) = classes.into_iter().find(|(words, _)| self.take(words)) else {
            return Err(refuse::drop(self));
        };
        let if_exists = self.take(&["IF", "EXISTS"]);
        let names = self.list(|cursor| cursor.object_name())?;
        let cascade = self.take(&["CASCADE"]);
        let _ = !cascade && self.take(&["RESTRICT"]);
        Ok(StatementKind::Drop(DropObjects { class, names, if_exists, cascade }))
    }

    /// With ALTER still to read.
    fn alter_job(&mut self) -> Result<StatementKind> {
        let refused = refuse::statement(self);
        self.next();
        let name = self.job_name()?;
        if !self.take(&["SET", "PARALLELISM"]) {
            return Err(refused);
        }
        let _ = self.take_token(&Token::Eq) || self.take(&["TO"]);
        let position = self.position();
        let parallelism = match &self.peek().token {
            Token::Number(digits, _) => digits.parse::<usize>().ok(),
            _ => return Err(self.unexpected()),
        };
        self.next();
        match parallelism.filter(|n| (1..=MAX_PARALLELISM).contains(n)) {
            Some(parallelism) => Ok(StatementKind::SetParallelism(name, parallelism)),
            None => {
                let hint =
                    format!("A job has one shard at least, and {MAX_PARALLELISM} at most: they share the key groups.");
                Err(Error::new(SqlState::InvalidParameterValue, "no such parallelism").with_hint(hint).at(position))
            }
        }
    }

    /// Behind STOP, CANCEL, PAUSE and RESUME.
    fn job_name(&mut self) -> Result<super::ast::Name> {
        let _ =
            self.take(&["STREAMING", "JOB"]) || (self.at(&["JOB"]) && self.word(1).is_some() && self.take(&["JOB"]));
        self.object_name()
    }

    /// Behind EXPLAIN.
    fn explain(&mut self) -> Result<StatementKind> {
        let mut verbose = false;
        if self.at_token(&Token::LParen) && !["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|w| self.word_is(1, w)) {
            self.parenthesized(|cursor| cursor.explain_option(&mut verbose))?;
        } else {
            if self.at(&["ANALYZE"]) {
                return self.explain_analyze();
            }
            verbose = self.take(&["VERBOSE"]);
            // Flink's.
            let _ = self.take(&["PLAN", "FOR"]);
        }
        let position = self.position();
        let statement = match () {
            () if self.at(&["INSERT"]) => StatementKind::Submit(vec![self.insert()?]),
            () if self.is_flink() && self.at(&["STATEMENT", "SET"]) => StatementKind::Submit(self.statement_set()?),
            () => self.statement()?,
        };
        match statement {
            StatementKind::CreateJob(_) | StatementKind::CreateView(_) => {}
            StatementKind::Submit(_) | StatementKind::Query(_) => {}
            _ => {
                let hint = "Explain a query, an INSERT, CREATE STREAMING JOB or CREATE MATERIALIZED VIEW.";
                return Err(Error::unsupported("EXPLAIN of this statement is not supported", hint).at(position));
            }
        }
        Ok(StatementKind::Explain(Explain { verbose, statement: Box::new(statement) }))
    }

    /// Of something that runs; statements are not run to be explained.
    fn explain_analyze(&mut self) -> Result<StatementKind> {
        let unsupported = explain_analyze(self);
        self.next();
        let class = self.class_that_runs().ok_or(unsupported)?;
        Ok(StatementKind::ExplainAnalyze(class, self.object_name()?))
    }

    /// `[STREAMING] JOB` or `MATERIALIZED VIEW`, in front of a name.
    pub(super) fn class_that_runs(&mut self) -> Option<ObjectClass> {
        if self.take(&["STREAMING", "JOB"]) || self.take(&["JOB"]) {
            Some(ObjectClass::Job)
        } else if self.take(&["MATERIALIZED", "VIEW"]) {
            Some(ObjectClass::View)
        } else {
            None
        }
    }

    fn explain_option(&mut self, verbose: &mut bool) -> Result<()> {
        let position = self.position();
        let option = self.word(0).map(super::names::fold).ok_or_else(|| self.unexpected())?;
        if option == "analyze" && !["FALSE", "OFF"].iter().any(|off| self.word_is(1, off)) {
            return Err(explain_analyze(self));
        }
        self.next();
        let value = match &self.peek().token {
            Token::Word(w) => Some(super::names::fold(&w.value)),
            _ => None,
        };
        if value.is_some() {
            self.next();
        }
        let on = !matches!(value.as_deref(), Some("false" | "off"));
        match (option.as_str(), value.as_deref()) {
            ("verbose", _) => *verbose = on,
            ("analyze" | "costs" | "buffers" | "timing" | "summary" | "settings" | "wal" | "memory", _) => {}
            ("format", Some("text")) => {}
            ("format", _) => {
                let hint = "Leave it out: the plan is shown as text.";
                return Err(Error::unsupported("this EXPLAIN format is not supported", hint).at(position));
            }
            _ => {
                let message = format!("unrecognized EXPLAIN option \"{option}\"");
                return Err(Error::new(SqlState::SyntaxError, message).at(position));
            }
        }
        Ok(())
    }

    fn word_is(&self, n: usize, wanted: &str) -> bool {
        self.word(n).is_some_and(|word| word.eq_ignore_ascii_case(wanted))
    }
}

fn explain_analyze(cursor: &Cursor) -> Error {
    let hint =
        "Use EXPLAIN for the plan; EXPLAIN ANALYZE JOB name and EXPLAIN ANALYZE MATERIALIZED VIEW name show what runs.";
    refuse::unsupported(cursor, "EXPLAIN ANALYZE of a statement", hint)
}
