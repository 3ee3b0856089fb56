//! Forms against what Rack reads, at their limits, and against a model of maps in maps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn render(entries: Entries<'_>) -> String {
    let parts: Vec<String> = entries
        .map(|(name, value)| match value {
            Value::Nil => name.to_owned(),
            Value::Text(text) => format!("{name}={text}"),
            Value::List(elements) => format!("{name}[{}]", render(elements)),
            Value::Hash(entries) => format!("{name}{{{}}}", render(entries)),
        })
        .collect();
    parts.join(",")
}

fn read(encoded: &str) -> Result<String, FormError> {
    Form::parse(encoded.as_bytes()).map(|form| render(form.entries()))
}

#[test]
fn reads_what_rack_reads() {
    for (encoded, read_as) in [
        ("", ""),
        ("a=1&b=2", "a=1,b=2"),
        ("a=1&a=2", "a=2"),
        ("&&a=1&&&b=2&", "a=1,b=2"),
        ("a=1&  b=2", "a=1,b=2"),
        ("a", "a"),
        ("a=", "a="),
        ("=5&a=1", "a=1"),
        ("a=b=c", "a=b=c"),
        ("a=1;b=2", "a=1;b=2"),
        ("a=x+y%20z%2B", "a=x y z+"),
        ("usage[hits]=1&usage[big]=5", "usage{hits=1,big=5}"),
        ("usage%5Bhits%5D=1&usage%5bbig%5d=5", "usage{hits=1,big=5}"),
        ("usage[hits]=1&x=2&usage[hits]=3&usage[a]=4", "usage{hits=3,a=4},x=2"),
        (
            "transactions[0][usage][hits]=1&transactions[0][app_id]=a",
            "transactions{0{usage{hits=1},app_id=a}}",
        ),
        ("usage[hits]=1&usage=5", "usage=5"),
        ("usage&usage[hits]=1", "usage{hits=1}"),
        ("usage[x]=1&usage&usage[y]=1", "usage{y=1}"),
        ("usage[]=1&usage[]=2", "usage[]"),
        ("usage[][x]=1", "usage[]"),
        ("[usage]=1", "usage=1"),
        ("usage[hits=1", "usage{hits=1}"),
        ("usage[=1", "usage[=1"),
        ("usage]=1", "usage=1"),
        ("usage[hits]x=1", "usage{hits{x=1}}"),
        ("usage[hits][=1", "usage{[hits][=1}"),
        ("a[[b]]=1", "a{b=1}"),
        ("a[ ]=1", "a{ =1}"),
        // What threescalers 0.8.0 sends, and others whose brackets are not what one would expect.
        (
            "transactions[0]user_key=k&transactions[0]usage[hits]=1",
            "transactions{0{user_key=k,usage{hits=1}}}",
        ),
        ("usage[hits]x[y]=1", "usage{hits{x{y=1}}}"),
        ("[a][b]=1&[]c=2&]d=3&[]=4&[=5", "a{b=1},c=2,d=3"),
        ("a]]b=1&a[c]]d=2&a[e]][f]=3", "a{b=1,c{d=2},e{f=3}}"),
        ("a[]b=1&c[]]=1&d[][=1", "a[],c[],d[]"),
        ("a[b]x[=1", "a{b{x[=1}}"),
        ("x[[]]=1", "x"),
        ("x[y]=1&x[[]]=1&x[z]=2", "x{z=2}"),
    ] {
        assert_eq!(read(encoded).as_deref(), Ok(read_as), "{encoded}");
    }
}

#[test]
fn a_hash_never_replaces_a_text() {
    for encoded in [
        "usage=5&usage[hits]=1",
        "a[b]=1&a[b][c]=2",
        "a=1&a[]=2",
        "a[]=1&a[b]=2",
        "a[b]=1&a[]=2",
        "a[b][]=1&a[b][c]=2",
    ] {
        assert_eq!(read(encoded), Err(FormError::Shape), "{encoded}");
    }
}

#[test]
fn bad_escapes_are_told_with_their_component() {
    for (encoded, component) in
        [("a=%zz", "%zz"), ("a=%", "%"), ("x=1&a%2=1", "a%2"), ("a=50%+off", "50%+off")]
    {
        assert_eq!(read(encoded), Err(FormError::BadEscape(component.into())), "{encoded}");
    }
    let text = read("a=%zz").unwrap_err().to_string();
    assert_eq!(text, "Invalid query parameters: invalid %-encoding (%zz)");
}

#[test]
fn each_text_must_be_utf8_by_itself() {
    assert!(Form::parse("a=\u{e9}&b=%C3%A9".as_bytes()).unwrap().is_utf8());
    for encoded in ["a=%C3&b=%A9", "a=%ff", "%C3=%A9", "a%C3"] {
        let form = Form::parse(encoded.as_bytes()).unwrap();
        assert!(!form.is_utf8(), "{encoded}");
        assert!(render(form.entries()).contains('?'), "{encoded}");
    }
    assert_eq!(render(Form::parse(b"a=x%ffy%fe&b=z").unwrap().entries()), "a=x?y?,b=z");
}

