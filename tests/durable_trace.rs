//! What the system is asked for, in order: between the last write to the journal and each durable answer there is an
//! `fdatasync` of it that has succeeded; and the folder of the plugins' shelves is on disk before anything is in it.
//!
//! The node runs under strace (Debian has it; `tests/run` installs it). Where it is missing, or the system does not
//! allow tracing, this is left out and a line says so.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop where it is"
)]

#[path = "support/binary.rs"]
mod binary;
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use binary::{Binary, Greeting, by_key};
use support::Client;
use support::process::{Process, tollgate};
use tollgate::listener::system_clock;
use tollgate::model::draft::{Draft, NewApplication, NewService};
use tollgate::model::record::{BackendVersion, Secret};
use tollgate::node::{self, Node};
use tollgate::wire::{Flags, Operation, Status};

/// How many durable answers are asked for on each connection.
const ANSWERS: usize = 20;

fn prepare(dir: &Path) {
    let runtime = node::runtime().unwrap();
    let node = runtime.block_on(Node::start(&support::config(dir), system_clock())).unwrap();
    let build = |draft: &mut Draft<'_>| {
        let tenant = draft.create_tenant("tenant", "provider")?;
        let backend_version = BackendVersion::UserKey;
        let new = NewService { tenant, external_id: Some("traced"), name: "traced", backend_version };
        let service = draft.create_service(&new)?;
        draft.edit_service(service, |it| it.tokens.push(Secret::new("tok")))?;
        draft.create_metric(service, "hits", None)?;
        let plan = draft.create_plan(service, None, "Plan")?;
        let new = NewApplication { service, account: None, app_id: "app", name: "app", plan };
        let id = draft.create_application(&new)?;
        draft.edit_application(id, |it| it.user_keys.push(Secret::new("key")))
    };
    let ((), ticket) = node.engine().change(build).unwrap();
    node.engine().durable_blocking(ticket).unwrap();
    runtime.block_on(node.stop()).unwrap();
}

