//! `scopegate diff`: which audit events a reload would log, and who would gain or lose access.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use scopegate::authorize::{Access, Tenant};
use scopegate::config::document::{Node, Value};
use scopegate::ids::OperationId;
use scopegate::issuer::provider::Provider;
use scopegate::policy::Policy;
use scopegate::policy::difference::{Change, Detail, Subject, difference};
use scopegate::policy::reach::Reach;
use serde_json::json;

use crate::catalog::{Caller, callers, operation_name, operations, request_text};
use crate::source::Source;
use crate::terminal::{Style, Terminal, shown};
use crate::{CommandOutput, Failure};

/// Compare two configurations: audit events, and who gains or loses access.
///
/// The events are those that the filter logs at a reload. Access is what an application could do with a token
/// that carries every scope assigned to it. Other settings that differ are named by their paths, without
/// their values.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 compared (with --exit-code: and no difference), 1 a difference with --exit-code, 2 there is no answer.

Examples:
  scopegate diff old.yaml new.yaml
  git show HEAD~1:gateway.yaml | scopegate diff - gateway.yaml --exit-code
  scopegate diff old.yaml new.yaml --format json | jq -c '.events[]'")]
pub struct Arguments {
    /// The current configuration.
    old: PathBuf,
    /// The new configuration.
    new: PathBuf,
    /// How to report.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Exit with 1 if there is any difference.
    #[arg(long)]
    exit_code: bool,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object; `events` holds the lines that the filter logs.
    Json,
}

/// Access to an operation that a caller gains or loses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AccessChange {
    gains: bool,
    /// None: everybody, without a token.
    who: Option<Who>,
    operation: String,
    request: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Who {
    tenant: String,
    provider: Option<String>,
    /// None: any client.
    client: Option<String>,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    if arguments.old.as_os_str() == "-" && arguments.new.as_os_str() == "-" {
        return Err(Failure("only one file can be standard input".to_owned()));
    }
    let (old, new) = (Source::read(&arguments.old)?, Source::read(&arguments.new)?);
    let (old_policy, new_policy) = (old.load_valid()?.policy, new.load_valid()?.policy);
    let events = difference(&old_policy, &new_policy);
    let access = access_changes(&old_policy, &new_policy, &events);
    let settings = settings(&old.document()?, &new.document()?);
    let is_same = events.is_empty() && access.is_empty() && settings.is_empty();
    let text = match arguments.format {
        Format::Text => text(&events, &access, &settings, terminal),
        Format::Json => {
            let report = json!({
                "events": events.iter().map(Change::to_json).collect::<Vec<_>>(),
                "access": access.iter().map(AccessChange::to_json).collect::<Vec<_>>(),
                "settings": settings,
            });
            format!("{report:#}\n")
        }
    };
    Ok(CommandOutput { text, notes: Vec::new(), yes: is_same || !arguments.exit_code })
}

/// Every change of access, tenant by tenant. For a tenant without an event of its own only the operations of
/// suites with an event are compared.
fn access_changes(old: &Policy, new: &Policy, events: &[Change]) -> Vec<AccessChange> {
    let pairs = Pairs::new(old, new);
    let mut changes = pairs.public_access_changes();
    let mut eventful_tenants: HashSet<&str> = HashSet::new();
    let mut eventful_suites: HashSet<&str> = HashSet::new();
    for event in events {
        match &event.subject {
            Subject::Suite { suite, tenant: None } => eventful_suites.insert(suite),
            Subject::Tenant { tenant }
            | Subject::Scope { tenant, .. }
            | Subject::Application { tenant, .. }
            | Subject::Suite { tenant: Some(tenant), .. } => eventful_tenants.insert(tenant),
        };
    }
    let revoked = |policy: &Policy| -> BTreeMap<Box<str>, Option<[u8; 32]>> {
        let of = |provider: &Provider| provider.revoked.as_deref().map(|revoked| revoked.digest);
        policy.providers.iter().map(|provider| (provider.name.clone(), of(provider))).collect()
    };
    let is_everything_eventful = old.enforcement != new.enforcement
        || old.scopes_per_application != new.scopes_per_application
        || revoked(old) != revoked(new);
    let known: HashMap<&str, &Tenant> = old.tenants.iter().map(|(_, tenant)| (&*tenant.id, tenant)).collect();
    let kept: HashSet<&str> = new.tenants.iter().map(|(_, tenant)| &*tenant.id).collect();
    let of_new = new.tenants.iter().map(|(_, tenant)| (known.get(&*tenant.id).copied(), Some(tenant)));
    let gone = old.tenants.iter().filter(|(_, tenant)| !kept.contains(&*tenant.id));
    for (before, now) in of_new.chain(gone.map(|(_, tenant)| (Some(tenant), None))) {
        let id = now.or(before).map_or("", |tenant| &tenant.id);
        let whole = is_everything_eventful || eventful_tenants.contains(id);
        if whole || !eventful_suites.is_empty() {
            let is_of_interest = |suite: &str| whole || eventful_suites.contains(suite);
            pairs.of_tenant(before, now, &is_of_interest, &mut changes);
        }
    }
    changes
}

