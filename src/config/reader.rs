//! Cursors over a document that know their path, and the report that they write to.
//!
//! Reading never stops at an error: it is reported and the value left out, so that one run finds all of them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use super::document::{self, Mark, Member, Node, Otherwise, Value};
use super::error::{ConfigError, ConfigErrors, MAX_REPORTED, Warning};
use super::kind::{ErrorKind, WarningKind};
use super::{duration, size, suggestion};

/// The errors and warnings found so far.
#[derive(Debug, Default)]
pub struct Report {
    errors: RefCell<Vec<ConfigError>>,
    omitted: RefCell<usize>,
    warnings: RefCell<Vec<Warning>>,
    /// Maps that were read, where they are recorded: their paths and the keys that are known there.
    maps: Option<RefCell<KnownKeys>>,
}

/// Paths of maps, each with the keys that are known there.
pub type KnownKeys = Vec<(String, &'static [&'static str])>;

impl Report {
    /// A report that records which maps are read.
    pub fn recording() -> Self {
        Self { maps: Some(RefCell::default()), ..Self::default() }
    }

    /// The maps that were read.
    pub fn into_known_keys(self) -> KnownKeys {
        self.maps.map(RefCell::into_inner).unwrap_or_default()
    }

    /// The warnings, or the errors if there are any.
    pub fn finish(self) -> Result<Vec<Warning>, ConfigErrors> {
        let errors = self.errors.into_inner();
        if errors.is_empty() {
            Ok(self.warnings.into_inner())
        } else {
            Err(ConfigErrors::new(errors, self.omitted.into_inner()))
        }
    }

    /// Whether nothing more would be kept, so that no effort need go into a message.
    fn is_full(&self) -> bool {
        self.errors.borrow().len() >= MAX_REPORTED
    }

    /// An error that was reported before is not reported again: a template is read for each of its tenants.
    fn error(&self, error: ConfigError) {
        let mut errors = self.errors.borrow_mut();
        if errors.contains(&error) {
        } else if errors.len() < MAX_REPORTED {
            errors.push(error);
        } else {
            *self.omitted.borrow_mut() += 1;
        }
    }

    /// The path is worked out only where the warning is kept.
    fn warning(
        &self,
        kind: WarningKind,
        path: impl FnOnce() -> String,
        mark: Option<Mark>,
        message: impl fmt::Display,
    ) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MAX_REPORTED {
            let warning = Warning { kind, path: path(), mark, message: printable(&message) };
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
}

/// Where a node stands: a list of steps that shares its beginning with its neighbours'.
#[derive(Clone, Debug)]
struct Place<'d> {
    parent: Option<Rc<Place<'d>>>,
    step: Step<'d>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'d> {
    Root,
    Key(&'d str),
    Index(usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_nested = match self.parent.as_deref() {
            None => false,
            Some(parent) => {
                parent.fmt(f)?;
                !matches!(parent.step, Step::Root)
            }
        };
        let is_word =
            |key: &str| !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) if !is_word(key) => write!(f, "[{key:?}]"),
            Step::Key(key) if is_nested => write!(f, ".{key}"),
            Step::Key(key) => f.write_str(key),
        }
    }
}

/// One node of a document, with its path.
#[derive(Clone, Debug)]
pub struct Cursor<'d> {
    node: &'d Node<'d>,
    place: Place<'d>,
    report: &'d Report,
    /// What stands for `{tenant}` in strings; only in a template.
    tenant: Option<&'d str>,
}

/// A map whose keys are known, with its path.
#[derive(Clone, Debug)]
pub struct Fields<'d> {
    members: &'d [Member<'d>],
    place: Rc<Place<'d>>,
    cursor: Cursor<'d>,
    keys: &'static [&'static str],
}

/// The entries of a map whose keys are names, in the order of the document.
pub type Entries<'d> = Vec<(Cow<'d, str>, Cursor<'d>)>;

const TENANT: &str = "{tenant}";

impl<'d> Cursor<'d> {
    /// The root of a document. Keys that a map in it repeats are reported at once.
    pub fn root(node: &'d Node<'d>, report: &'d Report) -> Self {
        let root = Self { node, place: Place { parent: None, step: Step::Root }, report, tenant: None };
        root.report_repeated_keys();
        root
    }

    /// The same node with `tenant` for `{tenant}` in its strings and keys.
    pub fn for_tenant(&self, tenant: &'d str) -> Self {
        Self { tenant: Some(tenant), ..self.clone() }
    }

