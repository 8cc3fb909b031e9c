//! The matrix as one self-contained HTML page: it loads no fonts, scripts or images.
//!
//! What is shown is data in the page, and rows are made as they are looked at: ten thousand tenants and five thousand operations
//! are a few megabytes. Tenants that are alike but for their names share one table.

use std::collections::HashMap;
use std::rc::Rc;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use scopegate::authorize::Enforcement;
use scopegate::policy::reach::Reach;
use serde_json::{Value, json};

use super::{Kind, Row, Table, outcome};
use crate::terminal::shown;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// How many cells a page holds: a browser opens it in a second or two. What is left out is said in the page.
const MOST_CELLS: usize = 4_000_000;

/// The page, as it is put together.
#[derive(Default)]
pub struct Pages {
    operations: Vec<Value>,
    operation_places: HashMap<(String, String), usize>,
    /// What cells say: an outcome and a reason, by their place.
    outcomes: Vec<(&'static str, &'static str)>,
    tables: Vec<Value>,
    /// The table of each that was added, by what it shares.
    known: HashMap<*const Row, usize>,
    /// Keeps what `known` points to.
    rows: Vec<Rc<[Row]>>,
    tenants: Vec<Value>,
    cells: usize,
    left_out: usize,
}

impl Pages {
    /// Adds a tenant with its table, or that of its kin.
    pub fn add(&mut self, tenant: &str, table: &Table) {
        let known = self.known.get(&table.rows.as_ptr()).copied();
        let place = known.or_else(|| {
            let cells = table.rows.len() * table.columns.len();
            if self.cells + cells > MOST_CELLS && !self.tables.is_empty() {
                return None;
            }
            self.cells += cells;
            let value = self.table(table);
            self.tables.push(value);
            self.known.insert(table.rows.as_ptr(), self.tables.len() - 1);
            self.rows.push(Rc::clone(&table.rows));
            Some(self.tables.len() - 1)
        });
        self.left_out += usize::from(place.is_none());
        self.tenants.push(json!([shown(tenant), place]));
    }

    /// Columns, the places of rows among all operations, and a text of outcomes for each column.
    fn table(&mut self, table: &Table) -> Value {
        let mut rows = Vec::with_capacity(table.rows.len());
        let mut cells: Vec<String> = vec![String::with_capacity(table.rows.len()); table.columns.len()];
        for row in table.rows.iter() {
            rows.push(self.operation(row));
            for (column, reach) in cells.iter_mut().zip(&row.cells) {
                column.push(self.outcome(*reach));
            }
        }
        let columns = table.columns.iter().zip(cells).map(|(column, cells)| {
            let kind = match column.kind {
                Kind::Application => "application",
                Kind::Scope => "scope",
            };
            json!({
                "kind": kind, "name": shown(&column.name), "provider": column.provider.as_deref().map(shown),
                "behind": shown(&column.behind.join(" ")), "sender": column.sender, "cells": cells,
            })
        });
        let columns: Vec<Value> = columns.collect();
        json!({"columns": columns, "rows": rows})
    }

    /// The place of an operation with what it requires.
    fn operation(&mut self, row: &Row) -> usize {
        let key = (row.operation.clone(), row.requires.clone());
        if let Some(place) = self.operation_places.get(&key) {
            return *place;
        }
        let own_name = row.operation.strip_prefix(&row.suite).and_then(|name| name.strip_prefix('/'));
        let name = own_name.unwrap_or(&row.operation);
        self.operations.push(json!([
            shown(&row.suite),
            shown(name),
            shown(&row.request),
            shown(&row.requires)
        ]));
        self.operation_places.insert(key, self.operations.len() - 1);
        self.operations.len() - 1
    }

    /// A character for an outcome.
    fn outcome(&mut self, reach: Reach) -> char {
        let (class, reason) = (class(reach), outcome(reach).1);
        let place = self.outcomes.iter().position(|known| *known == (class, reason));
        let place = place.unwrap_or_else(|| {
            self.outcomes.push((class, reason));
            self.outcomes.len() - 1
        });
        // There are fewer than a hundred reasons.
        u32::try_from(place).ok().and_then(|place| char::from_u32(0x30 + place)).unwrap_or('?')
    }

    /// What the page shows.
    pub fn data(&self) -> Value {
        json!({
            "tenants": self.tenants, "tables": self.tables, "operations": self.operations,
            "outcomes": self.outcomes.iter().map(|(class, reason)| json!([class, reason])).collect::<Vec<_>>(),
        })
    }

    /// The page.
    pub fn page(&self, realm: &str) -> String {
        let realm = shown(realm);
        // Nothing in it can end the element.
        let data = self.data().to_string().replace('<', "\\u003c");
        let search = |id, label, placeholder| {
            html! {
                label { (label) " " input #(id) type="search" placeholder=(placeholder) autocomplete="off" spellcheck="false"; }
            }
        };
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
                            div.chooser {
                                (search("tenant", "Tenant", "id"))
                                ul #matches role="listbox" aria-label="Tenants" hidden {}
                            }
                            (search("rows", "Operations", "name, path, scope"))
                            (search("columns", "Callers", "client or scope"))
                            output #shown {}
                        }
                        @if self.left_out > 0 {
                            p.left-out {
                                "The tables of " (self.left_out) " of " (self.tenants.len()) " tenants are left out of this page: "
                                "it would be too large. " code { "scopegate matrix --tenant NAME" } " shows them."
                            }
                        }
                        noscript { p.left-out { "This page needs scripts; " code { "--format csv" } " needs none." } }
                        (legend())
                    }
                    main { h2 #title {} div.scroll #scroll { table { thead #head {} tbody #body {} } } }
                    script #data type="application/json" { (PreEscaped(data)) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string()
    }
}

fn class(reach: Reach) -> &'static str {
    match reach {
        Reach::Granted => "granted",
        Reach::Lifted(Enforcement::Shadow, _) => "shadow",
        Reach::Lifted(Enforcement::Off | Enforcement::Enforce, _) => "off",
        Reach::Authenticated => "authenticated",
        Reach::Public => "public",
        Reach::Refused(_) => "refused",
    }
}

fn legend() -> Markup {
    let entries = [
        ("granted", "\u{2713}", "granted: the scopes are enough"),
        ("shadow", "\u{25d0}", "shadow: passes, and would be refused"),
        ("off", "\u{25cb}", "off: scopes are not enforced"),
        ("authenticated", "\u{2022}", "any token of the tenant"),
        ("public", "\u{25cc}", "public: no token"),
        ("refused", "\u{b7}", "refused"),
    ];
    html! {
        ul.legend aria-label="Legend" {
            @for (class, mark, text) in entries {
                li { span class={ "mark " (class) } aria-hidden="true" { (mark) } " " (text) }
            }
        }
    }
}
