//! Documents of catalogs, of secrets, and OpenAPI descriptions: three readers of the same YAML.

use tollgate::document::read::read;
use tollgate::document::{Secrets, diff, node, openapi, render};

/// One input.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((tree, problems)) = node::parse(text) {
        assert!(problems.len() <= node::PROBLEMS_MAX);
        let json = tree.json();
        let written = render::value(&json);
        let (again, problems) = node::parse(&written).expect("what was written is read");
        assert!(problems.is_empty() && again.json() == json, "{written}");
    }
    match read(text) {
        Ok(mut document) => {
            document.make_canonical();
            let written = render::render(&document);
            let mut again = read(&written).expect("what was written is right");
            assert_eq!(again, document);
            again.make_canonical();
            assert_eq!(again, document, "there is one canonical form");
            let none = Secrets::default();
            let (one, two) = (diff::Resolved::of(&document, &none), diff::Resolved::of(&again, &none));
            let changes = diff::compare(&one, &two, true);
            assert!(changes.is_empty(), "{}", diff::show(&changes));
        }
        Err(problems) => {
            assert!(!problems.is_empty() && problems.len() <= node::PROBLEMS_MAX);
            // YAML ends lines in more ways than one.
            let lines = text.matches(['\n', '\r']).count() + 2;
            assert!(problems.iter().all(|it| it.spot.is_none_or(|spot| spot.line <= lines)));
        }
    }
    if let Ok(secrets) = Secrets::parse(text) {
        assert_eq!(Secrets::parse(&secrets.render()), Ok(secrets));
    }
    if let Ok(fragment) = openapi::fragment(text, "shop") {
        // Patterns may be too long, and are told then; all else of it is right.
        if let Err(problems) = read(&render::render(&fragment)) {
            assert!(problems.iter().all(|it| it.path.ends_with(".pattern")), "{problems:?}");
        }
    }
}
