//! Input of the commands: a file, a table of many files, or what a running Envoy has.
//!
//! Lines of the files of a table are counted through: the second file's first line follows the first one's last. So a mark names a
//! place in one of them, and [`Source::place`] says which.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};

use scopegate::config::document::{BYTE_ORDER_MARK, Mark, Node, Value, parse_json};
use scopegate::config::{self, ConfigError, ConfigErrors, ErrorKind, Loaded, compact};
use sha2::{Digest, Sha256};

use crate::Failure;
use crate::admin;
use crate::config_maps;
use crate::document_text;
use crate::envoy_file::{Configuration, configurations, is_carrier, remark};
use crate::merge::merge;
use crate::progress;
use crate::terminal::shown;
use crate::test::is_case_file;

/// The files, or the running Envoy, that a command reads one configuration from.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Inputs {
    /// The configuration, YAML or JSON: a file, `-`, a file of Envoy's, Istio's or Envoy Gateway's around it, or the files
    /// and directories of one table.
    #[arg(required_unless_present = "admin", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Read what a running Envoy has, by the address of its administration interface.
    #[arg(long, value_name = "URL", conflicts_with = "files")]
    pub admin: Option<String>,
}

impl Inputs {
    /// Reads them as one.
    pub fn read(&self) -> Result<Source, Failure> {
        match &self.admin {
            Some(url) => Source::of_envoy(url),
            None => Source::read_all(&self.files),
        }
    }
}

/// Texts, with their names for messages.
#[derive(Debug)]
pub struct Source {
    /// The name of the whole: the file's, the directory's, or `<stdin>`.
    pub name: String,
    /// At least one.
    files: Vec<InputFile>,
    /// Whether the files are parts of one table.
    is_table: bool,
}

/// One of the texts.
#[derive(Debug)]
struct InputFile {
    name: String,
    text: String,
    is_json: bool,
    /// Whether it is an entry of a ConfigMap, which is a list of tenants.
    is_of_config_map: bool,
    /// How many lines all files before it have.
    lines_before: usize,
}

