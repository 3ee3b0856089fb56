//! `tollgate counters`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::Client;
use crate::support::process::Process;
use crate::world::{call, prepare, run, serve};

fn export(data: &Path) -> Vec<serde_json::Value> {
    let (code, out, err) = run(&["counters", "export", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The counts by application and metric; without the minute and hour, which may be over by now.
fn counts(lines: &[serde_json::Value]) -> BTreeMap<String, BTreeMap<String, Vec<u64>>> {
    let of = |line: &serde_json::Value| {
        let counters = line["counters"].as_object().unwrap().iter();
        let counts = counters.map(|(metric, windows)| {
            let periods = ["day", "week", "month", "year", "eternity"];
            let counts = periods.map(|period| windows[period]["value"].as_u64().unwrap()).to_vec();
            (metric.clone(), counts)
        });
        (line["application"]["app_id"].as_str().unwrap().to_owned(), counts.collect())
    };
    lines.iter().filter(|line| line["service"]["external_id"] == crate::world::SERVICE).map(of).collect()
}

fn import(data: &Path, file: &Path, more: &[&str]) -> (i32, String, String) {
    run(&[&["counters", "import", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()], more]
        .concat())
}

fn write(file: &Path, lines: &[serde_json::Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(file, text).unwrap();
}

#[test]
fn counters_go_round_through_another_node_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let file = dir.path().join("lines");
    prepare(&first, 0);
    prepare(&second, 0);
    let node = Process::start(serve(&first));
    let mut client = Client::connect(node.address);
    // An earlier day of this year, as a report may be dated: the windows differ.
    let hit = |usage: &str| format!("/transactions/authrep.xml?{}", call("c", usage));
    assert_eq!(client.get(&hit("usage%5Bsearch%5D=41&log%5Bcode%5D=404")).status, 200);
    let running = export(&first);
    assert_eq!(node.terminate(), 0);
    // The same of a stopped node, in the same order.
    let stopped = export(&first);
    assert_eq!(counts(&running), counts(&stopped));
    let ids = |lines: &[serde_json::Value]| -> Vec<_> {
        lines.iter().map(|line| line["application"]["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids(&running), ids(&stopped));
    assert!(ids(&running).is_sorted());
    assert_eq!(counts(&running)["c"]["hits"], [41; 5]);
    assert!(running.iter().any(|line| line["response_codes"]["4XX"]["day"]["value"] == 1), "{running:?}");

    // Windows that differ: as after an earlier day of the year.
    let mut lines: Vec<_> =
        running.into_iter().filter(|line| line["service"]["external_id"] == crate::world::SERVICE).collect();
    let eternity = &mut lines[2]["counters"]["hits"]["eternity"]["value"];
    assert_eq!(*eternity, 41);
    *eternity = 1041.into();
    write(&file, &lines);
    let (code, _, err) = import(&second, &file, &["--apply"]);
    assert!(code == 1 && err.contains("no node runs"), "{code} {err}");
    let node = Process::start(serve(&second));
    let before = counts(&export(&second));
    let (code, out, err) = import(&second, &file, &[]);
    assert!(code == 0 && out.contains("3 applications") && out.contains("would be changed"), "{out} {err}");
    assert_eq!(counts(&export(&second)), before, "a dry run changes nothing");
    let (code, out, err) = import(&second, &file, &["--apply"]);
    assert!(code == 0 && out.contains("were changed"), "{out} {err}");
    let after = counts(&export(&second));
    assert_eq!(after, counts(&lines));
    assert_eq!(after["c"]["hits"], [41, 41, 41, 41, 1041]);
    // Once more changes nothing; and what was set is journalled.
    let (_, out, _) = import(&second, &file, &["--apply"]);
    assert!(out.contains(": 0 counts were changed"), "{out}");
    node.kill();
    assert_eq!(counts(&export(&second)), after);
    // It counts on from there.
    let node = Process::start(serve(&second));
    assert_eq!(Client::connect(node.address).get(&hit("usage%5Bhits%5D=1")).status, 200);
    let on = counts(&export(&second));
    assert_eq!((on["c"]["hits"][4], on["c"]["hits"][0]), (1042, 42));
    assert_eq!(node.terminate(), 0);
}

#[test]
fn lines_without_a_place_are_refused_by_number_and_the_others_carried_over() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("lines"));
    prepare(&data, 0);
    let node = Process::start(serve(&data));
    let good = export(&data).into_iter().find(|line| line["application"]["app_id"] == "a").unwrap();
    let changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut line = good.clone();
        change(&mut line);
        line
    };
    let lines = [
        changed(&|line| line["service"]["external_id"] = "none".into()),
        changed(&|line| line["application"]["app_id"] = "none".into()),
        changed(&|line| {
            let counts = line["counters"]["hits"].clone();
            line["counters"]["none"] = counts;
            line["counters"]["hits"]["eternity"]["value"] = 7_000_000.into();
        }),
        changed(&|line| line["counters"]["hits"]["day"]["start_s"] = 7.into()),
        changed(&|line| line["counters"]["hits"]["eternity"]["value"] = u64::MAX.into()),
        changed(&|line| line["more"] = 1.into()),
        changed(&|line| {
            line["counters"]["hits"]["day"] = serde_json::json!({"start_s": 86_400, "value": 9});
            line["counters"]["hits"]["eternity"]["value"] = 5_000_000.into();
        }),
    ];
    write(&file, &lines);
    let mut text = std::fs::read_to_string(&file).unwrap();
    text += "\nno line\n";
    std::fs::write(&file, text).unwrap();
    let (code, out, err) = import(&data, &file, &["--apply"]);
    assert_eq!(code, 1, "{out} {err}");
    for part in [
        "line 1: there is no service with the external id \"none\"",
        "line 2: ",
        "app id \"none\"",
        "line 3: ",
        "no metric \"none\"",
        "line 4: 7 is not the beginning of a day",
        "line 5: 18446744073709551615 is more than a counter holds",
        "line 6: it is not such a line",
        "line 9: it is not such a line",
    ] {
        assert!(err.contains(part), "{part} not in:\n{err}");
    }
    assert!(
        !err.contains("line 7") && !err.contains("line 8") && out.contains("7 lines refused"),
        "{out} {err}"
    );
    let after = export(&data).into_iter().find(|line| line["application"]["app_id"] == "a").unwrap();
    // Of the third line nothing, of the seventh all but a day that is over.
    assert_eq!(after["counters"]["hits"]["eternity"]["value"], 5_000_000);
    assert_eq!(after["counters"]["hits"]["day"], good["counters"]["hits"]["day"]);
    let (code, _, err) =
        run(&["counters", "export", "--service", "none", "--data-dir", data.to_str().unwrap()]);
    assert!(code == 1 && err.contains("no service with the id"), "{code} {err}");
    assert_eq!(node.terminate(), 0);
}
