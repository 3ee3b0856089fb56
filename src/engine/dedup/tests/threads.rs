//! The same ids from many threads at once, while they are cut, sealed and looked up.

use super::*;
use crate::engine::tests::{NOW, THREADS};
use crate::model::time::Period;

const IDS: u64 = 400;

#[test]
fn each_id_is_counted_once_whoever_sends_it_and_however_often() {
    let mut place = Place::new(2, 10_000);
    let (counted, replayed, running) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(true));
    std::thread::scope(|scope| {
        let (place, counted, replayed, running) = (&place, &counted, &replayed, &running);
        scope.spawn(move || {
            for round in 0_u64.. {
                if !running.load(Ordering::Relaxed) {
                    break;
                }
                // Moves ids from one place to the next all the time.
                if round % 3 == 0 { place.seal(NOW) } else { place.engine().flush(NOW).unwrap() }
            }
        });
        let callers: Vec<_> = (0..THREADS as u64)
            .map(|thread| {
                scope.spawn(move || {
                    for step in 0..IDS {
                        // Half of the threads come from the other end; neighbours at the same time.
                        let number = if thread % 2 == 0 { step } else { IDS - 1 - step };
                        let id = format!("id{number}");
                        let said = use_once(place.engine(), Call::Authrep, "key0", &id, 1, NOW).unwrap();
                        let sum = if said == Said::Yes(None) { counted } else { replayed };
                        sum.fetch_add(1, Ordering::Relaxed);
                        let next = format!("id{}", number + 1);
                        let rows = [(Some(&*next), "key1", 1, None), (Some(&*id), "key1", 1, None)];
                        report_once(place.engine(), None, &rows, NOW, |reported| reported.map(drop).unwrap());
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        running.store(false, Ordering::Relaxed);
    });
    let threads = THREADS as u64;
    assert_eq!(counted.load(Ordering::Relaxed), IDS);
    assert_eq!(replayed.load(Ordering::Relaxed), IDS * (threads - 1));
    place.engine().flush(NOW).unwrap();
    place.crash();
    let counts = [0, 1].map(|application| place.world.count(application, 0, Period::Eternity));
    assert_eq!(counts, [IDS, IDS + 1]);
    assert_eq!(place.engine().id_numbers().held, 2 * IDS + 1);
}
