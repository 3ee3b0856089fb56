//! Several calls as one step: all go ahead, or none.
//!
//! Calls may carry ids (see the `ids` module): a repetition is answered, and is no part of the step.
//!
//! The calls of one application are taken together, as if they were one: its limits must hold after all of them. What is
//! in shadow denies nothing here either.

mod ids;

use smallvec::SmallVec;

use ids::{Judged, Judgement};

use super::authorize::{Decided, Scratch, answer_of, counted};
use super::bound::{BoundRequest, slot_effects};
use super::handle::{Handle, Scope};
use super::limits::{Held, Reports, reach, read_reports};
use super::moment::Moment;
use super::request::{Answer, AuthRequest, Call};
use super::resolve::{Case, Unresolved, named_effects};
use super::validate;
use crate::counter::{Many, Met, SUBJECTS_MAX};
use crate::model::catalog::Catalog;
use crate::model::decision::{Denial, Refusal};
use crate::model::idempotency::RequestId;
use crate::model::record::Service;
use crate::model::time::Windows;
use crate::model::usage::{Effects, propagate, push_effect};

/// One of several calls.
#[derive(Clone, Debug)]
pub enum Part<'r> {
    /// By credentials.
    Named(AuthRequest<'r>),
    /// By handle.
    Bound(Handle, BoundRequest<'r>),
}

/// Why a call has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotDone<'r> {
    /// It was refused.
    Refused(Refusal<'r>),
    /// Another call was refused or denied.
    Others,
}

/// The calls are of more than [`SUBJECTS_MAX`] applications. Nothing was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the calls are of more than {SUBJECTS_MAX} applications")]
pub struct TooMany;

/// A call whose application is known.
struct Known<'c, 'r> {
    /// It was counted before, and is not again.
    is_repeated: bool,
    /// The limits that a repetition is answered with: as they are.
    shown: Reports,
    case: Case<'c>,
    denial: Option<Denial<'r>>,
    effects: Effects,
    counted: Effects,
}

/// An application, and what all its calls do.
struct Account {
    index: u32,
    /// What is checked.
    asked: Effects,
    /// Its limits, as they were before.
    reports: Reports,
    /// Its limits, as they are after all of it.
    after: Reports,
    held: Held,
}

/// A command has come between, or is about to.
pub(super) struct Again;

/// Where a call's application lies, and of which service it is, if that is known already.
type Found<'c, 'r> = Result<(u32, Option<&'c Service>), Refusal<'r>>;

impl<'r> Part<'r> {
    fn call(&self) -> Call {
        match self {
            Part::Named(request) => request.call,
            Part::Bound(_, request) => request.call,
        }
    }

    fn log_code(&self) -> Option<&'r str> {
        match self {
            Part::Named(request) => request.log_code,
            Part::Bound(_, request) => request.log_code,
        }
    }
}

impl Moment<'_> {
    /// Decides all of `parts`, and counts those that are authreps if every one of them goes ahead. `answer` is called for
    /// each in order, with its number. Returns whether they went ahead. `ids` are what the parts are known by, in their
    /// order; what is missing has none. A part that was counted before is answered so, and keeps no other from going ahead.
    ///
    /// # Errors
    /// [`TooMany`]; `answer` was not called.
    pub fn together<'r>(
        &mut self,
        scope: Scope,
        parts: &[Part<'r>],
        ids: &[Option<RequestId<'r>>],
        mut answer: impl FnMut(usize, Result<&Answer<'_>, NotDone<'r>>),
    ) -> Result<bool, TooMany> {
        loop {
            match self.try_together(scope, parts, ids, &mut answer) {
                Ok(done) => return done,
                // Commands wait for the gate, so this is rare.
                Err(Again) => {
                    let _ = self.start_again(Unresolved::<()>::Stale);
                }
            }
        }
    }

    fn try_together<'r>(
        &self,
        scope: Scope,
        parts: &[Part<'r>],
        ids: &[Option<RequestId<'r>>],
        answer: &mut impl FnMut(usize, Result<&Answer<'_>, NotDone<'r>>),
    ) -> Result<Result<bool, TooMany>, Again> {
        let (engine, catalog) = (self.engine, self.catalog());
        let (claims, looked) = self.claims(scope, parts, ids)?;
        let gate = engine.gate.read();
        if catalog.version < gate.floor {
            return Err(Again);
        }
        let mut remembering = None;
        let judged = match looked {
            _ if claims.is_empty() => Judged::none(),
            None => Judged::unknown(ids),
            Some(looked) => {
                let locked = engine.ids.lock(&claims.all, looked, self.now()).ok_or(Again)?;
                claims.judge(remembering.insert(locked), parts.len())
            }
        };
        // While the gate is open no command comes, so what leads nowhere now does so for the whole step.
        let find = |part: &Part<'r>| match part {
            Part::Bound(handle, _) => Ok((handle.index(), None)),
            Part::Named(request) => {
                engine.whose(catalog, request).map(|(service, subject)| (subject.index, Some(service)))
            }
        };
        let found: SmallVec<[Found<'_, 'r>; 8]> = parts.iter().map(find).collect();
        let indices: SmallVec<[Option<u32>; 8]> =
            found.iter().map(|it| it.as_ref().ok().map(|(index, _)| *index)).collect();
        let mut distinct: SmallVec<[u32; 8]> = indices.iter().flatten().copied().collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() > SUBJECTS_MAX {
            return Ok(Err(TooMany));
        }
        let now = self.now().minute();
        let locked = engine.counters.lock_many(distinct.iter().copied(), catalog.version, now);
        let mut many = locked.map_err(|_| Again)?;
        let mut known = SmallVec::<[Result<Known<'_, 'r>, Refusal<'r>>; 8]>::new();
        for (number, (part, found)) in parts.iter().zip(found).enumerate() {
            known.push(match (judged.of(number), found) {
                (Judgement::Refused(refusal), _) => Err(refusal.clone()),
                (_, Err(refusal)) => Err(refusal),
                (judgement, Ok(found)) => {
                    let it = self.known(catalog, scope, part, found, &mut many)?;
                    let has_id = ids.get(number).copied().flatten().is_some();
                    if has_id && it.is_ok() && part.call() == Call::Authrep && *judgement == Judgement::None {
                        // What it names is there only now: its id was not looked at.
                        return Err(Again);
                    }
                    it.map(|it| Known { is_repeated: *judgement == Judgement::Repeated, ..it })
                }
            });
        }
        let mut accounts = self.weigh(&distinct, &indices, &known, &mut many);
        let account_of = |accounts: &[Account], index: &Option<u32>| {
            let index = index.as_ref()?;
            accounts.binary_search_by_key(index, |account| account.index).ok()
        };
        let goes_ahead = |known: &Result<Known<'_, 'r>, _>, account: Option<usize>| {
            let (Ok(known), Some(at)) = (known, account) else { return false };
            let denies = known.denial.is_some() || accounts[at].held == Held::Not;
            known.is_repeated || known.case.in_shadow() || !denies
        };
        let done = known.iter().zip(&indices).all(|(it, index)| goes_ahead(it, account_of(&accounts, index)));
        if done {
            for ((part, it), index) in parts.iter().zip(&known).zip(&indices) {
                if let (Call::Authrep, Ok(it), Some(index)) = (part.call(), it, index) {
                    count(it, *index, &mut many);
                }
            }
            for account in &mut accounts {
                tell(account, &known, &indices, &mut many);
            }
            if let Some(locked) = &mut remembering {
                judged.new.iter().for_each(|number| locked.remember(*number, 0));
            }
        }
        for (it, index) in known.iter_mut().zip(&indices) {
            if let (Ok(it @ Known { is_repeated: true, .. }), Some(index)) = (it, index) {
                show(it, *index, &mut many);
            }
        }
        let windows = many.windows();
        drop(many);
        drop(remembering);
        drop(gate);
        for (number, (it, index)) in known.into_iter().zip(&indices).enumerate() {
            let account = account_of(&accounts, index).map(|at| &accounts[at]);
            match (it, account) {
                (Ok(it), Some(account)) => {
                    let replayed = it.is_repeated;
                    match fate(it, account, done, windows) {
                        Some((case, decided, scratch)) => {
                            let told = answer_of(catalog, &case, &decided, &scratch, self.now());
                            answer(number, Ok(&Answer { replayed, ..told }));
                        }
                        None => answer(number, Err(NotDone::Others)),
                    }
                }
                (Err(refusal), _) => answer(number, Err(NotDone::Refused(refusal))),
                (Ok(_), None) => answer(number, Err(NotDone::Others)),
            }
        }
        Ok(Ok(done))
    }

    /// What a call is about and does.
    fn known<'c, 'r>(
        &self,
        catalog: &'c Catalog,
        scope: Scope,
        part: &Part<'r>,
        (index, service): (u32, Option<&'c Service>),
        many: &mut Many<'_>,
    ) -> Result<Result<Known<'c, 'r>, Refusal<'r>>, Again> {
        let Some(Met { facts, pass, .. }) = many.meet(index).map_err(|_| Again)? else {
            return Ok(Err(Refusal::StaleHandle));
        };
        let plan = catalog.plans.get(facts.plan.0);
        let by_plan = || plan.and_then(|plan| catalog.services.get(plan.service.0)).map(|it| &**it);
        let Some(service) = service.or_else(by_plan) else { return Ok(Err(Refusal::StaleHandle)) };
        let reads_application = match part {
            Part::Named(request) => validate::reads_application(request, service),
            Part::Bound(handle, _) if !handle.fits(pass, service) || !scope.includes(service) => {
                return Ok(Err(Refusal::StaleHandle));
            }
            Part::Bound(..) if catalog.is_suspended(service.tenant) => {
                return Ok(Err(Refusal::TenantSuspended));
            }
            Part::Bound(..) => service.referrer_filters_required && part.call() != Call::Check,
        };
        if let Err(refusal) = self.promise(part.call(), service) {
            return Ok(Err(refusal));
        }
        let case = Case::of(catalog, service, facts, reads_application).ok_or(Again)?;
        let mut effects = Effects::new();
        let named = match part {
            Part::Named(request) => named_effects(&mut effects, &request.usage, &service.metrics),
            Part::Bound(_, request) => slot_effects(&mut effects, request.usage, &service.metrics),
        };
        if let Err(refusal) = named {
            return Ok(Err(refusal));
        }
        let (denial, flat) = match part {
            Part::Named(request) => (validate::denial(request, &case), request.flat_usage),
            Part::Bound(_, request) if request.call == Call::Check => (None, request.flat_usage),
            Part::Bound(_, request) => {
                (validate::denial_when_bound(request.referrer, &case), request.flat_usage)
            }
        };
        propagate(&mut effects, &service.metrics, flat);
        let counted = counted(&effects, part.log_code());
        Ok(Ok(Known { is_repeated: false, shown: Reports::new(), case, denial, effects, counted }))
    }

    /// What the calls of each application do, and whether its limits hold after all of them.
    fn weigh(
        &self,
        distinct: &[u32],
        indices: &[Option<u32>],
        known: &[Result<Known<'_, '_>, Refusal<'_>>],
        many: &mut Many<'_>,
    ) -> Vec<Account> {
        let mut accounts = Vec::with_capacity(distinct.len());
        for index in distinct {
            let mut asked = Effects::new();
            let mut plan = None;
            let own = known.iter().zip(indices).filter(|(_, at)| **at == Some(*index));
            for it in own.filter_map(|(it, _)| it.as_ref().ok()) {
                plan = Some(it.case.plan);
                if it.is_repeated {
                    continue;
                }
                for (slot, effect) in &it.effects {
                    push_effect(&mut asked, *slot, *effect);
                }
            }
            let mut reports = Reports::new();
            let mut held = Held::All;
            if let (Ok(Some(Met { mut subject, .. })), Some(plan)) = (many.meet(*index), plan) {
                subject.expire(self.now());
                held = read_reports(&mut reports, plan, &asked, true, &subject);
            }
            accounts.push(Account { index: *index, asked, after: reports.clone(), reports, held });
        }
        accounts
    }
}

/// What a call is answered, if all were `done` or it is one that kept them from it.
fn fate<'c, 'r>(
    it: Known<'c, 'r>,
    account: &Account,
    done: bool,
    windows: Windows,
) -> Option<(Case<'c>, Decided<'r>, Scratch)> {
    if it.is_repeated {
        let decided = Decided { denial: None, would_deny: None, reservation: None, windows };
        return Some((it.case, decided, Scratch { effects: it.effects, reports: it.shown }));
    }
    let in_shadow = it.case.in_shadow();
    let denied_by_limits = account.held == Held::Not && it.denial.is_none();
    let denial = it.denial.or(denied_by_limits.then_some(Denial::LimitsExceeded));
    if !done && (denial.is_none() || in_shadow) {
        return None;
    }
    let by_shadow = (account.held != Held::All).then_some(Denial::LimitsExceeded);
    let decided = Decided {
        denial: if in_shadow { None } else { denial },
        would_deny: if done { denial.or(by_shadow) } else { None },
        reservation: None,
        windows,
    };
    let scratch = Scratch {
        // Of a denial all that was asked together; of the rest what this call does.
        effects: if denied_by_limits { account.asked.clone() } else { it.effects },
        reports: if done { account.after.clone() } else { account.reports.clone() },
    };
    Some((it.case, decided, scratch))
}

fn count(it: &Known<'_, '_>, index: u32, many: &mut Many<'_>) {
    if it.is_repeated {
        return;
    }
    if let (Ok(Some(Met { mut subject, .. })), false) = (many.meet(index), it.counted.is_empty()) {
        subject.apply(None, &it.counted, 0);
        subject.note_traffic(None);
    }
}

/// Reads what a repetition is answered with.
fn show(it: &mut Known<'_, '_>, index: u32, many: &mut Many<'_>) {
    if let Ok(Some(Met { subject, .. })) = many.meet(index) {
        read_reports(&mut it.shown, it.case.plan, &it.effects, true, &subject);
    }
}

/// Alert levels that an application's counts have reached, and its limits as they are now.
fn tell(
    account: &mut Account,
    known: &[Result<Known<'_, '_>, Refusal<'_>>],
    indices: &[Option<u32>],
    many: &mut Many<'_>,
) {
    let own = known.iter().zip(indices).find(|(_, at)| **at == Some(account.index));
    let (Some((Ok(it), _)), Ok(Some(Met { mut subject, .. }))) = (own, many.meet(account.index)) else {
        return;
    };
    reach(&mut subject, &it.case.service.alert_limits, it.case.plan, &account.reports);
    // Effects beside it only say what is read: everything.
    read_reports(&mut account.after, it.case.plan, &account.asked, true, &subject);
    for (report, before) in account.after.iter_mut().zip(&account.reports) {
        report.exceeded = before.exceeded;
    }
}

#[cfg(test)]
mod tests;
