//! serde over the tree. An error without a place takes the innermost one that it passes.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::tree::{Node, Value};
use super::{Place, YamlError};

impl Node {
    fn wrong<T>(&self, why: &str) -> Result<T, YamlError> {
        Err(YamlError::at(self.place, why))
    }

    /// What YAML takes for nothing (YAML 1.2 §10.3.2).
    fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, true) if ["", "~", "null"].contains(&text.as_str()))
    }
}

/// Gives an error of what stands at `place` that place, unless it has a closer one.
fn within<T>(place: Place, result: Result<T, YamlError>) -> Result<T, YamlError> {
    result.map_err(|why| YamlError {
        place: why.place.or(Some(place)),
        ..why
    })
}

/// Why a map of no key or of several is not the map of one key that belongs there.
fn not_one(map: &[(Node, Node)], variants: &[&str]) -> String {
    let quoted = |names: Vec<&str>| match names.is_empty() {
        true => String::new(),
        false => format!("`{}`", names.join("`, `")),
    };
    let there = quoted(map.iter().filter_map(|(key, _)| key.text()).collect());
    let instead = if there.is_empty() { "" } else { ", not " };
    format!(
        "exactly one of {} belongs here{instead}{there}",
        quoted(variants.to_vec())
    )
}

/// A whole number, decimal or with the prefix 0x or 0o.
fn whole(text: &str) -> Option<i64> {
    match text.get(..2) {
        Some("0x") => i64::from_str_radix(&text[2..], 16).ok(),
        Some("0o") => i64::from_str_radix(&text[2..], 8).ok(),
        _ => text.parse().ok(),
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
            self.number(visitor)
        })*
    };
}

impl Node {
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match &self.value {
            Value::Scalar(text, true) => match whole(text) {
                Some(number) => within(self.place, visitor.visit_i64(number)),
                None => self.wrong(&format!("`{text}` is no whole number")),
            },
            _ => self.wrong("a whole number belongs here"),
        }
    }

    /// A scalar for which no type is asked.
    fn guess<'de, V: Visitor<'de>>(text: String, plain: bool, visitor: V) -> Result<V::Value, YamlError> {
        match text.as_str() {
            _ if !plain => visitor.visit_string(text),
            "" | "~" | "null" => visitor.visit_unit(),
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            number => match whole(number) {
                Some(number) => visitor.visit_i64(number),
                None => visitor.visit_string(text),
            },
        }
    }
}

impl<'de> Deserializer<'de> for Node {
    type Error = YamlError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let place = self.place;
        within(
            place,
            match self.value {
                Value::Scalar(text, plain) => Self::guess(text, plain, visitor),
                Value::List(list) => visitor.visit_seq(List(list.into_iter())),
                Value::Map(map) => visitor.visit_map(Map {
                    rest: map.into_iter(),
                    value: None,
                }),
            },
        )
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        if self.is_null() {
            return visitor.visit_none();
        }
        within(self.place, visitor.visit_some(self))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        if self.is_null() {
            return self.wrong("a text belongs here; an empty one is \"\"");
        }
        match self.value {
            Value::Scalar(text, _) => within(self.place, visitor.visit_string(text)),
            _ => self.wrong("a text belongs here"),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match self.value {
            Value::List(_) => self.deserialize_any(visitor),
            _ => self.wrong("a list belongs here"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match self.value {
            Value::Map(_) => self.deserialize_any(visitor),
            _ => self.wrong("a map of keys and values belongs here"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        visitor.visit_newtype_struct(self)
    }

    /// A word, or a map of one key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        let place = self.place;
        let (name, value) = match self.value {
            Value::Scalar(..) => (self, None),
            Value::Map(mut map) => match (map.len(), map.pop()) {
                (1, Some((name, value))) => (name, Some(value)),
                (_, last) => {
                    map.extend(last);
                    return Err(YamlError::at(place, not_one(&map, variants)));
                }
            },
            Value::List(_) => return self.wrong("a word, or a map of one key, belongs here"),
        };
        within(place, visitor.visit_enum(Choice { name, value }))
    }

    numbers! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8 deserialize_i16
    deserialize_i32 deserialize_i64 }

    serde::forward_to_deserialize_any! { bool f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct ignored_any }
}

struct List(std::vec::IntoIter<Node>);

impl<'de> SeqAccess<'de> for List {
    type Error = YamlError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, YamlError> {
        match self.0.next() {
            None => Ok(None),
            Some(node) => within(node.place, seed.deserialize(node)).map(Some),
        }
    }
}

struct Map {
    rest: std::vec::IntoIter<(Node, Node)>,
    value: Option<Node>,
}

impl<'de> MapAccess<'de> for Map {
    type Error = YamlError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, YamlError> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        within(key.place, seed.deserialize(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, YamlError> {
        match self.value.take() {
            None => Err(YamlError::custom("a value is asked for before its key")),
            Some(node) => within(node.place, seed.deserialize(node)),
        }
    }
}

struct Choice {
    name: Node,
    value: Option<Node>,
}

impl<'de> EnumAccess<'de> for Choice {
    type Error = YamlError;
    type Variant = Chosen;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Chosen), YamlError> {
        let place = self.name.place;
        let chosen = Chosen {
            place,
            value: self.value,
        };
        within(place, seed.deserialize(self.name)).map(|variant| (variant, chosen))
    }
}

struct Chosen {
    place: Place,
    value: Option<Node>,
}

impl Chosen {
    fn content(self) -> Result<Node, YamlError> {
        self.value
            .ok_or_else(|| YamlError::at(self.place, "this is a key, and its value is missing"))
    }
}

impl<'de> VariantAccess<'de> for Chosen {
    type Error = YamlError;

    fn unit_variant(self) -> Result<(), YamlError> {
        match self.value {
            None => Ok(()),
            Some(node) => node.wrong("a word belongs here, with nothing below it"),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, YamlError> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, YamlError> {
        self.content()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        self.content()?.deserialize_map(visitor)
    }
}
