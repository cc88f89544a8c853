//! psql's own questions (`psql15.sql`, as `psql -E` shows them), and drivers'; each must be planned and answered.

use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::*;
use crate::catalog::{JobObject, ObjectId, SinkObject, SourceObject, ViewObject, Wanted};
use crate::connector::{Positions, Reader, ReaderContext, Sink, SinkWriter, Source, Takes};
use crate::error::Error;
use crate::types::SqlType;

const PSQL: &str = include_str!("psql15.sql");

#[derive(Debug)]
struct Nowhere;

impl Source for Nowhere {
    fn resolve_start(&self) -> Result<Positions> {
        Ok(Positions::new())
    }
    fn open(&self, _: &[usize], _: &Positions, _: ReaderContext) -> Result<Box<dyn Reader>> {
        Err(Error::internal("never opened"))
    }
    fn decoder(&self, _: &[usize]) -> Result<Option<Arc<dyn crate::format::Decoder>>> {
        Ok(None)
    }
}

impl Sink for Nowhere {
    fn takes(&self) -> Takes {
        Takes::Appends
    }
    fn open(&self, _: &str, _: arrow::datatypes::SchemaRef) -> Result<Box<dyn SinkWriter>> {
        Err(Error::internal("never opened"))
    }
}

fn objects() -> Vec<Arc<Object>> {
    let column = |name: &str, ty, not_null| Column { name: name.into(), ty, not_null };
    let columns = vec![
        column("order_id", SqlType::BigInt, true),
        column("customer", SqlType::Varchar(Some(20)), false),
        column("amount", SqlType::Numeric(12, 2), false),
        column("ts", SqlType::Timestamp(3), false),
    ];
    let source = SourceObject {
        columns: columns.clone(),
        computed: Vec::new(),
        watermark: None,
        source: Arc::new(Nowhere),
        idle_timeout: 0,
        on_error: crate::catalog::OnError::Fail,
        dead_letters: None,
    };
    let view = ViewObject {
        columns: vec![column("customer", SqlType::Text, false), column("total", SqlType::Numeric(38, 2), false)],
        plan: "".into(),
        starts: Default::default(),
    };
    let job = JobObject {
        plan: "".into(),
        options: Default::default(),
        starts: Default::default(),
        wanted: Wanted::Running,
        ended: None,
    };
    let kinds = [
        ("orders", ObjectKind::Source(source)),
        ("live", ObjectKind::View(view)),
        ("Per Minute", ObjectKind::Sink(SinkObject { columns, sink: Arc::new(Nowhere) })),
        ("revenue", ObjectKind::Job(job)),
    ];
    let object = |(n, (name, kind)): (usize, (&str, ObjectKind))| {
        let definition = format!("CREATE {name}");
        Arc::new(Object { id: ObjectId(16_384 + n as u32), name: name.into(), definition, depends_on: vec![], kind })
    };
    kinds.into_iter().enumerate().map(object).collect()
}

fn known() -> Known {
    let name = Column { name: "name".into(), ty: SqlType::Text, not_null: false };
    let function = |name: &str, arguments: &str, result: &str, kind| KnownFunction {
        name: name.into(),
        arguments: arguments.into(),
        result: result.into(),
        kind,
    };
    Known {
        tables: vec![KnownTable { name: "jobs", columns: vec![name] }],
        functions: vec![function("sum", "integer", "bigint", "a"), function("upper", "text", "text", "f")],
    }
}

