//! Calls and answers, as the gateway's parts hand them on.

/// A call that came in, its body read.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The port that it came to.
    pub(super) port: u16,
    pub(super) method: String,
    /// The path as it was sent.
    pub(super) path: String,
    /// The query as it was sent; empty if there is none.
    pub(super) query: String,
    /// Names in lower case, and values; those that are not text are left out.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Call {
    /// The first header of a name, given in lower case. `-` and `_` are the same: gateways of the original take them so.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let same = |known: &str| known.replace('_', "-") == name.replace('_', "-");
        self.headers.iter().find(|(known, _)| same(known)).map(|(_, value)| value.as_str())
    }

    /// The body, if it is a form that counts as parameters.
    pub(super) fn form(&self) -> Option<&[u8]> {
        let is_form = self
            .header("content-type")
            .is_some_and(|it| it.to_ascii_lowercase().contains("application/x-www-form-urlencoded"));
        (is_form && matches!(self.method.as_str(), "POST" | "PUT" | "PATCH")).then_some(&self.body)
    }
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// What the gateway itself has to say, in words.
    pub(super) fn said(status: u16, text: impl Into<String>) -> Answer {
        let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        Answer { status, headers, body: (text.into() + "\n").into_bytes() }
    }

    /// With a header more.
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}
