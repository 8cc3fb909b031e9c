//! Errors and warnings, for people and for machines.

use quick_xml::Writer;
use quick_xml::events::BytesText;
use scopegate::config::Mark;
use serde_json::{Value, json};

use crate::codes::Code;
use crate::published::Published;
use crate::terminal::{Style, Terminal, shown};

/// An error or a warning.
pub struct Finding {
    /// What kind of error or warning it is.
    pub code: Code,
    /// Where in the configuration.
    pub path: String,
    /// In which file.
    pub file: String,
    /// Where in it.
    pub mark: Option<Mark>,
    /// What is wrong.
    pub message: String,
}

/// What was found in one configuration.
pub struct Findings {
    /// The configuration's name.
    pub name: String,
    /// In the order of the files.
    pub findings: Vec<Finding>,
    /// How many more errors were only counted.
    pub omitted: usize,
    /// What the issuers publish, where they were asked.
    pub issuers: Vec<Published>,
    /// What is left out.
    pub notes: Vec<String>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line for each, `file:line:column: severity: path: message`.
    Text,
    /// One JSON object; a list of them for several configurations.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit XML, for CI servers.
    Junit,
    /// Annotations of GitHub Actions.
    Github,
}

impl Findings {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.code.is_error()).count() + self.omitted
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.findings.iter().filter(|finding| !finding.code.is_error()).count()
    }

    fn text(&self, terminal: &Terminal) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let severity = match finding.code.is_error() {
                true => terminal.paint(Style::Bad, "error"),
                false => terminal.paint(Style::Doubtful, "warning"),
            };
            let path = terminal.paint(Style::Strong, shown(finding.shown_path()));
            let code = terminal.paint(Style::Faint, format!("[{}]", finding.code.as_str()));
            text.push_str(&format!(
                "{}: {severity}: {path}: {} {code}\n",
                finding.place(),
                shown(&finding.message)
            ));
        }
        if self.omitted > 0 {
            text.push_str(&format!("and {} more errors\n", self.omitted));
        }
        for issuer in &self.issuers {
            let of = issuer.tenant.as_ref().map_or(String::new(), |tenant| format!(", tenant `{tenant}`"));
            let name = format!("provider `{}`{of}", issuer.provider);
            text.push_str(&format!("{}\n", terminal.paint(Style::Strong, shown(&name))));
            for (what, value) in issuer.lines() {
                let what = terminal.paint(Style::Faint, format!("{what}:"));
                text.push_str(&format!("    {what} {}\n", shown(&value)));
            }
        }
        let (errors, warnings) = (self.errors(), self.warnings());
        let verdict = if errors > 0 {
            terminal.paint(Style::Bad, "refused")
        } else if warnings > 0 {
            terminal.paint(Style::Doubtful, "valid")
        } else {
            terminal.paint(Style::Good, "valid")
        };
        text.push_str(&format!(
            "{}: {verdict}, {}, {}\n",
            self.name,
            counted(errors, "error"),
            counted(warnings, "warning")
        ));
        text
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let mut report = json!({
            "file": self.name,
            "valid": self.errors() == 0,
            "errors": self.errors(),
            "warnings": self.warnings(),
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
        });
        if let (false, Some(members)) = (self.issuers.is_empty(), report.as_object_mut()) {
            let issuers = self.issuers.iter().map(Published::json).collect();
            members.insert("issuers".to_owned(), issuers);
        }
        report
    }
}

impl Finding {
    fn severity(&self) -> &'static str {
        if self.code.is_error() { "error" } else { "warning" }
    }

    fn shown_path(&self) -> &str {
        if self.path.is_empty() { "configuration" } else { &self.path }
    }

    fn place(&self) -> String {
        self.mark.map_or_else(|| self.file.clone(), |mark| format!("{}:{mark}", self.file))
    }

    fn json(&self) -> Value {
        let (message, suggestion) = split_suggestion(&self.message);
        json!({
            "severity": self.severity(),
            "code": self.code.as_str(),
            "path": self.path,
            "file": self.file,
            "line": self.mark.map(|mark| mark.line),
            "column": self.mark.map(|mark| mark.column),
            "message": message,
            "suggestion": suggestion,
        })
    }
}

