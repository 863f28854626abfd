//! A structure is a map of its members, and nothing else.

use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Reads a structure where the encoding has a map. What serde derives would take a list too, for the members in their order, which the
/// service refuses.
pub(crate) struct Structure<D>(pub(crate) D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Structure<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }

    // A structure asks for nothing else.
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}
