//! Pictures of `kekring status` as SVG in `deploy/pictures`, drawn from what the program prints at a terminal. A picture that
//! is no longer what it prints fails; `UPDATE_GOLDEN=1` draws it anew.

use std::fs;
use std::time::Instant;

use data_encoding::HEXLOWER;
use kekring::crypto::kdf::sha256;

use crate::support::terminal::run;
use crate::support::{PATIENCE, Plugin, in_repository, wait_until};

/// A character and a line of the picture, and what is around them.
const CHARACTER: usize = 8;
const LINE: usize = 19;
const MARGIN: usize = 16;
/// What lies under the text, on light pages and on dark ones.
const GROUND: &str = "#161b22";
/// No colour, and the terminal's own.
const PLAIN: &str = "#e6edf3";
const COLOURS: [(&str, &str); 4] = [
    ("31", "#ff7b72"),
    ("32", "#56d364"),
    ("33", "#e3b341"),
    ("36", "#76e3ea"),
];
/// What this machine's kernel grants is another matter.
const PROTECTIONS: &str =
    "not dumpable, no core files, no new privileges, guarded memory: memfd_secret, landlock";

/// A character and its colour.
type Cell = (char, &'static str);

/// Waits until `kekring status` on this node is as in the picture. `title` is for those who do not see it.
pub fn shows(node: &Plugin, name: &str, title: &str) {
    let path = in_repository("deploy/pictures").join(format!("{name}.svg"));
    let draw = || drawn(&screen(node), title);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(path, draw()).unwrap();
    }
    let picture = fs::read_to_string(&path).unwrap_or_default();
    let started = Instant::now();
    wait_until("status to be as in its picture", 3 * PATIENCE, || {
        let now = draw();
        assert!(
            started.elapsed() < 2 * PATIENCE || now == picture,
            "{} is not what status shows; look, then `UPDATE_GOLDEN=1 cargo test --test monitoring befalls`\n{now}",
            path.display()
        );
        now == picture
    });
}

/// What status writes to a terminal, with all that differs from run to run as it might be.
fn screen(node: &Plugin) -> Vec<Vec<Cell>> {
    let text = run(node.command(&["status"])).all();
    let text = text.replace(&node.dir.display().to_string(), "/etc/kekring");
    let (mut lines, mut table) = (Vec::new(), Vec::new());
    for line in text.trim_end().lines() {
        let cells = in_colour(line);
        let begins = line.starts_with("NODE ") || line.starts_with("CONNECTION ");
        if begins || !table.is_empty() && !line.is_empty() {
            table.push(cells);
            continue;
        }
        lines.extend(aligned(&std::mem::take(&mut table)));
        lines.push(settled(&cells));
    }
    lines.extend(aligned(&table));
    lines
}

/// A line without its escape sequences, each character with the colour that they gave it.
fn in_colour(line: &str) -> Vec<Cell> {
    let (mut cells, mut colour) = (Vec::new(), PLAIN);
    for (at, part) in line.split("\u{1b}[").enumerate() {
        let (code, text) = match at {
            0 => ("", part),
            _ => part.split_once('m').expect("a colour and nothing else"),
        };
        if at > 0 {
            let known = COLOURS.iter().find(|(known, _)| *known == code);
            colour = known.map_or(PLAIN, |(_, colour)| colour);
        }
        cells.extend(text.chars().map(|it| (it, colour)));
    }
    cells
}

/// Words as they might be. A word has one colour.
fn settled(cells: &[Cell]) -> Vec<Cell> {
    let words: Vec<&[Cell]> = cells.split(|(it, _)| *it == ' ').collect();
    let texts: Vec<String> = words
        .iter()
        .map(|it| it.iter().map(|(it, _)| it).collect())
        .collect();
    if texts[0] == "protections" {
        return format!("protections    {PROTECTIONS}")
            .chars()
            .map(|it| (it, PLAIN))
            .collect();
    }
    let mut line = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |at| texts[at].as_str());
        let after = texts.get(at + 1).map_or("", String::as_str);
        let text = word(before, text, after);
        let colour = words[at].first().map_or(PLAIN, |(_, colour)| *colour);
        line.extend(text.chars().map(|it| (it, colour)));
        let next = words.get(at + 1).and_then(|it| it.first());
        let gap = next.is_some_and(|(_, next)| *next == colour);
        line.push((' ', if gap { colour } else { PLAIN }));
    }
    line.pop();
    line
}

