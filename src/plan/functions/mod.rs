//! The functions that SQL can name, by name: DataFusion's, with PostgreSQL's types where DataFusion has others.
//!
//! 1. [`aggregate`]: sum and avg with PostgreSQL's result types.
//! 2. [`scalar`]: what PostgreSQL does and DataFusion does otherwise: text of values, checked division, declared lengths.
//! 3. [`text`]: texts of times by a template ([`time_format`]), and parts of texts ([`pattern`]), over [`arguments`].
//! 4. [`window`]: the ranking functions, with bigint results.
//! 5. [`arithmetic`]: operators that fail on overflow.
//! 6. [`define`]: how functions of ours are defined by the types of their arguments; [`temporal`]: those on times and
//!    intervals, [`calendar`], [`mod@array`], [`jsonb`].
//! 7. [`clock`]: the one function that asks for the time.
//!
//! Stored plans name functions; a name that was ever stored must stay here with its meaning.

pub mod aggregate;
mod arguments;
pub mod arithmetic;
pub mod array;
pub mod calendar;
pub mod clock;
pub mod define;
pub mod jsonb;
mod pattern;
pub mod scalar;
pub mod temporal;
mod text;
mod time_format;
pub mod window;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

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
    let all = [temporal::DEFINITIONS, calendar::DEFINITIONS, array::DEFINITIONS, jsonb::DEFINITIONS];
    all.into_iter().flatten().map(define::Defined::function)
}

impl Functions {
    fn collect() -> Self {
        let mut all = Functions { scalar: HashMap::new(), aggregate: HashMap::new(), window: HashMap::new() };
        let scalars = datafusion::functions::all_default_functions()
            .into_iter()
            .chain(datafusion::functions_nested::all_default_nested_functions())
            .chain(scalar::all())
            .chain(text::all())
            .chain(clock::all())
            .chain(defined());
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