/// Operations of the same name in two policies.
struct Pairs<'p> {
    old: &'p Policy,
    new: &'p Policy,
    /// In the order of the new policy, followed by those that only the old one has.
    operations: Vec<(String, Option<OperationId>, Option<OperationId>)>,
}

impl<'p> Pairs<'p> {
    fn new(old: &'p Policy, new: &'p Policy) -> Self {
        let mut before: HashMap<String, OperationId> =
            operations(old).map(|(id, operation)| (operation_name(old, operation), id)).collect();
        let mut pairs: Vec<(String, Option<OperationId>, Option<OperationId>)> = operations(new)
            .map(|(id, operation)| {
                let name = operation_name(new, operation);
                let earlier = before.remove(&name);
                (name, earlier, Some(id))
            })
            .collect();
        let gone: BTreeMap<OperationId, String> = before.into_iter().map(|(name, id)| (id, name)).collect();
        pairs.extend(gone.into_iter().map(|(id, name)| (name, Some(id), None)));
        Self { old, new, operations: pairs }
    }

    /// Operations that become or cease to be public.
    fn public_access_changes(&self) -> Vec<AccessChange> {
        let mut changes = Vec::new();
        for (name, before, now) in &self.operations {
            let (was, is) = (is_public(self.old, *before), is_public(self.new, *now));
            if was != is {
                changes.push(self.change(is, None, name, *before, *now));
            }
        }
        changes
    }

    fn of_tenant(
        &self,
        before: Option<&'p Tenant>,
        now: Option<&'p Tenant>,
        is_of_interest: &dyn Fn(&str) -> bool,
        changes: &mut Vec<AccessChange>,
    ) {
        let Some(tenant) = now.or(before) else { return };
        let had = before.map(|tenant| callers(self.old, tenant)).unwrap_or_default();
        let has = now.map(|tenant| callers(self.new, tenant)).unwrap_or_default();
        let key = |caller: &Caller<'p>| (caller.provider, caller.client);
        let mut everyone: Vec<_> = has.iter().map(key).collect();
        everyone.extend(
            had.iter()
                .map(key)
                .filter(|key| !has.iter().any(|caller| (caller.provider, caller.client) == *key)),
        );
        for (provider, client) in everyone {
            let find = |callers: &'_ [Caller<'p>]| {
                callers.iter().position(|caller| key(caller) == (provider, client))
            };
            let (earlier, later) =
                (find(&had).and_then(|at| had.get(at)), find(&has).and_then(|at| has.get(at)));
            for (name, old_id, new_id) in &self.operations {
                // No suite's name holds a slash.
                let suite = name.split('/').next().unwrap_or_default();
                if !is_of_interest(suite) || is_public(self.old, *old_id) || is_public(self.new, *new_id) {
                    continue;
                }
                let passes = |caller: Option<&Caller<'_>>, id: &Option<OperationId>| {
                    caller.zip(*id).is_some_and(|(caller, id)| Reach::passes(caller.holder.reach(id)))
                };
                let (did, does) = (passes(earlier, old_id), passes(later, new_id));
                if did != does {
                    let who = Who {
                        tenant: tenant.id.to_string(),
                        provider: provider.map(str::to_owned),
                        client: client.map(str::to_owned),
                    };
                    changes.push(self.change(does, Some(who), name, *old_id, *new_id));
                }
            }
        }
    }

    fn change(
        &self,
        gains: bool,
        who: Option<Who>,
        name: &str,
        before: Option<OperationId>,
        now: Option<OperationId>,
    ) -> AccessChange {
        let request = match (now, before) {
            (Some(id), _) => request_text(self.new, id),
            (None, Some(id)) => request_text(self.old, id),
            (None, None) => String::new(),
        };
        AccessChange { gains, who, operation: name.to_owned(), request }
    }
}

fn is_public(policy: &Policy, id: Option<OperationId>) -> bool {
    let operation = id.and_then(|id| policy.catalog.operation(id));
    operation.is_some_and(|operation| operation.access == Access::Public)
}

/// Paths of other settings that differ; tenants and suites have events of their own. Values may be secrets
/// and are not shown.
fn settings(old: &Node<'_>, new: &Node<'_>) -> Vec<String> {
    const EVENTFUL: [&str; 3] = ["tenants", "tenant_templates", "suites"];
    let mut paths = Vec::new();
    let is_setting = |key: &str| !EVENTFUL.contains(&key);
    compare(&old.value, &new.value, "", &is_setting, &mut paths);
    paths
}

