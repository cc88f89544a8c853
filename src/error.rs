//! Errors as people meet them: a SQLSTATE, what happened, where in the statement, and what to do about it.
//!
//! One type serves every room. A room that needs richer causes inside keeps a private enum and turns it into this one
//! at its boundary. The table of all SQLSTATEs in use is [`SqlState`]; `sql-tests` hold the texts.

use std::fmt;

use crate::types::SqlType;

pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! sql_states {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The SQLSTATEs Tidemill answers with (PostgreSQL's codes; see its appendix A).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SqlState { $($(#[$doc])* $name,)* }

        impl SqlState {
            /// The five characters that go over the wire.
            pub fn code(self) -> &'static str {
                match self { $(SqlState::$name => $code,)* }
            }
        }
    };
}

sql_states! {
    /// Of notices.
    SuccessfulCompletion = "00000",
    ConnectionFailure = "08006",
    ProtocolViolation = "08P01",
    /// The remedy is always in the hint.
    FeatureNotSupported = "0A000",
    CardinalityViolation = "21000",
    DataException = "22000",
    StringDataRightTruncation = "22001",
    InvalidRegularExpression = "2201B",
    InvalidRowCountInLimitClause = "2201W",
    InvalidRowCountInResultOffsetClause = "2201X",
    NumericValueOutOfRange = "22003",
    NullValueNotAllowed = "22004",
    InvalidDatetimeFormat = "22007",
    DatetimeFieldOverflow = "22008",
    DivisionByZero = "22012",
    CharacterNotInRepertoire = "22021",
    InvalidArgumentForLogarithm = "2201E",
    InvalidArgumentForPowerFunction = "2201F",
    InvalidParameterValue = "22023",
    InvalidRowCountInLimit = "2201W",
    InvalidRowCountInOffset = "2201X",
    InvalidTextRepresentation = "22P02",
    UntranslatableCharacter = "22P05",
    /// Input bytes that their format cannot read.
    BadCopyFileFormat = "22P04",
    NotNullViolation = "23502",
    ActiveSqlTransaction = "25001",
    InFailedSqlTransaction = "25P02",
    /// A warning only: COMMIT or ROLLBACK without a transaction block.
    NoActiveSqlTransaction = "25P01",
    InvalidStatementName = "26000",
    InvalidAuthorizationSpecification = "28000",
    DependentObjectsStillExist = "2BP01",
    InvalidCursorName = "34000",
    InvalidSchemaName = "3F000",
    InsufficientPrivilege = "42501",
    SyntaxError = "42601",
    DuplicateColumn = "42701",
    AmbiguousColumn = "42702",
    /// GROUP BY 5, where there is no fifth output column.
    InvalidColumnReference = "42P10",
    CannotCoerce = "42846",
    UndefinedColumn = "42703",
    UndefinedObject = "42704",
    DuplicateObject = "42710",
    GroupingError = "42803",
    WindowingError = "42P20",
    DatatypeMismatch = "42804",
    WrongObjectType = "42809",
    UndefinedFunction = "42883",
    InvalidName = "42602",
    NameTooLong = "42622",
    UndefinedTable = "42P01",
    UndefinedParameter = "42P02",
    DuplicateCursor = "42P03",
    DuplicatePreparedStatement = "42P05",
    DuplicateTable = "42P07",
    InvalidTableDefinition = "42P16",
    IndeterminateDatatype = "42P18",
    ProgramLimitExceeded = "54000",
    /// Nested deeper than the parser goes.
    StatementTooComplex = "54001",
    TooManyArguments = "54023",
    ObjectNotInPrerequisiteState = "55000",
    CantChangeRuntimeParam = "55P02",
    ConfigurationLimitExceeded = "53400",
    DiskFull = "53100",
    OutOfMemory = "53200",
    TooManyConnections = "53300",
    QueryCanceled = "57014",
    AdminShutdown = "57P01",
    CannotConnectNow = "57P03",
    IoError = "58030",
    UndefinedFile = "58P01",
    InternalError = "XX000",
    DataCorrupted = "XX001",
}

/// An error as a person meets it. Cheap to move: one pointer.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    state: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
}

