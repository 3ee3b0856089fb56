//! The `tollgate` process: the command line, and its exit code.

fn main() -> std::process::ExitCode {
    tollgate::cli::run()
}
