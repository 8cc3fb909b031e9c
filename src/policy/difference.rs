//! What changes from one configuration to the next: the audit events of a reload, and the counts of a first load.
//!
//! An event is about one entity: a tenant, a scope or an application of a tenant, or a suite. *Re-associated* is what
//! only ties entities together: a scope and its permissions, an application and its scopes, a suite and the scopes that
//! open it, a tenant and its suites or providers. *Modified* is all else. A tenant that comes or goes brings or takes
//! its scopes and applications, each with an event of its own.
//!
//! Descriptions of scopes are for people and no part of a policy: a change of them is no event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Policy;
use crate::authorize::{
    Access, Application, Enforcement, EvidenceKind, Operation, Requirement, ScopeKind, ScopeTable, Suite,
    Tenant,
};
use crate::ids::{OperationId, TenantId};

/// One audit event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
    /// What happened to it.
    pub action: Action,
    /// What is different, where the entity was there before and is there still.
    pub details: Vec<Detail>,
}

/// What an event is about, by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A tenant.
    Tenant {
        /// Its id.
        tenant: Box<str>,
    },
    /// A declared scope of a tenant.
    Scope {
        /// The tenant's id.
        tenant: Box<str>,
        /// The scope, without the tenant's prefix.
        scope: Box<str>,
    },
    /// A registered application of a tenant.
    Application {
        /// The tenant's id.
        tenant: Box<str>,
        /// The provider whose client it is.
        provider: Box<str>,
        /// The `client_id`.
        client: Box<str>,
    },
    /// A suite, for all tenants or as one tenant has it.
    Suite {
        /// Its name.
        suite: Box<str>,
        /// The tenant that replaces a part of the suite.
        tenant: Option<Box<str>>,
    },
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the audit events")]
pub enum Action {
    Created,
    Modified,
    Deleted,
    Reassociated,
}

/// One difference within an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A value that was replaced; none where it is not set.
    Value {
        /// Which.
        name: Box<str>,
        /// Before.
        from: Option<Box<str>>,
        /// Now.
        to: Option<Box<str>>,
    },
    /// A set that lost and gained members.
    Set {
        /// Which.
        name: Box<str>,
        /// Members that it has now.
        added: Vec<Box<str>>,
        /// Members that it had.
        removed: Vec<Box<str>>,
    },
}

/// How much of everything a configuration has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub tenants: usize,
    pub scopes: usize,
    pub applications: usize,
    pub suites: usize,
    pub operations: usize,
}

impl Counts {
    /// The counts of `policy`; of scopes and applications, those of all tenants together.
    pub fn of(policy: &Policy) -> Self {
        let tenants = || policy.tenants.iter().map(|(_, tenant)| tenant);
        let declared = |tenant: &Tenant| tenant.scope_table.declared.as_ref().map_or(0, HashMap::len);
        Self {
            tenants: policy.tenants.len(),
            scopes: tenants().map(declared).sum(),
            applications: tenants()
                .map(|tenant| tenant.applications.as_deref().unwrap_or_default().len())
                .sum(),
            suites: policy.catalog.suites.len(),
            operations: policy.catalog.operations.len(),
        }
    }
}

/// The audit events of a change from `old` to `new`: of suites, then of each tenant with its scopes and applications, in
/// the order of the new configuration and behind it what is gone. Without any where nothing of all that changes.
pub fn difference(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut changes = Vec::new();
    suites(old, new, &mut changes);
    Tenants::new(old, new).compare(&mut changes);
    changes
}

impl Change {
    /// The event's name: `scope.created`.
    pub fn event(&self) -> String {
        format!("{}.{}", self.subject.kind(), self.action.as_str())
    }

    /// The event as the filter logs it.
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        members.insert("event".to_owned(), self.event().into());
        for (name, value) in self.subject.names() {
            members.insert(name.to_owned(), value.into());
        }
        if !self.details.is_empty() {
            let details = self.details.iter().map(Detail::to_json).collect();
            members.insert("changes".to_owned(), Value::Object(details));
        }
        Value::Object(members)
    }
}

