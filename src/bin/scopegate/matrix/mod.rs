//! `scopegate matrix`: who can call what.

mod page;

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use scopegate::authorize::scope::is_assigned;
use scopegate::authorize::{Application, Enforcement, Operation, ScopeKind, Tenant};
use scopegate::ids::OperationId;
use scopegate::policy::Policy;
use scopegate::policy::reach::{Holder, Reach};
use scopegate::respond::Reason;

use crate::catalog::{callers, operation_name, operations, request_text, requirement_text};
use crate::kin;
use crate::progress;
use crate::source::{Inputs, Source};
use crate::terminal::{Style, Terminal, shown};
use crate::{CommandOutput, Failure};

/// Show who can call what: each tenant's applications and scopes against all operations.
///
/// An application counts with a token that carries every scope assigned to it, a scope with a token that
/// carries it alone, of an application that is assigned it. An operation that no token and request of theirs
/// can pass counts as refused. A GLOB is a name, with `*` and `?` for any characters.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 shown, 2 there is no answer.

Examples:
  scopegate matrix gateway.yaml --tenant acme
  scopegate matrix gateway/ --tenant 'acme*' --client '*-sync' --suite books
  scopegate matrix gateway.yaml --operation 'books/*' --format csv -o matrix.csv
  scopegate matrix gateway.yaml --format html -o matrix.html && xdg-open matrix.html")]
pub struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// Tenants to show, by id or alias; repeatable; default all.
    #[arg(long = "tenant", value_name = "GLOB")]
    tenants: Vec<String>,
    /// Clients to show; repeatable; default all, and each scope by itself.
    #[arg(long = "client", value_name = "GLOB", value_parser = glob::Pattern::new)]
    clients: Vec<glob::Pattern>,
    /// Operations to show, as `operation` or `suite/operation`; repeatable; default all.
    #[arg(long = "operation", value_name = "GLOB", value_parser = glob::Pattern::new)]
    operations: Vec<glob::Pattern>,
    /// Suites whose operations to show; repeatable; default all.
    #[arg(long = "suite", value_name = "GLOB", value_parser = glob::Pattern::new)]
    suites: Vec<glob::Pattern>,
    /// How to show it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to write it; default standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A table for each tenant.
    Text,
    /// A line for each cell (RFC 4180).
    Csv,
    /// One page that needs nothing else.
    Html,
}

/// One tenant's table, or that of all its kin: then their names stand in it as [`kin::NAME`].
#[derive(Clone)]
struct Table {
    tenant: String,
    columns: Vec<Column>,
    rows: Rc<[Row]>,
}

#[derive(Clone)]
struct Column {
    kind: Kind,
    name: String,
    provider: Option<String>,
    /// An application's scopes, or a scope's permissions.
    behind: Vec<String>,
    /// How an application's tokens must be bound to it.
    sender: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Application,
    Scope,
}

struct Row {
    suite: String,
    operation: String,
    request: String,
    requires: String,
    /// By column.
    cells: Vec<Reach>,
}

/// The tables of tenants, each worked out once for all its kin.
struct Tables<'p> {
    policy: &'p Policy,
    kin: HashMap<String, Vec<u8>>,
    known: HashMap<Vec<u8>, Table>,
    arguments: &'p Arguments,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    let source = arguments.inputs.read()?;
    let (loaded, document) = source.load_whole()?;
    let policy = loaded.policy;
    let tenants = chosen(arguments, &policy)?;
    let kin = kin::kin(&policy, &document);
    let mut tables = Tables { policy: &policy, kin, known: HashMap::new(), arguments };
    // A file has no colours.
    let terminal = if arguments.output.is_some() { &Terminal::plain() } else { terminal };
    progress::doing("writing tenants", tenants.len());
    let counted = tenants.iter().inspect(|_| progress::step());
    let text = match arguments.format {
        Format::Text => counted.map(|tenant| tables.of(tenant).text(terminal)).collect::<Vec<_>>().join("\n"),
        Format::Csv => csv(counted.map(|tenant| tables.of(tenant))),
        Format::Html => {
            let mut pages = page::Pages::default();
            for tenant in counted {
                pages.add(&tenant.id, tables.of_kin(tenant));
            }
            pages.page(&policy.realm)
        }
    };
    let notes = Vec::new();
    let Some(output) = &arguments.output else { return Ok(CommandOutput { text, notes, yes: true }) };
    std::fs::write(output, text).map_err(|error| {
        Failure(format!("cannot write {}: {error}", shown(&output.display().to_string())))
    })?;
    Ok(CommandOutput { text: String::new(), notes, yes: true })
}

