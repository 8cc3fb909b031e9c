//! Laws of paths and of the operation index, against naive models.

use proptest::collection::vec;
use proptest::prelude::*;
use scopegate::http::headers::borrowed;
use scopegate::ids::OperationId;
use scopegate::route::index::{
    Conflict, HeaderFault, HeaderMatcher, Lookup, OperationIndex, Route, RouteEvidence,
};
use scopegate::route::path::{RequestPath, canonicalize, decode_segment};
use scopegate::route::pattern::{HostPattern, PathPattern, Segment};

/// The specificity of a match: compared from the left, a greater number first.
type Specificity = (u8, Vec<u8>);

fn host_rank<'h>(route: &Route, host: Option<&'h str>) -> Option<(u8, Option<&'h str>)> {
    if route.hosts.is_empty() {
        return Some((0, None));
    }
    let host = host?;
    let of_pattern = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(exact) => (**exact == *host).then_some((2, None)),
        HostPattern::Tenant { before, after } => {
            let label = host.strip_prefix(&**before)?.strip_suffix(&**after)?;
            (!label.is_empty() && !label.contains('.')).then_some((1, Some(label)))
        }
    };
    route.hosts.iter().filter_map(of_pattern).max_by_key(|(rank, _)| *rank)
}

fn path_rank(pattern: &PathPattern, path: &RequestPath) -> Option<Vec<u8>> {
    let segments: Vec<&str> = path.segments().collect();
    let mut ranks = Vec::new();
    for (at, step) in pattern.segments().iter().enumerate() {
        let segment = segments.get(at)?;
        ranks.push(match step {
            Segment::Literal(text) if decode_segment(text) == decode_segment(segment) => 3,
            Segment::Name(_) | Segment::Tenant if !segment.is_empty() => 2,
            Segment::Any if !segment.is_empty() => 1,
            Segment::Rest => {
                ranks.push(0);
                return Some(ranks);
            }
            Segment::Literal(_) | Segment::Name(_) | Segment::Tenant | Segment::Any => return None,
        });
    }
    (segments.len() == pattern.segments().len()).then_some(ranks)
}

/// `None`: odd.
fn header_value<'h>(headers: &'h [(String, String)], name: &str) -> Option<Option<&'h str>> {
    let all: Vec<&str> =
        headers.iter().filter(|(other, _)| other == name).map(|(_, value)| &**value).collect();
    match all[..] {
        [] => Some(None),
        [value] if !value.is_empty() && !value.contains(',') => Some(Some(value)),
        _ => None,
    }
}

/// What the index should find, in short.
#[derive(Debug, PartialEq)]
enum Outcome {
    Matched(OperationId, Option<String>, Option<String>),
    Unmatched,
    MethodNotMapped,
    HeaderMissing,
    HeaderMalformed,
}

impl From<Lookup<'_>> for Outcome {
    fn from(lookup: Lookup<'_>) -> Self {
        match lookup {
            Lookup::Matched { operation, evidence: RouteEvidence { path_tenant, host_tenant } } => {
                Self::Matched(operation, path_tenant.map(str::to_owned), host_tenant.map(str::to_owned))
            }
            Lookup::Unmatched => Self::Unmatched,
            Lookup::MethodNotMapped { .. } => Self::MethodNotMapped,
            Lookup::Header { fault: HeaderFault::Missing { .. }, .. } => Self::HeaderMissing,
            Lookup::Header {
                fault: HeaderFault::Ambiguous { .. } | HeaderFault::Malformed { .. }, ..
            } => Self::HeaderMalformed,
        }
    }
}

/// Tries every operation and takes the greatest.
fn naive(
    routes: &[Route],
    host: Option<&str>,
    path: &RequestPath,
    method: &str,
    headers: &[(String, String)],
) -> Outcome {
    let specificity = |route: &Route| -> Option<Specificity> {
        Some((host_rank(route, host)?.0, path_rank(&route.path, path)?))
    };
    let Some(greatest) = routes.iter().filter_map(specificity).max() else { return Outcome::Unmatched };
    let by_method: Vec<&Route> = routes
        .iter()
        .filter(|route| specificity(route).as_ref() == Some(&greatest))
        .filter(|route| route.methods.as_ref().is_none_or(|all| all.iter().any(|one| **one == *method)))
        .collect();
    if by_method.is_empty() {
        return Outcome::MethodNotMapped;
    }
    let matchers = by_method.iter().flat_map(|route| &route.headers);
    if matchers.clone().any(|matcher| header_value(headers, &matcher.name).is_none()) {
        return Outcome::HeaderMalformed;
    }
    let holds = |matcher: &HeaderMatcher| {
        header_value(headers, &matcher.name).flatten().or(matcher.default.as_deref()) == Some(&*matcher.value)
    };
    let by_headers = by_method.iter().filter(|route| route.headers.iter().all(holds));
    let Some(route) = by_headers.max_by_key(|route| route.headers.len()) else {
        return Outcome::HeaderMissing;
    };
    let path_tenant = route.path.tenant_segment().map(|at| path.segments().nth(at).unwrap().to_owned());
    let host_tenant = host_rank(route, host).and_then(|(_, label)| label).map(str::to_owned);
    Outcome::Matched(route.operation, path_tenant, host_tenant)
}