impl Subject {
    /// What kind of entity it is: `scope`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tenant { .. } => "tenant",
            Self::Scope { .. } => "scope",
            Self::Application { .. } => "application",
            Self::Suite { .. } => "suite",
        }
    }

    /// The names that it is known by, the most general first.
    pub fn names(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Tenant { tenant } => vec![("tenant", tenant)],
            Self::Scope { tenant, scope } => vec![("tenant", tenant), ("scope", scope)],
            Self::Application { tenant, provider, client } => {
                vec![("tenant", tenant), ("provider", provider), ("client", client)]
            }
            Self::Suite { suite, tenant: None } => vec![("suite", suite)],
            Self::Suite { suite, tenant: Some(tenant) } => vec![("tenant", tenant), ("suite", suite)],
        }
    }
}

impl Action {
    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::Reassociated => "reassociated",
        }
    }
}

impl Detail {
    /// What it is a difference of.
    pub fn name(&self) -> &str {
        match self {
            Self::Value { name, .. } | Self::Set { name, .. } => name,
        }
    }

    fn to_json(&self) -> (String, Value) {
        match self {
            Self::Value { name, from, to } => (name.to_string(), json!({"from": from, "to": to})),
            Self::Set { name, added, removed } => {
                (name.to_string(), json!({"added": added, "removed": removed}))
            }
        }
    }

    fn value(name: &str, from: Option<&str>, to: Option<&str>) -> Option<Self> {
        (from != to).then(|| Self::Value {
            name: name.into(),
            from: from.map(Box::from),
            to: to.map(Box::from),
        })
    }

    fn set<'n>(
        name: &str,
        from: impl IntoIterator<Item = &'n str>,
        to: impl IntoIterator<Item = &'n str>,
    ) -> Option<Self> {
        let (from, to): (BTreeSet<&str>, BTreeSet<&str>) =
            (from.into_iter().collect(), to.into_iter().collect());
        let only_in = |one: &BTreeSet<&str>, other: &BTreeSet<&str>| {
            one.difference(other).map(|member| Box::from(*member)).collect()
        };
        (from != to).then(|| Self::Set {
            name: name.into(),
            added: only_in(&to, &from),
            removed: only_in(&from, &to),
        })
    }
}

/// Adds an event for `details`, if there are any.
fn changed(subject: &Subject, action: Action, details: Vec<Detail>, changes: &mut Vec<Change>) {
    if !details.is_empty() {
        changes.push(Change { subject: subject.clone(), action, details });
    }
}

/// Suites as they are for all tenants.
fn suites(old: &Policy, new: &Policy, changes: &mut Vec<Change>) {
    let known: HashMap<&str, &Suite> = old.catalog.suites.iter().map(|suite| (&*suite.name, suite)).collect();
    let subject = |suite: &Suite| Subject::Suite { suite: suite.name.clone(), tenant: None };
    for suite in &new.catalog.suites {
        let Some(before) = known.get(&*suite.name) else {
            changes.push(Change { subject: subject(suite), action: Action::Created, details: Vec::new() });
            continue;
        };
        let (before, now) = (SuiteTerms::of(before, old), SuiteTerms::of(suite, new));
        let mut modified: Vec<Detail> =
            Detail::set("operations", before.operation_names(), now.operation_names()).into_iter().collect();
        let is_kept = |name: &str| before.operations.contains(name) && now.operations.contains(name);
        modified.extend(compare_terms(&before.own, &now.own, &is_kept));
        changed(&subject(suite), Action::Modified, modified, changes);
        changed(
            &subject(suite),
            Action::Reassociated,
            compare_terms(&before.ties, &now.ties, &is_kept),
            changes,
        );
    }
    let kept: BTreeSet<&str> = new.catalog.suites.iter().map(|suite| &*suite.name).collect();
    for suite in old.catalog.suites.iter().filter(|suite| !kept.contains(&*suite.name)) {
        changes.push(Change { subject: subject(suite), action: Action::Deleted, details: Vec::new() });
    }
}

/// A suite in words that mean the same in every policy.
struct SuiteTerms<'p> {
    operations: BTreeSet<&'p str>,
    /// What it is by itself, and each of its operations.
    own: BTreeMap<String, String>,
    /// What ties it to scopes.
    ties: BTreeMap<String, String>,
}

impl<'p> SuiteTerms<'p> {
    fn of(suite: &'p Suite, policy: &'p Policy) -> Self {
        let mut terms = Self { operations: BTreeSet::new(), own: BTreeMap::new(), ties: BTreeMap::new() };
        terms.own.insert("system".to_owned(), suite.system.to_string());
        if let Some(scopes) = &suite.scopes {
            terms.ties.insert("scopes".to_owned(), requirement_text(scopes, policy));
        }
        for id in &suite.operations {
            if let Some(operation) = policy.catalog.operation(*id) {
                let [of_suite, _] = &operation.audiences;
                if !of_suite.is_empty() {
                    let audiences = sorted(of_suite.iter().map(|audience| &**audience));
                    terms.own.insert("audiences".to_owned(), audiences);
                }
                terms.operation(*id, operation, policy);
            }
        }
        terms
    }

