//! `scopegate test`: cases of requests, tokens and what has to come of them, decided by the filter's own core.

pub mod bench;
pub mod case_file;
mod coverage;
pub mod draft;
mod first;
pub mod judge;
pub mod mint;
mod report;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use self::bench::Bench;
use self::case_file::CaseFile;
use self::coverage::{Coverage, Covered};
use self::judge::{Mismatch, judge};
use self::report::{Ran, RanFile};
use scopegate::config::document::Node;

use crate::envoy_file::member;
use crate::progress;
use crate::source::{Source, entries, is_document, is_hidden, leads_back};
use crate::terminal::{Terminal, shown};
use crate::watch;
use crate::{CommandOutput, Failure};

/// Run case files: requests, tokens, and what the filter has to make of them.
///
/// A case file is called `*_test.yaml`. It is for the configuration that it names as `config`, or else for the one beside it
/// without `_test` in its name, or else for the table of the directory
/// that is tested. Nothing is sent anywhere: tokens are signed with throw-away keys
/// that stand in for those of the providers, and introspections are answered by the case.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 every case is as expected, 1 some are not, 2 wrong usage or a file that cannot be read.

Examples:
  scopegate test filter-config/
  scopegate test gateway/ --coverage
  scopegate test gateway/books_test.yaml --run 'acme: *' --verbose
  scopegate test gateway/ --format junit -o results.xml
  scopegate test --init gateway.yaml
  scopegate test gateway_test.yaml")]
pub struct Arguments {
    /// Case files, and directories that are searched for `*_test.yaml` and `*_test.json`.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// The configuration to test, whatever the case files say.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run only the cases whose name holds this, or matches it where it has `*` or `?`.
    #[arg(long, value_name = "PATTERN")]
    run: Option<String>,
    /// Also name operations, tenants, applications and reasons that no case touches.
    #[arg(long)]
    coverage: bool,
    /// Run them again whenever a file below the paths changes.
    #[arg(long, conflicts_with_all = ["init", "output"])]
    watch: bool,
    /// List the cases that are as expected too.
    #[arg(short, long)]
    verbose: bool,
    /// How to report.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to write the report; default standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a first case file for this configuration, of what it lets through today, to `-o`, beside it or, for a table,
    /// into its directory.
    #[arg(long, value_name = "CONFIG", conflicts_with_all = ["paths", "config", "run", "coverage"])]
    init: Option<PathBuf>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people: what is not as expected, and a summary.
    Text,
    /// One JSON object.
    Json,
    /// JUnit XML, for CI servers.
    Junit,
    /// The Test Anything Protocol.
    Tap,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    if let Some(config) = &arguments.init {
        return init(config, arguments.output.as_deref());
    }
    if arguments.watch {
        let mut watched = arguments.paths.clone();
        watched.extend(arguments.config.clone());
        return watch::watch(&watched, &|| once(arguments, terminal));
    }
    once(arguments, terminal)
}