impl Source {
    /// Reads `path`: a file, the table of a directory, or standard input for `-`.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        Self::read_all(std::slice::from_ref(&path.to_owned()))
    }

    /// Reads `paths` as one: one file as it is, several as the parts of a table.
    pub fn read_all(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut found = Vec::new();
        for path in paths {
            find(path, &|path| !is_case_file(path), &mut found)?;
        }
        // A file that is named and found below a directory, too, is read once.
        let mut seen = std::collections::HashSet::new();
        found.retain(|path| seen.insert(path.clone()));
        let is_table = found.len() > 1 || paths.iter().any(|path| path.is_dir());
        let shown_paths = || paths.iter().map(|path| shown(&path.display().to_string())).collect::<Vec<_>>();
        if found.is_empty() {
            return Err(Failure(format!("no `*.yaml` or `*.json` in {}", shown_paths().join(", "))));
        }
        let mut files = Vec::with_capacity(found.len());
        progress::doing("reading files", found.len());
        for path in &found {
            progress::step();
            let (name, bytes) = read_bytes(path)?;
            let text = String::from_utf8(bytes).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                Failure(format!("{name} is not UTF-8: byte {at} begins no character"))
            })?;
            let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
            let file = InputFile { name, text, is_json, is_of_config_map: false, lines_before: 0 };
            match is_table.then(|| file.entries_of_config_maps()).flatten() {
                Some(entries) => files.extend(entries?),
                None => files.push(file),
            }
        }
        let mut lines = 0;
        for file in &mut files {
            file.lines_before = lines;
            lines += file.text.bytes().filter(|byte| *byte == b'\n').count() + 1;
        }
        let name = match &*files {
            [file] if !is_table => file.name.clone(),
            _ => shown_paths().join(" "),
        };
        Ok(Self { name, files, is_table })
    }

    /// This text of YAML.
    pub fn of_text(name: &str, text: &str) -> Self {
        let (name, text) = (name.to_owned(), text.to_owned());
        let file = InputFile { name, text, is_json: false, is_of_config_map: false, lines_before: 0 };
        Self { name: file.name.clone(), files: vec![file], is_table: false }
    }

    /// Reads what the Envoy at `url` has.
    pub fn of_envoy(url: &str) -> Result<Self, Failure> {
        let text = admin::config_dump(url)?;
        let name = shown(url);
        let file =
            InputFile { name: name.clone(), text, is_json: true, is_of_config_map: false, lines_before: 0 };
        Ok(Self { name, files: vec![file], is_table: false })
    }

    /// The text, of all files one after the other.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        match &*self.files {
            [file] => std::borrow::Cow::Borrowed(&file.text),
            files => files.iter().map(|file| format!("{}\n", file.text)).collect::<String>().into(),
        }
    }

    /// Whether its files are parts of one table.
    pub fn is_table(&self) -> bool {
        self.is_table
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// The file and the place in it that `mark` means: `name:line:column`; the name alone where there is no mark.
    pub fn place(&self, mark: Option<Mark>) -> String {
        match self.locate(mark) {
            (name, Some(mark)) => format!("{name}:{mark}"),
            (name, None) => name.to_owned(),
        }
    }

    /// The file that `mark` means, and the place in it.
    pub fn locate(&self, mark: Option<Mark>) -> (&str, Option<Mark>) {
        let Some(mark) = mark else { return (&self.name, None) };
        let line = usize::try_from(mark.line.get()).unwrap_or(usize::MAX);
        let after = self.files.partition_point(|file| file.lines_before < line);
        let Some(file) = after.checked_sub(1).and_then(|at| self.files.get(at)) else {
            return (&self.name, Some(mark));
        };
        let column = usize::try_from(mark.column.get()).unwrap_or(usize::MAX);
        (&file.name, Some(Mark::new(line - file.lines_before, column)))
    }

    /// The document of each file as it is written, with marks that [`Self::place`] understands.
    pub fn written(&self) -> Result<Vec<Node<'_>>, ConfigErrors> {
        let mut documents = Vec::new();
        progress::doing("parsing files", self.files.len());
        for file in &self.files {
            progress::step();
            let parsed = file.parse();
            let shift = |mark: Mark| shifted(mark, file.lines_before);
            match parsed {
                Ok(nodes) => {
                    for mut node in nodes {
                        if file.lines_before > 0 {
                            remark(&mut node, &|mark| mark.map(shift));
                        }
                        documents.push(node);
                    }
                }
                Err(error) => {
                    let mark = error.mark.map(shift).or_else(|| {
                        (self.files.len() > 1).then(|| shifted(Mark::new(1, 1), file.lines_before))
                    });
                    return Err(ConfigError { mark, ..error }.into());
                }
            }
        }
        Ok(documents)
    }

    /// The configurations in it, perhaps none: the file itself, the table, or those that something carries. With lines and
    /// columns.
    ///
    /// JSON is read as the filter reads it; by way of the YAML that it also is where that says the same, for
    /// lines and columns.
    pub fn configurations(&self) -> Result<Vec<Configuration<'_>>, ConfigErrors> {
        let mut documents = self.written()?;
        let is_carried = documents.iter().any(is_carrier) && !self.is_table;
        if is_carried {
            let text = self.text();
            let mut found: Vec<Configuration<'_>> = Vec::new();
            for document in &documents {
                config::check_repeated_keys(document)?;
                for configuration in configurations(document, &text)? {
                    // A dump of Envoy's has its bootstrap twice.
                    let is_known = is_dump(document)
                        && found.iter().any(|known| {
                            same(&known.node.value, &configuration.node.value)
                                && known.text == configuration.text
                        });
                    if !is_known {
                        found.push(configuration);
                    }
                }
            }
            return found.into_iter().map(Configuration::unpacked).collect();
        }
        if self.is_table {
            let place = |mark: Option<Mark>| self.place(mark);
            let node = merge(documents, &place)?;
            return Ok(vec![Configuration { node, text: None, is_struct: false }]);
        }
        if documents.len() > 1 {
            let mark = documents.get(1).and_then(Node::mark);
            return Err(error(mark, "there is more than one document"));
        }
        let node = documents.pop().ok_or_else(|| error(None, "the document is empty"))?;
        let text = self.files.first().filter(|file| file.is_json).map(|file| file.text.clone());
        Configuration { node, text, is_struct: false }.unpacked().map(|configuration| vec![configuration])
    }

    /// The one configuration that it holds.
    pub fn configuration(&self) -> Result<Configuration<'_>, ConfigErrors> {
        let mut configurations = self.configurations()?;
        match (configurations.pop(), configurations.pop()) {
            (Some(configuration), None) => Ok(configuration),
            (None, _) => Err(error(None, NO_CONFIGURATION)),
            (Some(second), Some(_)) => Err(error(
                second.node.mark(),
                "it holds several configurations of a filter `scopegate`, and one is needed here",
            )),
        }
    }

    /// The one configuration, valid.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        self.load_with_document().map(|(loaded, _)| loaded)
    }

    fn load_with_document(&self) -> Result<(Loaded, Node<'_>), ConfigErrors> {
        let configuration = self.configuration()?;
        progress::doing("checking", 0);
        let mut loaded = config::from_document(&configuration.node)?;
        let digest = configuration.digest();
        loaded.policy.short_digest = digest.chars().take(16).collect::<String>().into();
        Ok((loaded, configuration.node))
    }

    /// The configuration with its document, for commands that need a valid one.
    pub fn load_whole(&self) -> Result<(Loaded, Node<'_>), Failure> {
        self.load_with_document().map_err(|errors| self.not_valid(&errors))
    }

    /// The configuration, for commands that need a valid one.
    pub fn load_valid(&self) -> Result<Loaded, Failure> {
        self.load().map_err(|errors| self.not_valid(&errors))
    }

    fn not_valid(&self, errors: &ConfigErrors) -> Failure {
        let mut message = format!("{} is not a valid configuration", self.name);
        for error in errors.iter() {
            let (place, code) = (self.place(error.mark), error.kind.code());
            message.push_str(&format!("\n{place}: {} [{code}]", shown(&error.to_string())));
        }
        if errors.omitted() > 0 {
            message.push_str(&format!("\nand {} more", errors.omitted()));
        }
        Failure(message)
    }
}

