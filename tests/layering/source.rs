//! Source files as this suite reads them. It relies on rustfmt: what opens at an indentation closes at the same one.

use std::fs;
use std::path::Path;

/// One file of `src/`, without comments, quoted text and its `#[cfg(test)]` part.
pub(crate) struct File {
    /// Below `src/`.
    pub(crate) path: String,
    /// The first step of its path.
    pub(crate) module: String,
    code: String,
}

/// Every file but `lib.rs`, which is a list of modules.
pub(crate) fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    files.retain(|file| file.path != "lib.rs");
    assert!(files.len() > 30, "{} files: is this src/?", files.len());
    files
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let below = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push(File::new(below, &fs::read_to_string(&path).unwrap()));
        }
    }
}

impl File {
    pub(crate) fn new(path: String, text: &str) -> Self {
        // Tests stand at the end of a file.
        let text = text.split("\n#[cfg(test)]\n").next().unwrap();
        let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        Self {
            module,
            path,
            code: bare(text)
                .lines()
                .map(|line| line.trim_end())
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    /// Whether the word stands here by itself: `async` is not in `basync`.
    pub(crate) fn says(&self, word: &str) -> bool {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            let open_start = word.starts_with(part) && before.is_some_and(part);
            let open_end = word.ends_with(part) && after.is_some_and(part);
            !open_start && !open_end
        })
    }

    /// The modules that follow `crate::`.
    pub(crate) fn modules_named(&self) -> Vec<String> {
        let name = |rest: &str| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap()
                .to_owned()
        };
        let mut named: Vec<String> = self.code.split("crate::").skip(1).map(name).collect();
        named.retain(|name| !name.is_empty());
        named.sort();
        named.dedup();
        named
    }

    /// Whether a `super` reaches the crate's root, past what [`Self::modules_named`] sees.
    pub(crate) fn climbs_out(&self) -> bool {
        let is_the_module = self.path.ends_with("/mod.rs") || !self.path.contains('/');
        // The fence around the generated code has modules of its own.
        let allowed = if is_the_module && self.path != "proto.rs" {
            "super::"
        } else {
            "super::super::"
        };
        self.code.contains(allowed)
    }

    /// Lines that are neither blank nor a comment.
    pub(crate) fn code_lines(&self) -> usize {
        self.code.lines().filter(|line| !line.trim().is_empty()).count()
    }

    /// Name of each function and the length of its body, counted as clippy's `too_many_lines` does.
    pub(crate) fn functions(&self) -> Vec<(usize, String)> {
        let lines: Vec<&str> = self.code.lines().collect();
        let mut functions = Vec::new();
        for (start, line) in lines.iter().enumerate() {
            let text = line.trim_start();
            let Some(name) = function_name(text) else { continue };
            let indent = &line[..line.len() - text.len()];
            let here = |line: &&str| {
                line.strip_prefix(indent)
                    .is_some_and(|rest| !rest.starts_with(' '))
            };
            let mut body = 0;
            for line in lines[start..]
                .iter()
                .skip_while(|line| !line.ends_with(['{', '}', ';']))
            {
                if here(line) && line.ends_with(['}', ';']) {
                    break;
                }
                body += usize::from(!here(line) && !line.is_empty());
            }
            functions.push((body, format!("{}: {name}", self.path)));
        }
        functions
    }
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    loop {
        match words.next()? {
            "fn" => return words.next()?.split(['(', '<']).next(),
            word if word.starts_with("pub") || matches!(word, "async" | "const") => {}
            _ => return None,
        }
    }
}

/// The text without comments and without what stands in quotes; line feeds are kept.
fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '/' if characters.peek() == Some(&'/') => while characters.next_if(|c| *c != '\n').is_some() {},
            '"' => {
                bare.push('"');
                while let Some(quoted) = characters.next_if(|c| *c != '"') {
                    if quoted == '\\' {
                        characters.next();
                    } else if quoted == '\n' {
                        bare.push('\n');
                    }
                }
                characters.next();
                bare.push('"');
            }
            // A character literal, not a lifetime: `'"'`, `'\\'`.
            '\'' if matches!(characters.peek(), Some('"' | '\\')) => {
                if characters.next() == Some('\\') {
                    characters.next();
                }
            }
            other => bare.push(other),
        }
    }
    bare
}
