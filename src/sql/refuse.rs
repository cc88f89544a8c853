//! What people who know PostgreSQL or Flink will try and Tidemill does not do: each refusal says what to do instead.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::Cursor;
use super::names;
use super::places::Places;
use crate::error::Error;

const FIRST_WORDS: &[&str] = &[
    "SELECT",
    "CREATE",
    "DROP",
    "EXPLAIN",
    "SHOW",
    "SET",
    "RESET",
    "STOP",
    "CANCEL",
    "PAUSE",
    "RESUME",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "VALUES",
    "WITH",
    "TABLE",
    "DISCARD",
    "DEALLOCATE",
    "DECLARE",
    "FETCH",
    "MOVE",
    "CLOSE",
    "COPY",
    "SUBSCRIBE",
];
const OBJECTS: &[&str] = &["SOURCE", "SINK", "STREAMING JOB", "STREAMING", "MATERIALIZED VIEW", "MATERIALIZED"];

/// What will come: refused with "yet".
const PLANNED: &[&str] = &[
    "ALTER STREAMING JOB",
    "CREATE SNAPSHOT",
    "CREATE TABLE",
    "CREATE VIEW",
    "DROP SNAPSHOT",
    "DELETE",
    "MERGE",
    "UPDATE",
];

/// First words of a statement, what it is called, the remedy. The first match counts.
const STATEMENTS: &[(&[&str], &str, &str)] = &[
    (&["INSERT"], "INSERT", INTO_JOB),
    (&["UPSERT"], "UPSERT", INTO_JOB),
    (&["REPLACE"], "REPLACE", INTO_JOB),
    (&["UPDATE"], "UPDATE", STREAMS_ONLY),
    (&["DELETE"], "DELETE", STREAMS_ONLY),
    (&["MERGE"], "MERGE", STREAMS_ONLY),
    (&["TRUNCATE"], "TRUNCATE", STREAMS_ONLY),
    (&["ALTER", "STREAMING", "JOB"], "ALTER STREAMING JOB", ALTER_JOB),
    (&["ALTER", "JOB"], "ALTER STREAMING JOB", ALTER_JOB),
    (&["ALTER", "SYSTEM"], "ALTER SYSTEM", "Give settings of the server on its command line: tidemill serve --help."),
    (&["ALTER"], "ALTER", "Use DROP and CREATE."),
    (&["EXECUTE", "STATEMENT", "SET"], "EXECUTE STATEMENT SET", STATEMENT_SET),
    (&["BEGIN", "STATEMENT", "SET"], "BEGIN STATEMENT SET", STATEMENT_SET),
    (&["PREPARE"], "PREPARE", PREPARED),
    (&["EXECUTE"], "EXECUTE", PREPARED),
    (&["SAVEPOINT"], "SAVEPOINT", NO_SAVEPOINT),
    (&["RELEASE"], "RELEASE SAVEPOINT", NO_SAVEPOINT),
    (&["REFRESH"], "REFRESH MATERIALIZED VIEW", "It is not needed: a materialized view is always up to date."),
    (&["DESCRIBE"], "DESCRIBE", DESCRIBE),
    (&["DESC"], "DESCRIBE", DESCRIBE),
    (&["USE"], "USE", "There is one database with one schema, \"public\"."),
    (&["ADD"], "ADD", "Connectors and formats are built in; nothing has to be added."),
    (&["LOAD"], "LOAD", "Connectors and formats are built in; nothing has to be loaded."),
    (&["VACUUM"], "VACUUM", NOT_NEEDED),
    (&["ANALYZE"], "ANALYZE", NOT_NEEDED),
    (&["REINDEX"], "REINDEX", NOT_NEEDED),
    (&["CLUSTER"], "CLUSTER", NOT_NEEDED),
    (&["CHECKPOINT"], "CHECKPOINT", NOT_NEEDED),
    (&["LOCK"], "LOCK", "A SELECT, or a transaction block of SELECTs, sees one instant of all views without locks."),
    (&["GRANT"], "GRANT", ONE_USER),
    (&["REVOKE"], "REVOKE", ONE_USER),
    (&["REASSIGN"], "REASSIGN OWNED", ONE_USER),
    (&["COMMENT"], "COMMENT", "Keep comments (-- ...) in the script that creates the object."),
    (&["LISTEN"], "LISTEN", "SUBSCRIBE to a materialized view, or let a job write into a sink."),
    (&["NOTIFY"], "NOTIFY", "Let a streaming job write into a sink."),
    (&["CALL"], "CALL", NO_CODE),
    (&["DO"], "DO", NO_CODE),
];

