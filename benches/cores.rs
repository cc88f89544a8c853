//! Work on some cores and no others: this program starts itself again under `taskset`, so that all threads of the work,
//! whoever starts them, share these cores. Parallelism alone does not measure a core: a sink, for one, has its own thread.

use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use crate::measure::Took;

/// What stands in front of a part's name when this program starts itself.
pub const PART: &str = "part-on";

/// What a part tells: what it took, and its answer.
pub type Outcome = Result<(Took, String), String>;

/// Runs a part (its name and arguments) on the first `cores` of those that this process may use.
pub fn on(cores: usize, part: &[&str]) -> Outcome {
    start(allowed()?.get(..cores).ok_or_else(|| format!("this machine has no {cores} cores"))?, part)
}

/// Runs a part as often as there are `cores`, side by side, each on a core of its own. What the slowest took.
pub fn on_each(cores: usize, part: &[&str]) -> Result<Took, String> {
    let cpus = allowed()?;
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = cpus.chunks(1).take(cores).map(|cpu| scope.spawn(|| start(cpu, part))).collect();
        let joined =
            |thread: std::thread::ScopedJoinHandle<Outcome>| thread.join().unwrap_or(Err("it panicked".into()));
        threads.into_iter().map(joined).collect()
    });
    let took = outcomes.into_iter().map(|outcome| outcome.map(|(took, _)| took)).collect::<Result<Vec<Took>, _>>()?;
    took.into_iter().max_by_key(|took| took.wall).ok_or_else(|| "nothing ran".into())
}

/// The other side: runs a part and tells the outcome, for [`on`] to read.
pub fn tell(cores: &str, run: impl FnOnce(NonZeroUsize) -> Outcome) -> Result<(), String> {
    let (took, answer) = run(cores.parse().map_err(|_| "no number of cores")?)?;
    println!("{} {} {answer}", took.wall.as_secs_f64(), took.cpu);
    Ok(())
}

fn start(cpus: &[usize], part: &[&str]) -> Outcome {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let list = cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut command = Command::new("taskset");
    command.args(["-c", &list]).arg(program).args([PART, &cpus.len().to_string()]).args(part);
    let output = command.output().map_err(|e| format!("cannot start taskset (of util-linux): {e}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let outcome = told.lines().last().filter(|_| output.status.success()).and_then(|line| {
        let (wall, rest) = line.split_once(' ')?;
        let (cpu, answer) = rest.split_once(' ')?;
        let wall = Duration::try_from_secs_f64(wall.parse().ok()?).ok()?;
        Some((Took { wall, cpu: cpu.parse().ok()? }, answer.to_string()))
    });
    outcome.ok_or_else(|| format!("{told}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The CPUs that this process may run on.
fn allowed() -> Result<Vec<usize>, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).ok_or("no list of CPUs")?;
    let mut cpus = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<usize>().map_err(|e| format!("{range}: {e}"));
        cpus.extend(number(first)?..=number(last)?);
    }
    Ok(cpus)
}