    /// The node itself.
    pub fn value(&self) -> &'d Value<'d> {
        &self.node.value
    }

    /// Whether what is read here depends on the tenant.
    pub fn holds_tenant(&self) -> bool {
        self.node.value.mentions(TENANT)
    }

    /// Where this is, as a message shows it.
    pub fn path(&self) -> String {
        self.place.to_string()
    }

    /// Where it begins in its text; None in JSON.
    pub fn mark(&self) -> Option<Mark> {
        self.node.mark()
    }

    /// Reports an error here.
    pub fn error(&self, kind: ErrorKind, message: impl fmt::Display) {
        self.error_at(kind, self.node.mark(), message);
    }

    fn error_at(&self, kind: ErrorKind, mark: Option<Mark>, message: impl fmt::Display) {
        self.report.error(ConfigError { kind, path: self.path(), mark, message: printable(&message) });
    }

    /// Reports something doubtful here.
    pub fn warning(&self, kind: WarningKind, message: impl fmt::Display) {
        self.report.warning(kind, || self.path(), self.node.mark(), message);
    }

    /// Reports something doubtful at a place below this one.
    pub fn warning_below(&self, kind: WarningKind, steps: &str, message: impl fmt::Display) {
        self.report.warning(kind, || format!("{}{steps}", self.path()), self.node.mark(), message);
    }

