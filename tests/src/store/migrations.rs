//! The schema, and the files that hold it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use calldata_core::{DirectoryStore, SessionStore, StoreError};
use calldata_store::Direction;
use calldata_testkit::builders::{a_clock, a_post, a_session, a_tenant};
use calldata_testkit::engine::{Engine, TestDatabase, on, on_every_engine};

use super::{created_tenant, stored};

#[test]
fn the_schema_goes_up_and_down_and_up_again() {
    on(&[Engine::Sqlite, Engine::Postgres], TestDatabase::empty, async |test| {
        let database = test.database();
        let applied = async || database.migrations().await.unwrap().iter().filter(|change| change.applied).count();
        let known = database.migrations().await.unwrap().len();
        assert!(known > 0);
        for _ in 0..2 {
            assert_eq!(applied().await, 0);
            database.migrate(Direction::Up).await.unwrap();
            assert_eq!(applied().await, known);
            database.migrate(Direction::Up).await.unwrap();
            let tenant = created_tenant(database, "c").await;
            stored(database, a_post(&tenant, "s", &a_clock(), a_session("call", "110"))).await;
            for left in (0..known).rev() {
                database.migrate(Direction::Down).await.unwrap();
                assert_eq!(applied().await, left);
            }
            assert!(database.version().await.is_err(), "the tables are gone");
        }
    });
}

#[test]
fn instances_that_migrate_an_empty_database_at_once_all_succeed() {
    on(&[Engine::Postgres], TestDatabase::empty, async |test| {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let database = test.open_again().await;
            tasks.spawn(async move { database.migrate(Direction::Up).await });
        }
        for result in tasks.join_all().await {
            result.unwrap();
        }
        assert!(test.database().migrations().await.unwrap().iter().all(|change| change.applied));
        assert_eq!(test.database().version().await.unwrap(), 1);
    });
}

#[test]
fn what_was_stored_is_there_when_the_database_is_opened_again() {
    on_every_engine(async |test| {
        let tenant = created_tenant(test.database(), "c").await;
        stored(test.database(), a_post(&tenant, "s", &a_clock(), a_session("call", "110"))).await;
        let again = test.open_again().await;
        assert_eq!(again.callers(tenant.id, None, 10).await.unwrap().len(), 1);
    });
}

#[test]
fn a_new_database_file_is_for_its_owner_alone() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        let file = test.file().unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let path = format!("{}{suffix}", file.display());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path}");
        }
    });
}

#[test]
fn a_database_file_is_in_wal_mode() {
    on(&[Engine::Sqlite], TestDatabase::new, async |test| {
        // Bytes 18 and 19 of the file say how it is written and read; 2 is a write-ahead log.
        let bytes = fs::read(test.file().unwrap()).unwrap();
        assert_eq!(bytes[18..20], [2, 2]);
    });
}

#[test]
fn references_are_kept_on_every_connection() {
    on_every_engine(async |test| {
        let stranger = a_tenant("nobody");
        for database in [test.database().clone(), test.open_again().await] {
            let refused = database.write(vec![a_post(&stranger, "s", &a_clock(), a_session("call", "110"))]).await.pop().unwrap();
            assert!(matches!(refused, Err(StoreError::NoSuchTenant)), "{refused:?}");
        }
    });
}
