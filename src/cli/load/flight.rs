//! Requests of a connection that are not answered yet.

/// A place for each request that may be unanswered at a time, with as many applications as a request has calls.
#[derive(Debug)]
pub(super) struct Flight {
    calls: usize,
    /// When each should have been sent, in nanoseconds of the run.
    intended_ns: Vec<u64>,
    who: Vec<u32>,
    is_open: Vec<bool>,
    free: Vec<u32>,
}

impl Flight {
    pub(super) fn new(depth: usize, calls: usize) -> Flight {
        Flight {
            calls,
            intended_ns: vec![0; depth],
            who: vec![0; depth * calls],
            is_open: vec![false; depth],
            free: (0..).take(depth).collect(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// How many are unanswered.
    pub(super) fn unanswered(&self) -> usize {
        self.intended_ns.len() - self.free.len()
    }

    /// A place for one more request, and whom it calls for, to be filled in.
    pub(super) fn take(&mut self, intended_ns: u64) -> Option<(u32, &mut [u32])> {
        let place = self.free.pop()?;
        let at = place as usize;
        (self.intended_ns[at], self.is_open[at]) = (intended_ns, true);
        Some((place, &mut self.who[at * self.calls..(at + 1) * self.calls]))
    }

    /// Whom the request at `place` calls for; `None` if there is no such request.
    pub(super) fn who(&self, place: u32) -> Option<&[u32]> {
        let at = place as usize;
        let is_open = self.is_open.get(at).copied().unwrap_or(false);
        is_open.then(|| &self.who[at * self.calls..(at + 1) * self.calls])
    }

    /// The request at `place`, which is open, is answered; when it should have been sent.
    pub(super) fn close(&mut self, place: u32) -> u64 {
        let at = place as usize;
        self.is_open[at] = false;
        self.free.push(place);
        self.intended_ns[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_requests_as_there_is_depth_are_open_at_once() {
        let mut flight = Flight::new(2, 3);
        let (first, who) = flight.take(10).unwrap();
        who.copy_from_slice(&[7, 8, 9]);
        let (second, _) = flight.take(20).unwrap();
        assert!(flight.take(30).is_none() && !flight.has_room());
        assert_eq!((flight.who(first), flight.unanswered()), (Some(&[7, 8, 9][..]), 2));
        assert_eq!(flight.close(first), 10);
        assert_eq!((flight.who(first), flight.who(99)), (None, None));
        assert_eq!((flight.close(second), flight.unanswered()), (20, 0));
    }
}
