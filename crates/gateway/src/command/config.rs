//! `config`.

use std::collections::BTreeMap;

use super::filter;
use crate::cli::{ConfigCommand, ConfigForm};
use crate::settings::{Place, Settings, reference};
use crate::token_secret;
use crate::{Failure, output};

const PREFIX: &str = "CALLDATA_";
/// What is set and not a setting of the gateway: the place of the file.
const BESIDE: &str = "CALLDATA_CONFIG";

pub(super) fn run(settings: Settings, command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Generate { form: ConfigForm::Toml } => output::line(reference::template().trim_end()),
        ConfigCommand::Generate { form: ConfigForm::Markdown } => output::line(reference::page().trim_end()),
        ConfigCommand::Check => check(settings),
    }
}

/// All that is wrong is told, each in a line.
fn check(settings: Settings) -> Result<(), Failure> {
    let (path, settings, problems) = settings.read_file()?;
    let mut told: Vec<_> = problems.iter().map(|problem| format!("{}, {problem}", path.display())).collect();
    told.extend(unknown_variables(std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned())));
    told.extend(wrong_together(&settings));
    if told.is_empty() {
        show(&settings)?;
        settings.warnings().iter().try_for_each(|warning| output::line(&format!("warning: {warning}")))?;
        return output::line("the settings are fine");
    }
    told.iter().try_for_each(|problem| output::line(problem))?;
    Err(Failure::new(match told.len() {
        1 => "there is a mistake in the settings; it is told above".to_owned(),
        some => format!("there are {some} mistakes in the settings; they are told above"),
    }))
}

/// What looks like a setting in the environment and is none.
fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let known: Vec<_> = reference::all().into_iter().map(|setting| setting.environment).collect();
    let unknown = names.filter(|name| name.starts_with(PREFIX) && name != BESIDE && !known.contains(name));
    unknown.map(|name| format!("the environment variable {name} is no setting; unset it, or see config generate")).collect()
}

/// What is wrong with settings that can be read each by itself.
pub(super) fn wrong_together(settings: &Settings) -> Vec<String> {
    let database = settings.database().map_err(|failure| failure.to_string());
    let secrets = match &database {
        Ok(url) => token_secret::check(settings, url).err(),
        Err(_) => None,
    };
    let patience = settings.limits().deadline.as_millis();
    let late = (3_901..=60_000)
        .contains(&patience)
        .then(|| format!("a deadline of {patience} ms is of no use: bots give up after 4 000 ms; see --deadline-ms"));
    let nonsense = settings.errors().into_iter().map(|error| error.to_string());
    let failures =
        [secrets, settings.server().err(), filter(settings).err(), settings.otlp_endpoint().err(), settings.webhook_policy().err()]
            .into_iter()
            .flatten()
            .map(|failure| failure.to_string());
    database.err().into_iter().chain(failures).chain(nonsense).chain(late).collect()
}

/// What was given, and where; all else has its default.
fn show(settings: &Settings) -> Result<(), Failure> {
    let given: BTreeMap<_, _> = settings.given.iter().collect();
    if given.is_empty() {
        return output::line("every setting has its default");
    }
    let rows: Vec<_> = given
        .into_iter()
        .map(|(name, given)| {
            let place = match given.place {
                Place::Flag => "flag",
                Place::Environment => "environment",
                Place::File => "file",
            };
            [name.clone(), place.to_owned(), given.text.clone().unwrap_or_else(|| "(not shown)".into())]
        })
        .collect();
    output::table(["SETTING", "FROM", "VALUE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_no_settings_are_told_and_others_not() {
        let names = ["CALLDATA_LISTEN", "CALLDATA_CONFIG", "CALLDATA_LISTN", "PATH", "CALLDATA_TOKEN_SECRET_FILE"].map(str::to_owned);
        let told = unknown_variables(names.into_iter());
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("CALLDATA_LISTN "), "{told:?}");
    }

    #[test]
    fn settings_that_do_not_go_together_are_told_all_at_once() {
        let settings = Settings {
            listen: "127.0.0.1:8080".parse().ok(),
            admin_listen: "127.0.0.1:8080".parse().ok(),
            database_url: Some("postgres://db/x".into()),
            tls_key: Some("/no/such/file".into()),
            deadline_ms: Some(4_000),
            log: Some("no=such=filter".into()),
            webhook_allow: vec!["10.1.0.0/16".parse().unwrap()],
            webhook_deny: vec!["10.0.0.0/8".parse().unwrap()],
            ..Settings::default()
        };
        let told = wrong_together(&settings);
        for expected in ["both listen", "CALLDATA_TOKEN_SECRET", "--tls-certificate", "--deadline-ms", "--log", "--webhook-deny"] {
            assert_eq!(told.iter().filter(|told| told.contains(expected)).count(), 1, "{expected}: {told:?}");
        }
        assert_eq!(wrong_together(&Settings::default()), Vec::<String>::new());
    }
}
