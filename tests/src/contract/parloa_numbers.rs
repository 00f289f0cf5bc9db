//! Callers are compared as phone numbers (PAR-N1 to PAR-N4).

use calldata_core::{Country, DirectoryStore, Tenant};
use calldata_testkit::builders::a_tenant;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};

use super::parloa_requests::{ANY_AGE, assert_miss, encoded, fetch, store};

#[test]
fn par_n1_all_spellings_of_a_number_find_each_other() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let german = gateway.a_tenant("c").await;
        let swiss = gateway.add(a_tenant_in("CH")).await;
        let american = gateway.add(a_tenant_in("US")).await;
        all_equal(
            &german,
            &[
                "+49 30 1234567",
                "+49 (0)30 1234567",
                "0049301234567",
                "0049 (0)30/1234567",
                "030 123 45 67",
                "(030) 1234567",
                "[030] 123-45.67",
                "49301234567",
            ],
        )
        .await;
        all_equal(&german, &["4917670919361", "017670919361", "+4917670919361"]).await;
        all_equal(&swiss, &["+41791234567", "0791234567", "41791234567", "791234567", "079/123.45.67"]).await;
        all_equal(&american, &["+12125551234", "12125551234", "2125551234", "(212) 555-1234"]).await;
        // Without a trunk prefix; in Italy the zero belongs to the number.
        all_equal(&gateway.add(a_tenant_in("ES")).await, &["+34912345678", "912345678", "34912345678", "0034 912 34 56 78"]).await;
        all_equal(&gateway.add(a_tenant_in("IT")).await, &["+390669812345", "06 698 12345", "390669812345"]).await;
        // An area code, not a calling code: the national reading comes first.
        all_equal(&german, &["0491 12345", "+49 491 12345"]).await;
        gateway.stop().await;
    });
}

#[test]
fn par_n1_numbers_that_differ_do_not_find_each_other() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        none_equal(&account, &["+49301234567", "+41301234567", "030 1234568", "030 123456", "+30 1234567"]).await;
        none_equal(&account, &["10086", "+4910086", "110", "+49110", "112"]).await;
        all_equal(&account, &["112", "1-1-2", "1 12", "tel:112"]).await;
        // With the trunk prefix, possible is enough.
        all_equal(&account, &["010086", "+4910086"]).await;
        all_equal(&account, &["10086", "  10086", "10086 "]).await;
        gateway.stop().await;
    });
}

#[test]
fn par_n1_the_country_of_the_request_decides_over_the_clients_default() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let countries = ["+41", " 41", "41", "0041", "CH", "ch"];
        for (number, posted) in countries.iter().enumerate() {
            store(&account, &format!(r#"{{"callid":"{number}","callerid":"0791234567","countrycode":"{posted}"}}"#)).await;
            assert_eq!(fetch(&account, &number.to_string(), "+41791234567").await.json()["countrycode"], *posted);
            assert_miss(&fetch(&account, &number.to_string(), "0791234567").await, "caller-mismatch");
            for asked in countries {
                let answer = account.get(&format!("callid={number}&caller=0791234567&countryCode={}&{ANY_AGE}", encoded(asked))).await;
                assert_eq!(answer.json()["caller"], "0791234567", "{posted} {asked}");
            }
            assert_eq!(
                account.get(&format!("callid={number}&caller=0791234567&countryCode=+41")).await.status,
                200,
                "a plus as it is typed"
            );
        }
        store(&account, r#"{"callid":"n","callerid":"0791234567","countryCode":41}"#).await;
        assert_eq!(fetch(&account, "n", "+41791234567").await.json()["countrycode"], 41);
        store(&account, r#"{"callid":"i","callerid":"+49301234567","countrycode":"CH"}"#).await;
        assert_eq!(fetch(&account, "i", "0301234567").await.json()["caller"], "+49301234567", "an international number needs no country");
        gateway.stop().await;
    });
}

#[test]
fn par_n2_sip_and_tel_are_their_number() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let same = [
            "+4930123456",
            "sip:+4930123456@example.org",
            "SIP:+4930123456@10.0.0.1:5060;user=phone",
            "sips:+4930123456@h",
            "tel:+49-30-123456",
            "Tel:+4930123456",
        ];
        all_equal(&account, &same).await;
        gateway.stop().await;
    });
}

