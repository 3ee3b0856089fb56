//! What the applications of a throw-away node are limited in.

use std::str::FromStr;

use crate::model::time::Period;

/// High enough that no run comes near.
pub const MAX_DEFAULT: u64 = 1_000_000_000_000;

/// Metrics, which of them a call names, and the limits of the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// System names, and the one above each.
    pub metrics: Vec<(String, Option<String>)>,
    /// What a call uses one of.
    pub named: Vec<String>,
    /// Each with a maximum. The first metric that calls name has one for eternity, by which what was counted is checked.
    pub limits: Vec<(String, Period, u64)>,
}

impl Shape {
    /// Three metrics one below the other, three limits each; a call names the lowest.
    #[must_use]
    pub fn chain() -> Shape {
        let names = ["hits", "search", "search_deep"].map(str::to_owned);
        let above = [None, Some(names[0].clone()), Some(names[1].clone())];
        let limits = limits(&names, &[Period::Eternity, Period::Day, Period::Minute]);
        let named = vec![names[2].clone()];
        Shape { metrics: names.into_iter().zip(above).collect(), named, limits }
    }

    /// 200 metrics; a call names five of them, which have four limits each.
    #[must_use]
    pub fn wide() -> Shape {
        let name = |number: usize| format!("metric{number}");
        let named: Vec<_> = [3, 50, 97, 144, 191].map(name).into();
        let periods = [Period::Eternity, Period::Day, Period::Hour, Period::Minute];
        let limits = limits(&named, &periods);
        Shape { metrics: (0..200).map(|number| (name(number), None)).collect(), named, limits }
    }

    /// At most `max` calls a minute for each application.
    #[must_use]
    pub fn with_limit(mut self, max: u64) -> Shape {
        let named = self.named.first().cloned();
        let is_meant = |(metric, period, _): &&mut (String, Period, u64)| {
            named.as_ref().is_some_and(|named| named == metric) && *period == Period::Minute
        };
        self.limits.iter_mut().filter(is_meant).for_each(|limit| limit.2 = max);
        self
    }
}

fn limits(metrics: &[String], periods: &[Period]) -> Vec<(String, Period, u64)> {
    let of = |metric: &String| {
        periods.iter().map(|period| (metric.clone(), *period, MAX_DEFAULT)).collect::<Vec<_>>()
    };
    metrics.iter().flat_map(of).collect()
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        match text {
            "chain" => Ok(Shape::chain()),
            "wide" => Ok(Shape::wide()),
            _ => Err("neither chain nor wide".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_calls_name_is_limited_for_eternity_and_by_the_minute() {
        for shape in [Shape::chain(), Shape::wide()] {
            let shape = shape.with_limit(7);
            let of = |period| {
                let mut limits = shape.limits.iter();
                limits.find(|it| it.0 == shape.named[0] && it.1 == period).map(|it| it.2)
            };
            assert_eq!((of(Period::Eternity), of(Period::Minute)), (Some(MAX_DEFAULT), Some(7)));
            assert_eq!(shape.limits.iter().filter(|limit| limit.2 == 7).count(), 1);
            let known = |name: &String| shape.metrics.iter().any(|(metric, _)| metric == name);
            assert!(shape.named.iter().all(known) && shape.limits.iter().all(|limit| known(&limit.0)));
        }
        assert_eq!((Shape::chain().limits.len(), Shape::wide().limits.len()), (9, 20));
    }
}
