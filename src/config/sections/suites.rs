//! `suites`: the API suites and their operations.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::step_up;
use super::terms::{
    any_of, claim_path, enforcement, evidence_kinds, header_name, http_token, required_values, requirement,
};
use crate::authenticate::RequiredValue;
use crate::authorize::{
    Access, Catalog, EvidenceKinds, Operation, PermissionSet, Requirement, ScopeKind, StepUp, Suite,
    TenantTable,
};
use crate::collections::seeded_hash::SeededMap;
use crate::config::error::MAX_REPORTED;
use crate::config::kind::{ErrorKind, WarningKind};
use crate::config::reader::{Cursor, Fields};
use crate::config::suggestion::did_you_mean;
use crate::ids::{OperationId, PermissionId, SuiteId};
use crate::route::{
    Conflict, HeaderMatcher, HostPattern, OperationIndex, PathPattern, PathPatternError, Route,
};

const SUITE_KEYS: &[&str] = &[
    "name",
    "system",
    "require_tls",
    "hosts",
    "audiences",
    "scopes",
    "required_values",
    "required_evidence",
    "acr_values",
    "max_auth_age",
    "operations",
];

const OPERATION_KEYS: &[&str] = &[
    "name",
    "path",
    "methods",
    "headers",
    "requires",
    "access",
    "audiences",
    "required_claims",
    "required_values",
    "required_evidence",
    "acr_values",
    "max_auth_age",
    "require_tls",
    "scope_enforcement",
];

/// The suites as far as they could be read, and how references find them.
#[derive(Debug, Default)]
pub struct Suites<'d> {
    /// Suites, operations, permissions. An id is a place in it, errors or not.
    pub catalog: Catalog,
    suites: SeededMap<Box<str>, SuiteId>,
    operations: SeededMap<(SuiteId, Box<str>), OperationId>,
    routes: Vec<Route>,
    cursors: Vec<Cursor<'d>>,
}

/// Reads `suites`. `has_headers`: whether tenant evidence is read from any header.
pub fn read<'d>(cursor: Option<&Cursor<'d>>, has_headers: bool) -> Suites<'d> {
    let mut read = Suites::default();
    for entry in cursor.and_then(Cursor::items).into_iter().flatten() {
        if let Some(fields) = entry.map(SUITE_KEYS) {
            read.suite(&fields, has_headers);
        }
    }
    read
}

impl<'d> Suites<'d> {
    /// The suite called `name`, which stands at `cursor`.
    pub fn suite_reference(&self, cursor: &Cursor<'_>, name: &str) -> Option<SuiteId> {
        let id = self.suites.get(name).copied();
        if id.is_none() {
            let names = self.catalog.suites.iter().map(|suite| &*suite.name);
            cursor.dangling(format_args!("suite `{name}` is not configured"), name, names);
        }
        id
    }

    /// The operation called `name`, `suite/operation`, which stands at `cursor`; one that asks for scopes.
    pub fn operation_reference(&self, cursor: &Cursor<'_>, name: &str) -> Option<OperationId> {
        let Some((suite, operation)) = name.split_once('/') else {
            cursor.error(
                ErrorKind::DanglingReference,
                format_args!("`{name}` is no operation; write `suite/operation`"),
            );
            return None;
        };
        let suite_id = self.suite_reference(cursor, suite)?;
        let Some(id) = self.operations.get(&(suite_id, operation.into())).copied() else {
            let names = self.catalog.operations.iter().filter(|known| known.suite == suite_id);
            cursor.dangling(
                format_args!("suite `{suite}` has no operation `{operation}`"),
                operation,
                names.map(|known| &*known.name),
            );
            return None;
        };
        match self.catalog.operation(id).map(|operation| &operation.access) {
            Some(Access::Scopes(_)) => Some(id),
            Some(Access::Authenticated | Access::Public | Access::Undecided) | None => {
                cursor.error(
                    ErrorKind::Contradiction,
                    format_args!("the `access` of `{name}` is not `scopes`, so it requires nothing"),
                );
                None
            }
        }
    }

