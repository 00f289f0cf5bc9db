//! A machine whose clock is set back or forward between two starts.

use std::sync::Arc;
use std::time::Duration;

use calldata_core::{ManualClock, Timestamp};
use calldata_http::Limits;
use calldata_testkit::builders::start;
use calldata_testkit::engine::{TestDatabase, on_every_engine};
use calldata_testkit::gateway::Gateway;
use calldata_testkit::load::{Credentials, Load};

use super::{PATIENCE, turn};

const STEP: Duration = Duration::from_hours(1);

async fn at(database: &TestDatabase, now: Timestamp) -> Gateway {
    Gateway::start_with(database.open_again().await, Arc::new(ManualClock::at(now)), Limits::default()).await
}

#[test]
fn a_step_of_the_clock_loses_nothing_and_makes_nothing_twice() {
    let _turn = turn();
    on_every_engine(async |database| {
        let first = at(database, start()).await;
        let account = first.a_tenant("c").await;
        let credentials = Credentials { client_id: "c".into(), tenant_id: account.tenant.oifde_id.clone(), key: account.key.clone() };
        let mut before = Load::start("before", first.address, &credentials, 4);
        before.acknowledges(40, PATIENCE).await;
        before.stop().await;
        first.stop().await;

        // Set back: what is stored was received in the future.
        let back = at(database, start().minus(STEP)).await;
        before.verify(back.address).await.assert_kept();
        // A bot that did not hear its answer posts the same again.
        let again: Vec<_> = before.told().acknowledged.iter().take(10).cloned().collect();
        before.told().unknown.extend(again);
        before.repeat_unknown(back.address).await;
        let mut after = Load::start("after", back.address, &credentials, 4);
        after.acknowledges(40, PATIENCE).await;
        after.stop().await;
        back.stop().await;

        let forward = at(database, start().plus(STEP)).await;
        let mut verdict = before.verify(forward.address).await;
        verdict.add(after.verify(forward.address).await);
        verdict.assert_kept();
        forward.stop().await;
        println!("clock set back and forward by {STEP:?} on {:?}: {verdict}", database.engine());
    });
}