/// Behind `CREATE [OR REPLACE] [TEMPORARY] ...`
const CREATES: &[(&str, &str)] = &[
    ("TABLE", "Use CREATE SOURCE for a stream that is read, CREATE SINK for one that is written."),
    ("VIEW", "Use CREATE MATERIALIZED VIEW, or a WITH clause in the query."),
    ("INDEX", "Indexes are not needed: a materialized view is kept in memory."),
    ("FUNCTION", NO_CODE),
    ("PROCEDURE", NO_CODE),
    ("TRIGGER", "A streaming job reacts to every row: CREATE STREAMING JOB name AS INSERT INTO ... SELECT ...."),
    ("SCHEMA", "There is one schema, \"public\"."),
    ("DATABASE", "There is one database; start another server for another one."),
    ("CATALOG", "There is one catalog."),
    ("SEQUENCE", "Let the producer number its rows."),
    ("TYPE", "Use ROW<name type, ...> as the column's type."),
    ("EXTENSION", "Connectors and formats are built in; nothing has to be added."),
    ("USER", ONE_USER),
    ("ROLE", ONE_USER),
    ("SECRET", "Give the value in the WITH clause."),
    ("CONNECTION", "Give the address in the WITH clause of the source or sink."),
    ("FOREIGN", "Use CREATE SOURCE ... WITH ('connector' = ...)."),
    ("EXTERNAL", "Use CREATE SOURCE ... WITH ('connector' = ...)."),
    ("JOB", "Write CREATE STREAMING JOB name AS INSERT INTO sink SELECT ...."),
    (
        "SNAPSHOT",
        "Stop the job (STOP STREAMING JOB name) and create it again: it reads its sources from the beginning.",
    ),
    ("STREAM", "Use CREATE SOURCE ... WITH ('connector' = ...)."),
];

/// Behind DROP.
const DROPS: &[(&str, &str)] = &[
    ("TABLE", "Use DROP SOURCE or DROP SINK."),
    ("VIEW", "Use DROP MATERIALIZED VIEW."),
    ("JOB", "Write DROP STREAMING JOB."),
    ("SNAPSHOT", "There are no snapshots yet."),
    ("INDEX", "There are no indexes."),
    ("SCHEMA", "There is one schema, \"public\"; drop what is in it."),
    ("DATABASE", "Stop the server and remove its data directory."),
    ("FUNCTION", "There are no user-defined functions."),
    ("OWNED", ONE_USER),
    ("ROLE", ONE_USER),
    ("USER", ONE_USER),
];

const ALTER_JOB: &str = "ALTER STREAMING JOB name SET PARALLELISM n is supported; for anything else use STOP or CANCEL, DROP STREAMING \
                         JOB, and CREATE STREAMING JOB.";
const INTO_JOB: &str = "A sink is written by a job: CREATE STREAMING JOB name AS INSERT INTO sink SELECT ....";
const STREAMS_ONLY: &str = "Sources and sinks are streams and views follow them; change the data where it comes from.";
const STATEMENT_SET: &str = "Write CREATE STREAMING JOB name AS (INSERT INTO a ...; INSERT INTO b ...).";
const PREPARED: &str = "Prepare statements through the driver (the extended query protocol).";
const NO_SAVEPOINT: &str = "A transaction block only reads; there is nothing to go back to.";
const DESCRIBE: &str = "Use \\d NAME in psql, or SELECT from information_schema.columns.";
const NOT_NEEDED: &str = "It is not needed.";
const ONE_USER: &str = "There are no users and rights yet; limit who can reach the server with --listen.";
const NO_CODE: &str = "There is no user-defined code; use SQL expressions.";

/// The refusal of a whole statement, or the syntax error that it is.
pub(super) fn statement(cursor: &Cursor) -> Error {
    match STATEMENTS.iter().find(|(words, ..)| cursor.at(words)) {
        Some((_, what, hint)) => unsupported(cursor, what, hint),
        None => misspelt(cursor, "", FIRST_WORDS),
    }
}

