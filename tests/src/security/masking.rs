//! What a tenant has masked is told to nobody after its time but to keys that may see it, in no dialect and no format.

use std::time::Duration;

use calldata_core::{Country, DirectoryStore, Masking, Scopes, Tenant};
use calldata_interchange::SessionDocument;
use calldata_testkit::builders::a_tenant;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use calldata_testkit::program::eventually;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::examples::examples;

/// Examples on each engine.
const EXAMPLES: usize = 60;
const A_MOMENT: Duration = Duration::from_millis(1);

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn masked_by(after_minutes: u32, names: &[&str], client_id: &str) -> Tenant {
    let masking = Masking::new(after_minutes, names.iter().map(|name| (*name).to_owned()).collect()).unwrap();
    Tenant { masking: Some(masking), ..a_tenant(client_id) }
}

fn with_key(account: &Account, key: String) -> Account {
    let mut account = account.clone();
    account.key = key;
    account
}

/// The same tenant with a key that may see what is masked.
async fn unmasked(gateway: &Gateway, account: &Account) -> Account {
    let key = format!("unmasked-of-{}", account.tenant.client_id);
    gateway.a_key(&account.tenant, &key, Scopes { unmasked: true, ..Scopes::READ }).await;
    with_key(account, key)
}

async fn post(account: &Account, input: &Value) {
    assert_eq!(account.post(&input.to_string()).await.json()["choice"], "success");
}

/// Loads a record of another system.
async fn import_record(gateway: &Gateway, account: &Account, record: &Value) {
    let record = serde_json::value::to_raw_value(record).unwrap();
    let session = oifde_api::import::session_of(&record, Country::GERMANY).unwrap();
    assert!(gateway.sessions().import(&account.tenant, vec![session]).await.iter().all(Result::is_ok));
}

/// Loads a session in its native shape.
async fn import_session(gateway: &Gateway, account: &Account, session: &Value) {
    let session = SessionDocument::parse(&session.to_string()).and_then(|document| document.into_session(Country::GERMANY)).unwrap();
    assert!(gateway.sessions().import(&account.tenant, vec![session]).await.iter().all(Result::is_ok));
}

async fn fetched(account: &Account) -> Value {
    account.get("callid=call&caller=u&timeLimit=999999999").await.json()
}

async fn record(account: &Account) -> Value {
    let answer = account.history(r#""callId":"call""#).await.json();
    assert_eq!(answer["total"], 1, "{answer}");
    answer["recordList"][0].clone()
}

/// Everything that is told of the call, by the way in which it is told.
async fn renderings(account: &Account) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    for format in ["json", "xml", "html", "text"] {
        let answer = account.get(&format!("callid=call&caller=u&timeLimit=999999999&format={format}")).await;
        told.push((format, answer.text().to_owned()));
    }
    told.push(("queryRecordHistory", record(account).await.to_string()));
    told.push(("queryHistory", account.latest_call("u").await.text().to_owned()));
    told
}

fn a_post() -> Value {
    json!({
        "callid": "call", "callerid": "u", "content": "learned", "conversationid": "talk", "topic": "invoice", "iban": { "number": "DE00" },
        "intent": "pay", "turns": [{ "userText": "hi", "intent": "greet", "reply": "hello", "extra": "more" }, { "no": "2" }],
        "qaRecords": [{ "question": "sure?", "intent": "yes", "original": "yes please" }],
    })
}

