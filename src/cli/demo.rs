//! `tidemill demo`: an engine in memory, a generator, a window, and a table that moves.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Exit;
use super::client::LocalClient;
use super::report;
use super::serve::{Serving, psql_line};
use super::signals::Stop;
use super::table;
use crate::clock::{MICROS_PER_SECOND, Micros};
use crate::error::Result;
use crate::pipeline::{Engine, EngineConfig};
use crate::server::grid::Grid;
use crate::server::pgwire::Listener;

/// Orders as they might come from a shop, event time running as fast as time does.
const SETUP: &str = include_str!("demo.sql");

const LATEST: &str = "\
SELECT window_start, customer, orders, total, average FROM per_window
WHERE window_start >= (SELECT max(window_start) - INTERVAL '10 seconds' FROM per_window)
ORDER BY window_start, customer";

/// How often the table is drawn: fast enough to be seen moving, slow enough to be read.
const REFRESH: Duration = Duration::from_millis(500);

/// Lines printed between two tables where the output is no terminal: a log wants less.
const PLAIN_REFRESH: u32 = 4;

#[derive(clap::Args)]
pub struct Demo {
    /// End by itself after that many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Address for psql; another port is taken if this one is not free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5432")]
    listen: SocketAddr,
}

impl Demo {
    pub async fn run(self) -> Exit {
        match self.show().await {
            Ok(()) => Exit::Done,
            Err(error) => {
                eprintln!("{}", report::report(&error));
                Exit::Failed
            }
        }
    }

    async fn show(self) -> Result<()> {
        let mut stop = Stop::listen()?;
        let listener = match Listener::bind(self.listen).await {
            Ok(listener) => listener,
            Err(_) => Listener::bind(SocketAddr::new(self.listen.ip(), 0)).await?,
        };
        let address = listener.address();
        let engine = Engine::open(EngineConfig::default()).await?;
        let serving = Serving::start(&engine, listener, None);
        let mut client = LocalClient::new(&engine);
        for statement in client.parse(SETUP)? {
            client.execute(&statement).await?;
        }
        println!("{}\n\nJoin in:  {}\n", SETUP.trim_end(), psql_line(address));
        let end = async {
            match self.seconds {
                Some(seconds) => {
                    let _ = tokio::time::timeout(Duration::from_secs(seconds), std::future::pending::<()>()).await;
                }
                None => std::future::pending().await,
            }
        };
        let shown = tokio::select! {
            shown = redraw(&engine, &mut client) => shown,
            () = end => Ok(()),
            () = stop.asked() => Ok(()),
        };
        stop.then_at_once();
        serving.stop().await;
        engine.shutdown().await;
        shown
    }
}

/// Draws the view's answer for ever.
async fn redraw(engine: &Arc<Engine>, client: &mut LocalClient) -> Result<()> {
    let mut screen = Screen { terminal: std::io::stdout().is_terminal(), lines: 0 };
    let mut ticker = tokio::time::interval(REFRESH);
    let mut speed = Speed::new(engine);
    let mut round = 0;
    loop {
        ticker.tick().await;
        round += 1;
        if !screen.terminal && round % PLAIN_REFRESH != 0 {
            continue;
        }
        let grid = client.query(LATEST).await?;
        screen.draw(&frame(&grid, &speed.measure(engine)));
    }
}

fn frame(grid: &Grid, status: &str) -> String {
    format!("{}\n{status}\n", table::plain(grid))
}

/// Rows a second, from one reading of the counters to the next.
struct Speed {
    rows: u64,
    at: Micros,
}

impl Speed {
    fn new(engine: &Engine) -> Speed {
        Speed { rows: 0, at: engine.config().clock.now() }
    }

    fn measure(&mut self, engine: &Engine) -> String {
        let views = engine.views();
        let rows: u64 = views.iter().map(|view| view.counts.input_rows).sum();
        let ticks = views.iter().map(|view| view.counts.ticks).max().unwrap_or(0);
        let watermark = views.iter().filter_map(|view| view.counts.watermark).min();
        let now = engine.config().clock.now();
        let elapsed = (now - self.at).max(1);
        let per_second = (rows.saturating_sub(self.rows)) as f64 * MICROS_PER_SECOND as f64 / elapsed as f64;
        (self.rows, self.at) = (rows, now);
        let watermark = watermark.and_then(|w| chrono::DateTime::from_timestamp_micros(w.0));
        let watermark = watermark.map_or("none yet".to_string(), |w| w.format("%F %T%.3f").to_string());
        format!("{rows} orders in, {per_second:.0} a second, {ticks} ticks; watermark {watermark}")
    }
}

/// Where frames are drawn over each other, or below each other if it is no terminal.
struct Screen {
    terminal: bool,
    /// Of the last frame.
    lines: usize,
}

impl Screen {
    fn draw(&mut self, frame: &str) {
        let mut out = std::io::stdout().lock();
        // Up to the last frame's first line, and everything below it erased. A closed pipe ends the demo by its signal.
        if self.terminal && self.lines > 0 {
            let _ = write!(out, "\x1b[{}A\x1b[J", self.lines);
        }
        let _ = out.write_all(frame.as_bytes()).and_then(|()| out.flush());
        self.lines = frame.lines().count();
    }
}