    /// The headers that operations match.
    pub fn matched_headers(&self) -> Vec<Box<str>> {
        self.routes.iter().flat_map(|route| route.headers.iter().map(|header| header.name.clone())).collect()
    }

    /// Which requests call which operation. Where nothing is wrong, an id is a place in it.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Warns of what operations require that no tenant's scopes stand for: the scope was removed or renamed where it is
    /// declared, or is misspelt here. Requirements that some tenant replaces are left alone.
    pub fn warn_about_unreachable(&self, tenants: &TenantTable) {
        let overrides = || tenants.iter().filter_map(|(_, tenant)| tenant.overrides.as_deref());
        let operations: HashSet<&OperationId> =
            overrides().flat_map(|overrides| overrides.operations.keys()).collect();
        let suites: HashSet<&SuiteId> = overrides().flat_map(|overrides| overrides.suites.keys()).collect();
        let [custom, system] = [ScopeKind::Custom, ScopeKind::System].map(|kind| Reach::of(kind, tenants));
        let is_shut = |reach: &Reach<'_>, permission: PermissionId| {
            !reach.is_open && !reach.permissions.contains(self.catalog.permissions.name(permission))
        };
        let mut reported = 0;
        for ((id, operation), cursor) in
            (0..).map(OperationId).zip(&self.catalog.operations).zip(&self.cursors)
        {
            let Access::Scopes(own) = &operation.access else { continue };
            let Some(suite) = self.catalog.suite(operation.suite) else { continue };
            let Some(requirement) = own.as_ref().or(suite.scopes.as_ref()) else { continue };
            let (reach, kind) = if suite.system { (&system, "`system` scope") } else { (&custom, "scope") };
            let within_reach: PermissionSet =
                requirement.permissions().filter(|permission| !is_shut(reach, *permission)).collect();
            let is_replaced =
                operations.contains(&id) || (own.is_none() && suites.contains(&operation.suite));
            if is_replaced || requirement.is_met_by(&within_reach) {
                continue;
            }
            // No more are kept, and what was meant is costly to guess.
            reported += 1;
            if reported > MAX_REPORTED {
                return;
            }
            for piece in requirement.missing_pieces(&within_reach) {
                let names: Vec<&str> =
                    piece.iter().map(|permission| self.catalog.permissions.name(*permission)).collect();
                let meant = match names.as_slice() {
                    [name] => did_you_mean(name, reach.permissions.iter().copied()),
                    _ => String::new(),
                };
                let names = names.join("` or `");
                cursor.warning(
                    WarningKind::Unusable,
                    format_args!("no tenant has a {kind} that stands for `{names}`{meant}"),
                );
            }
        }
    }

    /// The catalog, and the index of its operations. Conflicts are reported at the second operation.
    pub fn finish(self) -> (Catalog, Option<OperationIndex>) {
        match OperationIndex::build(self.routes) {
            Ok(index) => (self.catalog, Some(index)),
            Err(conflicts) => {
                for conflict in conflicts {
                    report(conflict, &self.catalog, &self.cursors);
                }
                (self.catalog, None)
            }
        }
    }

    fn suite(&mut self, fields: &Fields<'d>, has_headers: bool) {
        let id = SuiteId(u32::try_from(self.catalog.suites.len()).unwrap_or(u32::MAX));
        let name = fields.required("name").and_then(|name| self.suite_name(&name)).unwrap_or_default();
        if !name.is_empty() {
            self.suites.insert(name.clone(), id);
        }
        let scopes = fields.optional("scopes");
        let suite = SuiteTerms {
            id,
            require_tls: fields.boolean("require_tls", false),
            hosts: match fields.optional("hosts") {
                None => Some(Vec::new()),
                Some(list) => list.list_of(true, host),
            },
            audiences: fields
                .optional("audiences")
                .and_then(|list| list.strings(true))
                .unwrap_or_default()
                .into(),
            required_values: fields
                .optional("required_values")
                .and_then(|map| required_values(&map))
                .unwrap_or_default(),
            required_evidence: fields
                .optional("required_evidence")
                .map(|kinds| evidence_kinds(&kinds, has_headers))
                .unwrap_or_default(),
            step_up: step_up::read(fields, None),
            requires: scopes.is_some(),
            has_headers,
        };
        let scopes = scopes.and_then(|scopes| any_of(&scopes, &mut self.catalog.permissions));
        // In its place before its operations are read, which ids of tenants' references rely on.
        self.catalog.suites.push(Suite {
            name,
            system: fields.boolean("system", false),
            scopes: scopes.clone(),
            permissions: Default::default(),
            operations: Box::default(),
        });
        let mut permissions: Vec<PermissionId> = scopes.iter().flat_map(Requirement::permissions).collect();
        let mut operations = Vec::new();
        for entry in fields.optional("operations").and_then(|list| list.items()).into_iter().flatten() {
            let Some(fields) = entry.map(OPERATION_KEYS) else { continue };
            let (id, operation) = self.operation(&fields, &suite);
            if let Access::Scopes(Some(requirement)) = &operation.access {
                permissions.extend(requirement.permissions());
            }
            self.catalog.operations.push(operation);
            self.cursors.push(entry);
            operations.push(id);
        }
        if let Some(suite) = self.catalog.suites.last_mut() {
            suite.permissions = permissions.into_iter().collect();
            suite.operations = operations.into();
        }
    }

    /// A name that no other suite has; without `/`, which separates it from an operation's name elsewhere.
    fn suite_name(&self, cursor: &Cursor<'_>) -> Option<Box<str>> {
        let name = cursor.string()?;
        if name.contains('/') {
            cursor.error(ErrorKind::OutOfBounds, "must not hold a `/`");
            return None;
        }
        if self.suites.contains_key(&*name) {
            cursor.error(ErrorKind::Repeated, format_args!("another suite is called `{name}` already"));
            return None;
        }
        Some(name.into())
    }

    fn operation(&mut self, fields: &Fields<'d>, suite: &SuiteTerms) -> (OperationId, Operation) {
        let id = OperationId(u32::try_from(self.catalog.operations.len()).unwrap_or(u32::MAX));
        let name = fields.required("name").and_then(|name| name.string().map(|text| (name, text)));
        let name: Box<str> = match name {
            None => Box::default(),
            Some((cursor, name)) => {
                if self.operations.insert((suite.id, (&*name).into()), id).is_some() {
                    cursor.error(
                        ErrorKind::Repeated,
                        format_args!("another operation of the suite is called `{name}` already"),
                    );
                }
                name.into()
            }
        };
        let path = fields.required("path").and_then(|path| path_pattern(&path));
        let methods = fields.optional("methods").map(|list| list.list_of(true, method));
        let headers = fields.optional("headers").map_or(Some(Vec::new()), |list| header_matchers(&list));
        if let (Some(hosts), Some(path), Some(headers)) = (suite.hosts.clone(), path, headers) {
            if methods.as_ref().is_none_or(Option::is_some) {
                self.routes.push(Route { operation: id, hosts, path, methods: methods.flatten(), headers });
            }
        }
        let own_evidence = fields.optional("required_evidence");
        let step_up = step_up::read(fields, Some(&suite.step_up));
        let operation = Operation {
            name,
            suite: suite.id,
            access: self.access(fields, suite),
            enforcement: fields.optional("scope_enforcement").and_then(|own| enforcement(&own)),
            require_tls: fields.boolean("require_tls", false) || suite.require_tls,
            audiences: [
                suite.audiences.clone(),
                fields.optional("audiences").and_then(|list| list.strings(true)).unwrap_or_default().into(),
            ],
            required_claims: fields
                .optional("required_claims")
                .and_then(|list| list.list_of(true, claim_path))
                .unwrap_or_default()
                .into(),
            required_values: suite
                .required_values
                .iter()
                .cloned()
                .chain(
                    fields
                        .optional("required_values")
                        .and_then(|map| required_values(&map))
                        .unwrap_or_default(),
                )
                .collect(),
            step_up: (!step_up.is_empty()).then(|| Box::new(step_up)),
            required_evidence: own_evidence
                .map(|kinds| evidence_kinds(&kinds, suite.has_headers))
                .unwrap_or_default()
                .union(suite.required_evidence),
        };
        (id, operation)
    }

    /// `access` and `requires`: what asks for scopes requires some, what does not requires none.
    fn access(&mut self, fields: &Fields<'d>, suite: &SuiteTerms) -> Access {
        let choices = [
            ("scopes", AccessKind::Scopes),
            ("authenticated", AccessKind::Authenticated),
            ("public", AccessKind::Public),
            ("undecided", AccessKind::Undecided),
        ];
        let kind = match fields.optional("access") {
            None => AccessKind::Scopes,
            // Where it is not known what was meant, no further error follows from it.
            Some(access) => match access.choice(&choices) {
                None => return Access::Scopes(None),
                Some(kind) => kind,
            },
        };
        let requires = fields.optional("requires");
        let refuse = |keys: &[&'static str], message: &str| {
            for unused in keys.iter().filter_map(|key| fields.optional(key)) {
                unused.error(ErrorKind::Contradiction, message);
            }
        };
        match kind {
            AccessKind::Scopes => {
                if requires.is_none() && !suite.requires {
                    fields.cursor().error(
                        ErrorKind::NothingRequired,
                        "nothing is required: `requires` is needed here, or `scopes` on the suite",
                    );
                }
                Access::Scopes(
                    requires.and_then(|requires| requirement(&requires, &mut self.catalog.permissions)),
                )
            }
            AccessKind::Authenticated => {
                refuse(&["requires"], "has no meaning where `access` is `authenticated`");
                Access::Authenticated
            }
            AccessKind::Public => {
                let keys = [
                    "requires",
                    "audiences",
                    "required_claims",
                    "required_values",
                    "required_evidence",
                    "acr_values",
                    "max_auth_age",
                    "scope_enforcement",
                ];
                refuse(&keys, "has no meaning where `access` is `public`: no token is read");
                Access::Public
            }
            AccessKind::Undecided => {
                refuse(
                    &["requires", "scope_enforcement"],
                    "has no meaning where `access` is `undecided`: nobody may call the operation",
                );
                Access::Undecided
            }
        }
    }
}

