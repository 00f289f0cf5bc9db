//! A row as bytes: no allocation of its own, and half of the room.

use uuid::Uuid;

use crate::entity::session::Model;

/// What of a row a session is made of, as [`pack`] wrote it.
#[derive(Clone, Copy)]
pub(super) struct Packed<'b>(&'b [u8]);

/// Where the last receipt stands.
const RECEIVED_LAST: std::ops::Range<usize> = 16..24;
/// Where the numbers end, of which the last is a byte.
const NUMBERS: usize = 33;
/// Stands before an identifier: it is the text of a UUID, and kept as one.
const UUID: u8 = 1;
const TEXT: u8 = 0;

/// Appends a row.
pub(super) fn pack(row: &Model, bytes: &mut Vec<u8>) {
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
    for number in [tenant_id, received_first, received_last, started_at] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.push(u8::try_from(*source).unwrap_or_default());
    for text in [call_id, caller_key] {
        put(bytes, Some(text));
    }
    // Of the spellings of a UUID, only its own comes back.
    match Uuid::try_parse(id).ok().filter(|uuid| uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == id) {
        Some(uuid) => {
            bytes.push(UUID);
            bytes.extend_from_slice(uuid.as_bytes());
        }
        None => {
            bytes.push(TEXT);
            put(bytes, Some(id));
        }
    }
    put(bytes, Some(fields));
    put(bytes, Some(caller).filter(|spelling| *spelling != caller_key).map(String::as_str));
    for text in [country_code, content, conversation, turns, answers, details] {
        put(bytes, text.as_deref());
    }
}

/// How many bytes a packed row has at most.
pub(super) fn packed_len_bound(row: &Model) -> usize {
    /// A length in pieces of 7 bits, and what tells a UUID from a text.
    const PREFIX_BYTES: usize = 11;
    let optional = [&row.country_code, &row.content, &row.conversation, &row.turns, &row.answers, &row.details];
    let texts = [&row.call_id, &row.caller_key, &row.id, &row.fields, &row.caller].into_iter().chain(optional.into_iter().flatten());
    NUMBERS + 11 * PREFIX_BYTES + texts.map(String::len).sum::<usize>()
}

/// Notes in a packed row that it was received then, if that is later than before.
pub(super) fn receive_again(row: &mut [u8], at: i64) {
    let last = Packed::of(row).received_last().max(at);
    if let Some(place) = row.get_mut(RECEIVED_LAST) {
        place.copy_from_slice(&last.to_le_bytes());
    }
}

impl<'b> Packed<'b> {
    pub(super) fn of(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// Whether it is the row of this tenant, call and caller.
    pub(super) fn is_of(self, tenant: i64, call: &str, caller: &str) -> bool {
        let mut texts = self.texts();
        self.number(0) == tenant && texts.text() == Some(call) && texts.text() == Some(caller)
    }

    pub(super) fn received_first(self) -> i64 {
        self.number(8)
    }

    pub(super) fn received_last(self) -> i64 {
        self.number(RECEIVED_LAST.start)
    }

    pub(super) fn id(self) -> String {
        let mut rest = self.texts();
        let [_call, _caller] = [rest.text(), rest.text()];
        rest.id().unwrap_or_default()
    }

    /// The row, without what is only searched for; `None` never, for what was packed can be unpacked.
    pub(super) fn unpack(self) -> Option<Model> {
        let mut rest = self.texts();
        let [call_id, caller_key] = [rest.owned()?, rest.owned()?];
        let (id, fields) = (rest.id()?, rest.owned()?);
        let caller = rest.owned().unwrap_or_else(|| caller_key.clone());
        Some(Model {
            tenant_id: self.number(0),
            id,
            call_id,
            caller,
            caller_key,
            country_code: rest.owned(),
            cti_call_key: None,
            conversation_key: None,
            intent_key: None,
            received_first: self.received_first(),
            received_last: self.received_last(),
            started_at: self.number(24),
            source: (*self.0.get(NUMBERS - 1)?).into(),
            replay_digest: None,
            content: rest.owned(),
            conversation: rest.owned(),
            fields,
            turns: rest.owned(),
            answers: rest.owned(),
            details: rest.owned(),
        })
    }

    fn number(self, at: usize) -> i64 {
        self.0.get(at..).and_then(<[u8]>::first_chunk).copied().map(i64::from_le_bytes).unwrap_or_default()
    }

    fn texts(self) -> Reader<'b> {
        Reader(self.0.get(NUMBERS..).unwrap_or_default())
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
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// The next text, where there is one.
    fn text(&mut self) -> Option<&'b str> {
        let mut length = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
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

    fn id(&mut self) -> Option<String> {
        if self.byte()? == TEXT {
            return self.owned();
        }
        let (uuid, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(Uuid::from_bytes(*uuid).to_string())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn row(caller: &str, content: Option<String>) -> Model {
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

    fn packed(row: &Model) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(row, &mut bytes);
        bytes
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let long = |length| Some("ä".repeat(length));
        for row in [row("030 123", None), row("+4930123", Some("x".into())), row("", long(63)), row("x", long(64)), row("x", long(100_000))]
        {
            let mut bytes = packed(&row);
            assert!((bytes.len()..bytes.len() + 150).contains(&packed_len_bound(&row)));
            let packed = Packed::of(&bytes);
            assert!(packed.unpack().unwrap() == row);
            assert!(packed.is_of(-7, "call", "+4930123"));
            assert!(!packed.is_of(7, "call", "+4930123") && !packed.is_of(-7, "cal", "+4930123") && !packed.is_of(-7, "call", "+493012"));
            assert_eq!((packed.received_first(), packed.received_last(), packed.id().as_str()), (1, 7, "id"));
            receive_again(&mut bytes, 6);
            assert_eq!(Packed::of(&bytes).received_last(), 7);
            receive_again(&mut bytes, i64::MAX);
            assert!(Packed::of(&bytes).unpack().unwrap() == Model { received_last: i64::MAX, ..row });
        }
    }

    #[test]
    fn identifiers_come_back_as_they_are_spelled() {
        let uuid = "018dea7e-a176-7000-8000-00000000000a";
        for id in
            [uuid.to_owned(), uuid.to_uppercase(), uuid.replace('-', ""), format!("{{{uuid}}}"), format!("urn:uuid:{uuid}"), "x".into()]
        {
            let row = Model { id: id.clone(), ..row("030 123", None) };
            assert_eq!(Packed::of(&packed(&row)).id(), id);
            assert!(Packed::of(&packed(&row)).unpack().unwrap() == row);
        }
    }
}
