//! Deliveries: order, tries, restarts, stops.

use super::*;

#[test]
fn events_arrive_in_order_each_with_an_id_and_the_record_as_it_was() {
    let (world, receiver) = (World::new(), Receiver::new(|_| 200));
    tell_all(&world, &receiver.url);
    let _deliveries = world.admin.deliver(http()).unwrap();
    let account = sign_up(&world, "acme");
    world.put(&format!("accounts/{account}"), json!({"org_name": "Acme & Co"}));
    world.delete(&format!("accounts/{account}"));
    let got = receiver.has(5);
    let actions: Vec<_> = got.iter().map(|it| (it.text("type"), it.text("action"))).collect();
    let expected = [("account", "created"), ("user", "created"), ("account", "updated"), ("user", "deleted")];
    let of = |(kind, action): (&str, &str)| (kind.to_owned(), action.to_owned());
    assert_eq!(actions[..4], expected.map(of));
    let ids: Vec<_> = got.iter().map(Got::id).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    assert!(got[0].head.starts_with("POST /hook HTTP/1.1"), "{}", got[0].head);
    assert_eq!(got[0].header("content-type"), "application/xml");
    let xml = &got[2].body;
    let begin = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<event><action>updated</action><type>account</type><object><account><id>";
    assert!(xml.starts_with(begin) && xml.contains("<org_name>Acme &amp; Co</org_name>"), "{xml}");
    assert!(got[0].body.contains("<org_name>acme</org_name>"), "{}", got[0].body);
    // What it was before it was gone.
    assert!(got[4].body.contains("<org_name>Acme &amp; Co</org_name>"), "{}", got[4].body);
    until(|| waiting(&world).is_empty(), "what was told still waits");
    a_while();
    assert_eq!((receiver.got().len(), failures(&world)), (5, Vec::new()));
}

/// Waits until it is on the shelf how often the first event was tried.
fn is_tried(world: &World, tries: u32) {
    let tried = || world.admin.desk.look().unwrap().records.find::<outbox::Tried>(world.tenant.0).unwrap();
    until(|| tried().is_some_and(|it| it.tries == tries), "a try is not put down");
}

/// Fails for one account.
fn but_for_acme(got: &Got) -> u16 {
    if got.body.contains("<org_name>acme</org_name>") { 500 } else { 204 }
}

#[test]
fn a_call_that_fails_is_made_six_times_a_minute_apart_and_then_comes_the_next_event() {
    let (world, receiver) = (World::new(), Receiver::new(but_for_acme));
    tell_of_accounts(&world, &receiver.url);
    let _deliveries = world.admin.deliver(http()).unwrap();
    sign_up(&world, "acme");
    sign_up(&world, "next");
    for tries in 1..=5 {
        is_tried(&world, tries);
        let calls = receiver.got().len();
        assert_eq!(calls, tries as usize);
        world.now.fetch_add(RETRY_INTERVAL_MS - 1, Ordering::Relaxed);
        a_while();
        assert_eq!((receiver.got().len(), failures(&world)), (calls, Vec::new()), "before its time");
        world.now.fetch_add(1, Ordering::Relaxed);
    }
    let got = receiver.has(7);
    assert_eq!((got[6].text("org_name"), got[6].id() > got[0].id()), ("next".to_owned(), true));
    assert!(got[..6].iter().all(|it| it == &got[0]), "{got:?}");
    until(|| failures(&world).len() == 1, "it does not count as failed");
    let failure = &failures(&world)[0];
    assert_eq!(failure["error"], "the answer was HTTP status 500");
    assert_eq!((&failure["url"], &failure["event"]), (&json!(receiver.url), &json!(got[0].body)));
    assert_eq!(failure["id"], got[0].id());
    until(|| waiting(&world).is_empty(), "what was told still waits");
    // The list of failures is forgotten, and what was in them is not told to the audit log.
    assert_eq!(world.delete("webhooks/failures").0, 200);
    assert_eq!(failures(&world), [Value::Null; 0]);
    let (_, log) = world.get("audit_log");
    let forgotten = &log["audit_log"][0]["entry"]["objects"][0];
    assert_eq!(
        (&forgotten["type"], &forgotten["before"]["event"]),
        (&json!("webhook_failure"), &json!("[redacted]"))
    );
}

#[test]
fn a_restart_goes_on_with_the_tries_and_times_that_were() {
    let (world, receiver) = (World::new(), Receiver::new(but_for_acme));
    tell_of_accounts(&world, &receiver.url);
    let deliveries = world.admin.deliver(http()).unwrap();
    sign_up(&world, "acme");
    is_tried(&world, 1);
    world.now.fetch_add(RETRY_INTERVAL_MS, Ordering::Relaxed);
    is_tried(&world, 2);
    sign_up(&world, "next");
    deliveries.stop();
    let now = world.now.load(Ordering::Relaxed);
    let world = world.reopen();
    assert_eq!(waiting(&world).len(), 2);
    world.now.store(now + RETRY_INTERVAL_MS - 1, Ordering::Relaxed);
    let _deliveries = world.admin.deliver(http()).unwrap();
    a_while();
    assert_eq!(receiver.got().len(), 2, "before its time");
    world.now.fetch_add(1, Ordering::Relaxed);
    for tries in 3..=5 {
        is_tried(&world, tries);
        world.now.fetch_add(RETRY_INTERVAL_MS, Ordering::Relaxed);
    }
    let got = receiver.has(7);
    assert!(got[..6].iter().all(|it| it.id() == got[0].id()), "the tries before it count");
    assert_eq!(got[6].text("org_name"), "next");
    until(|| waiting(&world).is_empty() && failures(&world).len() == 1, "it does not end");
}

