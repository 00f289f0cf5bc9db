//! The four formats of an answer (PAR-G3 to PAR-G7), each for a record and for a miss.

mod html;
mod json;
mod text;
mod xml;

use calldata_core::{JsonText, Zone};

use crate::record::Record;

/// The content types, as PAR-G12 spells them.
pub(crate) const JSON: &str = "application/json; charset=utf-8";
const XML: &str = "application/xml; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What a miss says in every format and language (PAR-G8).
const NO_RESULT: &str = "no result found";

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Json,
    Xml,
    Html,
    Text,
}

impl Format {
    /// The format of that name, in any letter case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let named = [("json", Self::Json), ("xml", Self::Xml), ("html", Self::Html), ("text", Self::Text)];
        named.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, format)| format)
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Xml => XML,
            Self::Html => HTML,
            Self::Text => TEXT,
        }
    }
}

/// The language of labels and dates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    #[default]
    German,
    English,
}

impl Language {
    /// The language of that code, in any letter case; any other code means the default (PAR-G3).
    pub(crate) fn parse(code: &str) -> Self {
        if code.eq_ignore_ascii_case("en") { Self::English } else { Self::German }
    }

    fn labels(self) -> [&'static str; 5] {
        match self {
            Self::German => ["Telefonnummer", "Datum", "Inhalt", "Anruf-ID", "Parloa-ID"],
            Self::English => ["Phone number", "Date", "Content", "Call ID", "Parloa-ID"],
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::German => "de",
            Self::English => "en",
        }
    }
}

/// How to write for whom.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) language: Language,
    /// The zone of dates written for people.
    pub(crate) zone: Zone,
}

/// Writes a record; `None` when a renderer fails, which none does for a record that can be stored.
pub(crate) fn record(record: &Record, style: &Style) -> Option<String> {
    match style.format {
        Format::Json => Some(json::record(record)),
        Format::Xml => xml::record(record),
        Format::Html => html::record(record, style),
        Format::Text => Some(text::record(record, style)),
    }
}

/// Writes a miss.
pub(crate) fn miss(style: &Style) -> Option<String> {
    match style.format {
        Format::Json => Some(json::miss()),
        Format::Xml => xml::miss(),
        Format::Html => html::miss(style),
        Format::Text => Some(text::miss()),
    }
}

/// A label and a value, for people.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    label: String,
    value: String,
}

/// The rows for people: five that are always there, `undefined` where nothing was posted, then all further fields (PAR-G5, PAR-G7).
fn rows(record: &Record, style: &Style) -> Vec<Row> {
    let shown = |value: &Option<JsonText>| value.as_ref().map_or("undefined".into(), |value| value.display().into_owned());
    let values = [record.caller.clone(), date(record, style), shown(&record.content), record.callid.clone(), shown(&record.conversationid)];
    let fixed = style.language.labels().into_iter().zip(values).map(|(label, value)| Row { label: label.to_owned(), value });
    let more = record.more().into_iter().map(|(label, value)| Row { label, value: value.display().into_owned() });
    fixed.chain(more).collect()
}

/// German dates are local, English ones as in JSON (PAR-G5).
fn date(record: &Record, style: &Style) -> String {
    match style.language {
        Language::German => style.zone.german(record.timestamp),
        Language::English => record.timestamp.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use calldata_core::{Fields, Timestamp};

    pub(crate) fn documented() -> Record {
        Record {
            caller: "+111111111".into(),
            callid: "145644644ff".into(),
            timestamp: Timestamp::from_epoch_ms(1_709_036_183_926).unwrap(),
            content: Some(JsonText::string("Postman tests")),
            conversationid: None,
            countrycode: None,
            intent: None,
            fields: Fields::default(),
        }
    }

    pub(crate) fn style(format: Format, language: Language) -> Style {
        Style { format, language, zone: Zone::parse("Europe/Berlin").unwrap() }
    }

    pub(crate) fn with_fields(fields: &[(&str, &str)]) -> Record {
        let fields = fields.iter().map(|(name, json)| ((*name).to_owned(), JsonText::parse(json).unwrap())).collect();
        Record { fields: Fields::of_distinct(fields), ..documented() }
    }

    #[test]
    fn par_g3_names_in_any_letter_case() {
        let formats = ["JSON", "xml", "Html", "teXt"].map(|name| Format::parse(name).unwrap());
        assert_eq!(formats, [Format::Json, Format::Xml, Format::Html, Format::Text]);
        assert_eq!((Format::parse("pdf"), Format::parse("")), (None, None));
        assert_eq!(["EN", "en", "de", "fr", ""].map(Language::parse).map(Language::code), ["en", "en", "de", "de", "de"]);
    }

    #[test]
    fn par_g12_content_types() {
        let types = [Format::Json, Format::Xml, Format::Html, Format::Text].map(Format::content_type);
        assert_eq!(
            types,
            ["application/json; charset=utf-8", "application/xml; charset=utf-8", "text/html; charset=utf-8", "text/plain; charset=utf-8"]
        );
    }

    #[test]
    fn rows_for_people_say_undefined_and_show_values_plainly() {
        let mut record = with_fields(&[("n", "1.50"), ("s", "\"a\\nb\""), ("o", "{\"a\": null}"), ("z", "null")]);
        record.content = Some(JsonText::parse("null").unwrap());
        let rows = rows(&record, &style(Format::Text, Language::English));
        let shown: Vec<_> = rows.iter().map(|row| (row.label.as_str(), row.value.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("Phone number", "+111111111"),
                ("Date", "2024-02-27T12:16:23.926Z"),
                ("Content", "null"),
                ("Call ID", "145644644ff"),
                ("Parloa-ID", "undefined"),
                ("n", "1.50"),
                ("s", "a\nb"),
                ("o", "{\"a\":null}"),
                ("z", "null"),
            ]
        );
    }
}
