//! Whether something that is taken away in the background is still there: `/objects/status`.

use super::answer::{Outcome, Refusal, Reply};
use super::auth::Access;
use super::backends;
use super::context::{Context, Seen};
use super::routes::{Formats, GET, Route};

pub(super) const ROUTES: &[Route] =
    &[Route::new(GET, "objects/status", Access::ADMINS, status).in_formats(Formats::JsonOnly)];

/// 200 without a body while the object is there, also one that is on its way out; 404 once it is gone.
fn status(context: &Context<'_>) -> Outcome {
    let parameters = context.request.parameters();
    let kind = parameters.needed("object_type")?;
    let id = parameters.needed("object_id")?.trim().parse().map_err(|_| Refusal::NotFound)?;
    let moment = context.look()?;
    let is_there = is_there(moment.seen(), &kind, id)?;
    if is_there { Ok(Reply::gone()) } else { Err(Refusal::NotFound) }
}

fn is_there(seen: Seen<'_>, kind: &str, id: u64) -> Result<bool, Refusal> {
    let tenant = seen.caller.tenant;
    Ok(match kind {
        // A proxy has its service's id.
        "service" | "proxy" => {
            let service = seen.catalog.services.get(id);
            service.is_some_and(|it| it.tenant == tenant && seen.caller.may_see(it.id))
        }
        "account" => id == tenant.0 || seen.account(id).is_ok(),
        "backend_api" => match backends::find(seen, id) {
            Err(Refusal::NotFound) => false,
            found => found.map(|_| true)?,
        },
        _ => return Err(Refusal::Forbidden),
    })
}
