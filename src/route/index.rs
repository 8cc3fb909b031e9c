//! The operation that a request calls: the most specific one.
//!
//! 1. Host, then path are settled first, and nothing that comes later brings a less specific pattern back. An exact
//!    host comes before one with `{tenant}`, that before any host; the path goes segment by segment from the left, a
//!    literal before `{name}` and `{tenant}`, these before `*`, that before `**`.
//! 2. Among the operations of that very pattern the method chooses, then the header matchers: more of them before
//!    fewer.
//! 3. Two operations that could both be chosen by the same request are a [`Conflict`], so order never decides.
//!
//! A literal is compared after one percent-decoding: to an upstream `/%24export` is `/$export`, so an escape must not
//! lead past that literal to a less specific pattern.
//!
//! Each lookup visits a node of the tree once at most. Names are looked up in order, so no choice of them makes that slow.

use crate::ids::OperationId;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::path::RequestPath;
use super::pattern::{HostPattern, PathPattern, Segment};
use crate::http::headers::{HeaderShape, Headers, single_value};
use crate::http::percent;
use crate::http::search::first_part;

/// A header that a request must carry for an operation to be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatcher {
    /// Lower case.
    pub name: Box<str>,
    /// Compared exactly.
    pub value: Box<str>,
    /// The value that a request without the header counts as having.
    pub default: Option<Box<str>>,
}

/// Which requests call an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The operation called.
    pub operation: OperationId,
    /// Any of these; empty: any host, or none.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// Any of these, in upper case as sent (methods are case-sensitive, RFC 9110 section 9.1); `None`: all.
    pub methods: Option<Vec<Box<str>>>,
    /// All of these.
    pub headers: Vec<HeaderMatcher>,
}

/// Two operations that could both match the same request with equal specificity.
///
/// They are one and the same where its own hosts read two tenants from one name (`{tenant}.a.b` and `x.{tenant}.b`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conflict {
    /// The one that was added first.
    pub first: OperationId,
    /// The other.
    pub second: OperationId,
}

/// What [`OperationIndex::find`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'r> {
    /// The operation called.
    Matched {
        /// The operation.
        operation: OperationId,
        /// What host and path say of the tenant.
        evidence: RouteEvidence<'r>,
    },
    /// No operation's host and path match.
    Unmatched,
    /// Host and path match, but no operation of that pattern has the method.
    MethodNotMapped {
        /// What host and path say of the tenant.
        evidence: RouteEvidence<'r>,
    },
    /// Host, path and method match, but the headers choose no operation.
    Header {
        /// What is wrong with which header.
        fault: HeaderFault<'r>,
        /// What host and path say of the tenant.
        evidence: RouteEvidence<'r>,
    },
}

/// What the host and the path of a request say of the tenant.
///
/// Where no operation was chosen it holds what all operations agree on that were left to choose from: those of the
/// pattern and, if any has it, of the method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteEvidence<'r> {
    /// The segment at `{tenant}`, still percent-encoded; see [`super::path::decode_segment`].
    pub path_tenant: Option<&'r str>,
    /// The label at `{tenant}`, lower case.
    pub host_tenant: Option<&'r str>,
}