    fn operation_names(&self) -> impl Iterator<Item = &'p str> {
        self.operations.iter().copied()
    }

    fn operation(&mut self, id: OperationId, operation: &'p Operation, policy: &Policy) {
        self.operations.insert(&operation.name);
        let name = &operation.name;
        let mut own = |term: &str, value: String| {
            if !value.is_empty() {
                self.own.insert(format!("{OPERATION}{name}.{term}"), value);
            }
        };
        own(
            "access",
            match &operation.access {
                Access::Scopes(_) => "scopes",
                Access::Authenticated => "authenticated",
                Access::Public => "public",
                Access::Undecided => "undecided",
            }
            .to_owned(),
        );
        own(
            "scope_enforcement",
            operation.enforcement.map(Enforcement::as_str).unwrap_or_default().to_owned(),
        );
        own("require_tls", if operation.require_tls { "true".to_owned() } else { String::new() });
        let [_, of_operation] = &operation.audiences;
        own("audiences", sorted(of_operation.iter().map(|audience| &**audience)));
        let claims: Vec<String> = operation.required_claims.iter().map(ToString::to_string).collect();
        own("required_claims", sorted(claims.iter().map(String::as_str)));
        let values: Vec<String> = operation.required_values.iter().map(ToString::to_string).collect();
        own("required_values", sorted(values.iter().map(String::as_str)));
        if let Some(step_up) = &operation.step_up {
            own("acr_values", sorted(step_up.acr_values.iter().map(|value| &**value)));
            let seconds = step_up.max_age.map(|age| format!("{}s", age.as_secs()));
            own("max_auth_age", seconds.unwrap_or_default());
        }
        let evidence =
            EvidenceKind::ALL.into_iter().filter(|kind| operation.required_evidence.contains(*kind));
        own("required_evidence", sorted(evidence.map(EvidenceKind::as_str)));
        if let Some(route) = policy.route(id) {
            own("path", route.path.to_string());
            let hosts: Vec<String> = route.hosts.iter().map(ToString::to_string).collect();
            own("hosts", sorted(hosts.iter().map(String::as_str)));
            own("methods", sorted(route.methods.iter().flatten().map(|method| &**method)));
            let headers: Vec<String> = route
                .headers
                .iter()
                .map(|header| {
                    let default = header.default.as_deref();
                    let default = default.map(|value| format!(" (default {value})")).unwrap_or_default();
                    format!("{}: {}{default}", header.name, header.value)
                })
                .collect();
            own("headers", sorted(headers.iter().map(String::as_str)));
        }
        if let Access::Scopes(Some(requirement)) = &operation.access {
            self.ties.insert(format!("{OPERATION}{name}.requires"), requirement_text(requirement, policy));
        }
    }
}

fn sorted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.join(" ")
}

/// A requirement by the names of its permissions.
fn requirement_text(requirement: &Requirement, policy: &Policy) -> String {
    let names =
        |ids: &[crate::ids::PermissionId]| sorted(ids.iter().map(|id| policy.catalog.permissions.name(*id)));
    match (&*requirement.all_of, &*requirement.any_of) {
        (all, []) => format!("all of {}", names(all)),
        ([], any) => format!("any of {}", names(any)),
        (all, any) => format!("all of {}, any of {}", names(all), names(any)),
    }
}

/// Differences of terms, but for those of operations that came or went.
fn compare_terms(
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    is_kept: &dyn Fn(&str) -> bool,
) -> Vec<Detail> {
    let operation = |term: &str| {
        let (name, _) = term.strip_prefix(OPERATION)?.rsplit_once('.')?;
        Some(name.to_owned())
    };
    let terms: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    terms
        .into_iter()
        .filter(|term| operation(term).is_none_or(|name| is_kept(&name)))
        .filter_map(|term| {
            Detail::value(term, before.get(term).map(String::as_str), now.get(term).map(String::as_str))
        })
        .collect()
}

/// What the terms of an operation begin with.
const OPERATION: &str = "operations/";

