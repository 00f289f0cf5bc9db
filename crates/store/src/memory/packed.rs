//! A row in one piece of memory: a tenth of the allocations, and half of the room.

use crate::entity::session::Model;

/// What of a row a session is made of.
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn of(row: &Model) -> Self {
        let Model {
            tenant_id,
            id,
            call_id,
            caller,
            caller_key,
            country_code,
            // What is only searched for.
            cti_call_key: _,
            conversation_key: _,
            intent_key: _,
            received_first,
            received_last,
            started_at,
            source,
            replay_digest: _,
            content,
            conversation,
            fields,
            turns,
            answers,
            details,
        } = row;
        let mut bytes = Vec::with_capacity(512);
        for number in [*tenant_id, *received_first, *received_last, *started_at, i64::from(*source)] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for text in [call_id, caller_key, id, fields] {
            put(&mut bytes, Some(text));
        }
        put(&mut bytes, Some(caller).filter(|spelling| *spelling != caller_key).map(String::as_str));
        for text in [country_code, content, conversation, turns, answers, details] {
            put(&mut bytes, text.as_deref());
        }
        Self(bytes.into())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Whether it is the row of this tenant, call and caller.
    pub(super) fn is_of(&self, tenant: i64, call: &str, caller: &str) -> bool {
        let mut rest = Reader(&self.0);
        let found = rest.number() == Some(tenant);
        for _ in 0..4 {
            rest.number();
        }
        found && rest.text() == Some(call) && rest.text() == Some(caller)
    }

    pub(super) fn received_first(&self) -> i64 {
        self.number(1)
    }

    pub(super) fn received_last(&self) -> i64 {
        self.number(2)
    }

    /// Notes that it was received then, if that is later than before.
    pub(super) fn receive_again(&mut self, at: i64) {
        let last = self.received_last().max(at);
        if let Some(place) = self.0.get_mut(16..24) {
            place.copy_from_slice(&last.to_le_bytes());
        }
    }

    pub(super) fn id(&self) -> &str {
        let mut rest = Reader(self.0.get(40..).unwrap_or_default());
        let [_call, _caller, id] = [rest.text(), rest.text(), rest.text()];
        id.unwrap_or_default()
    }

    /// The row, without what is only searched for; `None` never, for what was packed can be unpacked.
    pub(super) fn unpack(&self) -> Option<Model> {
        let mut rest = Reader(&self.0);
        let [tenant_id, received_first, received_last, started_at, source] =
            [rest.number()?, rest.number()?, rest.number()?, rest.number()?, rest.number()?];
        let [call_id, caller_key, id, fields] = [rest.owned()?, rest.owned()?, rest.owned()?, rest.owned()?];
        let caller = rest.owned().unwrap_or_else(|| caller_key.clone());
        Some(Model {
            tenant_id,
            id,
            call_id,
            caller,
            caller_key,
            country_code: rest.owned(),
            cti_call_key: None,
            conversation_key: None,
            intent_key: None,
            received_first,
            received_last,
            started_at,
            source: i32::try_from(source).ok()?,
            replay_digest: None,
            content: rest.owned(),
            conversation: rest.owned(),
            fields,
            turns: rest.owned(),
            answers: rest.owned(),
            details: rest.owned(),
        })
    }

    fn number(&self, at: usize) -> i64 {
        Reader(self.0.get(at * 8..).unwrap_or_default()).number().unwrap_or_default()
    }
}

/// A length, of which 0 stands for no text, and the text.
fn put(bytes: &mut Vec<u8>, text: Option<&str>) {
    let mut length = text.map_or(0, |text| text.len() + 1);
    while let (low, high @ 1..) = (length & 0x7f, length >> 7) {
        bytes.push(0x80 | u8::try_from(low).unwrap_or_default());
        length = high;
    }
    bytes.push(u8::try_from(length).unwrap_or_default());
    bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn number(&mut self) -> Option<i64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*number))
    }

    /// The next text, where there is one.
    fn text(&mut self) -> Option<&'b str> {
        let mut length = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (text, rest) = self.0.split_at_checked(length.checked_sub(1)?)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn owned(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(caller: &str, content: Option<String>) -> Model {
        Model {
            tenant_id: -7,
            id: "id".into(),
            call_id: "call".into(),
            caller: caller.into(),
            caller_key: "+4930123".into(),
            country_code: Some("\"+49\"".into()),
            cti_call_key: None,
            conversation_key: None,
            intent_key: None,
            received_first: 1,
            received_last: 7,
            started_at: -3,
            source: 2,
            replay_digest: None,
            content,
            conversation: Some(String::new()),
            fields: "{}".into(),
            turns: None,
            answers: Some("[]".into()),
            details: None,
        }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let long = |length| Some("ä".repeat(length));
        for row in [row("030 123", None), row("+4930123", Some("x".into())), row("", long(63)), row("x", long(64)), row("x", long(100_000))]
        {
            let mut packed = Packed::of(&row);
            assert!(packed.unpack().unwrap() == row);
            assert!(packed.is_of(-7, "call", "+4930123"));
            assert!(!packed.is_of(7, "call", "+4930123") && !packed.is_of(-7, "cal", "+4930123") && !packed.is_of(-7, "call", "+493012"));
            assert_eq!((packed.received_first(), packed.received_last(), packed.id()), (1, 7, "id"));
            packed.receive_again(6);
            assert_eq!(packed.received_last(), 7);
            packed.receive_again(i64::MAX);
            assert!(packed.unpack().unwrap() == Model { received_last: i64::MAX, ..row });
        }
    }
}
