//! Headers by which a client could speak in the filter's place.

use std::collections::{BTreeMap, BTreeSet};

/// Which of a client's headers are removed before the upstream sees them.
///
/// Every header of every request is asked about, so nothing is hashed or allocated: the length alone clears most
/// names, and what is left is compared with the few of that length.
#[derive(Clone, Debug, Default)]
pub struct GuardedHeaders {
    /// Shorter ones first.
    names: Vec<Guarded>,
    /// Bit `n` is set where a name of `n` bytes is guarded; the last bit stands for all longer ones too.
    lengths: u64,
}

#[derive(Clone, Debug)]
struct Guarded {
    /// The form that look-alikes share: `_` and `.` read as `-`.
    folded: Box<str>,
    /// The spellings that stay: headers that are read as evidence or by matchers. Their look-alikes go.
    genuine: Box<[Box<str>]>,
}

/// Headers that some frameworks take for the method or the path: what was decided for one operation would be served as
/// another.
const REWRITES: [&str; 5] =
    ["x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url"];

/// Headers that many upstreams take for the host (RFC 7239 section 5.3), by which they tell tenants apart.
const FORWARDED_HOST: [&str; 2] = ["forwarded", "x-forwarded-host"];

impl GuardedHeaders {
    /// `forwarded` headers are set by the filter alone; `read` ones are evidence, matchers or credentials.
    /// `removes_forwarded_host`: whether `Forwarded` and `X-Forwarded-Host` go, where they are not among the `read` ones.
    /// Names in lower case.
    pub fn new<'n>(
        forwarded: impl IntoIterator<Item = &'n str>,
        read: impl IntoIterator<Item = &'n str> + Clone,
        removes_forwarded_host: bool,
    ) -> Self {
        let mut set_here: BTreeSet<&str> = forwarded.into_iter().chain(REWRITES).collect();
        if removes_forwarded_host {
            let is_read = |name: &&str| read.clone().into_iter().any(|read| read == *name);
            set_here.extend(FORWARDED_HOST.into_iter().filter(|name| !is_read(name)));
        }
        let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for name in &set_here {
            names.entry(fold(name)).or_default();
        }
        for name in read {
            let genuine = names.entry(fold(name)).or_default();
            if !set_here.contains(name) {
                genuine.insert(name);
            }
        }
        let lengths = names.keys().fold(0, |lengths, name| lengths | length_bit(name.len()));
        let mut names: Vec<Guarded> = names
            .into_iter()
            .map(|(folded, genuine)| Guarded {
                folded: folded.into(),
                genuine: genuine.into_iter().map(Box::from).collect(),
            })
            .collect();
        names.sort_by_key(|guarded| guarded.folded.len());
        Self { names, lengths }
    }

    /// Whether a client's header `name`, in lower case, is removed.
    #[inline]
    pub fn removes(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0 && self.lists(name)
    }

    /// Whether a client's trailer `name`, in lower case, is removed. Nothing in trailers is read as evidence, matcher or
    /// credential, so the genuine spellings go too: an upstream may merge trailers into headers (RFC 9110 section
    /// 6.5.1).
    pub fn removes_trailer(&self, name: &[u8]) -> bool {
        self.spelled(name).next().is_some()
    }

    fn lists(&self, name: &[u8]) -> bool {
        self.spelled(name).any(|guarded| guarded.genuine.iter().all(|genuine| genuine.as_bytes() != name))
    }

    /// Those of which `name` is a spelling.
    fn spelled<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a Guarded> {
        self.names
            .iter()
            .skip_while(|guarded| guarded.folded.len() < name.len())
            .take_while(|guarded| guarded.folded.len() == name.len())
            .filter(move |guarded| is_spelling_of(&guarded.folded, name))
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn fold(name: &str) -> String {
    name.replace(['_', '.'], "-")
}

/// Whether `name`, folded, is `folded`. Both have the same length.
fn is_spelling_of(folded: &str, name: &[u8]) -> bool {
    folded
        .bytes()
        .zip(name)
        .all(|(folded, byte)| folded == *byte || (folded == b'-' && matches!(byte, b'_' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_filter_sets_is_removed_under_every_spelling() {
        let guarded = GuardedHeaders::new(["x-tenant-id"], [], false);
        for name in ["x-tenant-id", "x_tenant_id", "x.tenant.id", "x-tenant_id"] {
            assert!(guarded.removes(name.as_bytes()), "{name}");
        }
        for other in ["x-tenant", "x-tenant-i_", "x-tenan.-id", "x1tenant-id", "x-tenant+id"] {
            assert!(!guarded.removes(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn evidence_stays_and_its_look_alikes_go() {
        let guarded = GuardedHeaders::new([], ["x-api-version", "x_legacy"], false);
        assert!(!guarded.removes(b"x-api-version"));
        assert!(guarded.removes(b"x_api_version"));
        assert!(!guarded.removes(b"x_legacy"));
        assert!(guarded.removes(b"x-legacy"));
        assert!(guarded.removes(b"x.legacy"));
    }

    #[test]
    fn of_trailers_the_genuine_spelling_goes_too() {
        let guarded = GuardedHeaders::new(["x-set-here"], ["x-api-version"], false);
        for name in ["x-set-here", "x_set.here", "x-api-version", "x_api_version", "x-original-url"] {
            assert!(guarded.removes_trailer(name.as_bytes()), "{name}");
        }
        assert!(!guarded.removes_trailer(b"x-checksum"));
    }

    #[test]
    fn a_header_that_is_both_evidence_and_forwarded_is_removed() {
        assert!(GuardedHeaders::new(["x-tenant-id"], ["x-tenant-id"], false).removes(b"x-tenant-id"));
    }

    #[test]
    fn names_of_any_length_are_told_apart() {
        let (long, longer) = ("x".repeat(70), "x".repeat(71));
        let guarded = GuardedHeaders::new([long.as_str(), "x-a"], [], false);
        assert!(guarded.removes(long.as_bytes()) && guarded.removes(b"x.a"));
        for name in [longer.as_bytes(), b"x-b", b"x-", b"", &b"y".repeat(70)] {
            assert!(!guarded.removes(name), "{name:?}");
        }
    }

    #[test]
    fn what_overrides_method_or_path_is_removed_always() {
        let guarded = GuardedHeaders::new([], [], false);
        for name in [
            "x-http-method",
            "x-http-method-override",
            "x-method-override",
            "x_http_method_override",
            "x-original-url",
            "x-rewrite-url",
            "x_rewrite.url",
        ] {
            assert!(guarded.removes(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_speaks_of_another_host_is_removed_where_hosts_matter_and_it_is_not_read() {
        for name in ["forwarded", "x-forwarded-host", "x_forwarded_host"] {
            assert!(GuardedHeaders::new([], [], true).removes(name.as_bytes()), "{name}");
            assert!(!GuardedHeaders::new([], [], false).removes(name.as_bytes()), "{name}");
        }
        assert!(!GuardedHeaders::new([], ["x-forwarded-host"], true).removes(b"x-forwarded-host"));
    }
}
