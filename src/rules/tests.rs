//! Rules as they match, and beside them regular expressions that say the same.

use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;

fn rule(method: &str, pattern: &str) -> Rule {
    Rule { method: method.to_owned(), pattern: Pattern::parse(pattern).unwrap(), last: false }
}

/// What of these patterns, all of `GET`, a call matches.
fn matched(patterns: &[&str], target: &str) -> Vec<usize> {
    find(&patterns.iter().map(|pattern| rule("GET", pattern)).collect::<Vec<_>>(), "GET", target)
}

fn find(rules: &[Rule], method: &str, target: &str) -> Vec<usize> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = Path::parse(path.as_bytes()).unwrap();
    let parameters = Parameters::parse(query.as_bytes()).unwrap();
    Rules::compile(rules.iter().cloned()).unwrap().find(method, &path, &parameters)
}

#[track_caller]
fn assert_matches(pattern: &str, matching: &[&str], others: &[&str]) {
    for target in matching {
        assert_eq!(matched(&[pattern], target), [0], "{pattern} matches {target}");
    }
    for target in others {
        assert_eq!(matched(&[pattern], target), [0; 0], "{pattern} does not match {target}");
    }
}

#[test]
fn a_pattern_is_a_prefix_unless_it_ends_in_a_dollar() {
    assert_matches("/", &["/", "/a", "/a/b?c"], &[]);
    assert_matches("/$", &["/", "//", "/?a"], &["/a"]);
    assert_matches("/a/b", &["/a/b", "/a/bc/d", "/a/b/"], &["/a", "/a/", "/b/a/b", "/A/b"]);
    assert_matches("/a/", &["/a/", "/a/b"], &["/a", "/ab"]);
    assert_matches("/a$", &["/a", "/a?b=c"], &["/a/", "/ab", "/a/b"]);
    assert_matches("/a/$", &["/a/"], &["/a", "/a/b"]);
}

#[test]
fn a_variable_is_one_byte_at_least_and_never_a_slash() {
    assert_matches("/{x}", &["/a", "/a/b", "/%20"], &["/"]);
    assert_matches("/a/{x}/c", &["/a/b/c", "/a/./b/cd"], &["/a//c", "/a/b/b/c", "/a/b"]);
    assert_matches("/a/{x}$", &["/a/b", "/a/b.json"], &["/a/", "/a/b/", "/a/b/c"]);
    assert_matches(
        "/{x}.json$",
        &["/a.json", "/.json.json", "/a.b.json"],
        &["/.json", "/a.json5", "/a/.json"],
    );
    assert_matches("/{x}.json", &["/a.json", "/a.json5/b"], &["/.json", "/a/.json"]);
    assert_matches("/{x}{y}$", &["/ab", "/abc"], &["/a", "/a/b"]);
    assert_matches("/{x}-{y}/z", &["/a-b/z", "/--b/z", "/a--/z"], &["/-b/z", "/a-/z", "/a-b"]);
    assert_matches("/{x}aba{y}$", &["/xabay", "/ababab", "/abaabax"], &["/abab", "/xaba"]);
    assert_matches("/v{x}", &["/v1", "/vv"], &["/v", "/v/1"]);
}

#[test]
fn no_spelling_gets_round_a_rule() {
    assert_matches("/a/b$", &["//a///b", "/a/./b", "/a/c/../b", "/%61/b", "/a%2Fb", "/a/%2e/b"], &["/a/b/"]);
    assert_matches("/a//b$", &["/a/b", "/a//b"], &[]);
    assert_matches("/a%2Fb$", &["/a/b"], &["/a%252Fb"]);
    assert_matches("/a%20b", &["/a%20b", "/a b"], &["/a+b"]);
    assert_matches("/%7Bx%7D%24$", &["/{x}$", "/%7bx%7d$"], &["/a"]);
    assert_matches("/a/../b", &[], &["/b", "/a/b", "/a/../b"]);
    assert_matches("/.well-known", &["/.well-known/x"], &["/well-known"]);
}

#[test]
fn a_query_is_asked_for_in_any_order() {
    assert_matches(
        "/a?b=1&c={x}",
        &["/a?c=2&b=1", "/a?b=1&c", "/ab?z=9&b=1&c="],
        &["/a", "/a?b=1", "/a?b=2&c=1"],
    );
    assert_matches("/a?b=1", &["/a?b=2&b=1"], &["/a?b=1&b=2", "/a?B=1", "/a?b=12"]);
    assert_matches("/a?b", &["/a?b", "/a?b="], &["/a?b=1", "/a"]);
    assert_matches("/a?b=x+y%26", &["/a?b=x%20y%26"], &["/a?b=x+y&"]);
    assert_matches("/a$?b=1", &["/a?b=1"], &["/a/?b=1"]);
    assert_matches("/a?b=c?d", &["/a?b=c?d"], &["/a?b=c"]);
    assert_matches("/a?b=x{y}", &["/a?b=z", "/a?b"], &["/a?c"]);
}

