//! `scopegate fmt`: the canonical layout of a configuration, comments kept.
//!
//! What is written is read again before it replaces anything: it has to say the same, with the same comments.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScalarStyle};
use scopegate::config::document::{Member, Node, Value, parse_json};
use scopegate::config::{parse_yaml_document, read_yaml};

use crate::document_text::{self, json, leaf};
use crate::progress;
use crate::source::{find, read_bytes, same};
use crate::terminal::shown;
use crate::{CommandOutput, Failure};

/// Write configurations and case files in the canonical layout, with their comments.
///
/// Short collections stand on one line, others are spread with two blanks for each level; quotes only where a reader of YAML needs
/// them; the order of keys stays. `-` formats standard input to standard output.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 formatted (with --check: nothing to do), 1 with --check some file is laid out otherwise, 2 a file cannot be read.

Examples:
  scopegate fmt gateway.yaml
  scopegate fmt --check gateway/ filter-config/")]
pub struct Arguments {
    /// Files, and directories with `*.yaml` and `*.json` below them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write nothing; name the files that are laid out otherwise.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<CommandOutput, Failure> {
    let mut paths = Vec::new();
    for path in &arguments.files {
        find(path, &|_| true, &mut paths)?;
    }
    let (mut text, mut is_laid_out) = (String::new(), true);
    progress::doing("laying files out", paths.len());
    for path in &paths {
        progress::step();
        let (name, bytes) = read_bytes(path)?;
        let before = String::from_utf8(bytes).map_err(|_| Failure(format!("{name} is not UTF-8")))?;
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let formatted = format(&before, is_json).map_err(|message| Failure(format!("{name}: {message}")))?;
        if path.as_os_str() == "-" && !arguments.check {
            text.push_str(&formatted);
        } else if formatted != before {
            is_laid_out = false;
            text.push_str(&format!("{name}\n"));
            if !arguments.check {
                replace(path, &formatted)?;
            }
        }
    }
    Ok(CommandOutput { text, notes: Vec::new(), yes: is_laid_out || !arguments.check })
}

fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure(format!("cannot write {}: {error}", shown(&path.display().to_string()))))
}

/// `text` in the canonical layout.
///
/// # Errors
///
/// It cannot be read, or could not be kept as it is.
pub fn format(text: &str, is_json: bool) -> Result<String, String> {
    if is_json {
        let document = parse_json(text.as_bytes()).map_err(|error| error.message)?;
        return Ok(format!("{}\n", json(&document.value)));
    }
    let document = parse_yaml_document(text).map_err(|errors| errors.to_string())?;
    let comments = comments(text)?;
    let mut writer = Writer::new(text, comments.clone());
    writer.root(&document);
    let formatted = writer.text;
    let kept = read_yaml(&formatted).is_ok_and(|again| same(&again.value, &document.value));
    let texts = |comments: &VecDeque<Comment>| {
        let mut texts: Vec<String> = comments.iter().map(|comment| comment.text.clone()).collect();
        texts.sort();
        texts
    };
    if !kept || self::comments(&formatted).map(|again| texts(&again)) != Ok(texts(&comments)) {
        return Err("it cannot be laid out without a change of what it says; it is left as it is".to_owned());
    }
    Ok(formatted)
}

/// A comment.
#[derive(Clone, Debug)]
struct Comment {
    line: usize,
    /// From `#` on.
    text: String,
    /// Whether nothing stands before it on its line.
    is_alone: bool,
}

