//! OpenAPI 3 descriptions as parts of documents: a method and a mapping rule for each operation.
//!
//! - A method is called as its `operationId`, or as verb and path if there is none; other characters than a system name may have become `_`.
//! - A rule's pattern is the path of the first of `servers` and the path of the operation, and ends there (`$`). Parameters of paths are `{name}`.
//! - As OpenAPI has it, an operation without parameters in its path goes before one with: rules come in that order, and each is the last that is tried.
//! - `$ref` is followed within the description, [`HOPS_MAX`] times at most; nothing else is fetched.
//!
//! The rules of the service become these; its other metrics and methods stay.

use std::collections::HashSet;

use super::node::{Content, Entry, Node, PROBLEMS_MAX, parse};
use super::problem::{Path, Problem};
use super::types::{Document, MappingRule, Method, Metric, Service};

/// How often a reference may lead to another.
pub const HOPS_MAX: usize = 16;
/// The most operations of a description: as many rules as a service may have.
pub const OPERATIONS_MAX: usize = 2000;

const VERBS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// A description as the part of a document that says of a service what it describes.
///
/// # Errors
/// It is no OpenAPI 3, or what of it cannot be read; with places.
pub fn fragment(text: &str, service: &str) -> Result<Document, Vec<Problem>> {
    let (node, problems) = parse(text).map_err(|problem| vec![problem])?;
    let mut reading = Reading { root: &node, problems, operations: Vec::new() };
    reading.description();
    let Reading { mut problems, mut operations, .. } = reading;
    if !problems.is_empty() {
        problems.sort();
        problems.truncate(PROBLEMS_MAX);
        return Err(problems);
    }
    // Stable: what is equally concrete stays in the order of the description.
    operations.sort_by_key(|it| it.concreteness());
    let mut names = Names::default();
    let (mut methods, mut rules) = (Vec::new(), Vec::new());
    for operation in operations {
        let name = names.system_name(operation.name());
        rules.push(MappingRule {
            http_method: operation.verb.to_uppercase(),
            pattern: operation.pattern(),
            metric: name.clone(),
            delta: Some(1),
            last: Some(true),
            redirect_url: None,
        });
        methods.push(Method {
            system_name: name,
            friendly_name: Some(names.friendly_name(&operation)),
            description: Some(operation.summary),
        });
    }
    let hits = Metric { system_name: "hits".to_owned(), methods: Some(methods), ..Metric::default() };
    let service = Service {
        system_name: service.to_owned(),
        metrics: Some(vec![hits]),
        mapping_rules: Some(rules),
        ..Service::default()
    };
    let mut document = Document { services: Some(vec![service]), ..Document::empty() };
    document.make_canonical();
    Ok(document)
}

/// An operation of a description.
struct Operation {
    verb: &'static str,
    /// With what lies before it.
    path: String,
    id: Option<String>,
    summary: String,
}

impl Operation {
    fn name(&self) -> String {
        self.id.clone().unwrap_or_else(|| format!("{}{}", self.verb, self.path.replace('/', "_")))
    }

    /// Of each segment, whether it is a parameter.
    fn concreteness(&self) -> Vec<bool> {
        self.path.split('/').map(|segment| segment.contains('{')).collect()
    }

    /// Parameters are words there.
    fn pattern(&self) -> String {
        let mut pattern = String::new();
        let mut is_inside = false;
        for it in self.path.chars() {
            match it {
                '{' => is_inside = true,
                '}' => is_inside = false,
                _ => {}
            }
            let is_word = it.is_ascii_alphanumeric() || matches!(it, '_' | '{' | '}');
            pattern.push(if is_inside && !is_word { '_' } else { it });
        }
        pattern.push('$');
        pattern
    }
}

/// Names that are given. Names that differ in case only are one.
#[derive(Default)]
struct Names {
    system: HashSet<String>,
    friendly: HashSet<String>,
}

impl Names {
    fn system_name(&mut self, wanted: String) -> String {
        let is_good = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-');
        let clean: String = wanted.chars().map(|it| if is_good(it) { it } else { '_' }).take(200).collect();
        let clean = clean.trim_start_matches('-').trim_end_matches('_').to_owned();
        let clean = if clean.len() < 2 || clean == "hits" { format!("method_{clean}") } else { clean };
        free(&mut self.system, clean, "_")
    }

    fn friendly_name(&mut self, operation: &Operation) -> String {
        let verb = operation.verb.to_uppercase();
        let wanted = operation.id.clone().unwrap_or_else(|| format!("{verb} {}", operation.path));
        let wanted: String = wanted.chars().filter(|it| !it.is_control()).take(60).collect();
        free(
            &mut self.friendly,
            if wanted.eq_ignore_ascii_case("hits") { format!("{verb} hits") } else { wanted },
            " ",
        )
    }
}

