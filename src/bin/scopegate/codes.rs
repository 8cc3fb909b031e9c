//! Stable codes of errors and warnings, and `scopegate explain-code`.
//!
//! A code names a kind of mistake, not one message: messages are reworded, codes are not. Which one a message has is told by its
//! words; the tests hold the words against the messages.

use crate::{CommandOutput, Failure};

/// One kind of mistake.
struct Code {
    code: &'static str,
    title: &'static str,
    /// Words that messages of this kind hold, any of them. None: whatever no other kind has.
    words: &'static [&'static str],
    text: &'static str,
}

/// Errors. The first whose words a message holds is its kind; the last holds all others.
const ERRORS: &[Code] = &[
    Code {
        code: "SG4001",
        title: "The issuer's metadata is of no use",
        words: &["the metadata at"],
        text: "`--fetch` read what the issuer says of itself, and the filter would not go by it: `issuer` is not exactly the provider's, an \
               endpoint is missing, or lies at a host that `discovery.allowed_hosts` does not name, or is not HTTPS where the metadata is. \
               Without keys from before, every token is answered with 503. Compare `issuer` character by character, the final slash \
               too, and name further hosts only if they are the issuer's.",
    },
    Code {
        code: "SG4002",
        title: "The issuer publishes no key that is of use",
        words: &["the key set at"],
        text: "`--fetch` read the issuer's keys, and none of them could verify a token: the document is no key set, or its keys are for other \
               algorithms than the provider's `algorithms`, too weak, or meant for other purposes. What was found of each key stands \
               below the findings.",
    },
    Code {
        code: "SG4003",
        title: "The issuer refuses to tell",
        words: &["could not be asked: status"],
        text: "`--fetch` asked for the issuer's metadata or keys and was answered with another status than 200. With 4xx the URI is most \
               likely wrong; redirects are not followed, by the filter neither.",
    },
    Code {
        code: "SG1001",
        title: "The text cannot be read",
        words: &[
            "not JSON",
            "not YAML",
            "aliases (`*name`)",
            "tags other than",
            "nested too deep",
            "a key must be a string",
        ],
        text: "The file is neither the JSON nor the YAML that scopegate reads. The filter reads JSON as RFC 8259 has it: no comments, \
               no byte order mark, nothing behind the value. The tool reads YAML 1.2 without aliases and without tags but `!!str`, \
               since a small text with aliases can stand for a large document. The message says where reading stopped; the mistake \
               is there or just before it, often a missing comma, quote or blank.",
    },
    Code {
        code: "SG1002",
        title: "Not one document",
        words: &[
            "the document is empty",
            "there is more than one document",
            "holds no configuration of a filter",
            "holds several configurations",
        ],
        text: "A command wants one configuration and found none, or several. Name another file, or take the one that is meant out of \
               the stream.",
    },
    Code {
        code: "SG1003",
        title: "The compact form does not hold a configuration",
        words: &[
            "not base64",
            "not gzip",
            "unpacks to more",
            "what is unpacked is",
            "something follows the gzip",
        ],
        text: "`compact` holds base64 of one gzip member with the JSON of a configuration in it, at most 64 MiB long, and `version` stands \
               beside it alone. The filter refuses what it cannot unpack as a whole. Make it anew with `scopegate bundle --compact`, \
               and look whether something on the way breaks lines or cuts long strings.",
    },
    Code {
        code: "SG1101",
        title: "Unknown key",
        words: &["unknown key"],
        text: "The key is none that stands here, so what it says would be ignored; in a security product that is an error. The message \
               proposes the nearest known key. `scopegate schema` has all keys, and `docs/configuration.md` says what each does.",
    },
    Code {
        code: "SG1102",
        title: "Missing key",
        words: &["missing key", "is needed", "requires `", "it needs `"],
        text: "Something that has to be said is not. Where a key is needed only beside another one, the message names that one.",
    },
    Code {
        code: "SG1103",
        title: "A key or a name is there twice",
        words: &[
            "the key is repeated",
            "is there twice",
            "is listed twice",
            "is declared twice",
            "is registered twice",
            "is guarded twice",
            "already that of provider",
            "is called `",
            "is already an id or alias",
            "is the scope prefix of tenant",
        ],
        text: "Two things have one name, and nobody could tell which of them counts. Envoy and most readers of JSON would take the last one \
               and say nothing. Rename one, or take it out.",
    },
    Code {
        code: "SG1104",
        title: "A value of another kind is expected",
        words: &[
            "expected ",
            "is a boolean to Envoy",
            "a boolean to Envoy",
            "octal to Envoy",
            "a scope is declared as a map",
            "is not a supported algorithm",
            "is none of",
            "is not a duration",
            "is not a size",
            "is not a host",
        ],
        text: "The value is of another type than the key takes, or none of the words that it takes. `null` is a value of its own kind, not \
               the absence of a key: a template that leaves a list empty must not open a tenant to everybody. A plain `yes`, `no`, \
               `on` or `off` is a string to YAML 1.2 and a boolean to Envoy's reader, and so needs quotes.",
    },
    Code {
        code: "SG1105",
        title: "A value is out of its bounds",
        words: &[
            "must be ",
            "must not ",
            "has {length} characters",
            "characters; `scope_policy`",
            "scopes are declared; `scope_policy`",
            "there are more than",
        ],
        text: "The value is too small, too large, too long, or holds characters that cannot stand there. The message says what is allowed. \
               The bounds of scope names are those of `scope_policy`.",
    },
    Code {
        code: "SG1201",
        title: "The same thing stands in two files of a table",
        words: &["too; only one file of a table", "stands in "],
        text: "Files of a table are merged: `providers` and `tenant_templates` by name, `tenants` and `suites` one list after the other, and \
               every other key from one file alone. Here two files say the same thing, and the message names both. Keep one.",
    },
    Code {
        code: "SG1202",
        title: "Two operations match the same request",
        words: &["could match operation", "just as well"],
        text: "Operations are chosen by specificity, never by their order in a file. These two could both match one request and are equally \
               specific, so which scopes it needs would be chance. Make one of them more specific, by a literal in the path, a method or a \
               header.",
    },
    Code {
        code: "SG1203",
        title: "A reference leads nowhere",
        words: &[
            "is not declared by",
            "is not configured",
            "has no operation",
            "has no suite",
            "no tenant has a",
            "is no operation",
            "may not speak for tenant",
            "has no `introspection`",
            "is none of the tenant",
        ],
        text: "Something is named that is not there: a scope that the tenant does not declare, a provider, a suite, an operation, a template. \
               Most often it is a slip, and the message proposes the nearest name; else it was removed before what refers to it. Names \
               compare exactly, with case.",
    },
    Code {
        code: "SG1204",
        title: "Two keys contradict each other",
        words: &[
            "only one of them",
            "excludes",
            "exclude each other",
            "leave them out",
            "is there too",
            "does not use it",
            "`access` of",
        ],
        text: "Two keys say what only one of them can. Decide which is meant and take the other one out.",
    },
    Code {
        code: "SG1205",
        title: "Nothing is required",
        words: &["nothing is required"],
        text: "An operation whose `access` is `scopes` has to require some; an empty list would let every token of the tenant pass. Say \
               `requires`, give the suite `scopes`, or say `access: authenticated` if any token is meant to do.",
    },
    Code {
        code: "SG1301",
        title: "No request can ever pass here",
        words: &[
            "can never",
            "never has",
            "no request can have",
            "every token is refused",
            "every client is refused",
        ],
        text: "What is asked of a request contradicts how it is found: evidence of the tenant that no request for this operation can bring, \
               a path that is always refused, a rule that refuses every token. Such an operation is dead, and usually not meant to be.",
    },
    Code {
        code: "SG1302",
        title: "A way around the token endpoint's guard",
        words: &["guarded", "token endpoint"],
        text: "A token endpoint is guarded, and some spelling of its path would reach it unguarded, as a public or unmatched request. Guard \
               or close that way too.",
    },
    Code {
        code: "SG1401",
        title: "The host cannot serve it",
        words: &["this host has no"],
        text: "`--host` names a proxy-wasm host without something that this part of the configuration needs: ticks and callouts for \
               keys that are fetched and for introspection, effective contexts for requests that wait. The filter for other hosts \
               refuses such a configuration by the same name. Give keys as `local_jwks`, or use a host that has it: `deploy/hosts.json` \
               says which have what.",
    },
    Code {
        code: "SG3001",
        title: "The proxy would let requests through while the filter does not run",
        words: &["while the filter does not run"],
        text: "The proxy is told to fail open: when the filter cannot be loaded or has ended, requests pass without any check. Say \
               `failure_policy: FAIL_RELOAD` (Istio: `failStrategy: FAIL_RELOAD` or `FAIL_CLOSE`; Envoy Gateway: `failOpen: false`).",
    },
    Code {
        code: "SG3002",
        title: "The tripwire stands before the filter",
        words: &["tripwire stands before"],
        text: "The tripwire lets pass only what the filter has let pass, so it has to come after it. Before the filter it refuses everything.",
    },
    Code {
        code: "SG3003",
        title: "The proxy has no such cluster",
        words: &["the proxy has no cluster"],
        text: "The filter calls issuers over clusters of the proxy. This one is not there, so keys cannot be fetched or tokens not introspected, \
               and requests are answered with 503. Add the cluster, or call it as the proxy does (`scopegate render --cluster \
               NAME=NAME`).",
    },
    Code {
        code: "SG1000",
        title: "Another mistake",
        words: &[""],
        text: "The message says what is wrong. The filter refuses a configuration with any error as a whole and keeps the one before.",
    },
];

