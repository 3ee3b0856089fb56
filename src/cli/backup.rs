//! `tollgate backup` and `tollgate restore`.

use std::path::PathBuf;

use clap::Args;

use super::verify::Place;
use super::{Exit, say, show};
use crate::listener::system_clock;
use crate::node::backup::{BackupError, backup, restore};

pub(super) const BACKUP_HELP: &str = "\
A running node goes on deciding; everything it had answered before is in the backup. It is read back and put together \
before it gets its name; one that is interrupted ends in .partial or .unfinished and is not restored. It holds \
credentials.

Exit codes: 0 made, 7 the data is damaged, 5 a node runs there and does not answer, 6 cannot be read or written, \
1 other failure.";

pub(super) const RESTORE_HELP: &str = "\
The restored node is another one than its original: it has a node id of its own and begins a new term. If both run, \
each counts for itself, so limits hold for each alone.

Exit codes: 0 restored, 7 not a whole backup, 6 cannot be read or written, or the directory is not empty.";

#[derive(Args, Debug)]
pub(super) struct Backup {
    /// A directory that is not there yet, or a file whose name ends in .tar
    #[arg(value_name = "DIR|FILE.tar")]
    to: PathBuf,

    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Restore {
    /// What `tollgate backup` has made
    #[arg(value_name = "FROM")]
    from: PathBuf,

    #[command(flatten)]
    place: Place,
}

pub(super) fn run_backup(arguments: Backup) -> Exit {
    let data_dir = match arguments.place.data_dir() {
        Ok(data_dir) => data_dir,
        Err(exit) => return exit,
    };
    match backup(&data_dir, &arguments.to, &system_clock()) {
        Ok(made) => {
            let bytes: u64 = made.files.iter().map(|row| row.kept).sum();
            show(&format!(
                "Backed up to {}: everything up to sequence {}, {} files, {bytes} bytes; read back and put together.\n",
                arguments.to.display(),
                made.sequence,
                made.files.len(),
            ));
            Exit::Done
        }
        Err(error) => fail(&error),
    }
}

pub(super) fn run_restore(arguments: Restore) -> Exit {
    let data_dir = match arguments.place.data_dir() {
        Ok(data_dir) => data_dir,
        Err(exit) => return exit,
    };
    match restore(&arguments.from, &data_dir, &system_clock()) {
        Ok(restored) => {
            show(&format!(
                "Restored to {}: everything up to sequence {}, as of {} ms; as node {}, whose first start begins \
                 term {}.\n",
                data_dir.display(),
                restored.sequence,
                restored.created_ms,
                restored.node_id,
                restored.next_term,
            ));
            Exit::Done
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &BackupError) -> Exit {
    say(&error.to_string());
    match error {
        BackupError::DataDir(error) => super::serve::exit_of_data_dir(error),
        BackupError::Silent(_) => Exit::Locked,
        BackupError::State(error) if error.is_io() => Exit::DataDir,
        BackupError::State(_) | BackupError::NotWhole { .. } => Exit::Data,
        BackupError::Refused(_) => Exit::Failed,
        BackupError::NotANode(_)
        | BackupError::Exists(_)
        | BackupError::Partial(_)
        | BackupError::NotEmpty(_)
        | BackupError::System { .. } => Exit::DataDir,
    }
}