#[test]
fn par_n2_what_is_no_number_is_compared_exactly_after_trimming() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let ids = [
            "unique user ID",
            "anonymous",
            "Anonymous",
            "180****9999",
            "180****9998",
            "1809999",
            "user-12345",
            "user12345",
            "12345",
            "sip:bob@example.org",
            "bob",
            "0800-FLOWERS",
            "08003569377",
            "٠٣٠١٢٣٤٥٦",
            "030123456",
        ];
        none_equal(&account, &ids).await;
        for id in ids {
            all_equal(
                &account,
                &[id, &format!(" {id}"), &format!("\t{id}\n ")][..if id.starts_with(|c: char| matches!(c, '1'..='9')) { 1 } else { 3 }],
            )
            .await;
        }
        gateway.stop().await;
    });
}

#[test]
fn par_n3_the_spelling_posted_is_given_back() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (number, spelling) in
            ["030 / 123-4567", "  anonymous ", "sip:+4930123456@h", " 4930123456", "0049 (0)30 123456"].iter().enumerate()
        {
            store(&account, &format!(r#"{{"callid":"{number}","callerid":"{spelling}"}}"#)).await;
            assert_eq!(fetch(&account, &number.to_string(), spelling).await.json()["caller"], *spelling);
        }
        gateway.stop().await;
    });
}

#[test]
fn par_n3_another_default_country_rewrites_what_is_stored() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (call, more) in [("bare", ""), ("told", r#","countrycode":"+49""#)] {
            store(&account, &format!(r#"{{"callid":"{call}","callerid":"0791234567"{more}}}"#)).await;
            assert_miss(&fetch(&account, call, "+41791234567").await, "caller-mismatch");
        }
        let moved = Tenant { default_country: Country::parse("CH").unwrap(), ..account.tenant.clone() };
        gateway.database().update_tenant(&moved).await.unwrap();
        // The instance notices within a second or so; every fetch waits one.
        let mut found = account.get("callid=bare&caller=%2B41791234567&wait=1").await;
        for _ in 0..9 {
            if found.header("x-calldata-reason").is_some() {
                found = account.get("callid=bare&caller=%2B41791234567&wait=1").await;
            }
        }
        assert_eq!(found.json()["caller"], "0791234567", "the spelling stays");
        assert_eq!(fetch(&account, "bare", "0791234567").await.json()["callid"], "bare");
        assert_miss(&fetch(&account, "bare", "+49791234567").await, "caller-mismatch");
        assert_eq!(fetch(&account, "told", "+49791234567").await.json()["callid"], "told", "it had a country of its own");
        gateway.stop().await;
    });
}

#[test]
fn par_n4_a_plus_that_was_not_encoded_is_restored() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&account, r#"{"callid":"1","callerid":"+4911111"}"#).await;
        for asked in ["+4911111", "%204911111", "%2B4911111", "%252B4911111", "%2b49+1-11 11".replace(' ', "%20").as_str()] {
            assert_eq!(account.get(&format!("callid=1&caller={asked}")).await.json()["caller"], "+4911111", "{asked}");
        }
        store(&account, r#"{"callid":"2","callerid":" 4911111"}"#).await;
        assert_eq!(account.get("callid=2&caller=%2B4911111").await.json()["caller"], " 4911111");
        assert_miss(&account.get("callid=1&caller=++4911111").await, "caller-mismatch");
        gateway.stop().await;
    });
}

fn a_tenant_in(country: &str) -> Tenant {
    Tenant { default_country: Country::parse(country).unwrap(), ..a_tenant(&country.to_lowercase()) }
}

/// Every spelling finds what was posted under any of the others.
async fn all_equal(account: &Account, spellings: &[&str]) {
    for posted in spellings {
        let call = format!("of {posted}");
        store(account, &serde_json::json!({ "callid": call, "callerid": posted }).to_string()).await;
        for asked in spellings {
            assert_eq!(fetch(account, &call, asked).await.json()["caller"], *posted, "posted as {posted:?}, asked as {asked:?}");
        }
    }
}

/// No spelling finds what was posted under another.
async fn none_equal(account: &Account, spellings: &[&str]) {
    for posted in spellings {
        let call = format!("of {posted}");
        store(account, &serde_json::json!({ "callid": call, "callerid": posted }).to_string()).await;
        for asked in spellings {
            let answer = fetch(account, &call, asked).await;
            if posted == asked {
                assert_eq!(answer.json()["caller"], *posted, "posted and asked as {posted:?}");
            } else {
                assert_eq!(answer.header("x-calldata-reason"), Some("caller-mismatch"), "posted as {posted:?}, asked as {asked:?}");
            }
        }
    }
}