/// What the page of all tenants shows.
pub fn data(source: &Source) -> Result<serde_json::Value, Failure> {
    let (loaded, document) = source.load_whole()?;
    let policy = loaded.policy;
    let arguments = Arguments {
        inputs: Inputs::default(),
        tenants: Vec::new(),
        clients: Vec::new(),
        operations: Vec::new(),
        suites: Vec::new(),
        format: Format::Html,
        output: None,
    };
    let kin = kin::kin(&policy, &document);
    let mut tables = Tables { policy: &policy, kin, known: HashMap::new(), arguments: &arguments };
    let mut pages = page::Pages::default();
    for (_, tenant) in policy.tenants.iter() {
        pages.add(&tenant.id, tables.of_kin(tenant));
    }
    Ok(pages.data())
}

fn chosen<'p>(arguments: &Arguments, policy: &'p Policy) -> Result<Vec<&'p Tenant>, Failure> {
    if arguments.tenants.is_empty() {
        return Ok(policy.tenants.iter().map(|(_, tenant)| tenant).collect());
    }
    let mut chosen = Vec::new();
    for name in &arguments.tenants {
        if let Some(tenant) = policy.tenants.named(name).and_then(|id| policy.tenants.tenant(id)) {
            chosen.push(tenant);
            continue;
        }
        let pattern = glob::Pattern::new(name).map_err(|error| Failure(format!("--tenant: {error}")))?;
        let before = chosen.len();
        chosen.extend(
            policy.tenants.iter().map(|(_, tenant)| tenant).filter(|tenant| pattern.matches(&tenant.id)),
        );
        if chosen.len() == before {
            return Err(Failure(format!("--tenant: no tenant is called `{}`", shown(name))));
        }
    }
    let mut seen = std::collections::HashSet::new();
    chosen.retain(|tenant| seen.insert(&*tenant.id));
    Ok(chosen)
}

impl Arguments {
    fn shows(&self, policy: &Policy, operation: &Operation) -> bool {
        let matches = |patterns: &[glob::Pattern], names: &[&str]| {
            patterns.is_empty()
                || patterns.iter().any(|pattern| names.iter().any(|name| pattern.matches(name)))
        };
        let suite = suite_name(policy, operation);
        matches(&self.suites, &[&suite])
            && matches(&self.operations, &[&operation.name, &operation_name(policy, operation)])
    }
}

impl<'p> Tables<'p> {
    /// The table of a tenant.
    fn of(&mut self, tenant: &'p Tenant) -> Table {
        let id = tenant.id.to_string();
        let table = self.of_kin(tenant);
        let own = |name: &String| name.replace(kin::NAME, &id);
        let column = |column: &Column| Column {
            name: own(&column.name),
            behind: column.behind.iter().map(own).collect(),
            ..column.clone()
        };
        Table {
            columns: table.columns.iter().map(column).collect(),
            rows: Rc::clone(&table.rows),
            tenant: id,
        }
    }

    /// The table of its kin.
    fn of_kin(&mut self, tenant: &'p Tenant) -> &Table {
        let key = self.kin.get(&*tenant.id).cloned().unwrap_or_else(|| tenant.id.as_bytes().to_vec());
        let (policy, arguments) = (self.policy, self.arguments);
        self.known.entry(key).or_insert_with(|| Table::new(policy, tenant, arguments))
    }
}

