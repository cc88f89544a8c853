//! Wall and CPU time of a piece of work, and how figures are printed.

use std::time::{Duration, Instant};

/// Times `/proc` gives are in these, on every Linux that Tidemill runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a piece of work took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    pub wall: Duration,
    /// CPU seconds of the whole process.
    pub cpu: f64,
}

/// Runs `work` and measures it.
pub fn measure<T>(work: impl FnOnce() -> Result<T, String>) -> Result<(T, Took), String> {
    let (began, cpu) = (now(), cpu_seconds()?);
    let result = work()?;
    Ok((result, Took { wall: began.elapsed(), cpu: cpu_seconds()? - cpu }))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// User and system time of this process so far.
pub fn cpu_seconds() -> Result<f64, String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|e| e.to_string())?;
    // The name in parentheses may hold anything; times are the 14th and 15th field, the 12th and 13th behind it.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).ok_or("cannot read /proc/self/stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Prints a rate of rows: by CPU second and by wall second, beside what is aimed at.
pub fn report(name: &str, what: &str, rows: u64, took: Took, target: f64) {
    let millions = rows as f64 / 1e6;
    println!(
        "{name}: {:.2} M {what} a CPU second (target {target:.1}), {:.2} M a second of wall time; {millions:.1} M in {:.2} s",
        millions / took.cpu,
        millions / took.wall.as_secs_f64(),
        took.wall.as_secs_f64(),
    );
}

pub fn print_machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown", |m| m.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} cores of {model}");
}