#[test]
fn what_a_bot_posted_is_told_as_posted_until_its_time_and_masked_from_then_on() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let names = ["content", "turns", "answers", "intent", "iban", "recording", "businessInfo"];
        let account = gateway.add(masked_by(30, &names, "c")).await;
        let (seeing, other) = (unmasked(&gateway, &account).await, gateway.a_tenant("other").await);
        for account in [&account, &other] {
            post(account, &a_post()).await;
        }
        let (as_posted, as_record) = (renderings(&other).await, record(&other).await);
        // The name of the tenant is the only difference.
        let like_other = |told: Vec<(&'static str, String)>| -> Vec<_> {
            told.into_iter()
                .map(|(way, text)| (way, text.replace("oifde-c", "oifde-other").replace(as_id(&text), as_id(&as_posted[4].1))))
                .collect()
        };
        assert_eq!(like_other(renderings(&account).await), as_posted);
        gateway.clock.advance(minutes(30).saturating_sub(A_MOMENT));
        assert_eq!(like_other(renderings(&account).await), as_posted);
        gateway.clock.advance(A_MOMENT);

        let masked = fetched(&account).await;
        let expected = json!({
            "caller": "u", "callid": "call", "timestamp": masked["timestamp"], "content": "***", "conversationid": "talk", "topic": "invoice",
            "iban": "***", "intent": "***", "turns": "***", "qaRecords": "***",
        });
        assert_eq!(masked, expected);
        let told = record(&account).await;
        let mut expected = as_record.clone();
        expected["logId"] = told["logId"].clone();
        expected["tenantId"] = "oifde-c".into();
        expected["callData"] = r#"{"content":"***","topic":"invoice","iban":"***","intent":"***"}"#.into();
        let turn = &mut expected["recordDetials"][0];
        (turn["userSaying"], turn["intention"], turn["systemReply"]) = ("***".into(), "***".into(), "***".into());
        let answer = &mut expected["qaRecords"][0];
        (answer["answerIntent"], answer["originalAnswer"]) = ("***".into(), "***".into());
        assert_eq!(told, expected);
        let beans = account.latest_call("u").await.json()["beans"].clone();
        assert_eq!([&beans[0]["userSaying"], &beans[0]["intention"], &beans[0]["systemReply"]], ["***"; 3]);
        assert_eq!([&beans[1]["userSaying"], &beans[1]["interNo"]], ["", "2"], "what is empty stays so");

        assert_eq!(like_other(renderings(&seeing).await), as_posted, "a key that may see it");
        let token = seeing.gettoken(&seeing.key).await.json()["authToken"].as_str().unwrap().to_owned();
        assert_eq!(record(&with_key(&account, token)).await["callData"], as_record["callData"], "a token of such a key");
        assert_eq!(renderings(&other).await, as_posted, "another tenant");
        gateway.stop().await;
    });
}

/// The identifier that the gateway made up, in a record.
fn as_id(text: &str) -> &str {
    text.split("\"logId\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("there is none")
}

#[test]
fn what_was_imported_is_masked_likewise() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let names = ["content", "turns", "answers", "intent", "businessInfo", "recording"];
        let account = gateway.add(masked_by(1, &names, "c")).await;
        let seeing = unmasked(&gateway, &account).await;
        let imported = json!({
            "logId": "log", "tenantId": "oifde-c", "callSorId": "u", "callId": "call", "ctiCallId": "cti", "callingNumber": "u",
            "calledNumber": "8991", "startTime": 1_618_558_942_001_i64, "endTime": 2, "lastUpdateTime": 3, "flowInstId": "flow",
            "dialogType": "1", "callData": "{\"intent\":\"pay\"}", "locationId": 3, "flag": "0", "businessInfo": { "z": [1] },
            "businessInfoStr": "{\"recordFileName\":\"Y:/f.wav\",\"more\":1}",
            "recordDetials": [{ "interNo": "1", "userSaying": "Hi", "intention": "greet", "systemReply": "Hello", "timestamp": 5, "requsetTime": 4,
                "responseSource": 0, "involveMode": 0 }],
            "qaRecords": [{ "interNo": "1", "questionTitle": "Well?", "answerIntent": "Yes.", "originalAnswer": "Sure." }],
        });
        import_record(&gateway, &account, &imported).await;
        assert_eq!(record(&account).await, imported);
        let before = fetched(&account).await;
        assert_eq!((&before["content"], &before["intent"]), (&r#"{"intent":"pay"}"#.into(), &"greet".into()));
        gateway.clock.advance(minutes(1));
        let mut expected = imported.clone();
        expected["callData"] = "***".into();
        expected["businessInfo"] = "***".into();
        expected["businessInfoStr"] = "".into();
        let turn = &mut expected["recordDetials"][0];
        (turn["userSaying"], turn["intention"], turn["systemReply"]) = ("***".into(), "***".into(), "***".into());
        let answer = &mut expected["qaRecords"][0];
        (answer["answerIntent"], answer["originalAnswer"]) = ("***".into(), "***".into());
        assert_eq!(record(&account).await, expected);
        let after = fetched(&account).await;
        assert_eq!((&after["content"], &after["intent"], &after["conversationid"]), (&"***".into(), &"***".into(), &"flow".into()));
        assert_eq!((record(&seeing).await, fetched(&seeing).await), (imported, before));
        gateway.stop().await;
    });
}

