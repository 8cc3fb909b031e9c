//! What the stable codes of errors and warnings mean, and `scopegate explain-code`.
//!
//! A code names a kind of mistake, not one message: messages are reworded, codes are not. Each message brings its code from where it
//! is made.

use scopegate::config::{ErrorKind, WarningKind};

use crate::{CommandOutput, Failure};

/// The code of an error or of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Of an error.
    Error(ErrorKind),
    /// Of a warning.
    Warning(WarningKind),
}

impl Code {
    /// All codes, in their order.
    fn all() -> Vec<Self> {
        let errors = ErrorKind::ALL.iter().map(|kind| Self::Error(*kind));
        let mut all: Vec<Self> =
            errors.chain(WarningKind::ALL.iter().map(|kind| Self::Warning(*kind))).collect();
        all.sort_by_key(|code| code.as_str());
        all
    }

    /// Whether it is that of an error.
    pub fn is_error(self) -> bool {
        match self {
            Self::Error(_) => true,
            Self::Warning(_) => false,
        }
    }

    /// Itself, such as `SG1203`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error(kind) => kind.code(),
            Self::Warning(kind) => kind.code(),
        }
    }

    /// Its title and its text.
    pub fn explained(self) -> (&'static str, &'static str) {
        match self {
            Self::Error(kind) => of_error(kind),
            Self::Warning(kind) => of_warning(kind),
        }
    }
}