impl Table {
    fn new<'p>(policy: &'p Policy, tenant: &'p Tenant, arguments: &Arguments) -> Self {
        let mut holders: Vec<Holder<'p>> = Vec::new();
        let mut columns = Vec::new();
        let general = |name: &str| name.replace(&*tenant.id, kin::NAME);
        let applications = tenant.applications.as_deref().unwrap_or_default();
        for (place, caller) in callers(policy, tenant).into_iter().enumerate() {
            let name = caller.client.unwrap_or("any client");
            if !arguments.clients.is_empty() && !arguments.clients.iter().any(|pattern| pattern.matches(name))
            {
                continue;
            }
            let scopes = applications.get(place).map(|application| &application.scopes);
            columns.push(Column {
                kind: Kind::Application,
                name: general(name),
                provider: caller.provider.map(str::to_owned),
                behind: scopes
                    .into_iter()
                    .flat_map(|scopes| scopes.iter())
                    .map(|scope| general(scope))
                    .collect(),
                sender: caller.sender,
            });
            holders.push(caller.holder);
        }
        let mut carriers = Vec::new();
        // Who asks for clients asks for no scopes.
        for scope in scopes(policy, tenant).into_iter().filter(|_| arguments.clients.is_empty()) {
            columns.push(Column {
                kind: Kind::Scope,
                name: general(scope),
                provider: None,
                behind: tenant.scope_table.permissions(scope).map(general).collect(),
                sender: None,
            });
            carriers.push(Carriers::of(policy, tenant, scope));
        }
        let row = |(id, operation)| Row {
            suite: suite_name(policy, operation),
            operation: operation_name(policy, operation),
            request: request_text(policy, id),
            requires: requirement_text(policy, tenant, id, operation),
            cells: holders
                .iter()
                .map(|holder| holder.reach(id))
                .chain(carriers.iter().map(|carriers| carriers.reach(id)))
                .collect(),
        };
        let rows = operations(policy).filter(|(_, operation)| arguments.shows(policy, operation)).map(row);
        Self { tenant: tenant.id.to_string(), rows: rows.collect(), columns }
    }

    fn text(&self, terminal: &Terminal) -> String {
        let mut text =
            format!("{}\n", terminal.paint(Style::Strong, format!("tenant {}", shown(&self.tenant))));
        for (number, column) in (1..).zip(&self.columns) {
            let (what, behind) = match (column.kind, column.behind.join(" ")) {
                (Kind::Application, scopes) => (column.provider.as_ref().map_or("", |_| "client "), scopes),
                (Kind::Scope, permissions) if permissions == column.name => ("scope ", String::new()),
                (Kind::Scope, permissions) => ("scope ", format!("as {permissions}")),
            };
            let provider =
                column.provider.as_ref().map(|provider| format!(" of {provider}")).unwrap_or_default();
            let behind = if behind.is_empty() { behind } else { format!(": {behind}") };
            let sender = column.sender.map(|sender| format!("; tokens {sender}")).unwrap_or_default();
            text.push_str(&shown(&format!("  {number:>3}  {what}{}{provider}{behind}{sender}", column.name)));
            text.push('\n');
        }
        let width = |part: fn(&Row) -> &str| {
            self.rows.iter().map(|row| part(row).chars().count()).max().unwrap_or(0).min(60)
        };
        let (name_width, request_width) = (width(|row| &row.operation), width(|row| &row.request));
        text.push_str(&format!("\n  {:name_width$}  {:request_width$} ", "", ""));
        for number in 1..=self.columns.len() {
            text.push_str(&format!(" {number:>3}"));
        }
        text.push('\n');
        for row in self.rows.iter() {
            text.push_str(&format!(
                "  {:name_width$}  {:request_width$} ",
                shown(&row.operation),
                shown(&row.request)
            ));
            for cell in &row.cells {
                let (mark, style) = mark(*cell);
                text.push_str(&format!("   {}", terminal.paint(style, mark)));
            }
            text.push('\n');
        }
        text.push_str(&format!("\n  {}\n", terminal.paint(Style::Faint, LEGEND)));
        text
    }
}

/// Those who may have a token that carries one scope alone.
struct Carriers<'p> {
    /// Applications that are assigned the scope; any client where the tenant registers none.
    assigned: Vec<Holder<'p>>,
    /// The other applications.
    others: Vec<Holder<'p>>,
}

impl<'p> Carriers<'p> {
    fn of(policy: &'p Policy, tenant: &'p Tenant, scope: &str) -> Self {
        let Some(applications) = &tenant.applications else {
            return Self { assigned: vec![Holder::scope(policy, tenant, None, scope)], others: Vec::new() };
        };
        let (assigned, others): (Vec<&Application>, Vec<&Application>) =
            applications.iter().partition(|application| is_assigned(application, scope));
        if applications.is_empty() {
            // Of a client that is registered nowhere: what is public is open to it too.
            return Self { assigned: Vec::new(), others: vec![Holder::scope(policy, tenant, None, scope)] };
        }
        let holder = |application| Holder::scope(policy, tenant, Some(application), scope);
        Self {
            assigned: assigned.into_iter().map(holder).collect(),
            others: others.into_iter().map(holder).collect(),
        }
    }

