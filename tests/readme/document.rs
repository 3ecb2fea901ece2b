//! README.md as this suite reads it.

use std::fs;

use crate::support::in_repository;

/// What stands between two fences.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

pub(crate) fn text() -> String {
    fs::read_to_string(in_repository("README.md")).unwrap()
}

/// Every fenced block. It says what it is in: a shell's commands must not hide behind another name.
pub(crate) fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text().lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                assert!(
                    ["sh", "yaml"].contains(&language),
                    "a block of README.md is in {language:?}, not in sh or yaml"
                );
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "the last block of README.md has no end");
    blocks
}

/// Every line of every shell block.
pub(crate) fn commands() -> Vec<String> {
    let shell = blocks().into_iter().filter(|block| block.language == "sh");
    shell
        .flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The rows of the table with this header.
pub(crate) fn table(header: &str) -> Vec<String> {
    let text = text();
    let mut lines = text.lines().skip_while(|line| *line != header);
    assert!(lines.next().is_some(), "README.md has no table {header:?}");
    let rows: Vec<String> = lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(str::to_owned)
        .collect();
    assert!(!rows.is_empty(), "{header:?} has no rows");
    rows
}

/// The cells of each row.
pub(crate) fn columns(rows: &[String]) -> Vec<Vec<String>> {
    let cells = |row: &String| {
        let inner = row.trim_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    rows.iter().map(cells).collect()
}
