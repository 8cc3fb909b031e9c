//! What a valid configuration probably does not mean: for the companion tool, beside the warnings of loading.
//!
//! Pure functions over the document, which has the places, and the policy, which has the meaning. Each
//! finding names its path.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::document::Node;
use super::error::{ConfigErrors, Warning};
use super::kind::{ErrorKind, WarningKind};
use super::reader::{Cursor, Report};
use crate::authenticate::{AudienceRule, TenantPattern};
use crate::authorize::{
    Access, Application, Enforcement, EvidenceKind, Overrides, ScopeKind, ScopeTable, Tenant,
};
use crate::ids::{OperationId, PermissionId, SuiteId, TenantId};
use crate::policy::reach::Holder;
use crate::policy::{Policy, Unmatched};
use crate::route::{HostPattern, Route, Segment};
use crate::token_endpoint::{folded, is_taken_for};

/// All findings about `document`, of which `policy` was made; the first
/// [`MAX_REPORTED`](super::error::MAX_REPORTED).
pub fn lint(document: &Node<'_>, policy: &Policy) -> Vec<Warning> {
    let report = Report::default();
    let root = Cursor::root(document, &report);
    let places = Places::of(&root);
    generic_scope_names(&places);
    scopes_that_open_nothing(&places, policy);
    applications_without_scopes(&places, policy);
    clients_of_several_tenants(&places, policy);
    operations_out_of_reach(&places, policy);
    undecided_operations(&places, policy);
    paths_that_do_not_name_the_tenant(&places, policy);
    default_beside_several_tenants(&root, policy);
    claim_lists_that_nothing_picks_from(&root, policy);
    any_audience_with_introspection(&root, policy);
    report.finish().unwrap_or_default()
}

/// What a valid configuration cannot mean: operations that require evidence of the tenant which no request for them can
/// bring, so that each is refused. The filter takes such a configuration, as it opens nothing.
///
/// # Errors
///
/// Every such operation, with the kind of evidence.
pub fn check_evidence(document: &Node<'_>, policy: &Policy) -> Result<(), ConfigErrors> {
    let report = Report::default();
    let places = Places::of(&Cursor::root(document, &report));
    let is_possible = PossibleEvidence::of(policy);
    for route in &policy.routes {
        let Some(operation) = policy.catalog.operation(route.operation) else { continue };
        match operation.access {
            Access::Scopes(_) | Access::Authenticated => {}
            Access::Public | Access::Undecided => continue,
        }
        let required = policy.resolution.required_evidence.union(operation.required_evidence);
        let kinds = EvidenceKind::ALL.into_iter().filter(|kind| required.contains(*kind));
        for (kind, obstacle) in
            kinds.filter_map(|kind| Some((kind, is_possible.obstacle(kind, route, policy)?)))
        {
            let Some(cursor) = places.operations.get(route.operation.0 as usize) else { continue };
            let kind = kind.as_str();
            cursor.error(ErrorKind::NeverPasses, format_args!(
                "`{kind}` evidence of the tenant is required, and no request for this operation can have it: {obstacle}"
            ));
        }
    }
    report.finish().map(|_| ())
}

/// What a valid configuration cannot mean beside `token_endpoints`: a way to one that asks for nothing. The filter takes
/// such a configuration, as it guards or refuses every spelling of a guarded path before it looks at operations.
///
/// # Errors
///
/// Every public operation whose path leads to a guarded endpoint, and `unmatched: allow`.
pub fn check_guarded_paths(document: &Node<'_>, policy: &Policy) -> Result<(), ConfigErrors> {
    let report = Report::default();
    let root = Cursor::root(document, &report);
    let places = Places::of(&root);
    if policy.unmatched == Unmatched::Allow && !policy.token_endpoints.is_empty() {
        if let Some(unmatched) = member(&root, "unmatched") {
            unmatched.error(ErrorKind::Unguarded,
                "what no operation matches reaches the authorization server behind `token_endpoints` unguarded; say \
                 `deny`, and map what shall be public there by exact paths",
            );
        }
    }
    for route in &policy.routes {
        let is_public =
            policy.catalog.operation(route.operation).is_some_and(|known| known.access == Access::Public);
        if !is_public {
            continue;
        }
        let Some(endpoint) = policy
            .token_endpoints
            .iter()
            .find(|endpoint| leads_to(route.path.segments(), &endpoint.folded_path))
        else {
            continue;
        };
        let path =
            places.operations.get(route.operation.0 as usize).and_then(|operation| member(operation, "path"));
        if let Some(path) = path {
            path.error(ErrorKind::Unguarded, format_args!(
                "it is public and leads to the guarded `{}`; make public by exact paths what shall be, or ask for a token",
                endpoint.path
            ));
        }
    }
    report.finish().map(|_| ())
}

