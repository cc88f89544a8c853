//! How sqlparser reads queries: PostgreSQL's dialect, plus what Flink's window functions and EMIT need; with back quotes
//! around names where the text is Flink's.

use std::any::TypeId;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::{Dialect as ParserDialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, TokenizerError, Word};

use super::literal;

/// Nesting of expressions and sub-queries that a statement may have. sqlparser's own default (50) is less than what
/// query generators write; the stack is guarded apart from this.
const MAX_DEPTH: usize = 200;

/// Whose text a statement is. A front end alone: either becomes the same typed statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    #[default]
    Postgres,
    Flink,
}

impl Dialect {
    /// The setting that says it.
    pub const SETTING: &'static str = "sql_dialect";

    pub fn by_name(name: &str) -> Option<Dialect> {
        [Dialect::Postgres, Dialect::Flink].into_iter().find(|dialect| dialect.name().eq_ignore_ascii_case(name))
    }

    pub fn name(self) -> &'static str {
        match self {
            Dialect::Postgres => "postgres",
            Dialect::Flink => "flink",
        }
    }
}

/// PostgreSQL's dialect, except that
/// - `FROM t EMIT ON ...` does not take EMIT for an alias,
/// - `f(TABLE t)` passes a table: it reads as `f((SELECT * FROM t))`, and `f(TABLE t PARTITION BY k)` or `PARTITION BY (k,
///   l)` as the same with `DISTRIBUTE BY k`, which nothing else reads,
/// - IS DISTINCT FROM binds as IS does,
/// - an interval's literal says its units in its text ([`literal`]),
/// - a SELECT list may be empty.
#[derive(Debug)]
pub struct TidemillDialect {
    /// Names may stand in back quotes.
    back_quotes: bool,
}

static POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};
static DIALECT: TidemillDialect = TidemillDialect { back_quotes: false };
static FLINK: TidemillDialect = TidemillDialect { back_quotes: true };

pub fn tokenize(text: &str, dialect: Dialect) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    if dialect == Dialect::Postgres {
        return Tokenizer::new(&DIALECT, text).tokenize_with_location();
    }
    let mut tokens = Tokenizer::new(&FLINK, text).tokenize_with_location()?;
    for token in &mut tokens {
        // Behind here there is one way to quote a name.
        if let Token::Word(word) = &mut token.token
            && word.quote_style == Some('`')
        {
            word.quote_style = Some('"');
        }
    }
    Ok(tokens)
}

pub fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&DIALECT).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens)
}

/// `SELECT * FROM`, all of it standing where the keyword TABLE stands.
pub fn select_all_from(place: Span) -> Vec<TokenWithSpan> {
    let word = |keyword, value: &str| Token::Word(Word { value: value.into(), quote_style: None, keyword });
    [word(Keyword::SELECT, "SELECT"), Token::Mul, word(Keyword::FROM, "FROM")]
        .into_iter()
        .map(|token| TokenWithSpan { token, span: place })
        .collect()
}

/// Whether the word just read begins an EMIT or ALLOWED LATENESS clause.
fn begins_emit_clause(parser: &Parser) -> bool {
    let word = |token: &TokenWithSpan, wanted: &str| match &token.token {
        Token::Word(w) => w.quote_style.is_none() && w.value.eq_ignore_ascii_case(wanted),
        _ => false,
    };
    let ends = |n: usize| {
        matches!(parser.peek_nth_token_ref(n).token, Token::EOF | Token::SemiColon | Token::RParen | Token::Word(_))
    };
    let next = parser.peek_nth_token_ref(0);
    // `a JOIN b emit ON emit.x = a.x`: there a condition follows.
    let on = word(next, "ON") && matches!(parser.peek_nth_token_ref(1).token, Token::Word(_)) && ends(2);
    let other =
        ["WINDOW", "UPDATE", "CHANGES", "FINAL", "AFTER", "ONCE", "EVERY"].iter().any(|wanted| word(next, wanted));
    let emit = word(parser.get_current_token(), "EMIT") && (on || other);
    let lateness = word(next, "LATENESS") && word(parser.peek_nth_token_ref(1), "INTERVAL");
    emit || word(parser.get_current_token(), "ALLOWED") && lateness
}

/// `TABLE name` or `TABLE (query)` as an argument of a function.
fn table_argument(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    if !matches!(&parser.peek_token_ref().token, Token::Word(w) if w.keyword == Keyword::TABLE && w.quote_style.is_none())
        || !matches!(parser.peek_nth_token_ref(1).token, Token::Word(_) | Token::LParen)
        || !matches!(parser.get_current_token().token, Token::LParen | Token::Comma | Token::RArrow)
    {
        return None;
    }
    Some(table_query(parser).map(Expr::Subquery))
}

/// What stands for the SELECT list where there is none, until [`without_nothing`] takes it away: PostgreSQL's `SELECT;`.
const NOTHING: &str = "\u{1}";

