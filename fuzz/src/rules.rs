//! Mapping rules and a call: patterns a line each, and as the last line the call's target.

use tollgate::rules::{Parameters, Path, Pattern, Rule, Rules, below};

/// One input.
pub fn run(input: &[u8]) {
    let mut lines: Vec<_> = input.split(|byte| *byte == b'\n').take(32).collect();
    let target = lines.pop().unwrap_or_default();
    let texts = lines.into_iter().filter_map(|line| std::str::from_utf8(line).ok());
    let rules: Vec<_> = texts.filter_map(rule).collect();
    let at = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let Ok(path) = Path::parse(&target[..at]) else { return };
    let Ok(parameters) = Parameters::parse(target.get(at + 1..).unwrap_or_default()) else { return };
    // What is sent on is what was compared.
    assert_eq!(Path::parse(path.render().as_bytes()).as_ref(), Ok(&path));
    let segments: Vec<_> = path.segments().collect();
    assert!(segments.iter().rev().skip(1).all(|it| !it.is_empty()));
    assert!(segments.iter().all(|it| *it != b"." && *it != b".."));
    let find = |rules: &[Rule]| {
        Rules::compile(rules.iter().cloned()).map_or(Vec::new(), |it| it.find("GET", &path, &parameters))
    };
    // Each rule matches or not, whatever stands beside it.
    let alone = (0..rules.len()).filter(|at| find(&rules[*at..=*at]) == [0]);
    assert_eq!(find(&rules), alone.collect::<Vec<_>>());
}

fn rule(text: &str) -> Option<Rule> {
    let pattern = Pattern::parse(text).ok()?;
    // It stays one wherever a backend API is used, if there is room.
    if text.len() < 1024 {
        assert!(Pattern::parse(&below("/a$%", text)).is_ok());
    }
    Some(Rule { method: "GET".to_owned(), pattern, last: false })
}