    /// What the best of them can do. What enforcement lets pass for an application that is not assigned the
    /// scope is none of the scope's doing.
    fn reach(&self, id: OperationId) -> Reach {
        let own = self.assigned.iter().map(|holder| holder.reach(id));
        let others = self.others.iter().map(|holder| match holder.reach(id) {
            Reach::Lifted(_, reason) => Reach::Refused(reason),
            reach @ (Reach::Public | Reach::Authenticated | Reach::Granted | Reach::Refused(_)) => reach,
        });
        let rank = |reach: &Reach| match reach {
            Reach::Granted | Reach::Public | Reach::Authenticated => 0,
            Reach::Lifted(..) => 1,
            Reach::Refused(_) => 2,
        };
        own.chain(others).min_by_key(rank).unwrap_or(Reach::Refused(Reason::ApplicationNotRegistered))
    }
}

const LEGEND: &str = "Y granted   s shadow   o off   t any token   p public   . refused";

fn mark(reach: Reach) -> (char, Style) {
    match reach {
        Reach::Granted => ('Y', Style::Good),
        Reach::Lifted(Enforcement::Shadow, _) => ('s', Style::Doubtful),
        Reach::Lifted(Enforcement::Off | Enforcement::Enforce, _) => ('o', Style::Doubtful),
        Reach::Authenticated => ('t', Style::Faint),
        Reach::Public => ('p', Style::Faint),
        Reach::Refused(_) => ('.', Style::Faint),
    }
}

/// The outcome's name and, where there is one, the reason.
fn outcome(reach: Reach) -> (&'static str, &'static str) {
    match reach {
        Reach::Granted => ("granted", ""),
        Reach::Lifted(enforcement, reason) => (enforcement.as_str(), reason.as_str()),
        Reach::Authenticated => ("authenticated", ""),
        Reach::Public => ("public", ""),
        Reach::Refused(reason) => ("refused", reason.as_str()),
    }
}

/// The scopes of a tenant: those that it declares, in two groups; where it declares none, those that its
/// mapping and the requirements know.
fn scopes<'p>(policy: &'p Policy, tenant: &'p Tenant) -> Vec<&'p str> {
    let mut scopes: Vec<&str> = match &tenant.scope_table.declared {
        Some(declared) => declared.keys().map(|scope| &**scope).collect(),
        None => {
            let mapped = tenant.scope_table.mapping.keys().map(|scope| &**scope);
            mapped.chain(policy.catalog.permissions.names()).collect()
        }
    };
    scopes.sort_unstable_by_key(|scope| (tenant.scope_table.kind(scope) == Some(ScopeKind::System), *scope));
    scopes.dedup();
    scopes
}

fn suite_name(policy: &Policy, operation: &scopegate::authorize::Operation) -> String {
    policy.catalog.suite(operation.suite).map_or_else(String::new, |suite| suite.name.to_string())
}

fn csv(tables: impl Iterator<Item = Table>) -> String {
    let mut text = "tenant,suite,operation,request,requires,kind,provider,name,outcome,reason\r\n".to_owned();
    for table in tables {
        for row in table.rows.iter() {
            for (column, cell) in table.columns.iter().zip(&row.cells) {
                let (outcome, reason) = outcome(*cell);
                let kind = match column.kind {
                    Kind::Application => "application",
                    Kind::Scope => "scope",
                };
                let fields = [
                    &table.tenant,
                    &row.suite,
                    &row.operation,
                    &row.request,
                    &row.requires,
                    kind,
                    column.provider.as_deref().unwrap_or_default(),
                    &column.name,
                    outcome,
                    reason,
                ];
                text.push_str(&fields.map(csv_field).join(","));
                text.push_str("\r\n");
            }
        }
    }
    text
}

/// A field, quoted if necessary. Text that a spreadsheet would read as a formula is prefixed with an
/// apostrophe.
fn csv_field(field: &str) -> String {
    let field = match field.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{field}"),
        false => field.to_owned(),
    };
    match field.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

#[cfg(test)]
mod tests {
    use scopegate::config::parse_yaml;

    use super::*;

    const BOOKS: &str = include_str!("../../../../tests/fixtures/tool/books.yaml");

    fn policy() -> Policy {
        parse_yaml(BOOKS).unwrap().policy
    }

