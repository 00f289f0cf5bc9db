//! Who calls, and how calls are named. Every name is a number of ten digits in a fixed frame, so that a request is made by writing digits
//! into bytes that are there already.

/// How many digits a number has.
pub const DIGITS: usize = 10;
/// The client id and the tenant id, everywhere.
pub const CLIENT: &str = "bench";
/// The key, everywhere.
pub const KEY: &str = "bench-key-0123456789";

/// Sessions of the last minute begin here.
pub const RECENT: u64 = 100_000_000;
/// Sessions that have expired begin here.
pub const EXPIRED: u64 = 500_000_000;
/// What is posted while it is measured begins here.
pub const POSTED: u64 = 1_000_000_000;
/// The user with many records, and the first of the calls.
pub const HEAVY: u64 = 9_000_000_000;
/// Calls that nobody made begin here.
pub const NOBODY: u64 = 9_900_000_000;
/// How many records each of the other users has.
pub const RECORDS_A_USER: u64 = 20;

/// A caller.
pub fn caller(number: u64) -> String {
    format!("+4915{number:010}")
}

/// A call.
pub fn call(number: u64) -> String {
    format!("call-{number:010}")
}

/// What was said in a call, as JSON.
pub fn content(number: u64) -> String {
    format!("\"The user spoke to the bot about his contract {number:010}\"")
}

/// What else was posted, as JSON.
pub const FIELDS: &str = r#"{"destination":"someServiceQueue","intent":"doSomeCoolThing","sessionid":"d69130c6fe02bf8110a25d191c5ec6de"}"#;
/// The member of [`FIELDS`] that has a column.
pub const INTENT: &str = "doSomeCoolThing";

/// The body of a post.
pub fn posted(caller_number: u64, call_number: u64) -> String {
    let (caller, call, content) = (caller(caller_number), call(call_number), content(call_number));
    let rest = FIELDS.trim_start_matches('{');
    format!(r#"{{"input":{{"callerid":"{caller}","callid":"{call}","content":{content},{rest}}}"#)
}

/// Random numbers that are good enough to choose rows by, and cost next to nothing.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_json_of_the_usual_size() {
        let body = posted(7, POSTED);
        let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(parsed["input"]["callid"], "call-1000000000");
        assert_eq!(parsed["input"]["intent"], INTENT);
        assert!((230..270).contains(&body.len()), "{}", body.len());
    }
}
