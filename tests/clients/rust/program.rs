//! Stores, fetches and pages with a client that oas3-gen makes. Run by scripts/clients.

mod clients;

use anyhow::{Context as _, Result, bail, ensure};
use clients::{oifde, parloa};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let [url, key, client_id, tenant_id] =
        ["URL", "KEY", "CLIENT", "TENANT"].map(|name| std::env::var(format!("CALLDATA_{name}")).unwrap());

    let gateway = parloa::Gateway::with_base_url(&url)?.with_functions_key(&key);
    let caller = "+4930123456";
    let fields = r#"{"intent":"pay","amount":1.50,"big":12345678901234567890,"order":{"lines":[1,"two",null],"note":"Grüße"}}"#;
    let fields: serde_json::Map<String, Value> = serde_json::from_str(fields)?;

    for n in 1..=6 {
        let input = parloa::PostedInput {
            callerid: caller.into(),
            callid: format!("call-{n}"),
            timestamp: Some(json!(format!("2026-01-02T10:00:0{n}Z"))),
            content: Some(json!("Wants to pay")),
            additional_properties: fields.clone().into_iter().collect(),
            ..Default::default()
        };
        let query = parloa::StoreCallDataRequestQuery { client_id: Some(client_id.clone()), ..Default::default() };
        let request = parloa::StoreCallDataRequest { query, body: parloa::PostRequest { input } };
        let parloa::ApiResponse::Ok(stored) = gateway.store_call_data(request).await? else { bail!("not stored") };
        ensure!(stored.choice == "success", "{stored:?}");
    }

    let fetch = async |caller: &str, callid: &str| -> Result<parloa::CallDataOrMiss> {
        let query = parloa::FetchCallDataRequestQuery {
            client_id: Some(client_id.clone()),
            caller: Some(caller.into()),
            callid: Some(callid.into()),
            ..Default::default()
        };
        match gateway.fetch_call_data(parloa::FetchCallDataRequest { query }).await? {
            parloa::ApiResponse::Ok(parloa::WithHeaders { body: parloa::CallDataOrMissOrString::CallDataOrMiss(answer), .. }) => Ok(answer),
            other => bail!("{other:?}"),
        }
    };
    let parloa::CallDataOrMiss::CallData(fetched) = fetch(caller, "call-6").await? else { bail!("a miss") };
    ensure!(fetched.timestamp == "2026-01-02T10:00:06.000Z" && fetched.content == Some(json!("Wants to pay")), "{fetched:?}");
    let kept: serde_json::Map<String, Value> = fetched.additional_properties.into_iter().collect();
    ensure!(kept == fields, "{kept:?}");

    let records = oifde::Gateway::with_base_url(&url)?;
    let body = oifde::TokenRequest { app_key: tenant_id.clone(), app_secret: key };
    let oifde::ApiResponse::Ok(token) = records.get_token(oifde::GetTokenRequest { body }).await? else { bail!("no token") };
    ensure!(token.expire_time == Some(3600), "{token:?}");

    let mut pages = Vec::new();
    for page in ["1", "2"] {
        let body = oifde::HistoryRequest {
            tenant_id: tenant_id.clone(),
            auth_token: token.auth_token.clone().context("no token")?,
            user_mobile: Some(caller.into()),
            page_size: Some("5".into()),
            page_num: Some(page.into()),
            ..Default::default()
        };
        let asked = oifde::QueryRecordHistoryRequest { body };
        let oifde::ApiResponse::Ok(answer) = records.query_record_history(asked).await? else { bail!("no page") };
        ensure!(answer.total == 6, "{answer:?}");
        pages.push(answer.record_list);
    }
    let calls: Vec<Vec<&str>> = pages.iter().map(|records| records.iter().map(|record| record.call_id.as_str()).collect()).collect();
    ensure!(calls == [vec!["call-6", "call-5", "call-4", "call-3", "call-2"], vec!["call-1"]], "{calls:?}");
    let learned: serde_json::Map<String, Value> = serde_json::from_str(pages[1][0].call_data.as_deref().unwrap_or_default())?;
    let expected: serde_json::Map<String, Value> = [("content".to_owned(), json!("Wants to pay"))].into_iter().chain(fields).collect();
    ensure!(learned == expected, "{learned:?}");

    // Digits: scripts/clients posted "price": 1.50 and "big": 12345678901234567890. Both are whole, thanks to serde_json's arbitrary_precision.
    let parloa::CallDataOrMiss::CallData(numbers) = fetch("+4930999999", "digits").await? else { bail!("a miss") };
    ensure!(serde_json::to_string(&numbers.additional_properties)? == r#"{"price":1.50,"big":12345678901234567890}"#, "{numbers:?}");

    let parloa::CallDataOrMiss::Miss(miss) = fetch(caller, "another").await? else { bail!("not a miss") };
    ensure!(miss.error == "no result found", "{miss:?}");
    println!("6 stored, 6 on pages of 5 and 1, user-defined fields equal; 1.50 and 12345678901234567890 whole");
    Ok(())
}
