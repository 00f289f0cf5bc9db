//! `doctor`: whether everything is as it has to be, and what to do where it is not. It changes nothing.

mod machine;
mod tls;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use calldata_core::port::TimeMarks as _;
use calldata_store::{Database, FileState, Url};
use serde::Serialize;

use super::{AGREEMENT, clock, config, healthcheck, open_as_it_is};
use crate::app::MAX_CLOCK_DIFFERENCE_MS;
use crate::cli::Json;
use crate::settings::Settings;
use crate::{Failure, output, server};

const PATIENCE: Duration = Duration::from_secs(2);
/// 2026-01-01: before this program was written.
const LONG_AGO_MS: i64 = 1_767_225_600_000;

/// What was found.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    what: String,
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it has to be.
    Fine,
    /// The gateway runs; it could be better.
    Note,
    /// The gateway does not run, or does not keep its promises.
    Fault,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Fault => "FAULT",
        })
    }
}

impl Finding {
    fn fine(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fine, what: what.into(), advice: None }
    }

    fn note(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Note, what: what.into(), advice: Some(advice.into()) }
    }

    fn fault(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fault, what: what.into(), advice: Some(advice.into()) }
    }
}

#[derive(Serialize)]
struct Report<'f> {
    faults: usize,
    findings: &'f [Finding],
}

pub(super) async fn run(settings: &Settings, json: &Json) -> Result<(), Failure> {
    let findings = look(settings).await;
    let faults = findings.iter().filter(|finding| finding.verdict == Verdict::Fault).count();
    if json.json {
        output::json(&Report { faults, findings: &findings })?;
    } else {
        for Finding { check, verdict, what, advice } in &findings {
            output::line(&format!("{verdict:<5}  {check:<11}  {what}"))?;
            if let Some(advice) = advice {
                output::line(&format!("{:<20}→ {advice}", ""))?;
            }
        }
    }
    match faults {
        0 => Ok(()),
        1 => Err(Failure::new("there is a fault; it is told above, with what to do")),
        some => Err(Failure::new(format!("there are {some} faults; they are told above, with what to do"))),
    }
}

async fn look(settings: &Settings) -> Vec<Finding> {
    let mut findings = of_settings(settings);
    findings.push(of_clock());
    if let Ok(url) = settings.database() {
        findings.extend(of_database(settings, &url).await);
        if let Some(file) = url.file() {
            findings.extend(machine::of_disk(file));
            findings.extend(machine::of_permissions(file));
        }
    }
    findings.extend(machine::of_secret_files(settings));
    findings.push(machine::of_open_files(settings));
    findings.extend(tls::of_certificate(settings, clock().now()));
    findings.extend(of_ports(settings).await);
    findings
}

fn of_settings(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "settings";
    let wrong = config::wrong_together(settings);
    let faults = wrong.into_iter().map(|what| Finding::fault(CHECK, what, "change it; config check shows where each setting comes from"));
    let notes = settings.warnings().into_iter().map(|warning| Finding::note(CHECK, warning.risk, warning.advice));
    let findings: Vec<_> = faults.chain(notes).collect();
    if findings.is_empty() { vec![Finding::fine(CHECK, "they can be read, and go together")] } else { findings }
}

fn of_clock() -> Finding {
    let now = clock().now();
    if now.epoch_ms() < LONG_AGO_MS {
        return Finding::fault(
            "clock",
            format!("it shows {now}, which is past"),
            "set the time, and keep it with NTP (chrony or systemd-timesyncd)",
        );
    }
    Finding::fine("clock", format!("it shows {now}"))
}

async fn of_database(settings: &Settings, url: &Url) -> Vec<Finding> {
    const CHECK: &str = "database";
    if let Some(file) = url.file()
        && !file.exists()
    {
        return vec![of_missing(file)];
    }
    let name = url.file().map(|file| file.display().to_string()).unwrap_or_default();
    match url.look() {
        Ok(FileState::Ours) => {}
        Ok(FileState::Empty) => {
            return vec![Finding::note(CHECK, format!("{name} is empty"), "the first start makes the tables; is it the file you mean?")];
        }
        Ok(FileState::Foreign) => {
            return vec![Finding::fault(
                CHECK,
                format!("{name} is another program's database"),
                "name a file of the gateway's own with --database-url",
            )];
        }
        Err(error) => {
            let what = Failure::because(format!("{name} cannot be read as a database"), &error).to_string();
            return vec![Finding::fault(CHECK, what, "is it the file you mean, and does the user of the service own it?")];
        }
    }
    match open_as_it_is(url).await {
        Err(failure) => {
            vec![Finding::fault(CHECK, failure.to_string(), "see whether it runs, and whether address, name and password are right")]
        }
        Ok(database) => {
            let mut findings = vec![Finding::fine(CHECK, format!("{url:?} can be opened and is as durable as it has to be"))];
            findings.push(of_schema(settings, &database).await);
            findings.extend(of_server_clock(&database).await);
            findings.extend(of_proven_time(&database).await);
            findings
        }
    }
}