/// Both policies' tenants, with what tenants of one template share compared once.
struct Tenants<'p> {
    old: &'p Policy,
    new: &'p Policy,
    names: [HashMap<TenantId, Names<'p>>; 2],
    scope_tables: HashMap<(*const ScopeTable, *const ScopeTable), Arc<[ScopeChange]>>,
}

/// The names by which evidence may call a tenant.
#[derive(Default)]
struct Names<'p> {
    aliases: Vec<&'p str>,
    audiences: Vec<&'p str>,
    hosts: Vec<&'p str>,
}

/// What happened to one scope of a table.
struct ScopeChange {
    scope: Box<str>,
    action: Action,
    details: Vec<Detail>,
}

impl<'p> Tenants<'p> {
    fn new(old: &'p Policy, new: &'p Policy) -> Self {
        Self { old, new, names: [names(old), names(new)], scope_tables: HashMap::new() }
    }

    fn compare(&mut self, changes: &mut Vec<Change>) {
        let (old, new) = (self.old, self.new);
        let known: HashMap<&str, (TenantId, &Tenant)> =
            old.tenants.iter().map(|(id, tenant)| (&*tenant.id, (id, tenant))).collect();
        for (id, tenant) in new.tenants.iter() {
            match known.get(&*tenant.id) {
                Some(before) => self.tenant(*before, (id, tenant), changes),
                None => whole_tenant(tenant, new, Action::Created, changes),
            }
        }
        let kept: BTreeSet<&str> = new.tenants.iter().map(|(_, tenant)| &*tenant.id).collect();
        for (_, tenant) in old.tenants.iter().filter(|(_, tenant)| !kept.contains(&*tenant.id)) {
            whole_tenant(tenant, old, Action::Deleted, changes);
        }
    }

    fn tenant(
        &mut self,
        (old_id, before): (TenantId, &Tenant),
        (new_id, now): (TenantId, &Tenant),
        changes: &mut Vec<Change>,
    ) {
        let (old, new) = (self.old, self.new);
        let subject = Subject::Tenant { tenant: now.id.clone() };
        let mut modified = Vec::new();
        let none = Names::default();
        let [old_names, new_names] = &self.names;
        let (called, called_now) =
            (old_names.get(&old_id).unwrap_or(&none), new_names.get(&new_id).unwrap_or(&none));
        modified.extend(Detail::set(
            "aliases",
            called.aliases.iter().copied(),
            called_now.aliases.iter().copied(),
        ));
        modified.extend(Detail::set(
            "audiences",
            called.audiences.iter().copied(),
            called_now.audiences.iter().copied(),
        ));
        modified.extend(Detail::set("hosts", called.hosts.iter().copied(), called_now.hosts.iter().copied()));
        modified.extend(Detail::value(
            "scope_prefix",
            before.scope_prefix.as_deref(),
            now.scope_prefix.as_deref(),
        ));
        modified.extend(Detail::value(
            "scope_enforcement",
            before.enforcement.map(Enforcement::as_str),
            now.enforcement.map(Enforcement::as_str),
        ));
        let declares = |tenant: &Tenant| tenant.scope_table.declared.as_ref().map(|_| "declared");
        modified.extend(Detail::value("scopes", declares(before), declares(now)));
        let registers = |tenant: &Tenant| tenant.applications.as_ref().map(|_| "registered");
        modified.extend(Detail::value("applications", registers(before), registers(now)));
        modified.extend(revoked(before, now));
        changed(&subject, Action::Modified, modified, changes);

        let mut tied = Vec::new();
        tied.extend(Detail::set("providers", providers(before, old), providers(now, new)));
        let (had, has) = (suite_names(before, old), suite_names(now, new));
        tied.extend(match (&had, &has) {
            (Some(had), Some(has)) => Detail::set("suites", had.iter().copied(), has.iter().copied()),
            (had, has) => {
                let listed =
                    |suites: &Option<Vec<&str>>| suites.as_ref().map(|names| sorted(names.iter().copied()));
                Detail::value("suites", listed(had).as_deref(), listed(has).as_deref())
            }
        });
        changed(&subject, Action::Reassociated, tied, changes);
        overrides((before, old), (now, new), changes);
        self.scopes(before, now, changes);
        applications((before, old), (now, new), changes);
    }

