//! An explained request as people and machines read it.

use scopegate::exchange::trace::StepOutcome;
use scopegate::exchange::{Decision, HeaderEdits, Stage};
use scopegate::respond::Reason;
use scopegate::respond::rejection::Answer;
use serde_json::{Value, json};

use crate::scene::lossy;
use crate::terminal::{Style, Terminal, shown};

/// An explained request.
#[derive(Debug)]
pub struct Explanation {
    /// The steps; seven, or eight for a token request.
    pub steps: Vec<ExplainedStep>,
    /// How it ended.
    pub decision: Decision,
    /// Why it was refused, or would have been.
    pub reason: Option<Reason>,
    /// The step that ended it.
    pub stage: Stage,
    /// What the client is answered, where it is refused.
    pub answer: Option<Answer>,
    /// The error of a token request that is refused (RFC 6749 section 5.2).
    pub error: Option<&'static str>,
    /// What the client is told about the refusal.
    pub description: Option<String>,
    /// What has to change for the request to get further.
    pub remedy: Option<String>,
    /// How the headers are changed before the upstream sees them.
    pub edits: Edits,
}

/// One explained step.
#[derive(Debug)]
pub struct ExplainedStep {
    /// Which one.
    pub stage: Stage,
    /// How it went.
    pub outcome: StepOutcome,
    /// Names and values of what it looked at.
    pub details: Vec<(String, String)>,
    /// What it made of them.
    pub conclusion: String,
}

/// What is changed in the headers of a forwarded request. Values of cookies and the path, which may have a
/// query, are left out.
#[derive(Debug, Default)]
pub struct Edits(Vec<(EditKind, String, String)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EditKind {
    Remove,
    Set,
}

impl HeaderEdits for Edits {
    fn remove(&mut self, name: &[u8]) {
        self.0.push((EditKind::Remove, lossy(name), String::new()));
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        let value = if name == ":path" { "(without the token)".to_owned() } else { lossy(value) };
        self.0.push((EditKind::Set, name.to_owned(), value));
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        let value = if name == "cookie" { "(without the token)".to_owned() } else { lossy(value) };
        self.0.push((EditKind::Set, name.to_owned(), value));
    }
}

impl Explanation {
    /// Whether the request reaches the upstream.
    pub fn passes(&self) -> bool {
        match self.decision {
            Decision::Allow | Decision::Shadow => true,
            Decision::Deny => false,
        }
    }

    /// For people.
    pub fn text(&self, terminal: &Terminal) -> String {
        let mut text = String::new();
        for (number, step) in (1..).zip(&self.steps) {
            let (style, word) = match step.outcome {
                StepOutcome::Passed => (Style::Good, "ok"),
                StepOutcome::Lifted => (Style::Doubtful, "lifted"),
                StepOutcome::Refused => (Style::Bad, "refused"),
                StepOutcome::Skipped => (Style::Faint, "-"),
            };
            let name = terminal.paint(Style::Strong, format!("{:<11}", step.stage.as_str()));
            let word = terminal.paint(style, format!("{word:<8}"));
            text.push_str(&format!("{number} {name}{word}{}\n", step.conclusion));
            for (what, value) in &step.details {
                text.push_str(&format!(
                    "{:21}{} {value}\n",
                    "",
                    terminal.paint(Style::Faint, format!("{what}:"))
                ));
            }
        }
        text.push('\n');
        let (style, decision) = match self.decision {
            Decision::Allow => (Style::Good, "allow"),
            Decision::Shadow => (Style::Doubtful, "shadow"),
            Decision::Deny => (Style::Bad, "deny"),
        };
        text.push_str(&format!("decision   {}", terminal.paint(style, decision)));
        if let Some(reason) = self.reason.map(Reason::as_str).or(self.error) {
            text.push_str(&format!(", {reason}"));
        }
        text.push('\n');
        if let Some(answer) = &self.answer {
            text.push_str(&format!("answer     {}\n", answer.status));
            for (name, value) in answer.headers.iter() {
                text.push_str(&format!("           {name}: {}\n", shown(value)));
            }
            if !answer.body.is_empty() {
                text.push_str(&format!("           {}\n", shown(&answer.body)));
            }
        }
        for (kind, name, value) in &self.edits.0 {
            let line = match kind {
                EditKind::Remove => format!("remove {name}"),
                EditKind::Set => format!("set {name}: {value}"),
            };
            text.push_str(&format!("upstream   {}\n", shown(&line)));
        }
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("to pass    {}\n", shown(remedy)));
            text.push_str("           (fix this first; there may be further obstacles)\n");
        }
        text
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let step = |(number, step): (usize, &ExplainedStep)| {
            json!({
                "step": number,
                "name": step.stage.as_str(),
                "outcome": match step.outcome {
                    StepOutcome::Passed => "passed",
                    StepOutcome::Lifted => "lifted",
                    StepOutcome::Refused => "refused",
                    StepOutcome::Skipped => "skipped",
                },
                "concluded": step.conclusion,
                "saw": step.details.iter().map(|(what, value)| json!({"what": what, "value": value})).collect::<Vec<_>>(),
            })
        };
        json!({
            "decision": self.decision.as_str(),
            "reason": self.reason.map(Reason::as_str),
            "error": self.error,
            "stage": self.stage.as_str(),
            "status": self.answer.as_ref().map(|answer| answer.status),
            "description": self.description,
            "remedy": self.remedy,
            "steps": (1..).zip(&self.steps).map(step).collect::<Vec<_>>(),
            "answer": self.answer.as_ref().map(|answer| json!({
                "status": answer.status,
                "headers": answer.headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
                "body": answer.body,
            })),
            "upstream": self.edits.0.iter().map(|(kind, name, value)| match kind {
                EditKind::Remove => json!({"remove": name}),
                EditKind::Set => json!({"set": name, "value": value}),
            }).collect::<Vec<_>>(),
        })
    }
}
