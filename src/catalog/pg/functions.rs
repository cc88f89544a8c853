//! The functions of `pg_catalog` that clients call, a line each in [`FUNCTIONS`]. They are evaluated value by value: a
//! catalog has few rows.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::known::TIDEMILL;
use super::{World, declared, rows};
use crate::error::{Error, Result, SqlState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Returns {
    Text,
    Int,
    Bool,
    Texts,
}

impl Returns {
    fn data_type(self) -> DataType {
        match self {
            Returns::Text => DataType::Utf8,
            Returns::Int => DataType::Int64,
            Returns::Bool => DataType::Boolean,
            Returns::Texts => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
        }
    }
}

/// An answer; `None` is null.
type Answer = Result<Option<Out>>;

enum Out {
    Text(String),
    Int(i64),
    Bool(bool),
    Texts(Vec<String>),
}

type Eval = fn(&World, &[ScalarValue]) -> Answer;

const FUNCTIONS: &[(&str, Returns, Eval)] = &[
    // What PostgreSQL prints for an object or a type.
    (
        "format_type",
        Returns::Text,
        |_, a| Ok(int(a, 0).map(|oid| Out::Text(format_type(oid, int(a, 1).unwrap_or(-1))))),
    ),
    ("pg_get_userbyid", Returns::Text, |w, a| text(int(a, 0).map(|oid| user_name(w, oid)))),
    ("pg_get_expr", Returns::Text, |_, a| text(string(a, 0))),
    ("pg_get_viewdef", Returns::Text, |w, a| {
        text(named_relation(w, a).and_then(|oid| w.object(oid)).map(|o| o.definition.clone()))
    }),
    ("tidemill_relation_kind", Returns::Text, |w, a| {
        text(int(a, 0).and_then(|oid| rows::kind_of(w, oid)).map(str::to_string))
    }),
    // Names and object ids.
    ("regclass_name", Returns::Text, |w, a| text(regclass(w, a)?.map(|oid| relation_name(w, oid)))),
    ("regclass_oid", Returns::Int, |w, a| Ok(regclass(w, a)?.map(Out::Int))),
    ("to_regclass", Returns::Text, |w, a| text(named_relation(w, a).map(|oid| relation_name(w, oid)))),
    ("regtype_name", Returns::Text, |_, a| text(regtype(a)?.map(|oid| format_type(oid, -1)))),
    ("regtype_oid", Returns::Int, |_, a| Ok(regtype(a)?.map(Out::Int))),
    ("to_regtype", Returns::Text, |_, a| text(regtype(a).ok().flatten().map(|oid| format_type(oid, -1)))),
    ("regnamespace_name", Returns::Text, |_, a| text(regnamespace(a)?.map(|(_, name)| name))),
    ("regnamespace_oid", Returns::Int, |_, a| Ok(regnamespace(a)?.map(|(oid, _)| Out::Int(oid)))),
    ("regrole_name", Returns::Text, |w, a| text(int(a, 0).map(|oid| user_name(w, oid)).or_else(|| string(a, 0)))),
    ("regrole_oid", Returns::Int, |_, a| Ok(string(a, 0).map(|_| Out::Int(int(a, 0).unwrap_or(rows::OWNER_OID))))),
    ("regproc_name", Returns::Text, |_, a| {
        text(string(a, 0).map(|name| name.strip_prefix("pg_catalog.").unwrap_or(&name).to_string()))
    }),
    // The session.
    ("current_database", Returns::Text, |w, _| text(Some(w.facts.database.clone()))),
    ("current_catalog", Returns::Text, |w, _| text(Some(w.facts.database.clone()))),
    ("current_schema", Returns::Text, |_, _| text(Some("public".into()))),
    ("current_schemas", Returns::Texts, |_, a| {
        let implicit = matches!(a.first(), Some(ScalarValue::Boolean(Some(true))));
        let schemas = if implicit { vec!["pg_catalog".to_string(), "public".into()] } else { vec!["public".into()] };
        Ok(Some(Out::Texts(schemas)))
    }),
    ("current_user", Returns::Text, |w, _| text(Some(w.facts.user.clone()))),
    ("session_user", Returns::Text, |w, _| text(Some(w.facts.user.clone()))),
    ("current_role", Returns::Text, |w, _| text(Some(w.facts.user.clone()))),
    ("user", Returns::Text, |w, _| text(Some(w.facts.user.clone()))),
    ("version", Returns::Text, |w, _| text(Some(w.facts.version.clone()))),
    ("pg_backend_pid", Returns::Int, |w, _| Ok(Some(Out::Int(i64::from(w.facts.backend_pid))))),
    ("current_setting", Returns::Text, current_setting),
    ("pg_is_in_recovery", Returns::Bool, no),
    ("pg_my_temp_schema", Returns::Int, zero),
    ("pg_is_other_temp_schema", Returns::Bool, no),
    ("inet_server_addr", Returns::Text, null),
    ("inet_client_addr", Returns::Text, null),
    // Encodings.
    ("pg_encoding_to_char", Returns::Text, |_, _| text(Some("UTF8".into()))),
    ("pg_char_to_encoding", Returns::Int, |_, _| Ok(Some(Out::Int(6)))),
    ("getdatabaseencoding", Returns::Text, |_, _| text(Some("UTF8".into()))),
    ("pg_client_encoding", Returns::Text, |_, _| text(Some("UTF8".into()))),
    // Text.
    ("quote_ident", Returns::Text, |_, a| text(string(a, 0).map(|s| quote_ident(&s)))),
    ("quote_literal", Returns::Text, |_, a| text(string(a, 0).map(|s| quote_literal(&s)))),
    ("quote_nullable", Returns::Text, |_, a| text(Some(string(a, 0).map_or("NULL".into(), |s| quote_literal(&s))))),
    ("pg_size_pretty", Returns::Text, |_, a| text(int(a, 0).map(size_pretty))),
    // Two schemas are searched, and everybody may do everything.
    ("pg_table_is_visible", Returns::Bool, |w, a| {
        Ok(int(a, 0).map(|oid| Out::Bool(w.object(oid).is_some() || rows::is_searched(oid))))
    }),
    ("pg_type_is_visible", Returns::Bool, yes),
    ("pg_function_is_visible", Returns::Bool, yes),
    ("pg_operator_is_visible", Returns::Bool, yes),
    ("pg_opclass_is_visible", Returns::Bool, yes),
    ("pg_opfamily_is_visible", Returns::Bool, yes),
    ("pg_collation_is_visible", Returns::Bool, yes),
    ("pg_conversion_is_visible", Returns::Bool, yes),
    ("pg_statistics_obj_is_visible", Returns::Bool, yes),
    ("pg_ts_config_is_visible", Returns::Bool, yes),
    ("pg_ts_dict_is_visible", Returns::Bool, yes),
    ("pg_ts_parser_is_visible", Returns::Bool, yes),
    ("pg_ts_template_is_visible", Returns::Bool, yes),
    ("has_any_column_privilege", Returns::Bool, yes),
    ("has_column_privilege", Returns::Bool, yes),
    ("has_database_privilege", Returns::Bool, yes),
    ("has_function_privilege", Returns::Bool, yes),
    ("has_schema_privilege", Returns::Bool, yes),
    ("has_sequence_privilege", Returns::Bool, yes),
    ("has_table_privilege", Returns::Bool, yes),
    ("has_type_privilege", Returns::Bool, yes),
    ("pg_has_role", Returns::Bool, yes),
    // What there is none of.
    ("pg_relation_is_publishable", Returns::Bool, no),
    ("pg_table_size", Returns::Int, zero),
    ("pg_relation_size", Returns::Int, zero),
    ("pg_total_relation_size", Returns::Int, zero),
    ("pg_indexes_size", Returns::Int, zero),
    ("pg_database_size", Returns::Int, zero),
    ("pg_tablespace_size", Returns::Int, zero),
    ("pg_tablespace_location", Returns::Text, |_, _| text(Some(String::new()))),
    ("pg_relation_filenode", Returns::Int, null),
    ("obj_description", Returns::Text, null),
    ("shobj_description", Returns::Text, null),
    ("col_description", Returns::Text, |w, a| {
        let object = int(a, 0).and_then(|oid| w.object(oid));
        text(object.zip(int(a, 1)).and_then(|(object, place)| declared::remark(object, place)))
    }),
    ("pg_get_constraintdef", Returns::Text, null),
    ("pg_get_functiondef", Returns::Text, null),
    ("pg_get_function_sqlbody", Returns::Text, null),
    ("pg_get_function_arguments", Returns::Text, function_arguments),
    ("pg_get_function_identity_arguments", Returns::Text, function_arguments),
    ("pg_get_function_result", Returns::Text, |w, a| {
        text(int(a, 0).and_then(|oid| w.facts.known.function(oid)).map(|function| function.result.clone()))
    }),
    ("pg_get_indexdef", Returns::Text, null),
    ("pg_get_partkeydef", Returns::Text, null),
    ("pg_get_partition_constraintdef", Returns::Text, null),
    ("pg_get_ruledef", Returns::Text, null),
    ("pg_get_serial_sequence", Returns::Text, null),
    ("pg_get_statisticsobjdef_columns", Returns::Text, null),
    ("pg_get_triggerdef", Returns::Text, null),
];

fn yes(_: &World, _: &[ScalarValue]) -> Answer {
    Ok(Some(Out::Bool(true)))
}

fn no(_: &World, _: &[ScalarValue]) -> Answer {
    Ok(Some(Out::Bool(false)))
}

fn zero(_: &World, _: &[ScalarValue]) -> Answer {
    Ok(Some(Out::Int(0)))
}

fn null(_: &World, _: &[ScalarValue]) -> Answer {
    Ok(None)
}

fn function_arguments(world: &World, arguments: &[ScalarValue]) -> Answer {
    text(int(arguments, 0).and_then(|oid| world.facts.known.function(oid)).map(|function| function.arguments.clone()))
}

/// Whether `name` is one of these functions.
pub fn exists(name: &str) -> bool {
    FUNCTIONS.iter().any(|(n, ..)| *n == name)
}

pub fn all(world: &Arc<World>) -> impl Iterator<Item = ScalarUDF> {
    FUNCTIONS.iter().map(|(name, returns, eval)| {
        let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
        let world = Arc::clone(world);
        ScalarUDF::new_from_impl(Function { name, returns: *returns, eval: *eval, signature, world })
    })
}

#[derive(Debug)]
struct Function {
    name: &'static str,
    returns: Returns,
    eval: Eval,
    signature: Signature,
    world: Arc<World>,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.world, &other.world)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.returns.data_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let arguments: Vec<ScalarValue> = args
                .args
                .iter()
                .map(|a| match a {
                    ColumnarValue::Scalar(value) => Ok(value.clone()),
                    ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row),
                })
                .collect::<DfResult<_>>()?;
            let answer = (self.eval)(&self.world, &arguments);
            values.push(self.scalar(answer.map_err(|e| datafusion::error::DataFusionError::External(Box::new(e)))?)?);
        }
        match values.pop() {
            Some(value) if scalar => Ok(ColumnarValue::Scalar(value)),
            Some(last) => {
                values.push(last);
                Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
            }
            None => Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.returns.data_type()))),
        }
    }
}

