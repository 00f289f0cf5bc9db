//! What nobody would send, and somebody does: stored and given back exactly, or refused by name; nothing breaks (PAR-P4, PAR-P5).

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use serde_json::{Value, json};

use super::parloa_requests::{SUCCESS, assert_miss, encoded, error_of, fetch, raw, records_of, store};

#[test]
fn par_p4_hostile_text_comes_back_exactly_in_every_place() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for text in texts() {
            let input = json!({ "callid": text, "callerid": text, "content": text, "conversationid": text, "field": text, text.as_str(): text, "nested": { text.as_str(): [text] } });
            if text.contains('\0') {
                assert!(error_of(&account.post(&input.to_string()).await).contains("callid holds NUL"), "{text:?}");
                let input = json!({ "callid": "nul", "callerid": "a", "content": text, "conversationid": text, text.as_str(): text, "nested": { text.as_str(): [text] } });
                store(&account, &input.to_string()).await;
                let told = fetch(&account, "nul", "a").await.json();
                assert_eq!(
                    [&told["content"], &told["conversationid"], &told[&text], &told["nested"][&text][0]],
                    [&Value::from(text.as_str()); 4]
                );
                continue;
            }
            store(&account, &input.to_string()).await;
            let told = fetch(&account, &text, &text).await.json();
            for place in ["callid", "content", "conversationid", "field", &text] {
                assert_eq!(told[place], text.as_str(), "{place}");
            }
            assert_eq!((&told["caller"], &told["nested"][&text][0]), (&text.as_str().into(), &text.as_str().into()));
            for format in ["xml", "html", "text"] {
                let answer = account.get(&format!("callid={0}&caller={0}&format={format}", encoded(&text))).await;
                assert_eq!((answer.status, answer.header("x-calldata-reason")), (200, None), "{format}");
            }
        }
        gateway.stop().await;
    });
}