/// Warnings.
const WARNINGS: &[Code] = &[
    Code {
        code: "SG4101",
        title: "The issuer could not be asked",
        words: &["could not be asked"],
        text: "`--fetch` got no answer, or one of 500 and above, from this machine. The proxy may have another way to the issuer; `--resolve \
               CLUSTER=URL` says where a cluster leads from here, for example through a port that is forwarded.",
    },
    Code {
        code: "SG4102",
        title: "The issuer publishes a key that cannot be used",
        words: &["publishes a key that is not used"],
        text: "`--fetch` found a key that looks like one for signatures and is malformed, too weak, symmetric or, worst, gives its private \
               part away. Tokens that it signs are refused. Tell whoever runs the issuer; a private key that was published must be \
               replaced.",
    },
    Code {
        code: "SG3101",
        title: "There is no tripwire",
        words: &["there is no tripwire"],
        text: "Envoy can skip a filter, for instance where one worker could not configure it. The tripwire, an RBAC filter behind it, refuses \
               whatever the filter has not let pass. `scopegate render --as envoy` writes one.",
    },
    Code {
        code: "SG3102",
        title: "How the proxy runs the filter",
        words: &[
            "is blank: workers share",
            "a VM that ended stays so",
            "cannot be held until their body",
            "is a Struct, in which",
        ],
        text: "The filter works, but not as well as it could: without `vm_id` workers share nothing, without `FAIL_RELOAD` a VM that ended is \
               not replaced, without `allow_on_headers_stop_iteration` token requests are refused, and a Struct loses repeated keys before \
               anybody sees them.",
    },
    Code {
        code: "SG2101",
        title: "More is open than usual",
        words: &[
            "pass without a token",
            "are not enforced",
            "exposes its data",
            "may refuse",
            "anybody",
            "everybody may",
        ],
        text: "The configuration opens something to whoever comes. It may be meant; then live with the warning, or say it more narrowly.",
    },
    Code {
        code: "SG2201",
        title: "Nobody can use this",
        words: &[
            "opens nothing",
            "can reach",
            "nobody may call",
            "no scopes are assigned",
            "is refused",
            "reaches nothing",
            "undecided",
        ],
        text: "A scope, an application or an operation that no request can make use of: nothing requires the scope, nobody is assigned what \
               the operation requires, or nobody has decided yet (`access: undecided`).",
    },
    Code {
        code: "SG2301",
        title: "A name that says nothing, or looks like another",
        words: &["says nothing", "placeholder", "names no tenant", "any name where", "no longer names"],
        text: "A scope called `scope1`, a placeholder that only looks like `{tenant}`, a client that several tenants register: whoever reads \
               the table, or decides by it, may take it for something else than it is.",
    },
    Code {
        code: "SG2000",
        title: "Something doubtful",
        words: &[""],
        text: "The filter accepts it. The message says why it is probably not what is meant. `--deny-warnings` makes warnings count.",
    },
];

