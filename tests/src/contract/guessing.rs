//! Guessing keys is slowed down in every place that takes one (PAR-A4, OIF-A4).

use std::time::Duration;

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::gateway::{Account, Gateway};

use super::oifde_tokens::{ANYONE, code};

const LOCKED: i64 = 200_800_003;
const LOCK: Duration = Duration::from_secs(300);

fn with_key(account: &Account, key: &str) -> Account {
    let mut account = account.clone();
    key.clone_into(&mut account.key);
    account
}

#[test]
fn par_a4_who_guesses_keys_is_told_to_come_later_and_who_was_right_before_is_not_locked_out() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let (account, other) = (gateway.a_tenant("c").await, gateway.a_tenant("other").await);
        gateway.a_key(&account.tenant, "a-second-secret", calldata_core::Scopes::READ_WRITE).await;
        assert_eq!(account.get("callid=1&caller=110").await.status, 200);
        for _ in 0..20 {
            assert_eq!(with_key(&account, "wrong").get("callid=1&caller=110").await.status, 401);
        }
        for key in ["wrong", "another-wrong-one", "a-second-secret"] {
            let locked = with_key(&account, key).get("callid=1&caller=110").await;
            assert_eq!((locked.status, locked.header("retry-after")), (429, Some("300")), "{key}");
            let locked = with_key(&account, key).post(r#"{"callid":"1","callerid":"110"}"#).await;
            assert_eq!((locked.status, &locked.json()["choice"]), (429, &"fail".into()), "{key}");
        }
        assert_eq!(account.get("callid=1&caller=110").await.status, 200, "this key was right from here");
        assert_eq!(other.get("callid=1&caller=110").await.status, 200, "another tenant");
        assert_eq!(code(&with_key(&account, "wrong").history(ANYONE).await), 900_002, "the other dialect counts by its own names");
        gateway.clock.advance(LOCK);
        assert_eq!(with_key(&account, "a-second-secret").get("callid=1&caller=110").await.status, 200);
        gateway.stop().await;
    });
}

#[test]
fn oif_a4_who_guesses_tokens_is_locked_out() {
    on_every_engine(async |database| {
        let gateway = Gateway::start(database).await;
        let account = gateway.a_tenant("c").await;
        for _ in 0..20 {
            assert_eq!(code(&account.history_with("wrong", ANYONE).await), 900_002);
        }
        assert_eq!(code(&account.history_with("wrong", ANYONE).await), LOCKED);
        assert_eq!(code(&account.gettoken("wrong").await), LOCKED, "one count for both operations");
        assert_eq!(code(&account.history(ANYONE).await), LOCKED, "nothing was right from here yet");
        gateway.clock.advance(LOCK);
        assert_eq!(code(&account.history(ANYONE).await), 0);
        gateway.stop().await;
    });
}
