//! How a command ends.

/// What a command prints, and the answer that its exit code gives.
pub struct CommandOutput {
    /// For standard output.
    pub text: String,
    /// For standard error: notes on what the text leaves out.
    pub notes: Vec<String>,
    /// Whether the answer is yes: exit code 0.
    pub yes: bool,
}

impl CommandOutput {
    /// The answer yes, with this text.
    pub fn yes(text: String) -> Self {
        Self { text, notes: Vec::new(), yes: true }
    }
}

/// Why a command has no answer: exit code 2. One or more lines for standard error.
#[derive(Debug, PartialEq)]
pub struct Failure(pub String);

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self(message)
    }
}