/// Why the headers choose no operation, with the header's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`name` is the header's name in lower case")]
pub enum HeaderFault<'r> {
    /// An operation matches but for this header: it is absent, or has another value.
    Missing { name: &'r str },
    /// Two values: repeated, or a comma list.
    Ambiguous { name: &'r str },
    /// Empty, or not UTF-8.
    Malformed { name: &'r str },
}

/// All operations, by host and path.
#[derive(Debug)]
pub struct OperationIndex {
    operations: Vec<Operation>,
    exact_hosts: BTreeMap<Box<str>, PathTree>,
    /// By what stands after `{tenant}`, then with what stands before it.
    tenant_hosts: BTreeMap<Box<str>, BTreeMap<Box<str>, PathTree>>,
    any_host: PathTree,
}

impl OperationIndex {
    /// Indexes `routes`.
    ///
    /// # Errors
    ///
    /// All conflicts; of several operations that conflict with each other, each is named with the first of them.
    pub fn build(routes: Vec<Route>) -> Result<Self, Vec<Conflict>> {
        let mut index = Self {
            operations: Vec::with_capacity(routes.len()),
            exact_hosts: BTreeMap::new(),
            tenant_hosts: BTreeMap::new(),
            any_host: PathTree::default(),
        };
        for route in routes {
            index.insert(route);
        }
        let conflicts = index.conflicts();
        if conflicts.is_empty() { Ok(index) } else { Err(conflicts) }
    }

    /// The most specific operation for a request, or why there is none.
    ///
    /// `host` is the outcome of [`super::pattern::normalize_host`]; without one only operations for any host match.
    pub fn find<'r>(
        &'r self,
        host: Option<&'r str>,
        path: &'r RequestPath<'_>,
        method: &[u8],
        headers: Headers<'_>,
    ) -> Lookup<'r> {
        match self.candidates(host, path) {
            Some(candidates) => self.choose(&candidates, path, method, headers),
            None => Lookup::Unmatched,
        }
    }

    fn insert(&mut self, route: Route) {
        let Route { operation, hosts, path, methods, headers } = route;
        let number = self.operations.len();
        self.operations.push(Operation {
            id: operation,
            methods,
            headers,
            tenant_segment: path.tenant_segment(),
        });
        if hosts.is_empty() {
            self.any_host.insert(&path, number);
        }
        for host in hosts {
            let tree = match host {
                HostPattern::Exact(host) => self.exact_hosts.entry(host).or_default(),
                HostPattern::Tenant { before, after } => {
                    self.tenant_hosts.entry(after).or_default().entry(before).or_default()
                }
            };
            tree.insert(&path, number);
        }
    }

    /// The operations of the most specific host and path.
    fn candidates<'r>(&'r self, host: Option<&'r str>, path: &RequestPath) -> Option<Candidates<'r>> {
        if let Some(host) = host {
            let exact = self.exact_hosts.get(host).and_then(|tree| tree.search(path));
            if let Some(pattern) = exact {
                return Some(Candidates::of(pattern, None));
            }
            if let Some(candidates) = self.tenant_host_candidates(host, path) {
                return Some(candidates);
            }
        }
        self.any_host.search(path).map(|pattern| Candidates::of(pattern, None))
    }

    fn tenant_host_candidates<'r>(&'r self, host: &'r str, path: &RequestPath) -> Option<Candidates<'r>> {
        let mut candidates: Option<Candidates<'r>> = None;
        for (label, tree) in self.tenant_trees(host) {
            let Some(pattern) = tree.search(path) else { continue };
            match &mut candidates {
                None => candidates = Some(Candidates::of(pattern, Some(label))),
                Some(candidates) => candidates.add(pattern, Some(label)),
            }
        }
        candidates
    }

    /// The labels of `host` that stand at `{tenant}` of some operation's host, whatever the path.
    pub fn tenant_labels<'r>(&'r self, host: &'r str) -> impl Iterator<Item = &'r str> {
        self.tenant_trees(host).map(|(label, _)| label)
    }

    fn tenant_trees<'r>(&'r self, host: &'r str) -> impl Iterator<Item = (&'r str, &'r PathTree)> {
        // An address has no labels.
        let has_labels = !self.tenant_hosts.is_empty() && !host.starts_with('[');
        let mut label_start = 0;
        host.split('.').filter(move |_| has_labels).filter_map(move |label| {
            let label_end = label_start + label.len();
            let before = host.get(..label_start).unwrap_or_default();
            let after = host.get(label_end..).unwrap_or_default();
            label_start = label_end + 1;
            Some((label, self.tenant_hosts.get(after)?.get(before)?))
        })
    }

    fn choose<'r>(
        &'r self,
        candidates: &Candidates<'r>,
        path: &'r RequestPath<'_>,
        method: &[u8],
        headers: Headers<'_>,
    ) -> Lookup<'r> {
        let mut of_pattern: Option<RouteEvidence<'r>> = None;
        let mut of_method: Option<RouteEvidence<'r>> = None;
        let mut chosen: Option<(&Operation, RouteEvidence<'r>)> = None;
        let mut missed: Option<(&Operation, &'r str)> = None;
        let mut malformed: Option<HeaderFault<'r>> = None;
        // Nearly always the operations of a pattern have their `{tenant}` in the same place.
        let mut last_tenant = (None, None);
        let mut path_tenant = |position: Option<usize>| {
            if last_tenant.0 != position {
                last_tenant = (position, position.and_then(|position| path.segments().nth(position)));
            }
            last_tenant.1
        };
        for Candidate { pattern, host_tenant } in candidates.iter() {
            for operation in pattern.operations.iter().filter_map(|number| self.operations.get(*number)) {
                let evidence = RouteEvidence {
                    path_tenant: path_tenant(operation.tenant_segment),
                    host_tenant: *host_tenant,
                };
                of_pattern = Some(of_pattern.map_or(evidence, |shared| shared.agreed(evidence)));
                if !operation.allows(method) {
                    continue;
                }
                of_method = Some(of_method.map_or(evidence, |shared| shared.agreed(evidence)));
                let has_more_matchers = |than: Option<&Operation>| {
                    than.is_none_or(|other| operation.headers.len() > other.headers.len())
                };
                match operation.missed_header(headers) {
                    Err(fault) => malformed = malformed.or(Some(fault)),
                    Ok(None) if has_more_matchers(chosen.map(|(other, _)| other)) => {
                        chosen = Some((operation, evidence))
                    }
                    Ok(Some(name)) if has_more_matchers(missed.map(|(other, _)| other)) => {
                        missed = Some((operation, name));
                    }
                    Ok(None | Some(_)) => {}
                }
            }
        }
        let evidence = of_method.or(of_pattern).unwrap_or_default();
        if let Some(fault) = malformed {
            return Lookup::Header { fault, evidence };
        }
        match (chosen, missed) {
            (Some((operation, evidence)), _) => Lookup::Matched { operation: operation.id, evidence },
            (None, Some((_, name))) => Lookup::Header { fault: HeaderFault::Missing { name }, evidence },
            (None, None) => Lookup::MethodNotMapped { evidence },
        }
    }

    fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = BTreeSet::new();
        let exact = self.exact_hosts.values();
        let tenant = self.tenant_hosts.values().flat_map(BTreeMap::values);
        for tree in exact.chain(tenant).chain([&self.any_host]) {
            for pattern in &tree.patterns {
                self.add_conflicts_within(&pattern.operations, &mut conflicts);
            }
        }
        self.add_conflicts_across_tenant_hosts(&mut conflicts);
        conflicts
            .into_iter()
            .filter_map(|(first, second)| {
                Some(Conflict {
                    first: self.operations.get(first)?.id,
                    second: self.operations.get(second)?.id,
                })
            })
            .collect()
    }

    /// Conflicts among operations of one host and path. Method by method, so that disjoint ones are never compared.
    fn add_conflicts_within(&self, numbers: &[usize], conflicts: &mut BTreeSet<(usize, usize)>) {
        if numbers.len() < 2 {
            return;
        }
        let mut by_method: BTreeMap<Option<&str>, Vec<(usize, &Operation)>> =
            BTreeMap::from([(None, Vec::new())]);
        let operations = || numbers.iter().filter_map(|&number| Some((number, self.operations.get(number)?)));
        for (_, operation) in operations() {
            for method in operation.methods.iter().flatten() {
                by_method.entry(Some(method)).or_default();
            }
        }
        for (number, operation) in operations() {
            match &operation.methods {
                None => by_method.values_mut().for_each(|all| all.push((number, operation))),
                Some(methods) => {
                    for method in methods {
                        by_method.entry(Some(method)).or_default().push((number, operation));
                    }
                }
            }
        }
        for operations in by_method.values() {
            // By number of matchers. Only those without a conflict are compared further, so that many equal
            // operations do not give each pair of them.
            let mut kept: BTreeMap<usize, Vec<(usize, &Operation)>> = BTreeMap::new();
            for &(number, operation) in operations {
                let others = kept.entry(operation.headers.len()).or_default();
                let mut is_free = true;
                for &(other_number, other) in others.iter() {
                    if other_number != number && other.headers_overlap(operation) {
                        conflicts.insert((other_number, number));
                        is_free = false;
                    }
                }
                if is_free {
                    others.push((number, operation));
                }
            }
        }
    }

    /// Conflicts of operations whose `{tenant}` stands in different labels of hosts that can be the same.
    fn add_conflicts_across_tenant_hosts(&self, conflicts: &mut BTreeSet<(usize, usize)>) {
        let hosts = || {
            self.tenant_hosts.iter().flat_map(|(after, trees)| {
                trees.iter().map(move |(before, tree)| {
                    let position = before.matches('.').count();
                    (position, position + after.matches('.').count(), before, after, tree)
                })
            })
        };
        let mut positions: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (position, dots, ..) in hosts() {
            positions.entry(dots).or_default().insert(position);
        }
        let mut sides: BTreeMap<Overlap, [Vec<usize>; 2]> = BTreeMap::new();
        for (position, dots, before, after, tree) in hosts() {
            for &other in positions.get(&dots).into_iter().flatten().filter(|&&other| other != position) {
                let host = format!("{before}*{after}");
                let rest: Vec<&str> = host
                    .split('.')
                    .enumerate()
                    .map(|(at, label)| if at == position || at == other { "*" } else { label })
                    .collect();
                let rest = rest.join(".");
                for pattern in &tree.patterns {
                    let overlap = Overlap {
                        tenants: (position.min(other), position.max(other)),
                        host: rest.clone(),
                        steps: &pattern.steps,
                    };
                    let [left, right] = sides.entry(overlap).or_default();
                    let side = if position < other { left } else { right };
                    side.extend_from_slice(&pattern.operations);
                }
            }
        }
        for [left, right] in sides.values() {
            for &left in left {
                for &right in right {
                    let (Some(a), Some(b)) = (self.operations.get(left), self.operations.get(right)) else {
                        continue;
                    };
                    if a.methods_overlap(b) && a.headers.len() == b.headers.len() && a.headers_overlap(b) {
                        conflicts.insert((left.min(right), left.max(right)));
                    }
                }
            }
        }
    }
}

