//! XML as 3scale's admin API writes it: elements with text or elements, no mixed content.

use std::fmt::Write;

/// An element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Element {
    name: String,
    attributes: Vec<(&'static str, String)>,
    content: Content,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Content {
    Text(String),
    Elements(Vec<Element>),
    /// Elements, as they are written.
    Written(String),
}

impl Element {
    /// An element of elements, none so far.
    #[must_use]
    pub(super) fn new(name: &str) -> Element {
        Element { name: name.to_owned(), attributes: Vec::new(), content: Content::Elements(Vec::new()) }
    }

    /// An element with a text; an empty one without any.
    #[must_use]
    pub(super) fn text(name: &str, text: impl ToString) -> Element {
        Element { content: Content::Text(text.to_string()), ..Element::new(name) }
    }

    /// An element of elements that are written already.
    #[must_use]
    pub(super) fn written(name: &str, elements: String) -> Element {
        Element { content: Content::Written(elements), ..Element::new(name) }
    }

    /// The same with an attribute.
    #[must_use]
    pub(super) fn attribute(mut self, name: &'static str, value: impl ToString) -> Element {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// The same with an element more.
    #[must_use]
    pub(super) fn with(mut self, element: Element) -> Element {
        self.push(element);
        self
    }

    /// The same with an element more that has a text.
    #[must_use]
    pub(super) fn field(self, name: &str, text: impl ToString) -> Element {
        self.with(Element::text(name, text))
    }

    /// As [`Element::field`]; nothing is an empty element.
    #[must_use]
    pub(super) fn optional(self, name: &str, text: Option<impl ToString>) -> Element {
        self.field(name, text.map(|text| text.to_string()).unwrap_or_default())
    }

    /// Adds an element. One that has a text, or what was written, loses it.
    pub(super) fn push(&mut self, element: Element) {
        match &mut self.content {
            Content::Elements(elements) => elements.push(element),
            Content::Text(_) | Content::Written(_) => self.content = Content::Elements(vec![element]),
        }
    }

    /// A document with this element.
    #[must_use]
    pub(super) fn document(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.write(&mut out);
        out.push('\n');
        out
    }

    /// Writes it behind what is there.
    pub(super) fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (name, value) in &self.attributes {
            // Only a formatter of the value could fail.
            let _ = write!(out, " {name}=\"");
            escape(out, value);
            out.push('"');
        }
        let is_empty = match &self.content {
            Content::Text(text) | Content::Written(text) => text.is_empty(),
            Content::Elements(elements) => elements.is_empty(),
        };
        if is_empty {
            out.push_str("/>");
            return;
        }
        out.push('>');
        match &self.content {
            Content::Text(text) => escape(out, text),
            Content::Written(elements) => out.push_str(elements),
            Content::Elements(elements) => elements.iter().for_each(|element| element.write(out)),
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}

/// Characters that XML has no way to say are left out.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(character),
            '\u{fffe}' | '\u{ffff}' => {}
            control if control.is_control() && control < ' ' => {}
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_reserves_is_escaped_and_nothing_is_an_empty_element() {
        let plan = Element::new("plan")
            .attribute("custom", "a\"b")
            .field("name", "<&>\u{1}\u{e9}")
            .field("type", "");
        assert_eq!(
            plan.document(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plan custom=\"a&quot;b\"><name>&lt;&amp;&gt;\u{e9}</name><type/></plan>\n"
        );
    }
}
