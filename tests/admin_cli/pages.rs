//! Help, what shells complete, and man pages.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::run;
use super::support::process::tollgate;

#[test]
fn help_tells_all_verbs() {
    let help = run(tollgate().args(["admin", "--help"]));
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for part in ["tenant", "usage", "audit", "TOLLGATE_URL", "Exit codes: 0 done", "tollgate admin limit set"]
    {
        assert!(help.out.contains(part), "{part} not in:\n{}", help.out);
    }
    let help = run(tollgate().args(["admin", "limit", "set", "--help"]));
    assert!(help.out.contains("<PLAN> <METRIC> <PERIOD> <VALUE>"), "{}", help.out);
    assert!(help.out.contains("possible values: minute, hour"), "{}", help.out);
}

#[test]
fn shells_complete_nouns_verbs_and_flags() {
    let script = |shell: &str| {
        let ended = run(tollgate().args(["completions", shell]));
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        ended.out
    };
    assert!(script("zsh").starts_with("#compdef tollgate"));
    assert!(script("fish").contains("complete -c tollgate"));
    assert_eq!(run(tollgate().args(["completions", "tcsh"])).code, 2);
    let bash = script("bash");
    let complete = |words: &str| {
        let ask = format!(
            "{bash}\nCOMP_WORDS=({words} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _tollgate tollgate '' \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let mut child =
            Command::new("bash").arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(ask.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |words: &str, expected: &str| {
        let found = complete(words);
        assert!(found.iter().any(|it| it == expected), "{expected} not in {found:?}");
    };
    has("tollgate", "admin");
    has("tollgate admin", "service");
    has("tollgate admin app", "change-plan");
    has("tollgate admin token create --scope", "account_management");
    has("tollgate admin usage --granularity", "hour");
    let mut check = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(bash.as_bytes()).unwrap();
    assert!(check.wait().unwrap().success());
}

#[test]
fn man_pages_are_well_formed() {
    let first = run(tollgate().arg("manual"));
    assert_eq!((first.code, first.err.as_str()), (0, ""));
    assert!(first.out.lines().any(|line| line.starts_with(".TH tollgate 1")), "{}", first.out);

    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    let written = run(tollgate().args(["manual", "--dir"]).arg(&pages));
    assert_eq!((written.code, written.out.as_str(), written.err.as_str()), (0, "", ""));
    let mut names: Vec<PathBuf> = std::fs::read_dir(&pages).unwrap().map(|it| it.unwrap().path()).collect();
    names.sort();
    for name in
        ["tollgate.1", "tollgate-serve.1", "tollgate-admin-app-change-plan.1", "tollgate-admin-usage.1"]
    {
        assert!(names.contains(&pages.join(name)), "{name} not in {names:?}");
    }
    let has_groff = Command::new("groff").arg("--version").stdout(Stdio::null()).status().is_ok();
    for page in names {
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(text.contains("\n.TH tollgate") && text.contains("\n.SH NAME\n"), "{}", page.display());
        if has_groff && page.ends_with("tollgate-admin.1") {
            let ended = run(Command::new("groff").args(["-man", "-ww", "-z", "-Kutf8"]).arg(&page));
            assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", page.display());
        }
    }
    let blocked = run(tollgate().args(["manual", "--dir", "/dev/null/x"]));
    assert!(blocked.code == 1 && blocked.err.contains("/dev/null/x"), "{blocked:?}");
}
