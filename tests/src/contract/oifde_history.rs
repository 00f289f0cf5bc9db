//! `queryHistory`: what was said in a user's latest call (OIF-H1 to OIF-H6).

use std::sync::Arc;
use std::time::Duration;

use calldata_core::{Country, Details, Scopes, Tenant, Timestamp, Turn, Zone};
use calldata_http::Limits;
use calldata_testkit::builders::{DAY, a_clock, a_session, a_tenant, start};
use calldata_testkit::client::Answer;
use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};
use serde_json::{Value, json};

use super::oifde_query::{CALLER, begun_at, store};
use super::oifde_tokens::token;

const PATH: &str = "/oifde/rest/api/queryHistory";
const PARAMETER: i64 = 10_000_002;
const MEMBERS: [&str; 7] = ["rtnCode", "rtnMsg", "beans", "callId", "callSorId", "object", "bean"];

async fn ask(gateway: &Gateway, body: &str) -> Answer {
    gateway.client.request("POST", PATH, &[], body.as_bytes().to_vec()).await
}

async fn ask_with(gateway: &Gateway, tenant: &str, token: &str, user: &str) -> Answer {
    ask(gateway, &format!(r#"{{"tenantId":"{tenant}","params":{{"userMobile":"{user}"}},"authToken":"{token}"}}"#)).await
}

/// What a user's latest call is, and what was said in it.
async fn latest(account: &Account, user: &str) -> (String, Vec<String>) {
    let answer = account.latest_call(user).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["rtnCode"], &body["rtnMsg"]), (200, &0.into(), &"Success".into()), "{body}");
    assert_eq!(body["callSorId"], user);
    let said = body["beans"].as_array().unwrap().iter().map(|bean| bean["userSaying"].as_str().unwrap().to_owned());
    (body["callId"].as_str().unwrap().to_owned(), said.collect())
}