/// Whether a pattern matches a path that a server may take for the guarded one, which is folded.
fn leads_to(pattern: &[Segment], guarded: &str) -> bool {
    let segments = |path: &str| -> Vec<String> {
        path.strip_prefix('/').unwrap_or(path).split('/').map(str::to_owned).collect()
    };
    let matches = |segments: &[String]| {
        let mut left = segments.iter();
        for segment in pattern {
            let Some(text) = left.next() else { return false };
            let fits = match segment {
                Segment::Rest => return true,
                Segment::Literal(literal) if left.len() == 0 => is_taken_for(&folded(literal), text),
                Segment::Literal(literal) => folded(literal) == *text,
                Segment::Name(_) | Segment::Tenant | Segment::Any => !text.is_empty(),
            };
            if !fits {
                return false;
            }
        }
        left.next().is_none()
    };
    matches(&segments(guarded)) || matches(&segments(&format!("{guarded}/")))
}

/// Which evidence of a tenant there can be anywhere in a policy.
struct PossibleEvidence<'p> {
    claims: bool,
    audiences: bool,
    applications: bool,
    hosts: Vec<&'p HostPattern>,
}

impl<'p> PossibleEvidence<'p> {
    fn of(policy: &'p Policy) -> Self {
        let is_pattern = |pattern: &TenantPattern| matches!(pattern, TenantPattern::Tenant { .. });
        let has_pattern = policy.providers.iter().any(|provider| match &provider.rules.audiences {
            AudienceRule::Any => false,
            AudienceRule::OneOf(patterns) => patterns.iter().any(is_pattern),
        });
        let registers = |tenant: &Tenant| tenant.applications.as_ref().is_some_and(|all| !all.is_empty());
        Self {
            claims: policy.providers.iter().any(|provider| !provider.rules.claims.tenant.is_empty()),
            audiences: has_pattern || policy.tenants.audiences().next().is_some(),
            applications: policy.tenants.iter().any(|(_, tenant)| registers(tenant)),
            hosts: policy.routes.iter().flat_map(|route| &route.hosts).collect(),
        }
    }

    /// Why no request of `route` can have evidence of this kind, and what to do.
    fn obstacle(&self, kind: EvidenceKind, route: &Route, policy: &Policy) -> Option<&'static str> {
        match kind {
            EvidenceKind::Claim => {
                (!self.claims).then_some("no provider has tenant claims; set `tenant_resolution.claims`")
            }
            EvidenceKind::Audience => (!self.audiences).then_some(
                "no audience names a tenant; put `{tenant}` into a provider's `audiences`, or give tenants `audiences`",
            ),
            EvidenceKind::Application => (!self.applications).then_some("no tenant registers `applications`"),
            EvidenceKind::Path => route.path.tenant_segment().is_none().then_some(
                "its `path` has no `{tenant}`; put it in, or require `path` only of suites and operations that have it",
            ),
            EvidenceKind::Host => (!self.can_host_name_tenant(route, policy)).then_some(
                "no host that it serves names a tenant; put `{tenant}` into the suite's `hosts`, or give tenants `hosts`",
            ),
            // Loading asks for `tenant_resolution.headers` where `header` is required.
            EvidenceKind::Header => None,
            // Every provider that speaks for some tenant has it.
            EvidenceKind::Issuer => None,
        }
    }

    /// Whether some host that the route serves names a tenant, by `{tenant}` in any suite's hosts or as a tenant's own.
    fn can_host_name_tenant(&self, route: &Route, policy: &Policy) -> bool {
        if route.hosts.is_empty() {
            let is_pattern = |pattern: &&HostPattern| matches!(pattern, HostPattern::Tenant { .. });
            return policy.tenants.hosts().next().is_some() || self.hosts.iter().any(is_pattern);
        }
        route.hosts.iter().any(|host| match host {
            HostPattern::Tenant { .. } => true,
            HostPattern::Exact(host) => {
                policy.tenants.at_host(host).is_some()
                    || self.hosts.iter().any(|pattern| pattern.tenant_label(host).is_some())
            }
        })
    }
}