#[test]
fn parameters_are_counted_with_empty_pairs_and_bounded() {
    let all = vec!["a[b]=1"; PARAMETERS_MAX].join("&");
    assert_eq!(read(&all).as_deref(), Ok("a{b=1}"));
    assert_eq!(read(&format!("{all}&")), Err(FormError::TooMany(PARAMETERS_MAX + 1)));
    let text = FormError::TooMany(PARAMETERS_MAX + 1).to_string();
    assert_eq!(text, "total number of query parameters (4097) exceeds limit (4096)");
}

#[test]
fn bytes_are_bounded() {
    let mut all = vec![b'a'; BYTES_MAX];
    assert!(Form::parse(&all).is_ok());
    all.push(b'a');
    assert_eq!(Form::parse(&all).unwrap_err(), FormError::TooLarge);
    let mut builder = Builder::new(0);
    assert_eq!(builder.push_pair(b"ab", &all[..BYTES_MAX - 1]), Err(FormError::TooLarge));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("a{}=1", "[b]".repeat(depth));
    assert!(read(&nested(DEPTH_MAX - 1)).is_ok());
    assert_eq!(read(&nested(DEPTH_MAX)), Err(FormError::Shape));
    assert_eq!(read(&nested(100_000)), Err(FormError::Shape));
}

#[test]
fn many_names_are_found_by_index_as_by_scan() {
    let pairs: Vec<String> = (0..2000).map(|n| format!("t[{}][x]={n}", n % 500)).collect();
    let form = Form::parse(pairs.join("&").as_bytes()).unwrap();
    let Some((_, Value::Hash(transactions))) = form.entries().next() else { panic!("no hash") };
    let read: Vec<String> =
        transactions.map(|(name, value)| format!("{name}:{value:.0?}").len().to_string()).collect();
    assert_eq!(read.len(), 500);
    let mut builder = Builder::new(0);
    for n in 0..2000 {
        builder.push_pair(format!("t[{}]", n % 500).as_bytes(), b"1").unwrap();
    }
    let form = builder.finish();
    let Some((_, Value::Hash(transactions))) = form.entries().next() else { panic!("no hash") };
    assert_eq!(transactions.count(), 500);
    let stale: String = (0..40).map(|n| format!("a[{n}]=1&")).collect();
    assert_eq!(read_pairs(&format!("{stale}a&a[3]=x&a[3]=y&a[4]=z")), "a{3=y,4=z}");
}

fn read_pairs(encoded: &str) -> String {
    read(encoded).unwrap()
}

/// A form by the plainest means: maps of maps. `None` marks a shape conflict.
#[derive(Clone, PartialEq, Debug)]
enum Model {
    Text(String),
    Hash(BTreeMap<String, Model>),
}

fn model(pairs: &[(Vec<String>, String)]) -> Option<BTreeMap<String, Model>> {
    let mut root = BTreeMap::new();
    for (path, value) in pairs {
        let mut at = &mut root;
        let (last, above) = path.split_last()?;
        for key in above {
            let entry = at.entry(key.clone()).or_insert_with(|| Model::Hash(BTreeMap::new()));
            at = match entry {
                Model::Hash(map) => map,
                Model::Text(_) => return None,
            };
        }
        at.insert(last.clone(), Model::Text(value.clone()));
    }
    Some(root)
}

fn collect(entries: Entries<'_>) -> BTreeMap<String, Model> {
    entries
        .map(|(name, value)| {
            let value = match value {
                Value::Hash(entries) => Model::Hash(collect(entries)),
                value => Model::Text(value.text().unwrap().to_owned()),
            };
            (name.to_owned(), value)
        })
        .collect()
}

fn escape(text: &str, everything: bool) -> String {
    let plain = |byte: u8| !everything && byte.is_ascii_alphanumeric();
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(form) = Form::parse(&bytes) {
            render(form.entries());
        }
    }

    #[test]
    fn any_brackets_are_read_or_refused(text in "[a\\[\\]=&%5BD+ ]{0,200}") {
        if let Ok(form) = Form::parse(text.as_bytes()) {
            render(form.entries());
        }
    }

    #[test]
    fn what_is_encoded_is_read_back(
        pairs in proptest::collection::vec(
            (proptest::collection::vec("[a-c\u{e9}]{1,2}", 1..4), ".{0,5}"), 0..60),
        everything in any::<bool>(),
        one_by_one in any::<bool>(),
    ) {
        let names = pairs.iter().map(|(path, _)| format!("{}{}", path[0], path[1..].iter().map(|k| format!("[{k}]")).collect::<String>()));
        let read = if one_by_one {
            let mut builder = Builder::new(0);
            names.zip(&pairs).try_for_each(|(name, (_, value))| builder.push_pair(name.as_bytes(), value.as_bytes()))
                .map(|()| builder.finish())
        } else {
            let encoded: Vec<String> = names.zip(&pairs)
                .map(|(name, (_, value))| format!("{}={}", escape(&name, everything), escape(value, everything)))
                .collect();
            Form::parse(encoded.join("&").as_bytes())
        };
        match model(&pairs) {
            Some(expected) => prop_assert_eq!(collect(read.unwrap().entries()), expected),
            None => prop_assert_eq!(read.unwrap_err(), FormError::Shape),
        }
    }
}
