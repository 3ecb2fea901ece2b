//! The rows of `tests/faults.md`.

use std::fs;

use crate::root;

const PAGE: &str = "faults.md";
const HEAD: [&str; 3] = ["Fault", "Required outcome", "Shown by"];

/// One fault.
pub(crate) struct Row {
    /// `faults.md:12`.
    pub(crate) place: String,
    pub(crate) fault: String,
    pub(crate) outcome: String,
    pub(crate) shown_by: Vec<Shown>,
}

/// `suite: test`.
pub(crate) struct Shown {
    pub(crate) suite: String,
    pub(crate) test: String,
}

/// Every row of the page.
pub(crate) fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("tests").join(PAGE)).unwrap();
    let found = rows_of(PAGE, &text);
    assert!(found.len() > 50, "{} rows: is this tests/{PAGE}?", found.len());
    found
}

/// Rows stand below a head of these three columns; other tables of a page are not ours.
fn rows_of(name: &str, text: &str) -> Vec<Row> {
    let (mut rows, mut within) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        let cells = cells(line);
        if cells == HEAD {
            within = true;
        } else if cells.is_empty() {
            within = false;
        } else if within && !cells.iter().all(|cell| cell.chars().all(|c| "-:".contains(c))) {
            let place = format!("{name}:{}", number + 1);
            let [fault, outcome, shown] = cells.as_slice() else {
                panic!("{place}: {} cells, not 3", cells.len());
            };
            rows.push(Row {
                shown_by: shown_by(&place, shown),
                fault: fault.clone(),
                outcome: outcome.clone(),
                place,
            });
        }
    }
    rows
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let Some(inner) = line.strip_prefix('|').and_then(|it| it.strip_suffix('|')) else {
        return Vec::new();
    };
    // `\|` is a bar that people read.
    let inner = inner.replace("\\|", "\u{1}");
    let cells = inner.split('|');
    cells.map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

/// What stands between backquotes.
fn shown_by(place: &str, cell: &str) -> Vec<Shown> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let shown = |text: &str| {
        let (suite, test) = text
            .split_once(": ")
            .unwrap_or_else(|| panic!("{place}: {text:?} is not `suite: test`"));
        Shown {
            suite: suite.to_owned(),
            test: test.to_owned(),
        }
    };
    quoted.map(shown).collect()
}

#[test]
fn reads_rows_below_their_head_and_no_other_table() {
    let text = "| a | b | c |\n|---|---|---|\n| x | y | `s: z` |\n\n| Fault | Required outcome | Shown by |\n|---|---|---|\n\
        | a \\| b | c | `s: m::t`, `cli: golden a/b.txt` |\n\nend\n| x | y | z |\n";

    let rows = rows_of("page.md", text);

    assert_eq!(rows.len(), 1);
    assert_eq!((&*rows[0].place, &*rows[0].fault), ("page.md:7", "a | b"));
    let shown: Vec<_> = rows[0]
        .shown_by
        .iter()
        .map(|it| (&*it.suite, &*it.test))
        .collect();
    assert_eq!(shown, [("s", "m::t"), ("cli", "golden a/b.txt")]);
}
