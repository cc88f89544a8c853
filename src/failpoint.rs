//! Named places at which a test has the process end there and then, as `kill -9` and power failures do.
//!
//! One of them can be armed, once, when a process for tests starts; nothing else arms any. Everywhere else a place costs
//! one look at a pointer.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static ARMED: OnceLock<Armed> = OnceLock::new();

struct Armed {
    name: String,
    /// How many times it is passed before the process ends.
    passes: AtomicU64,
}

/// Arms the place that `NAME=PASSES` says: after so many passes it ends the process.
///
/// # Errors
/// With the text if it says something else.
pub fn arm(place: &str) -> Result<(), String> {
    let wrong = || format!("\"{place}\" names no failpoint: expected NAME=PASSES");
    let (name, passes) = place.split_once('=').ok_or_else(wrong)?;
    let passes = AtomicU64::new(passes.parse().map_err(|_| wrong())?);
    // The first one stays.
    let _ = ARMED.set(Armed { name: name.to_string(), passes });
    Ok(())
}

/// The place of that name. Ends the process if it is armed and was passed often enough.
pub fn reach(name: &str) {
    if let Some(armed) = ARMED.get()
        && armed.name == name
        && armed.passes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
    {
        std::process::abort();
    }
}
