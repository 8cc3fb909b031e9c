//! `--watch`: runs a command again whenever one of its files changes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};

use crate::progress;
use crate::terminal::shown;
use crate::{CommandOutput, Failure};

/// Runs `once` now and after each change, until it is interrupted. What it answers is printed, failures too.
pub fn watch(
    paths: &[PathBuf],
    once: &dyn Fn() -> Result<CommandOutput, Failure>,
) -> Result<CommandOutput, Failure> {
    if paths.iter().any(|path| path.as_os_str() == "-") {
        return Err(Failure("standard input cannot be watched".to_owned()));
    }
    let failed = |error: notify::Error| Failure(format!("cannot watch: {error}"));
    let (changed, changes) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is a change to nobody.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = changed.send(());
        }
    })
    .map_err(failed)?;
    for path in paths {
        // An editor puts a new file in place of the old one, which only the directory tells. A pattern has one above it.
        let watched = path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
        watcher.watch(watched, RecursiveMode::Recursive).map_err(failed)?;
    }
    loop {
        progress::again();
        let outcome = once();
        progress::stop();
        let mut output = io::stdout().lock();
        let written = match outcome {
            Ok(outcome) => output.write_all(outcome.text.as_bytes()),
            Err(Failure(message)) => writeln!(output, "scopegate: {message}"),
        };
        let names: Vec<String> = paths.iter().map(|path| shown(&path.display().to_string())).collect();
        let waiting = writeln!(output, "-- waiting for changes of {}", names.join(", "));
        if written.and(waiting).and_then(|()| output.flush()).is_err() {
            return Ok(CommandOutput::yes(String::new()));
        }
        drop(output);
        if changes.recv().is_err() {
            return Ok(CommandOutput::yes(String::new()));
        }
        // One save is several changes.
        while changes.recv_timeout(Duration::from_millis(100)).is_ok() {}
    }
}
