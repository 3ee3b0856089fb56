//! Promises: what an answer says of the durability of what its call counted.
//!
//! Four have a say, the first that says something wins: the request itself, the service that it is for, the listener
//! that it came by, and the kind of call. A call that counts nothing promises nothing.

/// What has become of what a call counted by the time it is answered. The greater promise is the stronger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Promise {
    /// It is in memory, and on disk with the next flush. A crash takes what is younger than the last completed flush.
    Interval,
    /// It is on disk, synced.
    Durable,
}

impl Promise {
    /// The promise of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Promise> {
        [Promise::Interval, Promise::Durable].into_iter().find(|promise| promise.name() == name)
    }

    /// What it is called wherever it is written: `interval` or `durable`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Promise::Interval => "interval",
            Promise::Durable => "durable",
        }
    }
}

/// On what terms a request is answered: what was said of its promise, its service left aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// What the request asks for.
    pub request: Option<Promise>,
    /// What its listener is set to.
    pub listener: Option<Promise>,
    /// What holds for this kind of call when nobody says anything.
    pub usual: Promise,
}

impl Terms {
    /// Of decisions, and of whatever else takes a decision's place: nobody waits.
    pub const DECISION: Terms = Terms::usual(Promise::Interval);
    /// Of reports: they tell of what happened already, so nobody is kept from anything while they wait.
    pub const REPORT: Terms = Terms::usual(Promise::Durable);

    const fn usual(usual: Promise) -> Terms {
        Terms { request: None, listener: None, usual }
    }

    /// The same, for a request that asks for `request` and came by a listener that is set to `listener`.
    #[must_use]
    pub fn asked(self, request: Option<Promise>, listener: Option<Promise>) -> Terms {
        Terms { request, listener, ..self }
    }

    /// What is promised, if the request's service is set to `service`.
    #[must_use]
    pub fn promise(self, service: Option<Promise>) -> Promise {
        self.request.or(service).or(self.listener).unwrap_or(self.usual)
    }
}

#[cfg(test)]
mod tests {
    use super::Promise::{Durable, Interval};
    use super::*;

    #[test]
    fn the_first_who_says_something_wins() {
        let all = [None, Some(Durable), Some(Interval)];
        let said = (0..27).map(|number| [all[number / 9], all[number / 3 % 3], all[number % 3]]);
        for said in said {
            let [request, service, listener] = said;
            for usual in [Terms::DECISION, Terms::REPORT] {
                let promise = usual.asked(request, listener).promise(service);
                let first = said.into_iter().flatten().next();
                assert_eq!(promise, first.unwrap_or(usual.usual), "{said:?}");
            }
        }
        assert!(Durable > Interval);
    }

    #[test]
    fn names_lead_back() {
        for promise in [Interval, Durable] {
            assert_eq!(Promise::parse(promise.name()), Some(promise));
        }
        assert_eq!(Promise::parse("Durable"), None);
    }
}
