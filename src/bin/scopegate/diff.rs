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
use crate::envoy_file::{member, string};
use crate::kin;
use crate::progress;
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
  scopegate diff --admin http://127.0.0.1:9901 gateway/
  git show HEAD~1:gateway.yaml | scopegate diff - gateway.yaml --exit-code
  scopegate diff old.yaml new.yaml --format json | jq -c '.events[]'")]
pub struct Arguments {
    /// The current configuration and the new one: files, directories, or what carries one. With --admin the new one alone.
    #[arg(required = true, num_args = 1..=2, value_name = "OLD NEW")]
    paths: Vec<PathBuf>,
    /// Compare with what a running Envoy has, by the address of its administration interface: what would a push change there?
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// List each change, equal ones of many tenants too.
    #[arg(long)]
    all: bool,
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
    let (old, new) = match (&arguments.admin, &*arguments.paths) {
        (Some(url), [new]) => (Source::of_envoy(url)?, Source::read(new)?),
        (None, [old, new]) if old.as_os_str() == "-" && new.as_os_str() == "-" => {
            return Err(Failure("only one file can be standard input".to_owned()));
        }
        (None, [old, new]) => (Source::read(old)?, Source::read(new)?),
        (Some(_), _) => return Err(Failure("with --admin, name the new configuration alone".to_owned())),
        (None, _) => return Err(Failure("name the current configuration and the new one".to_owned())),
    };
    let compared = Compared::new(&old, &new)?;
    let text = match arguments.format {
        Format::Text => compared.text(arguments.all, terminal),
        Format::Json => format!("{:#}\n", compared.json()),
    };
    Ok(CommandOutput { text, notes: Vec::new(), yes: compared.is_same() || !arguments.exit_code })
}

/// Two configurations and all in which they differ.
pub struct Compared {
    events: Vec<Change>,
    access: Vec<AccessChange>,
    settings: Vec<String>,
    summary: Summary,
    templates: HashMap<String, String>,
}

impl Compared {
    /// Compares them.
    pub fn new(old: &Source, new: &Source) -> Result<Self, Failure> {
        let ((old_loaded, old_document), (new_loaded, new_document)) = (old.load_whole()?, new.load_whole()?);
        let (old_policy, new_policy) = (old_loaded.policy, new_loaded.policy);
        progress::doing("comparing", 0);
        let events = difference(&old_policy, &new_policy);
        let kin = (kin::kin(&old_policy, &old_document), kin::kin(&new_policy, &new_document));
        let access = access_changes(&old_policy, &new_policy, &events, &kin);
        Ok(Self {
            settings: settings(&old_document, &new_document),
            summary: Summary::of(&old_policy, &new_policy, &events, &access),
            templates: templates([&old_document, &new_document]),
            events,
            access,
        })
    }

    fn is_same(&self) -> bool {
        self.events.is_empty() && self.access.is_empty() && self.settings.is_empty()
    }

    /// For people; with each change where `all` is.
    pub fn text(&self, all: bool, terminal: &Terminal) -> String {
        let grouping = Grouping { templates: &self.templates, all };
        let mut text = if self.is_same() { String::new() } else { self.summary.text(terminal) };
        text.push_str(&text_of(&self.events, &self.access, &self.settings, &grouping, terminal));
        text
    }

    /// For machines; `events` holds the lines that the filter logs.
    pub fn json(&self) -> serde_json::Value {
        json!({
            "summary": self.summary.json(),
            "events": self.events.iter().map(Change::to_json).collect::<Vec<_>>(),
            "access": self.access.iter().map(AccessChange::to_json).collect::<Vec<_>>(),
            "settings": self.settings,
        })
    }
}

