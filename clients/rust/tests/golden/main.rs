//! The specification's golden frames, one by one: what their bytes mean, and what bytes their meaning has.

mod meaning;

use std::path::Path;

use bytes::BytesMut;
use serde_json::Value;
use tokio_util::codec::Decoder;
use tollgate_client::codec::{Answer, Frame, FrameCodec, Operation, Request, Status, put_frame};

fn golden(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/golden").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a list")
}

fn bytes(hex: &str) -> BytesMut {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// The one frame that `hex` is.
fn frame(hex: &str) -> Option<Frame> {
    let mut stream = bytes(hex);
    let frame = FrameCodec::default().decode(&mut stream).ok()??;
    assert!(stream.is_empty(), "more than a frame");
    Some(frame)
}

/// What a reader of ours makes of a frame: its meaning, or the status with which it is refused.
fn read(frame: &Frame) -> Result<Value, Status> {
    let head = frame.head;
    if head.operation & 0x80 != 0 {
        let answer =
            Answer::decode(head.operation, head.status, &frame.body).map_err(|error| error.status())?;
        return Ok(meaning::of_answer(frame, &answer));
    }
    let operation = Operation::from_number(head.operation).ok_or(Status::UNKNOWN_OPERATION)?;
    operation.check_flags(head.flags)?;
    let request = Request::decode(head.operation, &frame.body).map_err(|error| error.status())?;
    if let Request::Batch(batch) = &request {
        for item in &batch.items {
            Request::decode(item.operation, item.body).map_err(|error| error.status())?;
        }
    }
    Ok(meaning::of_request(frame, &request))
}

/// The same frame, written by us.
fn written(frame: &Frame) -> String {
    let mut out = BytesMut::new();
    put_frame(&mut out, 65_536, frame.head, |out| {
        if frame.head.operation & 0x80 != 0 {
            let answer = Answer::decode(frame.head.operation, frame.head.status, &frame.body);
            answer.expect("it was read before").encode(out)
        } else {
            Request::decode(frame.head.operation, &frame.body).expect("it was read before").encode(out)
        }
    })
    .expect("it fits");
    hex(&out)
}

/// The meaning as far as a reader of this version has to know it: without fields that have no name.
fn known(meaning: &Value) -> Value {
    let mut meaning = meaning.clone();
    if let Some(fields) = meaning["fields"].as_array_mut() {
        fields.retain(|field| field["tag"].is_string());
    }
    meaning
}

#[test]
fn frames_mean_what_they_mean_and_are_written_as_they_are() {
    let (mut read_count, mut written_count) = (0, 0);
    for golden in golden("frames.json").iter().filter(|golden| golden.get("error").is_none()) {
        let name = text(golden, "name");
        let frame = frame(text(golden, "hex")).unwrap_or_else(|| panic!("{name}: no frame"));
        let decode_only = golden.get("decode_only").is_some();
        if frame.head.id == 0 && frame.head.operation == 0xFE {
            // An answer that nobody asked for is skipped without a look at its body.
            continue;
        }
        let got = read(&frame).unwrap_or_else(|status| panic!("{name}: {status}"));
        assert_eq!(got, known(&golden["meaning"]), "{name}");
        read_count += 1;
        if !decode_only {
            assert_eq!(written(&frame), text(golden, "hex"), "{name}");
            written_count += 1;
        }
    }
    assert!(read_count >= 120 && written_count >= 110, "{read_count} read, {written_count} written");
}

#[test]
fn frames_that_are_wrong_are_refused_as_a_node_refuses_them() {
    let mut count = 0;
    for golden in golden("frames.json").iter().filter(|golden| golden.get("error").is_some()) {
        let (name, expected) = (text(golden, "name"), text(golden, "error"));
        let got = match frame(text(golden, "hex")) {
            None => "GOAWAY".to_owned(),
            Some(frame) if frame.head.operation == Operation::Goaway.number() => {
                assert_eq!(read(&frame), Ok(known(&golden["meaning"])), "{name}");
                Status::OUT_OF_PLACE.to_string()
            }
            Some(frame) => read(&frame).expect_err(name).to_string(),
        };
        assert_eq!(got, expected, "{name}");
        count += 1;
    }
    assert!(count >= 30, "{count}");
}

#[test]
fn handshakes_mean_what_they_mean_and_are_written_as_they_are() {
    for handshake in golden("handshake.json") {
        assert_eq!(text(&handshake, "opening"), hex(&tollgate_client::codec::OPENING));
        for golden in handshake["frames"].as_array().expect("frames") {
            let frame = frame(text(golden, "hex")).expect("a frame");
            assert_eq!(read(&frame), Ok(golden["meaning"].clone()), "{}", handshake["name"]);
            assert_eq!(written(&frame), text(golden, "hex"), "{}", handshake["name"]);
        }
    }
}