    fn scopes(&mut self, before: &Tenant, now: &Tenant, changes: &mut Vec<Change>) {
        let key = (Arc::as_ptr(&before.scope_table), Arc::as_ptr(&now.scope_table));
        let table = self
            .scope_tables
            .entry(key)
            .or_insert_with(|| compare_scope_tables(&before.scope_table, &now.scope_table).into());
        changes.extend(table.iter().map(|change| Change {
            subject: Subject::Scope { tenant: now.id.clone(), scope: change.scope.clone() },
            action: change.action,
            details: change.details.clone(),
        }));
    }
}

/// What a tenant takes out of use, in numbers: there may be a hundred thousand of them, and they name people.
fn revoked(before: &Tenant, now: &Tenant) -> Option<Detail> {
    let digest = |tenant: &Tenant| tenant.revoked.as_deref().map(|revoked| revoked.digest);
    if digest(before) == digest(now) {
        return None;
    }
    let text = |tenant: &Tenant| -> Option<Box<str>> {
        let revoked = tenant.revoked.as_deref()?;
        let moment = revoked.issued_before;
        let moment = moment.map(|moment| format!(", issued before {}", moment.as_secs())).unwrap_or_default();
        Some(format!("{} listed{moment}", revoked.entries()).into())
    };
    let (from, to) = (text(before), text(now));
    let to = if from == to { to.map(|to| format!("{to}, others").into()) } else { to };
    Some(Detail::Value { name: "revoked".into(), from, to })
}

/// A tenant that comes or goes, with all that is its own.
fn whole_tenant(tenant: &Tenant, policy: &Policy, action: Action, changes: &mut Vec<Change>) {
    let mut add = |subject| changes.push(Change { subject, action, details: Vec::new() });
    add(Subject::Tenant { tenant: tenant.id.clone() });
    for scope in known_scopes(&tenant.scope_table) {
        add(Subject::Scope { tenant: tenant.id.clone(), scope: scope.into() });
    }
    for application in tenant.applications.as_deref().unwrap_or_default() {
        add(application_subject(application, tenant, policy));
    }
}

/// The names of each tenant that has any beside its id, in order.
fn names(policy: &Policy) -> HashMap<TenantId, Names<'_>> {
    let mut all: HashMap<TenantId, Names<'_>> = HashMap::new();
    for (name, tenant) in policy.tenants.names() {
        if policy.tenants.tenant(tenant).is_some_and(|tenant| *tenant.id != *name) {
            all.entry(tenant).or_default().aliases.push(name);
        }
    }
    for (name, tenant) in policy.tenants.audiences() {
        all.entry(tenant).or_default().audiences.push(name);
    }
    for (name, tenant) in policy.tenants.hosts() {
        all.entry(tenant).or_default().hosts.push(name);
    }
    all
}

fn providers<'p>(tenant: &'p Tenant, policy: &'p Policy) -> impl Iterator<Item = &'p str> {
    tenant.providers.iter().filter_map(|id| policy.provider(*id)).map(|provider| &*provider.name)
}

fn suite_names<'p>(tenant: &Tenant, policy: &'p Policy) -> Option<Vec<&'p str>> {
    let suites = tenant.suites.as_deref()?;
    Some(suites.iter().filter_map(|id| policy.catalog.suite(*id)).map(|suite| &*suite.name).collect())
}

/// What a tenant replaces of suites and operations, by suite.
fn overridden(tenant: &Tenant, policy: &Policy) -> BTreeMap<Box<str>, BTreeMap<String, String>> {
    let mut all: BTreeMap<Box<str>, BTreeMap<String, String>> = BTreeMap::new();
    let Some(overrides) = tenant.overrides.as_deref() else { return all };
    for (id, requirement) in &overrides.suites {
        if let Some(suite) = policy.catalog.suite(*id) {
            let terms = all.entry(suite.name.clone()).or_default();
            terms.insert("scopes".to_owned(), requirement_text(requirement, policy));
        }
    }
    for (id, requirement) in &overrides.operations {
        let operation = policy.catalog.operation(*id);
        let suite = operation.and_then(|operation| policy.catalog.suite(operation.suite));
        if let Some((operation, suite)) = operation.zip(suite) {
            let terms = all.entry(suite.name.clone()).or_default();
            let term = format!("{OPERATION}{}.requires", operation.name);
            terms.insert(term, requirement_text(requirement, policy));
        }
    }
    all
}

