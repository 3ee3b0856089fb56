//! Building a form: pairs are decoded into one buffer, and their names sorted into a tree.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use memchr::memchr_iter;

use super::{
    BYTES_MAX, Children, Content, DEPTH_MAX, Form, FormError, NO_CHILDREN, NONE, Node, Nodes, PARAMETERS_MAX,
    Span,
};

/// From this many parameters on, names are found through an index: a scan would cost the square of their number.
const INDEX_FROM: usize = 32;

/// The longest part of a bad component that an error repeats.
const ECHO_MAX: usize = 1024;

/// Collects parameters into a [`Form`].
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
    nodes: Nodes,
    root: Children,
    parameters: usize,
    index: Option<Index>,
    keeps_lists: bool,
}

/// Leads from the hash of (parent, name) to a node; whoever finds a node compares the names.
#[derive(Debug)]
struct Index {
    hasher: RandomState,
    nodes: HashMap<u64, u32>,
}

/// Where a name has led to so far.
#[derive(Clone, Copy)]
struct Place {
    node: u32,
    /// What is made of the rest of the name takes this node's place, even if that is nothing.
    takes_over: bool,
}

impl Builder {
    /// An empty form whose parameters will take about `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Builder {
        // One byte more per name and value than it has: both are set off by a separator.
        let bytes = Vec::with_capacity(capacity.min(BYTES_MAX) + 2);
        let (nodes, root) = (Nodes::new(), NO_CHILDREN);
        Builder { bytes, nodes, root, parameters: 0, index: None, keeps_lists: false }
    }

    /// The same, keeping the elements of lists.
    #[must_use]
    pub fn keeping_lists(capacity: usize) -> Builder {
        Builder { keeps_lists: true, ..Builder::new(capacity) }
    }

    /// Adds all pairs of an encoded string.
    ///
    /// # Errors
    /// See [`FormError`]; what was added before the error stays.
    pub fn push_encoded(&mut self, encoded: &[u8]) -> Result<(), FormError> {
        if encoded.len() > BYTES_MAX {
            return Err(FormError::TooLarge);
        }
        if encoded.is_empty() {
            return Ok(());
        }
        self.add_parameters(1 + memchr_iter(b'&', encoded).count())?;
        let mut at = 0;
        while at < encoded.len() {
            if at > 0 {
                at += encoded[at..].iter().take_while(|byte| **byte == b' ').count();
            }
            let start = at;
            let (name, mut end) = self.decode(encoded, at, PAIR_END | NAME_END)?;
            let mut value = None;
            if encoded.get(end) == Some(&b'=') {
                let (span, value_end) = self.decode(encoded, end + 1, PAIR_END)?;
                (value, end) = (Some(span), value_end);
            }
            if end > start {
                self.assign(name, value)?;
            }
            at = end + 1;
        }
        Ok(())
    }

    /// Adds one pair as it is (a part of a multipart body).
    ///
    /// # Errors
    /// See [`FormError`]; what was added before the error stays.
    pub fn push_pair(&mut self, name: &[u8], value: &[u8]) -> Result<(), FormError> {
        if self.bytes.len() + name.len() + value.len() > BYTES_MAX {
            return Err(FormError::TooLarge);
        }
        self.add_parameters(1)?;
        let name = self.append(|bytes| bytes.extend_from_slice(name));
        let value = self.append(|bytes| bytes.extend_from_slice(value));
        self.assign(name, Some(value))
    }

    /// The form.
    #[must_use]
    pub fn finish(self) -> Form {
        let (text, utf8) = match String::from_utf8(self.bytes) {
            Ok(text) => (text, true),
            Err(error) => (mask(error.into_bytes()), false),
        };
        Form { text, utf8, nodes: self.nodes, root: self.root }
    }

    fn add_parameters(&mut self, count: usize) -> Result<(), FormError> {
        self.parameters += count;
        if self.parameters > PARAMETERS_MAX { Err(FormError::TooMany(self.parameters)) } else { Ok(()) }
    }

    /// Appends something to the buffer and a separator after it: without one, two halves of a character in
    /// neighbouring values would pass as valid UTF-8.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let at = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let start = at(self.bytes.len());
        write(&mut self.bytes);
        let end = at(self.bytes.len());
        self.bytes.push(0);
        Span { start, end }
    }

    /// Appends the component that begins at `at`, with its escapes resolved. It ends before the first byte of the
    /// class `ends`; where that is, is returned too.
    fn decode(&mut self, encoded: &[u8], at: usize, ends: u8) -> Result<(Span, usize), FormError> {
        let mut end = Ok(at);
        let span = self.append(|bytes| end = unescape(encoded, at, ends, bytes));
        match end {
            Ok(end) => Ok((span, end)),
            Err(BadEscape) => {
                let component = &encoded[at..at + run(&encoded[at..], ends)];
                let shown = &component[..component.len().min(ECHO_MAX)];
                Err(FormError::BadEscape(String::from_utf8_lossy(shown).into_owned()))
            }
        }
    }

    /// Puts a value where its name says.
    fn assign(&mut self, name: Span, value: Option<Span>) -> Result<(), FormError> {
        let content = value.map_or(Content::Nil, Content::Text);
        let mut at = Place { node: NONE, takes_over: true };
        let mut rest = name;
        for _ in 0..DEPTH_MAX {
            let (key, after) = split_name(&self.bytes[rest.range()]);
            let (key, after) = (rest.part(key.start, key.end), rest.part(after, usize::MAX));
            if key.start == key.end {
                self.assign_nowhere(at, rest, value);
                return Ok(());
            }
            match &self.bytes[after.range()] {
                b"" | b"[" => {
                    let whole = if after.start == after.end { key } else { rest };
                    self.set(at.node, whole, content);
                    return Ok(());
                }
                [b'[', b']', below @ ..] => {
                    let ends = below.is_empty();
                    let list = self.set_list(at.node, key)?;
                    if !self.keeps_lists {
                        return Ok(());
                    }
                    if ends {
                        self.add_element(list, content);
                        return Ok(());
                    }
                    rest = after.part(2, usize::MAX);
                    at = self.element(list, rest);
                }
                _ => {
                    at = Place { node: self.set_hash(at.node, key)?, takes_over: true };
                    rest = after;
                }
            }
        }
        Err(FormError::Shape)
    }

    /// A name of nothing but brackets, `rest`. Rack's odd way to say that there is no such place: `usage[[]]=1` leaves no
    /// usage at all, and `a[][]=1` a list in the list.
    fn assign_nowhere(&mut self, at: Place, rest: Span, value: Option<Span>) {
        let Some(node) = self.nodes.get_mut(at.node as usize).filter(|_| at.takes_over) else { return };
        node.content = Content::Nil;
        if let (b"[]", Some(value)) = (&self.bytes[rest.range()], value) {
            node.content = Content::List(NO_CHILDREN);
            self.add_element(at.node, Content::Text(value));
        }
    }

    fn set(&mut self, parent: u32, name: Span, content: Content) {
        let node = self.find_or_add(parent, name);
        self.nodes[node as usize].content = content;
    }

    fn set_list(&mut self, parent: u32, name: Span) -> Result<u32, FormError> {
        let node = self.find_or_add(parent, name);
        let content = &mut self.nodes[node as usize].content;
        match content {
            Content::Nil => *content = Content::List(NO_CHILDREN),
            Content::List(_) => {}
            Content::Text(_) | Content::Hash(_) => return Err(FormError::Shape),
        }
        Ok(node)
    }

    fn set_hash(&mut self, parent: u32, name: Span) -> Result<u32, FormError> {
        let node = self.find_or_add(parent, name);
        let content = &mut self.nodes[node as usize].content;
        match content {
            Content::Nil => *content = Content::Hash(NO_CHILDREN),
            Content::Hash(_) => {}
            Content::Text(_) | Content::List(_) => return Err(FormError::Shape),
        }
        Ok(node)
    }

    /// The element of a list that `rest` says something of: the last, or a new one if that is no hash or has it already.
    fn element(&mut self, list: u32, rest: Span) -> Place {
        let last = self.children(list).last;
        let is_hash = matches!(self.nodes.get(last as usize), Some(Node { content: Content::Hash(_), .. }));
        if is_hash && !self.has(last, rest) {
            return Place { node: last, takes_over: false };
        }
        Place { node: self.add_element(list, Content::Hash(NO_CHILDREN)), takes_over: true }
    }

    /// Whether there is something below `hash` at the place that `rest` names.
    fn has(&self, hash: u32, rest: Span) -> bool {
        let bytes = &self.bytes[rest.range()];
        if memchr::memmem::find(bytes, b"[]").is_some() {
            return false;
        }
        let (mut node, mut at) = (hash, 0);
        while at < bytes.len() {
            let start = at + bytes[at..].iter().take_while(|byte| matches!(byte, b'[' | b']')).count();
            at = start + bytes[start..].iter().take_while(|byte| !matches!(byte, b'[' | b']')).count();
            if at > start {
                let parent = self.nodes.get(node as usize);
                let is_hash = parent.is_some_and(|it| matches!(it.content, Content::Hash(_)));
                match self.find(node, rest.part(start, at)).filter(|_| is_hash) {
                    Some(found) => node = found,
                    None => return false,
                }
            }
        }
        true
    }

    fn add_element(&mut self, list: u32, content: Content) -> u32 {
        let element = self.add(list, Span { start: 0, end: 0 });
        self.nodes[element as usize].content = content;
        element
    }

    fn find_or_add(&mut self, parent: u32, name: Span) -> u32 {
        if let Some(node) = self.find(parent, name) {
            return node;
        }
        let added = self.add(parent, name);
        self.add_to_index(parent, name, added);
        added
    }

    /// Adds a node without a value below another, as its last.
    fn add(&mut self, parent: u32, name: Span) -> u32 {
        let added = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(Node { name, content: Content::Nil, next: NONE });
        let mut children = self.children(parent);
        match self.nodes.get_mut(children.last as usize) {
            Some(last) => last.next = added,
            None => children.first = added,
        }
        children.last = added;
        match self.nodes.get_mut(parent as usize).map(|parent| &mut parent.content) {
            Some(Content::List(elements)) => *elements = children,
            Some(content) => *content = Content::Hash(children),
            None => self.root = children,
        }
        added
    }

    fn children(&self, parent: u32) -> Children {
        match self.nodes.get(parent as usize) {
            None => self.root,
            Some(Node { content: Content::Hash(children) | Content::List(children), .. }) => *children,
            Some(_) => NO_CHILDREN,
        }
    }

    fn find(&self, parent: u32, name: Span) -> Option<u32> {
        let name = &self.bytes[name.range()];
        let children = self.children(parent);
        let is_it =
            |node: u32| self.nodes.get(node as usize).is_some_and(|n| self.bytes[n.name.range()] == *name);
        if let Some(index) = &self.index {
            let node = *index.nodes.get(&index.hasher.hash_one((parent, name)))?;
            // Two names with one hash: next to impossible, and then the scan below is right. A hash whose
            // content was replaced by a text left its children in the index: the scan knows better too.
            if children.first != NONE && is_it(node) && children.first <= node {
                return Some(node);
            }
        }
        let mut at = children.first;
        while at != NONE {
            if is_it(at) {
                return Some(at);
            }
            at = self.nodes.get(at as usize).map_or(NONE, |node| node.next);
        }
        None
    }

    fn add_to_index(&mut self, parent: u32, name: Span, node: u32) {
        if self.parameters < INDEX_FROM {
            return;
        }
        if self.index.is_none() {
            self.build_index();
        }
        if let Some(index) = &mut self.index {
            let hash = index.hasher.hash_one((parent, &self.bytes[name.range()]));
            index.nodes.insert(hash, node);
        }
    }

    /// Indexes the nodes that were added before there was an index (none, unless parameters come one by one).
    fn build_index(&mut self) {
        let mut index = Index { hasher: RandomState::new(), nodes: HashMap::new() };
        let mut open = vec![(NONE, self.root.first)];
        while let Some((parent, at)) = open.pop() {
            let Some(node) = self.nodes.get(at as usize) else { continue };
            index.nodes.insert(index.hasher.hash_one((parent, &self.bytes[node.name.range()])), at);
            open.push((parent, node.next));
            if let Content::Hash(children) | Content::List(children) = node.content {
                open.push((at, children.first));
            }
        }
        self.index = Some(index);
    }
}

