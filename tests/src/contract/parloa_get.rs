//! `GET /api/CallData`.

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::Gateway;

#[test]
fn par_g4_the_documented_post_gives_the_documented_answer() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        let posted = account.post_body(include_str!("../../golden/parloa-post.json")).await;
        assert_eq!((posted.status, posted.text()), (200, r#"{"choice":"success","output":{}}"#));
        let fetched = account.get("caller=%2B111111111&callid=145644644ff").await;
        let expected: serde_json::Value = serde_json::from_str(include_str!("../../golden/parloa-get.json")).unwrap();
        assert_eq!((fetched.status, fetched.json()), (200, expected));
        gateway.stop().await;
    });
}
