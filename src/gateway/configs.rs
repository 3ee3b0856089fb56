//! Configurations by port: asked for, and kept as long as they are known to be the newest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;

use super::answer::Answer;
use super::content::Content;
use super::{Node, PRODUCTION_KEPT};

/// What is known of the ports. There is an entry for each port that was called, so as many as there are ports at most.
#[derive(Debug)]
pub(super) struct Configs {
    node: Arc<Node>,
    known: Mutex<HashMap<u16, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    etag: Option<String>,
    asked: Instant,
    content: Arc<Content>,
}

impl Configs {
    pub(super) fn new(node: Arc<Node>) -> Configs {
        Configs { node, known: Mutex::default() }
    }

    /// The configuration of a port.
    ///
    /// # Errors
    /// What is answered without one.
    pub(super) fn of(&self, port: u16) -> Result<Arc<Content>, Answer> {
        let known = self.known.lock().get(&port).cloned();
        if let Some(known) = &known
            && known.content.environment == "production"
            && known.asked.elapsed() < PRODUCTION_KEPT
        {
            return Ok(Arc::clone(&known.content));
        }
        // Not under the lock: calls of other ports do not wait for it.
        let asked = Instant::now();
        let etag = known.as_ref().and_then(|known| known.etag.as_deref());
        let answer = self.node.ask(&format!("gateway/{port}"), etag);
        let answer = answer.map_err(|error| {
            Answer::said(503, format!("The node does not tell its configuration: {error}"))
        })?;
        let known = match (answer.status, known) {
            (304, Some(known)) => Known { asked, ..known },
            (200, _) => {
                let etag = answer.header("etag").map(str::to_owned);
                Known { etag, asked, content: Arc::new(content(&answer.body)?) }
            }
            (404, _) => {
                self.known.lock().remove(&port);
                return Err(Answer::said(404, "No service has this port"));
            }
            (status, _) => {
                return Err(Answer::said(
                    503,
                    format!("The node does not tell its configuration: it answers {status}"),
                ));
            }
        };
        let content = Arc::clone(&known.content);
        self.known.lock().insert(port, known);
        Ok(content)
    }
}

fn content(body: &[u8]) -> Result<Content, Answer> {
    let bad = |error: String| Answer::said(503, format!("The configuration cannot be read: {error}"));
    let mut shown: Value = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    let config = shown["gateway_port"]["proxy_config"].take();
    if config.is_null() {
        let environment = shown["gateway_port"]["environment"].as_str().unwrap_or_default();
        let how = if environment == "sandbox" { "deploy its proxy" } else { "promote one of the sandbox" };
        return Err(Answer::said(
            404,
            format!("The service has no configuration of {environment} yet: {how}"),
        ));
    }
    Content::read(config).map_err(bad)
}