/// Splits a name into the key of this level and where the rest begins: `usage[hits]` into `usage` and `[hits]`,
/// and that, one level down, into `hits` and nothing.
///
/// Brackets only separate, however many there are, so `transactions[0]usage[hits]` nests like
/// `transactions[0][usage][hits]`: so does Rack 2.2, on which the original runs, and there are clients that
/// rely on it. A name of nothing but brackets has an empty key.
fn split_name(name: &[u8]) -> (Range<usize>, usize) {
    let start = name.iter().take_while(|byte| matches!(byte, b'[' | b']')).count();
    let end = start + name[start..].iter().take_while(|byte| !matches!(byte, b'[' | b']')).count();
    (start..end, end + name[end..].iter().take_while(|byte| **byte == b']').count())
}

/// Ends a pair.
const PAIR_END: u8 = 1;
/// Ends a name.
const NAME_END: u8 = 2;
/// Stands for another byte.
const ESCAPE: u8 = 4;

/// What each byte means. Names and values are short: looking bytes up one by one is faster than any search.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    classes[b'&' as usize] = PAIR_END;
    classes[b'=' as usize] = NAME_END;
    classes[b'%' as usize] = ESCAPE;
    classes[b'+' as usize] = ESCAPE;
    classes
};

/// How many bytes come before the first of one of `classes`.
fn run(bytes: &[u8], classes: u8) -> usize {
    bytes.iter().take_while(|byte| CLASSES[usize::from(**byte)] & classes == 0).count()
}

/// A `%` that two hexadecimal digits do not follow.
struct BadEscape;

/// Appends what stands at `at` with its escapes resolved, and returns where it ends.
fn unescape(encoded: &[u8], mut at: usize, ends: u8, bytes: &mut Vec<u8>) -> Result<usize, BadEscape> {
    let digit =
        |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    loop {
        let plain = run(&encoded[at..], ends | ESCAPE);
        bytes.extend_from_slice(&encoded[at..at + plain]);
        at += plain;
        match encoded.get(at) {
            Some(b'+') => {
                bytes.push(b' ');
                at += 1;
            }
            Some(b'%') => {
                let (Some(high), Some(low)) = (digit(encoded.get(at + 1)), digit(encoded.get(at + 2))) else {
                    return Err(BadEscape);
                };
                bytes.push(high << 4 | low);
                at += 3;
            }
            _ => return Ok(at),
        }
    }
}

/// Replaces each byte that is no UTF-8, so that places in the text stay where they were.
fn mask(mut bytes: Vec<u8>) -> String {
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&bytes[from..]) {
        from += error.valid_up_to();
        bytes[from] = b'?';
        from += 1;
    }
    String::from_utf8(bytes).unwrap_or_default()
}
