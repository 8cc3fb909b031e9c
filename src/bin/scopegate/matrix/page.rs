//! The matrix as one self-contained HTML page: it loads no fonts, scripts or images.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use scopegate::authorize::Enforcement;
use scopegate::policy::reach::Reach;

use super::{Column, Kind, Row, Table, outcome};
use crate::terminal::shown;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// The page. Where scripts do not run it shows all tenants one below the other.
pub fn page(realm: &str, tables: &[Table<'_>]) -> String {
    let realm = shown(realm);
    let tenants: Vec<String> = tables.iter().map(|table| shown(table.tenant)).collect();
    let search =
        |id, placeholder| html! { input #(id) type="search" placeholder=(placeholder) autocomplete="off"; };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Who can call what: " (realm) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Who can call what " small { (realm) } }
                    form #controls {
                        label { "Tenant " select #tenant {
                            @for tenant in &tenants { option value=(tenant) { (tenant) } }
                        } }
                        label { "Operations " (search("rows", "name, path, scope")) }
                        label { "Callers " (search("columns", "client or scope")) }
                        output #shown {}
                    }
                    (legend())
                }
                main { @for table in tables { (section(table)) } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

const GRANTED: (&str, &str) = ("granted", "\u{2713}");
const SHADOW: (&str, &str) = ("shadow", "\u{25d0}");
const OFF: (&str, &str) = ("off", "\u{25cb}");
const AUTHENTICATED: (&str, &str) = ("authenticated", "\u{2022}");
const PUBLIC: (&str, &str) = ("public", "\u{25cc}");
const REFUSED: (&str, &str) = ("refused", "\u{b7}");

fn legend() -> Markup {
    let entries = [
        (GRANTED, "granted: the scopes are enough"),
        (SHADOW, "shadow: passes, and would be refused"),
        (OFF, "off: scopes are not enforced"),
        (AUTHENTICATED, "any token of the tenant"),
        (PUBLIC, "public: no token"),
        (REFUSED, "refused"),
    ];
    html! {
        ul.legend aria-label="Legend" {
            @for ((class, mark), text) in entries {
                li { span class={ "mark " (class) } aria-hidden="true" { (mark) } " " (text) }
            }
        }
    }
}

fn section(table: &Table<'_>) -> Markup {
    let tenant = shown(table.tenant);
    let width = 2 + table.columns.len();
    html! {
        section data-tenant=(tenant) {
            h2 { (tenant) }
            div.scroll { table {
                thead { tr {
                    th.corner scope="col" { "Operation" }
                    th.requires scope="col" { "Requires" }
                    @for column in &table.columns { (heading(column)) }
                } }
                tbody { @for rows in table.rows.chunk_by(|row, next| row.suite == next.suite) {
                    @if let Some(suite) = rows.first().map(|row| shown(&row.suite)) {
                        tr.suite data-suite=(suite) {
                            th colspan=(width) scope="rowgroup" { span { (suite) } }
                        }
                    }
                    @for row in rows { (operation(row, &table.columns)) }
                } }
            } }
        }
    }
}

fn heading(column: &Column<'_>) -> Markup {
    let (class, title) = match column.kind {
        Kind::Application => {
            let provider = column.provider.map(|provider| format!(" of {provider}")).unwrap_or_default();
            let scopes = match column.behind.as_slice() {
                [] => "no scopes".to_owned(),
                scopes => scopes.join(" "),
            };
            let sender = column.sender.map(|sender| format!("; tokens {sender}")).unwrap_or_default();
            ("application", format!("application {}{provider}: {scopes}{sender}", column.name))
        }
        Kind::Scope => ("scope", format!("scope {} alone, as {}", column.name, column.behind.join(" "))),
    };
    html! {
        th class={ "column " (class) } scope="col" title=(shown(&title)) { span { (shown(column.name)) } }
    }
}

fn operation(row: &Row, columns: &[Column<'_>]) -> Markup {
    let own_name = row.operation.strip_prefix(&row.suite).and_then(|name| name.strip_prefix('/'));
    let name = own_name.unwrap_or(&row.operation);
    let text = format!("{} {} {}", row.operation, row.request, row.requires).to_lowercase();
    html! {
        tr.operation data-suite=(shown(&row.suite)) data-text=(shown(&text)) {
            th scope="row" { b { (shown(name)) } code { (shown(&row.request)) } }
            td.requires { (shown(&row.requires)) }
            @for (column, reach) in columns.iter().zip(&row.cells) { (cell(column, *reach)) }
        }
    }
}

fn cell(column: &Column<'_>, reach: Reach) -> Markup {
    let (class, mark) = match reach {
        Reach::Granted => GRANTED,
        Reach::Lifted(Enforcement::Shadow, _) => SHADOW,
        Reach::Lifted(Enforcement::Off | Enforcement::Enforce, _) => OFF,
        Reach::Authenticated => AUTHENTICATED,
        Reach::Public => PUBLIC,
        Reach::Refused(_) => REFUSED,
    };
    let kind = match column.kind {
        Kind::Application => "",
        Kind::Scope => " scope",
    };
    let title = match outcome(reach) {
        (outcome, "") => format!("{}: {outcome}", shown(column.name)),
        (outcome, reason) => format!("{}: {outcome}: {reason}", shown(column.name)),
    };
    html! {
        td class={ "cell " (class) (kind) } title=(title) { span class={ "mark " (class) } { (mark) } }
    }
}
