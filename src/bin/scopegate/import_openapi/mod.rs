//! `scopegate import-openapi`: suites and operations from an OpenAPI 3.0 or 3.1 document.
//!
//! A security requirement that `requires` cannot express is made stricter, or the operation is closed, with a
//! comment and a warning. Nothing is ever made looser. An operation whose path no pattern can express is left
//! out, along with those that its requests would match instead, unless they require the same.

mod security;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use scopegate::config::document::{Node, Value, parse_json};
use scopegate::config::parse_yaml_document;
use scopegate::ids::OperationId;
use scopegate::route::{
    HostPattern, Lookup, OperationIndex, PathPattern, Route, canonicalize, normalize_host,
};

use self::security::{Access, Schemes, SecurityReading};
use crate::document_text::{list, map, string, yaml};
use crate::source::Source;
use crate::terminal::shown;
use crate::{CommandOutput, Failure};

/// Write suites and operations for an OpenAPI 3.0 or 3.1 document.
///
/// Tags become suites, security requirements become `requires`. What `requires` cannot express is made
/// stricter or refused to everybody, with a comment and a warning; nothing is made looser. The output is a
/// part of a configuration: `suites`, and a template that declares the scopes.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 imported, 1 warnings with --deny-warnings, 2 there is nothing to import.

Examples:
  scopegate import-openapi petstore.yaml > suites.yaml
  scopegate import-openapi api.json --scheme oauth2 --checked-elsewhere api_key
  curl -s https://api.example.com/openapi.json | scopegate import-openapi - --tenant-parameter org")]
pub struct Arguments {
    /// The document, YAML or JSON.
    spec: PathBuf,
    /// A security scheme whose access tokens come to this gateway; repeatable, for schemes of one issuer.
    /// Needed where the document uses several.
    #[arg(long = "scheme", value_name = "NAME")]
    schemes: Vec<String>,
    /// A security scheme that something else checks, such as an API key; repeatable.
    #[arg(long = "checked-elsewhere", value_name = "NAME")]
    checked_elsewhere: Vec<String>,
    /// What to do with operations for which the document says nothing of security.
    #[arg(long, value_enum, default_value = "refused", value_name = "ACCESS")]
    unspecified: Unspecified,
    /// The path parameter that names the tenant.
    #[arg(long, value_name = "NAME")]
    tenant_parameter: Option<String>,
    /// The suite of operations without a tag.
    #[arg(long, value_name = "NAME", default_value = "api")]
    suite: String,
    /// Restrict the suites to the hosts of the document's servers.
    #[arg(long)]
    hosts: bool,
    /// Exit with 1 where there are warnings.
    #[arg(long)]
    deny_warnings: bool,
}

/// `--unspecified`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Unspecified {
    /// They are refused to everybody.
    Refused,
    /// They ask for a token and a tenant.
    Authenticated,
    /// They ask for nothing.
    Public,
}

/// The imported document.
#[derive(Debug)]
struct Imported {
    text: String,
    warnings: Vec<String>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<CommandOutput, Failure> {
    let source = Source::read(&arguments.spec)?;
    let imported = import(&source.text(), arguments)
        .map_err(|message| Failure(format!("{}: {message}", source.name)))?;
    let notes: Vec<String> = grouped(&imported.warnings)
        .iter()
        .map(|warning| format!("{}: warning: {}", source.name, shown(warning)))
        .collect();
    let yes = !arguments.deny_warnings || notes.is_empty();
    Ok(CommandOutput { text: imported.text, notes, yes })
}

/// So many warnings of one kind are told one by one; of more, the first and how many there are.
const FEW: usize = 3;

/// Warnings in their order, those of one kind together, with a total where there are many.
fn grouped(warnings: &[String]) -> Vec<String> {
    let kind = |warning: &str| warning.split_once(": ").map_or(warning, |(_, kind)| kind).to_owned();
    let mut kinds: Vec<(String, Vec<&String>)> = Vec::new();
    for warning in warnings {
        let kind = kind(warning);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, members)) => members.push(warning),
            None => kinds.push((kind, vec![warning])),
        }
    }
    let mut lines = Vec::new();
    for (kind, members) in &kinds {
        if members.len() <= FEW {
            lines.extend(members.iter().map(|warning| (*warning).clone()));
            continue;
        }
        let places = members.iter().take(FEW).filter_map(|warning| Some(warning.split_once(": ")?.0));
        let places: Vec<&str> = places.collect();
        lines.push(format!("{} operations ({}, …): {kind}", members.len(), places.join("; ")));
    }
    if warnings.len() > FEW && lines.len() < warnings.len() {
        lines.push(format!("{} warnings of {} kinds", warnings.len(), kinds.len()));
    }
    lines
}

