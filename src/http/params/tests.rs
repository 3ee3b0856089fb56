//! Parameters as Rails reads them, at their bounds, and from any bytes.

use hyper::Request;
use proptest::prelude::*;
use serde_json::json;

use super::super::form::BYTES_MAX;
use super::*;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json; charset=utf-8";
const MULTIPART: &str = "multipart/form-data; boundary=X";

fn read(method: &str, query: &str, content_type: &str, body: &[u8]) -> Result<Value, ParamsError> {
    let mut request = Request::builder().method(method).uri(format!("/path?{query}"));
    if !content_type.is_empty() {
        request = request.header(CONTENT_TYPE, content_type);
    }
    params(&request.body(()).unwrap().into_parts().0, body, BYTES_MAX).map(Value::Object)
}

fn query(text: &str) -> Result<Value, ParamsError> {
    read("GET", text, "", b"")
}

fn form(text: &str) -> Result<Value, ParamsError> {
    read("POST", "", FORM, text.as_bytes())
}

#[test]
fn names_nest_as_rails_nests_them() {
    for (text, wanted) in [
        ("", json!({})),
        ("a=1&b=x+y&c=&d", json!({"a": "1", "b": "x y", "c": "", "d": null})),
        ("a[b]=1&a[c][d]=2", json!({"a": {"b": "1", "c": {"d": "2"}}})),
        ("a[]=1&a[]=2&b=3&a[]=3", json!({"a": ["1", "2", "3"], "b": "3"})),
        ("a[b][]=1&a[b][]=2", json!({"a": {"b": ["1", "2"]}})),
        // A name that is there already begins the next element.
        ("a[][b]=1&a[][c]=2&a[][b]=3&a[][c]=4", json!({"a": [{"b": "1", "c": "2"}, {"b": "3", "c": "4"}]})),
        (
            "a[][b][c]=1&a[][b][d]=2&a[][b][c]=3",
            json!({"a": [{"b": {"c": "1", "d": "2"}}, {"b": {"c": "3"}}]}),
        ),
        ("a[][b][]=1&a[][b][]=2&a[][c]=3", json!({"a": [{"b": ["1", "2"], "c": "3"}]})),
        ("a[][b][][c]=1&a[][b][][c]=2", json!({"a": [{"b": [{"c": "1"}, {"c": "2"}]}]})),
        ("a[]=1&a[][b]=2&a[]=3&a[][b]=4", json!({"a": ["1", {"b": "2"}, "3", {"b": "4"}]})),
        ("a[][]=1&a[][]=2", json!({"a": [["1"], ["2"]]})),
        // Nothing is no element.
        ("a[]&a[]=1&b[]&c[][[]]=1", json!({"a": ["1"], "b": [], "c": []})),
        ("ids%5B%5D=1&ids%5b%5d=2", json!({"ids": ["1", "2"]})),
        // As the Python client sends an empty list.
        ("allowed_service_ids%5B%5D=%5B%5D", json!({"allowed_service_ids": ["[]"]})),
        ("a=1&a[b]=2&x", json!(null)),
        ("a[b]=1&a[]=2", json!(null)),
        ("a[]=1&a[b]=2", json!(null)),
        ("a[b]=1&a=2", json!({"a": "2"})),
    ] {
        let read_as = if wanted.is_null() { Err(FormError::Shape.into()) } else { Ok(wanted) };
        assert_eq!(query(text), read_as, "{text}");
        assert_eq!(form(text), read_as, "{text}");
        assert_eq!(read("DELETE", "", "", text.as_bytes()), read_as, "{text}");
    }
}

#[test]
fn many_elements_are_told_apart_by_the_index_as_by_a_scan() {
    // Beyond a few dozen parameters names are found through an index.
    let text: Vec<_> =
        (0..300).map(|at| format!("a[][b][c]={at}&a[][d][]={at}&a[][d][]=x&e{at}=1")).collect();
    let wanted: Vec<_> =
        (0..300).map(|at| json!({"b": {"c": at.to_string()}, "d": [at.to_string(), "x"]})).collect();
    assert_eq!(form(&text.join("&")).unwrap()["a"], json!(wanted));
}

