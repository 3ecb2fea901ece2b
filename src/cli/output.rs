//! What verbs print: text for people, JSON for programs. Colour is for terminals alone, and not with NO_COLOR.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::telemetry::{plain, plain_json};

/// `-o`, where data is printed.
#[derive(Args, Clone, Copy)]
pub(super) struct Output {
    /// The form of what is printed: text for people, json for programs
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORM",
        value_enum,
        default_value = "text",
        hide_possible_values = true
    )]
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
        line(&self.made(value, text));
    }

    /// What is printed.
    pub(super) fn made<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> String {
        match self.form {
            Form::Json => json(value),
            Form::Text => shown(&text(value)),
        }
    }
}

fn json<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_string_pretty(value).unwrap_or_else(|why| why.to_string());
    plain_json(&json).into_owned()
}

/// Text of many lines in which a terminal obeys nothing but our own colours. That a text from outside is no second line, who
/// writes the lines sees to: by [`table`], [`warned`], or [`plain`].
pub(super) fn shown(text: &str) -> String {
    let mut pieces = text.split('\x1b');
    let mut shown = lines(pieces.next().unwrap_or_default());
    for piece in pieces {
        match COLOURS.iter().find(|code| piece.starts_with(*code)) {
            Some(_) => shown.push('\x1b'),
            None => shown += r"\u{1b}",
        }
        shown += &lines(piece);
    }
    shown
}

/// Each line plain. A document may have tabs.
fn lines(text: &str) -> String {
    let plain = |line: &str| line.split('\t').map(plain).collect::<Vec<_>>().join("\t");
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// Prints text and a line feed. A reader that has gone away is no error: `kekring … | head`.
pub(super) fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", coloured(text.trim_end()));
    let _ = out.flush();
}

/// The colours of the 1980s, which every terminal has.
#[derive(Clone, Copy)]
pub(super) enum Colour {
    Red,
    Green,
    Yellow,
    Cyan,
}

/// What [`paint`] writes behind an escape character.
const COLOURS: [&str; 5] = ["[31m", "[32m", "[33m", "[36m", "[0m"];

/// The text in colour, where the stream is a terminal that shows it.
pub(super) fn paint(stream: &impl IsTerminal, colour: Colour, text: &str) -> String {
    let told = |name| std::env::var_os(name).unwrap_or_default();
    if !stream.is_terminal() || !told("NO_COLOR").is_empty() || told("TERM") == "dumb" {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Red => 31,
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Cyan => 36,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Text for standard output with its warnings and hints in colour.
pub(super) fn coloured(text: &str) -> String {
    let words = [("warning:", Colour::Yellow), ("hint:", Colour::Cyan)];
    let lines = text.split('\n').map(|line| {
        let begins = words.iter().find(|(word, _)| line.starts_with(word));
        begins.map_or(line.to_owned(), |(word, colour)| {
            line.replacen(word, &paint(&io::stdout(), *colour, word), 1)
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// How many columns a terminal has; what is none has many.
pub(super) fn width(stream: &impl AsFd) -> usize {
    match rustix::termios::tcgetwinsize(stream) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => usize::MAX,
    }
}

/// States that an eye should find.
fn cell_colour(header: &str, cell: &str) -> Option<Colour> {
    match (header, cell) {
        ("STATE", "active") | ("SERVING", "yes") => Some(Colour::Green),
        ("STATE", "suspended") => Some(Colour::Yellow),
        ("KEY", _) if cell.ends_with(", not active") => Some(Colour::Yellow),
        ("ACKNOWLEDGED", _) if cell.ends_with(", behind") => Some(Colour::Red),
        ("ACKNOWLEDGED", "nothing") => Some(Colour::Red),
        ("STATE", "destroyed") | ("SERVING", "no") => Some(Colour::Red),
        _ => None,
    }
}

/// Each warning on a line of its own, after what stands before, and what to do about it on the next.
pub(super) fn warned(warnings: &[String]) -> String {
    warnings
        .iter()
        .map(|warning| match plain(warning).rsplit_once("; hint: ") {
            // Our own comes last, whatever stands in a text that is quoted before it.
            Some((warning, hint)) => format!("\nwarning: {warning}\nhint: {hint}"),
            None => format!("\nwarning: {}", plain(warning)),
        })
        .collect()
}

/// Columns as kubectl shows them: no lines, three spaces between.
/// A cell is one, whatever it quotes.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let plain_row = |row: &Vec<String>| row.iter().map(|cell| plain(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(plain_row).collect();
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
            .zip(header)
            .map(|((cell, width), header)| {
                let padded = format!("{cell:width$}");
                match cell_colour(header, cell) {
                    Some(colour) => paint(&io::stdout(), colour, &padded),
                    None => padded,
                }
            })
            .collect();
        padded.join("   ").trim_end().to_owned()
    };
    let mut lines = vec![shown(&mut header.iter().copied())];
    lines.extend(rows.iter().map(|row| shown(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// Says something beside the data, on standard error: `note: …`. What was done is done, whether anybody can be told or not.
pub(super) fn note(kind: &str, text: &str) {
    let kind = paint(&io::stderr(), Colour::Cyan, kind);
    let _ = writeln!(io::stderr(), "{kind}: {}", plain(text));
}
