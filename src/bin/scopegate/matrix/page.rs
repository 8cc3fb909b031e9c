//! The matrix as one page that needs nothing else: no fonts, no scripts, no images from anywhere.

use scopegate::authorize::Enforcement;
use scopegate::policy::reach::Reach;

use super::{Column, Kind, Row, Table, outcome};
use crate::terminal::shown;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page. Without scripts it shows all tenants below each other.
pub fn page(realm: &str, tables: &[Table<'_>]) -> String {
    let realm = escaped(realm);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Who can call what: {realm}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    html.push_str(&format!(
        "<header>\n<h1>Who can call what <small>{realm}</small></h1>\n<form id=\"controls\">\n"
    ));
    html.push_str("<label>Tenant <select id=\"tenant\">");
    for table in tables {
        let tenant = escaped(table.tenant);
        html.push_str(&format!("<option value=\"{tenant}\">{tenant}</option>"));
    }
    html.push_str("</select></label>\n");
    html.push_str(
        "<label>Operations <input id=\"rows\" type=\"search\" placeholder=\"name, path, scope\" autocomplete=\"off\"></label>\n\
         <label>Callers <input id=\"columns\" type=\"search\" placeholder=\"client or scope\" autocomplete=\"off\"></label>\n\
         <output id=\"shown\"></output>\n</form>\n",
    );
    html.push_str(&legend());
    html.push_str("</header>\n<main>\n");
    tables.iter().for_each(|table| section(table, &mut html));
    html.push_str(&format!("</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"));
    html
}

fn legend() -> String {
    let entry = |class: &str, mark: &str, text: &str| {
        format!("<li><span class=\"mark {class}\" aria-hidden=\"true\">{mark}</span> {text}</li>\n")
    };
    let entries = [
        entry("granted", "\u{2713}", "granted: the scopes are enough"),
        entry("shadow", "\u{25d0}", "shadow: passes, and would be refused"),
        entry("off", "\u{25cb}", "off: scopes are not enforced"),
        entry("authenticated", "\u{2022}", "any token of the tenant"),
        entry("public", "\u{25cc}", "public: no token"),
        entry("refused", "\u{b7}", "refused"),
    ];
    format!("<ul class=\"legend\" aria-label=\"Legend\">\n{}</ul>\n", entries.concat())
}

fn section(table: &Table<'_>, html: &mut String) {
    let tenant = escaped(table.tenant);
    html.push_str(&format!("<section data-tenant=\"{tenant}\">\n<h2>{tenant}</h2>\n<div class=\"scroll\">\n<table>\n<thead>\n<tr>"));
    html.push_str(
        "<th class=\"corner\" scope=\"col\">Operation</th><th class=\"requires\" scope=\"col\">Requires</th>",
    );
    table.columns.iter().for_each(|column| heading(column, html));
    html.push_str("</tr>\n</thead>\n<tbody>\n");
    let mut suite = None;
    for row in &table.rows {
        if suite != Some(&row.suite) {
            let span = 2 + table.columns.len();
            let name = escaped(&row.suite);
            html.push_str(&format!(
                "<tr class=\"suite\" data-suite=\"{name}\"><th colspan=\"{span}\" scope=\"rowgroup\"><span>{name}</span></th></tr>\n"
            ));
            suite = Some(&row.suite);
        }
        operation(row, table, html);
    }
    html.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

fn heading(column: &Column<'_>, html: &mut String) {
    let (class, title) = match column.kind {
        Kind::Application => {
            let provider = column.provider.map(|provider| format!(" of {provider}")).unwrap_or_default();
            let scopes = match column.behind.as_slice() {
                [] => "no scopes".to_owned(),
                scopes => scopes.join(" "),
            };
            ("application", format!("application {}{provider}: {scopes}", column.name))
        }
        Kind::Scope => ("scope", format!("scope {} alone, as {}", column.name, column.behind.join(" "))),
    };
    let name = escaped(column.name);
    html.push_str(&format!(
        "<th class=\"column {class}\" scope=\"col\" title=\"{}\"><span>{name}</span></th>",
        escaped(&title)
    ));
}

fn operation(row: &Row, table: &Table<'_>, html: &mut String) {
    let name = row
        .operation
        .strip_prefix(&row.suite)
        .and_then(|name| name.strip_prefix('/'))
        .unwrap_or(&row.operation);
    let text = format!("{} {} {}", row.operation, row.request, row.requires).to_lowercase();
    html.push_str(&format!(
        "<tr class=\"operation\" data-suite=\"{}\" data-text=\"{}\"><th scope=\"row\"><b>{}</b><code>{}</code></th><td class=\"requires\">{}</td>",
        escaped(&row.suite),
        escaped(&text),
        escaped(name),
        escaped(&row.request),
        escaped(&row.requires)
    ));
    for (column, cell) in table.columns.iter().zip(&row.cells) {
        let (class, mark) = match cell {
            Reach::Granted => ("granted", "\u{2713}"),
            Reach::Lifted(Enforcement::Shadow, _) => ("shadow", "\u{25d0}"),
            Reach::Lifted(Enforcement::Off | Enforcement::Enforce, _) => ("off", "\u{25cb}"),
            Reach::Authenticated => ("authenticated", "\u{2022}"),
            Reach::Public => ("public", "\u{25cc}"),
            Reach::Refused(_) => ("refused", "\u{b7}"),
        };
        let kind = match column.kind {
            Kind::Application => "",
            Kind::Scope => " scope",
        };
        let (outcome, reason) = outcome(*cell);
        let separator = if reason.is_empty() { "" } else { ": " };
        html.push_str(&format!(
            "<td class=\"cell {class}{kind}\" title=\"{}: {outcome}{separator}{reason}\"><span class=\"mark {class}\">{mark}</span></td>",
            escaped(column.name)
        ));
    }
    html.push_str("</tr>\n");
}

/// `text` as text, in an element or in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
