//! `copy` and `backup`: everything is somewhere else, and the same.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::program::Place;

use super::{create_key, create_tenant, get, history, post};

const HOSTILE: &str =
    r#"{"callid":"c-1","callerid":"030 1234567","content":"a\u0000b ' \" ü 😀","n":12345678901234567890.50,"deep":[{"x":null}]}"#;

#[test]
fn a_database_is_copied_to_another_engine_with_keys_and_all_and_compared() {
    on_every_engine(async |target| {
        let source = Place::new();
        create_tenant(&source, "c");
        create_tenant(&source, "d");
        let ((revoked, _), (_, key)) = (create_key(&source, "c", &[]), create_key(&source, "c", &[]));
        source.run(&["key", "revoke", &revoked]).fine();
        let served = source.serve(&[]);
        assert_eq!(post(&served.client(), "c", &key, HOSTILE).await.status, 200);
        for number in 0..600 {
            assert_eq!(post(&served.client(), "c", &key, &format!(r#"{{"callid":"m-{number}","callerid":"u"}}"#)).await.status, 200);
        }
        let before = get(&served.client(), "c", &key, "callid=c-1&caller=%2B49301234567").await.text().to_owned();
        served.stop();

        source.write("to", target.url());
        let told = source.run(&["copy", "--to-file", "to"]).fine();
        assert!(told.starts_with("copied 2 tenants, 2 keys, 601 sessions; both databases hold the same, sha256 "), "{told}");
        assert!(source.run(&["copy", "--to-file", "to"]).failure().contains("not empty"), "never onto something");

        let place = Place::with_database(target);
        let served = place.serve(&[]);
        assert_eq!(get(&served.client(), "c", &key, "callid=c-1&caller=%2B49301234567").await.text(), before);
        let found = history(&served.client(), "c", &key, r#""userMobile":"u","pageSize":"5""#).await;
        assert_eq!((&found["total"], found["recordList"].as_array().unwrap().len()), (&600.into(), 5));
        // A post that is repeated over there is the same record still.
        assert_eq!(post(&served.client(), "c", &key, HOSTILE).await.status, 200);
        assert_eq!(history(&served.client(), "c", &key, r#""callId":"c-1""#).await["total"], 1);
        served.stop();
    });
}

#[test]
fn a_copy_needs_a_source_and_shows_no_password() {
    let place = Place::new();
    assert!(place.run(&["copy", "--to", "sqlite://x.db"]).failure().contains("there is no database file"));
    assert!(!place.path("calldata.db").exists());
    create_tenant(&place, "c");
    let failure = place.run(&["copy", "--to", "postgres://u:hush@127.0.0.1:1/x"]).failure();
    assert!(failure.contains("cannot be opened") && !failure.contains("hush"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_while_bots_post_holds_what_was_acknowledged_before_and_is_private() {
    let place = Place::new();
    create_tenant(&place, "c");
    let (_, key) = create_key(&place, "c", &[]);
    let served = place.serve(&[]);
    let (acknowledged, done) = (AtomicU32::new(0), AtomicBool::new(false));
    let bot = async {
        let client = served.client();
        while !done.load(Ordering::Acquire) {
            let number = acknowledged.load(Ordering::Acquire);
            assert_eq!(post(&client, "c", &key, &format!(r#"{{"callid":"b-{number}","callerid":"u"}}"#)).await.status, 200);
            acknowledged.store(number + 1, Ordering::Release);
        }
    };
    let backup = async {
        while acknowledged.load(Ordering::Acquire) < 50 {
            tokio::task::yield_now().await;
        }
        let before = acknowledged.load(Ordering::Acquire);
        let told = tokio::task::block_in_place(|| place.run(&["backup", "backup.db"]).fine());
        assert!(told.contains("written to /") && told.trim_end().ends_with("/backup.db"), "{told}");
        done.store(true, Ordering::Release);
        before
    };
    let (before, ()) = tokio::join!(backup, bot);
    served.stop();
    assert_eq!(std::fs::metadata(place.path("backup.db")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(place.run(&["backup", "backup.db"]).failure().contains("exist"), "nothing is written over");

    let restored = Place::new();
    std::fs::copy(place.path("backup.db"), restored.path("calldata.db")).unwrap();
    let served = restored.serve(&[]);
    let found = history(&served.client(), "c", &key, r#""userMobile":"u","pageSize":"5""#).await;
    assert!(found["total"].as_u64().unwrap() >= before.into(), "{before} were acknowledged: {found}");
    for number in 0..before {
        assert_eq!(history(&served.client(), "c", &key, &format!(r#""callId":"b-{number}""#)).await["total"], 1);
    }
    served.stop();
}

#[test]
fn a_backup_is_where_it_was_asked_for_or_nowhere() {
    let place = Place::new();
    create_tenant(&place, "c");
    for odd in ["file:x.db", ":memory:", "file:y.db?vfs=unix-none"] {
        place.run(&["backup", odd]).fine();
        assert!(std::fs::metadata(place.path(odd)).is_ok_and(|made| made.len() > 0), "{odd} is a name like any other");
    }
    assert!(!place.path("x.db").exists() && !place.path("y.db").exists());
    for beside in ["calldata.db-wal", "calldata.db-journal", "./calldata.db-shm"] {
        assert!(place.run(&["backup", beside]).failure().contains("belongs to the database"), "{beside}");
    }
    place.write("foreign.db", "no database at all, but long enough to be taken for one by somebody who is careless");
    assert!(place.run(&["backup", "z.db", "--database-url", "sqlite://foreign.db"]).failure().contains("cannot be read"));
    assert!(!place.path("z.db").exists(), "half a backup is none");
}

#[test]
fn a_copy_leaves_a_target_that_is_not_empty_as_it_is() {
    let (place, target) = (Place::new(), Place::new());
    create_tenant(&place, "c");
    create_tenant(&target, "d");
    target.run(&["migrate", "down"]).fine();
    let status = target.run(&["migrate", "status"]).fine();
    let url = format!("sqlite://{}", target.path("calldata.db").display());
    assert!(place.run(&["copy", "--to", &url]).failure().contains("not empty"));
    assert_eq!(target.run(&["migrate", "status"]).fine(), status);
}

#[test]
fn large_sessions_are_copied_a_few_at_a_time() {
    on_every_engine(async |target| {
        let source = Place::new();
        create_tenant(&source, "c");
        let (_, key) = create_key(&source, "c", &[]);
        let served = source.serve(&[]);
        let text = "x".repeat(900_000);
        for number in 0..12 {
            let input = format!(r#"{{"callid":"{number}","callerid":"u","text":"{text}"}}"#);
            assert_eq!(post(&served.client(), "c", &key, &input).await.status, 200);
        }
        served.stop();
        let told = source.run(&["copy", "--to", &target.url()]).fine();
        assert!(told.contains("12 sessions; both databases hold the same"), "{told}");
    });
}

#[tokio::test]
async fn a_database_whose_gateway_has_stopped_is_whole_without_its_log() {
    let place = Place::new();
    create_tenant(&place, "c");
    let (_, key) = create_key(&place, "c", &[]);
    let served = place.serve(&[]);
    assert_eq!(post(&served.client(), "c", &key, r#"{"callid":"1","callerid":"u"}"#).await.status, 200);
    served.stop();
    let moved = Place::new();
    std::fs::copy(place.path("calldata.db"), moved.path("calldata.db")).unwrap();
    let served = moved.serve(&[]);
    assert_eq!(history(&served.client(), "c", &key, r#""callId":"1""#).await["total"], 1);
    served.stop();
}
