//! `scopegate check`: all errors and warnings of a configuration, and of what carries it.

use std::path::PathBuf;

use scopegate::config::document::{Node, Value};
use scopegate::config::{ConfigErrors, Mark, Warning, WarningKind, lint};
use scopegate::issuer::HttpCall;

use crate::around;
use crate::check_host::{self, Host};
use crate::codes::Code;
use crate::config_maps;
use crate::envoy_file::{is_carrier, unset_properties};
use crate::findings::{Finding, Findings, Format, report};
use crate::issuer_http::Fetching;
use crate::progress;
use crate::published;
use crate::source::{Inputs, NO_CONFIGURATION, Source};
use crate::terminal::Terminal;
use crate::watch;
use crate::{CommandOutput, Failure};

/// Report all errors and warnings of a configuration.
///
/// Errors are what the filter refuses a configuration for, operations that no request can ever reach, and
/// public ways to a guarded token endpoint. Warnings are what the filter accepts but you probably did not mean.
/// Of what carries a configuration, such as an Envoy bootstrap, what stands around it is checked too.
///
/// Several files are the parts of one table, unless each is a configuration by itself.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 no errors, 1 errors (with --deny-warnings: or warnings), 2 wrong usage or an unreadable file.

Examples:
  scopegate check filter-config/teamcenter.yaml
  scopegate check gateway/
  scopegate check --deny-warnings --format json gateway.yaml
  scopegate check --format sarif gateway/ > scopegate.sarif
  scopegate check envoy.yaml
  scopegate check --host nginx gateway.yaml
  scopegate check --fetch gateway.yaml
  scopegate check --fetch --resolve idp=http://127.0.0.1:8080 gateway.yaml
  helm template gateway | yq .data.config | scopegate check -")]
pub struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// Treat warnings as errors in the exit code.
    #[arg(long)]
    deny_warnings: bool,
    /// Report what the filter cannot do on this host, too.
    #[arg(long, value_enum, value_name = "HOST")]
    host: Option<Host>,
    #[command(flatten)]
    fetching: Fetching,
    /// With --fetch: ask the issuer of this tenant, by the name that `iss` has for it, where each has its own; repeatable.
    #[arg(long = "tenant", value_name = "NAME", requires = "fetch")]
    tenants: Vec<String>,
    /// How to report.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Check again whenever a file changes.
    #[arg(long, conflicts_with = "admin")]
    watch: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    if arguments.watch {
        return watch::watch(&arguments.inputs.files, &|| once(arguments, terminal));
    }
    once(arguments, terminal)
}

fn once(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    let all: Vec<Findings> = sources(&arguments.inputs)?
        .iter()
        .map(|source| findings(source, arguments.host, &arguments.fetching, &arguments.tenants))
        .collect();
    let text = report(&all, arguments.format, terminal)?;
    let errors: usize = all.iter().map(Findings::errors).sum();
    let warnings: usize = all.iter().map(Findings::warnings).sum();
    let yes = errors == 0 && !(arguments.deny_warnings && warnings > 0);
    let notes = all.into_iter().flat_map(|findings| findings.notes).collect();
    Ok(CommandOutput { text, notes, yes })
}

/// One source; or one for each file, where each is a configuration by itself.
fn sources(inputs: &Inputs) -> Result<Vec<Source>, Failure> {
    if let (None, true) = (&inputs.admin, inputs.files.len() > 1) {
        let singly = inputs.files.iter().map(|file| Source::read(file)).collect::<Result<Vec<_>, _>>()?;
        if singly.iter().all(is_whole) {
            return Ok(singly);
        }
        let files: Vec<PathBuf> = inputs.files.clone();
        return Ok(vec![Source::read_all(&files)?]);
    }
    Ok(vec![inputs.read()?])
}

