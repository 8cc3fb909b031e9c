//! `tenants` and `tenant_templates`.
//!
//! A tenant's own keys replace its template's whole. What a template says without `{tenant}` is read once and shared
//! by its tenants, so that ten thousand of them cost little more than their names.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::providers::Providers;
use super::revoked;
use super::scopes::{Declarer, ScopePolicy, check_declared, read_table};
use super::suites::Suites;
use super::terms::{any_of, enforcement, exact_host, invalid_scope_character, requirement, scope_token};
use crate::authenticate::Revoked;
use crate::authorize::tenants::TenantNames;
use crate::authorize::{Application, Overrides, ScopeTable, Tenant, TenantTable};
use crate::collections::seeded_hash::SeededMap;
use crate::config::kind::{ErrorKind, WarningKind};
use crate::config::reader::{Cursor, Fields};
use crate::ids::{ProviderId, SuiteId, TenantId};

const TENANT_KEYS: &[&str] = &[
    "id",
    "template",
    "aliases",
    "providers",
    "audiences",
    "hosts",
    "scope_prefix",
    "scopes",
    "scope_mapping",
    "applications",
    "suites",
    "suite_scopes",
    "operation_requires",
    "scope_enforcement",
    "revoked",
];

const TEMPLATE_KEYS: &[&str] = &[
    "aliases",
    "providers",
    "audiences",
    "hosts",
    "scope_prefix",
    "scopes",
    "scope_mapping",
    "applications",
    "suites",
    "suite_scopes",
    "operation_requires",
    "scope_enforcement",
    "revoked",
];

/// What tenants refer to.
pub struct Context<'c, 'd> {
    /// The providers.
    pub providers: &'c Providers<'d>,
    /// The suites; their catalog learns the permissions that tenants require.
    pub suites: &'c mut Suites<'d>,
    /// Rules for declared scopes.
    pub scope_policy: Option<&'c ScopePolicy>,
}

/// The tenants as far as they could be read.
#[derive(Debug, Default)]
pub struct Tenants<'d> {
    /// Those without an error.
    pub table: TenantTable,
    /// Every id and alias, with the id of its tenant; of tenants with errors too.
    names: SeededMap<Cow<'d, str>, Cow<'d, str>>,
}

impl Tenants<'_> {
    /// The tenant that `cursor` names, by id or alias.
    pub fn reference(&self, cursor: &Cursor<'_>) -> Option<TenantId> {
        let name = cursor.string()?;
        if !self.names.contains_key(&*name) {
            let ids = self.table.iter().map(|(_, tenant)| &*tenant.id);
            cursor.dangling(format_args!("tenant `{name}` is not configured"), &name, ids);
        }
        self.table.named(&name)
    }
}

/// Reads `tenants`, with what their templates say.
pub fn read<'d>(
    tenants: &Cursor<'d>,
    templates: Option<&Cursor<'d>>,
    context: Context<'_, 'd>,
) -> Tenants<'d> {
    let templates = templates.map(read_templates).unwrap_or_default();
    let mut reader = Reader {
        context,
        templates,
        table: TenantTable::default(),
        names: SeededMap::default(),
        prefixes: Vec::new(),
        assigned: HashSet::new(),
        no_scopes: Arc::default(),
    };
    if let Some(items) = tenants.some_items() {
        for tenant in items {
            if let Some(fields) = tenant.map(TENANT_KEYS) {
                reader.tenant(&fields);
            }
        }
    }
    reader.check_prefixes();
    for template in reader.templates.values().filter(|template| !template.is_used.get()) {
        template.cursor.warning(WarningKind::Unusable, "no tenant has this template");
    }
    Tenants { table: reader.table, names: reader.names }
}

struct Reader<'c, 'd> {
    context: Context<'c, 'd>,
    templates: Templates<'d>,
    table: TenantTable,
    /// Every id and alias, with the id of its tenant.
    names: SeededMap<Cow<'d, str>, Cow<'d, str>>,
    prefixes: Vec<(Box<str>, Cursor<'d>, Cow<'d, str>)>,
    /// Lists of scopes that applications have, each kept once.
    assigned: HashSet<Arc<[Box<str>]>>,
    no_scopes: Arc<ScopeTable>,
}

