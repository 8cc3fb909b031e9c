//! The companion tool: tells what the filter would do with a configuration or a request, without a proxy.
//!
//! Each command is one file that returns its output and never prints. All decisions are made by the library.

#![forbid(unsafe_code)]

mod admin;
mod answer;
mod around;
mod bundle;
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
mod fmt;
mod import_openapi;
mod init;
mod issuer_http;
mod kin;
mod man;
mod matrix;
mod merge;
mod outcome;
mod progress;
mod published;
mod render;
mod scene;
mod source;
mod terminal;
mod test;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::outcome::{CommandOutput, Failure};
use self::terminal::Terminal;

/// Check, explain and compare scopegate configurations.
///
/// FILE is YAML or JSON, a directory of them, or what is deployed; `-` reads standard input.
#[derive(Parser)]
#[command(name = "scopegate", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    /// When to use colours; by default on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: clap::ColorChoice,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  all is well: no errors, the request passes, every case is as expected, no difference
  1  the answer is no: errors (or denied warnings), the request is refused, a case is not as expected,
     or a difference with --exit-code
  2  there is no answer: wrong usage, a file that cannot be read, a configuration with errors where one is needed";

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Check(check::Arguments),
    Test(test::Arguments),
    Explain(Box<explain::Arguments>),
    Diff(diff::Arguments),
    Matrix(matrix::Arguments),
    Fmt(fmt::Arguments),
    Bundle(bundle::Arguments),
    Unbundle(bundle::UnbundleArguments),
    Render(render::Arguments),
    Schema(Schema),
    #[command(name = "import-openapi")]
    ImportOpenapi(import_openapi::Arguments),
    #[command(name = "explain-code")]
    ExplainCode(codes::Arguments),
    Completions(Completions),
    Man(man::Arguments),
    #[command(hide = true)]
    Answer(answer::Arguments),
}

/// Print the JSON Schema of the configuration, for editors.
///
/// A schema cannot express references, uniqueness and conflicts; `scopegate check` checks them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  scopegate schema > filter-config/schema.json
  sed -i '1i # yaml-language-server: $schema=./schema.json' filter-config/gateway.yaml")]
struct Schema {}

/// JSON Schema 2020-12. The tests hold it against the reader, key by key.
const SCHEMA: &str = include_str!("../../../filter-config/schema.json");

/// Print completions for a shell.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  scopegate completions bash > /etc/bash_completion.d/scopegate
  scopegate completions zsh > \"${fpath[1]}/_scopegate\"
  scopegate completions fish > ~/.config/fish/completions/scopegate.fish")]
struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

impl Command {
    fn run(self, terminal: &Terminal) -> Result<CommandOutput, Failure> {
        match self {
            Self::Init(arguments) => init::run(&arguments),
            Self::Check(arguments) => check::run(&arguments, terminal),
            Self::Test(arguments) => test::run(&arguments, terminal),
            Self::Explain(arguments) => explain::run(&arguments, terminal),
            Self::Diff(arguments) => diff::run(&arguments, terminal),
            Self::Matrix(arguments) => matrix::run(&arguments, terminal),
            Self::Fmt(arguments) => fmt::run(&arguments),
            Self::Man(arguments) => man::run(&arguments),
            Self::Answer(arguments) => answer::run(&arguments),
            Self::Bundle(arguments) => bundle::run(&arguments),
            Self::Unbundle(arguments) => bundle::run_unbundle(&arguments),
            Self::ExplainCode(arguments) => codes::run(&arguments),
            Self::Render(arguments) => render::run(&arguments),
            Self::Schema(Schema {}) => Ok(CommandOutput::yes(SCHEMA.to_owned())),
            Self::ImportOpenapi(arguments) => import_openapi::run(&arguments),
            Self::Completions(Completions { shell }) => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "scopegate", &mut script);
                Ok(CommandOutput::yes(String::from_utf8_lossy(&script).into_owned()))
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = Terminal::new(arguments.color);
    progress::start();
    let outcome = arguments.command.run(&terminal);
    progress::stop();
    match outcome {
        Ok(outcome) => {
            for note in outcome.notes {
                let _ = writeln!(io::stderr(), "{note}");
            }
            let mut output = io::stdout().lock();
            match output.write_all(outcome.text.as_bytes()).and_then(|()| output.flush()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    let _ = writeln!(io::stderr(), "scopegate: cannot write the output: {error}");
                    ExitCode::from(2)
                }
                Ok(()) | Err(_) => ExitCode::from(u8::from(!outcome.yes)),
            }
        }
        Err(Failure(message)) => {
            let _ = writeln!(io::stderr(), "scopegate: {message}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
