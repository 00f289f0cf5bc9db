//! The command line.

use std::path::PathBuf;

use calldata_core::tenant::{MIN_AUDIT_ROWS, Retention};
use calldata_core::{Country, Masking, Timestamp, Zone};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::settings::{Secret, Settings};

/// More would take a database of a terabyte.
const MAX_AUDIT_ROWS: u64 = 10_000_000_000;
/// Less than one large session is no quota.
const MIN_QUOTA_BYTES: u64 = 1_000_000;
const MAX_QUOTA_BYTES: u64 = 1 << 60;

/// What a voice bot learned during a call, kept safe and handed to whoever needs it next.
#[derive(Debug, Parser)]
#[command(name = "calldata-gateway", version, arg_required_else_help = true, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line and the environment; says what is wrong and ends the process (exit status 2) where they cannot be
    /// understood.
    pub fn read() -> Self {
        let given = Self::command().get_matches();
        let mut cli = Self::from_arg_matches(&given).unwrap_or_else(|error| error.exit());
        cli.settings.prefer_flags(&given);
        cli.settings.note_given(&given);
        cli
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve with a demo tenant and sample sessions; prints keys and ready-made curl lines
    Demo {
        /// Keep the data in this folder [default: a temporary one]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Serve
    Serve,
    /// Tenants: whose data is whose
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Access keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Load sessions from files; what cannot be loaded is reported by line, the rest is loaded
    Import(Import),
    /// Write sessions into a file or to standard output, oldest start first
    Export(Export),
    /// Erase what is known of a caller, in all that tells of it, and wait until it is gone from the files
    Erase(Erase),
    /// Delete what has expired, now; a running server does so by itself
    Purge {
        /// Delete nothing; show how much there is
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        trust: TrustClock,
        #[command(flatten)]
        json: Json,
    },
    /// The schema of the database
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Write a backup of a SQLite database into a new file, while the gateway runs
    Backup {
        /// The file
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Copy everything into an empty database, for instance from SQLite to PostgreSQL, and compare both; stop the gateway first
    Copy(CopyTo),
    /// The settings: a file to begin from, and what is wrong with the ones there are
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look whether everything is as it has to be for the gateway to run, and say what to do where it is not
    Doctor {
        #[command(flatten)]
        json: Json,
    },
    /// Ask the gateway with these settings whether it is ready; for container engines and supervisors
    Healthcheck {
        /// How many seconds it may take
        #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
        timeout_s: u64,
    },
    /// Print what makes a shell complete commands and flags
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages, one a command
    Man {
        /// The folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Write the API description, or check that what is written is up to date
    Openapi {
        /// The folder
        #[arg(long, value_name = "DIR", default_value = "openapi")]
        out: PathBuf,
        /// Write nothing; fail where a file differs
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Add a tenant
    Create {
        #[command(flatten)]
        names: TenantNames,
        #[command(flatten)]
        properties: TenantProperties,
        #[command(flatten)]
        json: Json,
    },
    /// Show all tenants
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Show a tenant
    Show {
        #[command(flatten)]
        tenant: OfTenant,
        #[command(flatten)]
        json: Json,
    },
    /// Change a tenant; what is not given stays
    Update {
        #[command(flatten)]
        tenant: OfTenant,
        #[command(flatten)]
        names: ChangedNames,
        #[command(flatten)]
        properties: TenantProperties,
        /// Delete the sessions that a shorter retention deletes, instead of being asked on a terminal
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        trust: TrustClock,
        #[command(flatten)]
        json: Json,
    },
    /// Let a tenant in no more, until it is resumed
    Suspend {
        #[command(flatten)]
        tenant: OfTenant,
        #[command(flatten)]
        json: Json,
    },
    /// Let a suspended tenant in again
    Resume {
        #[command(flatten)]
        tenant: OfTenant,
        #[command(flatten)]
        json: Json,
    },
    /// Delete a tenant with its keys and all its sessions
    Delete {
        #[command(flatten)]
        tenant: OfTenant,
        /// The tenant's name, instead of being asked for it
        #[arg(long, value_name = "NAME")]
        yes: Option<String>,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OfTenant {
    /// The tenant's client id
    #[arg(value_name = "C")]
    pub(crate) client_id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Json {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TrustClock {
    /// Delete by this machine's clock although it is far ahead of the time that the gateway has proven
    #[arg(long)]
    pub(crate) trust_clock: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TenantNames {
    /// Its name, for people
    #[arg(long, value_name = "N", value_parser = a_name)]
    pub(crate) name: String,
    /// Its name in the Parloa dialect (clientId)
    #[arg(long, value_name = "C", value_parser = a_name)]
    pub(crate) client_id: String,
    /// Its name in the OIFDE dialect (tenantId)
    #[arg(long, value_name = "T", value_parser = a_name)]
    pub(crate) tenant_id: String,
}

#[derive(Debug, Args)]
pub(crate) struct ChangedNames {
    /// Its name, for people
    #[arg(long, value_name = "N", value_parser = a_name)]
    pub(crate) name: Option<String>,
    /// Another name in the Parloa dialect (clientId)
    #[arg(long = "client-id", value_name = "C", value_parser = a_name)]
    pub(crate) new_client_id: Option<String>,
    /// Another name in the OIFDE dialect (tenantId)
    #[arg(long, value_name = "T", value_parser = a_name)]
    pub(crate) tenant_id: Option<String>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct TenantProperties {
    /// The country of local numbers, such as +49 or DE [default: +49]
    #[arg(long, value_name = "COUNTRY", value_parser = a_country, allow_hyphen_values = true)]
    pub(crate) default_country: Option<Country>,
    /// The zone of dates for people [default: Europe/Berlin]
    #[arg(long, value_name = "ZONE", value_parser = a_zone)]
    pub(crate) time_zone: Option<Zone>,
    /// The zone of times in OIFDE queries [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = a_zone)]
    pub(crate) oifde_time_zone: Option<Zone>,
    /// How many days sessions live, 1 to 3650 [default: 30]
    #[arg(long, value_name = "DAYS", value_parser = a_retention)]
    pub(crate) retention_days: Option<Retention>,
    /// How many days it is kept who read, wrote, exported and erased what, 1 to 3650 [default: 90]
    #[arg(long, value_name = "DAYS", value_parser = a_retention)]
    pub(crate) audit_days: Option<Retention>,
    /// How many entries the audit trail may have, 1000 or more; the oldest ones go [default: 1000000]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(MIN_AUDIT_ROWS..=MAX_AUDIT_ROWS))]
    pub(crate) audit_rows: Option<u64>,
    /// How many bytes of sessions may be stored, or off [default: off]
    #[arg(long, value_name = "BYTES", value_parser = a_quota)]
    pub(crate) quota_bytes: Option<QuotaBytes>,
    /// The status of "no result found" in the Parloa dialect [default: 200]
    #[arg(long, value_enum, value_name = "STATUS")]
    pub(crate) miss_status: Option<MissStatus>,
    /// Whether a miss says why [default: on]
    #[arg(long, value_enum, value_name = "SWITCH")]
    pub(crate) miss_reason: Option<Switch>,
    /// Whether keys are accepted in the URL [default: on]
    #[arg(long, value_enum, value_name = "SWITCH")]
    pub(crate) key_in_url: Option<Switch>,
    /// After how many minutes what --mask-fields names is masked for keys without the scope unmasked, 0 to 525600, or off [default: off]
    #[arg(long, value_name = "MINUTES", value_parser = a_beginning)]
    pub(crate) mask_after: Option<MaskAfter>,
    /// What is masked: content, turns, answers, intent, businessInfo, recording, ctiCallId, calledNumber, callingNumber, endedAt, flag, user-defined fields by their names, or * for all user-defined fields
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) mask_fields: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuotaBytes {
    Off,
    Bytes(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaskAfter {
    Off,
    Minutes(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MissStatus {
    #[value(name = "200")]
    Ok,
    #[value(name = "404")]
    NotFound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; it is shown this once
    Create {
        /// The tenant's client id
        #[arg(long, value_name = "C")]
        client_id: String,
        /// What the key may do; may be repeated [default: read and write]
        #[arg(long, value_enum)]
        scope: Vec<ScopeName>,
        /// After how many days it expires [default: never]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        expires_days: Option<u16>,
        /// Take an existing secret from standard input, at least 16 characters
        #[arg(long)]
        secret_stdin: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Show a tenant's keys, and when each was last used
    List {
        /// The tenant's client id
        #[arg(long, value_name = "C")]
        client_id: String,
        #[command(flatten)]
        json: Json,
    },
    /// Accept a key no more
    Revoke {
        /// The key's id
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeName {
    Read,
    Write,
    Admin,
    /// See what the tenant has masked
    Unmasked,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The tenant's client id
    #[arg(long, value_name = "C")]
    pub(crate) client_id: String,
    /// What the files hold
    #[arg(long, value_enum)]
    pub(crate) format: ImportFormat,
    /// The files; - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The tenant's client id
    #[arg(long, value_name = "C")]
    pub(crate) client_id: String,
    /// The caller, as a phone number in any spelling or a user id; - reads it from standard input
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) caller: String,
    /// The country of a local number, such as +49 or DE [default: the tenant's]
    #[arg(long, value_name = "COUNTRY", value_parser = a_country, allow_hyphen_values = true)]
    pub(crate) country: Option<Country>,
    /// Erase, instead of being asked for the caller again on a terminal
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The tenant's client id
    #[arg(long, value_name = "C")]
    pub(crate) client_id: String,
    /// How: one JSON object a line, a table, or one vCon a line
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// Begun then or later, such as 2024-02-27T00:00:00Z
    #[arg(long, value_name = "T", value_parser = a_time)]
    pub(crate) from: Option<Timestamp>,
    /// Begun then or earlier
    #[arg(long, value_name = "T", value_parser = a_time)]
    pub(crate) to: Option<Timestamp>,
    /// All of this caller and of nobody else, as a phone number in any spelling or a user id; - reads it from standard input
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) caller: Option<String>,
    /// The country of a local number in --caller, such as +49 or DE [default: the tenant's]
    #[arg(long, value_name = "COUNTRY", value_parser = a_country, allow_hyphen_values = true)]
    pub(crate) country: Option<Country>,
    /// A new file for them, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The zone of the times in a table
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = a_zone)]
    pub(crate) time_zone: Zone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    Sessions,
    Csv,
    Vcon,
}

#[expect(clippy::doc_markdown, reason = "these texts are the help on a terminal")]
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CopyTo {
    /// Where to, sqlite://FILE or postgres://…
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<Secret>,
    /// A file that holds where to, for a URL with a password
    #[arg(long, value_name = "FILE")]
    pub(crate) to_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// OIFDE answers with their recordList
    Oifde,
    /// Sessions, one JSON object a line
    Sessions,
    /// A table of sessions, as an export writes it
    Csv,
    /// vCons, one after the other
    Vcon,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a file with every setting in it, explained and commented out
    Generate {
        /// In which form
        #[arg(long, value_enum, default_value_t = ConfigForm::Toml)]
        form: ConfigForm,
    },
    /// Say what is wrong with the settings that flags, environment and file give together; with nothing wrong, show them
    Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigForm {
    /// A settings file
    Toml,
    /// The page of the documentation
    Markdown,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Bring the schema up to date
    Up,
    /// Take the newest change back; asks first where that drops data
    Down {
        /// Drop the data, instead of being asked
        #[arg(long)]
        yes: bool,
    },
    /// Show all changes and whether they were made
    Status,
    /// Begin a new epoch, after the database was restored from anything else than a backup or a dump: ids of events from before are refused
    NewEpoch,
}

fn a_name(text: &str) -> Result<String, &'static str> {
    let usable = !text.trim().is_empty() && text.len() <= 200 && !text.chars().any(char::is_control);
    if usable { Ok(text.to_owned()) } else { Err("a name has 1 to 200 characters, none of them a control character") }
}

fn a_country(text: &str) -> Result<Country, String> {
    Country::parse(text).map_err(|error| error.to_string())
}

fn a_zone(text: &str) -> Result<Zone, String> {
    Zone::parse(text).map_err(|error| error.to_string())
}

fn a_time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_iso8601(text).ok_or("a time such as 2024-02-27T00:00:00Z")
}

fn a_retention(text: &str) -> Result<Retention, String> {
    let days = text.parse().map_err(|_| format!("1 to {} days", Retention::MAX_DAYS))?;
    Retention::days(days).map_err(|error| error.to_string())
}

fn a_quota(text: &str) -> Result<QuotaBytes, &'static str> {
    if text == "off" {
        return Ok(QuotaBytes::Off);
    }
    let bytes = text.parse().ok().filter(|bytes| (MIN_QUOTA_BYTES..=MAX_QUOTA_BYTES).contains(bytes));
    bytes.map(QuotaBytes::Bytes).ok_or("1000000 bytes or more, or off")
}

fn a_beginning(text: &str) -> Result<MaskAfter, String> {
    let minutes = || text.parse().ok().filter(|minutes| *minutes <= Masking::MAX_MINUTES).map(MaskAfter::Minutes);
    if text == "off" { Ok(MaskAfter::Off) } else { minutes().ok_or_else(|| format!("0 to {} minutes, or off", Masking::MAX_MINUTES)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