fn pattern() -> impl Strategy<Value = PathPattern> {
    let segment = prop_oneof![
        3 => Just("a"), 3 => Just("b"), 1 => Just("$"), 1 => Just("%24"), 2 => Just("{x}"), 2 => Just("{tenant}"), 2 => Just("*")
    ];
    (vec(segment, 0..4), prop_oneof![2 => Just(""), 1 => Just("/"), 1 => Just("/**")]).prop_filter_map(
        "a pattern",
        |(segments, end)| {
            let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
            PathPattern::parse(&format!("{path}{end}")).ok()
        },
    )
}

fn hosts() -> impl Strategy<Value = Vec<HostPattern>> {
    let host = prop_oneof![Just("a.b"), Just("a.c"), Just("{tenant}.b"), Just("a.{tenant}"), Just("x.a.b")];
    prop_oneof![
        2 => Just(Vec::new()),
        1 => vec(host, 1..3).prop_map(|all| all.iter().map(|host| HostPattern::parse(host).unwrap()).collect())
    ]
}

fn matcher() -> impl Strategy<Value = HeaderMatcher> {
    let value = || prop_oneof![Just("1"), Just("2")];
    (prop_oneof![Just("v"), Just("w")], value(), proptest::option::of(value())).prop_map(
        |(name, value, default)| HeaderMatcher {
            name: name.into(),
            value: value.into(),
            default: default.map(Box::from),
        },
    )
}

fn route() -> impl Strategy<Value = Route> {
    let methods = proptest::option::of(proptest::sample::subsequence(vec!["GET", "PUT", "POST"], 1..3));
    (hosts(), pattern(), methods, vec(matcher(), 0..2)).prop_map(|(hosts, path, methods, headers)| Route {
        operation: OperationId(0),
        hosts,
        path,
        methods: methods.map(|all| all.into_iter().map(Box::from).collect()),
        headers,
    })
}

/// Routes without conflicts: of each conflict one is left out.
fn routes() -> impl Strategy<Value = Vec<Route>> {
    vec(route(), 1..24).prop_map(|mut routes| {
        loop {
            for (number, route) in (0..).zip(&mut routes) {
                route.operation = OperationId(number);
            }
            let Err(conflicts) = OperationIndex::build(routes.clone()) else { return routes };
            let last = conflicts.iter().map(|conflict| conflict.second.0).max().unwrap();
            routes.remove(last as usize);
        }
    })
}

fn request_host() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("a.b")),
        Just(Some("a.c")),
        Just(Some("z.b")),
        Just(Some("x.a.b")),
        Just(Some("[::1]"))
    ]
}

fn request_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![3 => Just("a"), 3 => Just("b"), 1 => Just("%62"), 1 => Just("$"), 1 => Just("%24"), 2 => Just("z")];
    (vec(segment, 1..5), any::<bool>()).prop_map(|(segments, slash)| {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if slash { path + "/" } else { path }
    })
}

