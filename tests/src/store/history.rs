//! Histories: what matches, in which order, page by page.

use std::time::Duration;

use calldata_core::port::HistoryQuery;
use calldata_core::{Details, SessionStore, Timestamp};
use calldata_testkit::builders::{a_clock, a_session, an_import, start};
use calldata_testkit::engine::{TestDatabase, on_every_engine};

use super::{all_stored, created_tenant, history_ids, ids, of_call, of_caller};

const NOWHERE: [&str; 0] = [];

fn second(s: u64) -> Timestamp {
    start().plus(Duration::from_secs(s))
}

/// Sessions of one caller with these identifiers and starts, in seconds.
async fn sessions(test: &TestDatabase, starts: &[(&str, u64)]) -> calldata_core::Scope {
    let tenant = created_tenant(test.database(), "c").await;
    let clock = a_clock();
    let import = |(id, s): &(&str, u64)| {
        an_import(&tenant, id, &clock, Details { started_at: Some(second(*s)), ..a_session(&format!("call-{id}"), "110") })
    };
    all_stored(test.database(), starts.iter().map(import).collect()).await;
    tenant.scope(start())
}

#[test]
fn oif_q5_the_newest_start_comes_first_and_ties_by_identifier_descending() {
    on_every_engine(async |test| {
        let scope = sessions(test, &[("b", 1), ("Z", 1), ("a", 1), ("é", 1), ("old", 0), ("new", 2)]).await;
        let found = history_ids(test.database(), scope, &of_caller("110")).await;
        assert_eq!(found, ["new", "é", "b", "a", "Z", "old"], "identifiers byte by byte on every engine");
    });
}

#[test]
fn oif_q5_paging_repeats_and_skips_nothing() {
    on_every_engine(async |test| {
        let names: Vec<_> = (0..23).map(|no| format!("s{no:02}")).collect();
        // Ties across the ends of pages.
        let starts: Vec<_> = names.iter().zip(0..).map(|(name, no): (_, u64)| (name.as_str(), no / 4)).collect();
        let scope = sessions(test, &starts).await;
        let mut paged = Vec::new();
        for offset in (0..30).step_by(5) {
            let page = test.database().history(scope, &HistoryQuery { offset, limit: 5, ..of_caller("110") }).await.unwrap();
            assert_eq!(page.total, 23);
            paged.extend(ids(&page.sessions));
        }
        let mut expected = names;
        expected.reverse();
        assert_eq!(paged, expected);
    });
}

#[test]
fn oif_q5_any_page_is_that_part_of_the_whole() {
    on_every_engine(async |test| {
        let names: Vec<_> = (0..12).map(|no| format!("s{no:02}")).collect();
        let starts: Vec<_> = names.iter().zip(0..).map(|(name, no): (_, u64)| (name.as_str(), no / 3)).collect();
        let scope = sessions(test, &starts).await;
        let whole = history_ids(test.database(), scope, &of_caller("110")).await;
        for offset in 0..15 {
            for limit in [1, 2, 5, 12, 100] {
                let query = HistoryQuery { offset, limit, ..of_caller("110") };
                let page = test.database().history(scope, &query).await.unwrap();
                let part: Vec<_> = whole.iter().skip(offset.try_into().unwrap()).take(limit.try_into().unwrap()).cloned().collect();
                assert_eq!((page.total, ids(&page.sessions)), (12, part), "{limit} from {offset}");
            }
        }
        let part = HistoryQuery { offset: 4, limit: 2, from: Some(second(1)), ..of_caller("110") };
        assert_eq!(history_ids(test.database(), scope, &part).await, whole[4..6], "the nine from then on");
    });
}

#[test]
fn oif_q4_past_the_last_page_there_is_nothing_and_the_total_is_true() {
    on_every_engine(async |test| {
        let scope = sessions(test, &[("a", 0), ("b", 1), ("c", 2)]).await;
        for offset in [3, 4, 1_000_000, i64::MAX as u64] {
            let page = test.database().history(scope, &HistoryQuery { offset, ..of_caller("110") }).await.unwrap();
            assert_eq!((page.total, ids(&page.sessions)), (3, vec![]), "{offset}");
        }
        let page = test.database().history(scope, &HistoryQuery { offset: 2, ..of_caller("110") }).await.unwrap();
        assert_eq!((page.total, ids(&page.sessions)), (3, vec!["a".to_owned()]));
    });
}

#[test]
fn oif_q3_both_ends_of_a_span_belong_to_it() {
    on_every_engine(async |test| {
        let scope = sessions(test, &[("a", 0), ("b", 1), ("c", 2), ("d", 3)]).await;
        let ms = Duration::from_millis(1);
        let within = async |from: Option<Timestamp>, until: Option<Timestamp>| {
            let query = HistoryQuery { from, until, ..of_caller("110") };
            let page = test.database().history(scope, &query).await.unwrap();
            assert_eq!(page.total, page.sessions.len() as u64);
            ids(&page.sessions)
        };
        assert_eq!(within(Some(second(1)), Some(second(2))).await, ["c", "b"]);
        assert_eq!(within(Some(second(1).plus(ms)), Some(second(2))).await, ["c"]);
        assert_eq!(within(Some(second(1)), Some(second(2).minus(ms))).await, ["b"]);
        assert_eq!(within(Some(second(2)), None).await, ["d", "c"]);
        assert_eq!(within(None, Some(second(0))).await, ["a"]);
        assert_eq!(within(Some(second(3)), Some(second(0))).await, NOWHERE);
    });
}