impl Function {
    fn scalar(&self, answer: Option<Out>) -> DfResult<ScalarValue> {
        Ok(match answer {
            None => ScalarValue::try_from(&self.returns.data_type())?,
            Some(Out::Text(v)) => ScalarValue::Utf8(Some(v)),
            Some(Out::Int(v)) => ScalarValue::Int64(Some(v)),
            Some(Out::Bool(v)) => ScalarValue::Boolean(Some(v)),
            Some(Out::Texts(v)) => {
                let items: Vec<_> = v.into_iter().map(|s| ScalarValue::Utf8(Some(s))).collect();
                ScalarValue::List(ScalarValue::new_list(&items, &DataType::Utf8, true))
            }
        })
    }
}

fn text(value: Option<String>) -> Answer {
    Ok(value.map(Out::Text))
}

/// The argument as text; `None` if it is null or missing.
fn string(arguments: &[ScalarValue], index: usize) -> Option<String> {
    match arguments.get(index)? {
        ScalarValue::Utf8(v) | ScalarValue::LargeUtf8(v) | ScalarValue::Utf8View(v) => v.clone(),
        value if value.is_null() => None,
        value => Some(value.to_string()),
    }
}

/// The argument as an integer, also if it is written as text; `None` if it is null, missing or none.
fn int(arguments: &[ScalarValue], index: usize) -> Option<i64> {
    string(arguments, index)?.parse().ok()
}