fn nothing(parser: &Parser) -> Option<Expr> {
    const CLAUSES: [Keyword; 10] = [
        Keyword::WHERE,
        Keyword::GROUP,
        Keyword::HAVING,
        Keyword::ORDER,
        Keyword::LIMIT,
        Keyword::OFFSET,
        Keyword::FETCH,
        Keyword::UNION,
        Keyword::INTERSECT,
        Keyword::EXCEPT,
    ];
    let unquoted = |token: &Token, wanted: &[Keyword]| matches!(token, Token::Word(w) if w.quote_style.is_none() && wanted.contains(&w.keyword));
    let next = &parser.peek_token_ref().token;
    let ends = matches!(next, Token::EOF | Token::SemiColon | Token::RParen) || unquoted(next, &CLAUSES);
    let empty = ends && unquoted(&parser.get_current_token().token, &[Keyword::SELECT]);
    empty.then(|| Expr::value(Value::Placeholder(NOTHING.into())))
}

/// A query whose SELECT lists are empty where nothing stands in them.
pub fn without_nothing(query: &mut Query) {
    struct Emptier;
    impl VisitorMut for Emptier {
        type Break = ();
        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            let is_nothing = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(Expr::Value(value)) => {
                    matches!(&value.value, Value::Placeholder(placeholder) if placeholder == NOTHING)
                }
                _ => false,
            };
            if matches!(select.projection.as_slice(), [item] if is_nothing(item)) {
                select.projection.clear();
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(query, &mut Emptier);
}

fn table_query(parser: &mut Parser) -> Result<Box<Query>, ParserError> {
    let place = parser.next_token().span;
    let mut query = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        query
    } else {
        let mut tokens = select_all_from(place);
        loop {
            tokens.push(parser.next_token());
            if parser.peek_token_ref().token != Token::Period {
                break;
            }
            tokens.push(parser.next_token());
        }
        self::parser(tokens).parse_query()?
    };
    if parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY])
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        select.distribute_by = if parser.consume_token(&Token::LParen) {
            let columns = parser.parse_comma_separated(Parser::parse_identifier)?;
            parser.expect_token(&Token::RParen)?;
            columns.into_iter().map(Expr::Identifier).collect()
        } else {
            vec![Expr::Identifier(parser.parse_identifier()?)]
        };
    }
    Ok(query)
}

impl ParserDialect for TidemillDialect {
    /// sqlparser asks for the type where it treats PostgreSQL specially.
    fn dialect(&self) -> TypeId {
        POSTGRES.dialect()
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        table_argument(parser).or_else(|| literal::interval(parser)).or_else(|| nothing(parser).map(Ok))
    }

    /// sqlparser takes all that follows IS DISTINCT FROM and IS NOT DISTINCT FROM for its right side, AND and OR too.
    fn parse_infix(&self, parser: &mut Parser, left: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        const IS_NOT: [Keyword; 4] = [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM];
        const IS: [Keyword; 3] = [Keyword::IS, Keyword::DISTINCT, Keyword::FROM];
        let same = parser.parse_keywords(&IS_NOT);
        if !same && !parser.parse_keywords(&IS) {
            return None;
        }
        let left = Box::new(left.clone());
        Some(parser.parse_subexpr(self.prec_value(Precedence::Is)).map(Box::new).map(|right| match same {
            true => Expr::IsNotDistinctFrom(left, right),
            false => Expr::IsDistinctFrom(left, right),
        }))
    }

    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        explicit || (!begins_emit_clause(parser) && POSTGRES.is_table_factor_alias(explicit, keyword, parser))
    }

    fn is_select_item_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        explicit || (!begins_emit_clause(parser) && POSTGRES.is_select_item_alias(explicit, keyword, parser))
    }

    /// PostgreSQL's JSON constructors alone need it, and it makes sqlparser read every argument twice at every level.
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch) || self.back_quotes && ch == '`'
    }
    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }
    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }
    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }
    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }
    fn supports_unicode_string_literal(&self) -> bool {
        true
    }
    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }
    fn supports_group_by_expr(&self) -> bool {
        true
    }
    fn allow_extract_custom(&self) -> bool {
        true
    }
    fn allow_extract_single_quotes(&self) -> bool {
        true
    }
    fn supports_empty_projections(&self) -> bool {
        true
    }
    fn supports_nested_comments(&self) -> bool {
        true
    }
    fn supports_string_escape_constant(&self) -> bool {
        true
    }
    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }
    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }
    // What makes ? the operator that it is on jsonb.
    fn supports_geometric_types(&self) -> bool {
        POSTGRES.supports_geometric_types()
    }
    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }
    fn supports_notnull_operator(&self) -> bool {
        true
    }
    fn supports_interval_options(&self) -> bool {
        true
    }
    fn supports_select_wildcard_with_alias(&self) -> bool {
        true
    }
    fn supports_comma_separated_trim(&self) -> bool {
        true
    }
}