/// The comments of a YAML text, in their order.
fn comments(text: &str) -> Result<VecDeque<Comment>, String> {
    // No `#` within quotes or a block begins one; within a plain scalar none stands behind a blank (YAML 1.2.2 section 7.3.3).
    let letters: Vec<char> = text.chars().collect();
    let mut scalars: Vec<(usize, usize)> = Vec::new();
    let mut events = Parser::new_from_str(text);
    while let Some(event) = events.next_event() {
        let (event, span) = event.map_err(|error| error.info().to_owned())?;
        let start = span.start.index();
        match event {
            Event::Scalar(_, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted, ..) => {
                scalars.push((start, end_of_quoted(&letters, start)));
            }
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                scalars.push((start, span.end.index()));
            }
            _ => {}
        }
    }
    let mut comments = VecDeque::new();
    let (mut line, mut is_alone, mut before) = (1, true, '\n');
    let mut characters = text.chars().enumerate().peekable();
    let mut next_scalar = 0;
    while let Some((at, c)) = characters.next() {
        while scalars.get(next_scalar).is_some_and(|(_, end)| *end <= at) {
            next_scalar += 1;
        }
        let is_within = scalars.get(next_scalar).is_some_and(|(start, end)| (*start..*end).contains(&at));
        if c == '#' && !is_within && before.is_whitespace() {
            let mut text = String::from('#');
            while let Some((_, c)) = characters.next_if(|(_, c)| *c != '\n') {
                text.push(c);
            }
            comments.push_back(Comment { line, text: text.trim_end().to_owned(), is_alone });
            before = '#';
            continue;
        }
        if c == '\n' {
            line += 1;
            is_alone = true;
        } else if !c.is_whitespace() {
            is_alone = false;
        }
        before = c;
    }
    Ok(comments)
}

/// Where the quoted scalar that begins at `start` ends.
fn end_of_quoted(letters: &[char], start: usize) -> usize {
    let Some(quote) = letters.get(start) else { return start };
    let mut at = start + 1;
    while let Some(letter) = letters.get(at) {
        let is_doubled = letter == quote && *quote == '\'' && letters.get(at + 1) == Some(quote);
        if (*letter == '\\' && *quote == '"') || is_doubled {
            at += 2;
        } else if letter == quote {
            return at + 1;
        } else {
            at += 1;
        }
    }
    at
}

struct Writer {
    text: String,
    comments: VecDeque<Comment>,
    /// Whether a line of the text is blank, from the first line on.
    blank: Vec<bool>,
}

impl Writer {
    fn new(text: &str, comments: VecDeque<Comment>) -> Self {
        let blank = text.lines().map(|line| line.trim().is_empty()).collect();
        Self { text: String::new(), comments, blank }
    }

