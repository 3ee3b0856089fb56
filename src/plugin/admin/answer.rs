//! What the areas answer, and how that is written in JSON and XML.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

pub(super) use super::refusal::{Errors, Refusal};
use super::times;
use super::xml::Element;
use crate::engine::Ticket;
use crate::plugin::call::Answer;

/// What a client wants to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(super) enum Format {
    Json,
    Xml,
}

/// A record as answers show it.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    /// What wraps it in JSON.
    pub(super) wrapper: &'static str,
    /// Its fields in JSON, in the order in which they are shown.
    pub(super) json: Value,
    /// The whole of it in XML, where the API has XML.
    pub(super) xml: Element,
}

/// What an answer in JSON links to: where, by what it is to the record.
pub(super) fn links<const N: usize>(links: [(&str, String); N]) -> Value {
    Value::from(links.map(|(rel, href)| json!({"rel": rel, "href": href})).to_vec())
}

/// The most bytes of records that a list has: each is held whole until it is sent, and a tenant may ask for several at once. Any
/// record is far shorter, so whoever asks for fewer a page gets them all.
const LIST_BYTES_MAX: usize = 32 << 20;

/// The same of lists that gateways load: they ask for pages of 500 whatever the answer, and serve nothing without it.
pub(super) const CONFIGS_BYTES_MAX: usize = 128 << 20;

/// Which part of a list is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Page {
    /// From 1.
    pub(super) number: usize,
    pub(super) per_page: usize,
    /// How many there are in all.
    pub(super) total: usize,
}

/// What a call is answered when it does what it is for.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    body: Body,
    location: Option<String>,
    durable: Option<Ticket>,
}

#[derive(Debug)]
enum Body {
    None,
    One(Box<Entity>),
    List {
        wrapper: &'static str,
        items: Vec<Entity>,
        page: Option<Page>,
    },
    /// A list whose records are written already.
    Written {
        wrapper: &'static str,
        records: String,
        page: Option<Page>,
    },
    /// A list in JSON without anything around it.
    Bare(Vec<Entity>),
    Json(Value),
    /// Lines of CSV, whatever the client wants.
    Csv(String),
    /// The same in both ways of writing.
    Both {
        json: Value,
        xml: Element,
    },
}

/// How a call ends.
pub(super) type Outcome = Result<Reply, Refusal>;

impl Reply {
    fn new(status: u16, body: Body) -> Reply {
        Reply { status, body, location: None, durable: None }
    }

    /// 200 with a record.
    pub(super) fn one(entity: Entity) -> Reply {
        Reply::new(200, Body::One(Box::new(entity)))
    }

    /// 201 with a record.
    pub(super) fn created(entity: Entity) -> Reply {
        Reply::new(201, Body::One(Box::new(entity)))
    }

    /// 200 with a list, of which `page` is shown if it is shown in pages.
    pub(super) fn list(wrapper: &'static str, items: Vec<Entity>, page: Option<Page>) -> Reply {
        Reply::new(200, Body::List { wrapper, items, page })
    }

    /// As [`Reply::list`], for long pages: each record is written as it comes, and let go.
    ///
    /// # Errors
    /// What is said of a record; or they are longer together than a list may be (413).
    pub(super) fn page(
        format: Format,
        wrapper: &'static str,
        items: impl Iterator<Item = Result<Entity, Refusal>>,
        page: Page,
    ) -> Outcome {
        Reply::page_of(format, wrapper, items, page, LIST_BYTES_MAX)
    }

    /// As [`Reply::page`], with a bound of its own.
    ///
    /// # Errors
    /// As there.
    pub(super) fn page_of(
        format: Format,
        wrapper: &'static str,
        items: impl Iterator<Item = Result<Entity, Refusal>>,
        page: Page,
        bytes_max: usize,
    ) -> Outcome {
        let records = written(items, format, bytes_max)?;
        Ok(Reply::new(200, Body::Written { wrapper, records, page: Some(page) }))
    }

    /// As [`Reply::page`] in JSON, for what writes itself.
    ///
    /// # Errors
    /// As there; or a record cannot be written: a defect.
    pub(super) fn page_in_json(
        (wrapper, each): (&'static str, &str),
        items: impl Iterator<Item = Result<impl Serialize, Refusal>>,
        page: Page,
    ) -> Outcome {
        let mut records = Vec::new();
        for item in items {
            let comma = if records.is_empty() { "" } else { "," };
            records.extend(format!("{comma}{{\"{each}\":").bytes());
            serde_json::to_writer(&mut records, &item?).map_err(unwritable)?;
            records.push(b'}');
            fits(records.len(), LIST_BYTES_MAX)?;
        }
        let records = String::from_utf8(records).map_err(unwritable)?;
        Ok(Reply::new(200, Body::Written { wrapper, records, page: Some(page) }))
    }

    /// 200 with a list in JSON without anything around it.
    pub(super) fn bare_list(items: Vec<Entity>) -> Reply {
        Reply::new(200, Body::Bare(items))
    }

    /// 200 without a body: what was asked to go is gone.
    pub(super) fn gone() -> Reply {
        Reply::new(200, Body::None)
    }

    /// JSON, whatever the client wants.
    pub(super) fn json(status: u16, body: Value) -> Reply {
        Reply::new(status, Body::Json(body))
    }

    /// 200 with lines of CSV.
    pub(super) fn csv(lines: String) -> Reply {
        Reply::new(200, Body::Csv(lines))
    }

    /// 201 in whichever way the client wants.
    pub(super) fn made(json: Value, xml: Element) -> Reply {
        Reply::new(201, Body::Both { json, xml })
    }

    /// 200 in whichever way the client wants.
    pub(super) fn written(json: Value, xml: Element) -> Reply {
        Reply::new(200, Body::Both { json, xml })
    }

    /// The same, where what was created is at this path.
    pub(super) fn at(self, location: String) -> Reply {
        Reply { location: Some(location), ..self }
    }

    /// The same, once what the ticket stands for is on disk.
    pub(super) fn once(self, ticket: Ticket) -> Reply {
        Reply { durable: Some(ticket), ..self }
    }

    /// What stands for what was done, until it is on disk.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        self.durable
    }