/// The code of a failure, whose answer has nothing in it.
fn failed(answer: &Answer) -> i64 {
    let body = answer.json();
    let (code, message) = (body["rtnCode"].as_i64().unwrap(), body["rtnMsg"].as_str().unwrap());
    assert!(code != 0 && !message.is_empty(), "{body}");
    let nothing =
        format!(r#"{{"rtnCode":{code},"rtnMsg":{},"beans":[],"callId":"","callSorId":"","object":null,"bean":null}}"#, json!(message));
    assert_eq!((answer.text(), answer.header("content-type")), (nothing.as_str(), Some("application/json;charset=UTF-8")));
    code
}

fn message(answer: &Answer) -> String {
    answer.json()["rtnMsg"].as_str().unwrap().to_owned()
}

/// The same session, in which this was said.
fn with(said: &[&str], details: Details) -> Details {
    let turns = said.iter().map(|said| Turn { user_text: (*said).to_owned(), ..Turn::default() }).collect();
    Details { turns, ..details }
}

fn after(seconds: u64) -> Timestamp {
    start().minus(Duration::from_secs(3_600)).plus(Duration::from_secs(seconds))
}

#[test]
fn oif_h1_tenant_and_token_are_in_the_body_and_the_user_is_in_params() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&gateway, &account.tenant, [("one", with(&["hi"], a_session("call", CALLER)))]).await;
        let (tenant, key) = (&account.tenant.oifde_id, &account.key);
        let token = token(&account).await;
        for token in [key, &token] {
            let answer = ask_with(&gateway, tenant, token, CALLER).await;
            assert_eq!(answer.json()["callId"], "call", "{}", answer.text());
        }
        let more = format!(
            r#"{{"colour":[1],"params":{{"userMobile":"x","callId":7,"userMobile":"{CALLER}"}},"tenantId":"{tenant}","authToken":"{key}","userMobile":5}}"#
        );
        assert_eq!(
            ask(&gateway, &more).await.json()["callId"],
            "call",
            "unknown members are ignored, of a name given twice the last counts"
        );
        for (params, about) in [
            ("", "params"),
            (r#""params":null,"#, "params"),
            (r#""params":"","#, "params"),
            (r#""params":"+4930123456","#, "params"),
            (r#""params":["+4930123456"],"#, "params"),
            (r#""params":{},"#, "userMobile"),
            (r#""params":{"userMobile":null},"#, "userMobile"),
            (r#""params":{"userMobile":""},"#, "userMobile"),
            (r#""params":{"userMobile":4930123456},"#, "userMobile"),
            (r#""params":{"usermobile":"+4930123456"},"#, "userMobile"),
            (r#""userMobile":"+4930123456","#, "params"),
        ] {
            let answer = ask(&gateway, &format!(r#"{{{params}"tenantId":"{tenant}","authToken":"{key}"}}"#)).await;
            assert_eq!((answer.status, failed(&answer)), (200, PARAMETER), "{params}");
            assert!(message(&answer).contains(about), "{params}: {}", message(&answer));
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_h1_who_may_not_read_gets_one_answer_before_the_parameters_are_looked_at() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, other) = (gateway.a_tenant("c").await, gateway.a_tenant("other").await);
        gateway.a_key(&account.tenant, "a-writing-secret", Scopes { write: true, ..Scopes::default() }).await;
        let (tenant, key) = (&account.tenant.oifde_id, &account.key);
        let (own, foreign) = (token(&account).await, token(&other).await);
        for wrong in ["nonsense", "cdt1.a.b", &foreign, &other.key, "a-writing-secret"] {
            let answer = ask(&gateway, &format!(r#"{{"tenantId":"{tenant}","params":7,"authToken":"{wrong}"}}"#)).await;
            assert_eq!((failed(&answer), message(&answer).as_str()), (900_002, "Token check failed"), "{wrong}");
        }
        assert_eq!(failed(&ask_with(&gateway, "nobody", &own, CALLER).await), 900_002);
        assert_eq!(failed(&ask(&gateway, &format!(r#"{{"tenantId":"{tenant}","params":7}}"#)).await), 900_001);
        let no_tenant = ask(&gateway, &format!(r#"{{"params":{{"userMobile":"{CALLER}"}},"authToken":"{key}"}}"#)).await;
        assert_eq!((failed(&no_tenant), message(&no_tenant).contains("tenantId")), (PARAMETER, true));
        gateway.clock.advance(Duration::from_secs(3_600));
        assert_eq!(failed(&ask_with(&gateway, tenant, &own, CALLER).await), 900_001, "the token has expired");
        // Failures of both queries add up, and a key that was right from here still is.
        assert_eq!(ask_with(&gateway, tenant, key, CALLER).await.json()["rtnCode"], 0);
        for attempt in 0..20 {
            assert_eq!(failed(&ask_with(&gateway, tenant, "wrong", CALLER).await), 900_002, "{attempt}");
        }
        assert_eq!(failed(&ask_with(&gateway, tenant, "wrong", CALLER).await), 200_800_003);
        assert_eq!(account.history_with("wrong", r#""callId":"1""#).await.json()["errorCode"], 200_800_003);
        assert_eq!(ask_with(&gateway, tenant, key, CALLER).await.json()["rtnCode"], 0);
        gateway.stop().await;
    });
}

#[test]
fn oif_h2_the_latest_call_is_that_of_the_newest_session_and_all_of_its_sessions_count() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, other) = (gateway.a_tenant("c").await, gateway.a_tenant("other").await);
        let sessions = [
            // Stored in another order than they began in.
            ("3", with(&["five", "six"], begun_at("late", CALLER, after(30)))),
            ("1", with(&["one"], begun_at("late", CALLER, after(10)))),
            ("5", with(&["four"], begun_at("late", CALLER, after(20)))),
            ("2", with(&["two", "three"], begun_at("late", CALLER, after(20)))),
            ("4", begun_at("late", CALLER, after(25))),
            ("9", with(&["another call"], begun_at("early", CALLER, after(29)))),
            ("8", with(&["another user"], begun_at("late", "+4940999999", after(40)))),
        ];
        store(&gateway, &account.tenant, sessions).await;
        store(&gateway, &other.tenant, [("z", with(&["another tenant"], begun_at("newest", CALLER, after(50))))]).await;
        let expected = ("late".to_owned(), ["one", "two", "three", "four", "five", "six"].map(str::to_owned).to_vec());
        assert_eq!(latest(&account, CALLER).await, expected);
        assert_eq!(latest(&account, "+4940999999").await, ("late".to_owned(), vec!["another user".to_owned()]));
        assert_eq!(latest(&other, CALLER).await.0, "newest");
        // The same start: the identifier decides.
        let tie =
            [("a", with(&["first"], begun_at("tie-a", CALLER, after(60)))), ("b", with(&["second"], begun_at("tie-b", CALLER, after(60))))];
        store(&gateway, &account.tenant, tie).await;
        assert_eq!(latest(&account, CALLER).await, ("tie-b".to_owned(), vec!["second".to_owned()]));
        gateway.stop().await;
    });
}

#[test]
fn oif_h2_a_call_of_many_sessions_is_told_whole_and_without_an_end_from_the_newest() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let numbers: Vec<_> = (0..1_150).map(|number| format!("{number:04}")).collect();
        let session = |call: &str, at: usize| with(&[&numbers[at]], begun_at(call, CALLER, after(at as u64 / 7)));
        for (call, count) in [("long", 250), ("longer", numbers.len())] {
            let ids: Vec<_> = numbers[..count].iter().map(|number| format!("{call}-{number}")).collect();
            store(&gateway, &account.tenant, ids.iter().enumerate().map(|(at, id)| (id.as_str(), session(call, at)))).await;
            let (latest, said) = latest(&account, CALLER).await;
            assert_eq!((latest.as_str(), &said[..]), (call, &numbers[count.saturating_sub(1_000)..count]));
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_h2_users_are_compared_as_phone_numbers() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let swiss = gateway.add(Tenant { default_country: Country::parse("+41").unwrap(), ..a_tenant("ch") }).await;
        let posted = swiss.post(r#"{"callid":"call","callerid":"044 123 45 67","turns":[{"userText":"hi"},{"userText":"bye"}]}"#).await;
        assert_eq!(posted.json()["choice"], "success");
        for user in ["0441234567", "+41 44 123 45 67", "0041441234567", "044 123 45 67"] {
            // The answer has the user as asked for (OIF-H3).
            assert_eq!(latest(&swiss, user).await, ("call".to_owned(), vec!["hi".to_owned(), "bye".to_owned()]), "{user}");
        }
        assert_eq!(latest(&swiss, "0301234567").await, (String::new(), vec![]));
        gateway.stop().await;
    });
}

#[test]
fn oif_h2_what_has_expired_is_no_call() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let posting = async |call: &str, said: &str| {
            let posted = account.post(&format!(r#"{{"callid":"{call}","callerid":"{CALLER}","turns":[{{"userText":"{said}"}}]}}"#)).await;
            assert_eq!(posted.json()["choice"], "success");
        };
        posting("call", "old").await;
        gateway.clock.advance(DAY * 20);
        posting("call", "new").await;
        assert_eq!(latest(&account, CALLER).await, ("call".to_owned(), vec!["old".to_owned(), "new".to_owned()]));
        gateway.clock.advance(DAY * 10);
        assert_eq!(latest(&account, CALLER).await, ("call".to_owned(), vec!["new".to_owned()]));
        gateway.clock.advance(DAY * 20);
        assert_eq!(latest(&account, CALLER).await, (String::new(), vec![]));
        gateway.stop().await;
    });
}

#[test]
fn oif_h3_every_member_is_in_every_answer() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        store(&gateway, &account.tenant, [("one", with(&["hi"], a_session("call", CALLER)))]).await;
        let answers = [account.latest_call(CALLER).await, account.latest_call("nobody").await, ask(&gateway, "nonsense").await];
        for answer in answers {
            let body = answer.json();
            assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), MEMBERS, "{body}");
            assert!(body["rtnCode"].is_i64() && body["rtnMsg"].is_string() && body["beans"].is_array(), "{body}");
            assert!(body["callId"].is_string() && body["callSorId"].is_string(), "{body}");
            assert_eq!((&body["object"], &body["bean"]), (&Value::Null, &Value::Null));
            assert_eq!(answer.header("content-type"), Some("application/json;charset=UTF-8"));
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_h4_the_members_of_an_exchange_are_texts_and_times_are_local_to_the_tenant() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, chinese) =
            (gateway.a_tenant("c").await, Tenant { oifde_zone: Zone::parse("Asia/Shanghai").unwrap(), ..a_tenant("cn") });
        let chinese = gateway.add(chinese).await;
        let turns = json!([
            { "no": "1", "userText": "hi", "intent": "greet", "reply": "hello", "requestedAt": "2019-04-25T09:42:09.25Z", "repliedAt": "2019-04-25T09:42:10Z",
              "by": "agent", "mode": "monitoring" },
            { "no": 2 },
        ]);
        for (account, times) in [
            (&account, ["2019-04-25 09:42:10.0", "2019-04-25 09:42:09.25"]),
            (&chinese, ["2019-04-25 17:42:10.0", "2019-04-25 17:42:09.25"]),
        ] {
            account.post(&json!({ "callid": "call", "callerid": CALLER, "turns": turns }).to_string()).await;
            let beans = json!([
                { "interNo": "1", "userSaying": "hi", "intention": "greet", "systemReply": "hello", "type": "", "timestamp": times[0],
                  "requsetTime": times[1], "responseSource": "1", "involveMode": "1" },
                { "interNo": "2", "userSaying": "", "intention": "", "systemReply": "", "type": "", "timestamp": "", "requsetTime": "",
                  "responseSource": "0", "involveMode": "0" },
            ]);
            let expected = format!(
                r#"{{"rtnCode":0,"rtnMsg":"Success","beans":{beans},"callId":"call","callSorId":"{CALLER}","object":null,"bean":null}}"#
            );
            assert_eq!(account.latest_call(CALLER).await.text(), expected);
        }
        gateway.stop().await;
    });
}

#[test]
fn oif_h5_a_user_without_a_call_is_a_success_without_anything_in_it() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let nothing = |user: &str| {
            let user = json!(user);
            format!(r#"{{"rtnCode":0,"rtnMsg":"Success","beans":[],"callId":"","callSorId":{user},"object":null,"bean":null}}"#)
        };
        for user in ["+49301", " ", "nobody", "a\u{0}b", "\"<b>"] {
            let body = json!({ "tenantId": account.tenant.oifde_id, "authToken": account.key, "params": { "userMobile": user } });
            assert_eq!(ask(&gateway, &body.to_string()).await.text(), nothing(user), "{user:?}");
        }
        // A call in which nothing was said is a call.
        account.post(&format!(r#"{{"callid":"silent","callerid":"{CALLER}","content":"x"}}"#)).await;
        assert_eq!(latest(&account, CALLER).await, ("silent".to_owned(), vec![]));
        gateway.stop().await;
    });
}

#[test]
fn oif_h6_errors_have_the_codes_of_the_dialect() {
    on_every_engine(async |database| {
        let limits = Limits { body_bytes: 1_000, ..Limits::default() };
        let gateway = Gateway::start_with(database.database().clone(), Arc::new(a_clock()), limits).await;
        let account = gateway.a_tenant("c").await;
        let good = format!(r#"{{"tenantId":"oifde-c","params":{{"userMobile":"{CALLER}"}},"authToken":"{}"}}"#, account.key);
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = gateway.client.request(method, PATH, &[], good.clone().into_bytes()).await;
            assert_eq!((answer.status, failed(&answer), message(&answer).contains("method")), (200, PARAMETER, true), "{method}");
        }
        for body in ["", "nonsense", "[]", "7", r#"{"tenantId":"#, &format!("{good}{}", " ".repeat(1_000))] {
            let answer = ask(&gateway, body).await;
            assert_eq!((answer.status, failed(&answer), message(&answer).contains("body")), (200, PARAMETER, true), "{body}");
        }
        assert_eq!(ask(&gateway, &good).await.json()["rtnCode"], 0);
        database.execute("ALTER TABLE session RENAME TO elsewhere").await;
        let broken = ask(&gateway, &good).await;
        assert_eq!((broken.status, failed(&broken), message(&broken).as_str()), (200, 10_000_001, "Internal error"));
        gateway.stop().await;
    });
}

#[test]
fn oif_h6_who_cannot_be_answered_in_time_is_told_to_come_again() {
    on_every_engine(async |database| {
        let limits = Limits { deadline: Duration::ZERO, ..Limits::default() };
        let gateway = Gateway::start_with(database.database().clone(), Arc::new(a_clock()), limits).await;
        let account = gateway.a_tenant("c").await;
        let answer = account.latest_call(CALLER).await;
        assert_eq!((answer.status, answer.header("retry-after"), failed(&answer)), (503, Some("1"), 10_000_001));
        gateway.stop().await;
    });
}
