//! Good inputs of each target, and the words of its format.

use std::io::Write;
use std::sync::OnceLock;

use flate2::{Compression, write::GzEncoder};
use tollgate::journal::entry::Entry;
use tollgate::journal::ids::Ids;
use tollgate::journal::producers::Producers;
use tollgate::journal::{Sequence, read_segment};
use tollgate::listener::system_clock;
use tollgate::model::alert::Reached;
use tollgate::model::amount::Effect;
use tollgate::model::id::{ApplicationId, MetricSlot, ServiceId, TenantId};
use tollgate::model::idempotency::{BodyHash, IdKey, IdKind, Known, Remembered};
use tollgate::model::producer::Window;
use tollgate::model::time::{Minute, Period, UnixMillis};
use tollgate::node::backup::tar;
use tollgate::node::{self, Node};
use tollgate::store::ids::Slices;

use crate::support::data::reservation;
use crate::support::{self, Client};

const DOCUMENTS: &[&str] = &[
    "version: 1\nservices:\n- system_name: api\n  backend_version: '2'\n  tokens: [{secret: t}]\n  metrics: [{system_name: hits, methods: [{system_name: search}]}]\n  \
application_plans:\n  - system_name: basic\n    cost_per_month: 1e1\n    limits: [{metric: search, period: day, value: 5}]\n    pricing_rules: [{metric: hits, max: 10, cost_per_unit: 0.5}]\n  \
mapping_rules: [{http_method: GET, pattern: '/a/{b}$', metric: hits}]\n  proxy: {api_backend: {secret: u}, error_status_no_match: 404}\n  policies: [{name: cors, version: builtin, configuration: {a: [1, .5, ~, yes]}}]\n",
    "version: 1\naccounts:\n- org_name: \"A\\u00e9\"\n  ordinal: 2\n  vat_rate: 7.5\n  extra: {x: |\n    y\n    z}\n  users: [{username: bob, role: admin}]\n  applications:\n  - {service: api, application_id: abcd, plan: basic, keys: []}\n",
    "a/b/c: value\n'1': \"two\\n\"\n",
    "openapi: 3.0.0\nservers: [{url: 'https://{h}/v1', variables: {h: {default: x}}}]\npaths:\n  /a/{b-c}: {get: {operationId: getA, summary: S}, $x: 1}\n  /d: {$ref: '#/paths/~1a~1{b-c}'}\n",
    "{\"openapi\": \"3.1.0\", \"paths\": {\"/x\": {\"post\": {}}}}",
    "? a\n: - b\n  - ? c\n    : d\n--- &x !t\n*x\n",
];

pub(crate) fn of(name: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match name {
        "body" => bodies(),
        "document" => texts(DOCUMENTS),
        "form" => texts(FORMS),
        "internal_json" => texts(JSONS),
        "params" => params(),
        "options" => {
            texts(&["no_body=1&limit_headers=1", "rejection_reason_header=1", "hierarchy=1&flat_usage=0"])
        }
        "rules" => texts(&[
            "/\n/a/b$\n/{x}/b\n/{x}-{y}.json$?k=1\n/a//b%20/../c;d=e/f-g.json?k=1&l",
            "/v1/{id}/parts\n/v1/{id}$?k={v}\n/v{n}/{id}/p\n/v1/%7bx%7D/parts/%2e?k=2&k",
        ]),
        "timestamp" => texts(&[
            "2026-11-22 13:45:30",
            "2026-11-22T13:45:30.123Z",
            "2026-11-22 13:45:30 -0530",
            "20261122",
            "1795355130",
            "Sun, 22 Nov 2026 13:45:30 GMT",
            "0000-01-01 00:00:00 +1400",
        ]),
        "config" => texts(&[
            "http = '127.0.0.1:1'\ndrain_s = 3\n\0HTTP=[::1]:2\nLOG=debug",
            "log_format = 'json'\ninsecure = true\nadmin = '0.0.0.0:1'\n\0CHECKPOINT_MIB=7",
            "http_tls_cert = 'c.pem'\nhttp_tls_key = 'k.pem'\n\0HEAD_TIMEOUT_S=1\nCONNECTIONS_MAX=5",
        ]),
        "frame" => golden_frames(),
        "session" => sessions(),
        "segment" => journal().segments.clone(),
        "entry" => journal().entries.clone(),
        "slice" => slices(),
        "manifest" => texts(MANIFESTS),
        "tar" => tars(),
        "counter_line" => texts(LINES),
        "catalog" => journal().catalogs.clone(),
        "rows" => journal().parts.clone(),
        _ => pieces(),
    }
}

