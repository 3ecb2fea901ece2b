//! Text that others wrote, as it may stand on a terminal, in a log, and in what the service manager and a peer are told.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

/// Longest text from outside that a log line shows, in characters.
const SHOWN: usize = 128;
/// Longest reason of our own that a log line shows, in characters: paths make them long.
const REASON: usize = 1024;

/// Text from outside as it may stand in a log: control characters escaped, and cut.
pub struct Printable<'a> {
    text: &'a str,
    most: usize,
}

impl<'a> Printable<'a> {
    /// Text from outside.
    pub fn new(text: &'a str) -> Self {
        Self { text, most: SHOWN }
    }

    /// A reason of our own, which may quote text from outside.
    pub fn reason(text: &'a str) -> Self {
        Self { text, most: REASON }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nearly every text is plain and short: one write instead of one for each character.
        if self.text.len() <= self.most && self.text.bytes().all(is_plain) {
            return f.write_str(self.text);
        }
        for (position, character) in self.text.chars().enumerate() {
            if position == self.most {
                return write!(f, "... ({} bytes)", self.text.len());
            }
            if u8::try_from(character).is_ok_and(is_plain) {
                f.write_char(character)?;
            } else {
                write!(f, "{}", character.escape_default())?;
            }
        }
        Ok(())
    }
}

/// Printable ASCII. Not quotes and backslashes: a value must not end early.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\') || byte == b' '
}

/// Stays one line, tells a terminal nothing, and does not turn the direction of what follows it (Unicode Standard Annex #9).
/// Names, paths and messages may come from whoever wrote to a file, to etcd or to a pipe.
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |shown, it| shown.extend(it.escape_default()))
}

/// The same for a reason that goes where there is little room.
pub fn plain_and_short(text: &str) -> String {
    let shown = plain(text);
    let end = shown.char_indices().nth(REASON).map(|(end, _)| end);
    match end.and_then(|end| shown.get(..end)) {
        None => shown.into_owned(),
        Some(begin) => format!("{begin}... ({} bytes)", text.len()),
    }
}

/// JSON on one line or on many, which means the same and tells a terminal nothing: serde leaves DEL and what is above it
/// as it is. No such character stands outside of a string there.
pub fn plain_json(json: &str) -> Cow<'_, str> {
    escaped(json, |shown, it| match it {
        '\n' => shown.push(it),
        it => {
            let _ = write!(shown, "\\u{:04x}", u32::from(it));
        }
    })
}

fn escaped(text: &str, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for it in text.chars() {
        match commands(it) {
            true => escape(&mut shown, it),
            false => shown.push(it),
        }
    }
    Cow::Owned(shown)
}

/// Whether a terminal, or a reader of lines, does something at this character other than show it.
fn commands(it: char) -> bool {
    it.is_control()
        || matches!(it, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_forge_a_line() {
        let shown = Printable::new("a\nERROR fake \u{1b}[31m\u{202e} \"x\" é").to_string();

        assert!(
            shown.is_ascii() && !shown.contains(|c: char| c.is_control()),
            "{shown}"
        );
        assert!(shown.starts_with("a\\nERROR fake \\u{1b}[31m"));
    }

    #[test]
    fn long_text_is_cut() {
        let long = "x".repeat(100_000);

        for shown in [Printable::new(&long).to_string(), plain_and_short(&long)] {
            assert!(shown.len() < 1100 && shown.ends_with("(100000 bytes)"));
        }
        assert_eq!(plain_and_short("short\n"), "short\\n");
    }

    #[test]
    fn plain_text_keeps_what_people_write_and_nothing_that_a_terminal_obeys() {
        assert!(matches!(plain("say \"é\" — \\"), Cow::Borrowed("say \"é\" — \\")));
        let shown = plain("a\r\n\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{202e}b\u{2028}é");
        assert_eq!(shown, r"a\r\n\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{202e}b\u{2028}é");
    }

    #[test]
    fn plain_json_means_the_same() {
        let value = "a\n\u{1b}[2J\u{7f}\u{9b}2J\u{202e}é";
        let json = serde_json::to_string_pretty(&[value]).unwrap();

        let shown = plain_json(&json);

        assert!(!shown.contains(['\u{7f}', '\u{9b}', '\u{202e}']) && shown.lines().count() == 3);
        assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [value]);
    }
}
