//! Disk, permissions, limits.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::server::DEFAULT_MAX_CONNECTIONS;
use crate::settings::Settings;

/// Below this, little can be stored; the log of a database alone may have a tenth of it.
const SCARCE_MB: u64 = 200;
const LITTLE_MB: u64 = 2_000;
/// Files besides connections.
const OTHER_FILES: u64 = 256;
const ANYBODY_ELSE: u32 = 0o077;
/// Container engines hand secrets over to a group.
const STRANGERS: u32 = 0o007;

/// Whether something in a folder can be made and changed.
pub(super) fn may_write(folder: &Path) -> bool {
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

pub(super) fn of_disk(file: &Path) -> Option<Finding> {
    const CHECK: &str = "disk";
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let disk = statvfs(folder).ok()?;
    let free_mb = disk.f_bavail.saturating_mul(disk.f_frsize) / 1_000_000;
    let what = format!("{free_mb} MB are free in {}", folder.display());
    Some(match free_mb {
        0..SCARCE_MB => Finding::fault(CHECK, what, "make room: a full disk stores nothing, and every post is refused"),
        SCARCE_MB..LITTLE_MB => Finding::note(CHECK, what, "make room, or keep sessions for less time (tenant update --retention-days)"),
        _ => Finding::fine(CHECK, what),
    })
}

pub(super) fn of_permissions(file: &Path) -> Vec<Finding> {
    const CHECK: &str = "permissions";
    let with = |end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let mut findings: Vec<_> = ["", "-wal", "-shm", ".token-secret"]
        .into_iter()
        .filter_map(|end| of_private(CHECK, &with(end), ANYBODY_ELSE, "it holds phone numbers and transcripts, or what signs tokens"))
        .collect();
    if file.exists() && access(file, Access::READ_OK | Access::WRITE_OK).is_err() {
        let advice = "give it to the user that the gateway runs as, and run doctor as that user";
        findings.push(Finding::fault(CHECK, format!("{} cannot be read and written", file.display()), advice));
    }
    if findings.is_empty() && file.exists() {
        findings.push(Finding::fine(CHECK, format!("{} is for its owner alone", file.display())));
    }
    findings
}

pub(super) fn of_secret_files(settings: &Settings) -> Vec<Finding> {
    let files = [&settings.database_url_file, &settings.token_secret_file, &settings.previous_token_secret_file, &settings.tls_key];
    files.into_iter().flatten().filter_map(|file| of_private("permissions", file, STRANGERS, "it holds a secret")).collect()
}

/// Says where others may use a file that is not for them.
fn of_private(check: &'static str, file: &Path, others: u32, why: &str) -> Option<Finding> {
    let mode = std::fs::metadata(file).ok().filter(Metadata::is_file).as_ref().map(Metadata::mode)? & 0o777;
    let what = format!("{} has mode {mode:o}, and {why}", file.display());
    (mode & others != 0).then(|| Finding::note(check, what, format!("chmod 600 {}", file.display())))
}

pub(super) fn of_open_files(settings: &Settings) -> Finding {
    const CHECK: &str = "open files";
    let connections = settings.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS).get() as u64;
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < connections.saturating_add(OTHER_FILES) => Finding::note(
            CHECK,
            format!("at most {limit} may be open, and there may be {connections} connections"),
            format!("raise the limit to {} (systemd: LimitNOFILE=), or set --max-connections", connections.saturating_add(OTHER_FILES)),
        ),
        limit => Finding::fine(CHECK, limit.map_or("as many as it likes".into(), |limit| format!("at most {limit} may be open"))),
    }
}