impl InputFile {
    /// The entries of the ConfigMaps in it, where it is a file of some; one that is empty where they have none.
    fn entries_of_config_maps(&self) -> Option<Result<Vec<Self>, Failure>> {
        // What cannot be read is reported when the table is.
        let documents = self.text.contains("apiVersion").then(|| self.parse().ok())??;
        let failed = |error: &dyn Display| Failure(format!("{}: {}", self.name, shown(&error.to_string())));
        let entries = match config_maps::entries(&documents)? {
            Ok(entries) => entries,
            Err(error) => return Some(Err(failed(&error))),
        };
        if let Err(error) = documents.iter().try_for_each(config::check_repeated_keys) {
            return Some(Err(failed(&error)));
        }
        let file = |name: String, text: String| Self {
            name,
            text,
            is_json: false,
            is_of_config_map: true,
            lines_before: 0,
        };
        if entries.is_empty() {
            return Some(Ok(vec![file(self.name.clone(), String::new())]));
        }
        let name = |entry: &str| format!("{}, {}", self.name, shown(entry));
        Some(Ok(entries.into_iter().map(|entry| file(name(&entry.name), entry.text)).collect()))
    }

    /// The documents in it.
    fn parse(&self) -> Result<Vec<Node<'_>>, ConfigError> {
        if self.is_of_config_map {
            let is_empty = self.text.trim().is_empty();
            let documents = if is_empty { Vec::new() } else { config::read_yaml_stream(&self.text)? };
            return config_maps::part(documents).map(|part| vec![part]);
        }
        if !self.is_json {
            return config::read_yaml_stream(&self.text);
        }
        let json = parse_json(self.text.as_bytes())?;
        // A dump of Envoy's or a compact form has no lines that anybody reads.
        if compact::is_compact(&json) || self.text.len() > MOST_WITH_MARKS {
            return Ok(vec![json]);
        }
        Ok(vec![match config::read_yaml(&self.text) {
            Ok(yaml) if same(&yaml.value, &json.value) => yaml,
            Ok(_) | Err(_) => json,
        }])
    }
}

/// JSON that is longer is read without lines and columns, which takes a second reader.
const MOST_WITH_MARKS: usize = 8 << 20;

/// Whether both say the same.
pub fn same(one: &Value<'_>, other: &Value<'_>) -> bool {
    match (one, other) {
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| same(&one.value, &other.value))
        }
        (Value::Map(one), Value::Map(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| one.key == other.key && same(&one.node.value, &other.node.value))
        }
        (one, other) => one == other,
    }
}

/// Whether it is a dump of a running Envoy.
fn is_dump(document: &Node<'_>) -> bool {
    crate::envoy_file::member(document, "configs").is_some()
}

