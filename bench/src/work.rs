//! What is asked, and what a right answer is. A request is made by writing digits into bytes that are there; nothing is allocated.

use memchr::memmem;

use crate::names::{self, CLIENT, DIGITS, KEY, Random};
use crate::wire::{self, Answer};

/// What an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was asked for.
    Right,
    /// "Nothing found", where a record was asked for.
    Miss,
    /// Anything else; a run with one of them fails.
    Wrong,
}

/// The requests of one connection, one after another.
pub trait Work: Send {
    /// The next request; `None` when all is done.
    fn next(&mut self) -> Option<&[u8]>;
    /// Judges the answer to the last request.
    fn check(&mut self, answer: &Answer<'_>) -> Verdict;
}

/// Bytes with places for numbers.
#[derive(Clone, Debug)]
struct Template {
    bytes: Vec<u8>,
    callers: Vec<usize>,
    calls: Vec<usize>,
}

impl Template {
    /// Finds the places of these two numbers, which stand for all others.
    fn new(bytes: Vec<u8>, caller_number: u64, call_number: u64) -> Self {
        let places = |number: u64| memmem::find_iter(&bytes, format!("{number:010}").as_bytes()).collect();
        let (callers, calls) = (places(caller_number), places(call_number));
        Self { bytes, callers, calls }
    }

    fn fill(&mut self, caller_number: u64, call_number: u64) -> &[u8] {
        for (places, number) in [(&self.callers, caller_number), (&self.calls, call_number)] {
            let text = digits(number);
            for place in places {
                if let Some(to) = self.bytes.get_mut(*place..*place + DIGITS) {
                    to.copy_from_slice(&text);
                }
            }
        }
        &self.bytes
    }
}

/// A number as ten digits.
fn digits(mut number: u64) -> [u8; DIGITS] {
    let mut text = [b'0'; DIGITS];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    text
}

/// Stands in templates for a caller, and for a call.
const A_CALLER: u64 = 1_234_567_890;
const A_CALL: u64 = 2_345_678_901;

/// `POST /api/CallData`, every one with a caller, a call and a content of its own.
pub struct Posts {
    template: Template,
    next: u64,
    step: u64,
    end: u64,
}

impl Posts {
    /// Posts from `first`, of which another connection makes the ones between; up to `end`.
    pub fn new(first: u64, step: u64, end: u64) -> Self {
        let request = wire::post(&format!("/api/CallData?clientId={CLIENT}&code={KEY}"), &names::posted(A_CALLER, A_CALL));
        Self { template: Template::new(request, A_CALLER, A_CALL), next: first, step, end }
    }
}

impl Work for Posts {
    fn next(&mut self) -> Option<&[u8]> {
        let number = self.next;
        if number >= self.end {
            return None;
        }
        self.next += self.step;
        Some(self.template.fill(number, number))
    }

    fn check(&mut self, answer: &Answer<'_>) -> Verdict {
        let right = answer.status == 200 && answer.body == br#"{"choice":"success","output":{}}"#;
        if right { Verdict::Right } else { Verdict::Wrong }
    }
}

/// Which sessions are fetched.
#[derive(Clone, Copy, Debug)]
pub enum Chosen {
    /// Random ones among so many, each of a caller of its own, from this number.
    Own(u64, u64),
    /// Random ones among so many, each caller with [`names::RECORDS_A_USER`].
    Shared(u64),
    /// Calls that nobody made.
    Nobody,
    /// One that is not looked at: a bare server answers the same to everything.
    Whatever,
}

/// `GET /api/CallData`.
pub struct Fetches {
    template: Template,
    chosen: Chosen,
    random: Random,
    /// What the answer has to hold.
    needle: Vec<u8>,
}

impl Fetches {
    /// Fetches what was chosen; another seed is another order.
    pub fn new(chosen: Chosen, seed: u64) -> Self {
        let (caller, call) = (names::caller(A_CALLER).replace('+', "%2B"), names::call(A_CALL));
        let request = wire::get(&format!("/api/CallData?clientId={CLIENT}&code={KEY}&caller={caller}&callid={call}&timeLimit=2592000"));
        let needle = format!("\"callid\":\"{call}\"").into_bytes();
        Self { template: Template::new(request, A_CALLER, A_CALL), chosen, random: Random::new(seed), needle }
    }
}

impl Work for Fetches {
    fn next(&mut self) -> Option<&[u8]> {
        let (caller, call) = match self.chosen {
            Chosen::Own(first, count) => {
                let number = first + self.random.below(count);
                (number, number)
            }
            Chosen::Shared(count) => {
                let number = self.random.below(count);
                (number % users(count), number)
            }
            Chosen::Nobody => {
                let number = self.random.below(10_000_000);
                (number, names::NOBODY + number)
            }
            Chosen::Whatever => (A_CALLER, A_CALL),
        };
        let at = self.needle.len() - 1 - DIGITS;
        if let Some(to) = self.needle.get_mut(at..at + DIGITS) {
            to.copy_from_slice(&digits(call));
        }
        Some(self.template.fill(caller, call))
    }