impl<'r> RouteEvidence<'r> {
    fn agreed(self, other: Self) -> Self {
        Self {
            path_tenant: self.path_tenant.filter(|_| self.path_tenant == other.path_tenant),
            host_tenant: self.host_tenant.filter(|_| self.host_tenant == other.host_tenant),
        }
    }
}

/// The part of a [`Route`] that the tree does not hold.
#[derive(Debug)]
struct Operation {
    id: OperationId,
    methods: Option<Vec<Box<str>>>,
    headers: Vec<HeaderMatcher>,
    tenant_segment: Option<usize>,
}

impl Operation {
    fn allows(&self, method: &[u8]) -> bool {
        match &self.methods {
            None => true,
            Some(methods) => methods.iter().any(|allowed| allowed.as_bytes() == method),
        }
    }

    /// The name of the first matcher that does not hold. All are looked at: a malformed header is never ignored.
    fn missed_header<'i>(&'i self, headers: Headers<'_>) -> Result<Option<&'i str>, HeaderFault<'i>> {
        let mut missed = None;
        for matcher in &self.headers {
            let name = &*matcher.name;
            let value = single_value(headers, name).map_err(|shape| match shape {
                HeaderShape::Ambiguous => HeaderFault::Ambiguous { name },
                HeaderShape::Malformed => HeaderFault::Malformed { name },
            })?;
            if value.or(matcher.default.as_deref()) != Some(&*matcher.value) {
                missed = missed.or(Some(name));
            }
        }
        Ok(missed)
    }

    fn methods_overlap(&self, other: &Self) -> bool {
        match (&self.methods, &other.methods) {
            (None, None) => true,
            (None, Some(methods)) | (Some(methods), None) => !methods.is_empty(),
            (Some(methods), Some(others)) => methods.iter().any(|method| others.contains(method)),
        }
    }

    /// Whether one request could hold all matchers of both.
    fn headers_overlap(&self, other: &Self) -> bool {
        self.headers
            .iter()
            .all(|a| other.headers.iter().filter(|b| a.name == b.name).all(|b| a.holds_together_with(b)))
    }
}

