//! A document as a tree in which every node knows its place.

use std::collections::{BTreeMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::YamlError;

/// The most nodes of one document, an anchor's and an alias's counted each time: aliases of aliases grow a few lines to
/// gigabytes. How deep nodes nest the parser limits (255 lists and maps of either style).
const MAX_NODES: usize = 100_000;

/// A node and where it stands: line and column, from 1.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: (usize, usize),
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    /// Text, and whether it stands there plain: only then may it be a number, a word or nothing.
    Scalar(String, bool),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Reads the one document of a text.
pub(super) fn load(text: &str) -> Result<Node, YamlError> {
    let mut loader = Loader {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    let mut document = Node {
        place: (1, 1),
        value: Value::Scalar(String::new(), true),
    };
    let mut seen = false;
    while let Some((event, place)) = loader.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
            _ if seen => return Err(YamlError::at(place, "a second document begins")),
            event => {
                document = loader.node(event, place)?;
                seen = true;
            }
        }
    }
    Ok(document)
}

struct Loader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What each anchor stands for, once it is whole.
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

type Place = (usize, usize);

impl<'a> Loader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Place)>, YamlError> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, start(span)))),
            Some(Err(why)) => {
                let place = (why.marker().line(), why.marker().col() + 1);
                Err(YamlError::at(place, why.info()))
            }
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, place: Place) -> Result<Node, YamlError> {
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor, place),
            Event::Scalar(text, style, anchor, tag) => {
                let string = tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                untagged(tag.is_none() || string, place)?;
                let plain = style == ScalarStyle::Plain && !string;
                (anchor, Value::Scalar(text.into_owned(), plain))
            }
            Event::SequenceStart(_, anchor, tag) => {
                untagged(tag.is_none(), place)?;
                (anchor, Value::List(self.list()?))
            }
            Event::MappingStart(_, anchor, tag) => {
                untagged(tag.is_none(), place)?;
                (anchor, Value::Map(self.map()?))
            }
            _ => return Err(YamlError::at(place, "a value is missing")),
        };
        self.count(1, place)?;
        let node = Node { place, value };
        if anchor != 0 {
            self.count(node.size(), place)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Vec<Node>, YamlError> {
        let mut list = Vec::new();
        while let Some((event, place)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            list.push(self.node(event, place)?);
        }
        Ok(list)
    }

    fn map(&mut self) -> Result<Vec<(Node, Node)>, YamlError> {
        let mut map = Vec::new();
        let mut names = HashSet::new();
        while let Some((event, place)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, place)?;
            match &key.value {
                Value::Scalar(name, _) if !names.insert(name.clone()) => {
                    return Err(YamlError::at(place, format!("`{name}` is there twice")));
                }
                Value::Scalar(..) => {}
                _ => return Err(YamlError::at(place, "a key is a text")),
            }
            if let Some((event, place)) = self.next()? {
                map.push((key, self.node(event, place)?));
            }
        }
        Ok(map)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<Node, YamlError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(YamlError::at(
                place,
                "an alias stands inside what it is an alias of",
            ));
        };
        self.count(node.size(), place)?;
        Ok(node)
    }

    fn count(&mut self, more: usize, place: Place) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MAX_NODES {
            return Err(YamlError::at(place, format!("more than {MAX_NODES} values")));
        }
        Ok(())
    }
}

impl Node {
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(..) => 0,
            Value::List(list) => list.iter().map(Self::size).sum(),
            Value::Map(map) => map.iter().map(|(key, value)| key.size() + value.size()).sum(),
        }
    }
}

fn start(span: Span) -> Place {
    (span.start.line(), span.start.col() + 1)
}

fn untagged(holds: bool, place: Place) -> Result<(), YamlError> {
    if holds {
        return Ok(());
    }
    Err(YamlError::at(place, "a tag has no meaning here"))
}