type Templates<'d> = BTreeMap<Cow<'d, str>, Template<'d>>;

/// A template, and what was read from it for all its tenants alike. None in a cell: an error, which was reported.
struct Template<'d> {
    name: Cow<'d, str>,
    cursor: Cursor<'d>,
    fields: Fields<'d>,
    /// Keys whose values hold `{tenant}`.
    varying: Vec<&'static str>,
    is_used: std::cell::Cell<bool>,
    providers: OnceCell<Option<Arc<[ProviderId]>>>,
    scope_table: OnceCell<(Arc<ScopeTable>, Declarer)>,
    suites: OnceCell<Option<Arc<[SuiteId]>>>,
    overrides: OnceCell<Option<Arc<Overrides>>>,
    revoked: OnceCell<Option<Arc<Revoked>>>,
}

fn read_templates<'d>(cursor: &Cursor<'d>) -> Templates<'d> {
    let mut templates = BTreeMap::new();
    for (name, cursor) in cursor.entries().unwrap_or_default() {
        let Some(fields) = cursor.map(TEMPLATE_KEYS) else { continue };
        let holds_tenant =
            |key: &&'static str| fields.optional(key).is_some_and(|value| value.holds_tenant());
        let varying = TEMPLATE_KEYS.iter().copied().filter(holds_tenant).collect();
        let template = Template {
            name: name.clone(),
            cursor,
            fields,
            varying,
            is_used: Default::default(),
            providers: OnceCell::new(),
            scope_table: OnceCell::new(),
            suites: OnceCell::new(),
            overrides: OnceCell::new(),
            revoked: OnceCell::new(),
        };
        templates.insert(name, template);
    }
    templates
}

/// Where a tenant's values come from.
struct Source<'s, 'd> {
    id: &'d str,
    own: &'s Fields<'d>,
    template: Option<&'s Template<'d>>,
    /// False where there is a template that could not be read: no error should follow from what it would have said.
    template_is_known: bool,
}