pub(crate) fn words(name: &str) -> &'static [&'static str] {
    match name {
        "form" => {
            &["usage[", "]=", "[]", "%5B", "%zz", "%ff", "&&", "transactions[0][usage][hits]=1", "\u{fffd}"]
        }
        "body" => &[
            "--X\r\n",
            "--X--\r\n",
            "Content-Disposition: form-data; name=\"a\"",
            "\r\n\r\n",
            "filename=b",
            "&a[b]=",
        ],
        "internal_json" => &[
            "null",
            "true",
            "\"\"",
            "{\"a\":",
            "}",
            "[",
            "]",
            ",",
            "1e999",
            "-0",
            "\\ud800",
            "\\u0041",
            "18446744073709551616",
        ],
        "params" => &[
            "[]=",
            "[][",
            "]=1",
            "&a[][b]=",
            "&a[b][]=",
            "%5B%5D",
            "{\"a\":",
            "[null]",
            "},",
            "--X\r\nContent-Disposition: form-data; name=\"a[]\"\r\n\r\n1\r\n",
        ],
        "options" => &["no_body", "limit_headers", "=1", "&", "%3D", "[x]="],
        "rules" => {
            &["{x}", "{y_1}", "/", "//", "/../", "/./", "%2F", "%2e", "$", "?", "&k=", "=1", "\n", "a"]
        }
        "timestamp" => &["T", "Z", "+00:00", "-2359", ":60", "24:00:00", "02-29", "99999", " "],
        "manifest" => &[
            "\"files\":[",
            "{\"path\":\"ids/x\",\"len\":1,\"kept\":1,\"crc\":0},",
            "../",
            "/",
            "./",
            "journal/",
            "\\u0000",
            "18446744073709551615",
            "4294967296",
            "-1",
        ],
        "tar" => &["ustar\0", "00000000000\0", "77777777777\0", "00000000001\0", "0000600\0", "../../x"],
        "counter_line" => &[
            "{\"start_s\":0,\"value\":1}",
            "\"eternity\":",
            "\"week\":",
            "\"response_codes\":{\"4XX\":{}}",
            "18446744073709551615",
            "257698037700",
            "null",
            "-0",
            "\\ud800",
        ],
        "config" => &[
            "http = ",
            "[listen]\n",
            "'''",
            "\0",
            "\nHTTP=",
            "\nADMIN=",
            "0.0.0.0:0",
            "INSECURE=1\n",
            "= -1\n",
        ],
        _ => &[],
    }
}

/// A mark and the file of a slice, of some ids or of more than a block has; and records without one.
fn slices() -> Vec<Vec<u8>> {
    let slice = |ids: u64| {
        let dir = tempfile::tempdir().unwrap();
        let (slices, _) = Slices::open(dir.path(), [1; 16], UnixMillis(1)).unwrap();
        let known = |id: u64| Known {
            key: IdKey::new(TenantId(1), ServiceId(1), IdKind::Request, &id.to_le_bytes()),
            remembered: Remembered { body: BodyHash(id), outcome: 0, at: UnixMillis(id) },
        };
        slices.add(Sequence(7), (0..ids).map(known).collect()).unwrap();
        let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::read(file).unwrap()
    };
    let mark = |slice: Vec<u8>| [vec![0], slice].concat();
    vec![mark(slice(3)), mark(slice(150)), mark(slice(0)), slice(120)[4095..4096 + 4080].to_vec()]
}

