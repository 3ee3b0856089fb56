//! Who is called for, and what the calls use.

use std::ops::Range;

use super::session::Session;
use super::speech::By;
use super::{LoadError, Target};
use crate::model::amount::Effect;
use crate::model::id::MetricSlot;
use crate::wire::{Bound, Call, Operation, QueryAnswer, Row, put_bind, put_call};

/// What proves who the caller is. Never printed.
#[derive(Clone)]
pub enum Access {
    /// Nothing: a Unix socket knows.
    None,
    /// A line of the node's secret file; opens all services.
    NodeSecret(String),
    /// A token of the service.
    ServiceToken(String),
}

/// Applications of one service, and metrics of it.
#[derive(Clone)]
pub struct Subjects {
    /// Id of the service, unless the connection is for one service anyway.
    pub service: Option<String>,
    /// A user key for each application.
    pub user_keys: Vec<String>,
    /// System names of what each call uses one of.
    pub metrics: Vec<String>,
    /// A handle for each application, once [`Subjects::bind`] was there.
    pub(super) handles: Vec<u64>,
    /// Usage of each call, by metric number.
    pub(super) rows: Vec<Row>,
}

impl Subjects {
    /// Subjects that were not bound yet.
    #[must_use]
    pub fn new(service: Option<String>, user_keys: Vec<String>, metrics: Vec<String>) -> Subjects {
        Subjects { service, user_keys, metrics, handles: Vec::new(), rows: Vec::new() }
    }

    /// The same metrics for some of the applications only.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Subjects {
        let part = |all: &[String]| all.get(range.clone()).unwrap_or_default().to_vec();
        let handles = self.handles.get(range.clone()).unwrap_or_default().to_vec();
        Subjects { user_keys: part(&self.user_keys), handles, ..self.clone() }
    }

    /// Fields that name application `number`.
    fn named(&self, number: usize) -> Call<'_> {
        let user_key = self.user_keys.get(number).map(String::as_str);
        Call { service: self.service.as_deref(), user_key, ..Call::default() }
    }

    /// Appends the body of a call for application `number`.
    pub(super) fn put_call(&self, out: &mut Vec<u8>, number: usize, by: By) {
        match by {
            By::Handle => {
                let handle = self.handles.get(number).copied();
                put_call(out, &Call { handle, ..Call::default() }, &self.rows, false);
            }
            By::Key => {
                let usage = self.metrics.iter().map(|name| (name.as_str(), Effect::Add(1))).collect();
                put_call(out, &Call { usage, ..self.named(number) }, &[], false);
            }
        }
    }

    /// Binds all applications; a handle is good on every connection.
    ///
    /// # Errors
    /// The node refuses one, or cannot be reached.
    pub fn bind(&mut self, target: &Target, access: &Access) -> Result<(), LoadError> {
        let mut session = Session::open(target, access, self.service.as_deref(), 0)?;
        let mut bound: Vec<Option<Bound>> = vec![None; self.user_keys.len()];
        let put = |out: &mut Vec<u8>, number: usize| {
            let metrics = self.metrics.iter().map(String::as_str).collect();
            put_bind(out, &Call { metrics, ..self.named(number) });
        };
        session.exchange(Operation::BIND, self.user_keys.len(), put, |number, body| {
            let answer = Bound::read(body)?;
            if let Some(reason) = answer.reason {
                let what = format!("user key {} of the list", number + 1);
                return Err(LoadError::Refused { what, why: format!("reason {reason}") });
            }
            bound[number] = Some(answer);
            Ok(())
        })?;
        self.rows = match bound.first() {
            Some(Some(first)) => {
                first.metrics.iter().map(|slot| (MetricSlot(*slot), Effect::Add(1))).collect()
            }
            _ => Vec::new(),
        };
        self.handles = bound.into_iter().flatten().map(|it| it.handle).collect();
        Ok(())
    }

    /// Asks the node how each application stands, as far as the first metric goes.
    ///
    /// # Errors
    /// The node cannot be reached, or does not know one.
    pub fn query(
        &self,
        target: &Target,
        access: &Access,
        mut hear: impl FnMut(usize, &QueryAnswer),
    ) -> Result<(), LoadError> {
        let mut session = Session::open(target, access, self.service.as_deref(), 0)?;
        let put = |out: &mut Vec<u8>, number: usize| {
            let metrics = self.metrics.iter().take(1).map(String::as_str).collect();
            put_call(out, &Call { metrics, ..self.named(number) }, &[], false);
        };
        session.exchange(Operation::QUERY, self.user_keys.len(), put, |number, body| {
            hear(number, &QueryAnswer::read(body)?);
            Ok(())
        })
    }
}
