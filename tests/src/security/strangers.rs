//! Three tenants that use the same identifiers for everything, and what each of them asks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use calldata_core::key::{AccessKey, SecretHash};
use calldata_core::{Country, DirectoryStore, KeyId, NewSession, Tenant};
use calldata_interchange::SessionDocument;
use calldata_testkit::builders::a_key;
use calldata_testkit::client::Answer;
use calldata_testkit::gateway::{Account, Gateway};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Their client ids. Everything that is a tenant's own has its name in it: content, secrets, identifiers that it alone uses.
pub(super) const NAMES: [&str; 3] = ["quokka", "heron", "lynx"];
/// A secret that each of them has a key for.
const COMMON_SECRET: &str = "a-secret-that-all-of-them-chose";
/// Callers that all of them know.
const CALLERS: [&str; 4] = ["+49301234567", "030 1234567", "180****9999", "user-7"];

/// Where a Parloa client puts its key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Header,
    Bearer,
    Basic,
    Url,
}

/// With what a request proves who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof {
    OwnKey,
    CommonKey,
    /// Only where the dialect has tokens, elsewhere the key.
    Token,
}

/// An identifier: one that all of them use, or one that only that tenant uses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Common(u8),
    OnlyOf(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Call,
    User,
    CtiCall,
    CallAndUser,
}

/// What a tenant does.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Post { call: u8, caller: usize, own: bool, same_again: bool },
    BadPost,
    ImportRecord { log: u8, call: u8, caller: usize, own: bool },
    ImportSession { log: u8, call: u8, caller: usize },
    Fetch { call: Which, caller: usize, format: &'static str, within_s: &'static str },
    History { by: By, which: Which, caller: usize, page_size: u8 },
    LatestCall { caller: usize },
    GetToken,
}

/// One request of one tenant.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) tenant: usize,
    pub(super) place: Place,
    pub(super) proof: Proof,
    pub(super) operation: Operation,
}

pub(super) fn a_request() -> impl Strategy<Value = Request> {
    let tenant = 0..NAMES.len();
    let place = prop_oneof![Just(Place::Header), Just(Place::Bearer), Just(Place::Basic), Just(Place::Url)];
    let proof = prop_oneof![Just(Proof::OwnKey), Just(Proof::CommonKey), Just(Proof::Token)];
    (tenant, place, proof, an_operation()).prop_map(|(tenant, place, proof, operation)| Request { tenant, place, proof, operation })
}

fn an_operation() -> impl Strategy<Value = Operation> {
    let which = || prop_oneof![3 => (0..2_u8).prop_map(Which::Common), 1 => (0..NAMES.len()).prop_map(Which::OnlyOf)];
    let caller = || 0..CALLERS.len();
    let format = prop::sample::select(vec!["json", "xml", "html", "text", "HTML&lang=en", "nonsense"]);
    let within_s = prop::sample::select(vec!["0", "60", "99999999", "x"]);
    let by = prop_oneof![Just(By::Call), Just(By::User), Just(By::CtiCall), Just(By::CallAndUser)];
    prop_oneof![
        5 => (0..2_u8, caller(), any::<bool>(), any::<bool>())
            .prop_map(|(call, caller, own, same_again)| Operation::Post { call, caller, own, same_again }),
        1 => Just(Operation::BadPost),
        3 => (0..2_u8, 0..2_u8, caller(), any::<bool>()).prop_map(|(log, call, caller, own)| Operation::ImportRecord { log, call, caller, own }),
        2 => (0..2_u8, 0..2_u8, caller()).prop_map(|(log, call, caller)| Operation::ImportSession { log, call, caller }),
        5 => (which(), caller(), format, within_s).prop_map(|(call, caller, format, within_s)| Operation::Fetch { call, caller, format, within_s }),
        5 => (by, which(), caller(), prop::sample::select(vec![5, 20, 100]))
            .prop_map(|(by, which, caller, page_size)| Operation::History { by, which, caller, page_size }),
        2 => caller().prop_map(|caller| Operation::LatestCall { caller }),
        1 => Just(Operation::GetToken),
    ]
}

/// The tenant of that name, with a key of its own and one whose secret the others chose as well.
pub(super) async fn move_in(gateway: &Gateway, name: &str) -> Account {
    let account = gateway.a_tenant(name).await;
    let id = KeyId::new(&format!("k-common-{name}")).unwrap();
    let key = AccessKey { id, hash: SecretHash::of(COMMON_SECRET), ..a_key(&account.tenant, "common") };
    gateway.database().create_key(&key).await.unwrap();
    account
}

/// How a request names its tenant and proves to be it; for an impostor the two do not belong together.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) tenant: Tenant,
    pub(super) secret: String,
    pub(super) token: String,
}

impl Claim {
    /// The claim of a tenant that is who it says.
    pub(super) async fn honest(account: &Account, proof: Proof) -> Self {
        let secret = match proof {
            Proof::CommonKey => COMMON_SECRET.to_owned(),
            Proof::OwnKey | Proof::Token => account.key.clone(),
        };
        let token = match proof {
            Proof::Token => token_of(account).await,
            Proof::OwnKey | Proof::CommonKey => secret.clone(),
        };
        Self { tenant: account.tenant.clone(), secret, token }
    }
}

/// A token for a tenant's own key.
pub(super) async fn token_of(account: &Account) -> String {
    account.gettoken(&account.key).await.json()["authToken"].as_str().expect("a token").to_owned()
}

