//! `tollgate export`: a tenant's catalog as one document.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::remote::{Node, RemoteError};
use super::{Exit, say, show};

pub(super) const AFTER_HELP: &str = "\
The document has all that the tenant has set up (fields, features, plans, backends, services, accounts with users, subscriptions and applications), \
by names and in one order: no ids, no times, so that the same catalog is the same bytes. Keys, tokens, hashes of passwords and URLs with a \
password in them stand in it as `secret: NAME`; their values are written with --secrets only, into a file that nobody else can read. Ids of applications are \
no secrets, and are in the document; what configurations of policies have in them is there as well.

What another system administers over the internal API is left out, and said on standard error.

Exit codes: 0 written, 1 the node cannot be reached or refuses, 2 unknown flag.";

#[derive(Args, Debug)]
pub(super) struct Export {
    #[command(flatten)]
    node: Node,
    /// Where the document is written [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the values of secrets into this file, of mode 0600
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

pub(super) fn run(export: &Export) -> Exit {
    match try_export(export) {
        Ok(()) => Exit::Done,
        Err(problem) => {
            say(&problem);
            Exit::Failed
        }
    }
}

fn try_export(export: &Export) -> Result<(), String> {
    let words = |error: RemoteError| error.to_string();
    let remote = export.node.remote().map_err(words)?;
    let ask = json!({"secrets": export.secrets.is_some()});
    let answer = remote.call("GET", "catalog", &ask).map_err(words)?;
    let catalog = &answer["catalog"];
    let document = catalog["document"].as_str().ok_or("the node answers no document")?;
    for left_out in catalog["left_out"].as_array().into_iter().flatten().filter_map(|it| it.as_str()) {
        say(&format!("left out: {left_out}"));
    }
    if let Some(file) = &export.secrets {
        let secrets = catalog["secrets"].as_str().ok_or("the node answers no secrets")?;
        write(file, secrets, Some(0o600)).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    match &export.output {
        None => show(document),
        Some(file) => write(file, document, None).map_err(|error| format!("{}: {error}", file.display()))?,
    }
    Ok(())
}

/// Writes a file beside its place and puts it there when it is whole, so that a document in the place is never half of one.
fn write(file: &Path, text: &str, mode: Option<u32>) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = file.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if let Some(mode) = mode {
        options.mode(mode);
    }
    let mut out = options.open(&new)?;
    if let Some(mode) = mode {
        out.set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    let written = out.write_all(text.as_bytes()).and_then(|()| out.sync_all());
    let placed = written.and_then(|()| std::fs::rename(&new, file));
    placed.inspect_err(|_| drop(std::fs::remove_file(&new)))
}