/// Where the document says what the policy holds, each list in the policy's order.
struct Places<'d> {
    tenants: Vec<TenantPlace<'d>>,
    /// Lists of declared scopes: of each tenant that has its own, and of each template.
    scope_lists: Vec<Cursor<'d>>,
    operations: Vec<Cursor<'d>>,
}

struct TenantPlace<'d> {
    /// The list of declared scopes that counts for the tenant, by its place in [`Places::scope_lists`].
    scopes: Option<usize>,
    applications: Vec<Cursor<'d>>,
}

impl<'d> Places<'d> {
    fn of(root: &Cursor<'d>) -> Self {
        let mut scope_lists = Vec::new();
        let mut templates = HashMap::new();
        if let Some(all) = member(root, "tenant_templates") {
            for (name, template) in all.entries().unwrap_or_default() {
                let scopes = member(&template, "scopes").map(|list| {
                    scope_lists.push(list);
                    scope_lists.len() - 1
                });
                templates.insert(name.into_owned(), (scopes, items(member(&template, "applications"))));
            }
        }
        let mut tenants = Vec::new();
        for tenant in items(member(root, "tenants")) {
            let template = member(&tenant, "template").and_then(|name| templates.get(name.text()?.as_ref()));
            let scopes = match member(&tenant, "scopes") {
                Some(list) => {
                    scope_lists.push(list);
                    Some(scope_lists.len() - 1)
                }
                None => template.and_then(|(scopes, _)| *scopes),
            };
            let applications = match member(&tenant, "applications") {
                Some(list) => items(Some(list)),
                None => template.map(|(_, applications)| applications.clone()).unwrap_or_default(),
            };
            tenants.push(TenantPlace { scopes, applications });
        }
        let suites = items(member(root, "suites"));
        let operations = suites.iter().flat_map(|suite| items(member(suite, "operations"))).collect();
        Self { tenants, scope_lists, operations }
    }
}

fn member<'d>(map: &Cursor<'d>, key: &str) -> Option<Cursor<'d>> {
    map.entries()?.into_iter().find(|(name, _)| name == key).map(|(_, cursor)| cursor)
}

fn items<'d>(list: Option<Cursor<'d>>) -> Vec<Cursor<'d>> {
    list.and_then(|list| list.items()).into_iter().flatten().collect()
}

/// Tokens that list several tenants need requests that name one.
fn claim_lists_that_nothing_picks_from(root: &Cursor<'_>, policy: &Policy) {
    let is_tenant = |host: &HostPattern| matches!(host, HostPattern::Tenant { .. });
    let names_tenant =
        |route: &Route| route.path.tenant_segment().is_some() || route.hosts.iter().any(is_tenant);
    let can_pick = !policy.resolution.headers.is_empty()
        || policy.tenants.hosts().next().is_some()
        || policy.routes.iter().any(names_tenant);
    if can_pick || !policy.resolution.claim_lists {
        return;
    }
    if let Some(cursor) = member(root, "tenant_resolution").and_then(|map| member(&map, "claim_lists")) {
        cursor.warning(
            WarningKind::Unusable,
            "no header, path or host names a tenant, so every token whose claim lists several is refused",
        );
    }
}