fn overrides((before, old): (&Tenant, &Policy), (now, new): (&Tenant, &Policy), changes: &mut Vec<Change>) {
    if before.overrides.is_none() && now.overrides.is_none() {
        return;
    }
    let (had, has) = (overridden(before, old), overridden(now, new));
    let none = BTreeMap::new();
    for suite in had.keys().chain(has.keys()).collect::<BTreeSet<_>>() {
        let (had, has) = (had.get(suite).unwrap_or(&none), has.get(suite).unwrap_or(&none));
        let terms: BTreeSet<&String> = had.keys().chain(has.keys()).collect();
        let details = terms
            .into_iter()
            .filter_map(|term| {
                Detail::value(term, had.get(term).map(String::as_str), has.get(term).map(String::as_str))
            })
            .collect();
        let subject = Subject::Suite { suite: suite.clone(), tenant: Some(now.id.clone()) };
        changed(&subject, Action::Reassociated, details, changes);
    }
}

/// Scopes that a table speaks of, sorted: the declared ones, or where none are, those that it maps.
fn known_scopes(table: &ScopeTable) -> BTreeSet<&str> {
    match &table.declared {
        Some(declared) => declared.keys().map(|scope| &**scope).collect(),
        None => table.mapping.keys().map(|scope| &**scope).collect(),
    }
}

fn compare_scope_tables(before: &ScopeTable, now: &ScopeTable) -> Vec<ScopeChange> {
    let (had, has) = (known_scopes(before), known_scopes(now));
    let mut changes = Vec::new();
    for scope in &has {
        let mut add = |action, details| changes.push(ScopeChange { scope: (*scope).into(), action, details });
        if !had.contains(scope) {
            add(Action::Created, Vec::new());
            continue;
        }
        let is_system = |table: &ScopeTable| match table.kind(scope) {
            Some(ScopeKind::System) => "true",
            Some(ScopeKind::Custom) | None => "false",
        };
        if let Some(detail) = Detail::value("system", Some(is_system(before)), Some(is_system(now))) {
            add(Action::Modified, vec![detail]);
        }
        if let Some(detail) = Detail::set("permissions", before.permissions(scope), now.permissions(scope)) {
            add(Action::Reassociated, vec![detail]);
        }
    }
    for scope in had.difference(&has) {
        changes.push(ScopeChange { scope: (*scope).into(), action: Action::Deleted, details: Vec::new() });
    }
    changes
}

fn application_subject(application: &Application, tenant: &Tenant, policy: &Policy) -> Subject {
    Subject::Application {
        tenant: tenant.id.clone(),
        provider: policy
            .provider(application.provider)
            .map_or_else(Box::default, |provider| provider.name.clone()),
        client: application.client_id.clone(),
    }
}