/// Why nothing can be traced here, if so.
fn hindrance() -> Option<String> {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stdin(Stdio::null()).output();
    match tried {
        Err(error) => Some(format!("strace cannot be run: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
    }
}

/// What the journal and connections are asked for.
const OF_ANSWERS: &str = "trace=pwrite64,fdatasync,read,recvfrom,write,writev,sendto,sendmsg";

/// The node under strace, whose lines on `calls` go to `trace`.
fn traced(dir: &Path, trace: &Path, calls: &str) -> Process {
    let node = tollgate();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-yy", "-s", "16", "-e", calls, "-e", "signal=none", "-o"]).arg(trace);
    command.arg(node.get_program()).args([
        "serve",
        "--http",
        "127.0.0.1:0",
        "--tcp",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    command.arg(dir);
    for (name, value) in node.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Process::start(command)
}

/// What one line of a trace says, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Bytes went to the journal.
    Write,
    /// What had gone there is on disk.
    Synced,
    Received,
    Sent,
}

/// The steps of the journal and of the connection from that address to that one, in order.
fn steps(trace: &str, node: SocketAddr, client: SocketAddr) -> Vec<Step> {
    // By thread, the call that a line began and another ends.
    let mut begun = std::collections::BTreeMap::new();
    let mut steps = Vec::new();
    let connection = format!("TCP:[{node}->{client}]");
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let (call, result) = match call.split_once(" resumed>") {
            Some((_, rest)) => (begun.remove(thread).unwrap_or_default(), rest),
            None => (call.to_owned(), call),
        };
        let is_whole = !result.contains("<unfinished ...>");
        if !is_whole {
            begun.insert(thread.to_owned(), call.clone());
        }
        let verb = call.split('(').next().unwrap_or_default();
        let failed = result.contains("= -1 ") || result.contains("= ?");
        let in_journal = call.contains(".journal>");
        let step = match verb {
            // From its beginning on it may reach the disk after whatever follows.
            "pwrite64" if in_journal && !line.contains(" resumed>") => Some(Step::Write),
            "fdatasync" if in_journal && is_whole && !failed => Some(Step::Synced),
            "read" | "recvfrom" if call.contains(&connection) && is_whole && !failed => Some(Step::Received),
            "write" | "writev" | "sendto" | "sendmsg"
                if call.contains(&connection) && !line.contains(" resumed>") =>
            {
                Some(Step::Sent)
            }
            _ => None,
        };
        steps.extend(step);
    }
    steps
}

/// How many of the last `count` answers were sent when all that was written for them was synced, and something was.
fn durable_answers(steps: &[Step], count: usize) -> usize {
    let sent: Vec<_> = (0..steps.len()).filter(|at| steps[*at] == Step::Sent).collect();
    assert!(sent.len() >= count, "{} answers in the trace, {count} were read", sent.len());
    let is_durable = |at: &&usize| {
        let before = &steps[..**at];
        let asked = before.iter().rposition(|step| *step == Step::Received).expect("it was asked for");
        let written = before.iter().rposition(|step| *step == Step::Write);
        let synced = before.iter().rposition(|step| *step == Step::Synced);
        written.is_some_and(|written| written > asked && synced.is_some_and(|synced| synced > written))
    };
    sent[sent.len() - count..].iter().filter(is_durable).count()
}

/// Ends a node under strace.
fn end(mut node: Process) {
    // strace ends with what it traces.
    let strace = node.id();
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    assert!(Command::new("kill").args(["-TERM", children.trim()]).status().unwrap().success());
    assert_eq!(node.wait(), 0);
}

/// Whether nothing can be traced here; then a line says so.
fn is_left_out() -> bool {
    let Some(why) = hindrance() else { return false };
    println!("left out: nothing can be traced here: {why}");
    // Seen also when the output of a test that passes is kept back.
    std::io::Write::write_all(&mut std::io::stderr(), b"durable_trace: left out, see its output\n").unwrap();
    true
}

#[test]
fn the_shelves_folder_is_on_disk_before_anything_is_in_it() {
    if is_left_out() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let (dir, trace) = (parent.path().join("data"), parent.path().join("trace"));
    end(traced(&dir, &trace, "trace=mkdir,mkdirat,openat,fsync"));
    let text = std::fs::read_to_string(&trace).unwrap();
    let dir = dir.to_str().unwrap();
    let first = |part: &str| text.lines().position(|line| line.contains(part)).unwrap();
    let (made, used) = (first(&format!("\"{dir}/shelves\", 0700)")), first(&format!("\"{dir}/shelves/")));
    let of_folder = format!("<{dir}>)");
    let is_synced =
        |line: &str| line.contains("fsync(") && line.contains(&of_folder) && line.ends_with("= 0");
    let lines: Vec<_> = text.lines().collect();
    assert!(made < used && lines[made..used].iter().any(|line| is_synced(line)), "{:?}", &lines[made..=used]);
}

#[test]
fn an_fdatasync_lies_between_the_last_write_and_each_durable_answer() {
    if is_left_out() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let (dir, trace) = (parent.path().join("data"), parent.path().join("trace"));
    prepare(&dir);
    let node = traced(&dir, &trace, OF_ANSWERS);
    let (http, tcp) = (node.address, node.tcp.unwrap());

    let mut reporter = Client::connect(http);
    for _ in 0..ANSWERS {
        let body = "transactions[0][user_key]=key&transactions[0][usage][hits]=1";
        let answer =
            reporter.try_post("/transactions.xml?service_token=tok&service_id=traced", body).unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let mut gateway = Binary::open(tcp, &Greeting::token("traced", "tok"));
    for turn in 0..ANSWERS {
        let (operation, flags) =
            [(Operation::REPORT, Flags::default()), (Operation::AUTHREP, Flags::DURABLE)][turn % 2];
        let answer = gateway.ask(operation, flags, by_key("key", &[("hits", 1)]));
        assert_eq!(answer.status(), Status::OK, "{answer:?}");
    }
    // These ask for no sync, and show that the trace tells the difference.
    let mut caller = Client::connect(http);
    for _ in 0..ANSWERS {
        let target =
            "/transactions/authrep.xml?service_token=tok&service_id=traced&user_key=key&usage[hits]=1";
        assert_eq!(caller.get(target).status, 200);
    }
    let addresses = [reporter.local_address(), gateway.stream.local_addr().unwrap(), caller.local_address()];
    end(node);

    let text = std::fs::read_to_string(&trace).unwrap();
    let durable = |server, client| durable_answers(&steps(&text, server, client), ANSWERS);
    assert_eq!(durable(http, addresses[0]), ANSWERS, "reports over HTTP");
    assert_eq!(durable(tcp, addresses[1]), ANSWERS, "reports and durable authreps over the binary protocol");
    assert!(durable(http, addresses[2]) < ANSWERS, "authreps wait for no disk");
}

#[test]
fn a_trace_without_the_sync_or_with_a_write_after_it_is_told_from_a_good_one() {
    use Step::{Received, Sent, Synced, Write};
    assert_eq!(durable_answers(&[Received, Write, Write, Synced, Sent], 1), 1);
    for bad in [
        &[Received, Sent][..],
        &[Received, Write, Sent],
        &[Write, Synced, Received, Sent],
        &[Received, Write, Synced, Write, Sent],
        &[Received, Synced, Write, Sent],
    ] {
        assert_eq!(durable_answers(bad, 1), 0, "{bad:?}");
    }
    let (node, client) = (SocketAddr::from(([127, 0, 0, 1], 80)), SocketAddr::from(([127, 0, 0, 1], 90)));
    let trace = "\
        11 recvfrom(7<TCP:[127.0.0.1:80->127.0.0.1:90]>, \"POST /transactio\"..., 8192, 0, NULL, NULL) = 90\n\
        12 pwrite64(9</d/1.journal>, \"TGgp\"..., 56, 64) = 56\n\
        12 fdatasync(9</d/1.journal> <unfinished ...>\n\
        11 read(8<eventfd>, 0x1, 8) = 8\n\
        12 <... fdatasync resumed>)          = 0\n\
        12 fdatasync(9</d/1.journal>) = -1 EIO (Input/output error)\n\
        11 sendto(7<TCP:[127.0.0.1:80->127.0.0.1:90]>, \"HTTP/1.1 202 Acc\"..., 300, 0, NULL, 0) = 300\n";
    assert_eq!(steps(trace, node, client), [Received, Write, Synced, Sent]);
}
