//! Bodies of the internal API.

use tollgate::http::internal::json::{JSON_DEPTH_MAX, JsonError, Object};

/// How deep the lists and objects of `text`, which is JSON, nest: by counting brackets outside of quotes.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                while let Some(inside) = characters.next() {
                    match inside {
                        '\\' => drop(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '[' | '{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// One input.
pub fn run(bytes: &[u8]) {
    match Object::parse(bytes) {
        Ok(object) => {
            let names: Vec<String> = object.values().keys().cloned().collect();
            for name in &names {
                // Each value can be asked for as anything; whatever is given out is of use.
                let text = object.text(name);
                assert!(!matches!(&text, Ok(Some(text)) if text.trim().is_empty()));
                if let Ok(Some(number)) = object.number(name) {
                    assert!(
                        text.is_ok_and(|text| text.is_some_and(|text| text.trim().parse() == Ok(number)))
                    );
                }
                let _ = (object.flag(name), object.texts(name), object.list(name));
            }
            // Written out and read again it is the same, and as deep as allowed at most.
            let written = serde_json::to_string(object.values()).expect("values can be written");
            assert!(depth(&written) <= JSON_DEPTH_MAX);
            assert_eq!(Object::parse(written.as_bytes()), Ok(object));
        }
        Err(JsonError::TooDeep | JsonError::NotAnObject) => {}
        Err(error) => {
            // One line, and nothing of the body in it.
            assert!(matches!(error, JsonError::Syntax(_)) && error.to_string().lines().count() == 1);
        }
    }
}