fn import(text: &str, arguments: &Arguments) -> Result<Imported, String> {
    // JSON is YAML too, but not the other way round, and is read without bounds on what YAML allows.
    let document = match parse_json(text.as_bytes()) {
        Ok(document) => document,
        Err(error) if text.trim_start().starts_with('{') => return Err(error.message),
        Err(_) => parse_yaml_document(text).map_err(|errors| errors.to_string())?,
    };
    if let Some(swagger) = member(&document.value, "swagger") {
        let version = self::text(swagger).unwrap_or("2.0");
        return Err(format!(
            "Swagger {version} is not supported: convert the document to OpenAPI 3 first, for example with \
             `swagger2openapi`"
        ));
    }
    let version = text_at(&document.value, "openapi").ok_or("no OpenAPI document: it has no `openapi`")?;
    if !version.starts_with("3.0") && !version.starts_with("3.1") {
        return Err(format!("OpenAPI {version} is not supported; 3.0 and 3.1 are"));
    }
    let schemes = Schemes::of(&document.value, &arguments.schemes, &arguments.checked_elsewhere)?;
    let mut importer = Importer {
        document: &document.value,
        arguments,
        schemes,
        suites: Vec::new(),
        routes: Vec::new(),
        names: HashSet::new(),
        warnings: Vec::new(),
        left_out: Vec::new(),
    };
    importer.paths();
    importer.drop_conflicts();
    Ok(importer.finish())
}

struct Importer<'d> {
    document: &'d Value<'d>,
    arguments: &'d Arguments,
    schemes: Schemes<'d>,
    /// In the order in which their tags are met.
    suites: Vec<ImportedSuite>,
    routes: Vec<Route>,
    /// Suite and operation names that are taken.
    names: HashSet<(String, String)>,
    warnings: Vec<String>,
    left_out: Vec<LeftOut>,
}

/// An operation that is not there, and what its requests look like.
struct LeftOut {
    line: String,
    method: &'static str,
    /// Paths of such requests; none where they are not known.
    samples: Vec<String>,
    hosts: BTreeSet<String>,
    access: Access,
}

struct ImportedSuite {
    name: String,
    hosts: BTreeSet<String>,
    operations: Vec<ImportedOperation>,
}

struct ImportedOperation {
    /// By its place in the routes; none that is dropped.
    id: OperationId,
    /// The name in the document, for messages.
    title: String,
    comments: Vec<String>,
    name: String,
    path: String,
    method: &'static str,
    access: Access,
}

const METHODS: [(&str, &str); 8] = [
    ("get", "GET"),
    ("put", "PUT"),
    ("post", "POST"),
    ("delete", "DELETE"),
    ("options", "OPTIONS"),
    ("head", "HEAD"),
    ("patch", "PATCH"),
    ("trace", "TRACE"),
];

impl<'d> Importer<'d> {
    fn paths(&mut self) {
        let Some(Value::Map(paths)) = member(self.document, "paths") else {
            self.warn("the document has no `paths`".to_owned());
            return;
        };
        for path in paths.iter().filter(|path| !path.key.starts_with("x-")) {
            let Some(item) = self.resolved(&path.node.value) else {
                let why = "its `$ref` leads to nothing within the document";
                // Of whatever method it has.
                for (_, method) in METHODS {
                    self.leave_out(
                        &path.key,
                        why,
                        method,
                        vec![sample(&path.key)],
                        BTreeSet::new(),
                        Access::Undecided,
                    );
                }
                continue;
            };
            for (key, method) in METHODS {
                if let Some(operation) = member(item, key) {
                    self.operation(&path.key, item, method, operation);
                }
            }
        }
    }

