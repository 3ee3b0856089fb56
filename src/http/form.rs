//! Nested parameters as Rack 2.2 reads them: `usage[hits]=1` is a hash `usage` with a text `hits`.
//!
//! A form is decoded once into one buffer; its tree refers into that buffer, so a small query costs one
//! allocation. Rules worth knowing:
//!
//! - pairs are split at `&` (and spaces after it); `;` is an ordinary character; empty pairs are skipped;
//! - a key without `=` has no value ([`Value::Nil`]); of duplicates the last wins, in the place of the first;
//! - a text may replace anything, but a hash or list never replaces a text: that is a [`FormError::Shape`];
//! - elements of lists (`a[]=1`) are dropped, since no call of the dialect takes a list, unless the builder is told to
//!   keep them: `a[]=1` adds a text, and `a[][b]=1` says something of the last element, or begins the next if the last
//!   is no hash or has a `b` already.

mod builder;

use std::ops::Range;

use smallvec::SmallVec;

pub use builder::Builder;

/// The most parameters that a query or a body may have (Rack's limit). Empty pairs count too.
pub const PARAMETERS_MAX: usize = 4096;

/// The most bytes that a query or a body (after inflation) may have (Rack's limit).
pub const BYTES_MAX: usize = 4 << 20;

/// How deep brackets may nest (Rack's limit).
pub const DEPTH_MAX: usize = 32;

/// Why parameters cannot be read. The texts are those of the 400 answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormError {
    /// A `%` that two hexadecimal digits do not follow; with the name or value it stands in.
    #[error("Invalid query parameters: invalid %-encoding ({0})")]
    BadEscape(String),
    /// More than [`PARAMETERS_MAX`]; with their number.
    #[error("total number of query parameters ({0}) exceeds limit ({PARAMETERS_MAX})")]
    TooMany(usize),
    /// More than [`BYTES_MAX`].
    #[error("total query size exceeds limit ({BYTES_MAX})")]
    TooLarge,
    /// One name is used as text and as hash or list, or nests deeper than [`DEPTH_MAX`].
    #[error("request contains syntax errors, should not be repeated without modification")]
    Shape,
}

impl FormError {
    /// Whether a size limit was exceeded; such errors are told even to callers that want no body.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, FormError::TooMany(_) | FormError::TooLarge)
    }
}

/// A value of a form.
#[derive(Clone, Copy, Default, Debug)]
pub enum Value<'a> {
    /// A name without `=`.
    #[default]
    Nil,
    /// A text, possibly empty.
    Text(&'a str),
    /// A list: elements without names. None, unless the builder [keeps](Builder::keeping_lists) them.
    List(Entries<'a>),
    /// Named values.
    Hash(Entries<'a>),
}

impl<'a> Value<'a> {
    /// The text, if it is one.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }
}

/// The entries of a form or of a hash in it, in the order of their first appearance.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    form: &'a Form,
    next: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let node = self.form.nodes.get(self.next as usize)?;
        self.next = node.next;
        let value = match &node.content {
            Content::Nil => Value::Nil,
            Content::List(children) => Value::List(Entries { form: self.form, next: children.first }),
            Content::Text(span) => Value::Text(self.form.slice(*span)),
            Content::Hash(children) => Value::Hash(Entries { form: self.form, next: children.first }),
        };
        Some((self.form.slice(node.name), value))
    }
}

/// Decoded parameters.
#[derive(Debug)]
pub struct Form {
    text: String,
    utf8: bool,
    nodes: Nodes,
    root: Children,
}

impl Form {
    /// Reads a query string or a body of type `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn parse(encoded: &[u8]) -> Result<Form, FormError> {
        let mut builder = Builder::new(encoded.len());
        builder.push_encoded(encoded)?;
        Ok(builder.finish())
    }

    /// Whether all names and values were valid UTF-8. If not, each bad byte reads as `?`.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        self.utf8
    }

    /// The parameters.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        Entries { form: self, next: self.root.first }
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }
}

/// "No node": ends a list of siblings, and stands for the root as a parent.
const NONE: u32 = u32::MAX;

type Nodes = SmallVec<[Node; 16]>;

/// A part of the buffer. Offsets fit: a buffer is little longer than [`BYTES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The part of this span from `start` to `end`, counted from its own start.
    fn part(self, start: usize, end: usize) -> Span {
        let at = |offset: usize| {
            u32::try_from(offset).map_or(self.end, |offset| self.start + offset).min(self.end)
        };
        Span { start: at(start), end: at(end) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Children {
    first: u32,
    last: u32,
}

const NO_CHILDREN: Children = Children { first: NONE, last: NONE };

#[derive(Debug)]
struct Node {
    name: Span,
    content: Content,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Nil,
    Text(Span),
    List(Children),
    Hash(Children),
}

#[cfg(test)]
mod tests;
