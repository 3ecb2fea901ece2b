//! Findings: what was looked at, how it is, and what to do about it.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::output::{Colour, paint};
use crate::cli::place::Place;
use crate::telemetry::plain;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Skipped,
    /// It works, and will bite one day.
    Warning,
    /// It does not work, or something can be lost.
    Failure,
}

/// What was found of one thing.
#[derive(Serialize)]
pub(super) struct Finding {
    /// `area/what-is-wrong`, for ever the same.
    pub(super) id: &'static str,
    pub(super) level: Level,
    /// What was looked at; a file with its line where one is at fault.
    pub(super) subject: String,
    pub(super) message: String,
    /// What to do; empty where all is well.
    pub(super) remedy: String,
}

/// The areas in the order of the report, as ids begin, with their titles.
const AREAS: [(&str, &str); 7] = [
    ("machine", "machine"),
    ("configuration", "configuration"),
    ("ring", "ring"),
    ("server", "server"),
    ("encryption", "encryption configuration"),
    ("manifest", "API server"),
    ("compare", "other nodes"),
];

/// Everything that was found.
#[derive(Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    /// What a command of a remedy needs to mean the same configuration.
    options: String,
}

/// What `doctor -o json` prints.
#[derive(Serialize)]
pub(super) struct Report {
    findings: Vec<Finding>,
    pub(super) failures: usize,
    pub(super) warnings: usize,
    skipped: usize,
    ok: usize,
}

// Texts, numbers, paths and ids alike.
#[allow(clippy::needless_pass_by_value)]
impl Findings {
    /// Of the configuration that the command line names.
    pub(super) fn of(place: &Place) -> Self {
        let option = |name: &str, path: &PathBuf| format!("{name} {} ", quoted(path));
        let config = place.config.iter().map(|path| option("--config", path));
        let dev = place.dev.iter().map(|path| option("--dev", path));
        Self {
            found: Vec::new(),
            options: config.chain(dev).collect(),
        }
    }

    pub(super) fn ok(&mut self, id: &'static str, subject: impl ToString, message: impl ToString) {
        let said = [subject.to_string(), message.to_string(), String::new()];
        self.push(Level::Ok, id, said);
    }

    pub(super) fn skipped(
        &mut self,
        id: &'static str,
        subject: impl ToString,
        message: impl ToString,
        remedy: impl ToString,
    ) {
        let said = [subject.to_string(), message.to_string(), remedy.to_string()];
        self.push(Level::Skipped, id, said);
    }

    pub(super) fn warning(
        &mut self,
        id: &'static str,
        subject: impl ToString,
        message: impl ToString,
        remedy: impl ToString,
    ) {
        let said = [subject.to_string(), message.to_string(), remedy.to_string()];
        self.push(Level::Warning, id, said);
    }

    pub(super) fn failure(
        &mut self,
        id: &'static str,
        subject: impl ToString,
        message: impl ToString,
        remedy: impl ToString,
    ) {
        let said = [subject.to_string(), message.to_string(), remedy.to_string()];
        self.push(Level::Failure, id, said);
    }

    fn push(&mut self, level: Level, id: &'static str, [subject, message, remedy]: [String; 3]) {
        let remedy = remedy.replace("`kekring ", &format!("`kekring {}", self.options));
        self.found.push(Finding {
            id,
            level,
            subject: plain(&subject).into_owned(),
            message: plain(&message).into_owned(),
            remedy: plain(&remedy).into_owned(),
        });
    }

    /// Whether something with this id, or one that begins so, is a failure.
    pub(super) fn has_failure(&self, id: &str) -> bool {
        let mut found = self.found.iter();
        found.any(|it| it.level == Level::Failure && it.id.starts_with(id))
    }

    /// In the order of the areas.
    pub(super) fn report(mut self) -> Report {
        let place = |it: &Finding| AREAS.iter().position(|(area, _)| *area == it.area());
        self.found.sort_by_key(place);
        let count = |level| self.found.iter().filter(|it| it.level == level).count();
        Report {
            failures: count(Level::Failure),
            warnings: count(Level::Warning),
            skipped: count(Level::Skipped),
            ok: count(Level::Ok),
            findings: self.found,
        }
    }

    #[cfg(test)]
    pub(super) fn levels(&self) -> Vec<(&'static str, Level)> {
        self.found.iter().map(|it| (it.id, it.level)).collect()
    }
}

impl Finding {
    fn area(&self) -> &'static str {
        self.id.split('/').next().unwrap_or_default()
    }
}

impl Level {
    fn shown(self) -> String {
        let (word, colour) = match self {
            Self::Ok => ("ok     ", Colour::Green),
            Self::Skipped => ("skipped", Colour::Cyan),
            Self::Warning => ("warning", Colour::Yellow),
            Self::Failure => ("failure", Colour::Red),
        };
        paint(&io::stdout(), colour, word)
    }
}

/// One line for each, below the title of its area; remedies below them.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    for (area, title) in AREAS {
        let mut found = report.findings.iter().filter(|it| it.area() == area).peekable();
        if found.peek().is_none() {
            continue;
        }
        let _ = writeln!(text, "{title}:");
        for it in found {
            let _ = writeln!(
                text,
                "{}  {}  {}: {}",
                it.level.shown(),
                it.id,
                it.subject,
                it.message
            );
            if !it.remedy.is_empty() {
                let _ = writeln!(text, "         remedy: {}", it.remedy);
            }
        }
        text.push('\n');
    }
    text + &report.counts()
}

impl Report {
    /// The closing line.
    fn counts(&self) -> String {
        let many = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        format!(
            "{}, {}, {} skipped, {} ok",
            many(self.failures, "failure"),
            many(self.warnings, "warning"),
            self.skipped,
            self.ok
        )
    }
}

/// A file, and a line of it.
pub(super) fn at_line(file: &Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |it: char| it.is_ascii_alphanumeric() || "/-_.,:=@%+".contains(it);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_goes_by_areas_and_no_name_from_outside_breaks_a_line() {
        let mut findings = Findings::default();
        findings.failure("encryption/x", "a\nfailure", "\x1b[31m\u{202e}red", "say \"é\"");
        findings.ok("machine/y", "here", "fine");

        let text = text(&findings.report());

        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 8, "{text}");
        assert!(
            lines.first() == Some(&"machine:") && lines.get(3) == Some(&"encryption configuration:"),
            "{text}"
        );
        assert!(text.ends_with("1 failure, 0 warnings, 0 skipped, 1 ok"));
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
        assert!(text.contains("remedy: say \"é\""), "{text}");
    }

    #[test]
    fn a_remedy_is_a_command_for_the_same_configuration_and_for_any_path() {
        let place = Place {
            config: Some("/a b/config.yaml".into()),
            dev: None,
        };
        let mut findings = Findings::of(&place);
        findings.warning(
            "ring/x",
            "x",
            "x",
            format!("`kekring backup {}`", quoted(Path::new("/it's"))),
        );

        let text = text(&findings.report());

        assert!(
            text.contains(r"`kekring --config '/a b/config.yaml' backup '/it'\''s'`"),
            "{text}"
        );
    }
}
