//! The checks that come before the limits, in the order of the Service Management API. They read the catalog only.

use super::request::{AuthRequest, Call, Redirect};
use super::resolve::Case;
use crate::model::decision::Denial;
use crate::model::record::{Application, BackendVersion, Secret, Service, ServiceState};

/// Whether a decision depends on more of the application than its [`Facts`] tell.
///
/// [`Facts`]: crate::counter::Facts
pub(super) fn reads_application(request: &AuthRequest<'_>, service: &Service) -> bool {
    let by_more_than_key = request.oauth || service.backend_version != BackendVersion::UserKey;
    request.call != Call::Check && (by_more_than_key || service.referrer_filters_required)
}

/// The first reason, other than limits, for which `request` may not go ahead.
pub(super) fn denial<'r>(request: &AuthRequest<'r>, case: &Case<'_>) -> Option<Denial<'r>> {
    if request.call == Call::Check {
        return None;
    }
    let service = case.service;
    let oauth_enabled = service.backend_version == BackendVersion::Oauth;
    if request.oauth && !oauth_enabled {
        return Some(Denial::OauthNotEnabled);
    }
    case.application
        .and_then(|application| {
            check_key(request.app_key, service.backend_version, application)
                .or_else(|| if request.oauth { check_redirect(request, application) } else { None })
                .or_else(|| check_referrer(request.referrer, service, application))
        })
        .or_else(|| check_states(case))
}

/// As [`denial`], for a call of an application whose credentials were checked when it was bound.
pub(super) fn denial_when_bound<'r>(referrer: Option<&'r str>, case: &Case<'_>) -> Option<Denial<'r>> {
    let application = case.application;
    application
        .and_then(|application| check_referrer(referrer, case.service, application))
        .or_else(|| check_states(case))
}

fn check_states<'r>(case: &Case<'_>) -> Option<Denial<'r>> {
    if !case.facts.is_active() {
        return Some(Denial::ApplicationNotActive);
    }
    (case.service.state != ServiceState::Active).then_some(Denial::ServiceNotActive)
}

/// Whether the key that a call brings is one of the application's, if it must be.
pub(super) fn check_key<'r>(
    key: Option<&'r str>,
    version: BackendVersion,
    application: &Application,
) -> Option<Denial<'r>> {
    let needed = match version {
        BackendVersion::UserKey => false,
        BackendVersion::AppId => !application.app_keys.is_empty(),
        BackendVersion::Oauth => key.is_some(),
    };
    if !needed {
        return None;
    }
    let key = key.filter(|key| !key.is_empty());
    // Every key is compared, so the time says nothing about which of them came close.
    let matches = |own: &Secret| key.is_some_and(|key| own.matches(key));
    let known = application.app_keys.iter().fold(false, |known, own| known | matches(own));
    (!known).then_some(Denial::ApplicationKeyInvalid(key))
}

fn check_redirect<'r>(request: &AuthRequest<'r>, application: &Application) -> Option<Denial<'r>> {
    let own = application.redirect_url.as_deref();
    match request.redirect {
        Some(Redirect::Uri(uri)) => (own != Some(uri)).then_some(Denial::RedirectUriInvalid(uri)),
        Some(Redirect::Url(url)) => (own != Some(url)).then_some(Denial::RedirectUrlInvalid(url)),
        None => None,
    }
}

fn check_referrer<'r>(
    referrer: Option<&'r str>,
    service: &Service,
    application: &Application,
) -> Option<Denial<'r>> {
    if !service.referrer_filters_required || application.referrer_filters.is_empty() {
        return None;
    }
    let Some(referrer) = referrer else { return Some(Denial::ReferrerNotAllowed(None)) };
    let allowed = referrer == "*"
        || application.referrer_filters.iter().any(|filter| matches(filter.as_bytes(), referrer.as_bytes()));
    (!allowed).then_some(Denial::ReferrerNotAllowed(Some(referrer)))
}

/// Whether `text` matches `filter` from end to end: `*` stands for any run of characters, all else for itself.
///
/// Greedy with one point to go back to, so the work is bounded by the product of the lengths.
fn matches(filter: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while from < text.len() {
        if filter.get(at) == Some(&b'*') {
            back = Some((at + 1, from));
            at += 1;
        } else if filter.get(at) == Some(&text[from]) {
            at += 1;
            from += 1;
        } else if let Some((star, start)) = back {
            // The run that the last `*` stands for must be one longer.
            back = Some((star, start + 1));
            (at, from) = (star, start + 1);
        } else {
            return false;
        }
    }
    filter[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn filters_are_anchored_and_only_stars_are_special() {
        for (filter, text, expected) in [
            ("example.org", "example.org", true),
            ("example.org", "www.example.org", false),
            ("example.org", "exampleXorg", false),
            ("*.example.org", "www.example.org", true),
            ("*.example.org", "example.org", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a**", "a", true),
            ("", "", true),
            ("", "a", false),
            ("Example.org", "example.org", false),
            ("*aab", "aaaaaaab", true),
        ] {
            assert_eq!(matches(filter.as_bytes(), text.as_bytes()), expected, "{filter} {text}");
        }
    }
}