    fn check(&mut self, answer: &Answer<'_>) -> Verdict {
        if answer.status == 200 && memmem::find(answer.body, &self.needle).is_some() {
            Verdict::Right
        } else if matches!(answer.status, 200 | 404) && answer.body == br#"{"error":"no result found"}"# {
            Verdict::Miss
        } else {
            Verdict::Wrong
        }
    }
}

/// How many users there are among so many sessions.
pub fn users(sessions: u64) -> u64 {
    (sessions / names::RECORDS_A_USER).max(1)
}

/// Whose records are asked for, which page, and what has to be on it.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The first of these users.
    pub first_user: u64,
    /// How many of them there are.
    pub users: u64,
    /// Which page, from 1.
    pub number: u64,
    /// How many records are on it.
    pub size: u64,
    /// How many records each of the users has.
    pub total: u64,
}

/// `POST /oifde/rest/api/queryRecordHistory`.
pub struct Histories {
    template: Template,
    page: Page,
    random: Random,
    total: Vec<u8>,
    record: memmem::Finder<'static>,
}

impl Histories {
    /// Asks for that page; another seed is another order of users.
    pub fn new(page: Page, seed: u64) -> Self {
        let (user, number, size) = (names::caller(A_CALLER), page.number, page.size);
        let body =
            format!(r#"{{"tenantId":"{CLIENT}","authToken":"{KEY}","userMobile":"{user}","pageNum":"{number}","pageSize":"{size}"}}"#);
        Self {
            template: Template::new(wire::post("/oifde/rest/api/queryRecordHistory", &body), A_CALLER, A_CALL),
            page,
            random: Random::new(seed),
            total: format!("\"errorCode\":0,\"errorMsg\":\"Success\",\"total\":{},", page.total).into_bytes(),
            record: memmem::Finder::new(b"\"logId\":\""),
        }
    }
}

impl Work for Histories {
    fn next(&mut self) -> Option<&[u8]> {
        let user = self.page.first_user + self.random.below(self.page.users);
        Some(self.template.fill(user, A_CALL))
    }

    fn check(&mut self, answer: &Answer<'_>) -> Verdict {
        let start = answer.body.get(..64).unwrap_or(answer.body);
        let told = answer.status == 200 && memmem::find(start, &self.total).is_some();
        let records = self.record.find_iter(answer.body).count();
        if told && u64::try_from(records).is_ok_and(|records| records == self.page.size) { Verdict::Right } else { Verdict::Wrong }
    }
}

/// 70 % posts, 25 % fetches, 5 % queries.
pub struct Mixed {
    posts: Posts,
    fetches: Fetches,
    histories: Histories,
    random: Random,
    last: u64,
}

impl Mixed {
    /// Mixes these.
    pub fn new(posts: Posts, fetches: Fetches, histories: Histories, seed: u64) -> Self {
        Self { posts, fetches, histories, random: Random::new(seed), last: 0 }
    }

    fn part(&mut self) -> &mut dyn Work {
        match self.last {
            0..70 => &mut self.posts,
            70..95 => &mut self.fetches,
            _ => &mut self.histories,
        }
    }
}

impl Work for Mixed {
    fn next(&mut self) -> Option<&[u8]> {
        self.last = self.random.below(100);
        self.part().next()
    }

    fn check(&mut self, answer: &Answer<'_>) -> Verdict {
        self.part().check(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &[u8]) -> Answer<'_> {
        Answer { status: 200, body }
    }

    #[test]
    fn posts_differ_and_keep_their_length() {
        let mut posts = Posts::new(5, 2, 9);
        let one = posts.next().unwrap().to_vec();
        let other = posts.next().unwrap().to_vec();
        assert!(posts.next().is_none());
        assert_eq!(one.len(), other.len());
        let text = String::from_utf8(other).unwrap();
        assert_eq!(text.matches("0000000007").count(), 3, "{text}");
    }

    #[test]
    fn only_the_call_asked_for_is_right() {
        let mut fetches = Fetches::new(Chosen::Own(40, 1), 1);
        assert!(String::from_utf8_lossy(fetches.next().unwrap()).contains("callid=call-0000000040&"));
        assert_eq!(fetches.check(&of(br#"{"caller":"x","callid":"call-0000000040"}"#)), Verdict::Right);
        assert_eq!(fetches.check(&of(br#"{"caller":"x","callid":"call-0000000041"}"#)), Verdict::Wrong);
        assert_eq!(fetches.check(&of(br#"{"error":"no result found"}"#)), Verdict::Miss);
    }

    #[test]
    fn a_page_has_to_hold_all_its_records() {
        let mut histories = Histories::new(Page { first_user: 0, users: 1, number: 1, size: 1, total: 20 }, 1);
        histories.next().unwrap();
        assert_eq!(
            histories.check(&of(br#"{"errorCode":0,"errorMsg":"Success","total":20,"recordList":[{"logId":"1"}]}"#)),
            Verdict::Right
        );
        assert_eq!(histories.check(&of(br#"{"errorCode":0,"errorMsg":"Success","total":20,"recordList":[]}"#)), Verdict::Wrong);
        assert_eq!(histories.check(&of(br#"{"errorCode":0,"errorMsg":"Success","total":2,"recordList":[{"logId":"1"}]}"#)), Verdict::Wrong);
    }
}