/// The report of all.
pub fn report(all: &[Findings], format: Format, terminal: &Terminal) -> Result<String, String> {
    Ok(match (format, all) {
        (Format::Text, all) => all.iter().map(|findings| findings.text(terminal)).collect(),
        (Format::Json, [findings]) => format!("{:#}\n", findings.json()),
        (Format::Json, all) => format!("{:#}\n", Value::Array(all.iter().map(Findings::json).collect())),
        (Format::Sarif, all) => format!("{:#}\n", sarif(all)),
        (Format::Junit, all) => junit(all).map_err(|error| format!("cannot write XML: {error}"))?,
        (Format::Github, all) => all.iter().flat_map(|findings| &findings.findings).map(annotation).collect(),
    })
}

/// Static Analysis Results Interchange Format 2.1.0.
fn sarif(all: &[Findings]) -> Value {
    let findings = || all.iter().flat_map(|findings| &findings.findings);
    let mut used: Vec<Code> = findings().map(|finding| finding.code).collect();
    used.sort_unstable_by_key(|code| code.as_str());
    used.dedup();
    let rule = |code: &Code| {
        let (title, text) = code.explained();
        json!({"id": code.as_str(), "shortDescription": {"text": title}, "fullDescription": {"text": text}})
    };
    let result = |finding: &Finding| {
        let mut place = json!({"artifactLocation": {"uri": finding.file}});
        if let (Some(mark), Some(members)) = (finding.mark, place.as_object_mut()) {
            let region = json!({"startLine": mark.line, "startColumn": mark.column});
            members.insert("region".to_owned(), region);
        }
        json!({
            "ruleId": finding.code.as_str(),
            "level": finding.severity(),
            "message": {"text": format!("{}: {}", finding.shown_path(), finding.message)},
            "locations": [{"physicalLocation": place}],
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "scopegate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": used.iter().map(rule).collect::<Vec<_>>(),
            }},
            "results": findings().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// One test case for each configuration, which fails where it has errors.
fn junit(all: &[Findings]) -> std::io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let failures = all.iter().filter(|findings| findings.errors() > 0).count().to_string();
    let count = all.len().to_string();
    let suite = writer.create_element("testsuite").with_attributes([
        ("name", "scopegate check"),
        ("tests", count.as_str()),
        ("failures", failures.as_str()),
        ("errors", "0"),
        ("skipped", "0"),
    ]);
    suite.write_inner_content(|writer| {
        for findings in all {
            let name = shown(&findings.name);
            let case = writer
                .create_element("testcase")
                .with_attributes([("name", name.as_str()), ("classname", "scopegate.check")]);
            let text = findings.text(&Terminal::plain());
            case.write_inner_content(|writer| {
                let verdict = counted(findings.errors(), "error");
                if findings.errors() > 0 {
                    let failure =
                        writer.create_element("failure").with_attribute(("message", verdict.as_str()));
                    failure.write_text_content(BytesText::new(&text))?;
                } else {
                    writer.create_element("system-out").write_text_content(BytesText::new(&text))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    })?;
    let xml = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}\n"))
}

/// A workflow command of GitHub Actions.
fn annotation(finding: &Finding) -> String {
    let message = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| message(text).replace(':', "%3A").replace(',', "%2C");
    let place =
        finding.mark.map_or_else(String::new, |mark| format!(",line={},col={}", mark.line, mark.column));
    format!(
        "::{} file={}{place},title={}::{}\n",
        finding.severity(),
        property(&finding.file),
        finding.code.as_str(),
        message(&format!("{}: {}", shown(finding.shown_path()), shown(&finding.message)))
    )
}

/// A message and the name that it asks whether it was meant.
fn split_suggestion(message: &str) -> (&str, Option<&str>) {
    match message.rsplit_once("; did you mean `") {
        Some((message, meant)) => (message, Some(meant.trim_end_matches("`?"))),
        None => (message, None),
    }
}

fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_told_apart_from_its_message() {
        assert_eq!(
            split_suggestion("unknown key `isuer`; did you mean `issuer`?"),
            ("unknown key `isuer`", Some("issuer"))
        );
        assert_eq!(split_suggestion("must not be empty"), ("must not be empty", None));
    }
}