fn of_error(kind: ErrorKind) -> (&'static str, &'static str) {
    match kind {
        ErrorKind::Unreadable => (
            "The text cannot be read",
            "The file is neither the JSON nor the YAML that scopegate reads. The filter reads JSON as RFC 8259 has it: no comments, \
               no byte order mark, nothing behind the value. The tool reads YAML 1.2 without aliases and without tags but `!!str`, \
               since a small text with aliases can stand for a large document. The message says where reading stopped; the mistake \
               is there or just before it, often a missing comma, quote or blank.",
        ),
        ErrorKind::NotOneDocument => (
            "Not one document",
            "A command wants one configuration and found none, or several. Name another file, or take the one that is meant out of \
               the stream.",
        ),
        ErrorKind::CompactForm => (
            "The compact form does not hold a configuration",
            "`compact` holds base64 of one gzip member with the JSON of a configuration in it, at most 64 MiB long, and `version` stands \
               beside it alone. The filter refuses what it cannot unpack as a whole. Make it anew with `scopegate bundle --compact`, \
               and look whether something on the way breaks lines or cuts long strings.",
        ),
        ErrorKind::UnknownKey => (
            "Unknown key",
            "The key is none that stands here, so what it says would be ignored; in a security product that is an error. The message \
               proposes the nearest known key. `scopegate schema` has all keys, and `docs/configuration.md` says what each does.",
        ),
        ErrorKind::MissingKey => (
            "Missing key",
            "Something that has to be said is not. Where a key is needed only beside another one, the message names that one.",
        ),
        ErrorKind::Repeated => (
            "A key or a name is there twice",
            "Two things have one name, and nobody could tell which of them counts. Envoy and most readers of JSON would take the last one \
               and say nothing. Rename one, or take it out.",
        ),
        ErrorKind::WrongKind => (
            "A value of another kind is expected",
            "The value is of another type than the key takes, or none of the words that it takes. `null` is a value of its own kind, not \
               the absence of a key: a template that leaves a list empty must not open a tenant to everybody. A plain `yes`, `no`, \
               `on` or `off` is a string to YAML 1.2 and a boolean to Envoy's reader, and so needs quotes.",
        ),
        ErrorKind::OutOfBounds => (
            "A value is out of its bounds",
            "The value is too small, too large, too long, or holds characters that cannot stand there. The message says what is allowed. \
               The bounds of scope names are those of `scope_policy`.",
        ),
        ErrorKind::InTwoFiles => (
            "The same thing stands in two files of a table",
            "Files of a table are merged: `providers` and `tenant_templates` by name, `tenants` and `suites` one list after the other, and \
               every other key from one file alone. Here two files say the same thing, and the message names both. Keep one.",
        ),
        ErrorKind::Ambiguous => (
            "Two operations match the same request",
            "Operations are chosen by specificity, never by their order in a file. These two could both match one request and are equally \
               specific, so which scopes it needs would be chance. Make one of them more specific, by a literal in the path, a method or a \
               header.",
        ),
        ErrorKind::DanglingReference => (
            "A reference leads nowhere",
            "Something is named that is not there: a scope that the tenant does not declare, a provider, a suite, an operation, a template. \
               Most often it is a slip, and the message proposes the nearest name; else it was removed before what refers to it. Names \
               compare exactly, with case.",
        ),
        ErrorKind::Contradiction => (
            "Two keys contradict each other",
            "Two keys say what only one of them can. Decide which is meant and take the other one out.",
        ),
        ErrorKind::NothingRequired => (
            "Nothing is required",
            "An operation whose `access` is `scopes` has to require some; an empty list would let every token of the tenant pass. Say \
               `requires`, give the suite `scopes`, or say `access: authenticated` if any token is meant to do.",
        ),
        ErrorKind::NeverPasses => (
            "No request can ever pass here",
            "What is asked of a request contradicts how it is found: evidence of the tenant that no request for this operation can bring, \
               a path that is always refused, a rule that refuses every token. Such an operation is dead, and usually not meant to be.",
        ),
        ErrorKind::Unguarded => (
            "A way around the token endpoint's guard",
            "A token endpoint is guarded, and some spelling of its path would reach it unguarded, as a public or unmatched request. Guard \
               or close that way too.",
        ),
        ErrorKind::HostLacks => (
            "The host cannot serve it",
            "`--host` names a proxy-wasm host without something that this part of the configuration needs: ticks and callouts for \
               keys that are fetched and for introspection, effective contexts for requests that wait. The filter for other hosts \
               refuses such a configuration by the same name. Give keys as `local_jwks`, or use a host that has it: `deploy/hosts.json` \
               says which have what.",
        ),
        ErrorKind::FailsOpen => (
            "The proxy would let requests through while the filter does not run",
            "The proxy is told to fail open: when the filter cannot be loaded or has ended, requests pass without any check. Say \
               `failure_policy: FAIL_RELOAD` (Istio: `failStrategy: FAIL_RELOAD` or `FAIL_CLOSE`; Envoy Gateway: `failOpen: false`).",
        ),
        ErrorKind::TripwireBefore => (
            "The tripwire stands before the filter",
            "The tripwire lets pass only what the filter has let pass, so it has to come after it. Before the filter it refuses everything.",
        ),
        ErrorKind::NoSuchCluster => (
            "The proxy has no such cluster",
            "The filter calls issuers over clusters of the proxy. This one is not there, so keys cannot be fetched or tokens not introspected, \
               and requests are answered with 503. Add the cluster, or call it as the proxy does (`scopegate render --cluster \
               NAME=NAME`).",
        ),
        ErrorKind::MetadataUseless => (
            "The issuer's metadata is of no use",
            "`--fetch` read what the issuer says of itself, and the filter would not go by it: `issuer` is not exactly the provider's, an \
               endpoint is missing, or lies at a host that `discovery.allowed_hosts` does not name, or is not HTTPS where the metadata is. \
               Without keys from before, every token is answered with 503. Compare `issuer` character by character, the final slash \
               too, and name further hosts only if they are the issuer's.",
        ),
        ErrorKind::NoKeyOfUse => (
            "The issuer publishes no key that is of use",
            "`--fetch` read the issuer's keys, and none of them could verify a token: the document is no key set, or its keys are for other \
               algorithms than the provider's `algorithms`, too weak, or meant for other purposes. What was found of each key stands \
               below the findings.",
        ),
        ErrorKind::IssuerRefuses => (
            "The issuer refuses to tell",
            "`--fetch` asked for the issuer's metadata or keys and was answered with another status than 200. With 4xx the URI is most \
               likely wrong; redirects are not followed, by the filter neither.",
        ),
    }
}