fn once(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    let mut paths = Vec::new();
    for path in &arguments.paths {
        let mut found = Vec::new();
        find(path, &mut found)?;
        let table = path.is_dir().then(|| path.clone());
        paths.extend(found.into_iter().map(|file| (file, table.clone())));
    }
    if paths.is_empty() {
        return Err(Failure(format!(
            "no case files (`*_test.yaml`) in {}; `scopegate test --init CONFIG` writes a first one",
            arguments
                .paths
                .iter()
                .map(|path| shown(&path.display().to_string()))
                .collect::<Vec<_>>()
                .join(", ")
        )));
    }
    let wanted = arguments.run.as_deref().map(Wanted::new).transpose()?;
    let mut files = Vec::new();
    let mut policies: BTreeMap<String, (Coverage, Vec<Covered>)> = BTreeMap::new();
    let mut configured = Vec::new();
    for (path, table, file) in read_all(&paths)? {
        let config = config_of(&path, table, &file, arguments)?;
        configured.push((path, config, file));
    }
    // Many case files may be for one configuration.
    let mut sources: BTreeMap<&Path, Source> = BTreeMap::new();
    for (_, config, _) in &configured {
        if !sources.contains_key(config.as_path()) {
            sources.insert(config, Source::read(config)?);
        }
    }
    let mut documents = BTreeMap::new();
    for (config, source) in &sources {
        documents.insert(*config, (source.name.as_str(), source.load_whole()?.1));
    }
    progress::doing("running case files", configured.len());
    for (path, config, file) in &configured {
        progress::step();
        let Some((name, document)) = documents.get(config.as_path()) else { continue };
        let mut bench = Bench::new(document, &file.cases)
            .map_err(|errors| Failure(format!("{name} is not a valid configuration\n{errors}")))?;
        let (coverage, covered) = policies.entry((*name).to_owned()).or_default();
        let cases =
            file.cases.iter().filter(|case| wanted.as_ref().is_none_or(|wanted| wanted.has(&case.name)));
        let ran = cases.map(|case| run_case(&mut bench, case, coverage)).collect();
        if let Some(policy) = bench.policy() {
            *covered = coverage.report(policy);
        }
        files.push(RanFile { name: shown(&path.display().to_string()), cases: ran });
    }
    let coverage: Vec<(String, Vec<Covered>)> = match arguments.coverage {
        true => policies.into_iter().map(|(name, (_, covered))| (name, covered)).collect(),
        false => Vec::new(),
    };
    // A file has no colours.
    let terminal = if arguments.output.is_some() { &Terminal::plain() } else { terminal };
    let text = match arguments.format {
        Format::Text => report::text(&files, &coverage, arguments.verbose, terminal),
        Format::Json => report::json(&files, &coverage),
        Format::Junit => report::junit(&files)?,
        Format::Tap => report::tap(&files),
    };
    let yes = files.iter().flat_map(|file| &file.cases).all(Ran::is_good);
    let Some(output) = &arguments.output else { return Ok(CommandOutput { text, notes: Vec::new(), yes }) };
    write(output, &text)?;
    Ok(CommandOutput { text: String::new(), notes: Vec::new(), yes })
}

fn run_case(bench: &mut Bench, case: &case_file::Case, coverage: &mut Coverage) -> Ran {
    #[allow(clippy::disallowed_methods, reason = "the tool is where a clock may be read")]
    let begun = Instant::now();
    let (came, mismatches, steps) = match bench.decide(case) {
        Err(message) => {
            let what = "case".to_owned();
            (None, vec![Mismatch { what, expected: "to be put".to_owned(), found: message }], Vec::new())
        }
        Ok(outcome) => {
            coverage.add(&outcome);
            let mismatches = judge(&case.expected, &outcome);
            let steps = if mismatches.is_empty() { Vec::new() } else { report::steps(&outcome.explanation) };
            (Some((outcome.decision, outcome.reason)), mismatches, steps)
        }
    };
    Ran { name: case.name.clone(), mark: case.mark, came, mismatches, steps, took: begun.elapsed() }
}

/// Whether a file's name is that of a case file.
pub fn is_case_file(path: &Path) -> bool {
    let stem = path.file_stem().and_then(OsStr::to_str);
    is_document(path) && stem.is_some_and(|stem| stem.ends_with("_test"))
}

/// The case files at or below `path`, in the order of their names.
fn find(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in entries(path)? {
        if entry.is_dir() && !is_hidden(&entry) && !leads_back(&entry) {
            find(&entry, found)?;
        } else if is_case_file(&entry) {
            // As the user would write it.
            found.push(entry.strip_prefix(".").map_or(entry.clone(), Path::to_owned));
        }
    }
    Ok(())
}

/// A case file, and the directory that was named, where it was found below one.
type Found = (PathBuf, Option<PathBuf>);

