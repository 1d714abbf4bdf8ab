//! A message as it travels: an ordered list of named, typed values. Read WIRE 2 first.
//!
//! Invariants:
//! - order is kept, since it decides the digest,
//! - names may repeat; readers take the first occurrence,
//! - decoding borrows from the packet, so that a value costs nothing before somebody needs it.

use super::WireError;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// An ordered list of fields, the whole content of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fields<'a>(Vec<Field<'a>>);

/// One field of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field<'a> {
    /// The name; not empty, without `=` and newline.
    pub name: Cow<'a, [u8]>,
    /// The typed value.
    pub value: Value<'a>,
}

/// A value of one of the six types of WIRE 2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// Type 0: bytes without NUL; numbers travel as such text.
    Text(Cow<'a, [u8]>),
    /// Type 1: any bytes.
    Binary(Cow<'a, [u8]>),
    /// Type 2: a nested message.
    Struct(Fields<'a>),
    /// Type 3: a list of texts, none of them empty.
    List(Vec<Cow<'a, [u8]>>),
    /// Type 4: a nested message, compressed (WIRE 5).
    Compressed(Cow<'a, [u8]>),
    /// Type 5: a nested message its producer wants compressed.
    Uncompressed(Fields<'a>),
}

impl<'a> Value<'a> {
    /// The type's number on the wire, `0..=5`.
    pub fn type_number(&self) -> u8 {
        match self {
            Value::Text(_) => 0,
            Value::Binary(_) => 1,
            Value::Struct(_) => 2,
            Value::List(_) => 3,
            Value::Compressed(_) => 4,
            Value::Uncompressed(_) => 5,
        }
    }

    /// The value without any borrow.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Text(text) => Value::Text(owned(text)),
            Value::Binary(bytes) => Value::Binary(owned(bytes)),
            Value::Struct(fields) => Value::Struct(fields.into_owned()),
            Value::List(items) => Value::List(items.into_iter().map(owned).collect()),
            Value::Compressed(bytes) => Value::Compressed(owned(bytes)),
            Value::Uncompressed(fields) => Value::Uncompressed(fields.into_owned()),
        }
    }

    /// A text value, borrowed or owned.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Value<'a> {
        Value::Text(bytes_of(text.into()))
    }
}

fn owned(bytes: Cow<'_, [u8]>) -> Cow<'static, [u8]> {
    Cow::Owned(bytes.into_owned())
}

/// The bytes of a text, without copying them.
fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

impl<'a> Fields<'a> {
    /// An empty message.
    pub fn new() -> Fields<'a> {
        Fields(Vec::new())
    }

    /// An empty message with room for `count` fields.
    pub fn with_capacity(count: usize) -> Fields<'a> {
        Fields(Vec::with_capacity(count))
    }

    /// The value of the first field named `name`.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|field| *field.name == *name.as_bytes()).map(|field| &field.value)
    }

    /// The text of the first field named `name`; `None` also when that field has another type.
    pub fn text(&self, name: &str) -> Option<&Cow<'a, [u8]>> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of the first field named `name`; `None` also when that field has another type.
    pub fn binary(&self, name: &str) -> Option<&Cow<'a, [u8]>> {
        match self.get(name)? {
            Value::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of the first field named `name` as UTF-8, sharing its borrow.
    pub(crate) fn utf8(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, WireError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let utf8 = match text {
            Cow::Borrowed(text) => core::str::from_utf8(text).map(Cow::Borrowed),
            Cow::Owned(text) => core::str::from_utf8(text).map(|text| Cow::Owned(text.into())),
        };
        utf8.map(Some).map_err(|_| WireError::BadValue { field: name })
    }

    /// Appends a field, also when one of that name exists.
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) {
        self.0.push(Field { name: bytes_of(name.into()), value });
    }

    /// Appends a field whose name came from outside and need not be UTF-8.
    pub fn push_field(&mut self, field: Field<'a>) {
        self.0.push(field);
    }

    /// Appends a text field.
    pub fn push_text(&mut self, name: &'a str, text: impl Into<Cow<'a, str>>) {
        self.push(name, Value::text(text));
    }

    /// Gives the first field named `name` a new value in its place, or appends one (WIRE 7).
    pub fn set(&mut self, name: &'a str, value: Value<'a>) {
        match self.0.iter_mut().find(|field| *field.name == *name.as_bytes()) {
            Some(field) => field.value = value,
            None => self.push(name, value),
        }
    }

    /// [`Fields::set`], and removes all later fields of that name.
    pub(crate) fn set_only(&mut self, name: &'a str, value: Value<'a>) {
        self.set(name, value);
        let mut seen = false;
        self.0.retain(|field| *field.name != *name.as_bytes() || !core::mem::replace(&mut seen, true));
    }

    /// Puts a field in front of all others.
    pub(crate) fn push_front(&mut self, name: &'a str, value: Value<'a>) {
        self.0.insert(0, Field { name: Cow::Borrowed(name.as_bytes()), value });
    }

    /// Removes every field named `name`.
    pub fn remove_all(&mut self, name: &str) {
        self.0.retain(|field| *field.name != *name.as_bytes());
    }

    /// How many fields there are, not counting nested ones.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Field<'a>> {
        self.0.iter()
    }

    /// The values in order, to be changed in place.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Value<'a>> {
        self.0.iter_mut().map(|field| &mut field.value)
    }

    /// Whether a top-level field has type 2, 4 or 5, which the original writes as netstring only (WIRE 4).
    pub fn is_structured(&self) -> bool {
        self.iter().any(|field| matches!(field.value, Value::Struct(_) | Value::Compressed(_) | Value::Uncompressed(_)))
    }

    /// The same message, borrowing every name and value from this one.
    pub fn borrowed(&self) -> Fields<'_> {
        self.iter()
            .map(|field| Field {
                name: Cow::Borrowed(&*field.name),
                value: match &field.value {
                    Value::Text(text) => Value::Text(Cow::Borrowed(&**text)),
                    Value::Binary(bytes) => Value::Binary(Cow::Borrowed(&**bytes)),
                    Value::Struct(fields) => Value::Struct(fields.borrowed()),
                    Value::List(items) => Value::List(items.iter().map(|item| Cow::Borrowed(&**item)).collect()),
                    Value::Compressed(bytes) => Value::Compressed(Cow::Borrowed(&**bytes)),
                    Value::Uncompressed(fields) => Value::Uncompressed(fields.borrowed()),
                },
            })
            .collect()
    }

    /// The message without any borrow.
    pub fn into_owned(self) -> Fields<'static> {
        let fields = self.0.into_iter();
        Fields(fields.map(|field| Field { name: owned(field.name), value: field.value.into_owned() }).collect())
    }
}

