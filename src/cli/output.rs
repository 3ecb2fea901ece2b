//! What verbs print: text for people, JSON for programs. The only file that writes to standard output.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::failure::Failure;

/// `-o`, where data is printed.
#[derive(Args)]
pub(super) struct Output {
    /// The form of what is printed
    #[arg(short = 'o', long = "output", value_enum, default_value = "text")]
    pub(super) form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people
    Text,
    /// For programs
    Json,
}

impl Output {
    /// Prints `value` as JSON, or the text that `text` makes of it.
    pub(super) fn print<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        match self.form {
            Form::Json => line(&json(value)),
            Form::Text => line(&text(value)),
        }
    }

    /// The same for a text that may not come about.
    pub(super) fn try_print<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        match self.form {
            Form::Json => line(&json(value)),
            Form::Text => line(&text(value)?),
        }
        Ok(())
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|why| why.to_string())
}

/// Prints text and a line feed. A reader that has gone away is no error: `kekring … | head`.
pub(super) fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end());
    let _ = out.flush();
}

/// Columns as kubectl shows them: no lines, three spaces between.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain(header.get(column).map(|name| name.len()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let shown = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("   ").trim_end().to_owned()
    };
    let mut lines = vec![shown(&mut header.iter().copied())];
    lines.extend(rows.iter().map(|row| shown(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// Says something beside the data, on standard error: `note: …`.
#[allow(clippy::print_stderr)]
pub(super) fn note(kind: &str, text: &str) {
    eprintln!("{kind}: {text}");
}