/// The permissions that scopes of one kind stand for, of all tenants together.
struct Reach<'t> {
    permissions: BTreeSet<&'t str>,
    /// Whether some tenant declares no scopes, so that any counts.
    is_open: bool,
}

impl<'t> Reach<'t> {
    fn of(kind: ScopeKind, tenants: &'t TenantTable) -> Self {
        let mut reach = Self { permissions: BTreeSet::new(), is_open: false };
        let mut seen = HashSet::new();
        for (_, tenant) in tenants.iter() {
            let table = &*tenant.scope_table;
            // Tenants of one template share a table.
            if !seen.insert(Arc::as_ptr(&tenant.scope_table)) {
                continue;
            }
            match &table.declared {
                // What is not declared counts as custom.
                None => reach.is_open |= kind == ScopeKind::Custom,
                Some(declared) => {
                    let of_kind = declared.iter().filter(|(_, other)| **other == kind);
                    reach.permissions.extend(of_kind.flat_map(|(scope, _)| table.permissions(scope)));
                }
            }
        }
        reach
    }
}

/// The values of `access`.
#[derive(Clone, Copy)]
enum AccessKind {
    Scopes,
    Authenticated,
    Public,
    Undecided,
}

/// What the operations of a suite share.
struct SuiteTerms {
    id: SuiteId,
    require_tls: bool,
    /// None: an error, so that no conflict should follow from the hosts' absence.
    hosts: Option<Vec<HostPattern>>,
    audiences: Box<[Box<str>]>,
    required_values: Vec<RequiredValue>,
    required_evidence: EvidenceKinds,
    step_up: StepUp,
    /// Whether the suite's own scopes are enough for an operation without a requirement.
    requires: bool,
    has_headers: bool,
}

