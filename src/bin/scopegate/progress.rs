//! A line on a terminal that says what a command is doing, once it takes longer than a second.
//!
//! Commands say what they do with [`doing`] and count with [`step`]; a thread of its own writes, so that what cannot be counted is
//! told too.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);

/// How far the command is.
struct State {
    /// When it began; None where nothing is to be shown.
    begun: Option<Instant>,
    what: &'static str,
    done: usize,
    /// 0 where it cannot be counted.
    total: usize,
    is_shown: bool,
}

static STATE: Mutex<State> = Mutex::new(State { begun: None, what: "", done: 0, total: 0, is_shown: false });

/// From here on a line is shown where standard error is a terminal.
pub fn start() {
    if !io::stderr().is_terminal() {
        return;
    }
    again();
    thread::spawn(|| {
        loop {
            thread::sleep(INTERVAL);
            state().show();
        }
    });
}

/// Shows a line for what begins now, as after [`start`].
#[allow(clippy::disallowed_methods, reason = "the tool is where a clock may be read")]
pub fn again() {
    state().begun = Some(Instant::now());
}

/// What the command does now, and how many of them there are; 0 where that is not counted.
pub fn doing(what: &'static str, total: usize) {
    let mut state = state();
    (state.what, state.done, state.total) = (what, 0, total);
}

/// One more is done.
pub fn step() {
    state().done += 1;
}

/// Takes the line away, before something else is written.
pub fn stop() {
    let mut state = state();
    state.begun = None;
    if std::mem::take(&mut state.is_shown) {
        let _ = write!(io::stderr(), "\r\u{1b}[K");
    }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn show(&mut self) {
        let Some(elapsed) = self.begun.map(|begun| begun.elapsed()).filter(|elapsed| *elapsed >= PATIENCE)
        else {
            return;
        };
        if self.what.is_empty() {
            return;
        }
        self.is_shown = true;
        let counted = match self.total {
            0 => String::new(),
            total => format!(": {} of {total}", self.done),
        };
        let _ = write!(io::stderr(), "\r{}{counted}, {} s\u{1b}[K", self.what, elapsed.as_secs());
    }
}
