//! 3scale's XML answers, written straight into a byte buffer.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use jiff::{Timestamp, tz::TimeZone};

use super::options::Options;
use crate::engine::request::{Answer, UsageReport};
use crate::model::decision::{Denial, Refusal};
use crate::model::time::{Minute, Period, Windows, window_secs};

const PROLOGUE: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

/// The most application keys that `list_app_keys` shows.
const APP_KEYS_MAX: usize = 256;

/// The body of an error answer.
pub(super) fn error(refusal: &Refusal<'_>) -> Vec<u8> {
    let mut xml = Xml::new(256);
    xml.raw("<error code=\"");
    xml.raw(refusal.code());
    xml.raw("\">");
    xml.display(refusal);
    xml.raw("</error>");
    xml.bytes
}

/// What of the request shows in the body of a decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Asked through one of the `oauth_*` paths.
    pub(super) oauth: bool,
    /// The request named a `redirect_uri`, not a `redirect_url`.
    pub(super) redirect_uri: bool,
    /// The extensions it asked for.
    pub(super) options: Options,
}

/// The body of a decision.
pub(super) fn status(answer: &Answer<'_>, shown: Shown) -> Vec<u8> {
    // What an answer usually takes, closely: small buffers come from the allocator's own cache.
    let mut xml = Xml::new(160 + answer.plan.name.len() + 235 * answer.reports.len());
    xml.raw("<status>");
    xml.decision(answer.denial);
    if shown.oauth {
        xml.application(answer, if shown.redirect_uri { "redirect_uri" } else { "redirect_url" });
    }
    xml.element("plan", &answer.plan.name);
    xml.usage_reports(answer);
    if shown.options.list_app_keys {
        xml.app_keys(answer);
    }
    if shown.options.hierarchy {
        xml.hierarchy(answer);
    }
    xml.raw("</status>");
    xml.bytes
}

struct Xml {
    bytes: Vec<u8>,
}

impl Xml {
    fn new(capacity: usize) -> Xml {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(PROLOGUE);
        Xml { bytes }
    }

    fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Character data; quotes stay as they are.
    fn text(&mut self, text: &str) {
        escape(&mut self.bytes, text, false);
    }

    fn attribute(&mut self, text: &str) {
        escape(&mut self.bytes, text, true);
    }

    fn display(&mut self, value: &impl fmt::Display) {
        // Writing to memory does not fail.
        let _ = write!(Escaped(&mut self.bytes), "{value}");
    }

    fn number(&mut self, number: u64) {
        self.raw(itoa::Buffer::new().format(number));
    }

    fn element(&mut self, name: &str, text: &str) {
        self.raw("<");
        self.raw(name);
        self.raw(">");
        self.text(text);
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }

    fn decision(&mut self, denial: Option<Denial<'_>>) {
        let Some(denial) = denial else { return self.raw("<authorized>true</authorized>") };
        self.raw("<authorized>false</authorized><reason>");
        self.display(&denial);
        self.raw("</reason>");
    }

    fn application(&mut self, answer: &Answer<'_>, redirect: &str) {
        let Some(application) = answer.application() else { return };
        self.raw("<application>");
        self.element("id", &application.app_id);
        self.element("key", application.app_keys.first().map_or("", |key| key.expose()));
        self.element(redirect, application.redirect_url.as_deref().unwrap_or_default());
        self.raw("</application>");
    }

    fn usage_reports(&mut self, answer: &Answer<'_>) {
        if answer.reports.is_empty() {
            return;
        }
        self.raw("<usage_reports>");
        SHOWN_WINDOWS.with_borrow_mut(|shown| {
            for report in answer.reports {
                let window = shown.element(report.limit.period, answer.windows);
                self.usage_report(answer, report, window);
            }
        });
        self.raw("</usage_reports>");
    }

    fn usage_report(&mut self, answer: &Answer<'_>, report: &UsageReport, window: Option<&[u8; WINDOW_LEN]>) {
        let Some(metric) = answer.service.metrics.get(report.limit.slot) else { return };
        self.raw("<usage_report metric=\"");
        self.attribute(&metric.name);
        self.raw("\" period=\"");
        self.raw(report.limit.period.name());
        self.raw(if report.exceeded { "\" exceeded=\"true\">" } else { "\">" });
        if let Some(window) = window {
            self.bytes.extend_from_slice(window);
        }
        self.raw("<max_value>");
        self.number(report.limit.max);
        self.raw("</max_value><current_value>");
        self.number(report.current);
        self.raw("</current_value></usage_report>");
    }

    fn app_keys(&mut self, answer: &Answer<'_>) {
        let Some(application) = answer.application() else { return };
        self.raw("<app_keys app=\"");
        self.attribute(&application.app_id);
        self.raw("\" svc=\"");
        match &answer.service.external_id {
            Some(id) => self.attribute(id),
            None => self.number(answer.service.id.0),
        }
        self.raw("\">");
        for key in application.app_keys.iter().take(APP_KEYS_MAX) {
            self.raw("<key id=\"");
            self.attribute(key.expose());
            self.raw("\"/>");
        }
        self.raw("</app_keys>");
    }

