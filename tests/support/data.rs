//! What tests of data directories share: all that is in one, and a node that holds something in reserve.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tollgate::engine::request::{AuthRequest, Call, Credentials, Usage};
use tollgate::model::amount::Effect;
use tollgate::model::time::UnixMillis;
use tollgate::node::Node;

/// All files and folders below: when each was changed, and what is in it (nothing of what cannot be read).
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        found.insert(folder.clone(), (std::fs::metadata(&folder).unwrap().modified().unwrap(), Vec::new()));
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
                found.insert(path.clone(), (changed, std::fs::read(&path).unwrap_or_default()));
            }
        }
    }
    found
}

/// Changes one bit in the middle of a file.
pub(crate) fn flip_a_bit(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, &bytes).unwrap();
}

/// What asks to reserve `usage` for an hour.
pub(crate) fn reservation<'a>(
    (provider_key, service_id): (&'a str, &'a str),
    (app_id, user_key): (Option<&'a str>, Option<&'a str>),
    usage: &'a [(&'a str, Effect)],
) -> AuthRequest<'a> {
    let credentials = Credentials {
        provider_key: Some(provider_key),
        service_id: Some(service_id),
        ..Credentials::default()
    };
    AuthRequest {
        call: Call::Reserve { ttl_s: 3600 },
        oauth: false,
        credentials,
        app_id,
        user_key,
        app_key: None,
        referrer: None,
        redirect: None,
        usage: Usage::Amounts(usage),
        log_code: None,
        flat_usage: false,
        no_body: false,
    }
}

/// Reserves 7 of `search` for an hour.
pub(crate) fn reserve(
    node: &Node,
    provider_key: &str,
    service_id: &str,
    app_id: Option<&str>,
    user_key: Option<&str>,
    now: UnixMillis,
) {
    let usage = [("search", Effect::Add(7))];
    let request = reservation((provider_key, service_id), (app_id, user_key), &usage);
    let reserved = node.engine().authorize(&request, now, |answer| answer.reservation);
    assert!(reserved.unwrap().is_some());
}
