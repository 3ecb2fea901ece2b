//! `kekring completions` and `kekring man`: what packages install beside the binary.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use super::failure::Failure;
use super::help::lesson;
use super::output::line;

#[derive(Args)]
pub(super) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Args)]
pub(super) struct Man {
    /// Where the pages go; made if it is missing
    dir: PathBuf,
}

impl Completions {
    pub(super) fn run(&self) {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "kekring", &mut script);
        line(&String::from_utf8_lossy(&script));
    }
}

impl Man {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut command = super::command().disable_help_subcommand(true);
        command.build();
        fs::create_dir_all(&self.dir)
            .and_then(|()| pages(&command, "", &self.dir))
            .map_err(|why| {
                Failure::failed(
                    format!("cannot write the pages to {}: {why}", self.dir.display()),
                    "name a directory that can be written",
                )
            })
    }
}

/// A page for this verb and one for each below it.
fn pages(command: &Command, words: &str, dir: &Path) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages(verb, format!("{words} {}", verb.get_name()).trim_start(), dir)?;
    }
    let page = Page::new(command.clone().after_long_help(None).after_help(None)).manual("kekring");
    let mut text = Vec::new();
    page.render(&mut text)?;
    for (title, section) in lesson(words).map(|it| it.sections()).unwrap_or_default() {
        write!(
            text,
            ".SH {}\n.nf\n{}\n.fi\n",
            title.to_uppercase(),
            escaped(&section)
        )?;
    }
    fs::write(dir.join(page.get_filename()), text)
}

/// As roff reads it: no dash becomes another one, no line is taken for a command.
fn escaped(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}"),
            false => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