/// Makes a request over HTTP, or loads what `import` loads; `round` keeps the identifiers of rounds apart.
pub(super) async fn perform(gateway: &Gateway, claim: &Claim, round: usize, request: &Request) -> Option<Answer> {
    let name = &claim.tenant.client_id;
    let id = |kind: &str, which: Which| match which {
        Which::Common(number) => format!("{kind}-{round}-{number}"),
        Which::OnlyOf(tenant) => format!("{kind}-{round}-{}", NAMES[tenant]),
    };
    let mine = |own: bool, number: u8| {
        if own { NAMES.iter().position(|n| n == name).map_or(Which::Common(number), Which::OnlyOf) } else { Which::Common(number) }
    };
    match request.operation {
        Operation::Post { call, caller, own, same_again } => {
            let content = if same_again { format!("the same of {name}") } else { format!("{name} at {:?}", gateway.sessions().now()) };
            let input = json!({
                "callid": id("call", mine(own, call)), "callerid": CALLERS[caller], "content": content, "cticallid": id("cti", Which::Common(call)),
                "conversationid": id("conversation", Which::Common(call)), "noted": format!("by {name}"), "turns": [{ "userText": format!("{name} said") }],
            });
            Some(parloa(gateway, claim, request.place, "POST", "", json!({ "input": input }).to_string()).await)
        }
        Operation::BadPost => Some(parloa(gateway, claim, request.place, "POST", "", r#"{"input":{"callid":1}}"#.to_owned()).await),
        Operation::ImportRecord { log, call, caller, own } => {
            let record = json!({
                "logId": id("log", mine(own, log)), "callId": id("call", Which::Common(call)), "callSorId": CALLERS[caller], "ctiCallId": id("cti", Which::Common(call)),
                "callData": format!("data of {name}"), "startTime": 1_650_774_697_000_i64, "flag": name, "flowInstId": id("conversation", Which::Common(call)),
                "recordDetials": [{ "interNo": "1", "userSaying": format!("{name} said") }], "qaRecords": [{ "originalAnswer": name }],
            });
            let record = serde_json::value::to_raw_value(&record).unwrap();
            import(gateway, claim, oifde_api::import::session_of(&record, Country::GERMANY).unwrap()).await;
            None
        }
        Operation::ImportSession { log, call, caller } => {
            let session = json!({
                "id": id("log", Which::Common(log)), "callId": id("call", Which::Common(call)), "caller": CALLERS[caller], "content": format!("session of {name}"),
                "fields": { "whose": name }, "ctiCallId": id("cti", Which::Common(call)), "source": "native",
            });
            let session =
                SessionDocument::parse(&session.to_string()).and_then(|document| document.into_session(Country::GERMANY)).unwrap();
            import(gateway, claim, session).await;
            None
        }
        Operation::Fetch { call, caller, format, within_s } => {
            let caller = CALLERS[caller].replace('+', "%2B").replace(' ', "%20");
            let query = format!("&callid={}&caller={caller}&timeLimit={within_s}&format={format}", id("call", call));
            Some(parloa(gateway, claim, request.place, "GET", &query, String::new()).await)
        }
        Operation::History { by, which, caller, page_size } => {
            let mut body = json!({ "tenantId": claim.tenant.oifde_id, "authToken": claim.token, "pageSize": page_size.to_string() });
            let (call, user, cti) = (id("call", which), CALLERS[caller], id("cti", which));
            match by {
                By::Call => body["callId"] = call.into(),
                By::User => body["userMobile"] = user.into(),
                By::CtiCall => body["ctiCallId"] = cti.into(),
                By::CallAndUser => (body["callId"], body["userMobile"]) = (call.into(), user.into()),
            }
            Some(oifde(gateway, "queryRecordHistory", &body).await)
        }
        Operation::LatestCall { caller } => {
            let params = json!({ "userMobile": CALLERS[caller] });
            Some(
                oifde(gateway, "queryHistory", &json!({ "tenantId": claim.tenant.oifde_id, "params": params, "authToken": claim.token }))
                    .await,
            )
        }
        Operation::GetToken => {
            Some(oifde(gateway, "gettoken", &json!({ "appKey": claim.tenant.oifde_id, "appSecret": claim.secret })).await)
        }
    }
}

async fn import(gateway: &Gateway, claim: &Claim, session: NewSession) {
    let stored = gateway.sessions().import(&claim.tenant, vec![session]).await;
    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
}

async fn oifde(gateway: &Gateway, operation: &str, body: &Value) -> Answer {
    gateway.client.request("POST", &format!("/oifde/rest/api/{operation}"), &[], body.to_string().into_bytes()).await
}

async fn parloa(gateway: &Gateway, claim: &Claim, place: Place, method: &str, query: &str, body: String) -> Answer {
    let (name, secret) = (&claim.tenant.client_id, &claim.secret);
    let (code, header) = match place {
        Place::Url => (format!("&code={secret}"), None),
        Place::Header => (String::new(), Some(("x-functions-key", secret.clone()))),
        Place::Bearer => (String::new(), Some(("authorization", format!("Bearer {secret}")))),
        Place::Basic => (String::new(), Some(("authorization", format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))))),
    };
    let headers: Vec<_> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
    gateway.client.request(method, &format!("/api/CallData?clientId={name}{code}{query}"), &headers, body.into_bytes()).await
}
