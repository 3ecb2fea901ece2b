//! Strict YAML into any type: a parser's events, a tree of them that knows where everything stood, and serde.
//!
//! *Why not a crate that does it all?* Those are compiled anew for every type that is read, a third of this program: its
//! memory follows its size. The parser is a library; what is ours is the tree.

mod tree;
mod typed;

use std::fmt::{self, Write};

use serde::de::DeserializeOwned;

pub use tree::{Spot, Tree, load};

/// Why a text is not what it should be, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// What is wrong. It may show what stands in the text.
    why: String,
    /// Where, when that is known.
    pub place: Option<Place>,
}

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line and column of the text, from 1.
    At(usize, usize),
    /// It is not of the text: what set it is called so.
    Of(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(line, column) => write!(f, "line {line} column {column}"),
            Self::Of(name) => f.write_str(name),
        }
    }
}

impl YamlError {
    fn at(place: Place, why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            place: Some(place),
        }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        // It may quote a key or a value: an error stays one line, and tells a terminal nothing.
        for character in self.why.chars() {
            match character.is_control() {
                true => write!(f, "{}", character.escape_default())?,
                false => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for YamlError {}

impl serde::de::Error for YamlError {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self {
            why: why.to_string(),
            place: None,
        }
    }
}

/// Reads the one document of a text; an empty text is an empty document, YAML's null.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    load(text)?.read()
}

/// A string as one line of YAML: plain where no reader of YAML 1.1 or 1.2 takes it for anything else, else in quotes.
pub fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "/-_.:+=%@,~".contains(it))
        && !text.ends_with(':')
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    let duration = text.trim_start_matches(|it: char| it.is_ascii_digit());
    if plain || duration.len() < text.len() && ["ms", "s", "m", "h"].contains(&duration) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
