//! `deploy/systemd/README.md`, by its parts.

use crate::support::page;

pub const PAGE: &str = "deploy/systemd/README.md";

/// A part of the page, from one heading of the second level to the next.
pub struct Part {
    pub title: String,
    /// Its blocks of shell commands.
    pub blocks: Vec<String>,
}

pub fn parts() -> Vec<Part> {
    let text = page::text(PAGE);
    let titles = text.lines().filter_map(|line| line.strip_prefix("## "));
    let mut parts: Vec<Part> = titles
        .map(|title| Part {
            title: title.to_owned(),
            blocks: Vec::new(),
        })
        .collect();
    for block in page::blocks(PAGE) {
        assert_eq!(block.language, "sh", "{}", block.text);
        let part = parts.iter_mut().find(|part| part.title == block.section);
        part.expect("a heading before the first block")
            .blocks
            .push(block.text);
    }
    parts
}

/// The blocks of the part with this heading.
#[track_caller]
pub fn blocks(title: &str) -> Vec<String> {
    let part = parts().into_iter().find(|part| part.title == title);
    part.unwrap_or_else(|| panic!("{PAGE} has no part {title:?}"))
        .blocks
}
