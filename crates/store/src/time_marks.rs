//! Up to when time was proven: one row.

use async_trait::async_trait;
use calldata_core::clock::Witness;
use calldata_core::port::TimeMarks;
use calldata_core::{StoreError, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

use crate::Database;
use crate::error::of_statement;
use crate::outbox::mark as parameter;
use crate::transact::Work;
use crate::upkeep::SERVER_NOW_MS;

const SET: &str = "UPDATE time_mark SET at =";

#[async_trait]
impl TimeMarks for Database {
    async fn witness(&self) -> Result<Witness, StoreError> {
        let witness = witness(self.probe(), if self.is_server() { SERVER_NOW_MS } else { "NULL" });
        self.read(async { witness.await.map_err(of_statement) }).await
    }

    async fn keep_mark(&self, at: Timestamp) -> Result<(), StoreError> {
        let keep: Work<Timestamp, ()> = |transaction, at| {
            Box::pin(async move {
                let engine = transaction.get_database_backend();
                let set = format!("{SET} {}", parameter(engine, 1));
                let set = Statement::from_sql_and_values(engine, set, [at.epoch_ms().into()]);
                transaction.execute_raw(set).await.map_err(of_statement).map(drop)
            })
        };
        // The server has the last word: what another process begins with must not be ahead of it.
        let at = self.witness().await?.server.map_or(at, |server| at.min(server));
        self.writer().transact(&at, keep).await
    }
}

/// The mark, and what the server's clock shows at that moment.
async fn witness(connection: &DatabaseConnection, server_now: &str) -> Result<Witness, DbErr> {
    let question = format!("SELECT at, {server_now} AS now_ms FROM time_mark");
    let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), question)).await?;
    let told: Option<(i64, Option<i64>)> = row.map(|row| row.try_get_many("", &["at".into(), "now_ms".into()])).transpose()?;
    let (mark, server) = told.unzip();
    Ok(Witness { mark: mark.map(Timestamp::clamped), server: server.flatten().map(Timestamp::clamped) })
}