/// Names that say nothing of what they open.
fn generic_scope_names(places: &Places<'_>) {
    for name in places.scope_lists.iter().flat_map(|list| items(Some(list.clone()))) {
        let Some(name) = member(&name, "name") else { continue };
        if let Some(text) = name.text().filter(|text| is_generic(text)) {
            name.warning(
                WarningKind::Misleading,
                format_args!(
                    "`{text}` says nothing of what it opens; name what may be done with what, such as \
                 `orders:read`"
                ),
            );
        }
    }
}

/// A word that any scope could be called, whatever its case, punctuation and number.
fn is_generic(name: &str) -> bool {
    const WORDS: [&str; 17] = [
        "scope",
        "scopes",
        "customscope",
        "myscope",
        "newscope",
        "testscope",
        "scopename",
        "test",
        "demo",
        "example",
        "sample",
        "foo",
        "bar",
        "custom",
        "default",
        "temp",
        "permission",
    ];
    let letters: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    let stem = letters.trim_end_matches(|letter: char| letter.is_ascii_digit());
    WORDS.contains(&stem)
}

/// A declared scope none of whose permissions is required anywhere that it counts.
fn scopes_that_open_nothing(places: &Places<'_>, policy: &Policy) {
    let mut useful = UsefulPermissions::default();
    let mut opening: Vec<HashSet<&str>> = vec![HashSet::new(); places.scope_lists.len()];
    let mut seen: HashSet<(Shape, usize)> = HashSet::new();
    for ((_, tenant), place) in policy.tenants.iter().zip(&places.tenants) {
        let Some((list, declared)) = place.scopes.zip(tenant.scope_table.declared.as_ref()) else { continue };
        if !seen.insert((Shape::of(tenant), list)) {
            continue;
        }
        let useful = useful.of(tenant, policy);
        let Some(opening) = opening.get_mut(list) else { continue };
        for (scope, kind) in declared {
            let mut permissions =
                tenant.scope_table.permissions(scope).filter_map(|name| policy.catalog.permissions.id(name));
            if permissions.any(|permission| useful.contains(&(*kind == ScopeKind::System, permission))) {
                opening.insert(scope);
            }
        }
    }
    let used: HashSet<usize> = places.tenants.iter().filter_map(|place| place.scopes).collect();
    for (index, (list, opening)) in places.scope_lists.iter().zip(&opening).enumerate() {
        for name in items(Some(list.clone())).iter().filter_map(|item| member(item, "name")) {
            let Some(text) = name.text().filter(|_| used.contains(&index)) else { continue };
            // What holds `{tenant}` is declared under another name by each tenant.
            if !text.contains("{tenant}") && !opening.contains(&*text) {
                name.warning(
                    WarningKind::Unusable,
                    format_args!(
                        "scope `{text}` opens nothing: no operation within reach requires what it stands for"
                    ),
                );
            }
        }
    }
}

/// What decides which permissions are of use to a tenant; tenants of one template share everything.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    scope_table: *const ScopeTable,
    suites: Option<*const SuiteId>,
    overrides: Option<*const Overrides>,
}

impl Shape {
    fn of(tenant: &Tenant) -> Self {
        Self {
            scope_table: Arc::as_ptr(&tenant.scope_table),
            suites: tenant.suites.as_ref().map(|suites| suites.as_ptr()),
            overrides: tenant.overrides.as_ref().map(Arc::as_ptr),
        }
    }
}

/// Whether for system suites, and the permissions that some operation requires.
type Useful = HashSet<(bool, PermissionId)>;

/// Per shape of suites and overrides.
#[derive(Default)]
struct UsefulPermissions(HashMap<(Option<*const SuiteId>, Option<*const Overrides>), Useful>);