#[test]
fn the_minutes_are_counted_from_the_first_receipt_and_may_be_none() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.add(masked_by(5, &["content"], "c")).await;
        let at_once = gateway.add(masked_by(0, &["content"], "d")).await;
        post(&account, &a_post()).await;
        gateway.clock.advance(minutes(4));
        post(&account, &a_post()).await;
        assert_eq!(fetched(&account).await["content"], "learned");
        gateway.clock.advance(minutes(1));
        assert_eq!(fetched(&account).await["content"], "***", "that it was posted again does not bring it back");
        post(&at_once, &a_post()).await;
        assert_eq!(fetched(&at_once).await["content"], "***");
        let waiting = {
            let at_once = at_once.clone();
            tokio::spawn(async move { at_once.get("callid=later&caller=u&wait=30").await.json() })
        };
        let mut later = a_post();
        later["callid"] = "later".into();
        post(&at_once, &later).await;
        assert_eq!(waiting.await.unwrap()["content"], "***", "whoever waited for it is told no more");
        gateway.stop().await;
    });
}

#[test]
fn a_change_of_what_is_masked_counts_at_once_also_for_what_is_stored() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        post(&account, &a_post()).await;
        assert_eq!(fetched(&account).await["content"], "learned");
        for (name, content, topic) in [(Some("content"), "***", "invoice"), (Some("*"), "learned", "***"), (None, "learned", "invoice")] {
            let masking = name.and_then(|name| masked_by(0, &[name], "c").masking);
            let changed = Tenant { masking, ..account.tenant.clone() };
            gateway.database().update_tenant(&changed).await.unwrap();
            let told = async || {
                let told = fetched(&account).await;
                (told["content"].clone(), told["topic"].clone()) == (content.into(), topic.into())
            };
            eventually("the change is felt", Duration::from_secs(10), told).await;
        }
        gateway.stop().await;
    });
}

/// Who delivered a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Posted,
    AsRecord,
    Natively,
}

/// Everything that can be masked holds one of these, and nothing else does.
const TEXTS: [&str; 12] =
    ["qcontentq", "qtopicq", "qnestedq", "qintentq", "qsaidq", "qwishq", "qreplyq", "qmeantq", "qansweredq", "qctiq", "qinfoq", "qfileq"];
const NAMES: [&str; 10] = ["content", "turns", "answers", "intent", "businessInfo", "recording", "topic", "order", "ctiCallId", "*"];

/// Whether a text is hidden by one of these names, told in this way.
fn is_hidden(text: &str, names: &[&str], came: Came, way: &str) -> bool {
    let posted = came == Came::Posted;
    let by = |name: &str, is_a_field: bool| names.contains(&name) || (is_a_field && names.contains(&"*"));
    match text {
        "qcontentq" => by("content", false),
        "qtopicq" => by("topic", true),
        "qnestedq" => by("order", true),
        "qintentq" => by("intent", posted),
        // In a fetch it stands in for the intent of a record.
        "qwishq" if came == Came::AsRecord && !way.starts_with("query") => by("turns", false) || by("intent", false),
        "qsaidq" | "qwishq" | "qreplyq" => by("turns", posted),
        "qmeantq" | "qansweredq" => by("answers", posted),
        // Only a bot tells it in a field.
        "qctiq" => by("ctiCallId", posted),
        "qinfoq" => by("businessInfo", false),
        "qfileq" => by("recording", false),
        _ => unreachable!("{text}"),
    }
}

async fn deliver(gateway: &Gateway, account: &Account, came: Came) {
    let [content, topic, nested, intent, said, wish, reply, meant, answered, cti, info, file] = TEXTS;
    let order = json!({ "lines": [{ "note": nested }] });
    let (turn, answer) = (json!({ "userText": said, "intent": wish, "reply": reply }), json!({ "intent": meant, "original": answered }));
    match came {
        Came::Posted => {
            let input = json!({
                "callid": "call", "callerid": "u", "content": { "text": content }, "topic": topic, "order": order, "intent": intent,
                // As a bot may send it: the text of an array.
                "turns": json!([turn]).to_string(), "qaRecords": [answer], "cticallid": cti, "ctiCallId": cti,
            });
            post(account, &input).await;
        }
        Came::AsRecord => {
            let record = json!({
                "logId": "log", "callSorId": "u", "callId": "call", "ctiCallId": cti, "callData": content, "businessInfo": [info],
                "businessInfoStr": json!({ "yugaoFileName": file, "locationId": "3", "recordFileName": file }).to_string(),
                "recordDetials": [{ "userSaying": said, "intention": wish, "systemReply": reply }],
                "qaRecords": [{ "answerIntent": meant, "originalAnswer": answered }],
            });
            import_record(gateway, account, &record).await;
        }
        Came::Natively => {
            let session = json!({
                "callId": "call", "caller": "u", "ctiCallId": cti, "content": [content], "fields": { "topic": topic, "order": order },
                "intent": intent, "turns": [turn], "answers": [answer], "businessInfo": info, "recording": { "file": file, "announcementFile": file },
            });
            import_session(gateway, account, &session).await;
        }
    }
}