fn compare(
    old: &Value<'_>,
    new: &Value<'_>,
    path: &str,
    is_setting: &dyn Fn(&str) -> bool,
    paths: &mut Vec<String>,
) {
    let (Value::Map(had), Value::Map(has)) = (old, new) else {
        if canonical(old) != canonical(new) {
            paths.push(path.to_owned());
        }
        return;
    };
    let had: BTreeMap<&str, &Value<'_>> =
        had.iter().map(|member| (&*member.key, &member.node.value)).collect();
    let has: BTreeMap<&str, &Value<'_>> =
        has.iter().map(|member| (&*member.key, &member.node.value)).collect();
    for key in had.keys().chain(has.keys()).collect::<BTreeSet<_>>() {
        if path.is_empty() && !is_setting(key) {
            continue;
        }
        let below = if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") };
        match (had.get(key), has.get(key)) {
            (Some(old), Some(new)) => compare(old, new, &below, is_setting, paths),
            (_, _) => paths.push(below),
        }
    }
}

fn canonical(value: &Value<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.canonical(&mut |part| bytes.extend_from_slice(part));
    bytes
}

impl AccessChange {
    fn to_json(&self) -> serde_json::Value {
        let who = self.who.as_ref();
        json!({
            "change": if self.gains { "gains" } else { "loses" },
            "everybody": who.is_none(),
            "tenant": who.map(|who| &who.tenant),
            "provider": who.and_then(|who| who.provider.as_ref()),
            "client": who.and_then(|who| who.client.as_ref()),
            "operation": self.operation,
            "request": self.request,
        })
    }
}

fn text(events: &[Change], access: &[AccessChange], settings: &[String], terminal: &Terminal) -> String {
    let mut text = String::new();
    if !events.is_empty() {
        text.push_str(&format!("{}\n", terminal.paint(Style::Strong, "Audit events of a reload")));
        for change in events {
            let names: Vec<String> =
                change.subject.names().into_iter().map(|(name, value)| format!("{name} {value}")).collect();
            let details: Vec<String> = change.details.iter().map(detail_text).collect();
            let line = format!("{:<25} {}", change.event(), names.join(", "));
            text.push_str(&format!("  {}\n", shown(&line)));
            for detail in details {
                text.push_str(&format!("  {:25} {}\n", "", terminal.paint(Style::Faint, shown(&detail))));
            }
        }
    }
    if !access.is_empty() {
        text.push_str(&format!("{}\n", terminal.paint(Style::Strong, "Access")));
        for change in access {
            let (style, verb) =
                if change.gains { (Style::Doubtful, "+ gains") } else { (Style::Bad, "- loses") };
            let who = match &change.who {
                None => "everybody, without a token".to_owned(),
                Some(who) => format!("{} {}", who.tenant, who.client.as_deref().unwrap_or("any client")),
            };
            let line = format!("{who:<30} {:<25} {}", change.operation, change.request);
            text.push_str(&format!("  {} {}\n", terminal.paint(style, verb), shown(&line)));
        }
    }
    if !settings.is_empty() {
        text.push_str(&format!("{}\n", terminal.paint(Style::Strong, "Other settings that differ")));
        settings.iter().for_each(|path| text.push_str(&format!("  {}\n", shown(path))));
    }
    let gains = access.iter().filter(|change| change.gains).count();
    text.push_str(&format!(
        "{} audit events, access gained {gains} times and lost {} times, {} other settings differ\n",
        events.len(),
        access.len() - gains,
        settings.len()
    ));
    text
}

fn detail_text(detail: &Detail) -> String {
    let or_none = |value: &Option<Box<str>>| value.as_deref().unwrap_or("not set").to_owned();
    match detail {
        Detail::Value { name, from, to } => format!("{name}: {} -> {}", or_none(from), or_none(to)),
        Detail::Set { name, added, removed } => {
            let signed = |sign: &str, names: &[Box<str>]| -> String {
                names.iter().map(|name| format!(" {sign}{name}")).collect()
            };
            format!("{name}:{}{}", signed("+", added), signed("-", removed))
        }
    }
}

#[cfg(test)]
mod tests {
    use scopegate::config::{parse_yaml, parse_yaml_document};

    use super::*;

    const BOOKS: &str = include_str!("../../../tests/fixtures/tool/books.yaml");