fn of_warning(kind: WarningKind) -> (&'static str, &'static str) {
    match kind {
        WarningKind::Doubtful => (
            "Something doubtful",
            "The filter accepts it. The message says why it is probably not what is meant. `--deny-warnings` makes warnings count.",
        ),
        WarningKind::Open => (
            "More is open than usual",
            "The configuration opens something to whoever comes. It may be meant; then live with the warning, or say it more narrowly.",
        ),
        WarningKind::Unusable => (
            "Nobody can use this",
            "A scope, an application or an operation that no request can make use of: nothing requires the scope, nobody is assigned what \
               the operation requires, or nobody has decided yet (`access: undecided`).",
        ),
        WarningKind::Misleading => (
            "A name that says nothing, or looks like another",
            "A scope called `scope1`, a placeholder that only looks like `{tenant}`, a client that several tenants register: whoever reads \
               the table, or decides by it, may take it for something else than it is.",
        ),
        WarningKind::NoTripwire => (
            "There is no tripwire",
            "Envoy can skip a filter, for instance where one worker could not configure it. The tripwire, an RBAC filter behind it, refuses \
               whatever the filter has not let pass. `scopegate render --as envoy` writes one.",
        ),
        WarningKind::HowItRuns => (
            "How the proxy runs the filter",
            "The filter works, but not as well as it could: without `vm_id` workers share nothing, without `FAIL_RELOAD` a VM that ended is \
               not replaced, without `allow_on_headers_stop_iteration` token requests are refused, and a Struct loses repeated keys before \
               anybody sees them.",
        ),
        WarningKind::IssuerNotReached => (
            "The issuer could not be asked",
            "`--fetch` got no answer, or one of 500 and above, from this machine. The proxy may have another way to the issuer; `--resolve \
               CLUSTER=URL` says where a cluster leads from here, for example through a port that is forwarded.",
        ),
        WarningKind::KeyNotUsed => (
            "The issuer publishes a key that cannot be used",
            "`--fetch` found a key that looks like one for signatures and is malformed, too weak, symmetric or, worst, gives its private \
               part away. Tokens that it signs are refused. Tell whoever runs the issuer; a private key that was published must be \
               replaced.",
        ),
    }
}

/// Say what an error code means, and what to do.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 explained, 2 there is no such code.

Examples:
  scopegate explain-code SG1203
  scopegate explain-code --all > codes.md")]
pub struct Arguments {
    /// The code, as `check` prints it.
    #[arg(required_unless_present = "all")]
    code: Option<String>,
    /// All codes, in Markdown.
    #[arg(long, conflicts_with = "code")]
    all: bool,
}

/// Runs `explain-code`.
pub fn run(arguments: &Arguments) -> Result<CommandOutput, Failure> {
    let Some(code) = &arguments.code else { return Ok(CommandOutput::yes(document())) };
    let Some(known) = Code::all().into_iter().find(|known| known.as_str().eq_ignore_ascii_case(code)) else {
        let known = Code::all().into_iter().map(Code::as_str);
        let meant = scopegate::config::suggestion::did_you_mean(&code.to_ascii_uppercase(), known);
        let code = crate::terminal::shown(code);
        return Err(Failure(format!("no error or warning has the code `{code}`{meant}")));
    };
    let (title, text) = known.explained();
    Ok(CommandOutput::yes(format!("{}: {title}\n\n{}\n", known.as_str(), wrapped(text))))
}

/// All codes in Markdown.
fn document() -> String {
    let mut text = "# Codes\n\nEach error and warning about a file has a code that stays the same when messages are reworded. SG1 are errors, SG2 \
                    warnings, SG3 is\nabout what carries a configuration, SG4 about what issuers publish. `scopegate explain-code SG1203` prints one.\n"
        .to_owned();
    for code in Code::all() {
        let (title, paragraph) = code.explained();
        text.push_str(&format!("\n## {}: {title}\n\n{}\n", code.as_str(), wrapped(paragraph)));
    }
    text
}

/// Lines of up to 100 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if lines
            .last()
            .is_some_and(|line| !line.is_empty() && line.chars().count() + word.chars().count() >= 100)
        {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_kind_of_mistake() {
        let mut codes: Vec<&str> = Code::all().into_iter().map(Code::as_str).collect();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(codes.iter().all(|code| code.len() == 6 && code.starts_with("SG")));
    }

    #[test]
    fn every_code_has_a_text_of_its_own() {
        for code in Code::all() {
            let (title, text) = code.explained();
            assert!(text.len() > 60 && !title.is_empty(), "{}", code.as_str());
        }
    }
}
