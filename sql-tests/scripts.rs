//! Runs each script in several ways.

use crate::Request;
use crate::script::{Script, is_checked};
use crate::tally::Tally;
use crate::variant;

pub fn run(request: &Request, tally: &mut Tally) {
    println!("seed {} (TIDEMILL_SEED={} repeats this sample)", request.seed, request.seed);
    let scripts = match Script::all() {
        Ok(scripts) => scripts,
        Err(e) => return tally.fail(e),
    };
    let ways = if request.all { variant::all(request.seed) } else { variant::sample(request.seed) };
    println!("{} ways: {}", ways.len(), ways.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    for script in scripts.iter().filter(|s| tally.wants(&s.name)).collect::<Vec<_>>() {
        let result = tempfile::tempdir().map_err(|e| e.to_string()).and_then(|dir| script.lay_out(dir.path()));
        let checked = result.map(|records| records.iter().filter(|r| is_checked(r)).count());
        match checked {
            Ok(checked) => {
                println!(
                    "{}: {checked} checked records{}",
                    script.name,
                    if script.is_stateless() { ", stateless" } else { "" }
                );
                tally.pass();
            }
            Err(e) => tally.fail(format_args!("{}: {e}", script.name)),
        }
    }
}
