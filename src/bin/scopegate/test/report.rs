//! What came of the cases, for people and for machines.

use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::BytesText;
use scopegate::config::Mark;
use scopegate::exchange::Decision;
use scopegate::exchange::trace::StepOutcome;
use serde_json::{Value, json};

use super::coverage::Covered;
use super::judge::Mismatch;
use crate::explain::explanation::Explanation;
use crate::terminal::{Style, Terminal, shown};

/// A case that was run.
pub struct Ran {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub mark: Option<Mark>,
    /// How it ended and why, where it could be put.
    pub came: Option<(Decision, Option<String>)>,
    /// How it differs from what was expected; none where it does not.
    pub mismatches: Vec<Mismatch>,
    /// What each step said, of a case that differs.
    pub steps: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// A case file that was run.
pub struct RanFile {
    /// Its name.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Ran>,
}

impl Ran {
    /// Whether it came out as expected.
    pub fn is_good(&self) -> bool {
        self.mismatches.is_empty()
    }

    fn message(&self) -> String {
        let point = |mismatch: &Mismatch| {
            format!("{}: expected {}, found {}", mismatch.what, mismatch.expected, mismatch.found)
        };
        self.mismatches.iter().map(point).collect::<Vec<_>>().join("; ")
    }
}

impl RanFile {
    fn failures(&self) -> usize {
        self.cases.iter().filter(|case| !case.is_good()).count()
    }

    fn place(&self, case: &Ran) -> String {
        let mark = case.mark.map_or_else(String::new, |mark| format!(":{mark}"));
        format!("{}{mark}", self.name)
    }
}

/// What the steps said, up to the one that ended the decision.
pub fn steps(explanation: &Explanation) -> Vec<String> {
    let taken = explanation.steps.iter().filter(|step| step.outcome != StepOutcome::Skipped);
    taken.map(|step| format!("{:<11}{}", step.stage.as_str(), step.conclusion)).collect()
}

/// For people.
pub fn text(
    files: &[RanFile],
    coverage: &[(String, Vec<Covered>)],
    lists_all: bool,
    terminal: &Terminal,
) -> String {
    let mut text = String::new();
    for file in files {
        for case in &file.cases {
            if case.is_good() {
                if lists_all {
                    let word = terminal.paint(Style::Good, "ok  ");
                    text.push_str(&format!("{word} {}: {}\n", shown(&file.place(case)), shown(&case.name)));
                }
                continue;
            }
            let word = terminal.paint(Style::Bad, "FAIL");
            text.push_str(&format!("{word} {}: {}\n", shown(&file.place(case)), shown(&case.name)));
            for mismatch in &case.mismatches {
                let line = format!(
                    "       {}: expected {}, found {}",
                    mismatch.what, mismatch.expected, mismatch.found
                );
                text.push_str(&format!("{}\n", shown(&line)));
            }
            for step in &case.steps {
                text.push_str(&format!("       {}\n", terminal.paint(Style::Faint, shown(step))));
            }
        }
        let failures = file.failures();
        let verdict = match failures {
            0 => terminal.paint(Style::Good, "as expected"),
            failures => terminal.paint(Style::Bad, format!("{failures} not as expected")),
        };
        text.push_str(&format!("{}: {}, {verdict}\n", shown(&file.name), counted(file.cases.len(), "case")));
    }
    for (policy, covered) in coverage {
        text.push_str(&format!("coverage of {}\n", terminal.paint(Style::Strong, shown(policy))));
        covered.iter().for_each(|covered| text.push_str(&covered.text()));
    }
    let (cases, failures) = totals(files);
    text.push_str(&format!(
        "{}, {}: {} as expected, {failures} not\n",
        counted(files.len(), "file"),
        counted(cases, "case"),
        cases - failures
    ));
    text
}

/// One JSON object.
pub fn json(files: &[RanFile], coverage: &[(String, Vec<Covered>)]) -> String {
    let (cases, failures) = totals(files);
    let case = |case: &Ran| {
        let mismatch = |mismatch: &Mismatch| json!({"what": mismatch.what, "expected": mismatch.expected, "found": mismatch.found});
        json!({
            "name": case.name,
            "line": case.mark.map(|mark| mark.line),
            "column": case.mark.map(|mark| mark.column),
            "ok": case.is_good(),
            "decision": case.came.as_ref().map(|(decision, _)| decision.as_str()),
            "reason": case.came.as_ref().and_then(|(_, reason)| reason.as_deref()),
            "mismatches": case.mismatches.iter().map(mismatch).collect::<Vec<_>>(),
            "steps": case.steps,
            "seconds": case.took.as_secs_f64(),
        })
    };
    let file = |file: &RanFile| {
        json!({
            "file": file.name,
            "cases": file.cases.iter().map(case).collect::<Vec<_>>(),
        })
    };
    let mut report = json!({
        "ok": failures == 0,
        "cases": cases,
        "failures": failures,
        "files": files.iter().map(file).collect::<Vec<_>>(),
    });
    if let (false, Some(members)) = (coverage.is_empty(), report.as_object_mut()) {
        let of = |covered: &[Covered]| -> Value {
            covered.iter().map(|covered| (covered.what.to_owned(), covered.json())).collect()
        };
        let all: Value = coverage.iter().map(|(policy, covered)| (policy.clone(), of(covered))).collect();
        members.insert("coverage".to_owned(), all);
    }
    format!("{report:#}\n")
}

/// The Test Anything Protocol, version 14.
pub fn tap(files: &[RanFile]) -> String {
    let (cases, _) = totals(files);
    let mut text = format!("TAP version 14\n1..{cases}\n");
    let all = files.iter().flat_map(|file| file.cases.iter().map(move |case| (file, case)));
    for (number, (file, case)) in (1..).zip(all) {
        let word = if case.is_good() { "ok" } else { "not ok" };
        let description = format!("{}: {}", file.name, case.name);
        // `#` begins a directive there.
        let description = shown(&description).replace('\\', "\\\\").replace('#', "\\#");
        text.push_str(&format!("{word} {number} - {description}\n"));
        if !case.is_good() {
            let quoted = |text: &str| Value::from(text).to_string();
            text.push_str(&format!("  ---\n  at: {}\n  differs:\n", quoted(&file.place(case))));
            for mismatch in &case.mismatches {
                text.push_str(&format!(
                    "    - {{what: {}, expected: {}, found: {}}}\n",
                    quoted(&mismatch.what),
                    quoted(&mismatch.expected),
                    quoted(&mismatch.found)
                ));
            }
            text.push_str("  ...\n");
        }
    }
    text
}

/// JUnit's XML, as CI servers read it.
pub fn junit(files: &[RanFile]) -> Result<String, String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    write_junit(files, &mut writer).map_err(|error| format!("cannot write XML: {error}"))?;
    let xml = String::from_utf8(writer.into_inner()).map_err(|error| format!("cannot write XML: {error}"))?;
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}\n"))
}

