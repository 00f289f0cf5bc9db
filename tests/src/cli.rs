//! The program as operators and scripts meet it: a process, its arguments, its exit status (the command line is fixed: scripts rely on it).

use calldata_testkit::client::{Answer, Client};
use calldata_testkit::program::Place;
use serde_json::Value;

mod checking;
mod confirming;
mod demo;
mod descriptions;
mod dumps;
mod exports;
mod imports;
mod keys;
mod moving;
mod purging;
mod restoring;
mod schema;
mod secrecy;
mod serving;
mod settings;
mod telemetry;
mod tenants;

/// Adds a tenant; its OIFDE name is `t-` and the client id.
pub(crate) fn create_tenant(place: &Place, client_id: &str) -> Value {
    let (name, oifde) = (format!("Tenant {client_id}"), format!("t-{client_id}"));
    place.run(&["tenant", "create", "--name", &name, "--client-id", client_id, "--tenant-id", &oifde, "--json"]).json()
}

/// Adds a key with further arguments; gives its identifier and secret.
pub(crate) fn create_key(place: &Place, client_id: &str, arguments: &[&str]) -> (String, String) {
    let made = place.run(&[&["key", "create", "--client-id", client_id, "--json"], arguments].concat()).json();
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    (text("id"), text("key"))
}

pub(crate) async fn post(client: &Client, client_id: &str, key: &str, input: &str) -> Answer {
    let path = format!("/api/CallData?clientId={client_id}");
    client.request("POST", &path, &[("x-functions-key", key)], format!(r#"{{"input":{input}}}"#).into_bytes()).await
}

pub(crate) async fn get(client: &Client, client_id: &str, key: &str, parameters: &str) -> Answer {
    client.request("GET", &format!("/api/CallData?clientId={client_id}&{parameters}"), &[("x-functions-key", key)], Vec::new()).await
}

/// `queryRecordHistory` for a tenant of [`create_tenant`].
pub(crate) async fn history(client: &Client, client_id: &str, token: &str, parameters: &str) -> Value {
    let body = format!(r#"{{"tenantId":"t-{client_id}","authToken":"{token}",{parameters}}}"#);
    client.request("POST", "/oifde/rest/api/queryRecordHistory", &[], body.into_bytes()).await.json()
}

pub(crate) async fn gettoken(client: &Client, client_id: &str, key: &str) -> Value {
    let body = format!(r#"{{"appKey":"t-{client_id}","appSecret":"{key}"}}"#);
    client.request("POST", "/oifde/rest/api/gettoken", &[], body.into_bytes()).await.json()
}

/// The status of a fetch of nothing: 200 for who is let in.
async fn knock(client: &Client, client_id: &str, key: &str) -> u16 {
    get(client, client_id, key, "caller=x&callid=y").await.status
}
