//! A line on a terminal that says how far a command is, once it takes longer than a second.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How far a command is. What it wrote is gone when it ends.
pub struct Progress {
    what: &'static str,
    total: usize,
    done: Cell<usize>,
    begun: Instant,
    written: Cell<Duration>,
    is_shown: bool,
}

const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);

impl Progress {
    /// `total` things are to be done. Nothing is written where standard error is no terminal.
    #[allow(clippy::disallowed_methods, reason = "the tool is where a clock may be read")]
    pub fn new(what: &'static str, total: usize) -> Self {
        let is_shown = io::stderr().is_terminal();
        Self {
            what,
            total,
            done: Cell::new(0),
            begun: Instant::now(),
            written: Cell::new(Duration::ZERO),
            is_shown,
        }
    }

    /// One more is being done.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
        if !self.is_shown {
            return;
        }
        let elapsed = self.begun.elapsed();
        if elapsed >= PATIENCE && elapsed >= self.written.get() + INTERVAL {
            self.written.set(elapsed);
            let _ = write!(io::stderr(), "\r{} of {} {}\u{1b}[K", self.done.get(), self.total, self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown && self.written.get() > Duration::ZERO {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