impl Error {
    /// `message` follows PostgreSQL's style: no capital, no full stop, names in double quotes.
    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { state, message: message.into(), detail: None, hint: None, position: None }))
    }

    /// A text that is no value of a type. As PostgreSQL's input functions, this tells what is out of range from what is no
    /// number or date at all.
    pub fn unreadable(text: &str, ty: &SqlType) -> Self {
        let name = match ty {
            SqlType::Numeric(..) => "numeric".to_string(),
            SqlType::Timestamp(_) => "timestamp".to_string(),
            SqlType::TimestampTz(_) => "timestamp with time zone".to_string(),
            SqlType::Time(_) => "time".to_string(),
            other => other.to_string(),
        };
        let out_of_range = |message: String| Error::new(SqlState::NumericValueOutOfRange, message);
        let trimmed = text.trim();
        let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
        let is_integer = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok();
        match ty {
            SqlType::SmallInt | SqlType::Integer | SqlType::BigInt if is_integer => {
                out_of_range(format!("value \"{text}\" is out of range for type {name}"))
            }
            SqlType::Real | SqlType::Double if is_number => {
                out_of_range(format!("\"{text}\" is out of range for type {name}"))
            }
            SqlType::Numeric(precision, scale) if is_number => {
                let whole = i16::from(*precision) - i16::from(*scale);
                out_of_range("numeric field overflow".into()).with_detail(format!(
                    "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{whole}."
                ))
            }
            SqlType::Time(_) if trimmed.contains(':') && !trimmed.contains(|c: char| c.is_alphabetic()) => {
                let message = format!("date/time field value out of range: \"{text}\"");
                Error::new(SqlState::DatetimeFieldOverflow, message)
            }
            SqlType::Date | SqlType::Timestamp(_) | SqlType::TimestampTz(_) if is_dated(trimmed) => {
                let message = format!("date/time field value out of range: \"{text}\"");
                Error::new(SqlState::DatetimeFieldOverflow, message)
            }
            _ => {
                let state = match ty {
                    SqlType::Timestamp(_)
                    | SqlType::TimestampTz(_)
                    | SqlType::Date
                    | SqlType::Time(_)
                    | SqlType::Interval => SqlState::InvalidDatetimeFormat,
                    _ => SqlState::InvalidTextRepresentation,
                };
                Error::new(state, format!("invalid input syntax for type {name}: \"{text}\""))
            }
        }
    }

    /// Something Tidemill does not do (yet): says what works instead.
    pub fn unsupported(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::new(SqlState::FeatureNotSupported, message).with_hint(hint)
    }

    /// A text that is no regular expression.
    pub fn invalid_pattern(reason: &str) -> Self {
        Error::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
            .with_hint("Neither look-around nor back-references are supported.")
    }

    /// A broken invariant: a bug of ours, reported instead of a panic.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(SqlState::InternalError, message)
            .with_hint("This is a bug in Tidemill; please report it with the statement that led here.")
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// `position`: the character (not byte) of the statement's text the error points at, counted from 1. The first
    /// one given stays, since it was set by whoever was nearest.
    pub fn at(mut self, position: usize) -> Self {
        self.0.position.get_or_insert(position);
        self
    }

    /// Replaces the position: the text it counts in is part of a larger one.
    pub fn moved_to(mut self, position: usize) -> Self {
        self.0.position = Some(position);
        self
    }

    /// Says what was being done when it happened: `"{context}: {message}"`.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    pub fn state(&self) -> SqlState {
        self.0.state
    }
    pub fn message(&self) -> &str {
        &self.0.message
    }
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    pub fn position(&self) -> Option<usize> {
        self.0.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.state.code(), self.0.message)?;
        if let Some(detail) = &self.0.detail {
            write!(f, "\nDETAIL: {detail}")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\nHINT: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError as A;
        match e {
            A::DivideByZero => Error::new(SqlState::DivisionByZero, "division by zero"),
            A::ArithmeticOverflow(m) => {
                let what = m.strip_prefix("Overflow happened on: ").unwrap_or(&m);
                Error::new(SqlState::NumericValueOutOfRange, format!("value out of range: {what}"))
            }
            A::CastError(m) | A::ParseError(m) | A::InvalidArgumentError(m) => cast_error(m),
            A::ComputeError(m) => computing_error(m),
            A::ExternalError(e) => match e.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(e) => Error::new(SqlState::InternalError, e.to_string()),
            },
            other => Error::new(SqlState::DataException, other.to_string()),
        }
    }
}