    /// Reports that a reference leads nowhere: `message` and, if a candidate is near, the question whether that was
    /// meant.
    pub fn dangling<'c>(
        &self,
        message: impl fmt::Display,
        name: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) {
        if self.report.is_full() {
            return self.error(ErrorKind::DanglingReference, message);
        }
        self.error(
            ErrorKind::DanglingReference,
            format_args!("{message}{}", suggestion::did_you_mean(name, candidates)),
        );
    }

    /// A map of which only `keys` are known; any other is an error.
    pub fn map(&self, keys: &'static [&'static str]) -> Option<Fields<'d>> {
        let Value::Map(members) = &self.node.value else { return self.unexpected("a map") };
        let fields = Fields { members, place: Rc::new(self.place.clone()), cursor: self.clone(), keys };
        if let Some(maps) = &self.report.maps {
            maps.borrow_mut().push((self.path(), keys));
        }
        for member in members {
            if !keys.contains(&&*member.key) {
                let key = &member.key;
                let meant = match self.report.is_full() {
                    true => String::new(),
                    false => suggestion::did_you_mean(key, keys.iter().copied()),
                };
                self.error_at(
                    ErrorKind::UnknownKey,
                    member.node.key_mark(),
                    format_args!("unknown key `{key}`{meant}"),
                );
            }
        }
        Some(fields)
    }

    /// A map whose keys are names: not empty, without control characters.
    pub fn entries(&self) -> Option<Entries<'d>> {
        let Value::Map(members) = &self.node.value else { return self.unexpected("a map") };
        let parent = Rc::new(self.place.clone());
        let mut names = HashSet::with_capacity(members.len());
        let mut entries = Vec::with_capacity(members.len());
        for member in members {
            let cursor = self.child(&parent, Step::Key(&member.key), &member.node);
            let key = self.substituted(&member.key);
            if key.is_empty() {
                self.error(ErrorKind::OutOfBounds, "a key is empty");
            } else if key.contains(char::is_control) {
                cursor.error(ErrorKind::OutOfBounds, "the key holds a control character");
            } else if names.insert(key.clone()) {
                entries.push((key, cursor));
            } else if self.tenant.is_some() {
                // Keys that differ before `{tenant}` is replaced. Others were reported as repeated.
                cursor.error(ErrorKind::Repeated, format_args!("key `{key}` is there twice"));
            }
        }
        Some(entries)
    }

    /// The items of a list.
    pub fn items(&self) -> Option<impl Iterator<Item = Cursor<'d>> + use<'d>> {
        let Value::List(items) = &self.node.value else { return self.unexpected("a list") };
        let parent = Rc::new(self.place.clone());
        let list = self.clone();
        Some(items.iter().enumerate().map(move |(index, item)| list.child(&parent, Step::Index(index), item)))
    }

    /// The items of a list with at least one.
    pub fn some_items(&self) -> Option<impl Iterator<Item = Cursor<'d>> + use<'d>> {
        if matches!(&self.node.value, Value::List(items) if items.is_empty()) {
            self.error(ErrorKind::OutOfBounds, "must not be an empty list");
            return None;
        }
        self.items()
    }

    /// The value of `key` of a map, if it is there.
    pub fn member(&self, key: &str) -> Option<&'d Value<'d>> {
        let Value::Map(members) = &self.node.value else { return None };
        members.iter().find(|member| member.key == key).map(|member| &member.node.value)
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Whether it is a map.
    pub fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Whether it is a string.
    pub fn is_string(&self) -> bool {
        matches!(self.node.value, Value::String(_))
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// A string, which may be empty.
    pub fn text(&self) -> Option<Cow<'d, str>> {
        match &self.node.value {
            Value::String(text) if self.node.otherwise() == Some(Otherwise::Boolean) => {
                self.error(
                    ErrorKind::WrongKind,
                    format_args!(
                        "a plain `{text}` is a string here and a boolean to Envoy: put it in quotes"
                    ),
                );
                None
            }
            Value::String(text) => Some(self.substituted(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                self.unexpected("a string")
            }
        }
    }

    /// A string that is not empty and holds no control characters.
    pub fn string(&self) -> Option<Cow<'d, str>> {
        let text = self.text()?;
        if text.is_empty() {
            self.error(ErrorKind::OutOfBounds, "must not be empty");
            return None;
        }
        if text.contains(char::is_control) {
            self.error(ErrorKind::OutOfBounds, "must not hold control characters");
            return None;
        }
        Some(text)
    }

    /// As [`Cursor::string`], without regard to `{tenant}`.
    pub fn raw_string(&self) -> Option<&'d str> {
        self.string()?;
        match &self.node.value {
            Value::String(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// A list of strings, each once; with at least one if `at_least_one`.
    pub fn strings(&self, at_least_one: bool) -> Option<Vec<Box<str>>> {
        self.list_of(at_least_one, |item| item.string().map(Box::from))
    }

    /// A list of what `read` makes of each item, each once. None where any item has an error.
    pub fn list_of<T: Eq + std::hash::Hash + Clone>(
        &self,
        at_least_one: bool,
        read: impl Fn(&Cursor<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if at_least_one && matches!(&self.node.value, Value::List(items) if items.is_empty()) {
            self.error(ErrorKind::OutOfBounds, "must not be an empty list");
            return None;
        }
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        let mut complete = true;
        for item in self.items()? {
            match read(&item) {
                None => complete = false,
                Some(read) if seen.insert(read.clone()) => all.push(read),
                Some(_) => {
                    complete = false;
                    match &item.node.value {
                        Value::String(text) => {
                            item.error(ErrorKind::Repeated, format_args!("`{text}` is listed twice"))
                        }
                        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                            item.error(ErrorKind::Repeated, "is listed twice");
                        }
                    }
                }
            }
        }
        complete.then_some(all)
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            Value::Null | Value::Number(_) | Value::String(_) | Value::List(_) | Value::Map(_) => {
                self.unexpected("`true` or `false`")
            }
        }
    }

    /// A whole number within `bounds`. `1.0` and `1e0` are whole: a `google.protobuf.Struct` holds doubles only.
    pub fn integer(&self, bounds: RangeInclusive<u32>) -> Option<u32> {
        let Value::Number(number) = self.node.value else { return self.unexpected("a whole number") };
        if self.node.otherwise() == Some(Otherwise::Octal) {
            self.error(
                ErrorKind::WrongKind,
                "a number that begins with 0 is decimal here and octal to Envoy: leave the 0 out",
            );
            return None;
        }
        let Some(integer) = document::whole(number) else {
            self.error(ErrorKind::WrongKind, format_args!("expected a whole number, found {number}"));
            return None;
        };
        let within = u32::try_from(integer).ok().filter(|integer| bounds.contains(integer));
        if within.is_none() {
            let (least, most) = (bounds.start(), bounds.end());
            if least == most {
                self.error(ErrorKind::OutOfBounds, format_args!("must be {least}, not {integer}"));
            } else {
                self.error(ErrorKind::OutOfBounds, format_args!("must be {least} to {most}, not {integer}"));
            }
        }
        within
    }

    /// A duration within `bounds`.
    pub fn duration(&self, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        let Value::String(text) = &self.node.value else {
            return self.unexpected("a duration such as \"200ms\", \"0.5s\", \"10m\" or \"1h\"");
        };
        let Some(duration) = duration::parse(text) else {
            self.error(
                ErrorKind::WrongKind,
                format_args!(
                    "`{text}` is not a duration; write for example \"200ms\", \"0.5s\", \"10m\" or \"1h\""
                ),
            );
            return None;
        };
        if !bounds.contains(&duration) {
            let (least, most) = (duration::format(*bounds.start()), duration::format(*bounds.end()));
            self.error(ErrorKind::OutOfBounds, format_args!("must be {least} to {most}, not {text}"));
            return None;
        }
        Some(duration)
    }

    /// A size in bytes within `bounds`.
    pub fn size(&self, bounds: RangeInclusive<u32>) -> Option<u32> {
        let Value::String(text) = &self.node.value else {
            return self.unexpected("a size such as \"512KiB\" or \"64MiB\"");
        };
        let Some(bytes) = size::parse(text) else {
            self.error(
                ErrorKind::WrongKind,
                format_args!("`{text}` is not a size; write for example \"512KiB\" or \"64MiB\""),
            );
            return None;
        };
        if !bounds.contains(&bytes) {
            let (least, most) = (size::format(*bounds.start()), size::format(*bounds.end()));
            self.error(ErrorKind::OutOfBounds, format_args!("must be {least} to {most}, not {text}"));
            return None;
        }
        Some(bytes)
    }

    /// One of `choices`, by its name. Where `off` is one, `false` is the same: Envoy makes that of a plain `off`.
    pub fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = match &self.node.value {
            Value::Bool(false) if choices.iter().any(|(name, _)| *name == "off") => Cow::Borrowed("off"),
            Value::String(text) => self.substituted(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                self.text()?
            }
        };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        let names = names.join(", ");
        let meant = suggestion::did_you_mean(&text, choices.iter().map(|(name, _)| *name));
        self.error(ErrorKind::WrongKind, format_args!("`{text}` is none of {names}{meant}"));
        None
    }

    /// Reports that the value is of another kind than `expected`. The value itself is not shown: it may be a secret.
    pub fn unexpected<T>(&self, expected: &str) -> Option<T> {
        self.error(
            ErrorKind::WrongKind,
            format_args!("expected {expected}, found {}", self.node.value.kind()),
        );
        None
    }

    fn substituted(&self, text: &'d str) -> Cow<'d, str> {
        match self.tenant {
            Some(tenant) if text.contains(TENANT) => Cow::Owned(text.replace(TENANT, tenant)),
            Some(_) | None => Cow::Borrowed(text),
        }
    }

    fn child(&self, parent: &Rc<Place<'d>>, step: Step<'d>, node: &'d Node<'d>) -> Self {
        let place = Place { parent: Some(Rc::clone(parent)), step };
        Self { node, place, report: self.report, tenant: self.tenant }
    }

    fn report_repeated_keys(&self) {
        match &self.node.value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            Value::List(items) => {
                if items.iter().all(|item| matches!(item.value, Value::String(_))) {
                    return;
                }
                self.items().into_iter().flatten().for_each(|item| item.report_repeated_keys());
            }
            Value::Map(members) => {
                // A set costs more than it saves for the few keys that most maps have.
                const FEW: usize = 16;
                let parent = Rc::new(self.place.clone());
                let mut seen = HashSet::new();
                for (index, member) in members.iter().enumerate() {
                    let cursor = self.child(&parent, Step::Key(&member.key), &member.node);
                    let is_repeated = if members.len() <= FEW {
                        members.iter().take(index).any(|earlier| earlier.key == member.key)
                    } else {
                        !seen.insert(&*member.key)
                    };
                    if is_repeated {
                        cursor.error_at(ErrorKind::Repeated, member.node.key_mark(), "the key is repeated");
                    }
                    cursor.report_repeated_keys();
                }
            }
        }
    }
}

