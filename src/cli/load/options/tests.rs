//! Flags as people write them.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    load: Load,
}

fn plan_with(words: &str, token: Option<&str>) -> Result<Plan, String> {
    let words = ["load"].into_iter().chain(words.split_whitespace());
    let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    line.load.plan(|name| token.filter(|_| name == TOKEN_VARIABLE).map(str::to_owned)).map_err(|error| {
        match error {
            PlanError::Usage(text) => text,
            PlanError::Load(error) => error.to_string(),
        }
    })
}

fn plan(words: &str) -> Result<Plan, String> {
    plan_with(words, None)
}

#[test]
fn nothing_said_is_a_node_of_our_own() {
    let plan = plan("").ok().unwrap();
    let Whom::Own { shape, applications, over_http } = plan.whom else { panic!() };
    assert_eq!((shape, applications, over_http), (Shape::chain(), 1000, false));
    let setup = plan.setup;
    assert_eq!((setup.connections, setup.depth, setup.batch, setup.by), (16, 64, 0, By::Handle));
    assert_eq!((plan.keys, plan.rate), (Distribution::Uniform, None));
    assert_eq!((plan.duration, plan.warm_up), (Duration::from_secs(10), Duration::from_secs(1)));
}

#[test]
fn over_http_calls_go_one_by_one_and_by_key() {
    let plan = plan("--protocol http --limit 5 --shape wide --applications 7").ok().unwrap();
    assert_eq!((plan.setup.depth, plan.setup.by), (1, By::Key));
    let Whom::Own { shape, applications, over_http } = plan.whom else { panic!() };
    assert_eq!((shape, applications, over_http), (Shape::wide().with_limit(5), 7, true));
}

#[test]
fn a_running_node_is_called_with_what_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let (keys, token) = (dir.path().join("keys"), dir.path().join("token"));
    std::fs::write(&keys, "k2\n\n k3 \n").unwrap();
    std::fs::write(&token, "of the file\n").unwrap();
    let words = format!(
        "tcp://127.0.0.1:7 --service s --token-file {} --user-key k1 --user-keys {} --metric a --metric b --pid 9",
        token.display(),
        keys.display()
    );
    let plan = plan_with(&words, Some("of the variable")).ok().unwrap();
    let Whom::Running { target, access, service, user_keys, metrics, pid } = plan.whom else { panic!() };
    assert_eq!(
        (target.to_string().as_str(), service.as_deref(), pid),
        ("tcp://127.0.0.1:7", Some("s"), Some(9))
    );
    assert!(matches!(access, Access::ServiceToken(token) if token == "of the file"));
    assert_eq!((user_keys.join(" ").as_str(), metrics.join(" ").as_str()), ("k1 k2 k3", "a b"));
}

#[test]
fn credentials_come_from_files_or_the_environment() {
    let of = |words: &str, token| match plan_with(words, token)?.whom {
        Whom::Running { access, .. } => Ok(access),
        Whom::Own { .. } => Err("own".to_owned()),
    };
    let there = "tcp://127.0.0.1:7 --service s --user-key k";
    assert!(matches!(of(there, Some("t")), Ok(Access::ServiceToken(token)) if token == "t"));
    assert!(of(there, None).is_err_and(|error| error.contains("a token is missing")));
    assert!(of(there, Some("")).is_err());
    // A Unix socket knows who comes.
    assert!(matches!(of("unix:/s --user-key k", None), Ok(Access::None)));
    let file = tempfile::NamedTempFile::new().unwrap();
    let secret = format!("{there} --secret-file {}", file.path().display());
    assert!(of(&secret, None).is_err_and(|error| error.contains("first line is empty")));
    std::fs::write(file.path(), "first\nsecond\n").unwrap();
    assert!(matches!(of(&secret, Some("t")), Ok(Access::NodeSecret(line)) if line == "first"));
    assert!(of(&secret.replace("tcp:", "http:"), None).is_err());
    assert!(
        of(&format!("{there} --token-file /nowhere/t"), None)
            .is_err_and(|error| error.starts_with("/nowhere/t: "))
    );
}

#[test]
fn flags_that_do_not_fit_are_told() {
    let there = "tcp://127.0.0.1:7 --service s --user-key k";
    for (words, part) in [
        ("--protocol http --by handle", "neither handles nor batches"),
        ("--protocol http --batch 2", "neither handles nor batches"),
        ("--protocol udp", "neither binary nor http"),
        ("--by name", "neither handle nor key"),
        ("--keys zipf:9", "not an exponent"),
        ("--shape round", "neither chain nor wide"),
        ("--rate 0", "--rate"),
        ("--rate=-1", "--rate"),
        ("--duration 0", "--duration"),
        ("--duration soon", "not a number of seconds"),
        ("--service s", "TARGET"),
        ("tcp://127.0.0.1:7 --user-key k", "--service is missing"),
        ("tcp://127.0.0.1:7 --service s", "whom to call"),
        (&format!("{there} --applications 5"), "cannot be used with"),
        (&format!("{there} --limit 5"), "cannot be used with"),
        ("127.0.0.1:7", "none of tcp://"),
    ] {
        let error = plan_with(words, Some("t")).err();
        assert!(error.as_ref().is_some_and(|error| error.contains(part)), "{words}: {error:?}");
    }
}

#[test]
fn numbers_have_bounds() {
    for (flag, least, most) in [
        ("--connections", 1, CONNECTIONS_MAX),
        ("--depth", 1, DEPTH_MAX),
        ("--batch", 0, 65_535),
        ("--applications", 1, APPLICATIONS_MAX),
        ("--threads", 1, 1024),
    ] {
        for (number, good) in
            [(least as i64 - 1, false), (least as i64, true), (most as i64, true), (most as i64 + 1, false)]
        {
            assert_eq!(plan(&format!("{flag}={number}")).is_ok(), good, "{flag} {number}");
        }
    }
}