fn context() -> SessionContext {
    let config = SessionConfig::new().with_default_catalog_and_schema("tidemill", "public").with_target_partitions(1);
    let context = SessionContext::new_with_config(config);
    let setting = |name: &str, value: &str| Setting {
        name: name.into(),
        value: value.into(),
        default: "UTC".into(),
        description: String::new(),
    };
    let facts = Facts {
        user: "ann".into(),
        database: "tidemill".into(),
        backend_pid: 7,
        version: "PostgreSQL 16.4 (Tidemill)".into(),
        settings: vec![setting("TimeZone", "Europe/Berlin")],
        known: Arc::new(known()),
    };
    let world = Arc::new(World { objects: objects(), facts });
    functions(&world).for_each(|f| context.register_udf(f));
    let catalog = context.catalog("tidemill").unwrap();
    for schema in [PG_CATALOG, INFORMATION_SCHEMA] {
        let provider = MemorySchemaProvider::new();
        for name in definition::tables(schema).map(|t| t.name) {
            provider.register_table(name.to_string(), table(schema, name, &world).unwrap().unwrap()).unwrap();
        }
        catalog.register_schema(schema, Arc::new(provider)).unwrap();
    }
    context
}

fn rewritten(statement: &mut Statement) {
    let Statement::Query(query) = statement else { panic!("{statement} is no query") };
    rewrite(query);
}

async fn answer(context: &SessionContext, text: &str) -> Result<String> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(|e| Error::internal(e.to_string()))?;
    let mut statement = statements.pop().unwrap();
    rewritten(&mut statement);
    let plan = context.state().statement_to_plan(DfStatement::Statement(Box::new(statement))).await?;
    let batches = context.execute_logical_plan(plan).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}

/// Rows as `a|b`.
async fn rows_of(context: &SessionContext, text: &str) -> Vec<String> {
    let table = answer(context, text).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().to_string()).collect::<Vec<_>>().join("|");
    table.lines().skip(3).filter(|l| l.starts_with('|')).map(cells).collect()
}

#[tokio::test]
async fn psql_is_answered() {
    let context = context();
    let mut failed = Vec::new();
    for question in PSQL.split(";\n\n") {
        if let Err(e) = answer(&context, question.trim_end_matches([';', '\n'])).await {
            failed.push(format!("{question}\n=> {e:?}\n"));
        }
    }
    assert!(failed.is_empty(), "{} questions:\n{}", failed.len(), failed.join("\n"));
}

/// The question that psql asks first for a command.
fn question(command: &str) -> &'static str {
    let start = format!("-- {command}\n");
    PSQL.split(";\n\n").find_map(|q| q.strip_prefix(&start)).unwrap_or_else(|| panic!("no question of {command}"))
}

#[tokio::test]
async fn lists() {
    let context = context();
    let table: [(&str, &[&str]); 7] = [
        (
            "\\d",
            &[
                "public|Per Minute|sink|ann",
                "public|live|materialized view|ann",
                "public|orders|source|ann",
                "public|revenue|streaming job|ann",
            ],
        ),
        ("\\dt", &["public|Per Minute|sink|ann", "public|orders|source|ann"]),
        ("\\dm", &["public|live|materialized view|ann"]),
        ("\\dv", &["public|revenue|streaming job|ann"]),
        ("\\di", &[]),
        ("\\l", &["tidemill|ann|UTF8|C|C.UTF-8||libc|"]),
        ("\\dn", &["public|ann", "tidemill|ann"]),
    ];
    for (command, expected) in table {
        assert_eq!(rows_of(&context, question(command)).await, expected, "{command}");
    }
}

#[tokio::test]
async fn one_relation() {
    let context = context();
    assert_eq!(rows_of(&context, question("\\d orders")).await, ["16384|public|orders"]);
    assert_eq!(rows_of(&context, question("\\d nosuch")).await, [""; 0]);
    let columns = PSQL.split(";\n\n").find(|q| q.contains("format_type(a.atttypid") && q.contains("'16384'")).unwrap();
    assert_eq!(
        rows_of(&context, columns).await,
        [
            "order_id|bigint||true|||",
            "customer|character varying(20)||false|||",
            "amount|numeric(12,2)||false|||",
            "ts|timestamp(3) without time zone||false|||",
        ]
    );
}