#[test]
fn an_address_that_may_not_be_called_is_a_failure_at_once() {
    let (world, receiver) = (World::new(), Receiver::new(|_| 200));
    tell_of_accounts(&world, &receiver.url);
    let reach = Reach::outside(&[], Vec::new());
    let options = Options { reach, timeout: POST_TIMEOUT, body_bytes_max: 0, roots: Roots::Web };
    let _deliveries = world.admin.deliver(Arc::new(Http::new(options).unwrap())).unwrap();
    sign_up(&world, "acme");
    sign_up(&world, "next");
    until(|| failures(&world).len() == 2, "they are not failures");
    let error = failures(&world)[0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("is this machine") && error.contains("--outgoing-allow"), "{error}");
    assert_eq!((waiting(&world).len(), receiver.got().len()), (0, 0));
}

#[test]
fn a_tenant_that_does_not_answer_keeps_nobody_waiting() {
    let (world, receiver) = (World::new(), Receiver::new(|_| 200));
    tell_of_accounts(&world, "http://slow.example/");
    let token = another_tenant(&world);
    let ask =
        json!({"url": receiver.url, "active": true, "provider_actions": true, "account_created_on": true});
    assert_eq!(world.send(Method::Put, "webhooks.json", ask, Some(token)).status, 200);
    let is_held = Arc::new(AtomicBool::new(true));
    let (held, begun, fast) = (Arc::clone(&is_held), Arc::new(AtomicUsize::new(0)), http());
    let count = Arc::clone(&begun);
    let post = Told(move |url: &str| {
        if url.contains("slow.example") {
            count.fetch_add(1, Ordering::Relaxed);
            until(|| !held.load(Ordering::Relaxed), "it is never let go");
            return Ok(200);
        }
        fast.post(url, &[(ID_HEADER, "1")], b"<org_name>fast</org_name>")
    });
    let _deliveries = world.admin.deliver(Arc::new(post)).unwrap();
    sign_up(&world, "slow one");
    sign_up(&world, "slow two");
    until(|| begun.load(Ordering::Relaxed) == 1, "it is not called");
    for number in 1..=20 {
        let ask = json!({"org_name": format!("fast {number}"), "username": format!("fast{number}")});
        assert_eq!(world.send(Method::Post, "signup.json", ask, Some(token)).status, 201);
    }
    receiver.has(20);
    assert_eq!(begun.load(Ordering::Relaxed), 1, "of a tenant one event is on its way at a time");
    is_held.store(false, Ordering::Relaxed);
    until(|| waiting(&world).is_empty(), "the slow one is not told in the end");
    assert_eq!(begun.load(Ordering::Relaxed), 2);
}

#[test]
fn a_stop_does_not_wait_for_a_call_that_hangs_and_the_next_start_makes_it_again() {
    let world = World::new();
    tell_of_accounts(&world, "http://hangs.example/");
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let hangs = Told(move |_: &str| {
        count.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(60));
        Ok(200)
    });
    let deliveries = world.admin.deliver(Arc::new(hangs)).unwrap();
    sign_up(&world, "acme");
    until(|| begun.load(Ordering::Relaxed) == 1, "it is not called");
    let stopping = Instant::now();
    deliveries.stop();
    let took = stopping.elapsed();
    assert!(took < courier::STOP_MAX + Duration::from_secs(5), "{took:?}");
    let world = world.reopen();
    let _deliveries = world.admin.deliver(Arc::new(Told(|_: &str| Ok(200)))).unwrap();
    until(|| waiting(&world).is_empty(), "it is not made again");
}

#[test]
fn a_panic_is_a_call_that_failed_or_begins_anew_and_no_more() {
    let world = World::new();
    tell_of_accounts(&world, "http://panics.example/");
    let times = Arc::new(AtomicUsize::new(0));
    let (calls, reads) = (Arc::clone(&times), Arc::new(AtomicUsize::new(0)));
    let panics = Told(move |_: &str| {
        assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "the first call panics");
        Ok(200)
    });
    // The thread itself does when it reads the clock for the third time.
    let (now, read) = (Arc::clone(&world.now), Arc::clone(&reads));
    let clock: crate::plugin::admin::Clock = Arc::new(move || {
        assert!(read.fetch_add(1, Ordering::Relaxed) != 2, "this reading panics");
        UnixMillis(now.load(Ordering::Relaxed))
    });
    let _deliveries = start(&world.admin.desk, &clock, &world.admin.bell, Arc::new(panics)).unwrap();
    sign_up(&world, "acme");
    until(|| reads.load(Ordering::Relaxed) > 3, "it did not go on");
    until(|| times.load(Ordering::Relaxed) > 0, "it is not called");
    for _ in 0..2 {
        a_while();
        world.now.fetch_add(RETRY_INTERVAL_MS, Ordering::Relaxed);
    }
    until(|| waiting(&world).is_empty(), "it is not told in the end");
    assert_eq!(failures(&world), [Value::Null; 0]);
}

#[test]
fn nothing_is_told_that_a_crash_may_take_back() {
    let world = World::new();
    tell_of_accounts(&world, "http://told.example/");
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let post = Told(move |_: &str| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(200)
    });
    let disk = world.hold_disk();
    let _deliveries = world.admin.deliver(Arc::new(post)).unwrap();
    sign_up(&world, "acme");
    a_while();
    assert_eq!((waiting(&world).len(), told.load(Ordering::Relaxed)), (1, 0));
    drop(disk);
    until(|| told.load(Ordering::Relaxed) == 1, "it is on disk now");
}
