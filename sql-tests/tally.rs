//! Counting what passed and what failed.

use std::process::ExitCode;

pub struct Tally {
    /// Only tests whose names contain this are run.
    name: Option<String>,
    passed: usize,
    failed: usize,
}

impl Tally {
    pub fn new(name: Option<String>) -> Tally {
        Tally { name, passed: 0, failed: 0 }
    }

    /// Whether the test of that name was asked for.
    pub fn wants(&self, test: &str) -> bool {
        self.name.as_ref().is_none_or(|n| test.contains(n.as_str()))
    }

    pub fn pass(&mut self) {
        self.passed += 1;
    }

    pub fn fail(&mut self, what: impl std::fmt::Display) {
        self.failed += 1;
        eprintln!("FAILED {what}\n");
    }

    /// Counts one test; `Err` says what went wrong.
    pub fn count(&mut self, test: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.pass(),
            Err(why) => self.fail(format_args!("{test}: {why}")),
        }
    }

    /// The closing line, alone and last.
    pub fn close(self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
