//! `/services/:s/metrics/:id`: what is counted.

use serde_json::{Value, json};

use super::Api;
use super::answer::{Outcome, Refusal, Reply};
use super::call::{Call, Verb};
use super::json::{JsonError, Object};
use super::records::{Records, metric_text};
use crate::model::draft::Draft;
use crate::model::id::{MetricId, ServiceId};
use crate::model::metric::Metric;
use crate::model::record::Service;

pub(super) fn answer(api: &Api, call: &Call, service: &str, id: &str) -> Outcome {
    match call.verb {
        Verb::Get => {
            let records = api.records();
            let service = records.service(service)?;
            let metric = service.metrics.by_text(id).ok_or(Refusal::NotFound("metric"))?;
            Ok(Reply::ok(json!({"status": "found", "metric": shown(service, metric)})))
        }
        Verb::Post | Verb::Put => {
            let attributes = Attributes::read(&call.body.object("metric")?)?;
            api.change(|draft| {
                let service = Records::service(draft, service)?.id;
                save(draft, service, id, &attributes)?;
                let service = draft.catalog().services.get(service.0).ok_or(Refusal::NotFound("service"))?;
                let metric = service.metrics.by_text(id).ok_or(Refusal::NotFound("metric"))?;
                let metric = shown(service, metric);
                Ok(match call.verb {
                    Verb::Post => Reply::created(json!({"status": "created", "metric": metric})),
                    _ => Reply::ok(json!({"status": "modified", "metric": metric})),
                })
            })
        }
        Verb::Delete => api.change(|draft| {
            let service = Records::service(draft, service)?;
            let metric = service.metrics.by_text(id).ok_or(Refusal::NotFound("metric"))?;
            // The original leaves methods behind, below a metric that is gone; here they stand for themselves then.
            let below = service.metrics.children(metric.slot).into_iter();
            let below: Vec<_> = below.map(|it| (it.id, it.name.clone())).collect();
            let (service, metric) = (service.id, metric.id);
            for (method, name) in below {
                draft.edit_metric(service, method, &name, None)?;
            }
            draft.delete_metric(service, metric)?;
            Ok(Reply::deleted())
        }),
    }
}

/// What a body says of a metric; absent attributes stay as they are.
struct Attributes {
    name: Option<String>,
    parent: Option<String>,
}

impl Attributes {
    fn read(body: &Object) -> Result<Attributes, Refusal> {
        Ok(Attributes { name: body.text("name")?, parent: body.text("parent_id")? })
    }
}

fn save(
    draft: &mut Draft<'_>,
    service: ServiceId,
    text: &str,
    attributes: &Attributes,
) -> Result<(), Refusal> {
    let record = draft.catalog().services.get(service.0).ok_or(Refusal::NotFound("service"))?;
    let metrics = &record.metrics;
    let parent = match &attributes.parent {
        Some(text) => Some(metrics.by_text(text).ok_or(Refusal::NotFound("parent metric"))?.id),
        None => None,
    };
    let known = metrics.by_text(text).map(|metric| {
        let above: Option<MetricId> = metric.parent.and_then(|slot| Some(metrics.get(slot)?.id));
        (metric.id, metric.name.clone(), above)
    });
    match known {
        Some((id, name, above)) => {
            let name = attributes.name.as_deref().unwrap_or(&name);
            draft.edit_metric(service, id, name, parent.or(above))?;
        }
        None => {
            let name = attributes.name.as_deref().ok_or(JsonError::Missing("name"))?;
            draft.create_external_metric(service, text, name, parent)?;
        }
    }
    Ok(())
}

fn shown(service: &Service, metric: &Metric) -> Value {
    json!({
        "service_id": service.text(),
        "id": metric_text(metric),
        "parent_id": metric.parent.and_then(|slot| service.metrics.get(slot)).map(metric_text),
        "name": metric.name,
    })
}