    fn changes(from: &str, to: &str) -> Vec<String> {
        assert_eq!(BOOKS.matches(from).count(), 1, "{from}");
        let (old, new) =
            (parse_yaml(BOOKS).unwrap().policy, parse_yaml(&BOOKS.replace(from, to)).unwrap().policy);
        let line = |change: AccessChange| {
            let sign = if change.gains { '+' } else { '-' };
            let who = change.who.map_or("everybody".to_owned(), |who| {
                format!("{} {}", who.tenant, who.client.unwrap_or("*".to_owned()))
            });
            format!("{sign} {who} {}", change.operation)
        };
        access_changes(&old, &new, &difference(&old, &new)).into_iter().map(line).collect()
    }

    #[test]
    fn a_scope_that_is_assigned_or_taken_away_opens_and_closes_operations() {
        let sync = "{client_id: globex-sync, scopes: [read]}";
        assert_eq!(
            changes(sync, "{client_id: globex-sync, scopes: [write]}"),
            ["- globex globex-sync books/list", "+ globex globex-sync books/add",]
        );
        assert_eq!(
            changes("admin: [read, write, admin]", "admin: [admin]"),
            ["- acme acme-admin books/list", "- acme acme-admin books/add"]
        );
    }

    #[test]
    fn what_becomes_public_is_gained_by_everybody_and_told_once() {
        assert_eq!(changes("access: authenticated", "access: public"), ["+ everybody books/who-am-i"]);
        assert_eq!(changes("access: public", "access: authenticated"), ["- everybody books/health"]);
    }

    #[test]
    fn a_suite_that_a_tenant_gets_is_gained_by_its_applications() {
        assert_eq!(
            changes("    suites: [books]\n", ""),
            ["+ globex globex-sync reports/sales", "+ globex globex-trial reports/sales",]
        );
    }

    #[test]
    fn leaving_shadow_loses_what_shadow_let_pass() {
        assert_eq!(
            changes(", scope_enforcement: shadow}", "}"),
            ["- globex globex-trial books/add", "- globex globex-trial books/remove",]
        );
    }

    #[test]
    fn settings_of_the_whole_file_count_for_every_tenant() {
        let all = changes("realm: books", "realm: books\nscope_enforcement: shadow");
        assert!(all.contains(&"+ acme acme-sync books/remove".to_owned()), "{all:?}");
        assert!(all.contains(&"+ globex globex-sync books/add".to_owned()), "{all:?}");
        let all = changes("realm: books", "realm: books\nscopes_per_application: false");
        assert!(all.contains(&"+ acme acme-sync books/remove".to_owned()), "{all:?}");
    }

    #[test]
    fn what_a_suite_requires_counts_for_every_tenant() {
        let all = changes("requires: [admin]", "requires: [read]");
        assert_eq!(all, ["+ acme acme-sync books/remove", "+ globex globex-sync books/remove",]);
    }

    #[test]
    fn an_application_that_is_registered_or_removed_gains_or_loses_all_it_could_do() {
        let lost = changes("      - {client_id: acme-sync, scopes: [read, write]}\n", "");
        assert_eq!(
            lost,
            [
                "- acme acme-sync books/list",
                "- acme acme-sync books/add",
                "- acme acme-sync books/who-am-i",
                "- acme acme-sync reports/sales",
            ]
        );
    }

    #[test]
    fn how_callers_must_prove_themselves_is_told() {
        let replaced = BOOKS
            .replace("    audiences: [books-api]\n", "    audiences: [books-api]\n    profile: fapi2\n    dpop: {mode: optional, public_origin: 'https://a.example'}\n")
            .replacen("requires: [admin]", "requires: [admin], acr_values: [urn:mfa], max_auth_age: 5m", 1);
        let (old, new) = (parse_yaml(BOOKS).unwrap().policy, parse_yaml(&replaced).unwrap().policy);
        let events: Vec<String> =
            difference(&old, &new).iter().flat_map(|change| &change.details).map(detail_text).collect();
        assert_eq!(
            events,
            [
                "operations/remove.acr_values: not set -> urn:mfa",
                "operations/remove.max_auth_age: not set -> 300s"
            ]
        );
        let (old, new) = (parse_yaml_document(BOOKS).unwrap(), parse_yaml_document(&replaced).unwrap());
        assert_eq!(settings(&old, &new), ["providers.corp.dpop", "providers.corp.profile"]);
    }

    #[test]
    fn other_settings_are_named_by_path_and_never_by_value() {
        let new = BOOKS
            .replace("realm: books", "realm: shelves")
            .replace("{env: INTROSPECTION_SECRET}", "{value: hunter2}")
            .replace("id: acme", "id: initech");
        let (old, new) = (parse_yaml_document(BOOKS).unwrap(), parse_yaml_document(&new).unwrap());
        assert_eq!(
            settings(&old, &new),
            [
                "providers.corp.introspection.client_auth.client_secret.env",
                "providers.corp.introspection.client_auth.client_secret.value",
                "realm",
            ]
        );
        assert_eq!(settings(&old, &old), Vec::<String>::new());
    }
}