impl HeaderMatcher {
    /// For two matchers of one header: the value that both want, or both hold where the header is absent.
    fn holds_together_with(&self, other: &Self) -> bool {
        self.value == other.value || (self.holds_without_header() && other.holds_without_header())
    }

    fn holds_without_header(&self) -> bool {
        self.default.as_ref() == Some(&self.value)
    }
}

/// The operations of the patterns that match with the highest specificity: nearly always of one pattern.
struct Candidates<'i> {
    first: Candidate<'i>,
    /// Only where hosts overlap that hold `{tenant}` in different labels.
    others: Vec<Candidate<'i>>,
}

struct Candidate<'i> {
    pattern: &'i Pattern,
    host_tenant: Option<&'i str>,
}

impl<'i> Candidates<'i> {
    fn of(pattern: &'i Pattern, host_tenant: Option<&'i str>) -> Self {
        Self { first: Candidate { pattern, host_tenant }, others: Vec::new() }
    }

    fn add(&mut self, pattern: &'i Pattern, host_tenant: Option<&'i str>) {
        match pattern.steps.cmp(&self.first.pattern.steps) {
            Ordering::Less => {}
            Ordering::Equal => self.others.push(Candidate { pattern, host_tenant }),
            Ordering::Greater => *self = Self::of(pattern, host_tenant),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Candidate<'i>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// What two patterns share whose hosts can be the same, though `{tenant}` stands in different labels.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Overlap<'i> {
    /// The positions of the two labels.
    tenants: (usize, usize),
    /// The host but for these two.
    host: String,
    steps: &'i [Step],
}

/// One segment of a pattern as it compares. The order is the specificity, of patterns that match the same path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Rest,
    Any,
    /// `{name}` and `{tenant}`: the name plays no part.
    Placeholder,
    /// Percent-decoded.
    Literal(Box<[u8]>),
}

impl Step {
    fn of(segment: &Segment) -> Self {
        match segment {
            Segment::Literal(text) => Self::Literal(
                percent::decode(text.as_bytes()).unwrap_or(text.as_bytes().into()).into_owned().into(),
            ),
            Segment::Name(_) | Segment::Tenant => Self::Placeholder,
            Segment::Any => Self::Any,
            Segment::Rest => Self::Rest,
        }
    }
}

/// The path patterns of one host.
#[derive(Debug, Default)]
struct PathTree {
    /// The first is the root, once there is any.
    nodes: Vec<Node>,
    patterns: Vec<Pattern>,
}

/// Other nodes and patterns are named by their positions in the tree.
#[derive(Debug, Default)]
struct Node {
    literals: Literals,
    placeholder: Option<usize>,
    any: Option<usize>,
    rest: Option<usize>,
    /// The pattern that ends here.
    end: Option<usize>,
}

/// The literals that may stand at a node, with the nodes that they lead to.
#[derive(Debug, Default)]
struct Literals {
    /// Shorter ones first.
    sorted: Vec<(Box<[u8]>, usize)>,
}

/// A path pattern and its operations.
#[derive(Debug)]
struct Pattern {
    steps: Box<[Step]>,
    operations: Vec<usize>,
}

impl PathTree {
    fn insert(&mut self, path: &PathPattern, operation: usize) {
        let steps: Box<[Step]> = path.segments().iter().map(Step::of).collect();
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for step in &steps {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = match step {
                Step::Literal(text) => node.literals.get_or_insert(text, next),
                Step::Placeholder => *node.placeholder.get_or_insert(next),
                Step::Any => *node.any.get_or_insert(next),
                Step::Rest => *node.rest.get_or_insert(next),
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        let next = self.patterns.len();
        let Some(node) = self.nodes.get_mut(at) else { return };
        let end = *node.end.get_or_insert(next);
        if end == next {
            self.patterns.push(Pattern { steps, operations: Vec::new() });
        }
        if let Some(pattern) = self.patterns.get_mut(end) {
            // An operation may list a host twice.
            if pattern.operations.last() != Some(&operation) {
                pattern.operations.push(operation);
            }
        }
    }

    fn search(&self, path: &RequestPath) -> Option<&Pattern> {
        self.search_from(0, Some(path.after_first_slash()), path.has_escapes())
    }

    /// The most specific pattern below the node for `rest`: what follows the slash, or `None` where the path has
    /// ended. No deeper than the longest pattern.
    fn search_from(&self, node: usize, rest: Option<&str>, has_escapes: bool) -> Option<&Pattern> {
        let node = self.nodes.get(node)?;
        let Some(rest) = rest else {
            return self.patterns.get(node.end?);
        };
        let (segment, after) = first_part(b'/', rest);
        let go = |next: Option<usize>| next.and_then(|next| self.search_from(next, after, has_escapes));
        if let Some(pattern) = go(node.literal(segment, has_escapes)) {
            return Some(pattern);
        }
        if !segment.is_empty() {
            if let Some(pattern) = go(node.placeholder).or_else(|| go(node.any)) {
                return Some(pattern);
            }
        }
        self.patterns.get(self.nodes.get(node.rest?)?.end?)
    }
}

impl Node {
    fn literal(&self, segment: &str, has_escapes: bool) -> Option<usize> {
        if self.literals.is_empty() {
            return None;
        }
        if has_escapes {
            return self.literals.get(&percent::decode(segment.as_bytes())?);
        }
        self.literals.get(segment.as_bytes())
    }
}

impl Literals {
    fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    fn get(&self, text: &[u8]) -> Option<usize> {
        let place = self.sorted.binary_search_by(|(literal, _)| by_length(literal, text)).ok()?;
        self.sorted.get(place).map(|(_, node)| *node)
    }

    /// The node of `text`, which is `next` where there is none yet.
    fn get_or_insert(&mut self, text: &[u8], next: usize) -> usize {
        match self.sorted.binary_search_by(|(literal, _)| by_length(literal, text)) {
            Ok(place) => self.sorted.get(place).map_or(next, |(_, node)| *node),
            Err(place) => {
                self.sorted.insert(place, (text.into(), next));
                next
            }
        }
    }
}

fn by_length(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::headers::borrowed;
    use crate::route::path::canonicalize;
    use crate::route::pattern::normalize_host;

    fn route(number: u32, path: &str) -> Route {
        Route {
            operation: OperationId(number),
            hosts: Vec::new(),
            path: PathPattern::parse(path).unwrap(),
            methods: None,
            headers: Vec::new(),
        }
    }

    impl Route {
        fn on(mut self, hosts: &[&str]) -> Self {
            self.hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
            self
        }

        fn methods(mut self, methods: &[&str]) -> Self {
            self.methods = Some(methods.iter().map(|&method| method.into()).collect());
            self
        }

        fn header(mut self, name: &str, value: &str, default: Option<&str>) -> Self {
            let default = default.map(Box::from);
            self.headers.push(HeaderMatcher { name: name.into(), value: value.into(), default });
            self
        }
    }

    fn index(routes: impl IntoIterator<Item = Route>) -> OperationIndex {
        OperationIndex::build(routes.into_iter().collect()).unwrap()
    }

    fn conflicts(routes: impl IntoIterator<Item = Route>) -> Vec<(u32, u32)> {
        match OperationIndex::build(routes.into_iter().collect()) {
            Ok(_) => Vec::new(),
            Err(conflicts) => {
                conflicts.iter().map(|conflict| (conflict.first.0, conflict.second.0)).collect()
            }
        }
    }

    /// The outcome in short: the operation and its tenants, or the reason.
    fn find(
        index: &OperationIndex,
        host: &str,
        path: &str,
        method: &str,
        headers: &[(&str, &[u8])],
    ) -> String {
        let host = normalize_host(host.as_bytes());
        let path = canonicalize(path.as_bytes()).unwrap();
        match index.find(host.as_deref(), &path, method.as_bytes(), &borrowed(headers)) {
            Lookup::Matched { operation, evidence } => {
                let of = |tenant: Option<&str>| tenant.map(|tenant| format!(" {tenant}")).unwrap_or_default();
                format!("{}{}{}", operation.0, of(evidence.path_tenant), of(evidence.host_tenant))
            }
            Lookup::Unmatched => "unmatched".to_owned(),
            Lookup::MethodNotMapped { .. } => "method".to_owned(),
            Lookup::Header { fault: HeaderFault::Missing { name }, .. } => format!("missing {name}"),
            Lookup::Header { fault: HeaderFault::Ambiguous { name }, .. } => format!("ambiguous {name}"),
            Lookup::Header { fault: HeaderFault::Malformed { name }, .. } => format!("malformed {name}"),
        }
    }

    fn get(index: &OperationIndex, path: &str) -> String {
        find(index, "api.example.com", path, "GET", &[])
    }

    #[test]
    fn a_segment_is_matched_by_the_most_specific_pattern_from_the_left() {
        let index = index([
            route(0, "/a/**"),
            route(1, "/a/*"),
            route(2, "/a/{x}"),
            route(3, "/a/b"),
            route(4, "/a/*/c"),
            route(5, "/a/{x}/**"),
            route(6, "/a/b/**"),
        ]);
        for (path, outcome) in [
            ("/a/b", "3"),
            ("/a/z", "2"),
            ("/a/", "0"),
            ("/a", "unmatched"),
            ("/a/b/c", "6"),
            ("/a/z/c", "5"),
            ("/a/z/", "5"),
            ("/a/z/d/e", "5"),
            ("/A/b", "unmatched"),
            ("/", "unmatched"),
        ] {
            assert_eq!(get(&index, path), outcome, "{path}");
        }
    }

    #[test]
    fn a_less_specific_path_is_tried_where_the_more_specific_one_ends_elsewhere() {
        let index = index([route(0, "/a/b/d"), route(1, "/a/{x}/c"), route(2, "/a/**")]);
        assert_eq!(get(&index, "/a/b/d"), "0");
        assert_eq!(get(&index, "/a/b/c"), "1");
        assert_eq!(get(&index, "/a/b/e"), "2");
    }

    #[test]
    fn a_placeholder_never_stands_for_an_empty_segment() {
        let index =
            index([route(0, "/a/{x}"), route(1, "/b/*"), route(2, "/c/{tenant}/"), route(3, "/d/**")]);
        assert_eq!(get(&index, "/a/"), "unmatched");
        assert_eq!(get(&index, "/b/"), "unmatched");
        assert_eq!(get(&index, "/c/acme"), "unmatched");
        assert_eq!(get(&index, "/c/acme/"), "2 acme");
        assert_eq!(get(&index, "/d/"), "3");
        assert_eq!(get(&index, "/d"), "unmatched");
    }

    #[test]
    fn an_escape_does_not_lead_past_a_literal() {
        let index =
            index([route(0, "/accounts/{id}"), route(1, "/accounts/$export"), route(2, "/caf%C3%A9")]);
        assert_eq!(get(&index, "/accounts/$export"), "1");
        assert_eq!(get(&index, "/accounts/%24export"), "1");
        assert_eq!(get(&index, "/accounts/%2424"), "0");
        assert_eq!(get(&index, "/caf%c3%a9"), "2");
        assert_eq!(conflicts([route(0, "/a/@me"), route(1, "/a/%40me")]), [(0, 1)]);
    }

    #[test]
    fn tenant_is_matched_by_shape_and_reported_as_it_was_sent() {
        let index = index([route(0, "/tc/{tenant}/x"), route(1, "/tc/{tenant}/{tenant2}/**")]);
        assert_eq!(get(&index, "/tc/no-such-tenant/x"), "0 no-such-tenant");
        assert_eq!(get(&index, "/tc/caf%c3%a9/x"), "0 caf%C3%A9");
        assert_eq!(get(&index, "/tc/acme/a/b"), "1 acme");
    }

    #[test]
    fn an_exact_host_comes_before_a_tenant_host_before_any() {
        let index = index([
            route(0, "/**"),
            route(1, "/a").on(&["{tenant}.example.com"]),
            route(2, "/{x}").on(&["api.example.com"]),
        ]);
        assert_eq!(find(&index, "API.example.com.:443", "/a", "GET", &[]), "2");
        assert_eq!(find(&index, "api.example.com", "/a/b", "GET", &[]), "0");
        assert_eq!(find(&index, "Acme.example.com", "/a", "GET", &[]), "1 acme");
        assert_eq!(find(&index, "x.acme.example.com", "/a", "GET", &[]), "0");
        assert_eq!(find(&index, "example.com", "/a", "GET", &[]), "0");
        assert_eq!(find(&index, "", "/a", "GET", &[]), "0");
        // An address has no label that could be a tenant's.
        let index = self::index([route(0, "/**"), route(1, "/a").on(&["{tenant}"])]);
        assert_eq!(find(&index, "acme", "/a", "GET", &[]), "1 acme");
        assert_eq!(find(&index, "[::1]:443", "/a", "GET", &[]), "0");
    }

    #[test]
    fn among_overlapping_tenant_hosts_the_path_decides() {
        let index = index([
            route(0, "/{x}").on(&["{tenant}.a.b"]),
            route(1, "/y").on(&["x.{tenant}.b"]),
            route(2, "/z").on(&["x.{tenant}.b"]).methods(&["GET"]),
            route(3, "/z").on(&["{tenant}.a.b"]).methods(&["PUT"]),
        ]);
        assert_eq!(find(&index, "x.a.b", "/y", "GET", &[]), "1 a");
        assert_eq!(find(&index, "x.a.b", "/w", "GET", &[]), "0 x");
        assert_eq!(find(&index, "x.a.b", "/z", "GET", &[]), "2 a");
        assert_eq!(find(&index, "x.a.b", "/z", "PUT", &[]), "3 x");
        assert_eq!(find(&index, "x.a.b", "/z", "POST", &[]), "method");
    }

    #[test]
    fn a_less_specific_pattern_is_never_tried_because_of_a_method() {
        let index = index([route(0, "/a/{x}"), route(1, "/a/b").methods(&["GET"])]);
        assert_eq!(find(&index, "h", "/a/b", "GET", &[]), "1");
        assert_eq!(find(&index, "h", "/a/b", "POST", &[]), "method");
        assert_eq!(find(&index, "h", "/a/b", "get", &[]), "method");
        assert_eq!(find(&index, "h", "/a/c", "POST", &[]), "0");
    }

    #[test]
    fn a_less_specific_pattern_is_never_tried_because_of_a_header() {
        let index = index([route(0, "/a/{x}"), route(1, "/a/b").header("x-api-version", "v2", None)]);
        assert_eq!(find(&index, "h", "/a/b", "GET", &[("x-api-version", b"v2")]), "1");
        assert_eq!(find(&index, "h", "/a/b", "GET", &[]), "missing x-api-version");
        assert_eq!(find(&index, "h", "/a/b", "GET", &[("x-api-version", b"v1")]), "missing x-api-version");
        assert_eq!(find(&index, "h", "/a/c", "GET", &[("x-api-version", b"v1,v2")]), "0");
    }

    #[test]
    fn more_header_matchers_come_before_fewer() {
        let index = index([
            route(0, "/a"),
            route(1, "/a").header("x", "1", None),
            route(2, "/a").header("x", "1", None).header("y", "1", None),
        ]);
        assert_eq!(find(&index, "h", "/a", "GET", &[]), "0");
        assert_eq!(find(&index, "h", "/a", "GET", &[("x", b"2")]), "0");
        assert_eq!(find(&index, "h", "/a", "GET", &[("x", b" 1 ")]), "1");
        assert_eq!(find(&index, "h", "/a", "GET", &[("y", b"1"), ("x", b"1")]), "2");
    }

    #[test]
    fn the_order_of_operations_decides_nothing_among_header_matchers() {
        let index = index([
            route(0, "/a").header("y", "1", None).header("x", "1", None),
            route(1, "/a").header("x", "1", None),
            route(2, "/a"),
        ]);
        assert_eq!(find(&index, "h", "/a", "GET", &[("y", b"1"), ("x", b"1")]), "0");
        assert_eq!(find(&index, "h", "/a", "GET", &[("x", b"1")]), "1");
        assert_eq!(find(&index, "h", "/a", "GET", &[("y", b"1")]), "2");
    }

    #[test]
    fn the_missing_header_is_that_of_the_first_operation_with_the_most_matchers() {
        let index = index([
            route(0, "/a").header("x", "1", None).header("y", "1", None),
            route(1, "/a").header("x", "2", None).header("z", "1", None),
            route(2, "/a").header("x", "1", None),
        ]);
        assert_eq!(find(&index, "h", "/a", "GET", &[]), "missing x");
        assert_eq!(find(&index, "h", "/a", "GET", &[("x", b"2")]), "missing x");
        let index = self::index([
            route(0, "/a").header("y", "1", None).header("x", "1", None),
            route(1, "/a").header("y", "2", None).header("z", "1", None),
            route(2, "/a").header("x", "1", None),
        ]);
        assert_eq!(find(&index, "h", "/a", "GET", &[]), "missing y");
        assert_eq!(find(&index, "h", "/a", "GET", &[("y", b"1")]), "missing x");
    }

    #[test]
    fn an_absent_header_counts_as_the_default() {
        let index = index([
            route(0, "/a").header("v", "v1", Some("v1")),
            route(1, "/a").header("v", "v2", Some("v1")),
        ]);
        assert_eq!(find(&index, "h", "/a", "GET", &[]), "0");
        assert_eq!(find(&index, "h", "/a", "GET", &[("v", b"v1")]), "0");
        assert_eq!(find(&index, "h", "/a", "GET", &[("v", b"v2")]), "1");
        assert_eq!(find(&index, "h", "/a", "GET", &[("v", b"v3")]), "missing v");
        assert_eq!(find(&index, "h", "/a", "GET", &[("v", b"")]), "malformed v");
    }

    #[test]
    fn a_malformed_matcher_header_is_never_ignored() {
        let index = index([
            route(0, "/a").methods(&["GET"]),
            route(1, "/a").methods(&["GET"]).header("x", "1", None),
            route(2, "/a").methods(&["PUT"]),
        ]);
        assert_eq!(find(&index, "h", "/a", "GET", &[("x", b"1"), ("x", b"1")]), "ambiguous x");
        assert_eq!(find(&index, "h", "/a", "GET", &[("x", b"1,1")]), "ambiguous x");
        assert_eq!(find(&index, "h", "/a", "GET", &[("x", b"\xff")]), "malformed x");
        assert_eq!(find(&index, "h", "/a", "GET", &[("x", b" ")]), "malformed x");
        assert_eq!(find(&index, "h", "/a", "PUT", &[("x", b"1,1")]), "2");
    }

    #[test]
    fn a_refusal_still_says_what_host_and_path_say_of_the_tenant() {
        let index = index([
            route(0, "/{tenant}/a").on(&["{tenant}.b"]).methods(&["GET"]).header("x", "1", None),
            route(1, "/{tenant}/{y}").methods(&["GET"]),
            route(2, "/{y}/{tenant}").methods(&["PUT"]).header("x", "1", None),
        ]);
        let path = canonicalize(b"/acme/a").unwrap();
        let evidence = RouteEvidence { path_tenant: Some("acme"), host_tenant: Some("umbrella") };
        assert_eq!(index.find(Some("umbrella.b"), &path, b"PUT", &[]), Lookup::MethodNotMapped { evidence });
        assert_eq!(
            index.find(Some("umbrella.b"), &path, b"GET", &[]),
            Lookup::Header { fault: HeaderFault::Missing { name: "x" }, evidence }
        );
        assert_eq!(
            index.find(None, &path, b"PUT", &[]),
            Lookup::Header {
                fault: HeaderFault::Missing { name: "x" },
                evidence: RouteEvidence { path_tenant: Some("a"), host_tenant: None }
            }
        );
        assert_eq!(
            index.find(None, &path, b"POST", &[]),
            Lookup::MethodNotMapped { evidence: RouteEvidence::default() },
            "where the operations of a pattern disagree, none is believed"
        );
        let index = self::index([
            route(0, "/{tenant}/a").on(&["{tenant}.b"]).methods(&["GET"]),
            route(1, "/{tenant}/a").on(&["{tenant}.b"]).methods(&["PUT"]),
        ]);
        assert_eq!(index.find(Some("umbrella.b"), &path, b"POST", &[]), Lookup::MethodNotMapped { evidence });
    }

    #[test]
    fn equal_specificity_is_a_conflict() {
        assert_eq!(conflicts([route(0, "/a/{x}"), route(1, "/a/{tenant}")]), [(0, 1)]);
        assert_eq!(conflicts([route(0, "/a"), route(1, "/a"), route(2, "/a")]), [(0, 1), (0, 2)]);
        assert_eq!(conflicts([route(0, "/a").methods(&["GET"]), route(1, "/a")]), [(0, 1)]);
        assert_eq!(
            conflicts([
                route(0, "/a").methods(&["GET"]),
                route(1, "/a").methods(&["PUT"]),
                route(2, "/a").methods(&["PUT", "GET"])
            ]),
            [(0, 2), (1, 2)]
        );
        assert_eq!(
            conflicts([route(0, "/a").on(&["A.example", "b.example"]), route(1, "/a").on(&["a.example:80"])]),
            [(0, 1)]
        );
    }

    #[test]
    fn what_the_request_tells_apart_is_no_conflict() {
        for routes in [
            [route(0, "/a/{x}"), route(1, "/a/*")],
            [route(0, "/a/{x}"), route(1, "/a/{x}/")],
            [route(0, "/a").methods(&["GET"]), route(1, "/a").methods(&["PUT"])],
            [route(0, "/a").on(&["a.example"]), route(1, "/a")],
            [route(0, "/a").on(&["a.example"]), route(1, "/a").on(&["{tenant}.example"])],
            [route(0, "/a").on(&["{tenant}.a.b"]), route(1, "/a").on(&["{tenant}.b"])],
            [route(0, "/a").on(&["{tenant}.a.b"]), route(1, "/a").on(&["x.{tenant}.c"])],
            [route(0, "/a"), route(1, "/a").header("x", "1", None)],
            [route(0, "/a").header("x", "1", None), route(1, "/a").header("x", "2", None)],
            [route(0, "/a").header("x", "1", Some("1")), route(1, "/a").header("x", "2", Some("1"))],
        ] {
            assert_eq!(conflicts(routes.clone()), [], "{routes:?}");
        }
    }

    #[test]
    fn header_matchers_that_one_request_can_hold_conflict() {
        assert_eq!(
            conflicts([route(0, "/a").header("x", "1", None), route(1, "/a").header("y", "1", None)]),
            [(0, 1)]
        );
        assert_eq!(
            conflicts([route(0, "/a").header("x", "1", None), route(1, "/a").header("x", "1", Some("2"))]),
            [(0, 1)]
        );
        assert_eq!(
            conflicts([
                route(0, "/a").header("x", "1", Some("1")),
                route(1, "/a").header("x", "2", Some("2"))
            ]),
            [(0, 1)],
            "both hold where the header is absent"
        );
    }

    #[test]
    fn overlapping_tenant_hosts_conflict_where_their_operations_do() {
        let on = |number, host| route(number, "/a").on(&[host]);
        assert_eq!(conflicts([on(0, "{tenant}.a.b"), on(1, "x.{tenant}.b")]), [(0, 1)]);
        assert_eq!(
            conflicts([on(0, "x.y.{tenant}"), on(1, "{tenant}.y.b"), on(2, "x.{tenant}.c")]),
            [(0, 1), (0, 2)]
        );
        assert_eq!(conflicts([route(0, "/a").on(&["{tenant}.a.b", "x.{tenant}.b"])]), [(0, 0)]);
        assert_eq!(
            conflicts([on(0, "{tenant}.a.b").methods(&["GET"]), on(1, "x.{tenant}.b").methods(&["PUT"])]),
            []
        );
        assert_eq!(conflicts([on(0, "{tenant}.a.b").methods(&["GET"]), on(1, "x.{tenant}.b")]), [(0, 1)]);
        assert_eq!(conflicts([on(0, "{tenant}"), on(1, "{tenant}").methods(&["GET"])]), [(0, 1)]);
    }

    #[test]
    fn a_host_listed_twice_is_no_conflict() {
        assert_eq!(conflicts([route(0, "/a").on(&["a.example", "A.example:80"])]), []);
    }
}