impl<'s, 'd> Source<'s, 'd> {
    fn optional(&self, key: &'static str) -> Option<Cursor<'d>> {
        self.own.optional(key).or_else(|| Some(self.template?.fields.optional(key)?.for_tenant(self.id)))
    }

    /// The template, if `keys` mean the same for each tenant that leaves them to it.
    fn shared(&self, keys: &[&'static str]) -> Option<&'s Template<'d>> {
        let template = self.template?;
        let is_shared = keys.iter().all(|key| !self.own.has(key) && !template.varying.contains(key));
        is_shared.then_some(template)
    }

    fn declarer(&self) -> Declarer {
        format!("tenant `{}`", self.id)
    }
}

impl<'d> Reader<'_, 'd> {
    fn tenant(&mut self, own: &Fields<'d>) {
        let id = own.required("id").and_then(|cursor| self.id(&cursor));
        // Taken out while it is read from, because reading changes the rest.
        let templates = std::mem::take(&mut self.templates);
        let template = own.optional("template").and_then(|cursor| find_template(&cursor, &templates));
        if let Some(template) = template {
            template.is_used.set(true);
        }
        let source = Source {
            id: id.unwrap_or_default(),
            own,
            template: template.filter(|_| id.is_some()),
            template_is_known: !own.has("template") || (template.is_some() && id.is_some()),
        };
        let names = self.tenant_names(&source);
        let tenant = self.read(&source);
        self.templates = templates;
        if let Some(tenant) = tenant {
            self.table.push(tenant, names);
        }
    }

    fn id(&mut self, cursor: &Cursor<'d>) -> Option<&'d str> {
        let id = cursor.raw_string()?;
        self.name(cursor, Cow::Borrowed(id), id);
        if id.contains('/') {
            cursor.warning(
                WarningKind::Misleading,
                "`{tenant}` never stands for a `/`, so no pattern names this tenant by its id",
            );
        }
        Some(id)
    }

    fn read(&mut self, source: &Source<'_, 'd>) -> Option<Tenant> {
        let id = source.id;
        let providers = self.providers(source);
        let (scope_table, declarer) = self.scope_table(source);
        let scope_prefix = source.optional("scope_prefix").and_then(|cursor| {
            let prefix = scope_token(&cursor)?;
            self.prefixes.push((prefix.clone(), cursor, Cow::Borrowed(id)));
            Some(prefix)
        });
        if let (Some(prefix), Some(scopes)) = (&scope_prefix, source.optional("scopes")) {
            let declared = scope_table.declared.iter().flat_map(SeededMap::keys);
            let mut with_prefix: Vec<_> = declared.filter(|scope| scope.starts_with(&**prefix)).collect();
            with_prefix.sort_unstable();
            for scope in with_prefix {
                scopes.warning(WarningKind::Misleading, format_args!(
                    "scope `{scope}` begins with the tenant's `scope_prefix`; declared names stand without it"
                ));
            }
        }
        let applications = match source.optional("applications") {
            None => None,
            Some(list) => {
                let providers = providers.as_deref().unwrap_or_default();
                Some(self.applications(&list, id, providers, &scope_table, &declarer))
            }
        };
        let suites = match source.shared(&["suites"]) {
            Some(template) => template.suites.get_or_init(|| self.suites(source)).clone(),
            None => self.suites(source),
        };
        let override_keys = ["suite_scopes", "operation_requires"];
        let overrides = match source.shared(&override_keys) {
            Some(template) => template.overrides.get_or_init(|| self.overrides(source)).clone(),
            None => self.overrides(source),
        };
        let enforcement = source.optional("scope_enforcement").and_then(|own| enforcement(&own));
        let read_revoked = || source.optional("revoked").and_then(|cursor| revoked::read(&cursor));
        let revoked = match source.shared(&["revoked"]) {
            Some(template) => template.revoked.get_or_init(read_revoked).clone(),
            None => read_revoked(),
        };
        Some(Tenant {
            id: id.into(),
            providers: providers?,
            scope_prefix,
            scope_table,
            applications: match applications {
                None => None,
                Some(applications) => Some(applications?),
            },
            suites,
            overrides,
            enforcement,
            revoked,
        })
    }

    /// Takes `name` for the tenant `id`; reported where it is taken.
    fn name(&mut self, cursor: &Cursor<'d>, name: Cow<'d, str>, id: &'d str) -> bool {
        match self.names.get(&name) {
            None => {
                self.names.insert(name, Cow::Borrowed(id));
                true
            }
            Some(owner) => {
                cursor.error(
                    ErrorKind::Repeated,
                    format_args!("`{name}` is already an id or alias of tenant `{owner}`"),
                );
                false
            }
        }
    }

    fn tenant_names(&mut self, source: &Source<'_, 'd>) -> TenantNames {
        let mut names = TenantNames::default();
        for item in source.optional("aliases").and_then(|list| list.items()).into_iter().flatten() {
            let Some(alias) = item.string() else { continue };
            if self.name(&item, alias.clone(), source.id) {
                names.aliases.push(alias.into());
            }
        }
        if let Some(audiences) = source.optional("audiences").and_then(|list| list.strings(false)) {
            names.audiences = audiences;
        }
        if let Some(hosts) = source.optional("hosts").and_then(|list| list.list_of(false, exact_host)) {
            names.hosts = hosts;
        }
        names
    }

    /// `providers`, which may be left out only where there is one.
    fn providers(&self, source: &Source<'_, 'd>) -> Option<Arc<[ProviderId]>> {
        let read = || -> Option<Arc<[ProviderId]>> {
            let Some(list) = source.optional("providers") else {
                let sole = self.context.providers.sole();
                if sole.is_none() && !self.context.providers.names.is_empty() && source.template_is_known {
                    let cursor = source.own.cursor();
                    cursor.error(
                        ErrorKind::MissingKey,
                        "missing key `providers`, which is needed where there are several providers",
                    );
                }
                return Some(Arc::new([sole?]));
            };
            Some(list.list_of(true, |item| self.context.providers.reference(item))?.into())
        };
        match source.shared(&["providers"]) {
            Some(template) if template.fields.has("providers") => {
                template.providers.get_or_init(read).clone()
            }
            Some(_) | None => read(),
        }
    }

    fn scope_table(&self, source: &Source<'_, 'd>) -> (Arc<ScopeTable>, Declarer) {
        let read = |declarer: Declarer| {
            let (scopes, mapping) = (source.optional("scopes"), source.optional("scope_mapping"));
            if scopes.is_none() && mapping.is_none() {
                return (Arc::clone(&self.no_scopes), declarer);
            }
            let policy = self.context.scope_policy;
            (Arc::new(read_table(scopes.as_ref(), mapping.as_ref(), policy, &declarer)), declarer)
        };
        match source.shared(&["scopes", "scope_mapping"]) {
            Some(template) => {
                template.scope_table.get_or_init(|| read(format!("template `{}`", template.name))).clone()
            }
            None => read(source.declarer()),
        }
    }

    fn applications(
        &mut self,
        list: &Cursor<'d>,
        tenant: &str,
        providers: &[ProviderId],
        scope_table: &ScopeTable,
        declarer: &Declarer,
    ) -> Option<Box<[Application]>> {
        let mut applications: Vec<Application> = Vec::new();
        let mut known = HashSet::new();
        for item in list.items()? {
            let Some(application) = self.application(&item, tenant, providers, scope_table, declarer) else {
                continue;
            };
            if !known.insert((application.provider, application.client_id.clone())) {
                let provider = self.context.providers.name(application.provider);
                let client_id = &application.client_id;
                item.error(
                    ErrorKind::Repeated,
                    format_args!("client `{client_id}` of provider `{provider}` is registered twice"),
                );
            }
            applications.push(application);
        }
        if applications.is_empty() {
            list.warning(WarningKind::Unusable, "no application is registered, so every client is refused");
        }
        Some(applications.into())
    }

    fn application(
        &mut self,
        cursor: &Cursor<'d>,
        tenant: &str,
        providers: &[ProviderId],
        scope_table: &ScopeTable,
        declarer: &Declarer,
    ) -> Option<Application> {
        let fields = cursor.map(&["client_id", "provider", "scopes", "scope_enforcement"])?;
        let client_id = fields.required("client_id").and_then(|id| id.string());
        let provider = self.application_provider(&fields, tenant, providers);
        let scopes = match fields.optional("scopes") {
            None => {
                cursor.warning(
                    WarningKind::Unusable,
                    "no scopes are assigned, so no token scope of this application counts",
                );
                Some(Vec::new())
            }
            Some(scopes) => assigned_scopes(&scopes, scope_table, declarer),
        };
        let enforcement = fields.optional("scope_enforcement").map(|own| enforcement(&own));
        let scopes = self.shared_scopes(scopes?);
        Some(Application {
            provider: provider?,
            client_id: client_id?.into(),
            scopes,
            enforcement: match enforcement {
                None => None,
                Some(enforcement) => Some(enforcement?),
            },
        })
    }

    fn application_provider(
        &self,
        fields: &Fields<'d>,
        tenant: &str,
        providers: &[ProviderId],
    ) -> Option<ProviderId> {
        if let Some(cursor) = fields.optional("provider") {
            let provider = self.context.providers.reference(&cursor)?;
            // Without providers the tenant has an error of its own.
            if !providers.is_empty() && !providers.contains(&provider) {
                let name = self.context.providers.name(provider);
                cursor.error(
                    ErrorKind::DanglingReference,
                    format_args!("provider `{name}` may not speak for tenant `{tenant}`"),
                );
                return None;
            }
            return Some(provider);
        }
        match providers {
            [sole] => Some(*sole),
            [] => None,
            [_, ..] => {
                fields.cursor().error(
                    ErrorKind::MissingKey,
                    "missing key `provider`, which is needed where the tenant has several",
                );
                None
            }
        }
    }

    fn shared_scopes(&mut self, mut scopes: Vec<Box<str>>) -> Arc<[Box<str>]> {
        scopes.sort_unstable();
        match self.assigned.get(scopes.as_slice()) {
            Some(known) => Arc::clone(known),
            None => {
                let scopes: Arc<[Box<str>]> = scopes.into();
                self.assigned.insert(Arc::clone(&scopes));
                scopes
            }
        }
    }

    fn suites(&self, source: &Source<'_, 'd>) -> Option<Arc<[SuiteId]>> {
        let list = source.optional("suites")?;
        let reference = |item: &Cursor<'d>| {
            let name = item.string()?;
            self.context.suites.suite_reference(item, &name)
        };
        let mut suites = list.list_of(false, reference)?;
        if suites.is_empty() {
            list.warning(
                WarningKind::Unusable,
                "the tenant has no suite, so every operation that asks for scopes is refused",
            );
        }
        suites.sort_unstable();
        Some(suites.into())
    }

    fn overrides(&mut self, source: &Source<'_, 'd>) -> Option<Arc<Overrides>> {
        let suite_scopes = source.optional("suite_scopes");
        let operation_requires = source.optional("operation_requires");
        if suite_scopes.is_none() && operation_requires.is_none() {
            return None;
        }
        let mut overrides = Overrides::default();
        for (name, list) in suite_scopes.and_then(|map| map.entries()).unwrap_or_default() {
            let suite = self.context.suites.suite_reference(&list, &name);
            let requirement = any_of(&list, &mut self.context.suites.catalog.permissions);
            if let (Some(suite), Some(requirement)) = (suite, requirement) {
                overrides.suites.insert(suite, requirement);
            }
        }
        for (name, value) in operation_requires.and_then(|map| map.entries()).unwrap_or_default() {
            let operation = self.context.suites.operation_reference(&value, &name);
            let requirement = requirement(&value, &mut self.context.suites.catalog.permissions);
            if let (Some(operation), Some(requirement)) = (operation, requirement) {
                overrides.operations.insert(operation, requirement);
            }
        }
        Some(Arc::new(overrides))
    }

    /// No tenant's prefix may begin another's. What begins with a prefix follows it directly in sorted order.
    fn check_prefixes(&mut self) {
        let mut prefixes = std::mem::take(&mut self.prefixes);
        prefixes.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let mut shortest: Option<&(Box<str>, Cursor<'_>, Cow<'_, str>)> = None;
        for entry in &prefixes {
            let (prefix, cursor, _) = entry;
            match shortest {
                Some((other, _, tenant)) if prefix == other => {
                    cursor.error(
                        ErrorKind::Repeated,
                        format_args!("`{prefix}` is the scope prefix of tenant `{tenant}` too"),
                    );
                }
                Some((other, _, tenant)) if prefix.starts_with(&**other) => cursor.error(
                    ErrorKind::Repeated,
                    format_args!("`{prefix}` begins with `{other}`, the scope prefix of tenant `{tenant}`"),
                ),
                Some(_) | None => shortest = Some(entry),
            }
        }
    }
}

fn find_template<'t, 'd>(cursor: &Cursor<'d>, templates: &'t Templates<'d>) -> Option<&'t Template<'d>> {
    let name = cursor.string()?;
    let template = templates.get(&*name);
    if template.is_none() {
        let names = templates.keys().map(AsRef::as_ref);
        cursor.dangling(format_args!("template `{name}` is not configured"), &name, names);
    }
    template
}

/// An application's `scopes`: a list, or one string with spaces between them.
fn assigned_scopes(cursor: &Cursor<'_>, table: &ScopeTable, declarer: &Declarer) -> Option<Vec<Box<str>>> {
    let declared = table.declared.as_ref();
    if !cursor.is_string() {
        return cursor.list_of(false, |item| {
            let scope = scope_token(item)?;
            check_declared(item, &scope, declared, declarer).then_some(scope)
        });
    }
    let text = cursor.text()?;
    let mut scopes: Vec<Box<str>> = Vec::new();
    let mut complete = true;
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        if let Some(fault) = invalid_scope_character(scope) {
            cursor.error(ErrorKind::OutOfBounds, format_args!("{fault} in `{scope}`"));
            complete = false;
        } else if scopes.iter().any(|known| **known == *scope) {
            cursor.error(ErrorKind::Repeated, format_args!("`{scope}` is listed twice"));
            complete = false;
        } else {
            complete &= check_declared(cursor, scope, declared, declarer);
            scopes.push(scope.into());
        }
    }
    complete.then_some(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_the_keys_of_a_tenant_but_for_its_own_name_and_template() {
        let own: Vec<&str> =
            TENANT_KEYS.iter().copied().filter(|key| !matches!(*key, "id" | "template")).collect();
        assert_eq!(own, TEMPLATE_KEYS);
    }
}
