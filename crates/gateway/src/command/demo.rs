//! `demo`: a service to try out, with a tenant and sample sessions.

use std::path::PathBuf;

use calldata_core::{Scopes, key};
use calldata_interchange::SessionDocument;
use calldata_store::{Database, Direction, Url};
use secrecy::ExposeSecret;

use super::serve::{announce, base, prepare, serve, warn};
use super::{find_tenant, key as key_command, migrate, open_as_it_is, tenant};
use crate::app::App;
use crate::cli::{TenantNames, TenantProperties};
use crate::documents::DocsAccess;
use crate::settings::Settings;
use crate::token_secret::token_secrets;
use crate::{Failure, output};

const CLIENT_ID: &str = "demo";
const TENANT_ID: &str = "tenant001";
const SAMPLES: &str = include_str!("../../samples/sessions.ndjson");

pub(super) async fn run(settings: &Settings, data: Option<PathBuf>) -> Result<(), Failure> {
    settings.validate().map_err(|error| Failure::new(error.to_string()))?;
    let options = settings.server()?;
    // The folder lives as long as the demo.
    let temporary = match data {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|error| Failure::because("a temporary folder cannot be made; see --data", &error))?),
    };
    let folder = data.or_else(|| temporary.as_ref().map(|folder| folder.path().to_owned())).unwrap_or_default();
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure::because(format!("the folder {} cannot be made", folder.display()), &error))?;
    let url =
        Url::parse(&format!("sqlite://{}", folder.join("calldata.db").display())).map_err(|error| Failure::because("--data", &error))?;
    let database = open_as_it_is(&url).await?;
    migrate::migrate(&database, Direction::Up).await?;
    let secret = key::new_secret();
    give_tenant(&database, &secret).await?;
    let (app, listener) = prepare(settings, database.clone(), token_secrets(settings, &url)?).await?;
    load_samples(&app, &database).await?;
    warn(settings);
    let stop = announce(&listener, &options)?;
    output::line(&instructions(&base(&listener, &options)?, secret.expose_secret(), options.docs))?;
    serve(&app, listener, options, stop).await
}

/// The demo tenant, new or of an earlier demo, with one more key.
async fn give_tenant(database: &Database, secret: &secrecy::SecretString) -> Result<(), Failure> {
    let demo = match find_tenant(database, CLIENT_ID).await {
        Ok(known) => known,
        Err(_) => {
            let names = TenantNames { name: "Demo".into(), client_id: CLIENT_ID.into(), tenant_id: TENANT_ID.into() };
            tenant::create(database, names, TenantProperties::default()).await?
        }
    };
    key_command::create(database, &demo, secret, Scopes { admin: true, ..Scopes::READ_WRITE }, None).await.map(drop)
}

async fn load_samples(app: &App, database: &Database) -> Result<(), Failure> {
    let demo = find_tenant(database, CLIENT_ID).await?;
    let mut samples = Vec::new();
    for line in SAMPLES.lines() {
        let document = SessionDocument::parse(line).and_then(|document| document.into_session(demo.default_country));
        samples.push(document.map_err(|error| Failure::because("a sample cannot be read", &error))?);
    }
    for stored in app.sessions().import(&demo, samples).await {
        stored.map_err(|error| Failure::because("a sample cannot be stored", &error))?;
    }
    Ok(())
}

fn instructions(base: &str, secret: &str, docs: DocsAccess) -> String {
    let caller = "%2B49301234567";
    let sample = format!("{base}/api/CallData?clientId={CLIENT_ID}&code={secret}&caller={caller}&callid=demo-call-1&timeLimit=86400");
    let history = format!("{base}/oifde/rest/api/queryRecordHistory");
    let description = if docs == DocsAccess::On { format!("The API description: {base}/docs\n") } else { String::new() };
    format!(
        "
client id  {CLIENT_ID}      (Parloa dialect: clientId)
tenant id  {TENANT_ID} (OIFDE dialect: tenantId)
key        {secret}

Store what a bot learned, and fetch it:
  curl --location '{base}/api/CallData?code={secret}&clientId={CLIENT_ID}' --header 'Content-Type: application/json' --data '{{\"input\":{{\"callerid\":\"+111111111\",\"callid\":\"145644644ff\",\"content\":\"Postman tests\"}}}}'
  curl --location '{base}/api/CallData?code={secret}&clientId={CLIENT_ID}&caller=%2B111111111&callid=145644644ff'

Fetch a sample in each format:
  curl '{sample}'
  curl '{sample}&format=xml'
  curl '{sample}&format=html&lang=en'
  curl '{sample}&format=text&lang=en'

Query the same sample, with its turns, in the other dialect:
  curl '{history}' --header 'Content-Type: application/json' --data '{{\"tenantId\":\"{TENANT_ID}\",\"authToken\":\"{secret}\",\"userMobile\":\"+49301234567\"}}'
  curl '{base}/oifde/rest/api/gettoken' --header 'Content-Type: application/json' --data '{{\"appKey\":\"{TENANT_ID}\",\"appSecret\":\"{secret}\"}}'

{description}Stop with Ctrl-C."
    )
}