    fn hierarchy(&mut self, answer: &Answer<'_>) {
        let metrics = &answer.service.metrics;
        self.raw("<hierarchy>");
        for metric in answer.reports.iter().filter_map(|report| metrics.get(report.limit.slot)) {
            self.raw("<metric name=\"");
            self.attribute(&metric.name);
            self.raw("\" children=\"");
            for (place, child) in metrics.children(metric.slot).into_iter().enumerate() {
                self.raw(if place == 0 { "" } else { " " });
                self.attribute(&child.name);
            }
            self.raw("\"/>");
        }
        self.raw("</hierarchy>");
    }
}

/// Escapes whatever is formatted into it.
struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text, false);
        Ok(())
    }
}

fn escape(bytes: &mut Vec<u8>, text: &str, quotes: bool) {
    let mut rest = text.as_bytes();
    let special = |byte: &u8| matches!(byte, b'&' | b'<' | b'>') || (quotes && *byte == b'"');
    while let Some(at) = rest.iter().position(special) {
        bytes.extend_from_slice(&rest[..at]);
        bytes.extend_from_slice(match rest[at] {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            _ => b"&quot;",
        });
        rest = &rest[at + 1..];
    }
    bytes.extend_from_slice(rest);
}

const WINDOW: &[u8; WINDOW_LEN] = b"<period_start>0000-00-00 00:00:00 +0000</period_start>\
                                    <period_end>0000-00-00 00:00:00 +0000</period_end>";
const WINDOW_LEN: usize = 104;
const START_AT: usize = 14;
const END_AT: usize = 66;

thread_local! {
    /// The windows of a minute are shown in thousands of answers: their dates are worked out once.
    static SHOWN_WINDOWS: RefCell<ShownWindows> = const {
        RefCell::new(ShownWindows { minute: Minute(0), elements: [None; Period::COUNT] })
    };
}

/// What is shown of the windows that are open at one minute.
struct ShownWindows {
    minute: Minute,
    elements: [Option<[u8; WINDOW_LEN]>; Period::COUNT],
}

impl ShownWindows {
    fn element(&mut self, period: Period, windows: &Windows) -> Option<&[u8; WINDOW_LEN]> {
        if self.minute != windows.minute() {
            *self = ShownWindows { minute: windows.minute(), elements: [None; Period::COUNT] };
        }
        let element = &mut self.elements[period as usize];
        if element.is_none() {
            *element = window_secs(period, windows).map(window);
        }
        element.as_ref()
    }
}

/// The elements that say from when to when a window lasts; its end is exclusive.
fn window((start_s, end_s): (u64, u64)) -> [u8; WINDOW_LEN] {
    let mut window = *WINDOW;
    write_date(&mut window[START_AT..], start_s);
    write_date(&mut window[END_AT..], end_s);
    window
}

/// Writes `YYYY-MM-DD HH:MM:SS` over the start of `place`.
fn write_date(place: &mut [u8], seconds: u64) {
    let timestamp =
        i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX);
    let at = timestamp.to_zoned(TimeZone::UTC).datetime();
    let (century, year) = (at.year().unsigned_abs() / 100, at.year().unsigned_abs() % 100);
    let small = |part: i8| u16::from(part.unsigned_abs());
    let parts = [
        (0, century),
        (2, year),
        (5, small(at.month())),
        (8, small(at.day())),
        (11, small(at.hour())),
        (14, small(at.minute())),
        (17, small(at.second())),
    ];
    for (offset, part) in parts {
        let digit = |digit: u16| b'0' + u8::try_from(digit % 10).unwrap_or(0);
        place[offset] = digit(part / 10);
        place[offset + 1] = digit(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: u64) -> String {
        let window = window((seconds, seconds + 60));
        String::from_utf8(window[START_AT..START_AT + 25].to_vec()).unwrap()
    }

    #[test]
    fn windows_show_their_start_and_their_exclusive_end() {
        let shown = String::from_utf8(window((1_795_305_600, 1_795_392_000)).to_vec()).unwrap();
        assert_eq!(
            shown,
            "<period_start>2026-11-22 00:00:00 +0000</period_start><period_end>2026-11-23 00:00:00 +0000</period_end>"
        );
        assert_eq!(date(0), "1970-01-01 00:00:00 +0000");
        assert_eq!(date(1_835_427_599), "2028-02-29 08:59:59 +0000");
        assert_eq!(date(u64::MAX - 60).len(), 25);
    }

    #[test]
    fn texts_are_escaped_and_keep_their_quotes() {
        let body = error(&Refusal::MetricInvalid { name: "<a>&\"b\"'" });
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <error code=\"metric_invalid\">metric \"&lt;a&gt;&amp;\"b\"'\" is invalid</error>"
        );
    }

    #[test]
    fn attributes_escape_quotes_too() {
        let mut xml = Xml { bytes: Vec::new() };
        xml.attribute("a\"<&>b");
        xml.number(0);
        xml.number(u64::MAX);
        assert_eq!(String::from_utf8(xml.bytes).unwrap(), "a&quot;&lt;&amp;&gt;b018446744073709551615");
    }
}
