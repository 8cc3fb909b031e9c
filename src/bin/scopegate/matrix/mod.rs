//! `scopegate matrix`: who can call what.

mod page;

use std::path::PathBuf;

use scopegate::authorize::scope::is_assigned;
use scopegate::authorize::{Application, Enforcement, ScopeKind, Tenant};
use scopegate::ids::OperationId;
use scopegate::policy::Policy;
use scopegate::policy::reach::{Holder, Reach};
use scopegate::respond::Reason;

use crate::catalog::{callers, operation_name, operations, request_text, requirement_text};
use crate::source::Source;
use crate::terminal::{Style, Terminal, shown};
use crate::{CommandOutput, Failure};

/// Show who can call what: each tenant's applications and scopes against all operations.
///
/// An application counts with a token that carries every scope assigned to it, a scope with a token that
/// carries it alone, of an application that is assigned it. An operation that no token and request of theirs
/// can pass counts as refused.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 shown, 2 there is no answer.

Examples:
  scopegate matrix gateway.yaml --tenant acme
  scopegate matrix gateway.yaml --format csv -o matrix.csv
  scopegate matrix gateway.yaml --format html -o matrix.html && xdg-open matrix.html")]
pub struct Arguments {
    /// The configuration, YAML or JSON.
    file: PathBuf,
    /// A tenant to show, by id or alias; repeatable; default all.
    #[arg(long = "tenant", value_name = "TENANT")]
    tenants: Vec<String>,
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

/// One tenant's table.
struct Table<'p> {
    tenant: &'p str,
    columns: Vec<Column<'p>>,
    rows: Vec<Row>,
}

struct Column<'p> {
    kind: Kind,
    name: &'p str,
    provider: Option<&'p str>,
    /// An application's scopes, or a scope's permissions.
    behind: Vec<&'p str>,
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

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    let policy = Source::read(&arguments.file)?.load_valid()?.policy;
    let mut notes = Vec::new();
    let mut tenants = chosen(arguments, &policy)?;
    // Nobody can read a larger page; `--tenant` chooses others.
    const PAGE_TENANTS: usize = 100;
    if arguments.format == Format::Html && tenants.len() > PAGE_TENANTS {
        notes.push(format!(
            "scopegate: note: the page shows the first {PAGE_TENANTS} of {} tenants; choose others with --tenant",
            tenants.len()
        ));
        tenants.truncate(PAGE_TENANTS);
    }
    let tables = tenants.into_iter().map(|tenant| Table::new(&policy, tenant));
    // A file has no colours.
    let terminal = if arguments.output.is_some() { &Terminal::plain() } else { terminal };
    let text = match arguments.format {
        Format::Text => tables.map(|table| table.text(terminal)).collect::<Vec<_>>().join("\n"),
        Format::Csv => csv(tables),
        Format::Html => page::page(&policy.realm, &tables.collect::<Vec<_>>()),
    };
    let Some(output) = &arguments.output else { return Ok(CommandOutput { text, notes, yes: true }) };
    std::fs::write(output, text).map_err(|error| {
        Failure(format!("cannot write {}: {error}", shown(&output.display().to_string())))
    })?;
    Ok(CommandOutput { text: String::new(), notes, yes: true })
}

fn chosen<'p>(arguments: &Arguments, policy: &'p Policy) -> Result<Vec<&'p Tenant>, Failure> {
    if arguments.tenants.is_empty() {
        return Ok(policy.tenants.iter().map(|(_, tenant)| tenant).collect());
    }
    let find = |name: &String| {
        let id = policy.tenants.named(name).and_then(|id| policy.tenants.tenant(id));
        id.ok_or_else(|| Failure(format!("--tenant: no tenant is called `{}`", shown(name))))
    };
    arguments.tenants.iter().map(find).collect()
}

impl<'p> Table<'p> {
    fn new(policy: &'p Policy, tenant: &'p Tenant) -> Self {
        let mut holders: Vec<Holder<'p>> = Vec::new();
        let mut columns = Vec::new();
        let applications = tenant.applications.as_deref().unwrap_or_default();
        for (place, caller) in callers(policy, tenant).into_iter().enumerate() {
            let scopes = applications.get(place).map(|application| &application.scopes);
            columns.push(Column {
                kind: Kind::Application,
                name: caller.client.unwrap_or("any client"),
                provider: caller.provider,
                behind: scopes.into_iter().flat_map(|scopes| scopes.iter()).map(|scope| &**scope).collect(),
                sender: caller.sender,
            });
            holders.push(caller.holder);
        }
        for scope in scopes(policy, tenant) {
            columns.push(Column {
                kind: Kind::Scope,
                name: scope,
                provider: None,
                behind: tenant.scope_table.permissions(scope).collect(),
                sender: None,
            });
        }
        let carriers = columns.iter().filter(|column| column.kind == Kind::Scope);
        let carriers: Vec<Carriers<'p>> =
            carriers.map(|column| Carriers::of(policy, tenant, column.name)).collect();
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
        Self { tenant: &tenant.id, rows: operations(policy).map(row).collect(), columns }
    }

