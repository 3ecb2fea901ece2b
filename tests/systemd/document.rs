//! `deploy/systemd/README.md`, by its parts.

use std::fs;

use crate::support::in_repository;

pub const PAGE: &str = "deploy/systemd/README.md";

/// A part of the page, from one heading of the second level to the next.
pub struct Part {
    pub title: String,
    /// Its blocks of shell commands.
    pub blocks: Vec<String>,
}

pub fn text() -> String {
    fs::read_to_string(in_repository(PAGE)).unwrap()
}

pub fn parts() -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut open: Option<String> = None;
    for line in text().lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some("sh"), None) => open = Some(String::new()),
            (Some(other), None) => panic!("a block of {PAGE} is in {other:?}, not in sh"),
            (Some(_), Some(_)) => {
                let part = parts.last_mut().expect("a heading before the first block");
                part.blocks.extend(open.take());
            }
            (None, Some(block)) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    parts.push(Part {
                        title: title.to_owned(),
                        blocks: Vec::new(),
                    });
                }
            }
        }
    }
    assert!(open.is_none(), "the last block of {PAGE} has no end");
    parts
}

/// The blocks of the part with this heading.
#[track_caller]
pub fn blocks(title: &str) -> Vec<String> {
    let part = parts().into_iter().find(|part| part.title == title);
    part.unwrap_or_else(|| panic!("{PAGE} has no part {title:?}"))
        .blocks
}