#[test]
fn oif_q3_a_session_without_a_told_start_began_when_it_was_first_received() {
    on_every_engine(async |test| {
        let tenant = created_tenant(test.database(), "c").await;
        all_stored(test.database(), vec![an_import(&tenant, "s", &a_clock(), a_session("call", "110"))]).await;
        let scope = tenant.scope(start());
        let at = HistoryQuery { from: Some(start()), until: Some(start()), ..of_caller("110") };
        assert_eq!(history_ids(test.database(), scope, &at).await, ["s"]);
        let later = HistoryQuery { from: Some(start().plus(Duration::from_millis(1))), ..of_caller("110") };
        assert_eq!(history_ids(test.database(), scope, &later).await, NOWHERE);
    });
}

#[test]
fn oif_q2_of_several_criteria_all_must_match() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let mut batch = Vec::new();
        for call in ["x", "y"] {
            for caller in ["110", "112"] {
                for cti in [Some("p"), Some("q"), None] {
                    let id = format!("{call}-{caller}-{}", cti.unwrap_or("none"));
                    let details = Details { cti_call_id: cti.map(str::to_owned), ..a_session(call, caller) };
                    batch.push(an_import(&tenant, &id, &clock, details));
                }
            }
        }
        all_stored(database, batch).await;
        let scope = tenant.scope(start());
        let with_cti = |query: HistoryQuery, cti: &str| HistoryQuery { cti_call_id: Some(cti.to_owned()), ..query };
        let call_and_caller = HistoryQuery { caller: of_caller("112").caller, ..of_call("x") };
        assert_eq!(history_ids(database, scope, &call_and_caller).await, ["x-112-q", "x-112-p", "x-112-none"]);
        assert_eq!(history_ids(database, scope, &with_cti(of_call("y"), "p")).await, ["y-112-p", "y-110-p"]);
        assert_eq!(history_ids(database, scope, &with_cti(of_caller("110"), "q")).await, ["y-110-q", "x-110-q"]);
        assert_eq!(history_ids(database, scope, &with_cti(call_and_caller.clone(), "q")).await, ["x-112-q"]);
        assert_eq!(history_ids(database, scope, &with_cti(call_and_caller, "r")).await, NOWHERE);
    });
}

#[test]
fn oif_q2_a_cti_call_id_of_any_kind_is_found_exactly() {
    on_every_engine(async |test| {
        let (database, clock) = (test.database(), a_clock());
        let tenant = created_tenant(database, "c").await;
        let long = |length| "x".repeat(length);
        let names = [
            long(511),
            long(512),
            long(513),
            format!("{}y", long(512)),
            long(100_000),
            "a".into(),
            "a\0".into(),
            "\0a".into(),
            "\0".into(),
            String::new(),
            "\u{1}a".into(),
            // What a store might keep in place of "a\0": SHA-256 behind a mark.
            "\u{1}ffe9aaeaa2a2d5048174df0b80599ef0197ec024c4b051bc9860cff58ef7f9f3".into(),
            "A".into(),
            " a".into(),
            "a%".into(),
            "a_".into(),
            "é".into(),
            "e\u{301}".into(),
            "\u{10ffff}".into(),
        ];
        let import = |(no, name): (usize, &String)| {
            let details = Details { cti_call_id: Some(name.clone()), ..a_session("call", "110") };
            an_import(&tenant, &format!("s{no:02}"), &clock, details)
        };
        all_stored(database, names.iter().enumerate().map(import).collect()).await;
        for (no, name) in names.iter().enumerate() {
            let query = HistoryQuery { cti_call_id: Some(name.clone()), limit: 100, ..HistoryQuery::default() };
            let page = database.history(tenant.scope(start()), &query).await.unwrap();
            assert_eq!(ids(&page.sessions), [format!("s{no:02}")], "{:?}", name.get(..9).unwrap_or(name));
            assert_eq!(page.sessions[0].details.cti_call_id.as_ref(), Some(name));
        }
    });
}

#[test]
fn what_no_identifier_can_be_matches_nothing_and_is_no_error() {
    on_every_engine(async |test| {
        let scope = sessions(test, &[("a", 0)]).await;
        for impossible in ["\0", "call-a\0", "", &"x".repeat(100_000)] {
            assert_eq!(history_ids(test.database(), scope, &of_call(impossible)).await, NOWHERE);
            assert_eq!(history_ids(test.database(), scope, &of_caller(impossible)).await, NOWHERE);
        }
    });
}