#[tokio::test]
async fn names_and_functions() {
    let context = context();
    let table = [
        ("SELECT 'live'::regclass", "live"),
        ("SELECT 'live'::regclass::oid", "16385"),
        ("SELECT 'public.\"Per Minute\"'::regclass::text", "\"Per Minute\""),
        ("SELECT relname FROM pg_class WHERE oid = 'orders'::regclass", "orders"),
        ("SELECT count(*) FROM pg_attribute WHERE attrelid = 'orders'::regclass::oid AND attnum > 0", "4"),
        ("SELECT 23::regtype::text", "integer"),
        ("SELECT typname FROM pg_type WHERE oid = 'double precision'::regtype", "float8"),
        ("SELECT to_regclass('nosuch') IS NULL", "true"),
        ("SELECT pg_catalog.current_database()", "tidemill"),
        ("SELECT current_user", "ann"),
        ("SELECT current_schema", "public"),
        ("SELECT current_schema()", "public"),
        ("SELECT array_to_string(current_schemas(true), ',')", "pg_catalog,public"),
        ("SELECT pg_backend_pid()", "7"),
        ("SELECT version()", "PostgreSQL 16.4 (Tidemill)"),
        ("SELECT current_setting('timezone')", "Europe/Berlin"),
        ("SELECT pg_get_viewdef('live'::regclass, true)", "CREATE live"),
        ("SELECT has_table_privilege('orders', 'select')", "true"),
        ("SELECT pg_catalog.pg_size_pretty(pg_catalog.pg_table_size('orders'::regclass))", "0 bytes"),
        ("SELECT obj_description('orders'::regclass, 'pg_class') IS NULL", "true"),
        ("SELECT count(*) FROM pg_policy", "0"),
        ("SELECT count(*) FROM pg_catalog.pg_type WHERE oid = ANY(ARRAY[16, 23])", "2"),
        ("SELECT nspname FROM pg_namespace WHERE nspname = 'public'::name", "public"),
        ("SELECT relname FROM pg_class WHERE relname LIKE 'ord%' AND relkind = 'r'::\"char\"", "orders"),
        (
            "SELECT (SELECT nspname FROM pg_namespace n WHERE n.oid = c.relnamespace) FROM pg_class c WHERE relname = 'live'",
            "public",
        ),
        (
            "SELECT array_to_string(ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = c.oid), ',') FROM pg_class c WHERE c.relname = 'live'",
            "customer,total",
        ),
        ("SELECT EXISTS (SELECT 1 FROM pg_index WHERE indrelid = 3)", "false"),
    ];
    for (text, expected) in table {
        assert_eq!(rows_of(&context, text).await, [expected], "{text}");
    }
    let missing = answer(&context, "SELECT 'nosuch'::regclass").await.unwrap_err();
    assert_eq!((missing.state().code(), missing.message()), ("42P01", "relation \"nosuch\" does not exist"));
}

#[tokio::test]
async fn the_standards_schema() {
    let context = context();
    let tables =
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    assert_eq!(rows_of(&context, tables).await, ["Per Minute|SINK", "live|MATERIALIZED VIEW", "orders|SOURCE"]);
    let columns = "SELECT column_name, ordinal_position, data_type, is_nullable, numeric_scale FROM \
                   information_schema.columns WHERE table_name = 'orders' ORDER BY 2";
    assert_eq!(
        rows_of(&context, columns).await,
        [
            "order_id|1|bigint|NO|0",
            "customer|2|character varying|YES|",
            "amount|3|numeric|YES|2",
            "ts|4|timestamp without time zone|YES|",
        ]
    );
}

#[test]
fn other_statements_stay_as_they_are() {
    for text in [
        "SELECT a, (SELECT max(b) FROM u WHERE u.k = t.k) FROM t WHERE c = ANY(ARRAY[1, 2])",
        "SELECT CASE k WHEN 'r' THEN 'table' END FROM t",
        "SELECT CAST(a AS INT) FROM u",
    ] {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().pop().unwrap();
        rewritten(&mut statement);
        assert_eq!(statement.to_string(), text);
    }
}
