//! The functions that SQL can name, by name: DataFusion's, with PostgreSQL's types where DataFusion has others.
//!
//! 1. [`aggregate`]: sum and avg with PostgreSQL's result types.
//! 2. [`scalar`]: what PostgreSQL does and DataFusion does otherwise: text of values, checked division, declared lengths.
//! 3. [`text`]: texts of times by a template ([`time_template`], [`time_format`], [`time_parse`]), of numbers
//!    ([`number_format`]), and parts of texts ([`pattern`]); [`quote`]: texts as they stand
//!    in SQL.
//! 4. [`window`]: the ranking functions, with bigint results.
//! 5. [`arithmetic`]: operators that fail on overflow.
//! 6. [`define`]: how functions of ours are defined by the types of their arguments, over [`call`] and [`results`];
//!    [`temporal`]: those on times and intervals, [`calendar`], [`mod@array`], [`row`], [`jsonb`], [`jsonb_edit`]; [`constraint`]: what columns
//!    demand of values.
//! 7. [`bounded`], over [`arguments`]: how much a function may make of its arguments; [`domain`]: where a function of numbers
//!    has no value. Both stand [`around`] functions of DataFusion's.
//! 8. [`clock`]: the one function that asks for the time.
//! 9. [`mod@listing`]: all of them, as `\df` shows them.
//!
//! Stored plans name functions; a name that was ever stored must stay here with its meaning.

pub mod aggregate;
mod arguments;
pub mod arithmetic;
mod around;
pub mod array;
pub mod bounded;
pub mod calendar;
mod call;
pub mod clock;
pub mod constraint;
pub mod define;
mod domain;
pub mod jsonb;
pub mod jsonb_edit;
mod listing;
mod number_format;
mod pattern;
mod quote;
pub mod results;
pub mod row;
pub mod scalar;
pub mod temporal;
pub mod text;
mod time_format;
mod time_parse;
mod time_template;
pub mod window;

pub use listing::listing;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use crate::types::UTC;

/// Functions that read the clock: refused, since a replay would give another answer.
pub const CLOCK_FUNCTIONS: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
    "today",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
];

/// Functions of DataFusion's that make arrays of what PostgreSQL makes rows of, as long as somebody asks for.
pub const SETS: &[&str] = &["generate_series", "range"];

/// PostgreSQL's names for functions that DataFusion calls otherwise.
const POSTGRES_NAMES: &[(&str, &str)] = &[("sign", "signum"), ("ceiling", "ceil")];

pub struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    aggregate: HashMap<String, Arc<AggregateUDF>>,
    window: HashMap<String, Arc<WindowUDF>>,
}

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::collect);

/// The registry: one for the process, since functions have no state.
pub fn functions() -> &'static Functions {
    &FUNCTIONS
}

/// Those that are defined by the types of their arguments.
fn defined() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let all = [
        temporal::DEFINITIONS,
        calendar::DEFINITIONS,
        clock::DEFINITIONS,
        text::DEFINITIONS,
        quote::DEFINITIONS,
        array::DEFINITIONS,
        row::DEFINITIONS,
        jsonb::DEFINITIONS,
        jsonb_edit::DEFINITIONS,
        constraint::DEFINITIONS,
    ];
    all.into_iter().flatten().map(define::Defined::function)
}

impl Functions {
    fn collect() -> Self {
        let mut all = Functions { scalar: HashMap::new(), aggregate: HashMap::new(), window: HashMap::new() };
        // So that now() is a time with time zone.
        let mut config = ConfigOptions::default();
        config.execution.time_zone = Some(UTC.into());
        let zoned = |function: Arc<ScalarUDF>| match function.name() {
            "now" => function.inner().with_updated_config(&config).map_or(function, Arc::new),
            _ => function,
        };
        let scalars = datafusion::functions::all_default_functions()
            .into_iter()
            .map(zoned)
            .chain(datafusion::functions_nested::all_default_nested_functions())
            .chain(scalar::all())
            .chain(clock::all())
            .chain(defined())
            .filter(|function| !SETS.contains(&function.name()))
            .map(bounded::bounded)
            .map(domain::total);
        for function in scalars {
            for alias in function.aliases() {
                all.scalar.insert(alias.clone(), Arc::clone(&function));
            }
            all.scalar.insert(function.name().to_string(), function);
        }
        for (postgres, datafusion) in POSTGRES_NAMES {
            if let Some(function) = all.scalar.get(*datafusion).cloned() {
                all.scalar.entry((*postgres).to_string()).or_insert(function);
            }
        }
        for function in
            datafusion::functions_aggregate::all_default_aggregate_functions().into_iter().chain(aggregate::all())
        {
            for alias in function.aliases() {
                all.aggregate.insert(alias.clone(), Arc::clone(&function));
            }
            all.aggregate.insert(function.name().to_string(), function);
        }
        all.window.extend(window::all().map(|function| (function.name().to_string(), function)));
        all
    }

    /// By name or alias, lower-cased.
    pub fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalar.get(name).cloned()
    }

    pub fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregate.get(name).cloned()
    }

    /// The ranking functions, which only stand in front of OVER.
    pub fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.window.get(name).cloned()
    }

    pub fn scalar_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.scalar.keys().cloned().collect();
        names.sort();
        names
    }

    pub fn window_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.window.keys().cloned().collect();
        names.sort();
        names
    }

    pub fn aggregate_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.aggregate.keys().cloned().collect();
        names.sort();
        names
    }
}
