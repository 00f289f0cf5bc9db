//! The native interface with a client that oas3-gen makes. Run by scripts/clients.

mod clients;

use std::fmt::Debug;

use anyhow::{Context as _, Result, bail, ensure};
use clients::sessions::{self, ApiResponse, Code, Problem, Session};
use serde_json::json;

const CALLER: &str = "+49 30 123456";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let [url, key, admin_key] = ["URL", "KEY", "ADMIN_KEY"].map(|name| std::env::var(format!("CALLDATA_{name}")).unwrap());
    let gateway = sessions::Gateway::with_base_url(&url)?.with_key(&key);
    let fields =
        r#"{"customerNumber":"4711","amount":1.50,"big":12345678901234567890,"größe in cm":null,"order":{"lines":[1,"two",null]}}"#;
    let fields: indexmap::IndexMap<String, serde_json::Value> = serde_json::from_str(fields)?;

    let mut ids = Vec::new();
    for (call_id, second, intent) in [("call-1", 1, "pay"), ("call-2", 2, "ask"), ("call-2", 3, "pay")] {
        let turn = sessions::Turn {
            no: Some("1".into()),
            user_text: Some("My invoice, please".into()),
            by: Some("bot".into()),
            ..Default::default()
        };
        let body = Session {
            call_id: call_id.into(),
            caller: CALLER.into(),
            started_at: Some(format!("2026-01-02T10:00:0{second}.000Z")),
            intent: Some(intent.into()),
            content: Some(json!({"wish": "an invoice"})),
            fields: Some(fields.clone()),
            turns: Some(vec![turn]),
            ..Default::default()
        };
        let stored = done(gateway.create_session(sessions::CreateSessionRequest { header: Default::default(), body }).await?)?;
        ids.push(stored.body.id.context("no id")?);
    }
    let id = ids[0].clone();

    let get = || {
        let path = sessions::GetSessionRequestPath { id: id.clone() };
        gateway.get_session(sessions::GetSessionRequest { path, header: Default::default() })
    };
    let got = done(get().await?)?;
    let session = got.body;
    ensure!(serde_json::to_string(&session.fields)? == serde_json::to_string(&fields)?, "{session:?}");
    ensure!((session.call_id.as_str(), session.caller.as_str()) == ("call-1", CALLER), "{session:?}");
    ensure!(session.id.as_ref() == Some(&id) && session.content == Some(json!({"wish": "an invoice"})), "{session:?}");
    ensure!(
        session.started_at.as_deref() == Some("2026-01-02T10:00:01.000Z") && session.source.as_deref() == Some("native"),
        "{session:?}"
    );

    let body = sessions::Additions {
        turns: Some(vec![sessions::Turn { no: Some("2".into()), user_text: Some("January".into()), ..Default::default() }]),
        answers: Some(vec![sessions::Answer { original: Some("January".into()), ..Default::default() }]),
    };
    let path = sessions::AppendTurnsRequestPath { id: id.clone() };
    let longer = done(gateway.append_turns(sessions::AppendTurnsRequest { path, header: Default::default(), body }).await?)?;
    let numbers: Vec<_> = longer.body.iter().flat_map(|body| body.turns.iter().flatten()).map(|turn| turn.no.as_deref()).collect();
    ensure!(numbers == [Some("1"), Some("2")], "{numbers:?}");

    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let query = sessions::ListSessionsRequestQuery {
            caller: Some(CALLER.into()),
            intent: Some("pay".into()),
            limit: Some(1),
            count: Some(true),
            cursor,
            ..Default::default()
        };
        let page = done(gateway.list_sessions(sessions::ListSessionsRequest { query }).await?)?;
        ensure!((page.items.len(), page.total) == (1, Some(2)), "{page:?}");
        found.extend(page.items.into_iter().filter_map(|session| session.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    ensure!(found == [ids[2].clone(), id.clone()], "{found:?}");

    let query = sessions::ListCallsRequestQuery { caller: Some(CALLER.into()), ..Default::default() };
    let calls = done(gateway.list_calls(sessions::ListCallsRequest { query }).await?)?;
    let calls: Vec<_> = calls.items.iter().map(|call| (call.call_id.as_str(), call.sessions.len())).collect();
    ensure!(calls == [("call-2", 2), ("call-1", 1)], "{calls:?}");

    let body = Session { flag: Some("paid".into()), turns: None, ..session };
    let replace = |tag: Option<String>| {
        let (path, header) =
            (sessions::ReplaceSessionRequestPath { id: id.clone() }, sessions::ReplaceSessionRequestHeader { if_match: tag });
        gateway.replace_session(sessions::ReplaceSessionRequest { path, header, body: body.clone() })
    };
    ensure!(problem(replace(got.headers.etag).await?)?.code == Code::PreconditionFailed, "replaced");
    let replaced = done(replace(longer.headers.etag).await?)?.body.context("the key may read")?;
    ensure!(
        replaced.flag.as_deref() == Some("paid") && replaced.turns == Some(vec![]) && replaced.fields == Some(fields.clone()),
        "{replaced:?}"
    );

    let body = Session { call_id: "call-3".into(), caller: CALLER.into(), started_at: Some("yesterday".into()), ..Default::default() };
    let wrong = problem(gateway.create_session(sessions::CreateSessionRequest { header: Default::default(), body }).await?)?;
    ensure!((wrong.status, &wrong.code, wrong.field.as_deref()) == (400, &Code::InvalidField, Some("startedAt")), "{wrong:?}");

    let body = sessions::CallerRequest { caller: CALLER.into(), ..Default::default() };
    let refused = problem(gateway.export_caller(sessions::ExportCallerRequest { body: body.clone() }).await?)?;
    ensure!(refused.code == Code::NotPermitted, "{refused:?}");
    let admin = sessions::Gateway::with_base_url(&url)?.with_key(&admin_key);
    let exported = done(admin.export_caller(sessions::ExportCallerRequest { body: body.clone() }).await?)?;
    ensure!(exported.sessions.len() == 3 && exported.sessions.iter().all(|one| one.fields.as_ref() == Some(&fields)), "{exported:?}");
    let erased = done(admin.erase_caller(sessions::EraseCallerRequest { body }).await?)?;
    let path = sessions::GetErasureRequestPath { id: erased.id.clone() };
    let receipt = done(admin.get_erasure(sessions::GetErasureRequest { path }).await?)?;
    ensure!((erased.sessions, receipt.sessions, &receipt.caller) == (3, 3, &erased.caller), "{receipt:?}");
    ensure!(problem(get().await?)?.code == Code::NotFound, "not erased");
    let query = sessions::ListAuditRequestQuery { action: Some("erased".into()), caller: Some(erased.caller), ..Default::default() };
    let audit = done(admin.list_audit(sessions::ListAuditRequest { query }).await?)?;
    let mut audit: Vec<_> = audit.items.iter().map(|entry| (entry.action.as_str(), entry.sessions)).collect();
    audit.sort_unstable();
    // Noted before it begins, and with their number when it is done.
    ensure!(audit == [("erased", 0), ("erased", 3)], "{audit:?}");

    let body = sessions::NewWebhook { url: "https://example.com/hooks/calls".into(), events: Some(vec!["session.erased".into()]) };
    let hook = done(admin.create_webhook(sessions::CreateWebhookRequest { body }).await?)?.body;
    let path = sessions::RotateWebhookSecretRequestPath { id: hook.id.clone() };
    let rotated = done(admin.rotate_webhook_secret(sessions::RotateWebhookSecretRequest { path }).await?)?;
    ensure!(rotated.secret.is_some() && rotated.secret != hook.secret, "the same secret");
    let listed = done(admin.list_webhooks(sessions::ListWebhooksRequest {}).await?)?.items;
    ensure!(listed.len() == 1 && listed[0].events == ["session.erased"] && listed[0].secret.is_none(), "{listed:?}");
    let delete = || {
        let path = sessions::DeleteWebhookRequestPath { id: hook.id.clone() };
        admin.delete_webhook(sessions::DeleteWebhookRequest { path })
    };
    ensure!(matches!(delete().await?, ApiResponse::NoContent(_)), "not deleted");
    ensure!(problem(delete().await?)?.code == Code::NotFound, "deleted twice");
    println!("3 stored, listed, changed, exported and erased, user-defined fields equal; problems, audit and webhooks read");
    Ok(())
}

fn done<V: Debug, F: Debug>(answer: ApiResponse<V, F>) -> Result<V> {
    match answer {
        ApiResponse::Ok(value) | ApiResponse::Created(value) => Ok(value),
        other => bail!("{other:?}"),
    }
}

fn problem<V: Debug>(answer: ApiResponse<V, Problem>) -> Result<Problem> {
    match answer {
        ApiResponse::BadRequest(problem)
        | ApiResponse::Forbidden(problem)
        | ApiResponse::NotFound(problem)
        | ApiResponse::PreconditionFailed(problem) => Ok(problem),
        other => bail!("{other:?}"),
    }
}
