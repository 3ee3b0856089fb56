//! Pages kept and asked for again; the document itself is tested against a node (`tests/migrate.rs`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::source::{Source, SourceError};
use crate::outgoing::{Http, Options, Reach, Roots};

/// A server, and what it was asked.
pub(super) struct Server {
    url: String,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
}

/// One that answers `answers` one after the other, the last for ever.
fn server(answers: Vec<(u16, String)>) -> Server {
    let at = AtomicUsize::new(0);
    serve(move |_| answers[at.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)].clone())
}

/// One that answers by what it is asked for: path and query.
pub(super) fn serve(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            let asked = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body) = answer(&asked);
            noted.lock().unwrap().push(asked);
            let after = if status == 429 { "Retry-After: 1\r\n" } else { "" };
            let head = format!(
                "HTTP/1.1 {status} It\r\n{after}Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    Server { url, asked }
}

pub(super) fn open<'s>(server: &Server, folder: &std::path::Path) -> Result<Source<'s>, SourceError> {
    let options = Options {
        reach: Reach::anywhere(),
        timeout: Duration::from_secs(5),
        body_bytes_max: 1 << 20,
        roots: Roots::Web,
    };
    let http = Http::new(options).unwrap();
    Ok(Source::open(http, &server.url, "t&k", folder, Box::new(|_, _| {}))?.impatient())
}