impl UsefulPermissions {
    fn of(&mut self, tenant: &Tenant, policy: &Policy) -> &Useful {
        let shape = Shape::of(tenant);
        self.0.entry((shape.suites, shape.overrides)).or_insert_with(|| {
            let mut useful = HashSet::new();
            for suite in &policy.catalog.suites {
                for id in &suite.operations {
                    let available = policy
                        .catalog
                        .operation(*id)
                        .is_some_and(|operation| tenant.has_suite(operation.suite));
                    if let Some(requirement) = policy.catalog.requirement(*id, tenant).filter(|_| available) {
                        useful.extend(requirement.permissions().map(|permission| (suite.system, permission)));
                    }
                }
            }
            useful
        })
    }
}

/// An application whose scopes are enforced and which has none. Where the key is absent, loading warns already.
fn applications_without_scopes(places: &Places<'_>, policy: &Policy) {
    for (tenant, application, cursor) in applications(places, policy) {
        let enforcement = match policy.scopes_per_application {
            true => application.enforcement.or(tenant.enforcement).unwrap_or(policy.enforcement),
            false => Enforcement::Off,
        };
        let is_enforced = match enforcement {
            Enforcement::Enforce => true,
            Enforcement::Shadow | Enforcement::Off => false,
        };
        if let (true, Some(scopes)) = (is_enforced && application.scopes.is_empty(), member(cursor, "scopes"))
        {
            let client_id = &application.client_id;
            scopes.warning(WarningKind::Unusable, format_args!(
                "client `{client_id}` enforces scopes and has none, so it reaches no operation that requires any"
            ));
        }
    }
}

/// A client that is registered with several tenants: its tokens have to name the tenant by other evidence.
fn clients_of_several_tenants(places: &Places<'_>, policy: &Policy) {
    for (_, application, cursor) in applications(places, policy) {
        let registered = policy.tenants.registered(application.provider, &application.client_id);
        if registered.len() < 2 {
            continue;
        }
        const SHOWN: usize = 3;
        let ids = registered.iter().take(SHOWN).filter_map(|id: &TenantId| policy.tenants.tenant(*id));
        let mut names: Vec<String> = ids.map(|tenant| format!("`{}`", tenant.id)).collect();
        if registered.len() > SHOWN {
            names.push(format!("{} more", registered.len() - SHOWN));
        }
        let (client_id, names) = (&application.client_id, names.join(", "));
        cursor.warning(WarningKind::Misleading, format_args!(
            "client `{client_id}` is registered with several tenants ({names}), so it names none: its tokens \
             need other evidence"
        ));
    }
}

/// Every registered application with its tenant and its place.
fn applications<'p, 'c, 'd>(
    places: &'c Places<'d>,
    policy: &'p Policy,
) -> impl Iterator<Item = (&'p Tenant, &'p Application, &'c Cursor<'d>)> {
    policy.tenants.iter().zip(&places.tenants).flat_map(|((_, tenant), place)| {
        let applications = tenant.applications.as_deref().unwrap_or_default();
        applications
            .iter()
            .zip(&place.applications)
            .map(move |(application, cursor)| (tenant, application, cursor))
    })
}

/// An operation that asks for scopes and that nobody's scopes open.
fn operations_out_of_reach(places: &Places<'_>, policy: &Policy) {
    let asks_for_scopes = |id: &OperationId| match policy.catalog.operation(*id).map(|known| &known.access) {
        Some(Access::Scopes(_)) => true,
        Some(Access::Authenticated | Access::Public | Access::Undecided) | None => false,
    };
    let mut unreached: Vec<OperationId> =
        (0..).map(OperationId).take(policy.catalog.operations.len()).filter(asks_for_scopes).collect();
    let mut seen = HashSet::new();
    for (_, tenant) in policy.tenants.iter() {
        if unreached.is_empty() {
            return;
        }
        let shape = Shape::of(tenant);
        let mut strike = |holder: Holder<'_>| unreached.retain(|id| !holder.reach_by_scopes(*id).passes());
        match &tenant.applications {
            None => {
                if seen.insert((shape, None, tenant.enforcement.map(|own| own as u8), None)) {
                    strike(Holder::any_client(policy, tenant));
                }
            }
            Some(applications) => {
                for application in applications {
                    let key = (
                        shape,
                        Some(application.scopes.as_ptr()),
                        tenant.enforcement.map(|own| own as u8),
                        application.enforcement.map(|own| own as u8),
                    );
                    if seen.insert(key) {
                        strike(Holder::application(policy, tenant, application));
                    }
                }
            }
        }
    }
    for cursor in unreached.iter().filter_map(|id| places.operations.get(id.0 as usize)) {
        cursor.warning(WarningKind::Unusable,
            "no application can reach this operation: no tenant assigns any of them the scopes that it requires",
        );
    }
}