impl<'a> FromIterator<Field<'a>> for Fields<'a> {
    fn from_iter<I: IntoIterator<Item = Field<'a>>>(fields: I) -> Fields<'a> {
        Fields(fields.into_iter().collect())
    }
}

impl<'a> IntoIterator for Fields<'a> {
    type Item = Field<'a>;
    type IntoIter = alloc::vec::IntoIter<Field<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'f, 'a> IntoIterator for &'f Fields<'a> {
    type Item = &'f Field<'a>;
    type IntoIter = core::slice::Iter<'f, Field<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_equal_names_is_read_and_overwritten_in_place() {
        let mut fields = Fields::new();
        fields.push_text("a", "1");
        fields.push_text("b", "2");
        fields.push_text("a", "3");
        assert_eq!(fields.text("a").map(|text| &**text), Some(&b"1"[..]));
        fields.set("a", Value::text("4"));
        fields.set("c", Value::text("5"));
        let order: Vec<_> = fields.iter().map(|field| &*field.name).collect();
        assert_eq!(order, [b"a", b"b", b"a", b"c"]);
        assert_eq!(fields.text("a").map(|text| &**text), Some(&b"4"[..]));
    }

    #[test]
    fn a_field_of_another_type_hides_a_later_text() {
        let mut fields = Fields::new();
        fields.push("seq", Value::Binary(Cow::Borrowed(b"1")));
        fields.push_text("seq", "1");
        assert_eq!(fields.text("seq"), None);
    }
}
