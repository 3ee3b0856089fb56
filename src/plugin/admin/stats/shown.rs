//! What answers look like: JSON, XML and CSV, with the fields and in the order of the original's.

use serde_json::{Map, Value, json};

use super::super::answer::{Outcome, Refusal, Reply};
use super::super::application_shown::state_name;
use super::super::applications::ApplicationDetails;
use super::super::context::Seen;
use super::super::xml::Element;
use super::asked::Asked;
use super::counters::{Shown, What};
use super::times;
use super::windows::{Granularity, Windows};
use crate::model::record::{Account, Application, Plan};

/// Usage, added up.
pub(super) struct Usage<'a> {
    pub(super) what: &'a What,
    pub(super) asked: &'a Asked,
    pub(super) values: Vec<i64>,
    /// What was used right before, in as many windows, if that was asked for.
    pub(super) previous: Option<i64>,
    pub(super) application: Option<Owned<'a>>,
}

/// An application, with what is shown of others beside it.
pub(super) struct Owned<'a> {
    application: &'a Application,
    plan: &'a Plan,
    /// None, if another system pushed it without one.
    account: Option<&'a Account>,
    description: String,
}

impl<'a> Owned<'a> {
    /// # Errors
    /// What it belongs to is not there, or cannot be read.
    pub(super) fn of(seen: Seen<'a>, application: &'a Application) -> Result<Owned<'a>, Refusal> {
        let plan = seen.catalog.plans.get(application.plan.0).ok_or(Refusal::NotFound)?;
        let account = application.account.and_then(|id| seen.catalog.accounts.get(id.0));
        let details = seen.records.find::<ApplicationDetails>(application.id.0)?.unwrap_or_default();
        Ok(Owned { application, plan, account: account.map(|it| &**it), description: details.description })
    }

    fn plan_in_json(&self) -> Value {
        json!({"id": self.plan.id.0, "name": self.plan.name})
    }

    /// The links are to the admin API, as all are here: the original's lead into its portal.
    fn in_json(&self) -> Value {
        let application = self.application;
        let account = self.account.map(|account| {
            let link = format!("/admin/api/accounts/{}", account.id);
            json!({"id": account.id.0, "name": account.name, "link": link})
        });
        let link =
            self.account.map(|it| format!("/admin/api/accounts/{}/applications/{}", it.id, application.id));
        json!({
            "id": application.id.0,
            "name": application.name,
            "state": state_name(&application.state),
            "link": link,
            "description": self.description,
            "plan": self.plan_in_json(),
            "account": account,
            "service": {"id": application.service.0},
        })
    }

    fn in_xml(&self) -> Vec<Element> {
        let plan = Element::new("plan").field("id", self.plan.id).field("name", &self.plan.name);
        let account = Element::new("account")
            .optional("name", self.account.map(|it| &it.name))
            .optional("id", self.account.map(|it| it.id));
        let (id, name) = (self.application.id, &self.application.name);
        vec![Element::text("id", id), Element::text("name", name), plan, account]
    }
}

fn element(name: &str, parts: Vec<Element>) -> Element {
    parts.into_iter().fold(Element::new(name), Element::with)
}

impl Shown {
    fn in_json(&self) -> Value {
        json!({"id": self.id, "name": self.name, "system_name": self.system_name, "unit": self.unit})
    }

    fn in_xml(&self) -> Element {
        Element::new("metric")
            .field("id", self.id)
            .field("name", &self.name)
            .field("system_name", &self.system_name)
            .field("unit", &self.unit)
    }
}

impl What {
    fn in_json(&self) -> (&'static str, Value) {
        match self {
            What::Metric(metric) => ("metric", metric.in_json()),
            What::Code(code) => ("response_code", json!({"code": code})),
        }
    }

    fn in_xml(&self) -> Element {
        match self {
            What::Metric(metric) => metric.in_xml(),
            What::Code(code) => Element::new("response_code").field("code", code),
        }
    }
}

/// The names and times of windows, without what they are long.
fn period_in_json(asked: &Asked) -> Map<String, Value> {
    let Windows { zone, .. } = &asked.windows;
    let mut period = Map::new();
    period.insert("name".to_owned(), asked.period.map(|it| it.name()).into());
    period.insert("since".to_owned(), asked.windows.since().map(|at| times::in_json(at, zone)).into());
    period.insert("until".to_owned(), asked.windows.until().map(|at| times::in_json(&at, zone)).into());
    period
}

fn times_in_xml(asked: &Asked) -> [Element; 2] {
    let Windows { zone, .. } = &asked.windows;
    let since = asked.windows.since().map(|at| times::in_text(at, zone)).unwrap_or_default();
    let until = asked.windows.until().map(|at| times::in_text(&at, zone)).unwrap_or_default();
    [Element::text("since", since), Element::text("until", until)]
}

/// How much more it is, in percent of what it was; 100 of nothing.
pub(super) fn change(total: i64, previous: i64) -> f64 {
    match (total, previous) {
        (0, 0) => 0.0,
        (_, 0) => 100.0,
        // Counts are far below where a float has no more place for one.
        (total, previous) => (total as f64 - previous as f64) / previous as f64 * 100.0,
    }
}