/// An operation that an import left to be decided.
fn undecided_operations(places: &Places<'_>, policy: &Policy) {
    for (operation, cursor) in policy.catalog.operations.iter().zip(&places.operations) {
        if operation.access == Access::Undecided {
            cursor.warning(
                WarningKind::Unusable,
                "nobody may call this operation: once it is decided, say `requires`, or another `access`",
            );
        }
    }
}

/// A path in which another tenant's name could stand where `{tenant}` is meant: under a placeholder that only looks like
/// it, or one that stands where other paths have it.
fn paths_that_do_not_name_the_tenant(places: &Places<'_>, policy: &Policy) {
    let with_tenant: Vec<(&Route, usize)> = policy
        .routes
        .iter()
        .filter_map(|route| route.path.tenant_segment().map(|place| (route, place)))
        .collect();
    for route in policy.routes.iter().filter(|route| route.path.tenant_segment().is_none()) {
        let asks_for_tenant = match policy.catalog.operation(route.operation).map(|known| &known.access) {
            Some(Access::Scopes(_) | Access::Authenticated) => true,
            Some(Access::Public | Access::Undecided) | None => false,
        };
        let Some(operation) = places.operations.get(route.operation.0 as usize).filter(|_| asks_for_tenant)
        else {
            continue;
        };
        let Some(path) = member(operation, "path") else { continue };
        let look_alike = route.path.segments().iter().map(ToString::to_string).find(|segment| {
            placeholder_word(segment).is_some_and(|word| {
                is_tenant_word(&word) && (word.starts_with("tenant") || !with_tenant.is_empty())
            })
        });
        if let Some(segment) = look_alike {
            path.warning(WarningKind::Misleading, format_args!(
                "`{segment}` names no tenant, only `{{tenant}}` does: a token of one tenant opens this path with \
                 another's name in it"
            ));
            continue;
        }
        let sibling = with_tenant.iter().find_map(|(sibling, place)| {
            stands_in_place_of_tenant(route, sibling, *place).map(|segment| (segment, &sibling.path))
        });
        if let Some((segment, sibling)) = sibling {
            path.warning(WarningKind::Misleading, format_args!(
                "`{segment}` stands where `{sibling}` has `{{tenant}}`, and names no tenant: a token of one tenant \
                 opens this path with another's name in it"
            ));
        }
    }
}

/// The segment of `route` that takes a tenant's name where `sibling` has `{tenant}`, behind the same literals.
fn stands_in_place_of_tenant<'r>(route: &'r Route, sibling: &Route, place: usize) -> Option<&'r Segment> {
    for (own, other) in route.path.segments().iter().zip(sibling.path.segments()).take(place) {
        match (own, other) {
            (Segment::Rest, _) => return Some(own),
            (Segment::Literal(own), Segment::Literal(other)) if own == other => {}
            (Segment::Literal(_), Segment::Literal(_)) => return None,
            (Segment::Tenant | Segment::Name(_) | Segment::Any, _)
            | (Segment::Literal(_), Segment::Tenant | Segment::Name(_) | Segment::Any | Segment::Rest) => {}
        }
    }
    route.path.segments().get(place).filter(|own| match own {
        Segment::Name(_) | Segment::Any | Segment::Rest => true,
        Segment::Literal(_) | Segment::Tenant => false,
    })
}