/// Every change of access, tenant by tenant. For a tenant without an event of its own only the operations of
/// suites with an event are compared.
fn access_changes(old: &Policy, new: &Policy, events: &[Change], kin: &(Kin, Kin)) -> Vec<AccessChange> {
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
    // What becomes of one tenant becomes of all that were and are its kin.
    let mut known_changes: HashMap<_, Vec<AccessChange>> = HashMap::new();
    let known: HashMap<&str, &Tenant> = old.tenants.iter().map(|(_, tenant)| (&*tenant.id, tenant)).collect();
    let kept: HashSet<&str> = new.tenants.iter().map(|(_, tenant)| &*tenant.id).collect();
    let of_new = new.tenants.iter().map(|(_, tenant)| (known.get(&*tenant.id).copied(), Some(tenant)));
    let gone = old.tenants.iter().filter(|(_, tenant)| !kept.contains(&*tenant.id));
    for (before, now) in of_new.chain(gone.map(|(_, tenant)| (Some(tenant), None))) {
        let id = now.or(before).map_or("", |tenant| &tenant.id);
        let whole = is_everything_eventful || eventful_tenants.contains(id);
        if whole || !eventful_suites.is_empty() {
            let is_of_interest = |suite: &str| whole || eventful_suites.contains(suite);
            let key = (kin.0.get(id), kin.1.get(id), before.is_some(), now.is_some(), whole);
            let is_known = (key.0.is_some() || before.is_none()) && (key.1.is_some() || now.is_none());
            if !is_known {
                pairs.of_tenant(before, now, &is_of_interest, &mut changes);
                continue;
            }
            let general = known_changes.entry(key).or_insert_with(|| {
                let mut own = Vec::new();
                pairs.of_tenant(before, now, &is_of_interest, &mut own);
                own.into_iter().map(|change| change.renamed(id, kin::NAME)).collect()
            });
            changes.extend(general.iter().map(|change| change.clone().renamed(kin::NAME, id)));
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

type Kin = HashMap<String, Vec<u8>>;

impl AccessChange {
    /// The same change of a tenant of another name.
    fn renamed(mut self, from: &str, to: &str) -> Self {
        if let Some(who) = &mut self.who {
            who.tenant = who.tenant.replace(from, to);
            who.client = who.client.take().map(|client| client.replace(from, to));
        }
        self
    }

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

fn text_of(
    events: &[Change],
    access: &[AccessChange],
    settings: &[String],
    grouping: &Grouping<'_>,
    terminal: &Terminal,
) -> String {
    let mut text = String::new();
    if !events.is_empty() {
        text.push_str(&format!("{}\n", terminal.paint(Style::Strong, "Audit events of a reload")));
        let described: Vec<Described> =
            events.iter().map(|change| described_event(change, grouping)).collect();
        for group in grouping.groups(&described) {
            let (title, details) = group.lines();
            text.push_str(&format!("  {}\n", shown(&title)));
            for detail in details {
                text.push_str(&format!("  {:25} {}\n", "", terminal.paint(Style::Faint, shown(detail))));
            }
        }
    }
    if !access.is_empty() {
        text.push_str(&format!("{}\n", terminal.paint(Style::Strong, "Access")));
        let described = described_accesses(access, grouping);
        for group in grouping.groups(&described) {
            let (style, verb) =
                if group.first.gains { (Style::Doubtful, "+ gains") } else { (Style::Bad, "- loses") };
            let (line, _) = group.lines();
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

fn described_event(change: &Change, grouping: &Grouping<'_>) -> Described {
    let names = change.subject.names();
    let tenant = names.iter().find(|(name, _)| *name == "tenant").map(|(_, tenant)| (*tenant).to_owned());
    let listed = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(", ");
    let own = listed(&mut names.iter().map(|(name, value)| format!("{name} {value}")));
    let others = listed(
        &mut names
            .iter()
            .filter(|(name, _)| *name != "tenant")
            .map(|(name, value)| format!("{name} {}", grouping.general(value, tenant.as_deref()))),
    );
    let details: Vec<String> = change.details.iter().map(detail_text).collect();
    let general = details.iter().map(|detail| grouping.general(detail, tenant.as_deref())).collect();
    let event = format!("{:<25}", change.event());
    Described {
        gains: false,
        own: format!("{event} {own}"),
        before: event,
        behind: if others.is_empty() { others } else { format!(", {others}") },
        details,
        general,
        tenant,
    }
}

/// Changes in their order; many of one client, one after the other, are told as one.
fn described_accesses(access: &[AccessChange], grouping: &Grouping<'_>) -> Vec<Described> {
    const MANY: usize = 10;
    let mut described = Vec::new();
    for changes in access.chunk_by(|one, next| one.gains == next.gains && one.who == next.who) {
        match changes.first() {
            Some(first) if changes.len() > MANY && first.who.is_some() && !grouping.all => {
                let names: Vec<&str> =
                    changes.iter().take(3).map(|change| change.operation.as_str()).collect();
                let operation = format!("{} operations ({}, …)", changes.len(), names.join(", "));
                let all = AccessChange { operation, request: String::new(), ..first.clone() };
                described.push(described_access(&all, grouping));
            }
            Some(_) | None => {
                described.extend(changes.iter().map(|change| described_access(change, grouping)));
            }
        }
    }
    described
}

fn described_access(change: &AccessChange, grouping: &Grouping<'_>) -> Described {
    let tenant = change.who.as_ref().map(|who| who.tenant.clone());
    let client = change.who.as_ref().map(|who| who.client.as_deref().unwrap_or("any client"));
    let who = match (&tenant, client) {
        (Some(tenant), Some(client)) => format!("{tenant} {client}"),
        (_, _) => "everybody, without a token".to_owned(),
    };
    let client = grouping.general(client.unwrap_or_default(), tenant.as_deref());
    Described {
        gains: change.gains,
        own: format!("{who:<30} {:<25} {}", change.operation, change.request),
        before: String::new(),
        behind: format!(", {client}: {} {}", change.operation, change.request),
        details: Vec::new(),
        general: Vec::new(),
        tenant,
    }
}

/// A change in words: by itself, and as one of many.
struct Described {
    gains: bool,
    /// By itself.
    own: String,
    /// As one of many: what stands before the tenants, and behind them.
    before: String,
    behind: String,
    details: Vec<String>,
    general: Vec<String>,
    tenant: Option<String>,
}

/// Which changes are told as one.
struct Grouping<'t> {
    templates: &'t HashMap<String, String>,
    all: bool,
}

/// Equal changes.
struct Group<'d> {
    first: &'d Described,
    tenants: Vec<&'d str>,
    template: Option<&'d str>,
}

/// What equal changes have in common: the side, the words around the tenants, the details, and the template.
type Likeness<'d> = (bool, &'d str, &'d str, &'d [String], Option<&'d str>);

/// So many equal changes are told one by one.
const FEW: usize = 2;

impl Grouping<'_> {
    /// `text` with `{tenant}` for the tenant's id, by which equal changes of tenants differ.
    fn general(&self, text: &str, tenant: Option<&str>) -> String {
        match tenant {
            Some(tenant) => text.replace(tenant, "{tenant}"),
            None => text.to_owned(),
        }
    }

    /// The changes in their order; equal ones of tenants with one template stand where the first of them does.
    fn groups<'d>(&'d self, changes: &'d [Described]) -> Vec<Group<'d>> {
        let mut groups: Vec<Group<'d>> = Vec::new();
        let mut places: HashMap<Likeness<'_>, Vec<usize>> = HashMap::new();
        for (at, change) in changes.iter().enumerate() {
            if let Some(tenant) = &change.tenant {
                let template = self.templates.get(tenant).map(String::as_str);
                let key = (change.gains, &*change.before, &*change.behind, &*change.general, template);
                places.entry(key).or_default().push(at);
            }
        }
        let mut told_with_others: HashSet<usize> = HashSet::new();
        let mut leaders: HashMap<usize, Group<'d>> = HashMap::new();
        for ((.., template), members) in &places {
            let (Some(first), false) = (members.first(), self.all || members.len() <= FEW) else { continue };
            let Some(leader) = changes.get(*first) else { continue };
            told_with_others.extend(members.iter().skip(1));
            let tenants = members.iter().filter_map(|at| changes.get(*at)?.tenant.as_deref()).collect();
            leaders.insert(*first, Group { first: leader, tenants, template: *template });
        }
        for (at, change) in changes.iter().enumerate() {
            if let Some(group) = leaders.remove(&at) {
                groups.push(group);
            } else if !told_with_others.contains(&at) {
                groups.push(Group { first: change, tenants: Vec::new(), template: None });
            }
        }
        groups
    }
}

impl<'d> Group<'d> {
    /// Its line, and those of its details.
    fn lines(&self) -> (String, &'d [String]) {
        let change = self.first;
        if self.tenants.is_empty() {
            return (change.own.clone(), &change.details);
        }
        let of = self.template.map_or(String::new(), |template| format!(" of template {template}"));
        let shown: Vec<&str> = self.tenants.iter().take(3).copied().collect();
        let dots = if self.tenants.len() > shown.len() { ", …" } else { "" };
        let before = if change.before.is_empty() { String::new() } else { format!("{} ", change.before) };
        let line = format!(
            "{before}{} tenants{of} ({}{dots}){}",
            self.tenants.len(),
            shown.join(", "),
            change.behind
        );
        (line, &change.general)
    }
}

/// The template of each tenant that has one.
fn templates(documents: [&Node<'_>; 2]) -> HashMap<String, String> {
    let mut templates = HashMap::new();
    for document in documents {
        let Some(Value::List(tenants)) = member(document, "tenants").map(|node| &node.value) else {
            continue;
        };
        for tenant in tenants {
            let name = |key| member(tenant, key).and_then(string).map(str::to_owned);
            if let (Some(id), Some(template)) = (name("id"), name("template")) {
                templates.insert(id, template);
            }
        }
    }
    templates
}

/// The difference in numbers.
struct Summary {
    lines: Vec<(&'static str, Counted)>,
    gaining: (usize, usize, usize),
    losing: (usize, usize, usize),
}

/// How many things of a kind there were and are, and what became of them.
#[derive(Default)]
struct Counted {
    before: usize,
    now: usize,
    added: usize,
    removed: usize,
    changed: usize,
}

impl Summary {
    fn of(old: &Policy, new: &Policy, events: &[Change], access: &[AccessChange]) -> Self {
        let applications = |policy: &Policy| {
            let own = |tenant: &Tenant| tenant.applications.as_deref().map_or(0, <[_]>::len);
            policy.tenants.iter().map(|(_, tenant)| own(tenant)).sum::<usize>()
        };
        let operations = |policy: &Policy| policy.catalog.operations.len();
        let counted = |before: usize, now: usize| Counted { before, now, ..Counted::default() };
        let mut tenants = counted(old.tenants.len(), new.tenants.len());
        let mut clients = counted(applications(old), applications(new));
        let mut calls = counted(operations(old), operations(new));
        let names = |policy: &Policy| -> HashSet<String> {
            crate::catalog::operations(policy)
                .map(|(_, operation)| operation_name(policy, operation))
                .collect()
        };
        let (had, has) = (names(old), names(new));
        (calls.added, calls.removed) = (has.difference(&had).count(), had.difference(&has).count());
        let mut touched: HashSet<&str> = HashSet::new();
        let mut changed_calls: HashSet<String> = HashSet::new();
        for event in events {
            let name = event.event();
            let action = name.rsplit('.').next().unwrap_or_default();
            match &event.subject {
                Subject::Tenant { tenant } => match action {
                    "created" => tenants.added += 1,
                    "deleted" => tenants.removed += 1,
                    _ => drop(touched.insert(tenant)),
                },
                Subject::Application { tenant, .. } => {
                    touched.insert(tenant);
                    match action {
                        "created" => clients.added += 1,
                        "deleted" => clients.removed += 1,
                        _ => clients.changed += 1,
                    }
                }
                Subject::Scope { tenant, .. } | Subject::Suite { tenant: Some(tenant), .. } => {
                    touched.insert(tenant);
                }
                Subject::Suite { suite, tenant: None } => {
                    let of_operation = |name: &str| {
                        let (operation, _) = name.strip_prefix("operations/")?.rsplit_once('.')?;
                        Some(format!("{suite}/{operation}"))
                    };
                    for detail in &event.details {
                        let (Detail::Value { name, .. } | Detail::Set { name, .. }) = detail;
                        changed_calls.extend(of_operation(name));
                    }
                }
            }
        }
        tenants.changed = touched.len();
        calls.changed =
            changed_calls.iter().filter(|name| had.contains(*name) && has.contains(*name)).count();
        let side = |gains: bool| {
            let changes = || access.iter().filter(move |change| change.gains == gains);
            let who: HashSet<(&str, Option<&str>)> = changes()
                .filter_map(|change| change.who.as_ref())
                .map(|who| (&*who.tenant, who.client.as_deref()))
                .collect();
            let of: HashSet<&str> = who.iter().map(|(tenant, _)| *tenant).collect();
            (changes().count(), who.len(), of.len())
        };
        Self {
            lines: vec![("tenants", tenants), ("applications", clients), ("operations", calls)],
            gaining: side(true),
            losing: side(false),
        }
    }

    fn text(&self, terminal: &Terminal) -> String {
        let mut text = format!("{}\n", terminal.paint(Style::Strong, "Summary"));
        for (what, counted) in &self.lines {
            let Counted { before, now, added, removed, changed } = counted;
            text.push_str(&format!(
                "  {what:<13} {before} -> {now}: {added} added, {removed} removed, {changed} changed\n"
            ));
        }
        for (what, (times, clients, tenants)) in [("gained", self.gaining), ("lost", self.losing)] {
            let line = format!("access {what}");
            let by = if clients == 0 {
                String::new()
            } else {
                format!(" by {clients} clients of {tenants} tenants")
            };
            text.push_str(&format!("  {line:<13} {times}{by}\n"));
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let mut members = serde_json::Map::new();
        for (what, counted) in &self.lines {
            let Counted { before, now, added, removed, changed } = counted;
            let counts =
                json!({"before": before, "now": now, "added": added, "removed": removed, "changed": changed});
            members.insert((*what).to_owned(), counts);
        }
        for (what, (times, clients, tenants)) in [("gained", self.gaining), ("lost", self.losing)] {
            members.insert(what.to_owned(), json!({"times": times, "clients": clients, "tenants": tenants}));
        }
        members.into()
    }
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
        let kin = |policy: &Policy, yaml: &str| kin::kin(policy, &parse_yaml_document(yaml).unwrap());
        let kin = (kin(&old, BOOKS), kin(&new, &BOOKS.replace(from, to)));
        access_changes(&old, &new, &difference(&old, &new), &kin).into_iter().map(line).collect()
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