#[test]
fn par_p4_large_values_come_back_exactly() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for (number, character) in ["x", "ü", "😀", "\\u0000", "\\n", "\\\"", "<"].iter().enumerate() {
            let value = format!("\"{}\"", character.repeat(900_000 / character.len()));
            store(&account, &format!(r#"{{"callid":"{number}","callerid":"a","content":{value}}}"#)).await;
            let told = fetch(&account, &number.to_string(), "a").await;
            assert!(told.text().ends_with(&format!(r#","content":{value}}}"#)), "{character}");
            for format in ["xml", "html", "text"] {
                let answer = account.get(&format!("callid={number}&caller=a&format={format}")).await;
                assert!(answer.status == 200 && answer.body.len() > 150_000, "{format} of {character}");
            }
        }
        let name = "n".repeat(900_000);
        store(&account, &format!(r#"{{"callid":"name","callerid":"a","{name}":1}}"#)).await;
        assert!(fetch(&account, "name", "a").await.text().ends_with(&format!(r#""{name}":1}}"#)));
        gateway.stop().await;
    });
}

#[test]
fn par_p4_many_fields_keep_their_order() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let fields: Vec<_> = (0..50_000).rev().map(|number| format!(r#""f{number}":{number}"#)).collect();
        let fields = fields.join(",");
        store(&account, &format!(r#"{{"callid":"1","callerid":"a",{fields}}}"#)).await;
        assert!(fetch(&account, "1", "a").await.text().ends_with(&format!(",{fields}}}")));
        let one_name = r#""f":0,"#.repeat(100_000);
        store(&account, &format!(r#"{{"callid":"2","callerid":"a",{one_name}"f":1}}"#)).await;
        assert!(fetch(&account, "2", "a").await.text().ends_with(r#"926Z","f":1}"#), "the last counts");
        gateway.stop().await;
    });
}

#[test]
fn par_p4_numbers_keep_all_their_digits() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let numbers = [
            "123456789012345678901234567890",
            "0.123456789012345678901234567890",
            "-0",
            "1e400",
            "1E-400",
            "1.0",
            "1.10e+05",
            "9007199254740993",
            "-18446744073709551616",
        ];
        for (at, number) in numbers.iter().enumerate() {
            store(&account, &format!(r#"{{"callid":"{at}","callerid":"a","content":{number},"n":{number},"o":[{{"n":{number}}}]}}"#)).await;
            // Not by the client, whose reader holds numbers as floats, and 1e400 is none.
            let path = format!("/api/CallData?clientId=c&code=secret-of-c&callid={at}&caller=a");
            let text = raw(gateway.address, format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes()).await;
            assert!(text.ends_with(&format!(r#","content":{number},"n":{number},"o":[{{"n":{number}}}]}}"#)), "{text}");
        }
        for no_number in ["01", "+1", ".5", "1.", "NaN", "Infinity", "0x1", "1e", "--1"] {
            let refused = account.post(&format!(r#"{{"callid":"no","callerid":"a","n":{no_number}}}"#)).await;
            assert!(error_of(&refused).contains("not valid JSON"), "{no_number}");
        }
        assert_eq!(records_of(&account, "no").await, 0);
        gateway.stop().await;
    });
}

#[test]
fn par_p4_duplicate_and_empty_names() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&account, r#"{"callid":"1","callerid":"a","":"empty"," ":"blank","o":{"k":1,"k":2,"":3},"\u0061":"x","a":"y"}"#).await;
        let text = fetch(&account, "1", "a").await.text().to_owned();
        assert!(text.ends_with(r#","":"empty"," ":"blank","o":{"k":1,"k":2,"":3},"a":"y"}"#), "{text}");
        for format in ["xml", "html", "text"] {
            assert!(account.get(&format!("callid=1&caller=a&format={format}")).await.text().contains("empty"), "{format}");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_p5_nesting_is_bounded_and_told() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        // The body and `input` are two levels.
        let value = nested(120);
        store(&account, &format!(r#"{{"callid":"1","callerid":"a","deep":{value},"text":"{value}"}}"#)).await;
        assert!(fetch(&account, "1", "a").await.text().ends_with(&format!(r#""deep":{value},"text":"{value}"}}"#)));
        for depth in [128, 5_000, 500_000] {
            for deep in [
                nested(depth),
                "[".repeat(depth),
                format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth)).chars().take(1_000_000).collect(),
            ] {
                let error = error_of(&account.post(&format!(r#"{{"callid":"deep","callerid":"a","deep":{deep}}}"#)).await);
                assert!(error.contains("nested deeper") || error.contains("not valid JSON"), "{depth}: {error}");
                error_of(&account.post_body(deep).await);
            }
        }
        assert_eq!(records_of(&account, "deep").await, 0, "nothing of it is stored");
        gateway.stop().await;
    });
}

#[test]
fn par_p5_what_is_no_text_is_refused_whole() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for half in [r"\ud800", r"\udfff", r"a\ud83dx", r"\ud83d\u0041", r"\ude00\ud83d"] {
            for input in [
                format!(r#"{{"callid":"{half}","callerid":"a"}}"#),
                format!(r#"{{"callid":"half","callerid":"{half}"}}"#),
                format!(r#"{{"callid":"half","callerid":"a","content":"{half}"}}"#),
                format!(r#"{{"callid":"half","callerid":"a","{half}":1}}"#),
                format!(r#"{{"callid":"half","callerid":"a","o":[{{"k":"{half}"}}]}}"#),
            ] {
                assert!(error_of(&account.post(&input).await).contains("surrogate"), "{input}");
            }
        }
        for bytes in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80", b"\x00", b"\x1f", b"\n"] {
            for (before, after) in [
                ("{\"callid\":\"half", "\",\"callerid\":\"a\"}"),
                ("{\"callid\":\"half\",\"callerid\":\"a\",\"x\":\"", "\"}"),
                ("{\"callid\":\"half\",\"callerid\":\"a\",\"", "\":1}"),
            ] {
                let body = [b"{\"input\":", before.as_bytes(), bytes, after.as_bytes(), b"}"].concat();
                assert!(error_of(&account.post_body(body).await).contains("not valid JSON"), "{bytes:?}");
            }
        }
        assert_eq!(records_of(&account, "half").await, 0, "nothing of it is stored");
        store(&account, r#"{"callid":"whole","callerid":"a","x":"\ud83d\ude00"}"#).await;
        assert_eq!(fetch(&account, "whole", "a").await.json()["x"], "😀");
        assert_eq!(
            account.post_body("\u{feff}{\"input\":{\"callid\":\"mark\",\"callerid\":\"a\"}}").await.text(),
            SUCCESS,
            "a byte order mark is no error"
        );
        gateway.stop().await;
    });
}

#[test]
fn par_p5_identifiers_are_stored_whole_or_refused_by_name() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for length in [511, 512] {
            let id = "i".repeat(length);
            store(&account, &json!({ "callid": id, "callerid": id }).to_string()).await;
            assert_eq!(fetch(&account, &id, &id).await.json()["callid"], id.as_str());
        }
        let long = "i".repeat(900_000);
        for (field, input) in
            [("callid", json!({ "callid": long, "callerid": "a" })), ("callerid", json!({ "callid": "long", "callerid": long }))]
        {
            let error = error_of(&account.post(&input.to_string()).await);
            assert!(error.starts_with(field) && error.len() < 100, "{error}");
        }
        assert_eq!(records_of(&account, "long").await, 0);
        assert_miss(&fetch(&account, &"i".repeat(5_000), "a").await, "no-such-call");
        store(&account, r#"{"callid":"1","callerid":"a"}"#).await;
        assert_miss(&fetch(&account, "1", &"i".repeat(5_000)).await, "caller-mismatch");
        gateway.stop().await;
    });
}

#[test]
fn par_g1_call_and_caller_are_found_by_their_very_text_only() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let alike = ["a", "A", "á", "a\u{301}", "ä", "a ", "Ａ", "a_", "a%"];
        for id in alike {
            store(&account, &json!({ "callid": id, "callerid": "x" }).to_string()).await;
            store(&account, &json!({ "callid": "one", "callerid": format!("id {id}.") }).to_string()).await;
        }
        for id in alike {
            assert_eq!(fetch(&account, id, "x").await.json()["callid"], id);
            assert_eq!(fetch(&account, "one", &format!("id {id}.")).await.json()["caller"], format!("id {id}."));
        }
        assert_no_record(&account, &["b", "", " a", "á ", "aa"]).await;
        gateway.stop().await;
    });
}

async fn assert_no_record(account: &Account, calls: &[&str]) {
    for call in calls {
        let reason = if call.is_empty() { "missing-parameter; name=callid" } else { "no-such-call" };
        assert_miss(&fetch(account, call, "x").await, reason);
    }
}

/// Texts that break careless programs.
fn texts() -> Vec<String> {
    let controls: String = (1..=0x1f_u8).chain([0x7f]).map(char::from).collect();
    let texts = [
        "\"",
        "'",
        "\\",
        "`",
        "\"}},{\"",
        "');DROP TABLE session;--",
        "' OR '1'='1",
        "%",
        "_",
        "%s%n",
        "${jndi:ldap://x}",
        "{{7*7}}",
        "{% raw %}",
        "<script>alert(1)</script>",
        "</td></tr>",
        "<![CDATA[",
        "]]>",
        "&lt;",
        "&#0;",
        "-->",
        "a\nb",
        "a\r\nX-Injected: 1",
        "\t",
        "a\u{85}b",
        "a\u{2028}b",
        "\u{202e}evil",
        "\u{200b}",
        "a\u{feff}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10ffff}",
        "😀👩‍👩‍👧",
        "Ａ",
        "é",
        "e\u{301}",
        "ß",
        "İ",
        "NULL",
        "null",
        "undefined",
        "true",
        "../../etc/passwd",
        "$1",
        "?",
        "x\0",
        "\0",
        "a\0b",
        &controls,
    ];
    texts.map(str::to_owned).to_vec()
}