fn write_junit(files: &[RanFile], writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
    let (cases, failures) = totals(files);
    let seconds = |cases: &[Ran]| cases.iter().map(|case| case.took.as_secs_f64()).sum::<f64>();
    let all: f64 = files.iter().map(|file| seconds(&file.cases)).sum();
    let suites = writer.create_element("testsuites").with_attributes([
        ("name", "scopegate test"),
        ("tests", cases.to_string().as_str()),
        ("failures", failures.to_string().as_str()),
        ("errors", "0"),
        ("time", format!("{all:.3}").as_str()),
    ]);
    suites.write_inner_content(|writer| {
        for file in files {
            let suite = writer.create_element("testsuite").with_attributes([
                ("name", shown(&file.name).as_str()),
                ("tests", file.cases.len().to_string().as_str()),
                ("failures", file.failures().to_string().as_str()),
                ("errors", "0"),
                ("skipped", "0"),
                ("time", format!("{:.3}", seconds(&file.cases)).as_str()),
            ]);
            suite.write_inner_content(|writer| {
                for case in &file.cases {
                    let mut element = writer.create_element("testcase").with_attributes([
                        ("name", shown(&case.name).as_str()),
                        ("classname", shown(&file.name).as_str()),
                        ("file", shown(&file.name).as_str()),
                        ("time", format!("{:.3}", case.took.as_secs_f64()).as_str()),
                    ]);
                    if let Some(mark) = case.mark {
                        element = element.with_attribute(("line", mark.line.to_string().as_str()));
                    }
                    if case.is_good() {
                        element.write_empty()?;
                        continue;
                    }
                    element.write_inner_content(|writer| {
                        let message = shown(&case.message());
                        let steps: Vec<String> = case.steps.iter().map(|step| shown(step)).collect();
                        writer
                            .create_element("failure")
                            .with_attribute(("message", message.as_str()))
                            .write_text_content(BytesText::new(&steps.join("\n")))?;
                        Ok(())
                    })?;
                }
                Ok(())
            })?;
        }
        Ok(())
    })?;
    Ok(())
}

fn totals(files: &[RanFile]) -> (usize, usize) {
    (files.iter().map(|file| file.cases.len()).sum(), files.iter().map(RanFile::failures).sum())
}

fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
