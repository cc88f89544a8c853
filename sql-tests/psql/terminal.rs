//! psql at a terminal.
//!
//! Only there does psql go on after Ctrl-C as a person knows it. `script` of util-linux makes the terminal; what is
//! written to it is typed, and 0x03 becomes SIGINT for psql, as in any terminal.

#![expect(clippy::disallowed_methods, reason = "tests have patience, which ends by the clock")]

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// Ctrl-C is pressed again after so long: one that comes before psql has sent the statement has nothing to cancel.
const AGAIN: Duration = Duration::from_millis(500);

/// Digits of the number of rows that the query counts which must not end by itself.
const ENDLESS_DIGITS: usize = 20;

/// The running statement is canceled, and the session goes on.
pub fn ctrl_c(server: SocketAddr) -> Result<(), String> {
    let mut terminal = Terminal::open(server, "-n")?;
    // A session keeps its number as long as it lives.
    terminal.enter("SELECT 'session ' || pg_backend_pid() AS id \\gset")?;
    terminal.enter("\\echo first :id")?;
    let first = terminal.wait_for_line("first session ")?;
    terminal.enter(&endless())?;
    terminal.press_until("\u{3}", "ERROR:  canceling statement due to user request")?;
    terminal.enter("SELECT 'session ' || pg_backend_pid() AS id, 6 * 7 AS answer \\gset")?;
    terminal.enter("\\echo second :id answers :answer")?;
    let second = terminal.wait_for_line("second session ")?;
    let expected = format!("{} answers 42", first.replacen("first", "second", 1));
    terminal.close()?;
    if second == expected { Ok(()) } else { Err(format!("\"{second}\" instead of \"{expected}\"")) }
}

/// Changes are shown as they come; Ctrl-C ends a subscription, and the session goes on.
pub fn subscription(server: SocketAddr) -> Result<(), String> {
    let mut terminal = Terminal::open(server, "-n")?;
    terminal.enter("COPY (SUBSCRIBE (SELECT 'row' AS row, n FROM big WHERE n = 4)) TO STDOUT;")?;
    let end = Instant::now() + PATIENCE;
    let row = |unseen: &str| unseen.find("\t1\trow\t4").map(|at| ((), at));
    if terminal.look(end, row)?.is_none() {
        return Err(format!("the row does not come:\n{}", terminal.shown));
    }
    terminal.press_until("\u{3}", "ERROR:  canceling statement due to user request")?;
    terminal.enter("SELECT 'still ' || 'there' AS there \\gset")?;
    terminal.enter("\\echo :there")?;
    terminal.wait_for_line("still there")?;
    terminal.close()
}

/// What is typed with Tab at its end, what else, and how a line of the answer begins. Each needs an answer to another
/// query of psql's over the system catalogs.
const COMPLETED: [(&str, &str, &str); 9] = [
    ("SELECT 'relation ' || count(*) FROM tot", ";", "relation 3"),
    ("SELECT 'qualified ' || count(*) FROM public.tot", ";", "qualified 3"),
    ("SELECT 'column ' || count(*) FROM totals WHERE custo", " IS NULL;", "column 1"),
    ("\\d tot", "", "customer|character varying(20)"),
    ("\\dm tot", "", "public|totals|materialized view"),
    ("\\dn pub", "", "public|ann"),
    ("\\du an", "", "ann|Superuser"),
    ("SHOW timez", ";", "UTC"),
    ("SET timez", " TO 'Europe/Berlin'; SELECT 'zone ' || current_setting('TimeZone');", "zone Europe/Berlin"),
];

/// Tab completes names.
pub fn tab_completion(server: SocketAddr) -> Result<(), String> {
    let mut terminal = Terminal::open(server, "-A -t -P pager=off")?;
    for (typed, rest, answer) in COMPLETED {
        terminal.enter(&format!("{typed}\t{rest}"))?;
        terminal.wait_for_line(answer).map_err(|why| format!("{typed} and Tab: {why}"))?;
    }
    terminal.close()
}

/// Joined from the right, so that what is kept in memory are the ten rows on the left of each join.
pub fn endless() -> String {
    let rows = (1..ENDLESS_DIGITS).fold("d d0".to_string(), |rows, n| match n {
        1 => format!("d d1 CROSS JOIN {rows}"),
        n => format!("d d{n} CROSS JOIN ({rows})"),
    });
    format!("WITH d(n) AS (VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)) SELECT count(*) FROM {rows};")
}

struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    /// All that was shown.
    shown: String,
    /// How much of it was looked at.
    seen: usize,
}

impl Terminal {
    /// No prompts: what is shown is what was typed and what psql says. `options`: -n is without readline.
    fn open(server: SocketAddr, options: &str) -> Result<Terminal, String> {
        let mut script = Command::new("script");
        super::settle_psql(&mut script, server);
        let psql = format!("exec psql -X -q -v PROMPT1= -v PROMPT2= {options}");
        script.args(["-q", "-e", "-c", &psql, "/dev/null"]).env("SHELL", "/bin/sh");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut script = script.spawn().map_err(|e| format!("script: {e}"))?;
        let (Some(keyboard), Some(mut output)) = (script.stdin.take(), script.stdout.take()) else {
            return Err("script has no input or output".into());
        };
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Terminal { script, keyboard, screen, shown: String::new(), seen: 0 })
    }

    fn press(&mut self, keys: &str) -> Result<(), String> {
        let written = self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush());
        written.map_err(|e| format!("the terminal: {e}\n{}", self.shown))
    }

    fn enter(&mut self, line: &str) -> Result<(), String> {
        self.press(&format!("{line}\n"))
    }

    /// Takes in what is shown until `deadline`, or until something is found in what was not looked at yet.
    fn look<T>(&mut self, deadline: Instant, find: impl Fn(&str) -> Option<(T, usize)>) -> Result<Option<T>, String> {
        loop {
            if let Some((found, end)) = find(self.shown.get(self.seen..).unwrap_or_default()) {
                self.seen += end;
                return Ok(Some(found));
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(format!("psql has ended:\n{}", self.shown)),
            }
        }
    }

    /// The next whole line that begins so.
    fn wait_for_line(&mut self, beginning: &str) -> Result<String, String> {
        let line = |unseen: &str| {
            let mut end = 0;
            unseen.split_inclusive('\n').find_map(|line| {
                end += line.len();
                (line.ends_with('\n') && line.starts_with(beginning)).then(|| (line.trim_end().to_string(), end))
            })
        };
        let found = self.look(Instant::now() + PATIENCE, line)?;
        found.ok_or_else(|| format!("\"{beginning}\" does not come:\n{}", self.shown))
    }

    fn press_until(&mut self, key: &str, text: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let find = |unseen: &str| unseen.find(text).map(|at| ((), at + text.len()));
        while Instant::now() < end {
            // First the statement has its time to be sent.
            if self.look(Instant::now() + AGAIN, find)?.is_some() {
                return Ok(());
            }
            self.press(key)?;
        }
        Err(format!("\"{text}\" does not come:\n{}", self.shown))
    }

    fn close(mut self) -> Result<(), String> {
        self.enter("\\q")?;
        self.script.wait().map_err(|e| e.to_string())?;
        Ok(())
    }
}

/// A test that failed leaves nothing running.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