fn shifted(mark: Mark, lines: usize) -> Mark {
    let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Mark::new(number(mark.line.get()).saturating_add(lines), number(mark.column.get()))
}

/// The digest by which the filter's logs name a configuration that is handed over as `text`.
pub fn digest(text: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(text))
}

impl Configuration<'_> {
    /// The digest that the filter logs: of the text that it gets, which for what is not deployed yet is what `bundle` and
    /// `render` write.
    pub fn digest(&self) -> String {
        match &self.text {
            Some(text) => digest(text.as_bytes()),
            None => digest(document_text::json(&self.node.value).as_bytes()),
        }
    }

    /// What it holds, where it is in the compact form.
    fn unpacked(self) -> Result<Self, ConfigErrors> {
        let at = self.node.mark();
        let marked = |errors: ConfigErrors| errors.at(at);
        let Some(json) = compact::unpack(&self.node).map_err(marked)? else { return Ok(self) };
        let mut node = crate::envoy_file::owned(&compact::parse_unpacked(&json).map_err(marked)?);
        // Nobody reads the lines of what is packed: what is told of it stands where it begins.
        remark(&mut node, &|_| at);
        Ok(Configuration { node, text: String::from_utf8(json).ok(), is_struct: self.is_struct })
    }
}

/// For an Envoy file that gets the filter's configuration from elsewhere, such as a discovery service.
pub const NO_CONFIGURATION: &str = "the Envoy file holds no configuration of a filter `scopegate`";

fn error(mark: Option<Mark>, message: &str) -> ConfigErrors {
    let kind = ErrorKind::NotOneDocument;
    ConfigError { kind, path: String::new(), mark, message: message.to_owned() }.into()
}

/// The files that `path` stands for: itself, what a pattern matches, or the `*.yaml`, `*.yml` and `*.json` below a directory
/// in the order of their names, of those that are wanted. What begins with a dot is left out.
pub fn find(path: &Path, is_wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let text = path.to_string_lossy();
    if text != "-" && text.contains(['*', '?', '[']) && !path.exists() {
        let failed = |error: String| Failure(format!("{}: {error}", shown(&text)));
        let before = found.len();
        for entry in glob::glob(&text).map_err(|error| failed(error.to_string()))? {
            let entry = entry.map_err(|error| failed(error.to_string()))?;
            if is_wanted(&entry) {
                find(&entry, is_wanted, found)?;
            }
        }
        if found.len() == before {
            return Err(failed("matches no file".to_owned()));
        }
        return Ok(());
    }
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in entries(path)? {
        if is_hidden(&entry) || leads_back(&entry) {
            continue;
        }
        if entry.is_dir() {
            find(&entry, is_wanted, found)?;
        } else if is_document(&entry) && is_wanted(&entry) {
            found.push(entry);
        }
    }
    Ok(())
}

/// What is in a directory, in the order of the names.
pub fn entries(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure(format!("cannot read {}: {error}", shown(&directory.display().to_string())));
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    entries.sort();
    Ok(entries)
}

/// Whether it is a link to a directory above it, below which everything would be found again.
pub fn leads_back(path: &Path) -> bool {
    let is_above = |target: PathBuf| {
        path.parent().and_then(|parent| parent.canonicalize().ok()).is_some_and(|at| at.starts_with(target))
    };
    path.is_symlink() && path.canonicalize().is_ok_and(is_above)
}

/// Whether a name begins with a dot.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with('.'))
}

/// Whether a name ends as that of a YAML or JSON file.
pub fn is_document(path: &Path) -> bool {
    path.extension()
        .and_then(OsStr::to_str)
        .is_some_and(|suffix| ["yaml", "yml", "json"].iter().any(|known| suffix.eq_ignore_ascii_case(known)))
}

/// The name for messages and the bytes of `path`, or of standard input for `-`.
pub fn read_bytes(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    // Larger than a configuration of ten thousand tenants. Limits what a mistaken path can cost.
    const MAX_BYTES: u64 = 256 << 20;
    let is_standard_input = path.as_os_str() == "-";
    let name = if is_standard_input { "<stdin>".to_owned() } else { shown(&path.display().to_string()) };
    let mut bytes = Vec::new();
    let read = if is_standard_input {
        std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure(format!("{name} is larger than {} MiB", MAX_BYTES >> 20)));
    }
    // Some editors write a byte order mark, which readers may ignore (RFC 8259 section 8.1).
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok((name, bytes))
}
