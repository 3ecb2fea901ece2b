//! A document as a tree in which every node knows its place.

use std::collections::{BTreeMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use serde::de::DeserializeOwned;

use super::{Place, YamlError};

/// The most nodes of one document, an anchor's and an alias's counted each time: aliases of aliases grow a few lines to
/// gigabytes. How deep nodes nest the parser limits (255 lists and maps of either style).
const MAX_NODES: usize = 100_000;

/// A node and where it stands.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    /// Text, and whether it stands there plain: only then may it be a number, a word or nothing.
    Scalar(String, bool),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// A document.
pub struct Tree(Node);

impl Tree {
    /// Makes a type of it.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, YamlError> {
        T::deserialize(self.0)
    }

    /// A text by itself.
    pub fn text(text: String) -> Self {
        Self(Node {
            place: Place::At(1, 1),
            value: Value::Scalar(text, false),
        })
    }

    /// The keys of the map at `path`; none where there is no map.
    pub fn keys(&self, path: &[&str]) -> Vec<&str> {
        let start = self.0.entries();
        let entries = path.iter().fold(start, |entries, step| {
            let below = entries.iter().find(|(key, _)| key.text() == Some(step));
            below.map_or(&[][..], |(_, below)| below.entries())
        });
        entries.iter().filter_map(|(key, _)| key.text()).collect()
    }

    /// The whole document, to be looked at.
    pub fn top(&self) -> Spot<'_> {
        Spot(Some(&self.0))
    }

    /// Puts `value`, which is called `name` in errors, at `path`, and makes the maps on the way.
    pub fn set(&mut self, path: &[&str], value: Self, name: &'static str) {
        let mut value = value.0;
        value.stands_at(Place::Of(name));
        self.0.put(path, value);
    }
}

/// One place of a document, for who looks at a part of it and passes over the rest. It may be a place where nothing is.
#[derive(Clone, Copy)]
pub struct Spot<'a>(Option<&'a Node>);

impl<'a> Spot<'a> {
    /// Below `key` of a map.
    pub fn at(self, key: &str) -> Self {
        let mut entries = self.entries().iter();
        Self(
            entries
                .find(|(name, _)| name.text() == Some(key))
                .map(|(_, below)| below),
        )
    }

    /// The items of a list.
    pub fn items(self) -> impl Iterator<Item = Self> {
        let items = match self.0.map(|node| &node.value) {
            Some(Value::List(list)) => list.as_slice(),
            _ => &[],
        };
        items.iter().map(|node| Self(Some(node)))
    }

    /// The keys of a map.
    pub fn keys(self) -> impl Iterator<Item = &'a str> {
        self.entries().iter().filter_map(|(key, _)| key.text())
    }

    /// A text, a number, a word.
    pub fn text(self) -> Option<&'a str> {
        self.0.and_then(Node::text)
    }

    /// Whether something is here.
    pub fn is_there(self) -> bool {
        self.0.is_some()
    }

    /// The line on which it begins, from 1.
    pub fn line(self) -> Option<usize> {
        match self.0?.place {
            Place::At(line, _) => Some(line),
            Place::Of(_) => None,
        }
    }

    fn entries(self) -> &'a [(Node, Node)] {
        self.0.map_or(&[], Node::entries)
    }
}

/// Reads the one document of a text.
pub fn load(text: &str) -> Result<Tree, YamlError> {
    let mut loader = Loader {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    let mut document = Node {
        place: Place::At(1, 1),
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
    Ok(Tree(document))
}

struct Loader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What each anchor stands for, once it is whole.
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl<'a> Loader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Place)>, YamlError> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, start(span)))),
            Some(Err(why)) => {
                let place = Place::At(why.marker().line(), why.marker().col() + 1);
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
    /// Of a map; nothing of anything else.
    fn entries(&self) -> &[(Self, Self)] {
        match &self.value {
            Value::Map(map) => map,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Puts `value` at `path`. What is no map on the way becomes one.
    fn put(&mut self, path: &[&str], value: Self) {
        let Some((step, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        let mut map = match std::mem::replace(&mut self.value, Value::List(Vec::new())) {
            Value::Map(map) => map,
            _ => Vec::new(),
        };
        let found = map.iter_mut().find(|(key, _)| key.text() == Some(step));
        match found {
            Some((_, below)) => below.put(rest, value),
            None => {
                let plain = |text: &str| Self {
                    place: value.place,
                    value: Value::Scalar(text.to_owned(), true),
                };
                let (key, mut below) = (plain(step), plain(""));
                below.put(rest, value);
                map.push((key, below));
            }
        }
        self.value = Value::Map(map);
    }

    fn stands_at(&mut self, place: Place) {
        self.place = place;
        match &mut self.value {
            Value::Scalar(..) => {}
            Value::List(list) => list.iter_mut().for_each(|node| node.stands_at(place)),
            Value::Map(map) => map.iter_mut().for_each(|(key, value)| {
                key.stands_at(place);
                value.stands_at(place);
            }),
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(..) => 0,
            Value::List(list) => list.iter().map(Self::size).sum(),
            Value::Map(map) => map.iter().map(|(key, value)| key.size() + value.size()).sum(),
        }
    }
}

fn start(span: Span) -> Place {
    Place::At(span.start.line(), span.start.col() + 1)
}

fn untagged(holds: bool, place: Place) -> Result<(), YamlError> {
    if holds {
        return Ok(());
    }
    Err(YamlError::at(place, "a tag has no meaning here"))
}
