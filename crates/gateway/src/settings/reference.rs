//! What can be set, as a template of the file and as a page of the documentation: both are made from the settings themselves.

use clap::{Arg, ArgAction, Args, Command};

use super::Settings;

/// One of the settings.
#[derive(Clone, Debug)]
pub struct Setting {
    pub(super) id: String,
    /// The name of its flag, and its key in the file.
    pub name: String,
    /// Its environment variable.
    pub environment: String,
    /// What it does, and its default.
    pub help: String,
    value: String,
    is_list: bool,
}

/// All settings, but for the place of the file itself.
pub fn all() -> Vec<Setting> {
    let command = Settings::augment_args(Command::new("settings"));
    command.get_arguments().filter(|argument| argument.get_id() != "config").filter_map(Setting::of).collect()
}

impl Setting {
    fn of(argument: &Arg) -> Option<Self> {
        Some(Self {
            id: argument.get_id().to_string(),
            name: argument.get_long()?.to_owned(),
            environment: argument.get_env()?.to_string_lossy().into_owned(),
            help: argument.get_help()?.to_string(),
            value: argument.get_value_names()?.first()?.to_string(),
            is_list: matches!(argument.get_action(), ArgAction::Append),
        })
    }

    /// Whether its value is not to be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.value.as_str(), "SECRET" | "URL" | "ADDRESS")
    }

    /// What its value has to be in the file, in plain words.
    pub(super) fn expected(&self) -> &'static str {
        match self.value.as_str() {
            "ADDR" => "an address with a port in quotes, such as \"127.0.0.1:8080\"",
            "FILE" => "the path of a file in quotes",
            "BOOL" => "true or false",
            "N" => "a whole number, 1 or more",
            "BYTES" | "MS" | "S" => "a whole number, 0 or more",
            "SIZE" => "a number of bytes, such as 134217728 or \"128MiB\"",
            "HOST" => "a list of host names, such as [\"*.example.com\"]",
            "NET" => "a list of addresses or networks, such as [\"10.0.0.0/8\"]",
            "ORIGIN" => "a list of origins, such as [\"https://desk.example\"]",
            "SHARE" => "a number from 0 to 1",
            "FORMAT" => "\"plain\" or \"json\"",
            "WHERE" => "\"on\", \"admin\" or \"off\"",
            _ => "a text in quotes",
        }
    }

    /// Its default, where that is a value.
    fn default(&self) -> Option<String> {
        let (_, rest) = self.help.rsplit_once("[default: ")?;
        let text = rest.strip_suffix(']')?;
        let is_value = |value: &String| !self.is_list && toml::from_str::<Settings>(&format!("{} = {value}", self.name)).is_ok();
        [text.to_owned(), format!("\"{text}\"")].into_iter().find(is_value)
    }

    /// A value to begin from: the default, or one of that kind.
    fn sample(&self) -> String {
        let of_kind = || match self.value.as_str() {
            "ADDR" => "\"127.0.0.1:9090\"".to_owned(),
            "FILE" => format!("\"/etc/calldata-gateway/{}\"", self.name.trim_end_matches("-file")),
            "SECRET" => "\"at least 32 bytes that nobody can guess\"".to_owned(),
            "SIZE" => "\"128MiB\"".to_owned(),
            "HOST" => "[\"*.example.com\"]".to_owned(),
            "NET" => "[\"10.0.0.0/8\"]".to_owned(),
            "ORIGIN" => "[\"https://desk.example\"]".to_owned(),
            "ADDRESS" => "\"http://127.0.0.1:4318\"".to_owned(),
            "BOOL" => "true".to_owned(),
            "N" | "BYTES" | "MS" | "S" => "100".to_owned(),
            _ => "\"…\"".to_owned(),
        };
        self.default().unwrap_or_else(of_kind)
    }
}

/// A file of settings with every one of them in it, explained and commented out.
pub fn template() -> String {
    let mut text = String::from(
        "# Settings of calldata-gateway, read from calldata.toml in the folder where it runs, or from --config FILE.\n\
         # A flag wins over the environment, the environment over this file, this file over the default.\n\
         # Check changes with: calldata-gateway config check\n",
    );
    text.extend(all().iter().map(|setting| {
        let Setting { name, environment, help, .. } = setting;
        format!("\n# {help}\n# --{name}, {environment}\n#{name} = {}\n", setting.sample())
    }));
    text
}

/// The page of the documentation.
pub fn page() -> String {
    let mut text = String::from(
        "<!-- Made by `just settings`; do not edit. -->\n\n\
         # Settings\n\n\
         A flag wins over the environment, the environment over the file, the file over the default. The file is `calldata.toml` in the folder\n\
         where the gateway runs, or what `--config` or `CALLDATA_CONFIG` names; its keys are the flags without the dashes in front. A secret can be in a\n\
         file of its own (`…-file`, `…_FILE`): that and the secret itself are one setting. Lists have commas in the environment, and a flag may be\n\
         repeated.\n\n\
         `calldata-gateway config generate` prints a file with all of them, `config check` says what is wrong with the ones there are, `doctor` whether\n\
         the gateway can run with them.\n\n\
         | flag | environment | what it does |\n| --- | --- | --- |\n",
    );
    text.extend(all().into_iter().map(|Setting { name, environment, help, value, .. }| {
        let flag = if value == "BOOL" { format!("--{name}[={value}]") } else { format!("--{name} {value}") };
        format!("| `{flag}` | `{environment}` | {} |\n", help.replace('|', "\\|"))
    }));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_holds_every_setting_and_can_be_used_line_by_line() {
        let template = template();
        let lines: Vec<_> = template
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| line.contains(" = ") && !line.starts_with(' '))
            .collect();
        assert_eq!(lines.len(), all().len());
        for line in &lines {
            toml::from_str::<Settings>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        assert!(lines.contains(&"listen = \"127.0.0.1:8080\"") && lines.contains(&"drain-s = 10") && lines.contains(&"no-migrate = false"));
        toml::from_str::<Settings>(&template).unwrap();
    }

    #[test]
    fn the_page_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
        assert!(std::fs::read_to_string(path).is_ok_and(|known| known == page()), "docs/settings.md differs; run just settings");
    }
}
