//! HTML, XML and text (PAR-G5 to PAR-G7).

use calldata_core::{Tenant, Zone};
use calldata_testkit::builders::a_tenant;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use calldata_testkit::xml::{in_xml, members_of};
use serde_json::json;

use super::parloa_requests::{ANY_AGE, encoded, fetch, store};

#[test]
fn par_g5_the_documented_pages_byte_for_byte() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = a_berliner(&gateway).await;
        account.post_body(include_str!("../../golden/parloa-post.json")).await;
        let golden = [("de", include_str!("../../golden/parloa-get-de.html")), ("en", include_str!("../../golden/parloa-get-en.html"))];
        for (language, expected) in golden {
            let answer = account.get(&format!("caller=%2B111111111&callid=145644644ff&format=html&lang={language}")).await;
            assert_eq!(answer.text().trim_end_matches('\n'), expected.trim_end_matches('\n'));
            assert!(answer.text().len() <= expected.trim_end_matches('\n').len() + 1, "one trailing newline is free");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_g5_german_dates_are_local_with_summer_time_and_english_ones_as_in_json() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = a_berliner(&gateway).await;
        let in_new_york = gateway.add(Tenant { zone: Zone::parse("America/New_York").unwrap(), ..a_tenant("n") }).await;
        let dates = [
            ("2024-03-31T00:59:59.999Z", "31.03.2024 01:59:59", "30.03.2024 20:59:59"),
            ("2024-03-31T01:00:00.000Z", "31.03.2024 03:00:00", "30.03.2024 21:00:00"),
            ("2024-10-27T00:30:00.000Z", "27.10.2024 02:30:00", "26.10.2024 20:30:00"),
            ("2024-10-27T01:30:00.000Z", "27.10.2024 02:30:00", "26.10.2024 21:30:00"),
            ("2024-12-31T23:00:00.000Z", "01.01.2025 00:00:00", "31.12.2024 18:00:00"),
        ];
        for (posted, berlin, new_york) in dates {
            for (account, local) in [(&account, berlin), (&in_new_york, new_york)] {
                store(account, &format!(r#"{{"callid":"{posted}","callerid":"a","timestamp":"{posted}"}}"#)).await;
                let german = shown(account, posted, "html&lang=de").await;
                assert_eq!(german.matches(local).count(), 3, "title, comment and row: {german}");
                assert_eq!(shown(account, posted, "html&lang=en").await.matches(posted).count(), 4, "and the call");
                assert!(shown(account, posted, "text&lang=de").await.contains(&format!("\nDatum: {local}\n")));
                assert!(shown(account, posted, "text&lang=en").await.contains(&format!("\nDate: {posted}\n")));
            }
        }
        gateway.stop().await;
    });
}

#[test]
fn par_g5_everything_in_the_page_is_escaped_and_fields_follow_as_rows() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = a_berliner(&gateway).await;
        let attack = r#"--><script>alert("1")</script><td>&amp;'</td>"#;
        let input = json!({ "callid": "1", "callerid": attack, "content": attack, "conversationid": attack, attack: attack, "n": 1.5, "o": { "k": attack }, "z": null });
        store(&account, &input.to_string()).await;
        for language in ["de", "en"] {
            let page = account.get(&format!("callid=1&caller={}&format=html&lang={language}", encoded(attack))).await.text().to_owned();
            assert!(!page.contains("<script") && !page.contains("&amp;'") && page.matches("<td>").count() == 9, "{page}");
            assert_eq!((page.matches("<!--").count(), page.matches("-->").count()), (1, 1), "the comment ends where it ends");
            assert_eq!(page.matches("--&gt;&lt;script&gt;").count(), 6, "{page}");
            let labels: Vec<_> = page.split("<th>").skip(6).map(|row| row.split("</th>").next().unwrap()).collect();
            assert_eq!(labels[1..], ["n", "o", "z"], "in their order, by their names");
            assert!(page.contains("<td>1.5</td>") && page.contains("<td>null</td>"), "{page}");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_g5_a_call_that_looks_like_markup_is_escaped_too() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = a_berliner(&gateway).await;
        store(&account, r#"{"callid":"<b>","callerid":"a"}"#).await;
        for format in ["html", "xml"] {
            let page = shown(&account, "<b>", format).await;
            assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_g6_one_element_a_field_named_as_in_json() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = a_berliner(&gateway).await;
        store(
            &account,
            r#"{"callid":"1","callerid":"a","content":"Grüße","nested":{"a": [1, null]},"n":1.50,"null":null,"no name":"x","caller":"me"}"#,
        )
        .await;
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><callData><caller>a</caller><callid>1</callid>\
            <timestamp>2024-02-27T12:16:23.926Z</timestamp><content>Grüße</content><nested>{\"a\":[1,null]}</nested><n>1.50</n><null>null</null>\
            <field name=\"no name\">x</field><input.caller>me</input.caller></callData>";
        assert_eq!(shown(&account, "1", "xml").await, expected);
        gateway.stop().await;
    });
}

#[test]
fn par_g6_xml_is_well_formed_and_tells_the_same_as_json_for_hostile_records() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = a_berliner(&gateway).await;
        for (number, (name, value)) in hostile_members().iter().enumerate() {
            store(&account, &json!({ "callid": number, "callerid": "a", name: value }).to_string()).await;
            let call = number.to_string();
            let told = fetch(&account, &call, "a").await.json();
            let expected: Vec<_> =
                told.as_object().unwrap().iter().map(|(name, value)| (in_xml(name), in_xml(value.as_str().unwrap()))).collect();
            assert_eq!(members_of(&shown(&account, &call, "xml").await), expected, "{name:?} {value:?}");
        }
        gateway.stop().await;
    });
}