#[test]
fn methods_are_told_apart() {
    let rules = [rule("GET", "/"), rule("POST", "/"), rule("GET", "/a")];
    assert_eq!(find(&rules, "GET", "/a"), [0, 2]);
    assert_eq!(find(&rules, "POST", "/a"), [1]);
    assert_eq!(find(&rules, "HEAD", "/a"), [0; 0]);
    assert_eq!(find(&rules, "get", "/a"), [0; 0]);
}

#[test]
fn all_rules_that_match_count_up_to_the_last_in_their_order() {
    let mut rules: Vec<_> = ["/a/b", "/", "/a?k=1", "/{x}", "/a/b$"].map(|it| rule("GET", it)).into();
    assert_eq!(find(&rules, "GET", "/a/b"), [0, 1, 3, 4]);
    rules[2].last = true;
    assert_eq!(find(&rules, "GET", "/a/b"), [0, 1, 3, 4], "a last rule that does not match stops nothing");
    assert_eq!(find(&rules, "GET", "/a/b?k=1"), [0, 1, 2]);
    rules[0].last = true;
    assert_eq!(find(&rules, "GET", "/a/b?k=1"), [0]);
    let counted = [("hits", 1), ("b", 2), ("hits", 3), ("b", u64::MAX)];
    assert_eq!(usage(counted), [("hits", 4), ("b", u64::MAX)]);
}

#[test]
fn a_backends_rule_counts_where_the_call_goes_to_it_or_to_none() {
    let counts = |owner, backend| counts_at(owner, backend);
    assert!(counts(None, None) && counts(None, Some(1)) && counts(Some(1), Some(1)) && counts(Some(1), None));
    assert!(!counts(Some(1), Some(2)));
    let [root, outer, inner, path] =
        ["/", "/a", "/a/b", "/a/b/c"].map(|it| Path::parse(it.as_bytes()).unwrap());
    let found = |paths: &[&Path]| {
        let found = innermost(paths.iter().enumerate().map(|(at, path)| (*path, at)), &path);
        found.map(|(at, rest)| (at, rest.render()))
    };
    assert_eq!(found(&[&root, &inner, &outer]), Some((1, "/c".to_owned())));
    assert_eq!(found(&[&root, &outer]), Some((1, "/b/c".to_owned())));
    assert_eq!(found(&[]), None);
}

#[test]
fn there_are_at_most_so_many_rules() {
    let rules = |count| (0..count).map(|at| rule("GET", &format!("/{at}")));
    assert!(Rules::compile(rules(RULES_MAX)).is_ok());
    assert_eq!(Rules::compile(rules(RULES_MAX + 1)).err(), Some(TooMany));
}

/// A pattern and paths that are likely to match it, as texts. Few letters, so that things meet.
#[derive(Clone, Debug)]
struct Made {
    pattern: String,
    method: &'static str,
    last: bool,
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => "[ab]{1,3}",
        3 => Just("{}".to_owned()),
        3 => Just("/".to_owned()),
        1 => Just(".".to_owned()),
        1 => prop_oneof![Just("%2F"), Just("%61"), Just("%2e"), Just("%20"), Just("%7B")].prop_map(str::to_owned),
    ]
}

fn made() -> impl Strategy<Value = Made> {
    let query = prop_oneof![
        4 => Just(String::new()),
        1 => Just("?k=1".to_owned()),
        1 => Just("?k={v}".to_owned()),
        1 => Just("?k=1&l=%61".to_owned()),
    ];
    let parts = (prop::collection::vec(piece(), 0..8), any::<bool>(), query);
    let method = prop_oneof![3 => Just("GET"), 1 => Just("POST")];
    (parts, method, prop::bool::weighted(0.1)).prop_map(|((pieces, whole, query), method, last)| {
        let mut pattern = "/".to_owned();
        for (at, piece) in pieces.iter().enumerate() {
            pattern += &piece.replace("{}", &format!("{{n{at}}}"));
        }
        pattern += if whole { "$" } else { "" };
        Made { pattern: pattern + &query, method, last }
    })
}