fn request_headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = prop_oneof![4 => Just("1"), 4 => Just("2"), 1 => Just("3"), 1 => Just("1,2"), 1 => Just("")];
    vec(
        (prop_oneof![Just("v"), Just("w")], value).prop_map(|(name, value)| (name.into(), value.into())),
        0..3,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_trying_every_operation_finds(
        routes in routes(),
        requests in vec(
            (request_host(), request_path(), prop_oneof![Just("GET"), Just("PUT"), Just("PATCH")], request_headers()),
            1..16,
        ),
    ) {
        let index = OperationIndex::build(routes.clone()).unwrap();
        for (host, path, method, headers) in requests {
            let path = canonicalize(path.as_bytes()).unwrap();
            let found = index.find(host, &path, method.as_bytes(), &borrowed(&headers));
            prop_assert_eq!(
                Outcome::from(found),
                naive(&routes, host, &path, method, &headers),
                "{:?} {:?} {} {:?} among {:#?}", host, path, method, headers, routes
            );
        }
    }

    #[test]
    fn the_order_of_the_file_never_decides(
        routes in routes(), host in request_host(), path in request_path(), headers in request_headers(),
    ) {
        let path = canonicalize(path.as_bytes()).unwrap();
        let forward = OperationIndex::build(routes.clone()).unwrap();
        let backward = OperationIndex::build(routes.into_iter().rev().collect()).unwrap();
        prop_assert_eq!(
            Outcome::from(forward.find(host, &path, b"GET", &borrowed(&headers))),
            Outcome::from(backward.find(host, &path, b"GET", &borrowed(&headers)))
        );
    }

    /// Without this law an index that calls nothing a conflict would pass the others.
    #[test]
    fn two_operations_conflict_where_a_request_finds_both(
        first in route(), second in route(), host in request_host(), path in request_path(), headers in request_headers(),
    ) {
        let path = canonicalize(path.as_bytes()).unwrap();
        let second = Route { operation: OperationId(1), ..second };
        let alone = |route: &Route| matches!(
            naive(std::slice::from_ref(route), host, &path, "GET", &headers), Outcome::Matched(..)
        );
        let specificity = |route: &Route| {
            Some((host_rank(route, host)?.0, path_rank(&route.path, &path)?, route.headers.len()))
        };
        if alone(&first) && alone(&second) && specificity(&first) == specificity(&second) {
            let conflicts = OperationIndex::build(vec![first, second]).map(|_| ()).unwrap_err();
            let between = Conflict { first: OperationId(0), second: OperationId(1) };
            let within = conflicts.iter().any(|conflict| conflict.first == conflict.second);
            prop_assert!(within || conflicts.contains(&between));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(path in vec(any::<u8>(), 0..64)) {
        let _ = canonicalize(&path);
        let _ = canonicalize(&[b"/", &path[..]].concat());
    }

    #[test]
    fn canonicalization_is_idempotent(path in "/([a./%?~A0-9-]|%[2-7][0-9a-fA-F]|%[cC]3%[aA]9){0,24}") {
        if let Ok(once) = canonicalize(path.as_bytes()) {
            let twice = canonicalize(once.path().as_bytes()).unwrap();
            prop_assert_eq!(once.path(), twice.path());
            prop_assert_eq!(twice.query(), None);
        }
    }

    /// What is accepted looks the same, and as harmless, to whoever decodes it once.
    #[test]
    fn an_accepted_path_is_harmless_once_decoded(path in "/([ab./%;25eEfFcC0?#\\\\]|%[0-9a-fA-F]{2}){0,16}") {
        if let Ok(canonical) = canonicalize(path.as_bytes()) {
            let decoded: Vec<_> = canonical.segments().map(decode_segment).collect();
            for (at, segment) in decoded.iter().enumerate() {
                let Some(segment) = segment else { continue };
                prop_assert!(!segment.contains(['/', '\\', '\0']));
                let before_parameters = segment.split([';', '?', '#']).next().unwrap();
                prop_assert!(before_parameters != "." && before_parameters != "..");
                prop_assert!(!segment.is_empty() || at + 1 == decoded.len());
                if let Some(again) = decode_segment(segment) {
                    prop_assert_eq!(&again, segment, "it changes with a second decoding");
                }
            }
        }
    }

    #[test]
    fn every_encoding_of_a_path_has_the_same_verdict(
        tokens in vec(("[abeE25uz._~-]|[abe2./]|[/;:@#?!]|%25|%2[fF]|%[cC]3", 0..3u8), 0..16),
    ) {
        let unreserved = |token: &str| token.len() == 1 && token.contains(|c: char| c.is_ascii_alphanumeric() || "-._~".contains(c));
        let plain: String = tokens.iter().map(|(token, _)| &**token).collect();
        let encoded: String = tokens
            .iter()
            .map(|(token, choice)| match (choice, token.as_bytes()) {
                (1, &[byte]) if unreserved(token) => format!("%{byte:02x}"),
                (2, &[byte]) if unreserved(token) => format!("%{byte:02X}"),
                _ => token.clone(),
            })
            .collect();
        let [plain, encoded] = [plain, encoded].map(|path| format!("/{path}"));
        // Only the query may differ: it is left as it was sent.
        let canonical = |path: &str| canonicalize(path.as_bytes()).map(|path| path.path().to_owned());
        prop_assert_eq!(canonical(&encoded), canonical(&plain), "{} {}", encoded, plain);
    }
}

#[test]
fn the_whole_scale_is_built_and_searched_at_once() {
    let routes: Vec<Route> = (0..5_000)
        .map(|number| Route {
            operation: OperationId(number),
            hosts: vec![HostPattern::parse("{tenant}.api.example.com").unwrap()],
            path: PathPattern::parse(&format!(
                "/suite{}/v1/{{tenant}}/resource{number}/{{id}}",
                number % 500
            ))
            .unwrap(),
            methods: Some(vec!["GET".into(), "HEAD".into()]),
            headers: Vec::new(),
        })
        .collect();
    let index = OperationIndex::build(routes).unwrap();
    for number in [0, 499, 500, 4_999] {
        let path = format!("/suite{}/v1/acme/resource{number}/7", number % 500);
        let path = canonicalize(path.as_bytes()).unwrap();
        let evidence = RouteEvidence { path_tenant: Some("acme"), host_tenant: Some("acme") };
        assert_eq!(
            index.find(Some("acme.api.example.com"), &path, b"GET", &[]),
            Lookup::Matched { operation: OperationId(number), evidence }
        );
    }
}