    fn root(&mut self, document: &Node<'_>) {
        match &document.value {
            Value::Map(members) if !members.is_empty() => self.members(members, 0),
            Value::List(items) if !items.is_empty() => self.items(items, 0),
            Value::Map(_)
            | Value::List(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => {
                self.lead(usize::MAX, 0);
                self.text.push_str(&flow(&document.value));
                self.text.push('\n');
            }
        }
        self.lead(usize::MAX, 0);
    }

    /// Writes the comments before `line`, and a blank line where there was one.
    fn lead(&mut self, line: usize, depth: usize) {
        let mut is_first = true;
        while let Some(comment) = self.next_comment(|comment| comment.line < line) {
            self.blank_line(comment.line, &mut is_first);
            self.text.push_str(&"  ".repeat(depth));
            self.text.push_str(&comment.text);
            self.text.push('\n');
        }
        if line != usize::MAX {
            self.blank_line(line, &mut true);
        }
    }

    fn next_comment(&mut self, is_wanted: impl Fn(&Comment) -> bool) -> Option<Comment> {
        if self.comments.front().is_some_and(is_wanted) { self.comments.pop_front() } else { None }
    }

    fn blank_line(&mut self, line: usize, is_first: &mut bool) {
        let was_blank = line.checked_sub(2).and_then(|at| self.blank.get(at)).copied().unwrap_or_default();
        if was_blank && !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
        *is_first = false;
    }

    fn members(&mut self, members: &[Member<'_>], depth: usize) {
        for member in members {
            let line = line_of(&member.node, true);
            self.lead(line, depth);
            self.text.push_str(&"  ".repeat(depth));
            self.member(member, line, depth);
        }
    }

    fn member(&mut self, member: &Member<'_>, line: usize, depth: usize) {
        self.text.push_str(&scalar(&member.key, Context::Key));
        self.text.push(':');
        self.value(&member.node, line, depth);
    }

    fn items(&mut self, items: &[Node<'_>], depth: usize) {
        for item in items {
            let line = line_of(item, false);
            self.lead(line, depth);
            self.text.push_str(&"  ".repeat(depth));
            self.text.push('-');
            match &item.value {
                Value::Map(members)
                    if !members.is_empty() && (!self.is_short(item, line) || last_line(item) > line) =>
                {
                    let mut rest = members.iter();
                    if let Some(first) = rest.next() {
                        self.text.push(' ');
                        self.member(first, line_of(&first.node, true), depth + 1);
                    }
                    let rest: Vec<Member<'_>> = rest.cloned().collect();
                    self.members(&rest, depth + 1);
                }
                Value::Map(_)
                | Value::List(_)
                | Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_) => self.value(item, line, depth),
            }
        }
    }

    /// Whether a node stands on one line: it is short, and no comment stands within it.
    fn is_short(&self, node: &Node<'_>, line: usize) -> bool {
        let last = last_line(node);
        let has_comments = self
            .comments
            .iter()
            .take_while(|comment| comment.line < last)
            .any(|comment| comment.line >= line);
        let written = self.text.chars().rev().take_while(|c| *c != '\n').count();
        !has_comments && !holds_line_feed(&node.value) && written + flow(&node.value).chars().count() < MOST
    }

    /// Writes a value behind its key or dash.
    fn value(&mut self, node: &Node<'_>, line: usize, depth: usize) {
        let is_block = match &node.value {
            // What a person spread over lines stays so, unless it is a list of words.
            Value::Map(members) => {
                !members.is_empty() && (!self.is_short(node, line) || is_spread(node, line))
            }
            Value::List(items) => {
                let is_of_words =
                    items.iter().all(|item| !matches!(item.value, Value::Map(_) | Value::List(_)));
                !items.is_empty() && (!self.is_short(node, line) || (is_spread(node, line) && !is_of_words))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if !is_block {
            match &node.value {
                Value::String(text) if text.contains('\n') => leaf(&node.value, depth, &mut self.text),
                Value::String(text) => {
                    self.text.push(' ');
                    self.text.push_str(&scalar(text, Context::Block));
                    self.text.push('\n');
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                    self.text.push(' ');
                    self.text.push_str(&flow(&node.value));
                    self.text.push('\n');
                }
            }
            self.trail(last_line(node));
            return;
        }
        self.text.push('\n');
        let first = match &node.value {
            Value::Map(members) => members.first().map(|member| line_of(&member.node, true)),
            Value::List(items) => items.first().map(|item| line_of(item, false)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        if first.is_some_and(|first| first > line) {
            self.trail(line);
        }
        match &node.value {
            Value::Map(members) => self.members(members, depth + 1),
            Value::List(items) => self.items(items, depth + 1),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Puts the comments that stood behind something up to `line` behind what was written last.
    fn trail(&mut self, line: usize) {
        let mut trailing = Vec::new();
        while let Some(comment) = self.next_comment(|comment| comment.line <= line && !comment.is_alone) {
            trailing.push(comment.text);
        }
        if trailing.is_empty() || !self.text.ends_with('\n') {
            return;
        }
        self.text.pop();
        self.text.push_str(&format!(" {}\n", trailing.join(" ")));
    }
}

/// How long a line with a collection may get, in characters.
const MOST: usize = 120;

/// Where a scalar stands.
#[derive(Clone, Copy)]
enum Context {
    Key,
    Block,
    Flow,
}

/// A value on one line.
fn flow(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => scalar(text, Context::Flow),
        Value::List(items) => {
            format!("[{}]", items.iter().map(|item| flow(&item.value)).collect::<Vec<_>>().join(", "))
        }
        Value::Map(members) => {
            let member = |member: &Member<'_>| {
                format!("{}: {}", scalar(&member.key, Context::Flow), flow(&member.node.value))
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => document_text::flow(value),
    }
}

/// A string without quotes where it is read as itself there; what looks like a time or a map to some reader has them.
fn scalar(text: &str, context: Context) -> String {
    let usual = document_text::scalar(text);
    if !usual.starts_with(['"', '\'']) || text.is_empty() || text.contains([':', '#', '\n', '\\']) {
        return usual;
    }
    let around = match context {
        Context::Key => format!("{text}: 1"),
        Context::Block => format!("k: {text}"),
        Context::Flow => format!("[{text}]"),
    };
    let is_itself = read_yaml(&around).is_ok_and(|node| match (&node.value, context) {
        (Value::Map(members), Context::Key) => {
            members.len() == 1 && members.iter().all(|member| member.key == text)
        }
        (Value::Map(members), Context::Block) => members.iter().all(|member| is_string(&member.node, text)),
        (Value::List(items), Context::Flow) => {
            items.len() == 1 && items.iter().all(|item| is_string(item, text))
        }
        (_, _) => false,
    });
    if is_itself { text.to_owned() } else { usual }
}

fn is_string(node: &Node<'_>, text: &str) -> bool {
    node.otherwise().is_none() && matches!(&node.value, Value::String(own) if own == text)
}

fn holds_line_feed(value: &Value<'_>) -> bool {
    match value {
        Value::String(text) => text.contains('\n'),
        Value::List(items) => items.iter().any(|item| holds_line_feed(&item.value)),
        Value::Map(members) => members.iter().any(|member| holds_line_feed(&member.node.value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether what is in a node begins on a line behind that of its key.
fn is_spread(node: &Node<'_>, line: usize) -> bool {
    match &node.value {
        Value::Map(members) => members.first().is_some_and(|member| line_of(&member.node, true) > line),
        Value::List(items) => items.first().is_some_and(|item| line_of(item, false) > line),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn line_of(node: &Node<'_>, with_key: bool) -> usize {
    let mark = if with_key { node.key_mark() } else { node.mark() };
    mark.and_then(|mark| usize::try_from(mark.line.get()).ok()).unwrap_or_default()
}

/// The line on which the last thing in a node begins.
fn last_line(node: &Node<'_>) -> usize {
    let own = line_of(node, false);
    let below = match &node.value {
        Value::Map(members) => members.last().map(|member| last_line(&member.node)),
        Value::List(items) => items.last().map(last_line),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    below.unwrap_or(own).max(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_canonical_and_keeps_every_comment() {
        let text = "# of the file\n\nversion:   1  # one\nproviders:\n    corp: {issuer: 'https://a',   \n      audiences: [\"x\"]} # who\n\n\n    # the other\n    other:\n      issuer: https://b#c   # not a comment before\ntenants: [ # of all\n  {id: acme}, # first\n  {id: globex}\n]\n# at the end\n";
        let formatted = format(text, false).unwrap();
        assert_eq!(
            formatted,
            "# of the file\n\nversion: 1 # one\nproviders:\n  corp: {issuer: https://a, audiences: [x]} # who\n\n  # the other\n  other:\n    issuer: \"https://b#c\" # not a comment before\ntenants: # of all\n  - {id: acme} # first\n  - {id: globex}\n# at the end\n"
        );
        assert_eq!(format(&formatted, false).unwrap(), formatted);
    }

    #[test]
    fn what_is_shipped_can_be_laid_out_and_then_stays_so() {
        for text in [
            include_str!("../../../filter-config/teamcenter.yaml"),
            include_str!("../../../filter-config/appian-erp.yaml"),
            include_str!("../../../filter-config/infor-suites.yaml"),
            include_str!("../../../filter-config/otk-branches.yaml"),
            include_str!("../../../filter-config/thingworx-billing.yaml"),
            include_str!("../../../filter-config/teamcenter_test.yaml"),
            include_str!("../../../tests/fixtures/config/full.yaml"),
            include_str!("../../../envoy.yaml"),
        ] {
            let formatted = format(text, false).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(format(&formatted, false).unwrap(), formatted);
        }
    }
}