#[test]
fn par_g7_the_rows_of_the_page_in_the_asked_language() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = a_berliner(&gateway).await;
        store(&account, r#"{"callid":"1","callerid":"a","x":"Grüße","o":{"k":[1]},"n":null}"#).await;
        let german = "Telefonnummer: a\nDatum: 27.02.2024 13:16:23\nInhalt: undefined\nAnruf-ID: 1\nParloa-ID: undefined\nx: Grüße\no: {\"k\":[1]}\nn: null\n";
        assert_eq!(shown(&account, "1", "text").await, german);
        let english = "Phone number: a\nDate: 2024-02-27T12:16:23.926Z\nContent: undefined\nCall ID: 1\nParloa-ID: undefined\nx: Grüße\no: {\"k\":[1]}\nn: null\n";
        assert_eq!(shown(&account, "1", "text&lang=en").await, english);
        gateway.stop().await;
    });
}

#[test]
fn par_g7_no_line_break_can_look_like_a_field() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = a_berliner(&gateway).await;
        for (number, line_break) in ["\n", "\r", "\r\n", "\n\n", "\n\r"].iter().enumerate() {
            let (name, value) = (format!("a{line_break}Anruf-ID"), format!("b{line_break}Anruf-ID: 2"));
            store(&account, &json!({ "callid": number, "callerid": "a", "content": value, name: value }).to_string()).await;
            let text = shown(&account, &number.to_string(), "text").await;
            assert!(!text.contains('\r'), "{text:?}");
            let fields: Vec<_> = text.lines().filter(|line| line.starts_with(|c: char| !c.is_whitespace())).collect();
            assert_eq!(fields.iter().filter(|line| line.starts_with("Anruf-ID")).count(), 1, "{text}");
            assert_eq!(fields.len(), 6, "{text}");
        }
        gateway.stop().await;
    });
}

async fn a_berliner(gateway: &Gateway) -> Account {
    gateway.add(Tenant { zone: Zone::parse("Europe/Berlin").unwrap(), ..a_tenant("c") }).await
}

/// The record of that call and caller `a`; `format` may bring more parameters along.
async fn shown(account: &Account, call: &str, format: &str) -> String {
    let answer = account.get(&format!("callid={}&caller=a&{ANY_AGE}&format={format}", encoded(call))).await;
    assert_eq!((answer.status, answer.header("x-calldata-reason")), (200, None));
    answer.text().to_owned()
}

/// Names and values that a careless writer would trip over.
fn hostile_members() -> Vec<(String, String)> {
    let controls: String = (0..=0x1f_u8).map(char::from).collect();
    let texts = [
        "",
        " ",
        "a b",
        "1a",
        "-",
        ".",
        ":",
        "a:b",
        "xmlns",
        "xml",
        "XmL1",
        "field",
        "callData",
        "é",
        "日本語",
        "😀",
        "<",
        ">",
        "&",
        "\"",
        "'",
        "]]>",
        "<!--",
        "-->",
        "<?x?>",
        "&#0;",
        "&amp;",
        "</callData>",
        "a=\"b\"",
        "\u{fffe}",
        "\u{ffff}",
        "\u{fffd}",
        "\u{7f}\u{80}\u{9f}",
        "\u{85}\u{2028}\u{2029}",
        "\u{feff}",
        "\u{202e}abc",
        "a\0b",
        "\t a \n",
        "\r",
        "\r\n",
        "a\u{300}",
        "\u{300}a",
        "\u{d7}",
        "\u{37e}",
        "\u{10ffff}",
        &controls,
    ];
    texts.iter().map(|text| ((*text).to_owned(), format!("{text}{text}"))).collect()
}