    fn text(&self, terminal: &Terminal) -> String {
        let mut text =
            format!("{}\n", terminal.paint(Style::Strong, format!("tenant {}", shown(self.tenant))));
        for (number, column) in (1..).zip(&self.columns) {
            let (what, behind) = match (column.kind, column.behind.join(" ")) {
                (Kind::Application, scopes) => (column.provider.map_or("", |_| "client "), scopes),
                (Kind::Scope, permissions) if permissions == column.name => ("scope ", String::new()),
                (Kind::Scope, permissions) => ("scope ", format!("as {permissions}")),
            };
            let provider = column.provider.map(|provider| format!(" of {provider}")).unwrap_or_default();
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
        for row in &self.rows {
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

fn csv<'p>(tables: impl Iterator<Item = Table<'p>>) -> String {
    let mut text = "tenant,suite,operation,request,requires,kind,provider,name,outcome,reason\r\n".to_owned();
    for table in tables {
        for row in &table.rows {
            for (column, cell) in table.columns.iter().zip(&row.cells) {
                let (outcome, reason) = outcome(*cell);
                let kind = match column.kind {
                    Kind::Application => "application",
                    Kind::Scope => "scope",
                };
                let fields = [
                    table.tenant,
                    &row.suite,
                    &row.operation,
                    &row.request,
                    &row.requires,
                    kind,
                    column.provider.unwrap_or_default(),
                    column.name,
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

    fn tables(policy: &Policy) -> Vec<Table<'_>> {
        policy.tenants.iter().map(|(_, tenant)| Table::new(policy, tenant)).collect()
    }

    fn marks(table: &Table<'_>, operation: &str) -> String {
        let row = table.rows.iter().find(|row| row.operation == operation).unwrap();
        row.cells.iter().map(|cell| mark(*cell).0).collect()
    }

    #[test]
    fn an_application_is_told_with_how_its_tokens_must_be_bound_and_an_operation_with_its_step_up() {
        let yaml = BOOKS.replace(
            "    audiences: [books-api]\n",
            "    audiences: [books-api]\n    dpop: {mode: required, public_origin: 'https://api.example.com'}\n",
        );
        let yaml = yaml.replacen(
            "requires: [admin]",
            "requires: [admin], acr_values: [urn:mfa], max_auth_age: 5m",
            1,
        );
        let policy = parse_yaml(&yaml).unwrap().policy;
        let tables = tables(&policy);
        let text = tables[0].text(&Terminal::plain());
        assert!(text.contains("read write; tokens bound to a key, with a proof of it (DPoP)"), "{text}");
        let requires: Vec<&str> = tables[0].rows.iter().map(|row| row.requires.as_str()).collect();
        assert!(requires.contains(&"admin; acr urn:mfa; auth_time 300 s ago at most"), "{requires:?}");
    }

    #[test]
    fn a_table_has_a_column_for_each_application_and_scope_and_a_row_for_each_operation() {
        let policy = policy();
        let tables = tables(&policy);
        let names: Vec<&str> = tables[0].columns.iter().map(|column| column.name).collect();
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
    fn the_page_has_every_cell_and_escapes_every_name() {
        let evil = BOOKS
            .replace("realm: books", "realm: \"<b>&books\"")
            .replace("{client_id: acme-sync,", "{client_id: '\"><script>alert(1)</script>',");
        let policy = parse_yaml(&evil).unwrap().policy;
        let tables = tables(&policy);
        let html = page::page(&policy.realm, &tables);
        assert!(!html.contains("<script>alert"), "a name is markup");
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(html.contains("&lt;b&gt;&amp;books"));
        assert_eq!(html.matches("<section ").count(), 2);
        assert_eq!(html.matches("<td class=\"cell").count(), 2 * 6 * 5);
        for tag in
            ["section", "table", "thead", "tbody", "tr", "th", "td", "script", "style", "select", "option"]
        {
            let opened =
                html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}>");
        }
        for elsewhere in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!html.contains(elsewhere), "the page refers to {elsewhere}");
        }
    }
}