    /// A path item, or what its `$ref` within the document leads to.
    fn resolved(&self, item: &'d Value<'d>) -> Option<&'d Value<'d>> {
        let mut item = item;
        // As many steps as anybody writes; a circle ends here.
        for _ in 0..8 {
            let Some(reference) = text_at(item, "$ref") else { return Some(item) };
            item = reference.strip_prefix("#/")?.split('/').try_fold(self.document, |value, step| {
                member(value, &step.replace("~1", "/").replace("~0", "~"))
            })?;
        }
        None
    }

    fn operation(&mut self, path: &str, item: &'d Value<'d>, method: &'static str, operation: &'d Value<'d>) {
        let title = format!("{method} {path}");
        let security = member(operation, "security").or_else(|| member(self.document, "security"));
        let (access, comments) = self.access(security);
        for comment in &comments {
            self.warnings.push(format!("{title}: {comment}"));
        }
        let servers = member(operation, "servers")
            .or_else(|| member(item, "servers"))
            .or_else(|| member(self.document, "servers"));
        let (bases, hosts) = match servers_of(servers) {
            Ok(found) => found,
            Err(why) => return self.leave_out(&title, &why, method, Vec::new(), BTreeSet::new(), access),
        };
        let template = match self.template(path) {
            Ok(template) => template,
            Err(why) => {
                let samples = bases.iter().map(|base| sample(&format!("{base}{path}"))).collect();
                return self.leave_out(&title, &why, method, samples, hosts, access);
            }
        };
        let suite = member(operation, "tags").and_then(first_text).unwrap_or(&self.arguments.suite);
        let suite = printable(&suite.replace('/', "-"));
        let suite = if suite.is_empty() { self.arguments.suite.clone() } else { suite };
        let id = text_at(operation, "operationId").map(printable).filter(|id| !id.is_empty());
        let name = id.unwrap_or_else(|| printable(&format!("{} {path}", method.to_ascii_lowercase())));
        for base in &bases {
            let full = format!("{base}{template}");
            let pattern = match PathPattern::parse(&full) {
                Ok(pattern) => pattern,
                Err(error) => {
                    let title = format!("{method} {full}");
                    self.leave_out(
                        &title,
                        &error.to_string(),
                        method,
                        vec![sample(&full)],
                        hosts.clone(),
                        access.clone(),
                    );
                    continue;
                }
            };
            let id = OperationId(u32::try_from(self.routes.len()).unwrap_or(u32::MAX));
            let patterns = self.hosts(&hosts);
            self.routes.push(Route {
                operation: id,
                hosts: patterns,
                path: pattern,
                methods: Some(vec![method.into()]),
                headers: Vec::new(),
            });
            let imported = ImportedOperation {
                id,
                title: title.clone(),
                comments: comments.clone(),
                name: self.free_name(&suite, &name),
                path: full,
                method,
                access: access.clone(),
            };
            self.suite(&suite, &hosts).operations.push(imported);
        }
    }

    /// What `security` asks for, with comments where that is more than the document asks for.
    fn access(&self, security: Option<&Value<'_>>) -> (Access, Vec<String>) {
        match self.schemes.read(security) {
            SecurityReading::Access(access, comments) => (access, comments),
            SecurityReading::Inexpressible(why) => {
                (Access::Undecided, vec![format!("refused to everybody: {why}")])
            }
            SecurityReading::Unspecified => match self.arguments.unspecified {
                Unspecified::Refused => {
                    let why =
                        "refused to everybody: the document does not say who may call it (see --unspecified)";
                    (Access::Undecided, vec![why.to_owned()])
                }
                Unspecified::Authenticated => (Access::Authenticated, Vec::new()),
                Unspecified::Public => (Access::Public, Vec::new()),
            },
        }
    }

