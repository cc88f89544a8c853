//! Calls of every function in the catalogue, over values at the borders of every type. Which types a function takes is
//! learned: what was accepted once is asked again with other values.

use std::collections::BTreeMap;

use tidemill::plan::functions::functions;

use super::borders::{DOMAINS, Domain};
use crate::variant::Rng;

const MAX_ARGUMENTS: usize = 4;
/// Forms of a function that are remembered.
const MAX_FORMS: usize = 12;

const OPERATORS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "||",
    "=",
    "<>",
    "<",
    ">=",
    "AND",
    "OR",
    "IS DISTINCT FROM",
    "LIKE",
    "ILIKE",
    "~",
    "!~*",
    "->",
    "->>",
    "#>",
    "#>>",
    "@>",
    "<@",
    "?",
    "&&",
    "AT TIME ZONE",
    "SIMILAR TO",
    "&",
    "#",
    "<<",
];

/// What is asked of a function or an operator.
#[derive(Debug, Clone)]
pub struct Call {
    name: String,
    /// Indices into [`DOMAINS`].
    types: Vec<usize>,
}

#[derive(Default)]
pub struct Calls {
    names: Vec<String>,
    accepted: BTreeMap<String, Vec<Vec<usize>>>,
}

impl Calls {
    pub fn new() -> Calls {
        let functions = functions();
        let names = functions.scalar_names().into_iter().chain(functions.aggregate_names());
        let own = OPERATORS.iter().chain(&["CAST"]).map(|name| (*name).to_string());
        Calls { names: names.chain(own).collect(), accepted: BTreeMap::new() }
    }

    /// The next call: all functions in turn.
    pub fn draw(&self, n: usize, rng: &mut Rng) -> Call {
        let name = self.names[n % self.names.len()].clone();
        if let Some(forms) = self.accepted.get(&name)
            && rng.below(10) < 8
        {
            return Call { types: forms[rng.below(forms.len())].clone(), name };
        }
        let count = match name.as_str() {
            "CAST" => 2,
            operator if OPERATORS.contains(&operator) => 2,
            _ => rng.below(MAX_ARGUMENTS + 1),
        };
        let types = (0..count).map(|_| rng.below(DOMAINS.len())).collect();
        Call { name, types }
    }

    pub fn accept(&mut self, call: Call) {
        let forms = self.accepted.entry(call.name).or_default();
        if forms.len() < MAX_FORMS && !forms.contains(&call.types) {
            forms.push(call.types);
        }
    }
}

impl Call {
    /// Over literals, so that it is answered at once.
    pub fn over_literals(&self, rng: &mut Rng) -> String {
        let mut literal = |domain: &Domain| domain.literals[rng.below(domain.literals.len())].to_string();
        let arguments: Vec<String> = self.types.iter().map(|ty| literal(&DOMAINS[*ty])).collect();
        format!("SELECT {}", self.text(&arguments))
    }

    /// Over rows of such values, so that arrays are computed and not constants.
    pub fn over_rows(&self, rng: &mut Rng) -> String {
        if self.types.is_empty() {
            return self.over_literals(rng);
        }
        let mut row = || -> String {
            let values = self.types.iter().map(|ty| {
                let domain = &DOMAINS[*ty];
                match rng.below(6) {
                    0 => format!("CAST(NULL AS {})", domain.ty),
                    _ => format!("CAST({} AS {})", domain.literals[rng.below(domain.literals.len())], domain.ty),
                }
            });
            format!("({})", values.collect::<Vec<_>>().join(", "))
        };
        let rows = [row(), row(), row()].join(", ");
        let columns: Vec<String> = (0..self.types.len()).map(|n| format!("c{n}")).collect();
        format!("SELECT {} FROM (VALUES {rows}) AS v({})", self.text(&columns), columns.join(", "))
    }

    /// Over the columns of a stream, and sometimes a literal.
    pub fn over_columns(&self, rng: &mut Rng) -> String {
        let mut argument = |domain: &Domain| match rng.below(4) {
            0 => domain.literals[rng.below(domain.literals.len())].to_string(),
            _ => domain.column.to_string(),
        };
        let arguments: Vec<String> = self.types.iter().map(|ty| argument(&DOMAINS[*ty])).collect();
        format!("SELECT {} AS answer FROM wide", self.text(&arguments))
    }

    fn text(&self, arguments: &[String]) -> String {
        match (self.name.as_str(), arguments, self.types.as_slice()) {
            ("CAST", [value, ..], [_, to]) => format!("CAST({value} AS {})", DOMAINS[*to].ty),
            (operator, [left, right], _) if OPERATORS.contains(&operator) => format!("({left}) {operator} ({right})"),
            (name, ..) => format!("{name}({})", arguments.join(", ")),
        }
    }
}
