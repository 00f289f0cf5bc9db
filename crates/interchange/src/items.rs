//! Turns and answers, by our names or by those of OIFDE.

use std::fmt;

use calldata_core::{Answer, InvolveMode, JsonKind, JsonText, Timestamp, Turn, TurnSource};

use crate::invalid::{InvalidDocument, invalid, shown};
use crate::members::time_of;

/// An item that is no turn or no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("item {index} is not readable: {reason}")]
pub struct InvalidItem {
    /// Which item, from 0.
    pub index: usize,
    /// Why.
    pub reason: String,
}

/// The turns in a JSON array, or in a string that holds one; `None` for anything else, or when an item is no turn.
pub fn turns_of(value: &JsonText) -> Option<Vec<Turn>> {
    read_items(&array_of(value)?, |item| turn(item, Known::One)).ok()
}

/// The answers in a JSON array, or in a string that holds one; `None` for anything else, or when an item is no answer.
pub fn answers_of(value: &JsonText) -> Option<Vec<Answer>> {
    read_items(&array_of(value)?, |item| answer(item, Known::One)).ok()
}

/// The turns among these items.
///
/// # Errors
/// When an item is no turn.
pub fn read_turns(items: &[JsonText]) -> Result<Vec<Turn>, InvalidItem> {
    read_items(items, |item| turn(item, Known::None)).map_err(InvalidItem::from)
}

/// The answers among these items.
///
/// # Errors
/// When an item is no answer.
pub fn read_answers(items: &[JsonText]) -> Result<Vec<Answer>, InvalidItem> {
    read_items(items, |item| answer(item, Known::None)).map_err(InvalidItem::from)
}

/// The turns of a document of ours, which knows all its members.
pub(crate) fn documented_turns(items: &[JsonText]) -> Result<Vec<Turn>, InvalidDocument> {
    read_items(items, |item| turn(item, Known::All)).map_err(|(index, reason)| reason.into_document("turns", index))
}

/// The answers of a document of ours.
pub(crate) fn documented_answers(items: &[JsonText]) -> Result<Vec<Answer>, InvalidDocument> {
    read_items(items, |item| answer(item, Known::All)).map_err(|(index, reason)| reason.into_document("answers", index))
}

fn array_of(value: &JsonText) -> Option<Vec<JsonText>> {
    match value.kind() {
        JsonKind::Array => value.items(),
        JsonKind::String => JsonText::parse(&value.as_string()?).ok()?.items(),
        JsonKind::Null | JsonKind::Bool | JsonKind::Number | JsonKind::Object => None,
    }
}

fn read_items<T>(items: &[JsonText], read: impl Fn(&JsonText) -> Result<T, Reason>) -> Result<Vec<T>, (usize, Reason)> {
    items.iter().enumerate().map(|(index, item)| read(item).map_err(|reason| (index, reason))).collect()
}

fn turn(item: &JsonText, known: Known) -> Result<Turn, Reason> {
    let mut turn = Turn::default();
    let mut members = Members::of(item, known)?;
    members.take(["no", "interNo"], &SCALAR, |v| turn.no = v)?;
    members.take(["userText", "userSaying"], &STRING, |v| turn.user_text = v)?;
    members.take(["intent", "intention"], &STRING, |v| turn.intent = v)?;
    members.take(["reply", "systemReply"], &STRING, |v| turn.reply = v)?;
    members.take(["requestedAt", "requsetTime"], &TIME, |v| turn.requested_at = Some(v))?;
    members.take(["repliedAt", "timestamp"], &TIME, |v| turn.replied_at = Some(v))?;
    members.take(["by", "responseSource"], &TURN_SOURCE, |v| turn.by = v)?;
    members.take(["mode", "involveMode"], &INVOLVE_MODE, |v| turn.mode = v)?;
    members.recognised(turn)
}

fn answer(item: &JsonText, known: Known) -> Result<Answer, Reason> {
    let mut answer = Answer::default();
    let mut members = Members::of(item, known)?;
    members.take(["no", "interNo"], &SCALAR, |v| answer.no = Some(v))?;
    members.take(["series", "seriesId"], &SCALAR, |v| answer.series = Some(v))?;
    members.take(["question", "questionTitle"], &STRING, |v| answer.question = Some(v))?;
    members.take(["questionType", "questionType"], &SCALAR, |v| answer.question_type = Some(v))?;
    members.take(["intent", "answerIntent"], &STRING, |v| answer.intent = Some(v))?;
    members.take(["original", "originalAnswer"], &STRING, |v| answer.original = Some(v))?;
    members.take(["createdAt", "createTime"], &TIME, |v| answer.created_at = Some(v))?;
    members.recognised(answer)
}

/// How many members of an item must be known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// In a field that anybody may use for anything, an object of which nothing is known is something else that merely sits in an array.
    One,
    /// In a record of another system, an item of which nothing is known is still an item.
    None,
    /// In a document of ours, a member that is not known is misspelt, and there is one name and one spelling for everything.
    All,
}

