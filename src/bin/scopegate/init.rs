//! `scopegate init`: the first configuration for an identity provider, out of its page in `docs/issuers/`.

use std::path::{Path, PathBuf};

use scopegate::config::suggestion::did_you_mean;

use crate::terminal::shown;
use crate::{CommandOutput, Failure};

/// Write a first configuration for an identity provider, and a case file for it.
///
/// Both are those of the provider's page in docs/issuers/, which says what to replace and what goes wrong.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 written, 2 there is no answer.

Examples:
  scopegate init --issuer keycloak -o keycloak.yaml && scopegate test keycloak_test.yaml
  scopegate init --issuer entra-id -o filter-config/entra.yaml
  scopegate init --issuer okta -o -")]
pub struct Arguments {
    /// The identity provider: auth0, authlib, cognito, entra-id, glewlwyd, keycloak, kubernetes, lemonldap-ng,
    /// oidc-provider, okta, ping or zitadel.
    #[arg(long, value_name = "NAME")]
    issuer: String,
    /// Where to write it, the case file beside it; `-` for standard output, without one. No file is replaced.
    #[arg(short, long, value_name = "FILE|-", default_value = "gateway.yaml")]
    output: PathBuf,
}

/// A page's files.
struct Page {
    name: &'static str,
    configuration: &'static str,
    cases: &'static str,
}

macro_rules! pages {
    ($($name:literal),*) => {
        &[$(Page {
            name: $name,
            configuration: include_str!(concat!("../../../docs/issuers/", $name, ".yaml")),
            cases: include_str!(concat!("../../../docs/issuers/", $name, "_test.yaml")),
        }),*]
    };
}

const PAGES: &[Page] = pages![
    "auth0",
    "authlib",
    "cognito",
    "entra-id",
    "glewlwyd",
    "keycloak",
    "kubernetes",
    "lemonldap-ng",
    "oidc-provider",
    "okta",
    "ping",
    "zitadel"
];

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<CommandOutput, Failure> {
    let names = || PAGES.iter().map(|page| page.name);
    let Some(page) = PAGES.iter().find(|page| page.name == arguments.issuer) else {
        let known: Vec<&str> = names().collect();
        return Err(Failure(format!(
            "--issuer: there is no page for `{}`{}; there are {}",
            shown(&arguments.issuer),
            did_you_mean(&arguments.issuer, names()),
            known.join(", ")
        )));
    };
    if arguments.output.as_os_str() == "-" {
        return Ok(CommandOutput::yes(page.configuration.to_owned()));
    }
    let stem = arguments.output.file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    let beside = arguments.output.with_file_name(format!("{stem}_test.yaml"));
    for path in [&arguments.output, &beside] {
        if path.exists() {
            return Err(Failure(format!("{} is there already; say another place with -o", name(path))));
        }
    }
    // What it is for stands beside it.
    let (_, cases) = page.cases.split_once('\n').unwrap_or(("", page.cases));
    let cases = format!("# What {} has to make of requests.\n{cases}", name_alone(&arguments.output));
    for (path, text) in [(&arguments.output, page.configuration), (&beside, cases.as_str())] {
        std::fs::write(path, text)
            .map_err(|error| Failure(format!("cannot write {}: {error}", name(path))))?;
    }
    Ok(CommandOutput::yes(format!(
        "wrote {} and {}: put your own hosts, audiences, tenants and clients in, then run `scopegate check {}` and \
         `scopegate test {}`\n",
        name(&arguments.output),
        name(&beside),
        name(&arguments.output),
        name(&beside)
    )))
}

fn name(path: &Path) -> String {
    shown(&path.display().to_string()).to_string()
}

fn name_alone(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
