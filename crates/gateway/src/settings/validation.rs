//! Values that a setting may have, alone and beside the others.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use calldata_http::memory_budget::MIN_MEMORY_BUDGET_BYTES;
use calldata_http::source::Network;
use secrecy::ExposeSecret;

use super::{Place, Secret, Settings};
use crate::documents::DocsAccess;

/// Requests of bots end after 4 s; an answer needs some of that for its way.
const MAX_USEFUL_DEADLINE_MS: u64 = 3_900;

/// The shortest post is 39 bytes.
const BODY_BYTES: RangeInclusive<u64> = 64..=256 << 20;
const DEADLINE_MS: RangeInclusive<u64> = 100..=60_000;
const REQUESTS: RangeInclusive<u64> = 2..=100_000;
const MEMORY_BUDGET: RangeInclusive<u64> = MIN_MEMORY_BUDGET_BYTES as u64..=1 << 44;
/// A body is in memory several times, and one tenant has a quarter of the budget.
const BODIES_IN_BUDGET: usize = 16;
const TENANT_RATE: RangeInclusive<u64> = 1..=1_000_000;
const DRAIN_S: RangeInclusive<u64> = 0..=3_600;
const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;

/// A setting, or two that contradict each other, with which the gateway refuses to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

/// A setting with which the gateway runs, less safely than it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsWarning {
    /// The risk.
    pub risk: String,
    /// The remedy.
    pub advice: &'static str,
}

impl fmt::Display for SettingsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.risk, self.advice)
    }
}

/// The numbers that are allowed for a setting, and the reason.
struct Bounds {
    flag: &'static str,
    value: Option<u64>,
    allowed: RangeInclusive<u64>,
    unit: &'static str,
    reason: &'static str,
}

impl Bounds {
    fn check(self) -> Option<SettingsError> {
        let Self { flag, value, allowed, unit, reason } = self;
        let value = value.filter(|value| !allowed.contains(value))?;
        let (min, max) = allowed.into_inner();
        Some(SettingsError(format!("--{flag} is {value}, and has to be {min} to {max}{unit}: {reason}")))
    }
}

impl Settings {
    /// The first reason not to run with these settings.
    ///
    /// # Errors
    /// When there is one.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.errors().into_iter().next().map_or(Ok(()), Err)
    }

    /// All reasons not to run with these settings.
    pub fn errors(&self) -> Vec<SettingsError> {
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let bounds = [
            Bounds {
                flag: "max-body-bytes",
                value: self.max_body_bytes.map(wide),
                allowed: BODY_BYTES,
                unit: " bytes",
                reason: "with less every post is refused, with more a few requests fill the memory",
            },
            Bounds {
                flag: "deadline-ms",
                value: self.deadline_ms,
                allowed: DEADLINE_MS,
                unit: " ms",
                reason: "before that nothing is answered, after that every client has given up",
            },
            Bounds {
                flag: "max-requests",
                value: self.max_requests.map(|number| wide(number.get())),
                allowed: REQUESTS,
                unit: "",
                reason: "one tenant has at most half of them, and each takes memory",
            },
            Bounds {
                flag: "memory-budget",
                value: self.memory_budget.map(|size| wide(size.bytes())),
                allowed: MEMORY_BUDGET,
                unit: " bytes",
                reason: "with less some operations find no room, and no machine has more",
            },
            Bounds {
                flag: "tenant-rate",
                value: self.tenant_rate.map(|number| number.get().into()),
                allowed: TENANT_RATE,
                unit: " requests a second",
                reason: "to set no limit, leave it out",
            },
            Bounds {
                flag: "drain-s",
                value: self.drain_s,
                allowed: DRAIN_S,
                unit: " s",
                reason: "supervisors kill a process that does not stop",
            },
            Bounds {
                flag: "max-connections",
                value: self.max_connections.map(|number| wide(number.get())),
                allowed: CONNECTIONS,
                unit: "",
                reason: "each takes an open file and memory",
            },
        ];
        bounds
            .into_iter()
            .filter_map(Bounds::check)
            .chain(self.listener_conflict())
            .chain(self.docs_without_listener())
            .chain(self.body_over_budget())
            .collect()
    }

    /// All that makes the gateway less safe with these settings than it could be.
    pub fn warnings(&self) -> Vec<SettingsWarning> {
        let is_flag = |name: &str| self.given.get(name).is_some_and(|given| given.place == Place::Flag);
        let shown = "can be read by every user of this machine, in the list of processes";
        let mut warnings = Vec::new();
        let mut warn = |risk: String, advice: &'static str| warnings.push(SettingsWarning { risk, advice });
        if is_flag("database-url") && self.database_url.as_ref().is_some_and(Secret::is_url_with_password) {
            let advice = "put the URL into a file and name it with --database-url-file, or set CALLDATA_DATABASE_URL";
            warn(format!("the password in --database-url {shown}"), advice);
        }
        for (name, advice) in [
            ("token-secret", "put it into a file and name it with --token-secret-file, or set CALLDATA_TOKEN_SECRET"),
            ("previous-token-secret", "put it into a file and name it with --previous-token-secret-file"),
        ] {
            if is_flag(name) {
                warn(format!("--{name} {shown}"), advice);
            }
        }
        if let Some(address) = self.admin_listen.filter(|address| is_reachable_from_elsewhere(address.ip())) {
            let risk = format!("metrics on {address} can be read without a key by every machine that reaches this address");
            warn(risk, "let a firewall or network policy allow only Prometheus, or set --admin-listen to an address that only it reaches");
        }
        if self.trusted_proxy.iter().any(Network::is_everything) {
            let risk = "--trusted-proxy believes every client's word on its address, so that attempts to guess keys are not counted";
            warn(risk.to_owned(), "name the addresses of the proxies");
        }
        if self.deadline_ms.is_some_and(|deadline| DEADLINE_MS.contains(&deadline) && deadline > MAX_USEFUL_DEADLINE_MS) {
            warn("--deadline-ms is longer than bots wait, which is 4 000 ms".to_owned(), "set 3 900 at most");
        }
        if self.core_dumps() {
            let risk = "--core-dumps lets the numbers and words of callers, and secrets, be written to disk when the process crashes";
            warn(risk.to_owned(), "remove it when debugging is done");
        }
        warnings
    }

    /// Two listeners cannot share an address; one on all addresses has every address.
    fn listener_conflict(&self) -> Option<SettingsError> {
        let (api, admin) = (self.listen(), self.admin_listen?);
        let overlap = api.port() != 0 && api.port() == admin.port() && (covers(api, admin) || covers(admin, api));
        overlap.then(|| SettingsError(format!("the API and the metrics cannot both listen on {admin}; see --listen and --admin-listen")))
    }

    fn body_over_budget(&self) -> Option<SettingsError> {
        let (body, budget) = (self.max_body_bytes?, self.limits().memory_bytes);
        let is_over = BODY_BYTES.contains(&u64::try_from(body).ok()?) && body.saturating_mul(BODIES_IN_BUDGET) > budget;
        is_over.then(|| {
            let least = body.saturating_mul(BODIES_IN_BUDGET);
            SettingsError(format!("--max-body-bytes is {body}, for which the memory budget of {budget} bytes is too small; see --memory-budget, {least} at least"))
        })
    }

    fn docs_without_listener(&self) -> Option<SettingsError> {
        let is_missing = self.docs() == DocsAccess::Admin && self.admin_listen.is_none();
        is_missing.then(|| SettingsError("--docs admin needs an address to serve the description on; see --admin-listen".to_owned()))
    }
}

