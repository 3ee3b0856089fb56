//! Lines of `tollgate counters import`.

use tollgate::model::time::Period;
use tollgate::node::counters::Line;

/// One input.
pub fn run(bytes: &[u8]) {
    match Line::parse(bytes) {
        Ok(line) => {
            for counts in line.counters.values().chain(line.response_codes.values()) {
                let Ok(windows) = counts.windows() else { continue };
                // What is named is there, from its first second on, and nothing else.
                let named = [
                    (Period::Minute, counts.minute),
                    (Period::Hour, counts.hour),
                    (Period::Day, counts.day),
                    (Period::Week, counts.week),
                    (Period::Month, counts.month),
                    (Period::Year, counts.year),
                    (Period::Eternity, counts.eternity),
                ];
                for (period, count) in named {
                    let window = windows[period as usize];
                    assert_eq!(
                        window.map(|(start, value)| (start.secs(), value)),
                        count.map(|count| (count.start_s, count.value))
                    );
                }
            }
            let written = serde_json::to_vec(&line).expect("it can be written");
            assert_eq!(Line::parse(&written), Ok(line));
        }
        Err(reason) => assert_eq!(reason.lines().count(), 1, "{reason:?}"),
    }
}
