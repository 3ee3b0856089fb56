//! One call, from its credentials to its answer.

use std::sync::Arc;

use super::answer::{Answer, Call};
use super::configs::Configs;
use super::content::Refused;
use super::credentials::{self, Method};
use super::decision::{self, Denied};
use super::upstream::{self, Upstream};
use super::{BODY_BYTES_MAX, GatewayError, Node, Options, UPSTREAM_TIMEOUT};
use crate::outgoing::{Http, Options as Outgoing, Reach, Roots};
use crate::rules::{self, Parameters, Path, PathError};

/// What calls pass through.
#[derive(Debug)]
pub(super) struct Passage {
    node: Arc<Node>,
    configs: Configs,
    private: Http,
    upstream: Upstream,
}

impl Passage {
    /// A passage to private APIs that are none of the gateway's own ports.
    pub(super) fn new(
        node: Node,
        options: &Options,
        own: &[std::net::SocketAddr],
    ) -> Result<Passage, GatewayError> {
        let node = Arc::new(node);
        let private = Http::new(Outgoing {
            reach: Reach::outside(own, options.allowed.clone()),
            timeout: UPSTREAM_TIMEOUT,
            body_bytes_max: BODY_BYTES_MAX,
            roots: Roots::Web,
        })?;
        Ok(Passage { configs: Configs::new(Arc::clone(&node)), node, private, upstream: options.upstream })
    }

    /// Answers a call. Blocks.
    pub(super) fn answer(&self, call: &Call) -> Answer {
        let content = match self.configs.of(call.port) {
            Ok(content) => content,
            Err(answer) => return answer,
        };
        let Some(method) = Method::of(&content.proxy) else {
            return Answer::said(
                501,
                "The test gateway does not do OpenID Connect; this service asks for it",
            );
        };
        let (path, parameters) = match read(call) {
            Ok(read) => read,
            Err(error) => return Answer::said(400, format!("Bad path: {error}")),
        };
        let Some(credentials) = credentials::find(method, &content.proxy, call) else {
            return content.refusal(Refused::Missing);
        };
        let matched = content.matched(&call.method, &path, &parameters);
        if matched.is_empty() {
            return content.refusal(Refused::NoMatch);
        }
        let usage = rules::usage(matched.iter().map(|rule| (rule.metric.as_str(), rule.delta)));
        match decision::ask(&self.node.http, &content, &credentials, &usage) {
            Ok(()) => {}
            Err(Denied::Refused(refused)) => return content.refusal(refused),
            Err(Denied::Unknown(why)) => return Answer::said(503, format!("No decision: {why}")),
        }
        match self.upstream {
            Upstream::Proxy => upstream::proxy(&self.private, &content, call, &path),
            Upstream::Echo => {
                let patterns: Vec<_> = matched.iter().map(|rule| rule.pattern.as_str()).collect();
                upstream::echo(&content, call, &path, &usage, &patterns)
            }
        }
    }
}

fn read(call: &Call) -> Result<(Path, Parameters), PathError> {
    let path = Path::parse(call.path.as_bytes())?;
    let mut parameters = Parameters::parse(call.query.as_bytes())?;
    if let Some(form) = call.form() {
        parameters.add(form)?;
    }
    Ok((path, parameters))
}