/// Of a node that ran and has ids, and of one that had nothing yet.
const MANIFESTS: &[&str] = &[
    r#"{"backup":1,"release":"0.1.0","format":1,"created_ms":1795355130000,"running":true,
"node_id":"000102030405060708090a0b0c0d0e0f","sequence":77,"files":[
{"path":"node-secret","len":65,"kept":65,"crc":1},{"path":"checkpoints/CURRENT","len":40,"kept":40,"crc":2},
{"path":"checkpoints/00000001/sled/db","len":524288,"kept":524288,"crc":3},
{"path":"journal/00000000000000000001-00000000000000000001.journal","len":16777216,"kept":900,"crc":4294967295},
{"path":"ids/00000000000000000001-00000000000000000070.slice","len":8232,"kept":8232,"crc":0},
{"path":"shelves/alerts","len":1,"kept":0,"crc":0}]}"#,
    r#"{"backup":1,"release":"","format":1,"created_ms":0,"running":false,"node_id":"","sequence":0,"files":[]}"#,
];

const LINES: &[&str] = &[
    r#"{"tenant":1,"service":{"id":2,"external_id":"shop"},"application":{"id":3,"app_id":"a"},"counters":{"hits":{
"minute":{"start_s":1795355100,"value":1},"hour":{"start_s":1795352400,"value":2},"day":{"start_s":1795305600,"value":3},
"week":{"start_s":1794787200,"value":4},"month":{"start_s":1793491200,"value":5},"year":{"start_s":1767225600,"value":6},
"eternity":{"start_s":0,"value":7}}},"response_codes":{"404":{"day":{"start_s":1795305600,"value":8}}}}"#,
    r#"{"tenant":0,"service":{"id":9,"external_id":null},"application":{"id":0,"app_id":""},"counters":{}}"#,
];

/// A backup with its files, one of them empty; and one without any.
fn tars() -> Vec<Vec<u8>> {
    let tar = |files: &[(&str, &[u8])]| {
        let mut bytes = Vec::new();
        for (name, content) in files {
            tar::put(&mut bytes, name, content.len() as u64, &mut &**content).unwrap();
        }
        tar::finish(&mut bytes).unwrap();
        bytes
    };
    let manifest = MANIFESTS[0].as_bytes();
    let files: [(&str, &[u8]); 3] = [("BACKUP", manifest), ("journal/x", &[7; 700]), ("shelves/alerts", b"")];
    vec![tar(&files), tar(&[]), tar(&files[1..2])]
}

/// Queries with bodies of each type.
fn params() -> Vec<Vec<u8>> {
    let multipart = "--X\r\nContent-Disposition: form-data; name=\"cms[name]\"\r\n\r\nx\r\n--X--\r\n";
    let json = r#"{"service":{"name":"API","annotations":{"a":[1,null,{"b":2}]}},"page":1}"#;
    let form =
        "plan[limits][][period]=day&plan[limits][][value]=1&plan[limits][][period]=year&ids[]=1&ids[]=2";
    let input = |kind: u8, query: &str, body: &str| {
        [&[kind, u8::try_from(query.len()).unwrap()], query.as_bytes(), body.as_bytes()].concat()
    };
    vec![
        input(0, form, ""),
        input(0, "access_token=t&service[name]=A", "service[state]=published&service[tags][]=a"),
        input(1, "access_token=t&service[state]=hidden", json),
        input(2, "a[b]=1", multipart),
        input(3, "a=1", ""),
    ]
}

const FORMS: &[&str] = &[
    "service_token=t&service_id=1&user_key=u&usage[hits]=1",
    "provider_key=p&app_id=a&app_key=k&usage%5Bhits%5D=%231&log[code]=200&log[request]=x+y",
    "transactions[0][app_id]=a&transactions[0][usage][hits]=1&transactions[0][timestamp]=2026-11-22",
    "a[][b]=1&a[]=2&a[b][][c]=3&b&=&c=%e2%82%ac",
];