#[test]
fn json_is_read_whatever_the_method() {
    let body = br#"{"username":"bob","since":null,"n":[1,null,2.5,[null]],"o":{"x":true,"y":[{"z":null}]}}"#;
    let wanted = json!({"access_token": "t", "username": "bob", "since": null, "n": [1, 2.5, []],
        "o": {"x": true, "y": [{"z": null}]}});
    let in_places = json!({"values": [1, null, 2], "o": {"values": [1, 2]}});
    assert_eq!(read("PUT", "", JSON, br#"{"values":[1,null,2],"o":{"values":[1,null,2]}}"#), Ok(in_places));
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(read(method, "access_token=t", JSON, body), Ok(wanted.clone()), "{method}");
    }
    assert_eq!(read("POST", "", "APPLICATION/JSON", b"{}"), Ok(json!({})));
    for blank in [b"".as_slice(), b" \r\n"] {
        for content_type in [JSON, FORM, MULTIPART, "text/xml", ""] {
            assert_eq!(read("POST", "a=1", content_type, blank), Ok(json!({"a": "1"})));
        }
    }
}

#[test]
fn a_body_goes_over_the_query_and_records_are_joined() {
    let body = br#"{"service":{"name":"new","tags":["c"]},"a":{"b":1},"c":"d"}"#;
    let text = "service[name]=old&service[state]=hidden&service[tags][]=a&service[tags][]=b&a=1&c[d]=1&e=2";
    let wanted = json!({"service": {"name": "new", "state": "hidden", "tags": ["c"]}, "a": {"b": 1}, "c": "d",
        "e": "2"});
    assert_eq!(read("PUT", text, JSON, body), Ok(wanted));
}

fn part(head: &str, value: &str) -> String {
    format!("--X\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
}

#[test]
fn parts_that_are_no_files_are_parameters() {
    let body = [
        part("name=\"file[name]\"", "a b"),
        part("name=\"file[attachment]\"; filename=\"x.png\"", "png"),
        part("name=\"file[tags][]\"", "1"),
        part("name=\"file[tags][]\"", "2"),
        "--X--\r\n".to_owned(),
    ];
    let wanted = json!({"q": "1", "file": {"name": "a b", "tags": ["1", "2"]}});
    assert_eq!(read("POST", "q=1", MULTIPART, body.concat().as_bytes()), Ok(wanted));
    // A large one, of many parts, needs no waiting either.
    let many: String = (0..1000).map(|at| part("name=\"a[]\"", &at.to_string().repeat(500))).collect();
    let all = read("POST", "", MULTIPART, format!("{many}--X--\r\n").as_bytes()).unwrap();
    assert_eq!(all["a"].as_array().unwrap().len(), 1000);
    for broken in [&body.concat()[..40], "a=1"] {
        assert_eq!(read("POST", "", MULTIPART, broken.as_bytes()), Err(ParamsError::Multipart));
    }
    let no_boundary = read("POST", "", "multipart/form-data", b"x");
    assert_eq!(no_boundary, Err(ParamsError::Multipart));
}

#[test]
fn what_cannot_be_read_is_refused_with_a_reason() {
    let json = |text: &str| read("POST", "", JSON, text.as_bytes()).unwrap_err().to_string();
    assert_eq!(json("[1]"), "the body is not a JSON object");
    assert_eq!(json("5"), "the body is not a JSON object");
    assert_eq!(json("{\"secret\":\n x}"), "the body is not JSON: a syntax error at line 2 column 2");
    assert_eq!(json("{\"secret\""), "the body is not JSON: it ends too early at line 1 column 9");
    assert_eq!(json("a=1"), "the body is not JSON: a syntax error at line 1 column 1");
    assert_eq!(query("a=%ff"), Err(ParamsError::NotUtf8));
    assert_eq!(query("a[]=%ff"), Err(ParamsError::NotUtf8));
    assert_eq!(query("a=%zz"), Err(FormError::BadEscape("%zz".into()).into()));
    let other = |content_type: &str| read("POST", "", content_type, b"<a/>");
    assert_eq!(other("text/xml; charset=x"), Err(ParamsError::ContentType("text/xml; charset=x".into())));
    let Err(ParamsError::ContentType(shown)) = other(&"x".repeat(1000)) else { panic!("it is no type") };
    assert_eq!(shown.len(), ECHO_MAX);
}

#[test]
fn parameters_are_bounded_in_depth_number_and_bytes() {
    let nested = |depth: usize| format!("a{}=1", "[b]".repeat(depth - 1));
    assert!(form(&nested(form::DEPTH_MAX)).is_ok());
    assert_eq!(form(&nested(form::DEPTH_MAX + 1)), Err(FormError::Shape.into()));
    let lists = |depth: usize| format!("a{}=1", "[][b]".repeat(depth - 1));
    assert!(form(&lists(form::DEPTH_MAX)).is_ok());
    assert_eq!(form(&lists(form::DEPTH_MAX + 1)), Err(FormError::Shape.into()));
    let many = |count: usize| vec!["a[]=1"; count].join("&");
    assert!(form(&many(PARAMETERS_MAX)).is_ok());
    assert_eq!(form(&many(PARAMETERS_MAX + 1)), Err(FormError::TooMany(PARAMETERS_MAX + 1).into()));
    let parts = |count: usize| format!("{}--X--\r\n", part("name=a", "1").repeat(count));
    assert!(read("POST", "", MULTIPART, parts(PARAMETERS_MAX).as_bytes()).is_ok());
    let too_many = read("POST", "", MULTIPART, parts(PARAMETERS_MAX + 1).as_bytes());
    assert_eq!(too_many, Err(FormError::TooMany(PARAMETERS_MAX + 1).into()));

    let json = |text: String| read("POST", "", JSON, text.as_bytes());
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(json(nested(JSON_DEPTH_MAX)).is_ok());
    assert_eq!(json(nested(JSON_DEPTH_MAX + 1)), Err(ParamsError::JsonTooDeep));
    let many = |count: usize| format!("{{\"a\":[{}]}}", vec!["1"; count - 1].join(","));
    assert!(json(many(JSON_VALUES_MAX)).is_ok());
    assert_eq!(json(many(JSON_VALUES_MAX + 1)), Err(ParamsError::JsonTooMany(JSON_VALUES_MAX + 1)));
    for (content_type, frame) in [(JSON, ["{\"a\":\"", "\"}"]), (FORM, ["a=", ""])] {
        let body = |len: usize| [frame[0], &"x".repeat(len - frame.concat().len()), frame[1]].concat();
        assert!(read("POST", "", content_type, body(BYTES_MAX).as_bytes()).is_ok());
        let too_large = read("POST", "", content_type, body(BYTES_MAX + 1).as_bytes());
        assert_eq!(too_large, Err(FormError::TooLarge.into()));
    }
}

/// A name with brackets anywhere, and values, escaped where they must be.
fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[ab]?([\\[\\]]{1,3}[abc]?){0,4}", "[xy\\[\\]]{0,2}"), 0..12)
}

/// Rack 2.2's rules for nested names once more, on JSON values and without any index. Whether there is such a place.
fn rack(into: &mut Map<String, Value>, name: &str, value: &str) -> Option<bool> {
    let start = name.len() - name.trim_start_matches(['[', ']']).len();
    let end = name[start..].find(['[', ']']).map_or(name.len(), |at| start + at);
    let (key, after) = (&name[start..end], name[end..].trim_start_matches(']'));
    if key.is_empty() {
        return Some(false);
    }
    match after {
        "" => drop(into.insert(key.to_owned(), value.into())),
        "[" => drop(into.insert(name.to_owned(), value.into())),
        _ if after.starts_with("[]") => {
            let list = into.entry(key).or_insert(Value::Null);
            if list.is_null() {
                *list = json!([]);
            }
            let list = list.as_array_mut()?;
            let child = &after[2..];
            if child.is_empty() {
                list.push(value.into());
                return Some(true);
            }
            let has = |last: &Map<String, Value>| {
                let mut parts = child.split(['[', ']']).filter(|part| !part.is_empty());
                let found = parts.try_fold(None, |at: Option<&Value>, part| match at {
                    None => last.get(part).map(Some),
                    Some(at) => at.as_object().and_then(|at| at.get(part)).map(Some),
                });
                !child.contains("[]") && found.is_some()
            };
            match list.last_mut() {
                Some(Value::Object(last)) if !has(last) => drop(rack(last, child, value)?),
                _ => {
                    let mut element = Map::new();
                    let exists = rack(&mut element, child, value)?;
                    list.push(match (exists, child) {
                        (true, _) => element.into(),
                        (false, "[]") => json!([value]),
                        (false, _) => Value::Null,
                    });
                }
            }
        }
        _ => {
            let below = into.entry(key).or_insert(Value::Null);
            if below.is_null() {
                *below = json!({});
            }
            if !rack(below.as_object_mut()?, after, value)? {
                *below = Value::Null;
            }
        }
    }
    Some(true)
}

proptest! {
    #[test]
    fn names_lead_where_rack_leads_them(pairs in pairs(), padding in 0..2_usize) {
        let mut wanted = Some(Map::new());
        for (name, value) in &pairs {
            wanted = wanted.and_then(|mut all| rack(&mut all, name, value).map(|_| all));
        }
        let wanted = wanted.map(|all| {
            let mut all = Value::Object(all);
            leave_out_nulls(&mut all);
            all
        });
        let text: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // With many parameters names are found in another way.
        let text = format!("{}{}", "&".repeat(padding * 40), text.join("&"));
        prop_assert_eq!(form(&text).ok(), wanted, "{}", text);
    }

    #[test]
    fn any_body_is_read_or_refused(
        kind in 0..4_usize, text in "[ab\\[\\]=&{}\":,1null%-]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let content_type = [FORM, JSON, MULTIPART, ""][kind];
        let _ = read("PUT", "", content_type, text.as_bytes());
        let _ = read("PUT", "", content_type, &bytes);
    }
}