fn user_name(world: &World, oid: i64) -> String {
    if oid == rows::OWNER_OID { world.facts.user.clone() } else { format!("unknown (OID={oid})") }
}

/// A relation by its object id or its name, with or without a schema.
fn named_relation(world: &World, arguments: &[ScalarValue]) -> Option<i64> {
    if let Some(oid) = int(arguments, 0) {
        return Some(oid);
    }
    let name = string(arguments, 0)?;
    let parts = identifier_parts(&name);
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name),
        [schema, name] => (Some(schema.as_str()), name),
        _ => return None,
    };
    let ours = || world.objects.iter().find(|o| o.name == *name).map(|o| i64::from(o.id.0));
    match schema {
        None => ours().or_else(|| rows::system_class_oid(name)),
        Some("public") => ours(),
        Some("pg_catalog" | "information_schema") => rows::system_class_oid(name),
        Some(TIDEMILL) => world.facts.known.tables().find(|(_, table)| table.name == *name).map(|(oid, _)| oid),
        Some(_) => None,
    }
}

/// `a."B c"` in its parts, folded as identifiers are.
fn identifier_parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        let Some(part) = parts.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => part.extend(chars.next()),
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c if quoted => part.push(c),
            c => part.extend(c.to_lowercase()),
        }
    }
    parts
}