impl Secret {
    /// Whether it is a URL with a password in it.
    pub(crate) fn is_url_with_password(&self) -> bool {
        let Some((_, rest)) = self.0.expose_secret().split_once("://").filter(|(scheme, _)| *scheme != "sqlite") else { return false };
        let of_user = rest.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty());
        let parameters = rest.split_once('?').map(|(_, parameters)| parameters).unwrap_or_default();
        of_user || parameters.split('&').any(|parameter| parameter.strip_prefix("password=").is_some_and(|value| !value.is_empty()))
    }
}

/// Whether a listener on `all` also gets what is sent to `one`, ports aside.
fn covers(all: SocketAddr, one: SocketAddr) -> bool {
    match all.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => one.is_ipv4(),
        // A socket on all IPv6 addresses takes IPv4 as well.
        ip => ip.is_unspecified() || ip == one.ip(),
    }
}

/// Neither this machine alone nor a private network.
fn is_reachable_from_elsewhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_private() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unique_local() && !address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Given;

    fn of(toml: &str) -> Settings {
        toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"))
    }

    #[test]
    fn every_setting_that_makes_no_sense_is_refused_with_its_name_and_its_bounds() {
        for (toml, told) in [
            ("deadline-ms = 0", "--deadline-ms is 0, and has to be 100 to 60000 ms"),
            ("deadline-ms = 99", "--deadline-ms is 99"),
            ("deadline-ms = 60001", "--deadline-ms is 60001"),
            ("deadline-ms = 9223372036854775807", "--deadline-ms is 9223372036854775807"),
            ("max-body-bytes = 0", "--max-body-bytes is 0, and has to be 64 to 268435456 bytes"),
            ("max-body-bytes = 63", "--max-body-bytes is 63"),
            ("max-body-bytes = 268435457", "--max-body-bytes is 268435457"),
            ("max-requests = 1", "--max-requests is 1, and has to be 2 to 100000:"),
            ("max-requests = 100001", "--max-requests is 100001"),
            ("tenant-rate = 1000001", "--tenant-rate is 1000001, and has to be 1 to 1000000 requests a second"),
            ("drain-s = 3601", "--drain-s is 3601, and has to be 0 to 3600 s"),
            ("drain-s = 9223372036854775807", "--drain-s is 9223372036854775807"),
            ("max-connections = 1000001", "--max-connections is 1000001, and has to be 1 to 1000000:"),
            ("admin-listen = \"127.0.0.1:8080\"", "both listen on 127.0.0.1:8080"),
            ("admin-listen = \"0.0.0.0:8080\"", "both listen on 0.0.0.0:8080"),
            ("admin-listen = \"[::]:8080\"", "both listen on [::]:8080"),
            ("listen = \"0.0.0.0:9090\"\nadmin-listen = \"192.0.2.1:9090\"", "both listen on 192.0.2.1:9090"),
            ("listen = \"[::]:9090\"\nadmin-listen = \"192.0.2.1:9090\"", "both listen on 192.0.2.1:9090"),
            ("docs = \"admin\"", "--admin-listen"),
        ] {
            let errors = of(toml).errors();
            assert!(matches!(errors.as_slice(), [error] if error.to_string().contains(told)), "{toml}: {errors:?}");
            assert_eq!(of(toml).validate(), Err(errors[0].clone()));
        }
    }

    #[test]
    fn settings_at_their_bounds_and_listeners_that_do_not_meet_are_accepted() {
        for toml in [
            "",
            "deadline-ms = 100\nmax-body-bytes = 64\nmax-requests = 2\ntenant-rate = 1\ndrain-s = 0\nmax-connections = 1",
            "deadline-ms = 60000\nmax-body-bytes = 268435456\nmax-requests = 100000\ntenant-rate = 1000000\ndrain-s = 3600\nmax-connections = 1000000",
            "admin-listen = \"127.0.0.1:8081\"",
            "admin-listen = \"127.0.0.2:8080\"",
            "listen = \"127.0.0.1:0\"\nadmin-listen = \"127.0.0.1:0\"",
            "listen = \"0.0.0.0:8080\"\nadmin-listen = \"[::1]:8080\"",
            "docs = \"admin\"\nadmin-listen = \"127.0.0.1:9090\"",
        ] {
            assert_eq!(of(toml).validate(), Ok(()), "{toml}");
        }
    }

    #[test]
    fn settings_that_are_less_safe_than_they_could_be_are_warned_about() {
        for (toml, told) in [
            ("admin-listen = \"0.0.0.0:9090\"", "metrics on 0.0.0.0:9090"),
            ("admin-listen = \"[::]:9090\"", "metrics on [::]:9090"),
            ("admin-listen = \"198.51.100.7:9090\"", "metrics on 198.51.100.7:9090"),
            ("trusted-proxy = [\"10.0.0.0/8\", \"0.0.0.0/0\"]", "--trusted-proxy"),
            ("trusted-proxy = [\"::/0\"]", "--trusted-proxy"),
            ("deadline-ms = 3901", "--deadline-ms"),
            ("core-dumps = true", "--core-dumps"),
        ] {
            let warnings = of(toml).warnings();
            assert!(matches!(warnings.as_slice(), [warning] if warning.to_string().contains(told)), "{toml}: {warnings:?}");
        }
        for toml in [
            "",
            "admin-listen = \"127.0.0.1:9090\"",
            "admin-listen = \"10.1.2.3:9090\"",
            "admin-listen = \"[fd00::1]:9090\"",
            "trusted-proxy = [\"10.0.0.0/8\"]",
            "deadline-ms = 3900",
            "core-dumps = false",
        ] {
            assert_eq!(of(toml).warnings(), [], "{toml}");
        }
    }

    #[test]
    fn secrets_on_the_command_line_are_warned_about_and_elsewhere_not() {
        let with = |toml: &str, name: &str, place: Place| {
            let given = [(name.to_owned(), Given { place, text: None })].into();
            Settings { given, ..of(toml) }.warnings()
        };
        for (toml, name) in [
            ("database-url = \"postgres://u:hush@db/x\"", "database-url"),
            ("database-url = \"postgres://db/x?user=u&password=hush\"", "database-url"),
            ("database-url = \"postgres://u:hu/sh@db/x\"", "database-url"),
            ("token-secret = \"hush\"", "token-secret"),
            ("previous-token-secret = \"hush\"", "previous-token-secret"),
        ] {
            let warnings = with(toml, name, Place::Flag);
            assert!(matches!(warnings.as_slice(), [warning] if warning.to_string().contains(&format!("--{name}"))), "{toml}: {warnings:?}");
            assert!(!format!("{warnings:?}").contains("hush") && warnings[0].advice.contains("file"));
            for place in [Place::Environment, Place::File] {
                assert_eq!(with(toml, name, place), [], "{toml}");
            }
        }
        for harmless in
            ["sqlite://a:b@c.db?x", "postgres://u@db/x", "postgres://db:5432/x", "postgres://u:@db/x", "postgres://db/x?password="]
        {
            assert_eq!(with(&format!("database-url = \"{harmless}\""), "database-url", Place::Flag), [], "{harmless}");
        }
    }
}
