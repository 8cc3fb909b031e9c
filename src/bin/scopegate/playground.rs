//! What stands behind the playground's page: the companion tool as a program for WASI that reads one question as JSON on standard
//! input and writes the answer as JSON on standard output. It is run anew for each question, in the reader's browser.
//!
//! Its modules are those of `scopegate`, so that the page says what the tool says; `answer` alone is its own.

#![forbid(unsafe_code)]
#![allow(
    dead_code,
    reason = "of the commands this program has what answers, not what reads files and prints"
)]

mod answer;
mod around;
mod catalog;
mod check;
mod check_host;
mod clock;
mod codes;
mod config_maps;
mod diff;
mod document_text;
mod envoy_file;
mod explain;
mod findings;
mod kin;
mod matrix;
mod merge;
mod outcome;
mod progress;
mod published;
mod scene;
mod source;
mod terminal;
mod test;

use std::io::{self, Write};
use std::process::ExitCode;

use self::outcome::{CommandOutput, Failure};

/// A page has no proxy to ask.
mod admin {
    use crate::Failure;

    pub fn config_dump(_url: &str) -> Result<String, Failure> {
        Err(Failure("there is no Envoy to be asked here".to_owned()))
    }
}

/// A page asks no issuer.
mod issuer_http {
    use scopegate::issuer::HttpCall;

    /// Never asks.
    #[derive(Clone, Debug, Default, clap::Args)]
    pub struct Fetching {
        #[arg(skip)]
        pub fetch: bool,
    }

    pub type Reply = Result<(u16, Vec<u8>), String>;

    impl Fetching {
        pub fn send(&self, _cluster: &str, _call: &HttpCall) -> Reply {
            Err("nobody is asked here".to_owned())
        }
    }
}

/// A page has no files that change.
mod watch {
    use std::path::PathBuf;

    use crate::{CommandOutput, Failure};

    pub fn watch(
        _paths: &[PathBuf],
        once: &dyn Fn() -> Result<CommandOutput, Failure>,
    ) -> Result<CommandOutput, Failure> {
        once()
    }
}

fn main() -> ExitCode {
    let (text, code) = match answer::run(&answer::Arguments {}) {
        Ok(answered) => (answered.text, ExitCode::SUCCESS),
        Err(Failure(message)) => (message, ExitCode::FAILURE),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
