//! The file of settings, read setting by setting, so that everything that is wrong with it is told, in plain words and without its values.

use std::fmt;

use toml::de::DeTable;

use super::reference::{self, Setting};
use super::{Given, Place, Settings};

/// Names this similar may be meant.
const SIMILAR: f64 = 0.8;

/// What is wrong with a line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which line, from 1.
    pub line: usize,
    /// What, and what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// What can be understood of a file, and what is wrong with the rest.
pub(super) fn read(text: &str) -> (Settings, Vec<Problem>) {
    let ends: Vec<_> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |at: usize| ends.partition_point(|end| *end < at) + 1;
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<_> = errors
        .iter()
        .map(|error| Problem {
            line: line(error.span().map_or(0, |span| span.start)),
            what: format!("cannot be read as TOML ({}); a setting is written as name = value, text in quotes", error.message()),
        })
        .collect();
    let broken: Vec<_> = problems.iter().map(|problem| problem.line).collect();
    let known = reference::all();
    let mut settings = Settings::default();
    for (name, value) in table.get_ref() {
        let (at, name) = (line(name.span().start), name.get_ref().as_ref());
        if broken.contains(&at) {
            continue;
        }
        let Some(setting) = known.iter().find(|setting| setting.name == name) else {
            problems.push(Problem { line: at, what: format!("there is no setting {}{}", name.escape_debug(), meant(name, &known)) });
            continue;
        };
        let value = text.get(value.span()).unwrap_or_default();
        match toml::from_str::<Settings>(&format!("{name} = {value}")) {
            Ok(one) => {
                settings = settings.or(one);
                let text = (!setting.is_secret()).then(|| value.trim_matches('"').to_owned());
                settings.given.insert(name.to_owned(), Given { place: Place::File, text });
            }
            // The words of the library may hold the value, which may be a secret.
            Err(_) => problems.push(Problem { line: at, what: format!("{name} has to be {}", setting.expected()) }),
        }
    }
    problems.sort_by_key(|problem| problem.line);
    (settings, problems)
}

/// The most similar name, if any is.
fn meant(name: &str, known: &[Setting]) -> String {
    let name = name.replace('_', "-");
    let similar = known.iter().map(|setting| (strsim::jaro_winkler(&name, &setting.name), &setting.name));
    match similar.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((similarity, meant)) if similarity >= SIMILAR => format!("; did you mean {meant}?"),
        _ => "; config generate shows all there are".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_told_with_its_line_and_without_its_value() {
        let text = "listen = \"nowhere\"\n\ntoken-secret = 12345678\ntoken_secrets = \"hush\"\nmax-requests = 0\nzzz = 1\nlog = \"debug\"\n[tls]\nkey = \"x\"\n";
        let (settings, problems) = read(text);
        assert_eq!(settings.log(), "debug", "the rest is read");
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "line 1: listen has to be an address with a port in quotes, such as \"127.0.0.1:8080\"",
                "line 3: token-secret has to be a text in quotes",
                "line 4: there is no setting token_secrets; did you mean token-secret?",
                "line 5: max-requests has to be a whole number, 1 or more",
                "line 6: there is no setting zzz; config generate shows all there are",
                "line 8: there is no setting tls; did you mean tls-key?",
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_told_by_its_line() {
        let (_, problems) = read("listen = \"127.0.0.1:1\"\nlog = debug\n");
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [2]);
        assert!(problems[0].what.contains("name = value"), "{}", problems[0]);
    }
}