    /// The path with placeholders as a pattern has them: of whole segments, each name once, `{tenant}` only
    /// for the tenant.
    fn template(&mut self, path: &str) -> Result<String, String> {
        let Some(rest) = path.strip_prefix('/') else {
            return Err("its path does not begin with a slash".to_owned());
        };
        let mut names = HashSet::new();
        let mut template = String::new();
        for segment in rest.split('/') {
            template.push('/');
            match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
                None if segment.contains(['{', '}']) => {
                    return Err(format!("a parameter is a part only of the segment `{segment}`"));
                }
                None if segment.contains('*') => return Err(format!("`*` in the segment `{segment}`")),
                None => template.push_str(segment),
                Some(parameter) if self.arguments.tenant_parameter.as_deref() == Some(parameter) => {
                    template.push_str("{tenant}");
                }
                Some(parameter) => {
                    let mut name: String = parameter
                        .chars()
                        .map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' })
                        .collect();
                    if name.is_empty() || name == "tenant" {
                        name = format!("{name}_");
                    }
                    while !names.insert(name.clone()) {
                        name.push('_');
                    }
                    template.push_str(&format!("{{{name}}}"));
                }
            }
        }
        Ok(template)
    }

    fn hosts(&self, hosts: &BTreeSet<String>) -> Vec<HostPattern> {
        let restricted = self.arguments.hosts;
        hosts.iter().filter(|_| restricted).filter_map(|host| HostPattern::parse(host).ok()).collect()
    }

    /// The suite of this name and, where hosts count, of these hosts.
    fn suite(&mut self, name: &str, hosts: &BTreeSet<String>) -> &mut ImportedSuite {
        let hosts = if self.arguments.hosts { hosts.clone() } else { BTreeSet::new() };
        let place = match self.suites.iter().position(|suite| suite.name == name && suite.hosts == hosts) {
            Some(place) => place,
            None => {
                self.suites.push(ImportedSuite { name: name.to_owned(), hosts, operations: Vec::new() });
                self.suites.len() - 1
            }
        };
        // The place was found, or made, above.
        #[allow(clippy::indexing_slicing, reason = "the place was found, or made, just before")]
        &mut self.suites[place]
    }

    fn free_name(&mut self, suite: &str, name: &str) -> String {
        let mut free = name.to_owned();
        let mut number = 1;
        while !self.names.insert((suite.to_owned(), free.clone())) {
            number += 1;
            free = format!("{name}-{number}");
        }
        free
    }

    /// Leaves out the second of two operations that could both match a request, and every operation that
    /// would take the requests of one that is left out and asks for something else.
    fn drop_conflicts(&mut self) {
        loop {
            let dropped = match OperationIndex::build(self.routes.clone()) {
                Err(conflicts) => conflicts
                    .into_iter()
                    .map(|conflict| {
                        let first =
                            self.find(conflict.first).map(|first| first.title.clone()).unwrap_or_default();
                        (conflict.second, format!("a request could match `{first}` just as well"))
                    })
                    .collect(),
                Ok(index) => self.covering(&index),
            };
            if dropped.is_empty() {
                return;
            }
            for (id, why) in dropped {
                self.drop(id, &why);
            }
        }
    }

    /// Operations that would take the requests of one that is left out, and ask for something else.
    fn covering(&self, index: &OperationIndex) -> BTreeMap<OperationId, String> {
        let mut covering = BTreeMap::new();
        for left_out in &self.left_out {
            let hosts: Vec<Option<&str>> = match (self.arguments.hosts, left_out.hosts.is_empty()) {
                (true, false) => left_out.hosts.iter().map(|host| Some(host.as_str())).collect(),
                (true, true) | (false, _) => vec![None],
            };
            for sample in &left_out.samples {
                let Ok(path) = canonicalize(sample.as_bytes()) else { continue };
                for host in &hosts {
                    let host = host.and_then(|host| normalize_host(host.as_bytes()));
                    let lookup = index.find(host.as_deref(), &path, left_out.method.as_bytes(), &[]);
                    let Lookup::Matched { operation, .. } = lookup else { continue };
                    let asks_for = self.find(operation).map(|found| &found.access);
                    if asks_for != Some(&left_out.access) && asks_for != Some(&Access::Undecided) {
                        covering.insert(
                            operation,
                            format!("it would take the requests of what is left out: {}", left_out.line),
                        );
                    }
                }
            }
        }
        covering
    }

    fn find(&self, id: OperationId) -> Option<&ImportedOperation> {
        self.suites.iter().flat_map(|suite| &suite.operations).find(|operation| operation.id == id)
    }

    fn drop(&mut self, id: OperationId, why: &str) {
        self.routes.retain(|route| route.operation != id);
        for suite in &mut self.suites {
            if let Some(place) = suite.operations.iter().position(|operation| operation.id == id) {
                let gone = suite.operations.remove(place);
                let hosts = suite.hosts.clone();
                self.leave_out(&gone.title, why, gone.method, vec![sample(&gone.path)], hosts, gone.access);
                return;
            }
        }
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    fn leave_out(
        &mut self,
        title: &str,
        why: &str,
        method: &'static str,
        samples: Vec<String>,
        hosts: BTreeSet<String>,
        access: Access,
    ) {
        let line = format!("{title}: left out: {why}");
        self.warn(line.clone());
        self.left_out.push(LeftOut { line, method, samples, hosts, access });
    }

    fn finish(self) -> Imported {
        let title = member(self.document, "info")
            .and_then(|info| text_at(info, "title"))
            .unwrap_or("an untitled API");
        let version =
            member(self.document, "info").and_then(|info| text_at(info, "version")).unwrap_or("unknown");
        let mut text = comment("", &format!("From the OpenAPI document of {title}, version {version}."));
        if !self.left_out.is_empty() {
            text.push_str("#\n# Not mapped, and so refused:\n");
            let lines: BTreeSet<&str> = self.left_out.iter().map(|left_out| left_out.line.as_str()).collect();
            lines.iter().for_each(|line| text.push_str(&comment("", &format!("- {line}"))));
        }
        let mut operations = self.suites.iter().flat_map(|suite| &suite.operations);
        if operations.any(|operation| operation.access == Access::Undecided) {
            text.push_str(
                "#\n# `access: undecided` is closed to everybody: say `requires`, or another `access`, in its place.\n",
            );
        }
        let scopes = self.used_scopes();
        if !scopes.is_empty() {
            text.push_str("\ntenant_templates:\n  imported:\n    scopes:\n");
            for (scope, description) in scopes {
                let mut members = vec![("name", string(scope))];
                if let Some(description) = description {
                    members.push(("description", string(printable(&description))));
                }
                text.push_str(&indented(&yaml(&list([map(members)])), "      "));
            }
        }
        text.push_str("\nsuites:\n");
        let suites: Vec<&ImportedSuite> =
            self.suites.iter().filter(|suite| !suite.operations.is_empty()).collect();
        if suites.is_empty() {
            text = text.trim_end().to_owned() + " []\n";
        }
        let mut taken: HashMap<&str, usize> = HashMap::new();
        for suite in suites {
            // One tag may have operations on several sets of hosts, which are suites of their own.
            let number = taken.entry(&suite.name).and_modify(|number| *number += 1).or_insert(1);
            let name = if *number > 1 { format!("{}-{number}", suite.name) } else { suite.name.clone() };
            text.push_str(&indented(&yaml(&list([map([("name", string(name))])])), "  "));
            if !suite.hosts.is_empty() {
                let hosts = list(suite.hosts.iter().map(|host| string(host.as_str())));
                text.push_str(&indented(&yaml(&map([("hosts", hosts)])), "    "));
            }
            text.push_str("    operations:\n");
            suite.operations.iter().for_each(|operation| text.push_str(&operation.text()));
        }
        Imported { text: normalized_suite_heads(&text), warnings: self.warnings }
    }

    /// The scopes that operations require, with their descriptions.
    fn used_scopes(&self) -> BTreeMap<String, Option<String>> {
        let operations = self.suites.iter().flat_map(|suite| &suite.operations);
        let used: BTreeSet<&String> = operations.flat_map(|operation| operation.access.scopes()).collect();
        used.into_iter().map(|scope| (scope.clone(), self.schemes.description(scope))).collect()
    }
}

