//! The binary protocol: frames and the bodies of every operation, in both directions.

use tollgate::wire::{
    BatchAnswer, Bound, Call, Challenge, Decision, FRAME_MAX_DEFAULT, Failure, Frame, Goodbye, Hello, Items,
    Operation, Pong, Proof, QueryAnswer, Receipt, Stats, Welcome, put_call, split,
};

fn request(operation: Operation, body: &[u8]) {
    match operation {
        Operation::HELLO => {
            if let Ok(hello) = Hello::read(body) {
                let mut again = Vec::new();
                hello.put(&mut again);
                assert_eq!(Hello::read(&again), Ok(hello));
            }
        }
        Operation::PROOF => drop(Proof::read(body)),
        Operation::BIND => drop(Call::read_bind(body)),
        Operation::BATCH => {
            if let Ok(items) = Items::read(body) {
                assert_eq!(items.count(), items.len());
                items.for_each(|item| {
                    request(
                        if item.operation.fits_batch() { item.operation } else { Operation::PING },
                        item.body,
                    )
                });
            }
        }
        Operation::RESERVE | Operation::COMMIT | Operation::CANCEL => call(Call::read_longer(body), true),
        _ => call(Call::read(body), false),
    }
}

/// What was read is the same when it is written and read again.
fn call(read: Result<Call<'_>, tollgate::wire::WireError>, longer: bool) {
    let Ok(call) = read else { return };
    let rows: Vec<_> = call.rows.iter().collect();
    let mut bytes = Vec::new();
    // Of the two readings of the same bytes the one that has them all.
    let call = Call { ttl_s: 0, ..call };
    put_call(&mut bytes, &call, &rows, longer);
    let again = if longer { Call::read_longer(&bytes) } else { Call::read(&bytes) };
    let again = again.expect("what was written can be read");
    assert_eq!(again.rows.iter().collect::<Vec<_>>(), rows);
    assert_eq!(again.usage.as_slice(), call.usage.as_slice());
    assert_eq!(
        (again.handle, again.reservation, again.timestamp),
        (call.handle, call.reservation, call.timestamp)
    );
    assert_eq!((again.service, again.user_key, again.app_id), (call.service, call.user_key, call.app_id));
    assert_eq!(again.app_key, call.app_key);
    assert_eq!(again.metrics.as_slice(), call.metrics.as_slice());
}

fn answer(body: &[u8]) {
    let _ = (Challenge::read(body), Welcome::read(body), Goodbye::read(body), Failure::read(body));
    let _ = (Receipt::read(body), Bound::read(body), Pong::read(body), Stats::read(body));
    if let Ok((decision, mut fields)) = Decision::read(body) {
        while let Ok(Some(_)) = fields.take() {}
        let mut again = Vec::new();
        decision.put(&mut again);
        assert_eq!(Decision::read(&again).map(|(decision, _)| decision), Ok(decision));
    }
    if let Ok(found) = QueryAnswer::read(body) {
        let mut again = Vec::new();
        found.put(&mut again);
        assert_eq!((again.len(), QueryAnswer::read(&again)), (found.len(), Ok(found)));
    }
    if let Ok((_, items)) = BatchAnswer::read(body) {
        for item in items {
            let _ = Decision::read(item.body);
        }
    }
}

/// One input: frames, one after the other, as long as they can be told apart.
pub fn run(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((header, body))) = split(rest, FRAME_MAX_DEFAULT) {
        rest = &rest[header.length as usize..];
        if header.operation.0 & Operation::ANSWER == 0 {
            request(header.operation, body);
        } else {
            answer(body);
        }
        let mut again = Vec::new();
        let mut frame = Frame::request(&mut again, header.operation, header.flags, header.id);
        frame.body().extend_from_slice(body);
        assert_eq!(frame.end(), header.length as usize);
    }
}