fn report(conflict: Conflict, catalog: &Catalog, cursors: &[Cursor<'_>]) {
    let Some(cursor) = cursors.get(conflict.second.0 as usize) else { return };
    if conflict.first == conflict.second {
        cursor.error(ErrorKind::Ambiguous, "the suite's hosts read two tenants from one name");
        return;
    }
    let Some(first) = catalog.operation(conflict.first) else { return };
    let suite = catalog.suite(first.suite).map_or("", |suite| &suite.name);
    let name = &first.name;
    cursor.error(
        ErrorKind::Ambiguous,
        format_args!("a request could match operation `{suite}/{name}` just as well"),
    );
}

fn host(cursor: &Cursor<'_>) -> Option<HostPattern> {
    let text = cursor.string()?;
    HostPattern::parse(&text).map_err(|error| cursor.error(ErrorKind::WrongKind, error)).ok()
}

fn path_pattern(cursor: &Cursor<'_>) -> Option<PathPattern> {
    let text = cursor.string()?;
    PathPattern::parse(&text).map_err(|error| cursor.error(code_of(&error), error)).ok()
}

fn code_of(error: &PathPatternError) -> ErrorKind {
    match error {
        PathPatternError::NeverMatches(_) => ErrorKind::NeverPasses,
        PathPatternError::DuplicateName(_) => ErrorKind::Repeated,
        PathPatternError::Query
        | PathPatternError::MixedSegment(_)
        | PathPatternError::InvalidName(_)
        | PathPatternError::RestNotLast
        | PathPatternError::TooManySegments => ErrorKind::OutOfBounds,
    }
}

/// A method (RFC 9110 section 9.1), which is case-sensitive.
fn method(cursor: &Cursor<'_>) -> Option<Box<str>> {
    const STANDARD: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let name = http_token(cursor)?;
    let meant = STANDARD.iter().find(|method| method.eq_ignore_ascii_case(&name));
    match meant {
        Some(meant) if **meant != *name => {
            let meant = did_you_mean(&name, [*meant]);
            cursor.error(
                ErrorKind::WrongKind,
                format_args!("methods are case-sensitive, and no request has `{name}`{meant}"),
            );
            None
        }
        Some(_) | None => Some(name),
    }
}

fn header_matchers(cursor: &Cursor<'_>) -> Option<Vec<HeaderMatcher>> {
    let mut matchers: Vec<HeaderMatcher> = Vec::new();
    let mut complete = true;
    for item in cursor.items()? {
        let Some(matcher) = header_matcher(&item) else {
            complete = false;
            continue;
        };
        if matchers.iter().any(|known| known.name == matcher.name) {
            item.error(ErrorKind::Repeated, format_args!("header `{}` is listed twice", matcher.name));
            complete = false;
        }
        matchers.push(matcher);
    }
    complete.then_some(matchers)
}

fn header_matcher(cursor: &Cursor<'_>) -> Option<HeaderMatcher> {
    let fields = cursor.map(&["name", "value", "default"])?;
    let name = fields.required("name").and_then(|name| header_name(&name));
    let value = fields.required("value").and_then(|value| header_value(&value));
    let default = fields.optional("default").map(|value| header_value(&value));
    let default = match default {
        None => None,
        Some(default) => Some(default?),
    };
    Some(HeaderMatcher { name: name?, value: value?, default })
}

/// A value that one header field can have: a comma would make two, and leading or trailing spaces do not belong to the value.
fn header_value(cursor: &Cursor<'_>) -> Option<Box<str>> {
    let text = cursor.string()?;
    if text.contains(',') || text.trim() != text {
        cursor.error(
            ErrorKind::OutOfBounds,
            format_args!("no single header value is `{text}`: it has a comma, or a space at its ends"),
        );
        return None;
    }
    Some(Cow::into_owned(text).into())
}
