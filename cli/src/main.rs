//! The `cutout` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cutout_cli::main().await
}
