//! One golden file: what is given, the commands, and how each ends. `tests/cli/golden/README.md` shows the form.

use std::fmt::Write;
use std::path::Path;

/// What a file says.
#[derive(Default)]
pub struct Session {
    /// Lines of prose at the top.
    pub remarks: Vec<String>,
    /// Steps of the setup, in their order.
    pub given: Vec<String>,
    /// YAML that is laid over the configuration.
    pub config: String,
    /// `NAME=value`.
    pub variables: Vec<String>,
    pub runs: Vec<Run>,
}

/// A command and its outcome.
#[derive(Clone, Default, PartialEq)]
pub struct Run {
    /// As it stands after `$ kekring`.
    pub command: String,
    /// For a command that does not end by itself: it gets SIGTERM once this is on its standard output.
    pub until: String,
    pub exit: i32,
    pub stdout: Vec<String>,
    /// Only so many lines of standard output are looked at.
    pub first: Option<usize>,
    /// `None`: it is a log, and not compared.
    pub stderr: Option<Vec<String>>,
}

impl Session {
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|why| why.to_string())?;
        Self::parse(&text)
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let mut session = Self::default();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            let value = value.trim();
            match name {
                _ if line.starts_with('#') => session.remarks.push(line.to_owned()),
                "given" => session.given = value.split(", ").map(str::to_owned).collect(),
                "config" => session.config = value.to_owned(),
                "env" => session.variables.push(value.to_owned()),
                _ => return Err(format!("a golden file has no {name:?} before its first command")),
            }
        }
        while let Some(line) = lines.next() {
            let command = line
                .strip_prefix("$ kekring")
                .ok_or("a command begins with `$ kekring`")?;
            let mut run = Run {
                command: command.trim().to_owned(),
                stderr: Some(Vec::new()),
                ..Run::default()
            };
            while let Some(line) = lines.next_if(|line| !line.starts_with("--- ") && !line.starts_with("$ "))
            {
                match line.split_once(": ") {
                    Some(("until", text)) => run.until = text.to_owned(),
                    Some(("exit", code)) => run.exit = code.parse().map_err(|_| format!("exit {code:?}"))?,
                    _ => return Err(format!("{line:?} after a command")),
                }
            }
            while let Some(header) = lines.next_if(|line| line.starts_with("--- ")) {
                let mut body = Vec::new();
                while let Some(line) =
                    lines.next_if(|line| !line.starts_with("--- std") && !line.starts_with("$ kekring"))
                {
                    body.push(line.to_owned());
                }
                match header {
                    "--- stdout" => run.stdout = body,
                    "--- stderr" => run.stderr = Some(body),
                    "--- stderr, a log" => run.stderr = None,
                    _ => {
                        run.first = Some(first_lines(header).ok_or_else(|| format!("{header:?}"))?);
                        run.stdout = body;
                    }
                }
            }
            session.runs.push(run);
        }
        if session.runs.is_empty() {
            return Err("a golden file without a command".into());
        }
        Ok(session)
    }

    /// The whole file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for remark in &self.remarks {
            let _ = writeln!(text, "{remark}");
        }
        let _ = writeln!(text, "given: {}", self.given.join(", "));
        if !self.config.is_empty() {
            let _ = writeln!(text, "config: {}", self.config);
        }
        for variable in &self.variables {
            let _ = writeln!(text, "env: {variable}");
        }
        for run in &self.runs {
            text += &run.text();
        }
        text
    }
}

impl Run {
    fn text(&self) -> String {
        let mut text = format!("{}\n", format!("$ kekring {}", self.command).trim_end());
        if !self.until.is_empty() {
            let _ = writeln!(text, "until: {}", self.until);
        }
        let _ = writeln!(text, "exit: {}", self.exit);
        match self.first {
            None => text += "--- stdout\n",
            Some(count) => {
                let _ = writeln!(text, "--- stdout, the first {count} lines");
            }
        }
        for line in &self.stdout {
            let _ = writeln!(text, "{line}");
        }
        text += match self.stderr {
            Some(_) => "--- stderr\n",
            None => "--- stderr, a log\n",
        };
        for line in self.stderr.iter().flatten() {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The words of the command; single quotes and `<…>` keep spaces together.
    pub fn words(&self) -> Vec<String> {
        let (mut words, mut word, mut quoted, mut named) = (Vec::new(), String::new(), false, false);
        for c in self.command.chars().chain([' ']) {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted && !named => {
                    words.extend(Some(std::mem::take(&mut word)).filter(|it| !it.is_empty()));
                }
                _ => word.push(c),
            }
            named = !quoted && (c == '<' || named && c != '>');
        }
        words
    }
}

fn first_lines(header: &str) -> Option<usize> {
    let count = header.strip_prefix("--- stdout, the first ")?;
    count.strip_suffix(" lines")?.parse().ok()
}