/// The code of a message.
pub fn of(is_error: bool, _path: &str, message: &str) -> &'static str {
    let codes = if is_error { ERRORS } else { WARNINGS };
    let known = codes.iter().find(|code| code.words.iter().any(|word| message.contains(word)));
    known.map_or(if is_error { "SG1000" } else { "SG2000" }, |code| code.code)
}

/// Title and text of a code.
pub fn explained(code: &str) -> Option<(&'static str, &'static str)> {
    all().find(|known| known.code.eq_ignore_ascii_case(code)).map(|known| (known.title, known.text))
}

fn all() -> impl Iterator<Item = &'static Code> {
    ERRORS.iter().chain(WARNINGS)
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
    let Some((title, text)) = explained(code) else {
        let known = all().map(|known| known.code);
        let meant = scopegate::config::suggestion::did_you_mean(&code.to_ascii_uppercase(), known);
        let code = crate::terminal::shown(code);
        return Err(Failure(format!("no error or warning has the code `{code}`{meant}")));
    };
    Ok(CommandOutput::yes(format!("{}: {title}\n\n{}\n", code.to_ascii_uppercase(), wrapped(text))))
}

/// All codes in Markdown.
fn document() -> String {
    let mut codes: Vec<&Code> = all().collect();
    codes.sort_by_key(|code| code.code);
    let mut text = "# Codes\n\nWhat `scopegate check` finds has a code that stays the same when messages are reworded. SG1 are errors, SG2 \
                    warnings, SG3 is\nabout what carries a configuration, SG4 about what issuers publish. `scopegate explain-code SG1203` prints one.\n"
        .to_owned();
    for code in codes {
        text.push_str(&format!("\n## {}: {}\n\n{}\n", code.code, code.title, wrapped(code.text)));
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
        let mut codes: Vec<&str> = all().map(|code| code.code).collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        for (is_error, message, code) in [
            (true, "unknown key `audience`; did you mean `audiences`?", "SG1101"),
            (true, "missing key `audiences`; only `allow_any_audience: true` makes up for it", "SG1102"),
            (
                true,
                "scope `books:wirte` is not declared by tenant `acme`; did you mean `books:write`?",
                "SG1203",
            ),
            (true, "tenant `acme` stands in a.yaml:1:1 too", "SG1201"),
            (true, "must be 1 to 5, not 7", "SG1105"),
            (true, "the proxy has no cluster `idp`", "SG3003"),
            (true, "something nobody thought of", "SG1000"),
            (true, "the metadata at https://a/b: `issuer` of the metadata is not the provider's", "SG4001"),
            (true, "the key set at https://a/b: the key set has no array `keys`", "SG4002"),
            (true, "https://a/b (cluster `idp`) could not be asked: status 404", "SG4003"),
            (false, "https://a/b (cluster `idp`) could not be asked: status 503", "SG4101"),
            (false, "something nobody thought of", "SG2000"),
        ] {
            assert_eq!(of(is_error, "", message), code, "{message}");
        }
    }

    #[test]
    fn every_code_has_a_text_of_its_own() {
        for code in all() {
            assert!(code.text.len() > 60 && !code.title.is_empty(), "{}", code.code);
        }
    }
}
