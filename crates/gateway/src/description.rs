//! The API description: one document a dialect, and one of everything.

use utoipa::OpenApi as _;
use utoipa::openapi::{Contact, Info, License, OpenApi, Server};

const TITLE: &str = "calldata-gateway";
const ABOUT: &str = "What a voice bot learned during a call, kept safe and handed to whoever needs it next, in the dialect that they already \
    speak. Statements marked *ours* are decisions of this gateway where a vendor is silent.";

/// The documents by name: `parloa`, `oifde`, `sessions`, and `gateway` for all of them in one.
pub fn documents() -> [(&'static str, OpenApi); 4] {
    let parloa = completed(parloa_api::description());
    let oifde = completed(oifde_api::description());
    let sessions = completed(sessions_api::description());
    let mut gateway = completed(calldata_http::health::Description::openapi());
    for document in [&parloa, &oifde, &sessions] {
        gateway.merge(document.clone());
    }
    gateway.info.title = TITLE.into();
    gateway.info.description = Some(ABOUT.into());
    [("parloa", parloa), ("oifde", oifde), ("sessions", sessions), ("gateway", gateway)]
}

/// The text of a document, as it is served and committed.
pub fn text(document: &OpenApi) -> String {
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn completed(mut document: OpenApi) -> OpenApi {
    let mut info = Info::new(document.info.title.as_str(), env!("CARGO_PKG_VERSION"));
    info.description = document.info.description.clone().or_else(|| Some(ABOUT.into()));
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").into());
    info.license = Some(license);
    let mut contact = Contact::new();
    contact.name = Some("The operator of this gateway".into());
    info.contact = Some(contact);
    document.info = info;
    let mut here = Server::new("/");
    here.description = Some("This gateway".into());
    document.servers = Some(vec![here]);
    document
}