/// A name that nobody has: the wanted one, or one with a number.
fn free(taken: &mut HashSet<String>, wanted: String, between: &str) -> String {
    let mut name = wanted.clone();
    let mut number = 2;
    while !taken.insert(name.to_lowercase()) {
        name = format!("{wanted}{between}{number}");
        number += 1;
    }
    name
}

struct Reading<'n> {
    root: &'n Node,
    problems: Vec<Problem>,
    operations: Vec<Operation>,
}

impl<'n> Reading<'n> {
    fn tell(&mut self, node: &Node, path: &Path, problem: impl Into<String>) {
        let problem = problem.into();
        self.problems.push(Problem { spot: Some(node.spot), path: path.to_string(), problem });
    }

    fn description(&mut self) {
        let (root, path) = (self.root, Path::default());
        let version = root.get("openapi");
        let is_3 = version.is_some_and(
            |it| matches!(&it.content, Content::Text(it) | Content::Number(it) if it.starts_with("3.")),
        );
        if !is_3 {
            return self.tell(
                version.unwrap_or(root),
                &path.key("openapi"),
                "this is no OpenAPI 3: openapi must be 3.x",
            );
        }
        let base = self.base_path();
        let Some(paths) = root.get("paths") else { return };
        let path = path.key("paths");
        let Content::Record(entries) = &paths.content else {
            return self.tell(paths, &path, "must be a record");
        };
        for Entry { key, value, .. } in entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
            let own = path.key(key);
            if !key.starts_with('/') {
                self.tell(value, &own, "a path must begin with a slash");
            } else if let Some(item) = self.resolved(value, &own) {
                self.item(item, &own, &format!("{base}{key}"));
            }
        }
    }

    /// What lies before all paths: the path of the first server, without a slash at its end.
    fn base_path(&self) -> String {
        let servers = self.root.get("servers").map(|it| &it.content);
        let Some(Content::List(servers)) = servers else { return String::new() };
        let Some(server) = servers.first() else { return String::new() };
        let Some(Content::Text(url)) = server.get("url").map(|it| &it.content) else { return String::new() };
        let default = |name: &str| match &server.get("variables")?.get(name)?.get("default")?.content {
            Content::Text(text) | Content::Number(text) => Some(text.as_str()),
            _ => None,
        };
        let mut whole = String::new();
        let mut rest = url.as_str();
        // Each brace once: what stands for one is taken as it is, braces and all.
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else { break };
            whole.push_str(before);
            whole.push_str(default(name).unwrap_or_default());
            rest = after;
        }
        whole.push_str(rest);
        let url = whole;
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
            None => url.as_str(),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        if path.is_empty() { String::new() } else { format!("/{path}") }
    }

    fn item(&mut self, item: &'n Node, path: &Path, full: &str) {
        for verb in VERBS {
            let Some(operation) = item.get(verb) else { continue };
            let own = path.key(verb);
            let Some(operation) = self.resolved(operation, &own) else { continue };
            let text = |key: &str| match operation.get(key).map(|it| &it.content) {
                Some(Content::Text(text)) => Some(text.clone()),
                _ => None,
            };
            if self.operations.len() >= OPERATIONS_MAX {
                let problem = format!("there are more than {OPERATIONS_MAX} operations");
                return self.tell(operation, &own, problem);
            }
            let id = text("operationId").filter(|it| !it.trim().is_empty());
            let summary = text("summary").unwrap_or_default().chars().take(1000).collect();
            self.operations.push(Operation { verb, path: full.to_owned(), id, summary });
        }
    }

    /// What a reference leads to, or the node itself.
    fn resolved(&mut self, node: &'n Node, path: &Path) -> Option<&'n Node> {
        let mut found = node;
        for _ in 0..=HOPS_MAX {
            let Some(reference) = found.get("$ref") else { return Some(found) };
            let Content::Text(text) = &reference.content else {
                self.tell(reference, path, "$ref must be a text");
                return None;
            };
            let Some(pointer) = text.strip_prefix('#') else {
                self.tell(
                    reference,
                    path,
                    format!("'{text}' leads out of this description, which is not followed"),
                );
                return None;
            };
            let Some(next) = self.at(pointer) else {
                self.tell(reference, path, format!("'{text}' leads to nothing"));
                return None;
            };
            found = next;
        }
        self.tell(node, path, format!("references lead to references more than {HOPS_MAX} times"));
        None
    }

    fn at(&self, pointer: &str) -> Option<&'n Node> {
        let mut node = self.root;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            node = match &node.content {
                Content::List(items) => items.get(part.parse::<usize>().ok()?)?,
                _ => node.get(&part)?,
            };
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests;