fn applications(
    (before, old): (&Tenant, &Policy),
    (now, new): (&Tenant, &Policy),
    changes: &mut Vec<Change>,
) {
    fn keyed<'p>(tenant: &'p Tenant, policy: &'p Policy) -> Vec<((&'p str, &'p str), &'p Application)> {
        let applications = tenant.applications.as_deref().unwrap_or_default().iter();
        let provider =
            |application: &Application| policy.provider(application.provider).map_or("", |found| &found.name);
        applications
            .map(|application| ((provider(application), &*application.client_id), application))
            .collect()
    }
    let (had, has) = (keyed(before, old), keyed(now, new));
    let known: HashMap<(&str, &str), &Application> = had.iter().copied().collect();
    for (key, application) in &has {
        let subject = application_subject(application, now, new);
        let Some(earlier) = known.get(key) else {
            changes.push(Change { subject, action: Action::Created, details: Vec::new() });
            continue;
        };
        let enforcement = |application: &Application| application.enforcement.map(Enforcement::as_str);
        let modified = Detail::value("scope_enforcement", enforcement(earlier), enforcement(application));
        changed(&subject, Action::Modified, modified.into_iter().collect(), changes);
        let tied = Detail::set(
            "scopes",
            earlier.scopes.iter().map(|scope| &**scope),
            application.scopes.iter().map(|scope| &**scope),
        );
        changed(&subject, Action::Reassociated, tied.into_iter().collect(), changes);
    }
    let kept: BTreeSet<&(&str, &str)> = has.iter().map(|(key, _)| key).collect();
    for (_, application) in had.iter().filter(|(key, _)| !kept.contains(key)) {
        let subject = application_subject(application, before, old);
        changes.push(Change { subject, action: Action::Deleted, details: Vec::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_yaml;

    const BOOKS: &str = include_str!("../../tests/fixtures/tool/books.yaml");

    fn policy(yaml: &str) -> Policy {
        parse_yaml(yaml).unwrap_or_else(|errors| panic!("{errors}")).policy
    }

    /// The events of replacing `from` by `to` in the example, and those of the way back.
    fn events(from: &str, to: &str) -> [Vec<String>; 2] {
        assert_eq!(BOOKS.matches(from).count(), 1, "`{from}` stands there once");
        let (old, new) = (policy(BOOKS), policy(&BOOKS.replace(from, to)));
        let lines =
            |changes: Vec<Change>| changes.iter().map(|change| change.to_json().to_string()).collect();
        [lines(difference(&old, &new)), lines(difference(&new, &old))]
    }

    #[test]
    fn a_configuration_does_not_differ_from_itself_whatever_its_order() {
        assert_eq!(difference(&policy(BOOKS), &policy(BOOKS)), []);
        let full = include_str!("../../tests/fixtures/config/full.yaml");
        assert_eq!(difference(&policy(full), &policy(full)), []);
        assert_eq!(events("[read, write]}", "[write, read]}"), [Vec::<String>::new(), Vec::new()]);
    }

    #[test]
    fn a_scope_comes_and_goes_with_every_tenant_of_its_template() {
        let [there, back] = events(
            "      - {name: admin, description: Remove books}\n",
            "      - {name: admin, description: Remove}\n      - {name: audit}\n",
        );
        assert_eq!(
            there,
            [
                r#"{"event":"scope.created","scope":"audit","tenant":"acme"}"#,
                r#"{"event":"scope.created","scope":"audit","tenant":"globex"}"#,
            ]
        );
        assert_eq!(back[0], r#"{"event":"scope.deleted","scope":"audit","tenant":"acme"}"#);
    }

    #[test]
    fn a_scope_that_stands_for_other_permissions_is_reassociated() {
        let [there, back] = events("admin: [read, write, admin]", "admin: [read, admin]");
        assert_eq!(
            there[0],
            r#"{"changes":{"permissions":{"added":[],"removed":["write"]}},"event":"scope.reassociated","scope":"admin","tenant":"acme"}"#
        );
        assert!(back[0].contains(r#""added":["write"]"#));
    }

    #[test]
    fn a_scope_that_becomes_the_vendors_is_modified() {
        let [there, _] = events("{name: write, description: Add books}", "{name: write, system: true}");
        assert!(there[0].contains(r#""event":"scope.modified""#), "{there:?}");
        assert!(there[0].contains(r#""system":{"from":"false","to":"true"}"#), "{there:?}");
    }

    #[test]
    fn an_application_is_reassociated_with_scopes_and_modified_in_all_else() {
        let [there, _] =
            events("{client_id: globex-sync, scopes: [read]}", "{client_id: globex-sync, scopes: [write]}");
        assert_eq!(
            there,
            [
                r#"{"changes":{"scopes":{"added":["write"],"removed":["read"]}},"client":"globex-sync","event":"application.reassociated","provider":"corp","tenant":"globex"}"#
            ]
        );
        let [there, _] = events("[read], scope_enforcement: shadow}", "[read]}");
        assert!(there[0].contains(r#""event":"application.modified""#), "{there:?}");
        assert!(there[0].contains(r#""scope_enforcement":{"from":"shadow","to":null}"#), "{there:?}");
        let [there, back] = events("      - {client_id: globex-sync, scopes: [read]}\n", "");
        assert!(there[0].contains(r#""event":"application.deleted""#), "{there:?}");
        assert!(back[0].contains(r#""event":"application.created""#), "{back:?}");
    }

    #[test]
    fn a_tenant_comes_and_goes_with_what_is_its_own() {
        let [there, back] = events(
            "tenants:\n  - id: acme\n",
            "tenants:\n  - {id: new, scopes: [{name: x}], applications: [{client_id: c, scopes: [x]}]}\n  - id: acme\n",
        );
        assert_eq!(
            there,
            [
                r#"{"event":"tenant.created","tenant":"new"}"#,
                r#"{"event":"scope.created","scope":"x","tenant":"new"}"#,
                r#"{"client":"c","event":"application.created","provider":"corp","tenant":"new"}"#,
            ]
        );
        assert_eq!(back.len(), 3);
        assert!(back.iter().all(|event| event.contains(".deleted")));
    }

    #[test]
    fn a_tenant_is_reassociated_with_suites_and_modified_in_all_else() {
        let [there, back] = events("    suites: [books]\n", "    suites: [books, reports]\n");
        assert!(there[0].contains(
            r#""changes":{"suites":{"added":["reports"],"removed":[]}},"event":"tenant.reassociated""#
        ));
        assert!(back[0].contains(r#""removed":["reports"]"#));
        let [there, _] = events("    suites: [books]\n", "");
        assert!(there[0].contains(r#""suites":{"from":"books","to":null}"#), "{there:?}");
        let [there, _] = events(
            "  - id: acme\n",
            "  - id: acme\n    aliases: [a1]\n    hosts: [acme.example]\n    audiences: [acme-api]\n    scope_enforcement: off\n",
        );
        assert_eq!(there.len(), 1, "{there:?}");
        for part in [
            "tenant.modified",
            r#""aliases":{"added":["a1"]"#,
            r#""hosts":{"added":["acme.example"]"#,
            "acme-api",
            r#""to":"off""#,
        ] {
            assert!(there[0].contains(part), "{part}: {there:?}");
        }
    }

    #[test]
    fn a_suite_is_reassociated_by_requirements_and_modified_in_all_else() {
        let [there, _] =
            events("methods: [POST], requires: [write]", "methods: [POST], requires: [read, write]");
        assert_eq!(
            there,
            [
                r#"{"changes":{"operations/add.requires":{"from":"all of write","to":"all of read write"}},"event":"suite.reassociated","suite":"books"}"#
            ]
        );
        let [there, _] = events("scopes: [read, admin]\n    operations", "scopes: [admin]\n    operations");
        assert!(
            there[0].contains(r#""scopes":{"from":"any of admin read","to":"any of admin"}"#),
            "{there:?}"
        );
        for (from, to, part) in [
            (
                "methods: [POST]",
                "methods: [POST, PUT]",
                r#""operations/add.methods":{"from":"POST","to":"POST PUT"}"#,
            ),
            ("path: /whoami", "path: /who", r#""operations/who-am-i.path":{"from":"/whoami","to":"/who"}"#),
            (", require_tls: true", "", r#""operations/sales.require_tls":{"from":"true","to":null}"#),
            ("value: v2", "value: v3", r#""to":"x-api-version: v3""#),
            ("access: authenticated", "access: public", r#""operations/who-am-i.access""#),
            ("  - name: books\n", "  - name: books\n    hosts: [a.example]\n", r#""operations/add.hosts""#),
        ] {
            let [there, _] = events(from, to);
            assert_eq!(there.len(), 1, "{there:?}");
            assert!(there[0].contains("suite.modified") && there[0].contains(part), "{part}: {there:?}");
        }
    }

    #[test]
    fn an_operation_that_falls_back_on_its_suites_scopes_is_told() {
        let narrow = BOOKS.replace("path: /reports/sales,", "path: /reports/sales, requires: [admin],");
        let changes = difference(&policy(&narrow), &policy(BOOKS));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].action, Action::Reassociated);
        assert_eq!(
            changes[0].details,
            [Detail::Value {
                name: "operations/sales.requires".into(),
                from: Some("all of admin".into()),
                to: None
            }]
        );
    }

    #[test]
    fn an_operation_that_comes_or_goes_is_named_once() {
        let [there, back] = events(
            "      - {name: add, path: \"/{tenant}/books\", methods: [POST], requires: [write]}\n",
            "",
        );
        assert_eq!(
            there,
            [
                r#"{"changes":{"operations":{"added":[],"removed":["add"]}},"event":"suite.modified","suite":"books"}"#
            ]
        );
        assert_eq!(
            back,
            [
                r#"{"changes":{"operations":{"added":["add"],"removed":[]}},"event":"suite.modified","suite":"books"}"#
            ]
        );
    }

    #[test]
    fn what_a_tenant_replaces_of_a_suite_is_an_event_of_that_tenant() {
        let [there, _] = events(
            "    suites: [books]\n",
            "    suites: [books]\n    operation_requires: {books/add: [admin]}\n",
        );
        assert_eq!(
            there,
            [
                r#"{"changes":{"operations/add.requires":{"from":null,"to":"all of admin"}},"event":"suite.reassociated","suite":"books","tenant":"globex"}"#
            ]
        );
    }

    #[test]
    fn counts_are_those_of_all_tenants() {
        let counts = Counts::of(&policy(BOOKS));
        assert_eq!(counts, Counts { tenants: 2, scopes: 6, applications: 4, suites: 2, operations: 6 });
    }
}