/// A target made of a pattern: its variables filled in, and perhaps something changed.
fn target(pattern: &str, fill: &[String], change: usize, at: usize) -> String {
    let path = pattern.split('?').next().unwrap().trim_end_matches('$');
    let variable = Regex::new(r"\{\w+\}").unwrap();
    let mut filled = path.to_owned();
    let mut fill = fill.iter().cycle();
    while let Some(found) = variable.find(filled.as_bytes()).map(|it| it.range()) {
        filled.replace_range(found, fill.next().unwrap());
    }
    let slashes: Vec<_> = filled.match_indices('/').map(|(at, _)| at).collect();
    let slash = slashes[at % slashes.len()];
    match change {
        0 => filled.insert(slash, '/'),
        1 => filled.insert_str(slash, "/."),
        2 => filled.insert_str(slash, "/x/.."),
        3 => filled.push_str("/b"),
        4 => filled.push('a'),
        5 => filled = filled.replace('a', "%61"),
        6 => drop(filled.pop()),
        _ => {}
    }
    filled + ["", "?k=1", "?k=2&l=a&k=1", "?l=a&k", "?k=1&l=%61"][at % 5]
}

/// The path as a call's: by replacing what may be replaced until nothing is left to.
fn canonical(path: &str) -> Option<Vec<u8>> {
    let escapes = Regex::new("%[0-9A-Fa-f]{2}").unwrap().find_iter(path.as_bytes()).count();
    if escapes != path.matches('%').count() {
        return None;
    }
    let mut path: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    for (pattern, by) in [("(?s-u)//+", "/"), ("(?s-u)(/\\.)+(/|$)", "/")] {
        path = Regex::new(pattern).unwrap().replace_all(&path, by.as_bytes()).into_owned();
    }
    let up = Regex::new(r"(?s-u)/([^/]*)/\.\.(/|$)").unwrap();
    while let Some(found) = up.captures_iter(&path).find(|it| &it[1] != b"..") {
        let range = found.get(0).unwrap().range();
        path.splice(range, *b"/");
    }
    let leads_out = path == b"/.." || path.starts_with(b"/../");
    (path.first() == Some(&b'/') && !leads_out).then_some(path)
}

/// The regular expression of a pattern's path.
fn expression(pattern: &str) -> Regex {
    let path = pattern.split('?').next().unwrap();
    let mut text = "(?s-u)^".to_owned();
    let tokens = Regex::new(r"\{\w+\}|%[0-9A-Fa-f]{2}|(?s-u:.)").unwrap();
    for token in tokens.find_iter(path.as_bytes()).map(|it| std::str::from_utf8(it.as_bytes()).unwrap()) {
        text += &match token {
            "$" => "$".to_owned(),
            "/" | "%2F" if text.ends_with('/') => String::new(),
            token if token.starts_with('{') => "[^/]+".to_owned(),
            token => {
                let decoded = percent_encoding::percent_decode_str(token).decode_utf8().unwrap().into_owned();
                regex::escape(&decoded)
            }
        };
    }
    Regex::new(&text).unwrap()
}

/// What matches, by regular expressions, one rule after the other.
fn oracle(rules: &[Made], method: &str, path: &[u8], query: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let value = |name: &str| {
            let pairs = query.split('&').filter(|pair| !pair.is_empty());
            let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs.rfind(|(key, _)| *key == name).map(|(_, value)| value.replace("%61", "a"))
        };
        let wanted = rule.pattern.split_once('?').map_or("", |(_, query)| query);
        let has_all = wanted.split('&').filter(|pair| !pair.is_empty()).all(|pair| {
            let (name, wanted) = pair.split_once('=').unwrap();
            value(name).is_some_and(|value| wanted == "{v}" || value == wanted.replace("%61", "a"))
        });
        if rule.method == method && has_all && expression(&rule.pattern).is_match(path) {
            found.push(at);
            if rule.last {
                break;
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn rules_match_what_regular_expressions_match(
        rules in prop::collection::vec(made(), 1..12),
        calls in prop::collection::vec(
            (0usize..12, prop::collection::vec("[ab.]{0,2}", 1..4), 0usize..10, any::<usize>(), prop::bool::weighted(0.8)),
            1..6,
        ),
    ) {
        let parsed = rules.iter().map(|made| Rule { last: made.last, ..rule(made.method, &made.pattern) });
        let compiled = Rules::compile(parsed).unwrap();
        for (of, fill, change, at, is_get) in calls {
            let target = target(&rules[of % rules.len()].pattern, &fill, change, at);
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let method = if is_get { "GET" } else { "POST" };
            let read = Path::parse(path.as_bytes());
            let Some(canonical) = canonical(path) else {
                prop_assert!(read.is_err(), "{}", target);
                continue;
            };
            let found = read.map(|path| compiled.find(method, &path, &Parameters::parse(query.as_bytes()).unwrap()));
            prop_assert_eq!(found, Ok(oracle(&rules, method, &canonical, query)), "{} {}", method, target);
        }
    }
}