/// Whether a text begins as a date does: `2023-02-29`, and nothing or a time behind it.
fn is_dated(text: &str) -> bool {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, ""));
    let numbers = date.split('-').collect::<Vec<_>>();
    numbers.len() == 3
        && numbers.iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        && (time.is_empty() || time.starts_with(|c: char| c.is_ascii_digit()) && time.contains(':'))
}

/// What Arrow says when a value cannot become one of another type, as PostgreSQL says it. Arrow tells the cases apart by
/// their wording alone.
fn cast_error(message: String) -> Error {
    let quoted = || message.split('\'').nth(1);
    let type_after = |words: &str| {
        let name = message.split(words).nth(1)?;
        let name = name.strip_suffix(" type").unwrap_or(name).trim_end_matches('.');
        name.parse().ok().map(|t| SqlType::from_arrow(&t))
    };
    if message.contains("is too large to store in a Decimal") || message.contains("is too small to store in a Decimal")
    {
        return Error::new(SqlState::NumericValueOutOfRange, "numeric field overflow").with_detail(message);
    }
    let too_large = match message.starts_with("Can't cast value ") {
        true => type_after("to type "),
        false => type_after("is out of range "),
    };
    if let Some(ty) = too_large {
        return Error::new(SqlState::NumericValueOutOfRange, format!("{ty} out of range"));
    }
    if let (Some(text), Some(ty)) = (quoted(), type_after("to value of ")) {
        return Error::unreadable(text, &ty);
    }
    if let (Some(text), true) = (quoted(), message.starts_with("Error parsing timestamp")) {
        return Error::unreadable(text, &SqlType::Timestamp(6));
    }
    Error::new(SqlState::DataException, message)
}

/// What Arrow and DataFusion say of a row that cannot be computed, as PostgreSQL says it, told apart by their wording.
fn computing_error(message: String) -> Error {
    let said = message.strip_prefix("Execution error: ").unwrap_or(&message);
    if said.ends_with("square root of a negative number") {
        return Error::new(SqlState::InvalidArgumentForPowerFunction, said);
    }
    if said == "Timestamp out of range" || said.ends_with("overflows timestamp nanoseconds") {
        return Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range");
    }
    invalid_pattern(said).unwrap_or_else(|| Error::new(SqlState::DataException, said))
}

/// What the regex crate says of a pattern, over several lines.
fn invalid_pattern(message: &str) -> Option<Error> {
    let too_large = message.contains("CompiledTooBig") || message.contains("Compiled regex exceeds size limit");
    let reason = match message.rsplit_once("error: ") {
        _ if too_large => "it is too large once it is compiled",
        Some((before, reason)) if before.contains("regex parse error") => reason.lines().next()?,
        _ => return None,
    };
    Some(Error::invalid_pattern(reason))
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(e: datafusion::error::DataFusionError) -> Self {
        use datafusion::error::DataFusionError as D;
        match e {
            D::ArrowError(e, _) => (*e).into(),
            D::External(e) => match e.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(e) => match invalid_pattern(&e.to_string()) {
                    Some(error) => error,
                    None => Error::new(SqlState::InternalError, e.to_string()),
                },
            },
            D::Context(_, e) | D::Diagnostic(_, e) => (*e).into(),
            D::NotImplemented(m) => Error::new(SqlState::FeatureNotSupported, m),
            D::ResourcesExhausted(m) => Error::new(SqlState::OutOfMemory, "out of memory for queries")
                .with_detail(m.lines().next().unwrap_or_default())
                .with_hint("Read less at once, or keep the answer as a materialized view."),
            D::Execution(m) => computing_error(m),
            D::Plan(m) => Error::new(SqlState::SyntaxError, m),
            other => Error::new(SqlState::InternalError, other.strip_backtrace()),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        let state = if e.kind() == std::io::ErrorKind::NotFound { SqlState::UndefinedFile } else { SqlState::IoError };
        Error::new(state, e.to_string())
    }
}