    /// The id of the one record that is shown.
    pub(super) fn id(&self) -> Option<u64> {
        match &self.body {
            Body::One(entity) => entity.json["id"].as_u64(),
            _ => None,
        }
    }

    /// The body, if it is JSON whatever the client wants.
    pub(super) fn into_json(self) -> Option<Value> {
        match self.body {
            Body::Json(body) => Some(body),
            _ => None,
        }
    }

    /// As it is sent.
    pub(super) fn into_answer(self, format: Format) -> Answer {
        let Reply { status, body, location, durable } = self;
        let last_modified = match &body {
            Body::One(entity) => entity.json["updated_at"].as_str().and_then(times::http),
            _ => None,
        };
        let answer = match body {
            Body::None => Answer::new(status, None, ""),
            Body::Json(body) => Answer::json(status, &body),
            Body::Csv(lines) => Answer::new(status, Some("text/csv; charset=utf-8"), lines),
            Body::Bare(items) => {
                let records = written_all(&items, Format::Json);
                Answer::new(status, Some(JSON), format!("[{records}]"))
            }
            Body::One(entity) => match format {
                Format::Json => Answer::new(status, Some(JSON), written_all([&*entity], Format::Json)),
                Format::Xml => xml(status, &entity.xml),
            },
            Body::List { wrapper, items, page } => list(wrapper, written_all(&items, format), page, format),
            Body::Written { wrapper, records, page } => list(wrapper, records, page, format),
            Body::Both { json, xml: element } => match format {
                Format::Json => Answer::json(status, &json),
                Format::Xml => xml(status, &element),
            },
        };
        Answer { location, durable, last_modified, ..answer }
    }
}

fn unwritable(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a record cannot be written as JSON");
    Refusal::Failed
}

const JSON: &str = "application/json; charset=utf-8";

pub(super) fn xml(status: u16, element: &Element) -> Answer {
    Answer::new(status, Some("application/xml; charset=utf-8"), element.document())
}

/// Writes a record behind others: in JSON in its wrapper, after a comma.
fn write_one(out: &mut String, entity: &Entity, format: Format) {
    match format {
        Format::Json => {
            let comma = if out.is_empty() { "" } else { "," };
            // Only a formatter of the value could fail.
            let _ = write!(out, "{comma}{{\"{}\":{}}}", entity.wrapper, entity.json);
        }
        Format::Xml => entity.xml.write(out),
    }
}

fn written_all<'e>(entities: impl IntoIterator<Item = &'e Entity>, format: Format) -> String {
    let mut out = String::new();
    entities.into_iter().for_each(|entity| write_one(&mut out, entity, format));
    out
}

fn written(
    entities: impl Iterator<Item = Result<Entity, Refusal>>,
    format: Format,
    bytes_max: usize,
) -> Result<String, Refusal> {
    let mut out = String::new();
    for entity in entities {
        write_one(&mut out, &entity?, format);
        fits(out.len(), bytes_max)?;
    }
    Ok(out)
}

fn fits(bytes: usize, bytes_max: usize) -> Result<(), Refusal> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Refusal::TooLarge(format!("the list is longer than {bytes_max} bytes: ask for fewer with per_page")))
}

/// Says of pages only if there is more than one: as the original does.
fn list(wrapper: &'static str, records: String, page: Option<Page>, format: Format) -> Answer {
    let page = page.filter(|page| page.per_page < page.total);
    let pages = |page: &Page| page.total.div_ceil(page.per_page);
    match format {
        Format::Json => {
            let mut body = format!("{{\"{wrapper}\":[{records}]");
            if let Some(page) = page {
                let metadata = json!({
                    "per_page": page.per_page,
                    "total_entries": page.total,
                    "total_pages": pages(&page),
                    "current_page": page.number,
                });
                let _ = write!(body, ",\"metadata\":{metadata}");
            }
            body.push('}');
            Answer::new(200, Some(JSON), body)
        }
        Format::Xml => {
            let mut root = Element::written(wrapper, records);
            if let Some(page) = page {
                root = root
                    .attribute("per_page", page.per_page)
                    .attribute("total_entries", page.total)
                    .attribute("total_pages", pages(&page))
                    .attribute("current_page", page.number);
            }
            xml(200, &root)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_so_many_bytes_and_no_more() {
        let one = Entity { wrapper: "it", json: json!({"id": 1}), xml: Element::text("it", 1) };
        for (format, bytes) in
            [(Format::Json, "{\"it\":{\"id\":1}},".len()), (Format::Xml, "<it>1</it>".len())]
        {
            let two = || [one.clone(), one.clone()].map(Ok).into_iter();
            let len = written(two(), format, usize::MAX).unwrap().len();
            assert_eq!(len, if format == Format::Json { 2 * bytes - 1 } else { 2 * bytes });
            assert!(written(two(), format, len).is_ok());
            assert!(matches!(written(two(), format, len - 1), Err(Refusal::TooLarge(_))));
        }
    }
}