impl<'d> Fields<'d> {
    /// The value of `key`, if it is there.
    pub fn optional(&self, key: &'static str) -> Option<Cursor<'d>> {
        debug_assert!(self.keys.contains(&key), "`{key}` is read but not known");
        let member = self.members.iter().find(|member| member.key == key)?;
        Some(self.cursor.child(&self.place, Step::Key(&member.key), &member.node))
    }

    /// The value of `key`, whose absence is an error.
    pub fn required(&self, key: &'static str) -> Option<Cursor<'d>> {
        let value = self.optional(key);
        if value.is_none() {
            self.cursor.error(ErrorKind::MissingKey, format_args!("missing key `{key}`"));
        }
        value
    }

    /// Whether `key` is there.
    pub fn has(&self, key: &'static str) -> bool {
        self.optional(key).is_some()
    }

    /// The map itself.
    pub fn cursor(&self) -> &Cursor<'d> {
        &self.cursor
    }

    /// `true` or `false`, or `default` where the key is absent.
    pub fn boolean(&self, key: &'static str, default: bool) -> bool {
        self.optional(key).map_or(Some(default), |value| value.boolean()).unwrap_or(default)
    }

    /// A whole number within `bounds`, or `default` where the key is absent.
    pub fn integer(&self, key: &'static str, bounds: RangeInclusive<u32>, default: u32) -> u32 {
        self.optional(key).and_then(|value| value.integer(bounds)).unwrap_or(default)
    }

    /// A duration within `bounds`, or `default` where the key is absent.
    pub fn duration(
        &self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        self.optional(key).and_then(|value| value.duration(bounds)).unwrap_or(default)
    }
}

/// `message` on one line of bounded length, whatever the configuration holds that it shows.
fn printable(message: &impl fmt::Display) -> String {
    const MAX_CHARACTERS: usize = 1_000;
    let mut line = String::new();
    for c in message.to_string().chars().take(MAX_CHARACTERS) {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(json: &str, read: impl FnOnce(&Cursor<'_>)) -> Vec<String> {
        let node = document::parse_json(json.as_bytes()).unwrap();
        let report = Report::default();
        read(&Cursor::root(&node, &report));
        report.finish().map_or_else(|errors| errors.iter().map(ToString::to_string).collect(), |_| Vec::new())
    }

    #[test]
    fn a_path_leads_through_keys_and_places() {
        let errors = at(r#"{"a": [{"b.c": {"d": 1, "": 2}}]}"#, |root| {
            let list = root.entries().unwrap().remove(0).1;
            let item = list.items().unwrap().next().unwrap();
            let inner = item.entries().unwrap().remove(0).1;
            inner.entries().unwrap().remove(0).1.error(ErrorKind::WrongKind, "here");
        });
        assert_eq!(errors, ["a[0][\"b.c\"]: a key is empty", "a[0][\"b.c\"].d: here"]);
    }

    #[test]
    fn an_error_is_reported_once_and_on_one_line() {
        let errors = at("{}", |root| {
            root.error(ErrorKind::WrongKind, "a\nb\u{1b}");
            root.error(ErrorKind::WrongKind, "a\nb\u{1b}");
        });
        assert_eq!(errors, ["configuration: a\\nb\\u{1b}"]);
        let errors = at("{}", |root| root.error(ErrorKind::WrongKind, "x".repeat(5_000)));
        assert_eq!(errors[0].len(), "configuration: ".len() + 1_000);
    }

    #[test]
    fn strings_of_a_template_hold_the_tenants_name() {
        at(r#"{"{tenant}-key": "a {tenant} b {tenant}"}"#, |root| {
            let (key, value) = root.for_tenant("acme").entries().unwrap().remove(0);
            assert_eq!((&*key, &*value.text().unwrap()), ("acme-key", "a acme b acme"));
            assert_eq!(value.raw_string(), Some("a {tenant} b {tenant}"));
            assert!(root.holds_tenant());
        });
    }

    #[test]
    fn keys_that_become_equal_are_an_error() {
        let errors = at(r#"{"{tenant}": 1, "acme": 2}"#, |root| {
            root.for_tenant("acme").entries();
        });
        assert_eq!(errors, ["acme: key `acme` is there twice"]);
    }

    #[test]
    fn a_whole_number_is_within_its_bounds_or_an_error() {
        for (json, expected) in [
            ("1", None),
            ("2", Some(2)),
            ("2.0", Some(2)),
            ("5", Some(5)),
            ("6", None),
            ("2.5", None),
            ("-2", None),
        ] {
            at(json, |number| assert_eq!(number.integer(2..=5), expected, "{json}"));
        }
        at("4294967297", |number| assert_eq!(number.integer(0..=u32::MAX), None));
    }

    #[test]
    fn a_duration_is_within_its_bounds_or_an_error() {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(60);
        for (text, is_taken) in
            [("999ms", false), ("1s", true), ("60s", true), ("1m", true), ("60001ms", false)]
        {
            at(&format!("{text:?}"), |value| {
                assert_eq!(value.duration(bounds.clone()).is_some(), is_taken, "{text}")
            });
        }
    }
}
