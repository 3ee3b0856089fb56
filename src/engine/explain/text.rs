//! An explanation as text for a terminal.

use std::fmt;

use jiff::Timestamp;

use super::{Explanation, LimitExplained, Reason, UsageExplained, Verdict};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = instant(self.time_ms / 1000);
        writeln!(f, "At {at} UTC, under catalog version {}, without counting:\n", self.catalog_version)?;
        match &self.verdict {
            Verdict::Authorized => line(f, "Verdict", "authorized")?,
            Verdict::Denied(reason) => line(f, "Verdict", &because("denied", reason))?,
            Verdict::Refused(reason) => line(f, "Verdict", &because("refused", reason))?,
        }
        line(f, "Decided by", &self.decided_by)?;
        if let Some(reason) = &self.would_deny {
            line(f, "Would deny", &because("yes, were the shadow lifted", reason))?;
        }
        self.parties(f)?;
        if !self.usage.is_empty() {
            writeln!(f)?;
            table(f, ["METRIC", "EFFECT", "ABOVE IT"], self.usage.iter().map(usage))?;
        }
        if !self.limits.is_empty() {
            writeln!(f)?;
            let heads = ["LIMIT", "WINDOW", "COUNT", "AFTER", "RESERVED", "MAX", "LEFT", "HOLDS"];
            table(f, heads, self.limits.iter().map(limit))?;
        }
        Ok(())
    }
}

impl Explanation {
    fn parties(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(it) = &self.service {
            let id = it.external_id.clone().unwrap_or_else(|| it.id.to_string());
            let text = format!(
                "{id} ({}, id {}, tenant {}): {}, backend version {}, known by {}{}{}",
                it.name,
                it.id,
                it.tenant,
                it.state,
                it.backend_version,
                it.known_by,
                shadow(it.shadow),
                it.promise.as_ref().map_or_else(String::new, |promise| format!(", answers {promise}"))
            );
            line(f, "Service", &text)?;
        }
        if let Some(it) = &self.application {
            let shadow = shadow(it.shadow);
            let (app_id, name, id) = (&it.app_id, &it.name, it.id);
            let text = format!("{app_id} ({name}, id {id}): {}, known by {}{shadow}", it.state, it.known_by);
            line(f, "Application", &text)?;
        }
        if let Some(it) = &self.plan {
            let external_id = it.external_id.as_ref().filter(|id| !id.is_empty());
            let id = external_id.cloned().unwrap_or_else(|| it.id.to_string());
            line(f, "Plan", &format!("{id} ({}, id {})", it.name, it.id))?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "{name:<12} {text}")
}

fn because(what: &str, reason: &Reason) -> String {
    format!("{what} ({}): {}", reason.code, reason.text)
}

fn shadow(is: bool) -> &'static str {
    if is { ", in shadow" } else { "" }
}

fn usage(usage: &UsageExplained) -> [String; 3] {
    let sign = if usage.set { '=' } else { '+' };
    let rolled_up = if usage.named { "" } else { " (from below)" };
    [usage.metric.clone(), format!("{sign}{}{rolled_up}", usage.amount), usage.ancestors.join(" < ")]
}

fn limit(limit: &LimitExplained) -> [String; 8] {
    let window = match (limit.window_start_s, limit.window_end_s) {
        (Some(start), Some(end)) => format!("{} to {}", instant(start), instant(end)),
        _ => "for ever".to_owned(),
    };
    let holds = match (limit.concerned, limit.holds, limit.shadow) {
        (false, ..) => "no say",
        (true, true, false) => "yes",
        (true, true, true) => "yes (shadow)",
        (true, false, false) => "NO",
        (true, false, true) => "NO (shadow)",
    };
    [
        format!("{}/{}", limit.metric, limit.period),
        window,
        limit.count.to_string(),
        limit.count_after.to_string(),
        limit.reserved.to_string(),
        limit.max.to_string(),
        limit.remaining.to_string(),
        holds.to_owned(),
    ]
}

fn instant(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
    timestamp.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Columns as wide as their widest cell; nothing behind the last.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let rows: Vec<_> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
