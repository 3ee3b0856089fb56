//! What a backup says of itself.

use std::path::{Component, Path};

use tollgate::node::backup::Manifest;

/// One input.
pub fn run(bytes: &[u8]) {
    match Manifest::parse(bytes) {
        Ok(manifest) => {
            for row in &manifest.files {
                // Wherever it is restored to, it is a file below one of the folders, or the secret.
                let parts: Vec<_> = Path::new(&row.path).components().collect();
                assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))), "{:?}", row.path);
                let folders = ["checkpoints", "journal", "ids", "shelves"];
                let is_below = parts.len() > 1 && folders.iter().any(|it| parts[0].as_os_str() == *it);
                assert!(is_below || row.path == "node-secret", "{:?}", row.path);
                assert!(row.kept <= row.len);
            }
            let written = serde_json::to_vec_pretty(&manifest).expect("it can be written");
            assert_eq!(Manifest::parse(&written), Ok(manifest));
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
}
