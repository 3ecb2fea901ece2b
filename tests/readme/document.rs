//! README.md as this suite reads it.

use crate::support::page::{self, Block};

pub(crate) fn text() -> String {
    page::text("README.md")
}

pub(crate) fn blocks() -> Vec<Block> {
    page::blocks("README.md")
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
