//! An application, as a gateway knows it: by credentials.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::codec::Fields;
use crate::policy::Share;

/// How an application is named.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Credentials {
    UserKey(String),
    AppId { id: String, key: Option<String> },
}

#[derive(Clone)]
struct Named {
    service: Option<String>,
    credentials: Credentials,
    shares: Vec<Share>,
}

/// An application: its credentials, and the service unless the connection is for one service alone. Cheap to clone.
/// `Debug` does not show keys.
#[derive(Clone)]
pub struct Application(Arc<Named>);

impl Application {
    fn new(credentials: Credentials) -> Application {
        Application(Arc::new(Named { service: None, credentials, shares: Vec::new() }))
    }

    /// By its user key: for services of backend version 1.
    #[must_use]
    pub fn user_key(key: impl Into<String>) -> Application {
        Application::new(Credentials::UserKey(key.into()))
    }

    /// By its id: for services of backend version 2 and OAuth.
    #[must_use]
    pub fn app_id(id: impl Into<String>) -> Application {
        Application::new(Credentials::AppId { id: id.into(), key: None })
    }

    /// By its id, with one of its keys.
    #[must_use]
    pub fn app_id_and_key(id: impl Into<String>, key: impl Into<String>) -> Application {
        Application::new(Credentials::AppId { id: id.into(), key: Some(key.into()) })
    }

    /// Names the service: needed where the client's access opens more than one.
    #[must_use]
    pub fn service(mut self, id: impl Into<String>) -> Application {
        Arc::make_mut(&mut self.0).service = Some(id.into());
        self
    }

    /// States what this client may admit by itself while the node is away, under
    /// [`Policy::LocalShare`](crate::Policy::LocalShare). One for each limit that matters; all of them must have room.
    #[must_use]
    pub fn share(mut self, share: Share) -> Application {
        Arc::make_mut(&mut self.0).shares.push(share);
        self
    }

    pub(crate) fn shares(&self) -> &[Share] {
        &self.0.shares
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        let service = self.0.service.as_deref();
        match &self.0.credentials {
            Credentials::UserKey(key) => Fields { service, user_key: Some(key), ..Fields::default() },
            Credentials::AppId { id, key } => {
                Fields { service, app_id: Some(id), app_key: key.as_deref(), ..Fields::default() }
            }
        }
    }
}

/// By service and credentials; shares make no difference.
impl PartialEq for Application {
    fn eq(&self, other: &Application) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.service == other.0.service && self.0.credentials == other.0.credentials)
    }
}

impl Eq for Application {}

impl Hash for Application {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.service.hash(state);
        self.0.credentials.hash(state);
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.0.service.as_deref().unwrap_or("-");
        match &self.0.credentials {
            Credentials::UserKey(_) => write!(f, "Application(service {service}, by user key)"),
            Credentials::AppId { id, .. } => write!(f, "Application(service {service}, {id})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn shares_do_not_make_another_application_of_it() {
        let plain = Application::user_key("k").service("1");
        let shared = plain.clone().share(Share::new("hits", 10, Duration::from_secs(60), 0.5));
        assert_eq!(plain, shared);
        assert_ne!(plain, Application::user_key("k").service("2"));
        assert_ne!(plain, Application::user_key("k"));
        assert_ne!(Application::app_id("k"), Application::app_id_and_key("k", ""));
    }

    #[test]
    fn keys_are_not_shown() {
        let shown =
            format!("{:?} {:?}", Application::user_key("hid"), Application::app_id_and_key("a", "hid"));
        assert!(!shown.contains("hid"), "{shown}");
    }
}