/// All case files, or what is wrong with any of them.
fn read_all(paths: &[Found]) -> Result<Vec<(PathBuf, Option<PathBuf>, CaseFile)>, Failure> {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for (path, table) in paths {
        let source = Source::read(path)?;
        match case_file::read(&source.text()) {
            Ok(file) => files.push((path.clone(), table.clone(), file)),
            Err(errors) => {
                for error in errors.iter() {
                    let place = error.mark.map_or_else(String::new, |mark| format!(":{mark}"));
                    let (error, code) = (shown(&error.to_string()), error.kind.code());
                    faults.push(format!("{}{place}: {error} [{code}]", source.name));
                }
            }
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(Failure(faults.join("\n"))) }
}

/// The configuration that a case file is for.
fn config_of(
    path: &Path,
    table: Option<PathBuf>,
    file: &CaseFile,
    arguments: &Arguments,
) -> Result<PathBuf, Failure> {
    if let Some(config) = &arguments.config {
        return Ok(config.clone());
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    if let Some(config) = &file.config {
        return Ok(directory.join(config));
    }
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let base = stem.strip_suffix("_test").unwrap_or(stem);
    let beside = ["yaml", "yml", "json"].iter().map(|suffix| directory.join(format!("{base}.{suffix}")));
    if let Some(config) = beside.into_iter().find(|config| config.is_file()) {
        let whole = Source::read(&config)?.written().is_ok_and(|documents| documents.iter().any(is_whole));
        if whole {
            return Ok(config);
        }
    }
    // A part of a table: the file of a tenant beside others, or below the directory that was named.
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let directory = table.as_deref().unwrap_or(directory);
    let mut parts = Vec::new();
    crate::source::find(directory, &|path| !is_case_file(path), &mut parts)?;
    if !parts.is_empty() {
        return Ok(directory.to_owned());
    }
    Err(Failure(format!(
        "{}: which configuration is it for? There is no `{base}.yaml` beside it: name one as `config`, or with --config",
        shown(&path.display().to_string())
    )))
}

/// Whether a document is a configuration by itself, and no part of a table.
fn is_whole(document: &Node<'_>) -> bool {
    crate::envoy_file::is_carrier(document)
        || (member(document, "providers").is_some() && member(document, "tenants").is_some())
        || member(document, "compact").is_some()
}

/// Names of cases that are wanted.
enum Wanted {
    Holding(String),
    Matching(glob::Pattern),
}

impl Wanted {
    fn new(text: &str) -> Result<Self, Failure> {
        if !text.contains(['*', '?']) {
            return Ok(Self::Holding(text.to_owned()));
        }
        let pattern = glob::Pattern::new(text);
        pattern.map(Self::Matching).map_err(|error| Failure(format!("--run: {error}")))
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Holding(text) => name.contains(text.as_str()),
            Self::Matching(pattern) => pattern.matches(name),
        }
    }
}

fn init(config: &Path, output: Option<&Path>) -> Result<CommandOutput, Failure> {
    let source = Source::read(config)?;
    let (_, document) = source.load_whole()?;
    let name = config.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let stem = config.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let (name, beside) = match config.is_dir() {
        // Within a table, where `scopegate test DIRECTORY` finds it.
        true => (".", config.join("first_test.yaml")),
        false => (name, config.with_file_name(format!("{stem}_test.yaml"))),
    };
    let output = output.unwrap_or(&beside);
    if output.as_os_str() != "-" && output.exists() {
        let output = shown(&output.display().to_string());
        return Err(Failure(format!("{output} is there already; say another place with -o")));
    }
    let text = first::first(&document, name)?;
    if output.as_os_str() == "-" {
        return Ok(CommandOutput::yes(text));
    }
    write(output, &text)?;
    let output = shown(&output.display().to_string());
    Ok(CommandOutput::yes(format!("wrote {output}; run it with `scopegate test {output}`\n")))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure(format!("cannot write {}: {error}", shown(&path.display().to_string()))))
}