fn regclass(world: &World, arguments: &[ScalarValue]) -> Result<Option<i64>> {
    let Some(name) = string(arguments, 0) else {
        return Ok(None);
    };
    let missing = || Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"));
    named_relation(world, arguments).map(Some).ok_or_else(missing)
}

fn relation_name(world: &World, oid: i64) -> String {
    if let Some(table) = world.facts.known.table(oid) {
        return format!("{TIDEMILL}.{}", table.name);
    }
    match (world.object(oid), rows::system_class_name(oid)) {
        (Some(object), _) => quote_ident(&object.name),
        (None, Some(name)) => name.to_string(),
        (None, None) if oid == 0 => "-".to_string(),
        (None, None) => oid.to_string(),
    }
}

/// A type by its object id, its SQL name or its name in `pg_type`.
fn regtype(arguments: &[ScalarValue]) -> Result<Option<i64>> {
    if let Some(oid) = int(arguments, 0) {
        return Ok(Some(oid));
    }
    let Some(name) = string(arguments, 0) else {
        return Ok(None);
    };
    let plain = name.trim().to_lowercase();
    let plain = plain.strip_prefix("pg_catalog.").unwrap_or(&plain);
    let sql_name = SQL_NAMES.iter().find(|(_, sql)| *sql == plain).map(|(internal, _)| *internal);
    match rows::type_oid(sql_name.unwrap_or(plain)) {
        Some(oid) => Ok(Some(oid)),
        None => Err(Error::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))),
    }
}

fn regnamespace(arguments: &[ScalarValue]) -> Result<Option<(i64, String)>> {
    let Some(given) = string(arguments, 0) else {
        return Ok(None);
    };
    let known = rows::SCHEMAS.iter().find(|(oid, name)| *name == given || oid.to_string() == given);
    match (known, given.parse()) {
        (Some((oid, name)), _) => Ok(Some((*oid, (*name).to_string()))),
        (None, Ok(oid)) => Ok(Some((oid, given))),
        (None, Err(_)) => {
            let message = format!("schema \"{given}\" does not exist");
            Err(Error::new(SqlState::UndefinedObject, message))
        }
    }
}

