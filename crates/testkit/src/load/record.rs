//! What a bot posts.

use std::sync::Arc;

use serde_json::{Value, json};

/// One record in so many has turns.
const WITH_TURNS: u32 = 5;
/// One record in so many has a long text, which fills pages of its own.
const WITH_LONG_TEXT: u32 = 7;

/// A record. Everything in it follows from its load, its bot and its number, so that whoever reads it can tell whether it is whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    load: Arc<str>,
    bot: u32,
    sequence: u32,
}

impl Record {
    /// A bot's record of this number.
    pub fn new(load: Arc<str>, bot: u32, sequence: u32) -> Self {
        Self { load, bot, sequence }
    }

    /// The record of this call, when it is one of ours.
    pub fn of_call(call_id: &str) -> Option<Self> {
        let mut parts = call_id.rsplitn(3, '/');
        let sequence = parts.next()?.parse().ok()?;
        let bot = parts.next()?.parse().ok()?;
        Some(Self { load: parts.next()?.into(), bot, sequence })
    }

    /// Who posts it.
    pub fn bot(&self) -> u32 {
        self.bot
    }

    /// Its call, which no other record has.
    pub fn call_id(&self) -> String {
        format!("{}/{}/{}", self.load, self.bot, self.sequence)
    }

    /// Its caller, which all records of the bot have.
    pub fn caller(&self) -> String {
        caller(&self.load, self.bot)
    }

    /// The body of its post.
    pub fn body(&self) -> String {
        let mut input = json!({ "callid": self.call_id(), "callerid": self.caller() });
        for (name, value) in self.facts() {
            input[name] = value;
        }
        json!({ "input": input }).to_string()
    }

    /// What was learned: everything beside call and caller.
    fn facts(&self) -> Vec<(&'static str, Value)> {
        let mut facts = vec![
            ("content", json!(format!("learned in {}", self.call_id()))),
            ("sequence", json!(self.sequence)),
            ("sum", json!(format!("{:016x}", sum(&self.call_id())))),
        ];
        if self.sequence % WITH_LONG_TEXT == 3 {
            let sentences: Vec<_> = (0..20 + sum(&self.call_id()) % 400).map(|n| format!("{} said {n}.", self.call_id())).collect();
            facts.push(("note", json!(sentences.join(" "))));
        }
        if self.sequence % WITH_TURNS == 2 {
            let turn = |no: u32| json!({ "no": no.to_string(), "userText": format!("{} asks {no}", self.call_id()), "reply": "Yes." });
            facts.push(("turns", (0..3 + self.sequence % 4).map(turn).collect()));
        }
        facts
    }

    /// Whether an answer to a fetch is this record.
    ///
    /// # Errors
    /// Says what is different.
    pub fn is_told_by(&self, answer: &Value) -> Result<(), String> {
        self.is_made_of(answer, &[])
    }

    /// Whether a record of a history is this one.
    ///
    /// # Errors
    /// Says what is different.
    pub fn is_listed_as(&self, listed: &Value) -> Result<(), String> {
        let learned = listed["callData"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
        self.is_made_of(&learned, &["turns"])?;
        let turns =
            self.facts().into_iter().find(|(name, _)| *name == "turns").map_or(0, |(_, turns)| turns.as_array().map_or(0, Vec::len));
        let listed = listed["recordDetials"].as_array().map_or(0, Vec::len);
        if listed == turns { Ok(()) } else { Err(format!("{} has {listed} turns instead of {turns}", self.call_id())) }
    }

    fn is_made_of(&self, found: &Value, elsewhere: &[&str]) -> Result<(), String> {
        for (name, value) in self.facts() {
            if !elsewhere.contains(&name) && found[name] != value {
                return Err(format!("{} has another {name}: {}", self.call_id(), found[name]));
            }
        }
        Ok(())
    }
}

/// The caller of all records of a bot.
pub(super) fn caller(load: &str, bot: u32) -> String {
    format!("bot {bot} of {load}")
}

/// FNV-1a.
fn sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_from_one_that_is_not_whole() {
        let record = Record::new("a load".into(), 3, 17);
        assert_eq!(Record::of_call(&record.call_id()), Some(record.clone()));
        assert_eq!(Record::of_call("a call of somebody else"), None);
        let body: Value = serde_json::from_str(&record.body()).unwrap();
        assert_eq!(body["input"]["turns"].as_array().map(Vec::len), Some(4));
        assert!(body["input"]["note"].as_str().is_some_and(|note| note.len() > 300));
        assert_eq!(record.is_told_by(&body["input"]), Ok(()));
        for name in ["content", "sequence", "sum", "note", "turns"] {
            let mut torn = body["input"].clone();
            torn[name] = json!("half of");
            assert!(record.is_told_by(&torn).is_err(), "{name}");
        }
    }
}