impl Usage<'_> {
    fn total(&self) -> i64 {
        self.values.iter().fold(0, |sum, value| sum.saturating_add(*value))
    }

    fn in_json(&self) -> Value {
        let mut shown = Map::new();
        let (name, what) = self.what.in_json();
        shown.insert(name.to_owned(), what);
        let mut period = period_in_json(self.asked);
        let Windows { zone, granularity, .. } = &self.asked.windows;
        period.insert("timezone".to_owned(), zone.name.as_str().into());
        let granularity = match granularity {
            Granularity::SixHours => json!(21600),
            other => other.name().into(),
        };
        period.insert("granularity".to_owned(), granularity);
        shown.insert("period".to_owned(), period.into());
        let total = self.total();
        shown.insert("total".to_owned(), total.into());
        shown.insert("values".to_owned(), self.values.as_slice().into());
        if let Some(application) = &self.application {
            shown.insert("application".to_owned(), application.in_json());
        }
        if let Some(previous) = self.previous {
            shown.insert("previous_total".to_owned(), previous.into());
            shown.insert("change".to_owned(), change(total, previous).into());
        }
        shown.into()
    }

    /// As in the original, without what is compared.
    fn in_xml(&self) -> Element {
        let name = self.asked.period.map(|it| it.name());
        let period = times_in_xml(self.asked)
            .into_iter()
            .fold(Element::new("period"), Element::with)
            .optional("name", name)
            .field("granularity", self.asked.windows.granularity.name());
        let texts: Vec<_> = self.values.iter().map(i64::to_string).collect();
        let values = Element::text("values", texts.join(",")).attribute("length", texts.len());
        let data = Element::new("data").field("total", self.total()).with(values);
        let shown = Element::new("usage").with(self.what.in_xml()).with(period).with(data);
        match &self.application {
            Some(application) => shown.with(element("application", application.in_xml())),
            None => shown,
        }
    }

    fn in_csv(&self) -> String {
        let (system_name, name) = match self.what {
            What::Metric(metric) => (metric.system_name.as_str(), metric.name.as_str()),
            What::Code(code) => (*code, *code),
        };
        let mut lines = csv_line(&["Metric System Name", "Metric Name", "Date", "Value"].map(str::to_owned));
        let Windows { zone, .. } = &self.asked.windows;
        for (at, value) in self.asked.windows.beginnings().iter().zip(&self.values) {
            let date = times::in_text(at, zone);
            lines += &csv_line(&[system_name.to_owned(), name.to_owned(), date, value.to_string()]);
        }
        lines
    }

    /// The answer; in CSV if that is what the client wants.
    pub(super) fn reply(&self, is_csv: bool) -> Outcome {
        Ok(if is_csv { Reply::csv(self.in_csv()) } else { Reply::written(self.in_json(), self.in_xml()) })
    }
}

/// The applications that used most, with what they used.
pub(super) struct Top<'a> {
    pub(super) metric: &'a Shown,
    pub(super) asked: &'a Asked,
    pub(super) applications: Vec<(Owned<'a>, i64)>,
}

impl Top<'_> {
    /// An application's value is a text, as it comes from the original's storage; a number in zones for which it had to add up hours: all but UTC.
    fn in_json(&self) -> Value {
        let is_stored = self.asked.windows.zone.is_utc();
        let one = |(owned, value): &(Owned<'_>, i64)| {
            let value = if is_stored { value.to_string().into() } else { Value::from(*value) };
            let account = owned.account.map(|account| json!({"id": account.id.0, "name": account.name}));
            json!({
                "name": owned.application.name,
                "id": owned.application.id.0,
                "value": value,
                "account": account,
                "plan": owned.plan_in_json(),
                "service": {"id": owned.application.service.0},
            })
        };
        let applications: Vec<_> = self.applications.iter().map(one).collect();
        let period = period_in_json(self.asked);
        json!({"applications": applications, "metric": self.metric.in_json(), "period": period})
    }

    fn in_xml(&self) -> Element {
        let [since, until] = times_in_xml(self.asked);
        let name = self.asked.period.map(|it| it.name());
        let period = Element::new("period").optional("name", name).with(since).with(until);
        let one = |(owned, value): &(Owned<'_>, i64)| {
            let parts = owned.in_xml().into_iter();
            parts.fold(Element::new("application").field("value", value), Element::with)
        };
        let applications = element("applications", self.applications.iter().map(one).collect());
        Element::new("top").with(self.metric.in_xml()).with(period).with(applications)
    }

    fn in_csv(&self) -> String {
        let header = [
            "Application Name",
            "Application ID",
            "Plan Name",
            "Plan ID",
            "Account Name",
            "Account ID",
            "Total",
        ];
        let mut lines = csv_line(&header.map(str::to_owned));
        for (Owned { application, plan, account, .. }, value) in &self.applications {
            lines += &csv_line(&[
                application.name.to_string(),
                application.id.to_string(),
                plan.name.clone(),
                plan.id.to_string(),
                account.map(|it| it.name.clone()).unwrap_or_default(),
                account.map(|it| it.id.to_string()).unwrap_or_default(),
                value.to_string(),
            ]);
        }
        lines
    }

    /// As of [`Usage::reply`].
    pub(super) fn reply(&self, is_csv: bool) -> Outcome {
        Ok(if is_csv { Reply::csv(self.in_csv()) } else { Reply::written(self.in_json(), self.in_xml()) })
    }
}

/// A line of CSV: what has a comma, quote or line's end in it stands in quotes.
fn csv_line(fields: &[String]) -> String {
    let field = |text: &String| {
        let is_quoted = text.contains([',', '"', '\n', '\r']);
        if is_quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.clone() }
    };
    let mut line = fields.iter().map(field).collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_in_percent_of_what_was() {
        let of = |total, previous| change(total, previous);
        assert_eq!((of(3, 1), of(20, 40), of(11, 10)), (200.0, -50.0, 10.0));
        assert_eq!((of(0, 0), of(4, 0), of(0, 4)), (0.0, 100.0, -100.0));
    }

    #[test]
    fn what_csv_reserves_stands_in_quotes() {
        let line = csv_line(&["a", "b,c", "say \"it\"", "two\nlines", ""].map(str::to_owned));
        assert_eq!(line, "a,\"b,c\",\"say \"\"it\"\"\",\"two\nlines\",\n");
    }
}