#[test]
fn nothing_that_is_masked_is_in_any_answer_and_everything_else_is_where_it_was() {
    let came = prop::sample::select(vec![Came::Posted, Came::AsRecord, Came::Natively]);
    let cases = examples(&(came, prop::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len())), EXAMPLES);
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let mut accounts = Vec::new();
        for (number, (_, names)) in cases.iter().enumerate() {
            let account = gateway.add(masked_by(10, names, &format!("tenant-{number}"))).await;
            let seeing = unmasked(&gateway, &account).await;
            accounts.push((account, seeing));
        }
        for ((account, _), (came, _)) in accounts.iter().zip(&cases) {
            deliver(&gateway, account, *came).await;
        }
        gateway.clock.advance(minutes(10));
        let mut hidden = 0;
        for ((account, seeing), (came, names)) in accounts.iter().zip(&cases) {
            let (told, all) = (renderings(account).await, renderings(seeing).await);
            for ((way, told), (_, all)) in told.iter().zip(&all) {
                for text in TEXTS {
                    let expected = all.contains(text) && !is_hidden(text, names, *came, way);
                    assert_eq!(told.contains(text), expected, "{came:?} {names:?} {way} {text}: {told}");
                    hidden += usize::from(all.contains(text) && !expected);
                }
            }
        }
        assert!(hidden > EXAMPLES, "something was masked: {hidden}");
        gateway.stop().await;
    });
}

#[test]
fn a_repeated_request_of_who_may_only_write_is_answered_with_the_mask_as_well() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.add(masked_by(0, &["content"], "c")).await;
        gateway.a_key(&account.tenant, "only-to-write-keys", Scopes { write: true, ..Scopes::default() }).await;
        let writer = with_key(&account, "only-to-write-keys".to_owned());
        let session = r#"{"callId":"c","caller":"110","content":"secret"}"#;
        let post = async || writer.native_with("POST", "/sessions", &[("Idempotency-Key", "k")], session).await.text().to_owned();
        let (first, again) = (post().await, post().await);
        assert!(first.contains("***") && !first.contains("secret"), "{first}");
        assert_eq!(first, again);
        gateway.stop().await;
    });
}

#[test]
fn what_is_masked_cannot_be_guessed_by_tags_pages_or_events() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.add(masked_by(5, &["content", "intent"], "c")).await;
        let stored =
            account.native("POST", "/sessions", r#"{"id":"s","callId":"c","caller":"110","content":"secret","intent":"divorce"}"#).await;
        let before = stored.header("etag").unwrap().to_owned();
        gateway.clock.advance(minutes(5));
        let put = async |tag: &str| {
            account.native_with("PUT", "/sessions/s", &[("if-match", tag)], r#"{"callId":"c","caller":"110"}"#).await.status
        };
        let shown = account.native("GET", "/sessions/s", "").await;
        assert_eq!(shown.json()["content"], "***");
        assert_eq!((put(&before).await, put(shown.header("etag").unwrap()).await), (412, 403), "the tag of what was stored tells nothing");
        let of_intent = |page: serde_json::Value| (page["items"].as_array().map(Vec::len), page["next"].is_string());
        let mut answers = Vec::new();
        for guess in ["divorce", "wedding"] {
            let own = format!(r#"{{"callId":"p-{guess}","caller":"112","intent":"{guess}","startedAt":"2030-01-01T00:00:00Z"}}"#);
            account.native("POST", "/sessions", &own).await;
            for list in ["sessions", "calls"] {
                answers.push(of_intent(account.native("GET", &format!("/{list}?limit=1&intent={guess}"), "").await.json()));
            }
        }
        assert_eq!(answers[..2], answers[2..]);
        for guess in ["intent=divorce", "ctiCallId=guessed"] {
            assert_eq!(
                account.native("GET", &format!("/sessions?count=true&{guess}"), "").await.status,
                400,
                "how many there are would tell"
            );
        }
        gateway.stop().await;
    });
}
