//! Styled text for terminals, and untrusted text made safe for them.

use std::{fmt, io};

use anstream::AutoStream;
use anstyle::AnsiColor;
use clap::ColorChoice;
use scopegate::exchange::log_json::is_hidden;

/// Whether standard output shows colours.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    colors: bool,
}

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// An error, a refusal.
    Bad,
    /// A warning, a pass that is not meant to last.
    Doubtful,
    /// A pass.
    Good,
    /// What matters.
    Strong,
    /// What matters less.
    Faint,
}

impl Terminal {
    /// Standard output of this process. `Auto` means colours on a terminal, unless NO_COLOR, CLICOLOR or TERM
    /// forbid them.
    pub fn new(choice: ColorChoice) -> Self {
        let colors = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
        };
        Self { colors }
    }

    /// A terminal without colours.
    pub fn plain() -> Self {
        Self { colors: false }
    }

    /// `text` in this style.
    pub fn paint(&self, style: Style, text: impl fmt::Display) -> String {
        if !self.colors {
            return text.to_string();
        }
        let style = match style {
            Style::Bad => AnsiColor::Red.on_default().bold(),
            Style::Doubtful => AnsiColor::Yellow.on_default().bold(),
            Style::Good => AnsiColor::Green.on_default().bold(),
            Style::Strong => anstyle::Style::new().bold(),
            Style::Faint => anstyle::Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// `text` with control characters, invisible characters and changes of writing direction shown as escapes, so
/// that it can neither command a terminal nor disguise itself there. For text that came from a request, a
/// token or a file.
pub fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_commands_a_terminal_gets_through() {
        assert_eq!(shown("a\u{1b}[31mb\r\n\u{202e}c é"), "a\\u{1b}[31mb\\u{d}\\u{a}\\u{202e}c é");
    }

    #[test]
    fn text_is_painted_only_where_there_are_colours() {
        assert_eq!(Terminal::plain().paint(Style::Bad, "x"), "x");
        assert_eq!(
            Terminal::new(ColorChoice::Always).paint(Style::Bad, "x"),
            "\u{1b}[1m\u{1b}[31mx\u{1b}[0m"
        );
        assert_eq!(Terminal::new(ColorChoice::Never).paint(Style::Good, "x"), "x");
    }
}
