//! `scopegate man`: manual pages, from the same definitions as the help.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::terminal::shown;
use crate::{Arguments as Tool, CommandOutput, Failure};

/// Print the manual page, or write those of all commands.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  scopegate man > scopegate.1
  scopegate man check > scopegate-check.1
  scopegate man --directory man1")]
pub struct Arguments {
    /// The command; default the tool itself.
    command: Option<String>,
    /// Write the pages of the tool and of each command into this directory.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command")]
    directory: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<CommandOutput, Failure> {
    let mut tool = Tool::command();
    tool.build();
    if let Some(directory) = &arguments.directory {
        let failed =
            |error| Failure(format!("cannot write {}: {error}", shown(&directory.display().to_string())));
        std::fs::create_dir_all(directory).map_err(failed)?;
        clap_mangen::generate_to(tool, directory).map_err(failed)?;
        return Ok(CommandOutput::yes(String::new()));
    }
    let command = match &arguments.command {
        None => tool,
        Some(name) => tool
            .get_subcommands()
            .find(|command| command.get_name() == name)
            .cloned()
            .ok_or_else(|| Failure(format!("there is no command `{}`", shown(name))))?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure(format!("cannot write the page: {error}")))?;
    Ok(CommandOutput::yes(String::from_utf8_lossy(&page).into_owned()))
}