fn of_missing(file: &Path) -> Finding {
    const CHECK: &str = "database";
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !machine::may_write(folder) {
        let what = format!("there is no {}, and it cannot be made: {} cannot be written", file.display(), folder.display());
        return Finding::fault(CHECK, what, "make the folder, and give it to the user that the gateway runs as");
    }
    Finding::note(CHECK, format!("there is no {} yet", file.display()), "the first start makes it; is it the file you mean?")
}

async fn of_schema(settings: &Settings, database: &Database) -> Finding {
    const CHECK: &str = "schema";
    match database.pending_migrations().await {
        Ok(0) => Finding::fine(CHECK, "it is up to date"),
        Ok(pending) if settings.no_migrate() => {
            Finding::fault(CHECK, format!("it is {pending} changes behind"), "calldata-gateway migrate up")
        }
        Ok(pending) => Finding::note(CHECK, format!("it is {pending} changes behind"), "the next start makes them; make a backup first"),
        Err(error) => {
            let what = Failure::because("it cannot be read", &error).to_string();
            Finding::fault(CHECK, what, "is the program older than the database? See migrate status")
        }
    }
}

async fn of_server_clock(database: &Database) -> Option<Finding> {
    const CHECK: &str = "clock";
    match database.clock_ahead_ms(|| clock().now()).await {
        Ok(None) => None,
        Ok(Some((ahead_ms, uncertain_ms))) if ahead_ms.abs() - uncertain_ms > MAX_CLOCK_DIFFERENCE_MS => Some(Finding::fault(
            CHECK,
            format!("it differs from the database server's by {ahead_ms} ms"),
            "keep the time of both machines with NTP",
        )),
        Ok(Some((ahead_ms, _))) => Some(Finding::fine(CHECK, format!("it differs from the database server's by {ahead_ms} ms"))),
        Err(error) => {
            Some(Finding::fault(CHECK, Failure::because("the database server does not tell the time", &error).to_string(), "try again"))
        }
    }
}

/// A schema that is behind knows no mark.
async fn of_proven_time(database: &Database) -> Option<Finding> {
    let mark = database.witness().await.ok()?.mark?;
    let now = clock().now();
    let what = format!("time is proven up to {mark}, and this machine's clock shows {now}");
    Some(if now.since(mark).max(mark.since(now)) <= AGREEMENT {
        Finding::fine("clock", what)
    } else {
        Finding::note("clock", what, "after a long stop that is right; otherwise set the time before a server starts")
    })
}

async fn of_ports(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "ports";
    let mut findings = Vec::new();
    let ports = [(Some(settings.listen()), "--listen"), (settings.admin_listen, "--admin-listen")];
    for (at, flag) in ports.into_iter().filter_map(|(at, flag)| Some((at?, flag))) {
        findings.push(match server::listen(at) {
            Ok(_) => Finding::fine(CHECK, format!("{at} is free")),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                let plain = Settings { tls_certificate: None, ..settings.clone() };
                let settings = if flag == "--listen" { settings } else { &plain };
                match healthcheck::ask(settings, at, "/livez", PATIENCE).await {
                    Ok(answer) if answer.body.contains("alive") => Finding::fine(CHECK, format!("a gateway answers on {at}")),
                    _ => Finding::fault(
                        CHECK,
                        format!("another program listens on {at}"),
                        format!("end it, or choose another address with {flag}"),
                    ),
                }
            }
            Err(error) => Finding::fault(
                CHECK,
                Failure::because(format!("cannot listen on {at}"), &error).to_string(),
                format!("see {flag}; ports below 1024 need the capability CAP_NET_BIND_SERVICE"),
            ),
        });
    }
    findings
}