/// The name in a segment that is a placeholder, here (`{name}`) or elsewhere (`:name`, `<name>`, `$name`), as letters.
fn placeholder_word(segment: &str) -> Option<String> {
    segment.starts_with(['{', ':', '<', '$', '%', '[']).then(|| {
        segment
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect()
    })
}

/// Whether APIs call a tenant so.
fn is_tenant_word(word: &str) -> bool {
    const WORDS: [&str; 6] = ["tenant", "org", "organization", "organisation", "customer", "realm"];
    const ENDINGS: [&str; 9] = ["", "id", "name", "key", "code", "slug", "uuid", "guid", "ref"];
    WORDS.iter().any(|known| word.strip_prefix(known).is_some_and(|rest| ENDINGS.contains(&rest)))
}

fn default_beside_several_tenants(root: &Cursor<'_>, policy: &Policy) {
    if policy.resolution.default.is_none() || policy.tenants.len() < 2 {
        return;
    }
    if let Some(default) =
        member(root, "tenant_resolution").and_then(|resolution| member(&resolution, "default"))
    {
        default.warning(
            WarningKind::Open,
            "with several tenants, `default` exposes its data to any request that names no tenant",
        );
    }
}

/// A provider whose opaque tokens are accepted for any audience.
fn any_audience_with_introspection(root: &Cursor<'_>, policy: &Policy) {
    let Some(entries) = member(root, "providers").and_then(|providers| providers.entries()) else { return };
    for ((_, entry), provider) in entries.iter().zip(&policy.providers) {
        if provider.introspection.is_none() || provider.rules.audiences != AudienceRule::Any {
            continue;
        }
        if let Some(key) = member(entry, "allow_any_audience") {
            key.warning(WarningKind::Open,
                "any token that the issuer calls active passes, whatever its audience; list `audiences`, or say by \
                 `required_values` what marks an access token for this API",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{parse_yaml, parse_yaml_document};

    const HEAD: &str = "
version: 1
providers: {corp: {issuer: https://i, allow_any_audience: true, local_jwks: {keys: []}}}
suites:
  - name: books
    operations:
      - {name: read, path: /books, methods: [GET], requires: [r]}
      - {name: write, path: /books, methods: [POST], requires: [w]}
";

    fn findings(rest: &str) -> Vec<String> {
        let text = format!("{HEAD}{rest}");
        let policy = parse_yaml(&text).unwrap().policy;
        let document = parse_yaml_document(&text).unwrap();
        lint(&document, &policy).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_configuration_that_means_what_it_says_has_no_findings() {
        let tenants = "
tenants:
  - {id: acme, scopes: [{name: r}, {name: w}], applications: [{client_id: a, scopes: [r, w]}]}
  - {id: globex, scopes: [{name: r}], applications: [{client_id: b, scopes: [r]}]}
";
        assert_eq!(findings(tenants), Vec::<String>::new());
        assert_eq!(findings("tenants: [{id: acme}]"), Vec::<String>::new());
    }

    #[test]
    fn generic_names_are_found_whatever_their_case_punctuation_and_number() {
        for name in ["scope1", "custom-scope", "Custom_Scope_22", "my.scope", "TEST", "scope"] {
            assert!(is_generic(name), "{name}");
        }
        for name in ["orders:read", "scope1:read", "read", "telescope", "1", "x", "tests-run"] {
            assert!(!is_generic(name), "{name}");
        }
        let found = findings(
            "
tenant_templates: {t: {scopes: [{name: r}, {name: w}, {name: scope1}], scope_mapping: {scope1: [r]}}}
tenants: [{id: acme, template: t}]
",
        );
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("tenant_templates.t.scopes[2].name: `scope1` says nothing"),
            "{found:?}"
        );
    }

    #[test]
    fn a_scope_that_opens_nothing_is_found_where_it_is_declared_and_once() {
        let found = findings(
            "
tenant_templates: {t: {scopes: [{name: r}, {name: w}, {name: x}]}}
tenants: [{id: acme, template: t}, {id: globex, template: t}]
",
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("tenant_templates.t.scopes[2].name: scope `x` opens nothing"));
    }

    #[test]
    fn a_scope_of_a_template_that_opens_something_for_one_tenant_is_no_finding() {
        let found = findings(
            "
  - {name: other, operations: [{name: go, path: /other, requires: [x]}]}
tenant_templates: {t: {scopes: [{name: r}, {name: w}, {name: x}]}}
tenants: [{id: acme, template: t, suites: [books]}, {id: globex, template: t}]
",
        );
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_custom_scope_is_of_no_use_for_a_vendors_suite() {
        let found = findings(
            "
  - {name: vendor, system: true, operations: [{name: go, path: /v, requires: [x, z]}]}
tenants: [{id: acme, scopes: [{name: r}, {name: w}, {name: x}, {name: z, system: true}]}]
",
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("tenants[0].scopes[2].name: scope `x` opens nothing"));
        assert!(found[1].starts_with("suites[1].operations[0]: no application can reach"));
    }

    #[test]
    fn an_application_that_enforces_without_scopes_is_found_and_one_that_does_not_is_not() {
        let found = findings(
            "
tenants:
  - id: acme
    applications:
      - {client_id: a, scopes: [r, w]}
      - {client_id: b, scopes: []}
      - {client_id: c, scopes: '', scope_enforcement: off}
",
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0]
                .starts_with("tenants[0].applications[1].scopes: client `b` enforces scopes and has none")
        );
    }

    #[test]
    fn an_operation_that_nobody_can_reach_is_found() {
        let found = findings(
            "tenants: [{id: acme, scopes: [{name: r}], applications: [{client_id: a, scopes: [r]}]}]",
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("suites[0].operations[1]: no application can reach"));
        let lifted = "{client_id: a, scopes: [r], scope_enforcement: shadow}";
        let found =
            findings(&format!("tenants: [{{id: acme, scopes: [{{name: r}}], applications: [{lifted}]}}]"));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_client_of_several_tenants_is_found_at_each() {
        let found = findings(
            "
tenants:
  - {id: acme, applications: [{client_id: a, scopes: [r, w]}, {client_id: own, scopes: [r]}]}
  - {id: globex, applications: [{client_id: a, scopes: [r]}]}
",
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("tenants[0].applications[0]: client `a` is registered with several"));
        assert!(found[1].starts_with("tenants[1].applications[0]: "));
    }

    #[test]
    fn a_claim_may_list_tenants_where_requests_can_name_one() {
        let lists = "tenants: [{id: acme}]\ntenant_resolution: {claims: t, claim_lists: true";
        let found = findings(&format!("{lists}}}"));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("tenant_resolution.claim_lists: no header, path or host"), "{found:?}");
        assert_eq!(findings(&format!("{lists}, headers: [x-tenant]}}")), Vec::<String>::new());
        let by_host = lists.replace("id: acme", "id: acme, hosts: [acme.example]");
        assert_eq!(findings(&format!("{by_host}}}")), Vec::<String>::new());
    }

    #[test]
    fn a_default_is_fine_for_the_only_tenant_and_doubtful_beside_others() {
        let resolution = "\ntenant_resolution: {default: acme}";
        assert_eq!(findings(&format!("tenants: [{{id: acme}}]{resolution}")), Vec::<String>::new());
        let found = findings(&format!("tenants: [{{id: acme}}, {{id: globex}}]{resolution}"));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("tenant_resolution.default: "), "{found:?}");
    }

    #[test]
    fn ten_thousand_tenants_of_one_template_are_looked_at_in_good_time() {
        let tenants: String =
            (0..10_000).map(|number| format!("  - {{id: t{number}, template: t}}\n")).collect();
        let text = format!("{HEAD}tenant_templates: {{t: {{scopes: [{{name: r}}]}}}}\ntenants:\n{tenants}");
        let policy = parse_yaml(&text).unwrap().policy;
        let document = parse_yaml_document(&text).unwrap();
        assert_eq!(lint(&document, &policy).len(), 1);
    }
}