const JSONS: &[&str] = &[
    r#"{"service":{"provider_key":"pk","backend_version":"2","default_service":true}}"#,
    r#"{"applications":[{"id":"a","state":"active","plan_id":7,"application_keys":["k\u00e9y"],"x":null}]}"#,
    r#"{"usagelimit":{"eternity":"1000000"},"flag":"0","n":-1.5e3,"deep":[[[{"a":[]}]]]}"#,
    r#" {"events":[{"id":1},{"id":2}],"":" ","same":1,"same":2} "#,
];

/// The golden frames of the protocol, one each, and all of them in one.
fn golden_frames() -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/golden/frames.json");
    let goldens: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let frame = |golden: &serde_json::Value| {
        let hex = golden["hex"].as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let mut frames: Vec<Vec<u8>> = goldens.as_array().unwrap().iter().map(frame).collect();
    frames.push(frames.concat());
    frames
}

/// The golden frames behind a byte that says how they come: let in already, in pieces of several sizes.
fn sessions() -> Vec<Vec<u8>> {
    let frames = golden_frames();
    let let_in = |how: u8| frames.iter().map(move |frame| [&[how], frame.as_slice()].concat());
    let opening = [&[0], &tollgate::wire::OPENING[..], &frames.concat()].concat();
    let_in(1).chain(let_in(3 + 4)).chain([opening]).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bodies() -> Vec<Vec<u8>> {
    let part = |name: &str| format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n1\r\n");
    let parts = format!("{}{}--X--\r\n", part("transactions[0][app_id]"), part("b\"; filename=\"c"));
    let mut all = Vec::new();
    for form in FORMS {
        all.push([&[0, 0], gzip(form.as_bytes()).as_slice()].concat());
        all.extend([3, 4].map(|how| [&[how, 9], form.as_bytes()].concat()));
    }
    all.push([&[1, 0], gzip(parts.as_bytes()).as_slice()].concat());
    all.push([&[2, 0], parts.as_bytes()].concat());
    all
}

/// Contents of pieces, behind what their envelope is to say: as a catalog of version 1 and 2, as counters of version 1,
/// 2 and 3. The target makes the envelope fit.
fn pieces() -> Vec<Vec<u8>> {
    let catalogs =
        journal().catalogs.iter().flat_map(|it| [0, 12].map(|marks| [&[marks], it.as_slice()].concat()));
    let counters = [COUNTERS_V1, COUNTERS_V2, COUNTERS_V3, RUN_OF_COUNTERS].map(|(marks, hex)| {
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        [&[marks], bytes.collect::<Vec<_>>().as_slice()].concat()
    });
    catalogs.chain(counters).collect()
}

/// An application with a cell and an amount that waits.
const COUNTERS_V1: (u8, &str) = (
    1,
    "03000000050000000100000000000000020000000000000003000000000000000400000000000000050000000000\
    00000600000000000000070000000000000003000000060000000500000001080000000000000007000000000000\
    0000a2ffffff01000000daffffff010000000900000000000000dfffffff01000000",
);
/// The same with two reservations, of which one has expired.
const COUNTERS_V2: (u8, &str) = (
    4,
    "03000000050000000100000000000000020000000000000003000000000000000400000000000000050000000000\
    00000600000000000000070000000000000003000000060000000500000001080000000000000002000000010000\
    00ffffffff0000000000000000040000000300000003000000050000000000000004000000030000000400000006\
    0000000000000007000000000000000066ffffff010000009effffff01000000abffffff03000000090000000000\
    0000d7ffffff01000000",
);

/// The same again.
const COUNTERS_V3: (u8, &str) =
    (7, "23000000f0140905070e06000202020202020201070200080282808080100084808080300203050406");
/// What is pressed into that.
const RUN_OF_COUNTERS: (u8, &str) =
    (16, "0905070e06000202020202020201070200080282808080100084808080300203050406");

/// What a node wrote.
struct Journal {
    segments: Vec<Vec<u8>>,
    /// Kind, version, payload.
    entries: Vec<Vec<u8>>,
    catalogs: Vec<Vec<u8>>,
    parts: Vec<Vec<u8>>,
}

/// What the node below has no reason to write.
const REACHED: Reached = Reached {
    application: ApplicationId(3),
    contract: 2,
    slot: MetricSlot(0),
    period: Period::Day,
    window: Minute(29_922_585),
    level: 80,
    count: 8,
    max: 10,
    counted: Minute(29_922_600),
};

/// A request with an id that was counted.
const KNOWN: Known = Known {
    key: IdKey([7; 16]),
    remembered: Remembered { body: BodyHash(9), outcome: 1, at: UnixMillis(1_795_355_130_000) },
};

/// The journal of a node that made its sample and was called once.
fn journal() -> &'static Journal {
    static JOURNAL: OnceLock<Journal> = OnceLock::new();
    JOURNAL.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let runtime = node::runtime().unwrap();
        let node = runtime.block_on(Node::start(&support::config(dir.path()), system_clock())).unwrap();
        let sample = node.sample.as_ref().unwrap();
        let call = format!(
            "/transactions/authrep.xml?provider_key={}&user_key={}&usage%5Bhits%5D=1&log%5Bcode%5D=200",
            sample.provider_key, sample.user_key
        );
        let call = format!("{call}&service_id={}", sample.service_id);
        assert_eq!(Client::connect(node.http).get(&call).status, 200);
        reserve(&node, &sample.service_id, &sample.provider_key, &sample.user_key);
        node.engine().change(|draft| Ok(draft.take_id())).unwrap();
        runtime.block_on(node.stop()).unwrap();
        let mut journal =
            Journal { segments: Vec::new(), entries: Vec::new(), catalogs: Vec::new(), parts: Vec::new() };
        journal.add(&Entry::Reached(vec![REACHED]));
        journal.add(&Entry::Ids(Ids { base: UnixMillis(1_795_355_000_000), ids: vec![KNOWN] }));
        let mut window = Window::empty(70, UnixMillis(1_795_355_000_000));
        for (sequence, outcome) in [(70, 0), (69, 5), (7, 0)] {
            window.count(sequence, BodyHash(sequence << 40), outcome, window.at());
        }
        let (base, windows) = (window.at(), vec![(KNOWN.key, window)]);
        journal.add(&Entry::Producers(Producers { base, windows }));
        for entry in std::fs::read_dir(dir.path().join("journal")).unwrap() {
            let entry = entry.unwrap();
            let (name, bytes) =
                (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
            let read = read_segment(&name, &bytes, |_, _, entry| journal.add(&entry));
            read.expect("what a node wrote can be read");
            // Its end is zeros, of which a few are enough.
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| (at + 128).min(bytes.len()));
            journal.segments.push(bytes[..end].to_vec());
        }
        assert!(!journal.parts.is_empty(), "the first administrator is a plugin's");
        assert!(!journal.catalogs.is_empty() && journal.entries.len() > journal.catalogs.len());
        journal
    })
}

/// Makes a reservation and commits it, and makes another.
fn reserve(node: &Node, service_id: &str, provider_key: &str, user_key: &str) {
    let usage = [("hits", Effect::Add(3))];
    let request = reservation((provider_key, service_id), (None, Some(user_key)), &usage);
    let now = system_clock()();
    for commits in [true, false] {
        let id = node.engine().authorize(&request, now, |answer| answer.reservation).unwrap().unwrap();
        if commits {
            node.engine().commit(&request, id, now).unwrap();
        }
    }
}

impl Journal {
    fn add(&mut self, entry: &Entry) {
        let mut payload = Vec::new();
        let kind = entry.encode(&mut payload);
        self.entries.push([&[kind as u8, kind.version()], payload.as_slice()].concat());
        if let Entry::Command(command) = entry {
            self.catalogs.push(command.core.clone());
            self.parts.extend(command.parts.iter().map(|(_, part)| part.clone()));
        }
    }
}
