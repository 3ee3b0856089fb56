//! Which mapping rules a call would match, and what it would count: a dry run. `/services/{id}/proxy/match?method=&path=`.
//!
//! By the rules as they are now, deployed or not. Nothing is counted, and who calls does not matter.

use serde_json::{Map, Value, json};

use super::answer::{Entity, Errors, Outcome, Refusal, Reply};
use super::auth::{Access, Section};
use super::backend_usages;
use super::context::Context;
use super::mapping_rules::Of;
use super::proxy_content::{self, Placed};
use super::routes::{Formats, GET, Route};
use super::xml::Element;
use crate::rules::{self, Parameters, Path, Pattern, Rule, Rules};

pub(super) const ROUTES: &[Route] =
    &[Route::new(GET, "services/{service_id}/proxy/match", Access::section(Section::Plans), show)
        .in_formats(Formats::JsonOnly)];

fn show(context: &Context<'_>) -> Outcome {
    let moment = context.look()?;
    let seen = moment.seen();
    let service = seen.service(context.id(0)?)?;
    let fields = context.request.parameters();
    let method = fields.filled("method").map_or_else(|| "GET".to_owned(), |method| method.to_uppercase());
    let target = fields.needed("path")?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let bad = |error: rules::PathError| Refusal::from(Errors::of("path", error.to_string()));
    let path = Path::parse(path.as_bytes()).map_err(bad)?;
    let parameters = Parameters::parse(query.as_bytes()).map_err(bad)?;
    let used = backend_usages::of_service(service.id.0, seen.records)?;
    let (placed, compiled) = compiled(proxy_content::placed(seen.records, service, &used)?)?;
    let paths: Vec<_> =
        used.iter().filter_map(|it| Some((Path::parse(it.path.as_bytes()).ok()?, it))).collect();
    let backend = rules::innermost(paths.iter().map(|(path, used)| (path, used.backend)), &path);
    let backend = backend.map(|(backend, _)| backend);
    let matched: Vec<_> =
        compiled.find(&method, &path, &parameters).into_iter().map(|at| &placed[at]).collect();
    let matched: Vec<_> = matched.into_iter().filter(|it| rules::counts_at(it.backend(), backend)).collect();
    let counted = matched.iter().map(|it| (it.metric, it.rule.delta.unsigned_abs()));
    let usage: Map<_, _> = rules::usage(counted)
        .into_iter()
        .map(|(metric, sum)| (metric.to_owned(), Value::from(sum)))
        .collect();
    let json = json!({
        "http_method": method,
        "path": path.render(),
        "backend_id": backend,
        "rules": matched.into_iter().map(shown).collect::<Vec<_>>(),
        "usage": usage,
    });
    Ok(Reply::one(Entity { wrapper: "match", json, xml: Element::new("match") }))
}

impl Placed<'_> {
    /// The backend API whose rule it is, if it is one's.
    fn backend(&self) -> Option<u64> {
        (self.rule.of == Of::Backend).then_some(self.rule.owner)
    }
}

/// The rules with what finds them by their place. Patterns that are none, of which older nodes may have left some, match nothing.
fn compiled(placed: Vec<Placed<'_>>) -> Result<(Vec<Placed<'_>>, Rules), Refusal> {
    let parsed = placed.into_iter().filter_map(|placed| {
        let pattern = Pattern::parse(&placed.pattern).ok()?;
        let rule = Rule { method: placed.rule.http_method.clone(), pattern, last: placed.rule.last };
        Some((placed, rule))
    });
    let (placed, rules): (Vec<_>, Vec<_>) = parsed.unzip();
    let compiled = Rules::compile(rules).map_err(|error| Errors::of("base", error.to_string()))?;
    Ok((placed, compiled))
}

fn shown(placed: &Placed<'_>) -> Value {
    let Placed { id, rule, pattern, metric } = placed;
    json!({
        "id": id,
        "http_method": rule.http_method,
        "pattern": pattern,
        "metric_id": rule.metric,
        "metric_system_name": metric,
        "delta": rule.delta,
        "position": rule.position,
        "last": rule.last,
        "owner_id": rule.owner,
        "owner_type": placed.owner_type(),
    })
}