impl ImportedOperation {
    fn text(&self) -> String {
        let mut text: String = self.comments.iter().map(|line| comment("      ", line)).collect();
        let mut members = vec![
            ("name", string(self.name.as_str())),
            ("path", string(self.path.as_str())),
            ("methods", list([string(self.method)])),
        ];
        members.extend(self.access.members());
        text.push_str(&indented(&yaml(&list([map(members)])), "      "));
        text
    }
}

/// `- {name: x}` of a suite that has more members than that, spread over lines.
fn normalized_suite_heads(text: &str) -> String {
    text.lines()
        .map(|line| match line.strip_prefix("  - {name: ").and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => format!("  - name: {name}\n"),
            None => format!("{line}\n"),
        })
        .collect()
}

/// Text as a comment of one line.
fn comment(indentation: &str, text: &str) -> String {
    format!("{indentation}# {}\n", printable(text))
}

/// A path that a template stands for.
fn sample(template: &str) -> String {
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        path.push_str(before);
        path.push_str("x0x");
        rest = behind.split_once('}').map_or("", |(_, behind)| behind);
    }
    path + rest
}

/// `text` on one line, without control characters.
fn printable(text: &str) -> String {
    shown(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn indented(text: &str, indentation: &str) -> String {
    text.lines().map(|line| format!("{indentation}{line}\n")).collect()
}

/// Base paths and hosts of a list of servers; without any, the root of any host.
fn servers_of(servers: Option<&Value<'_>>) -> Result<(Vec<String>, BTreeSet<String>), String> {
    let mut bases: Vec<String> = Vec::new();
    let mut hosts = BTreeSet::new();
    for server in items(servers) {
        let Some(url) = text_at(&server.value, "url") else { continue };
        for url in substituted(url, member(&server.value, "variables"))? {
            let (host, path) = match url.split_once("://") {
                Some((_, rest)) => match rest.find('/') {
                    Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
                    None => (rest, ""),
                },
                None if url.starts_with('/') => ("", url.as_str()),
                None => {
                    return Err(format!("its server `{url}` is neither absolute nor begins with a slash"));
                }
            };
            if path.contains(['?', '#']) {
                return Err(format!("its server `{url}` has a query or a fragment"));
            }
            let base = path.trim_end_matches('/').to_owned();
            if !bases.contains(&base) {
                bases.push(base);
            }
            if !host.is_empty() {
                hosts.insert(host.to_owned());
            }
        }
    }
    if bases.is_empty() {
        bases.push(String::new());
    }
    Ok((bases, hosts))
}

/// A server's URL with each of the values that its variables may have; a host's variables by their defaults.
fn substituted(url: &str, variables: Option<&Value<'_>>) -> Result<Vec<String>, String> {
    // More than that is no list of servers.
    const MAX_URLS: usize = 64;
    let mut urls = vec![url.to_owned()];
    let Some(Value::Map(variables)) = variables else {
        return if url.contains('{') {
            Err(format!("its server `{url}` has a variable that is not declared"))
        } else {
            Ok(urls)
        };
    };
    for variable in variables {
        let placeholder = format!("{{{}}}", variable.key);
        let mut values: Vec<&str> =
            items(member(&variable.node.value, "enum")).filter_map(|item| text(&item.value)).collect();
        if values.is_empty() {
            values.extend(text_at(&variable.node.value, "default"));
        }
        urls = urls
            .iter()
            .flat_map(|url| match url.contains(&placeholder) {
                true => values.iter().map(|value| url.replace(&placeholder, value)).collect(),
                false => vec![url.clone()],
            })
            .collect();
        if urls.len() > MAX_URLS {
            return Err("its servers' variables have too many values".to_owned());
        }
    }
    match urls.iter().find(|url| url.contains('{')) {
        Some(url) => Err(format!("its server `{url}` has a variable that is not declared")),
        None => Ok(urls),
    }
}

fn member<'v, 'd>(value: &'v Value<'d>, key: &str) -> Option<&'v Value<'d>> {
    match value {
        Value::Map(members) => {
            members.iter().find(|member| member.key == key).map(|member| &member.node.value)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::List(_) => None,
    }
}

fn text<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => None,
    }
}

fn text_at<'v>(value: &'v Value<'_>, key: &str) -> Option<&'v str> {
    text(member(value, key)?)
}

fn items<'v, 'd>(value: Option<&'v Value<'d>>) -> impl Iterator<Item = &'v Node<'d>> {
    let items = match value {
        Some(Value::List(items)) => items.as_slice(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Map(_)) | None => {
            &[]
        }
    };
    items.iter()
}

fn first_text<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    items(Some(value)).find_map(|item| text(&item.value))
}