fn page(first: usize, count: usize) -> String {
    let items: Vec<_> = (first..first + count).map(|id| format!(r#"{{"it":{{"id":{id}}}}}"#)).collect();
    format!(r#"{{"its":[{}]}}"#, items.join(","))
}

#[test]
fn a_list_is_read_to_its_end_and_what_is_kept_is_not_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let pages = [(200, page(0, 500)), (200, page(500, 500)), (200, page(1000, 3))];
    let there = server(pages.to_vec());
    let mut source = open(&there, folder.path()).unwrap();
    let all = source.list("its").unwrap().0;
    assert!(all.iter().enumerate().all(|(at, it)| it["id"] == at) && all.len() == 1003);
    let first = &there.asked.lock().unwrap()[0].clone();
    assert_eq!(first, "/admin/api/its.json?page=1&per_page=500&access_token=t%26k");
    drop(source);
    // Begun again: all is there.
    let again = open(&there, folder.path()).unwrap().list("its").unwrap().0;
    assert_eq!((again, there.asked.lock().unwrap().len()), (all, 3));
}

#[test]
fn a_list_that_is_not_shown_in_pages_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let there = server(vec![(200, page(0, 600))]);
    assert_eq!(open(&there, folder.path()).unwrap().list("its").unwrap().0.len(), 600);
    assert_eq!(there.asked.lock().unwrap().len(), 2);
}

#[test]
fn who_is_busy_is_asked_again_after_as_long_as_it_says_and_who_refuses_is_not() {
    let (folder, begun) = (tempfile::tempdir().unwrap(), Instant::now());
    let there = server(vec![(503, String::new()), (429, String::new()), (200, page(0, 1))]);
    assert_eq!(open(&there, folder.path()).unwrap().list("its").unwrap().0.len(), 1);
    assert_eq!(there.asked.lock().unwrap().len(), 3);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it said so");
    let folder = tempfile::tempdir().unwrap();
    let there = server(vec![(403, r#"{"error":"Access denied"}"#.to_owned())]);
    let error = open(&there, folder.path()).unwrap().list("its").unwrap_err();
    assert!(
        matches!(&error, SourceError::Refused { status: 403, told, .. } if told.contains("denied")),
        "{error}"
    );
    assert!(!error.to_string().contains("t&k") && !error.to_string().contains("t%26k"), "{error}");
    assert_eq!(there.asked.lock().unwrap().len(), 1);
}

#[test]
fn what_is_not_there_is_nothing_and_kept_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let there = server(vec![(404, r#"{"status":"Not found"}"#.to_owned())]);
    let mut source = open(&there, folder.path()).unwrap();
    assert_eq!((source.one("it").unwrap(), source.one("it").unwrap()), (None, None));
    assert_eq!(there.asked.lock().unwrap().len(), 1);
    // A list that is not there is no empty list.
    assert!(matches!(source.list("its"), Err(SourceError::Gone { path }) if path == "its"));
}

#[test]
fn an_answer_that_cannot_be_read_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let there = server(vec![(200, "<html>Please log in</html>".to_owned()), (200, page(0, 1))]);
    let mut source = open(&there, folder.path()).unwrap();
    assert!(matches!(source.list("its"), Err(SourceError::Unfit(_))));
    assert_eq!(source.list("its").unwrap().0.len(), 1);
    assert_eq!(there.asked.lock().unwrap().len(), 2);
}

#[test]
fn a_folder_is_of_one_tenant_of_one_source() {
    let folder = tempfile::tempdir().unwrap();
    let provider = |id| (200, format!(r#"{{"account":{{"id":{id},"org_name":"It"}}}}"#));
    let there = server(vec![provider(2), provider(2), provider(3)]);
    let identify = |server: &Server| open(server, folder.path()).unwrap().identify();
    identify(&there).unwrap();
    identify(&there).unwrap();
    // Another token opened another tenant at the same URL.
    assert!(matches!(identify(&there), Err(SourceError::OtherSource { .. })));
    let elsewhere = server(vec![provider(2), (404, String::new()), (200, "[]".to_owned())]);
    assert!(matches!(identify(&elsewhere), Err(SourceError::OtherSource { .. })));
    for _ in 0..2 {
        assert!(matches!(identify(&elsewhere), Err(SourceError::Unfit(_))), "that is no admin API");
    }
}

#[test]
fn of_a_list_that_an_older_3scale_lacks_nothing_comes_and_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let there = server(vec![(404, String::new())]);
    let mut source = open(&there, folder.path()).unwrap();
    let mut making = super::Making { source: &mut source, secrets: Default::default(), notes: Vec::new() };
    assert!(making.list("services/7/proxy/policies").unwrap().is_empty());
    assert!(
        making.notes[0].starts_with("services/7/proxy/policies: there is no such list"),
        "{:?}",
        making.notes
    );
    assert!(matches!(making.list("services"), Err(SourceError::Gone { .. })));
}

/// A page of what there is, with how much that is.
fn page_of(ids: std::ops::Range<usize>, total: usize) -> (u16, String) {
    let (status, text) = (200, page(ids.start, ids.len()));
    (status, text.replacen('{', &format!(r#"{{"metadata":{{"total_entries":{total}}},"#), 1))
}

#[test]
fn a_list_that_changed_between_its_pages_is_read_anew_and_nothing_is_there_twice() {
    let folder = tempfile::tempdir().unwrap();
    // One was made before the others, then two were deleted: 499 is on two pages, or 1000 is on none.
    let pages = [page_of(0..500, 600), page_of(499..600, 601), page_of(0..500, 602), page_of(501..602, 601)];
    let rests = [page_of(0..500, 601), page_of(500..601, 601)];
    let there = server([&pages[..], &rests[..]].concat());
    let (all, is_whole) = open(&there, folder.path()).unwrap().list("its").unwrap();
    assert!(is_whole && all.iter().enumerate().all(|(at, it)| it["id"] == at) && all.len() == 601);
    assert_eq!(there.asked.lock().unwrap().len(), 6);
    // What is kept now fits together.
    assert_eq!(open(&there, folder.path()).unwrap().list("its").unwrap(), (all, true));
    assert_eq!(there.asked.lock().unwrap().len(), 6);
}

#[test]
fn a_list_that_never_rests_comes_as_it_is_and_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let there = server(vec![[page_of(0..500, 600), page_of(490..590, 600)]; 9].concat());
    let mut source = open(&there, folder.path()).unwrap();
    let mut making = super::Making { source: &mut source, secrets: Default::default(), notes: Vec::new() };
    let all = making.list("its").unwrap();
    assert!(all.iter().enumerate().all(|(at, it)| it["id"] == at) && all.len() == 590, "each once");
    assert!(making.notes[0].starts_with("its: changed each time"), "{:?}", making.notes);
    assert_eq!(there.asked.lock().unwrap().len(), 8);
}