    /// The arguments behind `scopegate matrix books.yaml`.
    fn arguments(more: &[&str]) -> Arguments {
        use clap::Parser;
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: Arguments,
        }
        Line::parse_from([&["matrix", "books.yaml"], more].concat()).arguments
    }

    fn tables_of(policy: &Policy, arguments: &Arguments) -> Vec<Table> {
        let document = scopegate::config::parse_yaml_document(BOOKS).unwrap();
        let kin = kin::kin(policy, &document);
        let mut tables = Tables { policy, kin, known: HashMap::new(), arguments };
        policy.tenants.iter().map(|(_, tenant)| tables.of(tenant)).collect()
    }

    fn tables(policy: &Policy) -> Vec<Table> {
        tables_of(policy, &arguments(&[]))
    }

    fn marks(table: &Table, operation: &str) -> String {
        let row = table.rows.iter().find(|row| row.operation == operation).unwrap();
        row.cells.iter().map(|cell| mark(*cell).0).collect()
    }

    #[test]
    fn a_table_has_a_column_for_each_application_and_scope_and_a_row_for_each_operation() {
        let policy = policy();
        let tables = tables(&policy);
        let names: Vec<&str> = tables[0].columns.iter().map(|column| &*column.name).collect();
        assert_eq!(names, ["acme-sync", "acme-admin", "admin", "read", "write"]);
        assert_eq!(tables[0].rows.len(), 6);
        assert_eq!(marks(&tables[0], "books/list"), "YYYY.");
        assert_eq!(marks(&tables[0], "books/remove"), ".YY..");
        assert_eq!(marks(&tables[0], "books/health"), "ppppp");
        assert_eq!(marks(&tables[0], "books/who-am-i"), "ttttt");
        assert_eq!(marks(&tables[0], "reports/sales"), "YYYY.");
        assert_eq!(marks(&tables[1], "books/add"), ".s.s.");
        assert_eq!(marks(&tables[1], "reports/sales"), ".....");
    }

    #[test]
    fn csv_has_a_line_for_each_cell_and_no_formulas() {
        let policy = policy();
        let text = csv(tables(&policy).into_iter());
        assert_eq!(text.lines().count(), 1 + 2 * 6 * 5);
        assert!(text.contains(
            "globex,books,books/add,POST /{tenant}/books,write,application,corp,globex-trial,shadow,scope_not_granted\r\n"
        ));
        assert_eq!(csv_field("=1+1"), "'=1+1");
        assert_eq!(csv_field("a\"b,c"), "\"a\"\"b,c\"");
    }

    #[test]
    fn globs_choose_what_is_shown() {
        let policy = policy();
        let chosen = tables_of(
            &policy,
            &arguments(&["--client", "*-sync", "--operation", "books/*", "--operation", "sales"]),
        );
        assert_eq!(chosen[0].columns.len(), 1);
        assert_eq!(chosen[0].rows.len(), 6);
        assert_eq!(tables_of(&policy, &arguments(&["--suite", "rep*"]))[0].rows.len(), 1);
    }

    #[test]
    fn kin_have_the_tables_that_they_would_have_by_themselves() {
        let more: String = (0..5)
            .map(|number| format!("  - id: kin{number}\n    template: standard\n    applications: [{{client_id: kin{number}-sync, scopes: [read]}}]\n"))
            .collect();
        let yaml = BOOKS.replace("\nsuites:", &format!("\n{more}\nsuites:"));
        assert_ne!(yaml, BOOKS);
        let policy = parse_yaml(&yaml).unwrap().policy;
        let kin = kin::kin(&policy, &scopegate::config::parse_yaml_document(&yaml).unwrap());
        assert_eq!(kin["kin0"], kin["kin4"]);
        assert_ne!(kin["acme"], kin["globex"]);
        let arguments = arguments(&[]);
        let mut shared = Tables { policy: &policy, kin, known: HashMap::new(), arguments: &arguments };
        for (_, tenant) in policy.tenants.iter() {
            let mut alone =
                Tables { policy: &policy, kin: HashMap::new(), known: HashMap::new(), arguments: &arguments };
            let plain = Terminal::plain();
            assert_eq!(shared.of(tenant).text(&plain), alone.of(tenant).text(&plain), "{}", tenant.id);
        }
        assert_eq!(shared.known.len(), 3);
    }

    #[test]
    fn the_page_holds_every_name_as_data_and_refers_to_nothing() {
        let evil = BOOKS
            .replace("realm: books", "realm: \"<b>&books\"")
            .replace("{client_id: acme-sync,", "{client_id: '\"></script><script>alert(1)</script>',");
        let policy = parse_yaml(&evil).unwrap().policy;
        let mut pages = page::Pages::default();
        for (table, (_, tenant)) in tables(&policy).iter().zip(policy.tenants.iter()) {
            pages.add(&tenant.id, table);
        }
        let html = pages.page(&policy.realm);
        assert!(!html.contains("<script>alert"), "a name is markup");
        assert!(html.contains("&lt;b&gt;&amp;books"));
        assert_eq!(html.matches("</script>").count(), 2);
        for elsewhere in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!html.contains(elsewhere), "the page refers to {elsewhere}");
        }
    }
}