/// Types whose SQL name is not their name in `pg_type`.
const SQL_NAMES: [(&str, &str); 12] = [
    ("bool", "boolean"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("varchar", "character varying"),
    ("bpchar", "character"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("time", "time without time zone"),
    ("char", "\"char\""),
];

/// A type as SQL writes it. `modifier` is its `atttypmod`.
pub fn format_type(oid: i64, modifier: i64) -> String {
    if let Some(element) = rows::element_oid(oid).filter(|_| !matches!(oid, 19)) {
        return format!("{}[]", format_type(element, modifier));
    }
    let Some(name) = rows::type_name(oid) else {
        return if oid == 0 { "-".to_string() } else { "???".to_string() };
    };
    let sql = SQL_NAMES.iter().find(|(internal, _)| *internal == name).map_or(name, |(_, sql)| sql);
    if modifier < 0 {
        return sql.to_string();
    }
    match name {
        "varchar" | "bpchar" => format!("{sql}({})", modifier - 4),
        "numeric" => {
            let packed = modifier - 4;
            format!("numeric({},{})", packed >> 16, packed & 0x7ff)
        }
        "timestamp" | "timestamptz" | "time" => match sql.split_once(' ') {
            Some((first, rest)) => format!("{first}({modifier}) {rest}"),
            None => sql.to_string(),
        },
        _ => sql.to_string(),
    }
}

fn current_setting(world: &World, arguments: &[ScalarValue]) -> Answer {
    let Some(name) = string(arguments, 0) else {
        return Ok(None);
    };
    let missing_ok = matches!(arguments.get(1), Some(ScalarValue::Boolean(Some(true))));
    match world.facts.settings.iter().find(|s| s.name.eq_ignore_ascii_case(&name)) {
        Some(setting) => text(Some(setting.value.clone())),
        None if missing_ok => Ok(None),
        None => {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            Err(Error::new(SqlState::UndefinedObject, message))
        }
    }
}

/// Words that must be quoted to be names; the reserved ones of PostgreSQL that people might use.
const RESERVED: [&str; 34] = [
    "all", "and", "any", "array", "as", "asc", "case", "cast", "check", "column", "create", "default", "desc",
    "distinct", "do", "else", "end", "false", "for", "from", "grant", "group", "having", "in", "into", "limit", "not",
    "null", "on", "or", "order", "select", "table", "user",
];

fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn quote_literal(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// PostgreSQL's `pg_size_pretty`: a unit's number up to 10,239, rounded half up.
fn size_pretty(bytes: i64) -> String {
    const LIMIT: i128 = 10 * 1024;
    let (sign, mut size) = (bytes.signum() as i128, i128::from(bytes).abs());
    if size < LIMIT {
        return format!("{bytes} bytes");
    }
    // One bit more than the unit, so that the last step can round.
    size >>= 9;
    for unit in ["kB", "MB", "GB", "TB"] {
        if size < 2 * LIMIT - 1 {
            return format!("{} {unit}", sign * ((size + 1) / 2));
        }
        size >>= 10;
    }
    format!("{} PB", sign * ((size + 1) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of PostgreSQL 15.
    #[test]
    fn types_are_printed() {
        let table = [
            (23, -1, "integer"),
            (1043, 14, "character varying(10)"),
            (1043, -1, "character varying"),
            (1700, 786_438, "numeric(12,2)"),
            (1114, 3, "timestamp(3) without time zone"),
            (1184, -1, "timestamp with time zone"),
            (1009, -1, "text[]"),
            (1231, 786_438, "numeric(12,2)[]"),
            (18, -1, "\"char\""),
            (19, -1, "name"),
            (0, -1, "-"),
            (99_999, -1, "???"),
        ];
        for (oid, modifier, expected) in table {
            assert_eq!(format_type(oid, modifier), expected);
        }
    }

    /// Answers of PostgreSQL 15.
    #[test]
    fn sizes_are_pretty() {
        let table = [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (10_752, "11 kB"),
            (-10_240, "-10 kB"),
            (10_484_735, "10239 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (1 << 40, "1024 GB"),
            (i64::MAX, "8192 PB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(size_pretty(bytes), expected);
        }
    }

    #[test]
    fn names_are_quoted_and_read() {
        assert_eq!(
            ["a_1", "A", "a b", "1a", "table", "q\"q"].map(quote_ident),
            ["a_1", "\"A\"", "\"a b\"", "\"1a\"", "\"table\"", "\"q\"\"q\""]
        );
        assert_eq!(quote_literal("it's \\"), "E'it''s \\\\'");
        assert_eq!(identifier_parts("Public.\"My.\"\"T\""), ["public", "My.\"T"]);
    }
}