fn is_whole(source: &Source) -> bool {
    let has_both = |document: &Node<'_>| match &document.value {
        Value::Map(members) => {
            let has = |key: &str| members.iter().any(|member| member.key == key);
            (has("providers") && has("tenants")) || has("compact")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::List(_) => false,
    };
    source.len() == 1
        && source.written().is_ok_and(|documents| {
            config_maps::entries(&documents).is_none()
                && documents.iter().any(|document| is_carrier(document) || has_both(document))
        })
}

/// Errors and warnings in the order of the files, and how many more errors were only counted.
///
/// With what the filter cannot do on `host`, and what the issuers publish where `fetching` asks for it, of each of `tenants`
/// where tenants have issuers of their own.
pub fn findings(source: &Source, host: Option<Host>, fetching: &Fetching, tenants: &[String]) -> Findings {
    let mut findings = Vec::new();
    let (mut issuers, mut notes) = (Vec::new(), Vec::new());
    let mut omitted = 0;
    let finding = |code: Code, path: &str, mark: Option<Mark>, message: &str| {
        let (file, mark) = source.locate(mark);
        let (path, file, message) = (path.to_owned(), file.to_owned(), message.to_owned());
        Finding { code, path, file, mark, message }
    };
    let mut report = |errors: &ConfigErrors, findings: &mut Vec<Finding>| {
        omitted += errors.omitted();
        findings.extend(
            errors
                .iter()
                .map(|error| finding(Code::Error(error.kind), &error.path, error.mark, &error.message)),
        );
    };
    let mut warnings: Vec<Warning> = Vec::new();
    match source.configurations() {
        Err(errors) => report(&errors, &mut findings),
        Ok(configurations) => {
            if configurations.is_empty() {
                let message =
                    format!("{NO_CONFIGURATION}; that no key is repeated was all there was to check");
                let kind = WarningKind::Doubtful;
                warnings.push(Warning { kind, path: String::new(), mark: None, message });
            }
            for configuration in &configurations {
                let document = &configuration.node;
                progress::doing("checking", 0);
                match scopegate::config::from_document(document) {
                    Err(errors) => report(&errors, &mut findings),
                    Ok(loaded) => {
                        for check in [lint::check_evidence, lint::check_guarded_paths] {
                            if let Err(errors) = check(document, &loaded.policy) {
                                report(&errors, &mut findings);
                            }
                        }
                        for found in
                            host.iter().flat_map(|host| check_host::findings(*host, document, &loaded.policy))
                        {
                            findings.push(finding(found.code, &found.path, found.mark, &found.message));
                        }
                        if fetching.fetch {
                            let mut send = |cluster: &str, call: &HttpCall| fetching.send(cluster, call);
                            let (all, more) = published::fetch_all(&loaded.policy, tenants, &mut send);
                            for (issuer, problem) in all.iter().flat_map(|issuer| {
                                issuer.problems.iter().map(move |problem| (issuer, problem))
                            }) {
                                let path = ["providers", &issuer.provider, problem.key].map(str::to_owned);
                                let mark = check_host::mark_of(document, &path);
                                findings.push(finding(problem.code, &path.join("."), mark, &problem.message));
                            }
                            issuers.extend(all);
                            notes.extend(more);
                        }
                        warnings.extend(loaded.warnings);
                        warnings.extend(lint::lint(document, &loaded.policy));
                        if source.len() == 1 {
                            warnings.extend(unset_properties(&source.text(), loaded.policy.audit));
                        }
                        for remark in around::check(source, configuration, &loaded.policy) {
                            findings.push(finding(remark.code, &remark.path, remark.mark, &remark.message));
                        }
                    }
                }
            }
        }
    }
    findings.extend(
        warnings.iter().map(|warning| {
            finding(Code::Warning(warning.kind), &warning.path, warning.mark, &warning.message)
        }),
    );
    findings.sort_by(|one, other| {
        let place = |finding: &Finding| finding.mark.map(|mark| (mark.line, mark.column));
        (&one.file, place(one)).cmp(&(&other.file, place(other)))
    });
    Findings { name: source.name.clone(), findings, omitted, issuers, notes }
}
