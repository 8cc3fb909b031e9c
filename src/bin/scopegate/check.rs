//! `scopegate check`: all errors and warnings of a configuration.

use std::path::PathBuf;

use scopegate::config::{ConfigErrors, Mark, Warning, lint};
use serde_json::json;

use crate::check_host::{self, Host, HostFinding};
use crate::envoy_file::unset_properties;
use crate::source::{NO_CONFIGURATION, Source};
use crate::terminal::{Style, Terminal, shown};
use crate::{CommandOutput, Failure};

/// Report all errors and warnings of a configuration.
///
/// Errors are what the filter refuses a configuration for, operations that no request can ever reach, and
/// public ways to a guarded token endpoint. Warnings are what the filter accepts but you probably did not mean.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 no errors, 1 errors (with --deny-warnings: or warnings), 2 wrong usage or an unreadable file.

Examples:
  scopegate check filter-config/teamcenter.yaml
  scopegate check --deny-warnings --format json gateway.yaml
  scopegate check envoy.yaml
  scopegate check --host nginx gateway.yaml
  helm template gateway | yq .data.config | scopegate check -")]
pub struct Arguments {
    /// The configuration, YAML or JSON, or an Envoy file around it.
    file: PathBuf,
    /// Treat warnings as errors in the exit code.
    #[arg(long)]
    deny_warnings: bool,
    /// Report what the filter cannot do on this host, too.
    #[arg(long, value_enum, value_name = "HOST")]
    host: Option<Host>,
    /// How to report.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A line for each, `file:line:column: severity: path: message`.
    Text,
    /// One JSON object.
    Json,
}

/// An error or a warning.
struct Finding {
    is_error: bool,
    path: String,
    mark: Option<Mark>,
    message: String,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    let source = Source::read(&arguments.file)?;
    let (findings, omitted) = findings(&source, arguments.host);
    let errors = findings.iter().filter(|finding| finding.is_error).count() + omitted;
    let warnings = findings.iter().filter(|finding| !finding.is_error).count();
    let text = match arguments.format {
        Format::Text => text(&source, &findings, omitted, (errors, warnings), terminal),
        Format::Json => json_text(&source, &findings, (errors, warnings)),
    };
    let yes = errors == 0 && !(arguments.deny_warnings && warnings > 0);
    Ok(CommandOutput { text, notes: Vec::new(), yes })
}

/// Errors and warnings in the order of the file, and how many more errors were only counted.
fn findings(source: &Source, host: Option<Host>) -> (Vec<Finding>, usize) {
    let mut findings = Vec::new();
    let mut omitted = 0;
    let mut report = |errors: &ConfigErrors| {
        omitted += errors.omitted();
        findings.extend(errors.iter().map(|error| Finding {
            is_error: true,
            path: error.path.clone(),
            mark: error.mark,
            message: error.message.clone(),
        }));
    };
    let mut warnings = Vec::new();
    let mut of_host = Vec::new();
    match source.documents() {
        Err(errors) => report(&errors),
        Ok(documents) => {
            if documents.is_empty() {
                let message =
                    format!("{NO_CONFIGURATION}; that no key is repeated was all there was to check");
                warnings.push(Warning { path: String::new(), mark: None, message });
            }
            for document in documents {
                match scopegate::config::from_document(&document) {
                    Err(errors) => report(&errors),
                    Ok(loaded) => {
                        for check in [lint::check_evidence, lint::check_guarded_paths] {
                            if let Err(errors) = check(&document, &loaded.policy) {
                                report(&errors);
                            }
                        }
                        if let Some(host) = host {
                            of_host.extend(check_host::findings(host, &document, &loaded.policy));
                        }
                        warnings.extend(loaded.warnings);
                        warnings.extend(lint::lint(&document, &loaded.policy));
                        warnings.extend(unset_properties(&source.text, loaded.policy.audit));
                    }
                }
            }
        }
    }
    findings.extend(of_host.into_iter().map(|HostFinding { is_error, path, mark, message }| Finding {
        is_error,
        path,
        mark,
        message,
    }));
    findings.extend(warnings.into_iter().map(|warning| Finding {
        is_error: false,
        path: warning.path,
        mark: warning.mark,
        message: warning.message,
    }));
    findings.sort_by_key(|finding| finding.mark.map(|mark| (mark.line, mark.column)));
    (findings, omitted)
}

fn text(
    source: &Source,
    findings: &[Finding],
    omitted: usize,
    (errors, warnings): (usize, usize),
    terminal: &Terminal,
) -> String {
    let mut text = String::new();
    for finding in findings {
        let place = finding.mark.map_or_else(String::new, |mark| format!(":{mark}"));
        let severity = match finding.is_error {
            true => terminal.paint(Style::Bad, "error"),
            false => terminal.paint(Style::Doubtful, "warning"),
        };
        let path = if finding.path.is_empty() { "configuration" } else { &finding.path };
        let path = terminal.paint(Style::Strong, shown(path));
        text.push_str(&format!("{}{place}: {severity}: {path}: {}\n", source.name, shown(&finding.message)));
    }
    if omitted > 0 {
        text.push_str(&format!("and {omitted} more errors\n"));
    }
    let verdict = if errors > 0 {
        terminal.paint(Style::Bad, "refused")
    } else if warnings > 0 {
        terminal.paint(Style::Doubtful, "valid")
    } else {
        terminal.paint(Style::Good, "valid")
    };
    text.push_str(&format!(
        "{}: {verdict}, {}, {}\n",
        source.name,
        counted(errors, "error"),
        counted(warnings, "warning")
    ));
    text
}

fn json_text(source: &Source, findings: &[Finding], (errors, warnings): (usize, usize)) -> String {
    let finding = |finding: &Finding| {
        let (message, suggestion) = split_suggestion(&finding.message);
        json!({
            "severity": if finding.is_error { "error" } else { "warning" },
            "path": finding.path,
            "line": finding.mark.map(|mark| mark.line),
            "column": finding.mark.map(|mark| mark.column),
            "message": message,
            "suggestion": suggestion,
        })
    };
    let report = json!({
        "file": source.name,
        "valid": errors == 0,
        "errors": errors,
        "warnings": warnings,
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
    });
    format!("{report:#}\n")
}

/// A message and the name that it asks whether it was meant.
fn split_suggestion(message: &str) -> (&str, Option<&str>) {
    match message.rsplit_once("; did you mean `") {
        Some((message, meant)) => (message, Some(meant.trim_end_matches("`?"))),
        None => (message, None),
    }
}

fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_told_apart_from_its_message() {
        assert_eq!(
            split_suggestion("unknown key `isuer`; did you mean `issuer`?"),
            ("unknown key `isuer`", Some("issuer"))
        );
        assert_eq!(split_suggestion("must not be empty"), ("must not be empty", None));
    }
}
