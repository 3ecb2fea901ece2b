//! Pages of documentation with blocks of commands in them.

use std::fs;
use std::path::Path;

/// What stands between two fences.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The heading above it.
    pub(crate) section: String,
    /// The first word behind the fence.
    pub(crate) language: String,
    /// The words behind it: where the commands are for.
    pub(crate) place: Vec<String>,
    pub(crate) text: String,
}

pub(crate) fn text(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap()
}

/// The recovery code is asked for wherever a page opens something by it. Here it comes from a file, as an operator has it on paper.
#[allow(dead_code)] // not every suite types such a command
pub(crate) fn with_the_code(commands: &str, file: &str) -> String {
    let given = |line: &str| match line.contains("--open-with -") {
        true => format!("{line} < {file}\n"),
        false => format!("{line}\n"),
    };
    commands.lines().map(given).collect()
}

/// Every fenced block. It says what it is in: a shell's commands must not hide behind another name.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut open, mut section): (Option<Block>, &str) = (None, "");
    let text = text(page);
    for line in text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(fence), None) => {
                let mut words = fence.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                assert!(
                    ["sh", "text", "yaml"].contains(&language.as_str()),
                    "a block of {page} is in {language:?}, not in sh, text or yaml"
                );
                open = Some(Block {
                    section: section.to_owned(),
                    language,
                    place: words.collect(),
                    text: String::new(),
                });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) if line.starts_with('#') => section = line.trim_start_matches(['#', ' ']),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "the last block of {page} has no end");
    blocks
}