fn word(before: &str, text: &str, after: &str) -> String {
    let (bare, comma) = text.strip_suffix(',').map_or((text, ""), |it| (it, ","));
    let hash = |of: &str| HEXLOWER.encode(&sha256(of.as_bytes()))[..32].to_owned();
    let hexadecimal = |it: &str| it.len() == 32 && HEXLOWER.decode(it.as_bytes()).is_ok();
    let age = bare.starts_with(|it: char| it.is_ascii_digit())
        && bare.ends_with(['s', 'm', 'h', 'd'])
        && bare.chars().all(|it| it.is_ascii_digit() || "smhd".contains(it));
    let settled = match bare.split_once('-') {
        Some((key, id)) if hexadecimal(id) => format!("{key}-{}", hash(key)),
        _ if hexadecimal(bare) => hash("ring"),
        _ if bare.starts_with("uid=") => "uid=0,pid=2714".into(),
        _ if age && ["for", "made"].contains(&before) => "12d4h".into(),
        _ if age && before == "in" => "18d22h".into(),
        _ if age && after.starts_with("ago") => "41s".into(),
        _ => bare.to_owned(),
    };
    settled + comma
}

/// The lines of a table, with their columns as wide as what is in them now.
fn aligned(table: &[Vec<Cell>]) -> Vec<Vec<Cell>> {
    let rows: Vec<Vec<Vec<Cell>>> = table.iter().map(|line| columns(line)).collect();
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let row = |row: &Vec<Vec<Cell>>| {
        let mut line = Vec::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.extend(cell);
            line.extend(std::iter::repeat_n((' ', PLAIN), width + 3 - cell.len()));
        }
        let end = line.iter().rposition(|(it, _)| *it != ' ').map_or(0, |at| at + 1);
        line.truncate(end);
        line
    };
    rows.iter().map(row).collect()
}

/// What stands between three spaces and more.
fn columns(line: &[Cell]) -> Vec<Vec<Cell>> {
    let text: String = line.iter().map(|(it, _)| it).collect();
    let (mut columns, mut at) = (Vec::new(), 0);
    for part in text.split("   ") {
        let inner = part.trim_start();
        let start = at + part.chars().count() - inner.chars().count();
        let end = start + inner.trim_end().chars().count();
        if start < end {
            columns.push(settled(&line[start..end]));
        }
        at += part.chars().count() + 3;
    }
    columns
}

/// The picture: a prompt, and each line with its colours.
fn drawn(screen: &[Vec<Cell>], title: &str) -> String {
    let prompt = "$ kekring status".chars().map(|it| (it, PLAIN)).collect();
    let lines = [&[prompt, Vec::new()], screen].concat();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let (width, height) = (columns * CHARACTER + 2 * MARGIN, lines.len() * LINE + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <title>{title}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{GROUND}\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"13\" fill=\"{PLAIN}\">\n"
    );
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let y = MARGIN + number * LINE + 13;
        for (at, text, colour) in spans(line) {
            let fill = if colour == PLAIN {
                String::new()
            } else {
                format!(" fill=\"{colour}\"")
            };
            // Its width is given, so that columns stand below each other in any font.
            svg += &format!(
                "<text x=\"{}\" y=\"{y}\" textLength=\"{}\"{fill}>{}</text>\n",
                MARGIN + at * CHARACTER,
                text.chars().count() * CHARACTER,
                escaped(&text)
            );
        }
    }
    svg + "</g>\n</svg>\n"
}

/// The parts of a line that have one colour and no wide gap, and where they begin.
fn spans(line: &[Cell]) -> Vec<(usize, String, &'static str)> {
    let mut spans: Vec<(usize, String, &'static str)> = Vec::new();
    // A blank belongs to a part where a character of its colour follows.
    for (at, (it, colour)) in line.iter().enumerate() {
        let next = line.get(at + 1);
        if *it == ' ' && next.is_none_or(|(next, its)| *next == ' ' || its != colour) {
            continue;
        }
        match spans.last_mut() {
            Some((start, text, last)) if last == colour && *start + text.chars().count() == at => {
                text.push(*it);
            }
            _ if *it == ' ' => {}
            _ => spans.push((at, it.to_string(), colour)),
        }
    }
    spans
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