/// Why an item is none.
#[derive(Debug)]
enum Reason {
    NoObject,
    NothingKnown,
    Unknown(String),
    Same([&'static str; 2]),
    Twice(&'static str),
    Breaks { name: String, rule: &'static str },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject => f.write_str("not an object"),
            Self::NothingKnown => f.write_str("no member is known"),
            Self::Unknown(name) => write!(f, "{} is not known", shown(name)),
            Self::Same([name, same]) => write!(f, "{name} and {same} are the same"),
            Self::Twice(name) => write!(f, "{name} is given twice"),
            Self::Breaks { name, rule: _ } => write!(f, "{name} has a value of the wrong kind"),
        }
    }
}

impl Reason {
    fn into_document(self, list: &str, index: usize) -> InvalidDocument {
        let place = format!("{list}[{index}]");
        match self {
            // In a document of ours there is one name for everything, and so no two that are the same.
            Self::NoObject | Self::NothingKnown | Self::Same(_) => invalid(place, format!("is {self}")),
            Self::Unknown(name) => InvalidDocument::unknown(&format!("{place}."), &name),
            Self::Twice(name) => InvalidDocument::Repeated { member: format!("{place}.{name}") },
            Self::Breaks { name, rule } => invalid(format!("{place}.{name}"), rule),
        }
    }
}

impl From<(usize, Reason)> for InvalidItem {
    fn from((index, reason): (usize, Reason)) -> Self {
        Self { index, reason: reason.to_string() }
    }
}

/// A kind of value: how it is read, and what it must be.
struct Kind<T> {
    /// In a document of ours.
    ours: fn(&JsonText) -> Option<T>,
    /// Wherever OIFDE's spelling is known as well.
    any: fn(&JsonText) -> Option<T>,
    rule: &'static str,
}

const STRING: Kind<String> = Kind { ours: JsonText::as_string, any: JsonText::as_string, rule: "must be a string" };
const SCALAR: Kind<String> = Kind { ours: JsonText::as_scalar_text, any: JsonText::as_scalar_text, rule: "must be a string or a number" };
const TIME: Kind<Timestamp> = Kind { ours: time_of, any: time, rule: "is not a time (RFC 3339)" };
const TURN_SOURCE: Kind<TurnSource> = Kind {
    ours: |value| named(value, [("bot", TurnSource::Bot), ("agent", TurnSource::Agent)]),
    any: |value| named(value, [("bot", TurnSource::Bot), ("0", TurnSource::Bot), ("agent", TurnSource::Agent), ("1", TurnSource::Agent)]),
    rule: "must be bot or agent",
};
const INVOLVE_MODE: Kind<InvolveMode> = Kind {
    ours: |value| {
        named(value, [("common", InvolveMode::Common), ("monitoring", InvolveMode::Monitoring), ("insertion", InvolveMode::Insertion)])
    },
    any: |value| {
        named(
            value,
            [
                ("common", InvolveMode::Common),
                ("0", InvolveMode::Common),
                ("monitoring", InvolveMode::Monitoring),
                ("1", InvolveMode::Monitoring),
                ("insertion", InvolveMode::Insertion),
                ("2", InvolveMode::Insertion),
            ],
        )
    },
    rule: "must be common, monitoring or insertion",
};

/// What a name, or a number in its place, stands for.
fn named<T, const N: usize>(value: &JsonText, names: [(&str, T); N]) -> Option<T> {
    let given = value.as_scalar_text()?;
    names.into_iter().find_map(|(name, meant)| (name == given).then_some(meant))
}

/// A number is epoch milliseconds, as in OIFDE; a string is a time as elsewhere.
fn time(value: &JsonText) -> Option<Timestamp> {
    match value.kind() {
        JsonKind::Number => Timestamp::from_epoch_ms(value.as_str().parse().ok()?),
        _ => Timestamp::parse_iso8601(&value.as_string()?),
    }
}

/// The members of an item, by either of two names each; in a document of ours, by the first.
struct Members {
    given: Vec<(String, JsonText)>,
    names: Vec<&'static str>,
    any_known: bool,
    known: Known,
}

impl Members {
    fn of(item: &JsonText, known: Known) -> Result<Self, Reason> {
        let given = if known == Known::All { item.pairs() } else { item.members().ok() };
        Ok(Self { given: given.ok_or(Reason::NoObject)?, names: Vec::new(), any_known: false, known })
    }

    /// Hands over the member that has one of the two names; null is unknown. Given under both names it is ambiguous, and nobody
    /// could tell which one was meant.
    fn take<T>(&mut self, both: [&'static str; 2], kind: &Kind<T>, mut hand_over: impl FnMut(T)) -> Result<(), Reason> {
        let is_ours = self.known == Known::All;
        let names = if is_ours { &both[..1] } else { &both[..] };
        self.names.extend(names);
        let mut given = self.given.iter().filter(|(name, _)| names.contains(&name.as_str()));
        let Some((name, value)) = given.next() else { return Ok(()) };
        if given.next().is_some() {
            return Err(if is_ours { Reason::Twice(both[0]) } else { Reason::Same(both) });
        }
        self.any_known = true;
        if value.kind() != JsonKind::Null {
            let read = if is_ours { kind.ours } else { kind.any };
            hand_over(read(value).ok_or_else(|| Reason::Breaks { name: name.clone(), rule: kind.rule })?);
        }
        Ok(())
    }

    fn recognised<T>(self, item: T) -> Result<T, Reason> {
        match self.known {
            Known::One if !self.any_known => Err(Reason::NothingKnown),
            Known::One | Known::None => Ok(item),
            Known::All => {
                let unknown = self.given.into_iter().find(|(name, _)| !self.names.contains(&name.as_str()));
                unknown.map_or(Ok(item), |(name, _)| Err(Reason::Unknown(name)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> JsonText {
        JsonText::parse(text).unwrap()
    }

    #[test]
    fn turns_by_our_names_and_by_those_of_oifde() {
        let ours = r#"[{"no":"1","userText":"hi","intent":"greet","reply":"hello","requestedAt":"2021-04-16T07:42:34.000Z",
            "repliedAt":"2021-04-16T07:42:35.000Z","by":"agent","mode":"insertion"}]"#;
        let theirs = r#"[{"interNo":1,"userSaying":"hi","intention":"greet","systemReply":"hello","requsetTime":1618558954000,
            "timestamp":1618558955000,"responseSource":1,"involveMode":2,"other":"ignored"}]"#;
        let turns = turns_of(&json(ours)).unwrap();
        assert_eq!(turns, turns_of(&json(theirs)).unwrap());
        let expected = Turn {
            no: "1".into(),
            user_text: "hi".into(),
            intent: "greet".into(),
            reply: "hello".into(),
            requested_at: Timestamp::from_epoch_ms(1_618_558_954_000),
            replied_at: Timestamp::from_epoch_ms(1_618_558_955_000),
            by: TurnSource::Agent,
            mode: InvolveMode::Insertion,
        };
        assert_eq!(turns, [expected]);
        assert_eq!(turns_of(&JsonText::string(theirs)).unwrap(), turns, "the text of an array counts as well");
        let monitored = turns_of(&json(r#"[{"mode":"monitoring","by":"bot"}]"#)).unwrap();
        assert_eq!((monitored[0].mode, monitored[0].by), (InvolveMode::Monitoring, TurnSource::Bot));
        assert_eq!(turns_of(&json(r#"[{"involveMode":1,"responseSource":0}]"#)).unwrap(), monitored);
        assert_eq!(turns_of(&json(r#"[{"involveMode":0,"mode2":1}]"#)).unwrap(), turns_of(&json(r#"[{"mode":"common"}]"#)).unwrap());
    }

    #[test]
    fn answers_by_our_names_and_by_those_of_oifde() {
        let ours = r#"[{"no":"1","series":"100","question":"q?","questionType":"2","intent":"Yes.","original":"y","createdAt":"2022-04-24T04:31:37Z"}]"#;
        let theirs = r#"[{"interNo":"1","seriesId":"100","questionTitle":"q?","questionType":"2","answerIntent":"Yes.","originalAnswer":"y","createTime":1650774697000}]"#;
        let answers = answers_of(&json(ours)).unwrap();
        assert_eq!(answers, answers_of(&json(theirs)).unwrap());
        let expected = Answer {
            no: Some("1".into()),
            series: Some("100".into()),
            question: Some("q?".into()),
            question_type: Some("2".into()),
            intent: Some("Yes.".into()),
            original: Some("y".into()),
            created_at: Timestamp::from_epoch_ms(1_650_774_697_000),
        };
        assert_eq!(answers, [expected]);
        assert_eq!(answers_of(&json(r#"[{"no":null}]"#)).unwrap(), [Answer::default()], "null is unknown");
    }

    #[test]
    fn what_is_no_list_of_turns_stays_what_it_is() {
        for other in [
            "null",
            "1",
            "true",
            r#""text""#,
            r#""{}""#,
            "{}",
            "[1]",
            "[[]]",
            "[{}]",
            r#"[{"foo":1}]"#,
            r#"[{"userText":5}]"#,
            r#"[{"by":"robot"}]"#,
            r#"[{"involveMode":3}]"#,
            r#"[{"requestedAt":"soon"}]"#,
            r#"[{"timestamp":1e300}]"#,
            r#"[{"userText":"a","userSaying":"b"}]"#,
            r#"[{"no":{}}]"#,
            r#"[{"userText":"fine"},{"userText":false}]"#,
            r#""[1""#,
        ] {
            assert_eq!(turns_of(&json(other)), None, "{other}");
        }
        assert_eq!(turns_of(&json("[]")), Some(vec![]));
        assert_eq!(answers_of(&json(r#"[{"question":1}]"#)), None);
        let error = read_turns(&[json(r#"{"no":1}"#), json(r#"{"by":"x"}"#)]).unwrap_err();
        assert_eq!(error.to_string(), "item 1 is not readable: by has a value of the wrong kind");
        assert_eq!(read_answers(&[json("1")]).unwrap_err().index, 0);
        assert_eq!(read_answers(&[json("{}")]), Ok(vec![Answer::default()]), "in a record nothing needs to be known");
        assert_eq!(read_turns(&[json(r#"{"other":1}"#)]), Ok(vec![Turn::default()]));
    }
}