/// A syntax error that says which word was probably meant.
fn misspelt(cursor: &Cursor, before: &str, words: &[&str]) -> Error {
    let near = cursor.word(0).and_then(|word| names::nearest(word, words.iter().copied()));
    match near {
        Some(near) => cursor.unexpected().with_hint(format!("Perhaps you meant {before}{near}.")),
        None => cursor.unexpected(),
    }
}

/// Behind CREATE.
pub(super) fn create(cursor: &mut Cursor) -> Error {
    if cursor.at(&["OR", "REPLACE"]) {
        return unsupported(cursor, "CREATE OR REPLACE", "Use DROP and CREATE, or CREATE ... IF NOT EXISTS.");
    }
    let _ = cursor.take(&["TEMPORARY"]) || cursor.take(&["TEMP"]) || cursor.take(&["UNLOGGED"]);
    let _ = cursor.take(&["UNIQUE"]) || cursor.take(&["RECURSIVE"]);
    match CREATES.iter().find(|(word, _)| cursor.at(&[word])) {
        Some((word, hint)) => unsupported(cursor, &format!("CREATE {word}"), hint),
        None => misspelt(cursor, "CREATE ", OBJECTS),
    }
}

/// Behind DROP.
pub(super) fn drop(cursor: &Cursor) -> Error {
    match DROPS.iter().find(|(word, _)| cursor.at(&[word])) {
        Some((word, hint)) => unsupported(cursor, &format!("DROP {word}"), hint),
        None => misspelt(cursor, "DROP ", OBJECTS),
    }
}

/// What a query's syntax error is about, if it is Flink's: sqlparser stumbles over what follows.
pub(super) fn in_query(error: Error, tokens: &[TokenWithSpan], places: &Places) -> Error {
    let at = |token: &&TokenWithSpan| Some(places.position(token.span.start)) == error.position();
    let Some(index) = tokens.iter().position(|token| at(&token)) else { return error };
    let word = |token: &TokenWithSpan, wanted: &str| match &token.token {
        Token::Word(w) => w.quote_style.is_none() && w.value.eq_ignore_ascii_case(wanted),
        _ => false,
    };
    let Some(token) = tokens.get(index) else { return error };
    if word(token, "MATCH_RECOGNIZE") {
        return match_recognize().at(places.position(token.span.start));
    }
    let starts = tokens.iter().take(index).rev().find(|t| !matches!(t.token, Token::Whitespace(_)));
    if let Some(starts) = starts.filter(|t| word(t, "FOR") && word(token, "SYSTEM_TIME")) {
        let hint =
            "A join without it matches rows whenever they come, and takes a match back when the other side changes.";
        let refused = Error::unsupported("FOR SYSTEM_TIME AS OF is not supported yet", hint);
        return refused.at(places.position(starts.span.start));
    }
    let before = tokens.iter().take(index).rev();
    let function = before.take(MAX_ARGUMENT_TOKENS).find(|t| WINDOW_FUNCTIONS.iter().any(|name| word(t, name)));
    match (word(token, "PARTITION"), function) {
        (true, Some(function)) => {
            let message = format!(
                "PARTITION BY in window function {} is not supported",
                function.token.to_string().to_uppercase()
            );
            let hint = "TUMBLE is supported, without it: TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)), and \
                        GROUP BY the column beside window_start, window_end.";
            Error::unsupported(message, hint).at(places.position(token.span.start))
        }
        _ => error,
    }
}

pub(super) fn match_recognize() -> Error {
    let hint = "Find single rows with WHERE, or count them in a window with GROUP BY.";
    Error::unsupported("MATCH_RECOGNIZE is not supported yet", hint)
}

const WINDOW_FUNCTIONS: [&str; 4] = ["SESSION", "TUMBLE", "HOP", "CUMULATE"];

/// Between a window function's name and the PARTITION BY of its first argument.
const MAX_ARGUMENT_TOKENS: usize = 16;

/// The refusal of what stands at the cursor.
pub(super) fn unsupported(cursor: &Cursor, what: &str, hint: &str) -> Error {
    let more = match what {
        "INSERT" => " outside CREATE STREAMING JOB",
        _ if PLANNED.contains(&what) => " yet",
        _ => "",
    };
    Error::unsupported(format!("{what} is not supported{more}"), hint).at(cursor.position())
}
