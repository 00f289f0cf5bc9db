//! `tenant`.

use std::time::Duration;

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::program::{Place, eventually};
use serde_json::json;

use super::{create_key, create_tenant, post};

/// How soon a change has to be felt.
const FELT: Duration = Duration::from_secs(10);

#[test]
fn a_tenant_is_created_with_its_defaults_and_shown_as_one_object() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        let mut created = create_tenant(&place, "acme");
        assert_eq!(place.run(&["tenant", "show", "acme", "--json"]).json(), created);
        assert!(created["createdAt"].as_str().unwrap().ends_with('Z'));
        created.as_object_mut().unwrap().remove("createdAt");
        let expected = json!({
            "name": "Tenant acme", "clientId": "acme", "tenantId": "t-acme", "defaultCountry": "DE", "timeZone": "Europe/Berlin",
            "oifdeTimeZone": "UTC", "retentionDays": 30, "auditDays": 90, "auditRows": 1_000_000, "quotaBytes": null, "missStatus": 200, "missReason": true, "keyInUrl": true,
            "maskAfterMinutes": null, "maskFields": [], "suspended": false,
        });
        assert_eq!(created, expected);
        let text = place.run(&["tenant", "show", "acme"]).fine();
        for (name, value) in
            [("clientId", "acme"), ("tenantId", "t-acme"), ("retentionDays", "30"), ("maskAfterMinutes", "off"), ("suspended", "false")]
        {
            assert!(text.lines().any(|line| line.split_whitespace().eq([name, value])), "{name}: {text}");
        }
    });
}

#[test]
fn every_property_can_be_given_at_the_start_and_changed_later() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        let properties = [
            "--default-country",
            "+41",
            "--time-zone",
            "Europe/Zurich",
            "--oifde-time-zone",
            "Asia/Shanghai",
            "--retention-days",
            "7",
            "--miss-status",
            "404",
            "--miss-reason",
            "off",
            "--key-in-url",
            "off",
            "--mask-after",
            "30",
            "--mask-fields",
            "content,turns,my field",
        ];
        let create = ["tenant", "create", "--name", "N", "--client-id", "c", "--tenant-id", "t", "--json"];
        let created = place.run(&[&create[..], &properties].concat()).json();
        let expected = [
            ("defaultCountry", json!("CH")),
            ("timeZone", json!("Europe/Zurich")),
            ("oifdeTimeZone", json!("Asia/Shanghai")),
            ("retentionDays", json!(7)),
            ("missStatus", json!(404)),
            ("missReason", json!(false)),
            ("keyInUrl", json!(false)),
            ("maskAfterMinutes", json!(30)),
            ("maskFields", json!(["content", "turns", "my field"])),
        ];
        for (name, value) in expected {
            assert_eq!(created[name], value, "{name}");
        }

        let changed = place
            .run(&[
                "tenant",
                "update",
                "c",
                "--name",
                "Other",
                "--tenant-id",
                "t2",
                "--key-in-url",
                "on",
                "--default-country",
                "DE",
                "--json",
            ])
            .json();
        let mut wanted = created.clone();
        for (name, value) in
            [("name", json!("Other")), ("tenantId", json!("t2")), ("keyInUrl", json!(true)), ("defaultCountry", json!("DE"))]
        {
            wanted[name] = value;
        }
        assert_eq!(changed, wanted, "what is not given stays");
        assert_eq!(place.run(&["tenant", "show", "c", "--json"]).json(), wanted);
    });
}

#[test]
fn what_is_masked_is_given_as_a_whole_changed_in_parts_and_switched_off() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        let create = ["tenant", "create", "--name", "N", "--client-id", "c", "--tenant-id", "t"];
        let only_one = [&["--mask-after", "5"][..], &["--mask-fields", "content"]];
        for (one, other) in only_one.iter().zip(["--mask-fields", "--mask-after"]) {
            assert!(place.run(&[&create[..], one].concat()).failure().contains(other), "{one:?}");
        }
        assert_eq!(place.run(&["tenant", "list", "--json"]).json(), json!({ "tenants": [] }));
        place.run(&create).fine();
        let update = |arguments: &[&str]| place.run(&[&["tenant", "update", "c"][..], arguments, &["--json"]].concat());
        let changed = |arguments: &[&str]| {
            let told = update(arguments).json();
            assert_eq!(place.run(&["tenant", "show", "c", "--json"]).json(), told);
            assert_eq!(place.run(&["tenant", "list", "--json"]).json()["tenants"][0], told);
            (told["maskAfterMinutes"].clone(), told["maskFields"].clone())
        };
        for one in only_one {
            update(one).failure();
        }
        assert_eq!(changed(&["--mask-after", "0", "--mask-fields", "*,content,*"]), (json!(0), json!(["*", "content"])));
        assert_eq!(changed(&["--mask-after", "525600"]), (json!(525_600), json!(["*", "content"])));
        assert_eq!(changed(&["--mask-fields", "intent", "--mask-fields", "a b"]), (json!(525_600), json!(["intent", "a b"])));
        assert_eq!(changed(&["--retention-days", "3"]), (json!(525_600), json!(["intent", "a b"])), "what is not given stays");
        let text = place.run(&["tenant", "show", "c"]).fine();
        assert!(text.lines().any(|line| line.split_whitespace().eq(["maskFields", "intent,a", "b"])), "{text}");
        assert!(update(&["--mask-after", "off", "--mask-fields", "content"]).failure().contains("--mask-fields"));
        for unusable in ["", "content,", "a\nb"] {
            assert!(update(&["--mask-fields", unusable]).failure().contains("--mask-fields"), "{unusable:?}");
        }
        for unusable in ["-1", "525601", "1.5", "Off", "never", ""] {
            assert_eq!(update(&["--mask-after", unusable]).status, Some(2), "{unusable}");
        }
        assert_eq!(changed(&["--mask-after", "off"]), (json!(null), json!([])));
        assert_eq!(changed(&["--mask-after", "off"]), (json!(null), json!([])), "it is off already");
    });
}

#[test]
fn a_running_server_feels_what_is_masked_and_which_key_may_see_it() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let (seeing_id, seeing) = create_key(&place, "c", &["--scope", "read", "--scope", "unmasked"]);
        let (_, powerless) = create_key(&place, "c", &["--scope", "unmasked"]);
        let listed = place.run(&["key", "list", "--client-id", "c", "--json"]).json();
        let listed = listed["keys"].as_array().unwrap().iter().find(|key| key["id"] == seeing_id.as_str()).unwrap();
        assert_eq!(listed["scopes"], json!(["read", "unmasked"]));
        let served = place.serve(&[]);
        let client = served.client();
        assert_eq!(post(&client, "c", &key, r#"{"callid":"call","callerid":"u","content":"learned"}"#).await.status, 200);
        let content = async |key: &str| super::get(&client, "c", key, "callid=call&caller=u").await.json()["content"].clone();
        assert_eq!(content(&key).await, "learned");
        place.run(&["tenant", "update", "c", "--mask-after", "0", "--mask-fields", "content"]).fine();
        eventually("it is masked", FELT, async || content(&key).await == "***").await;
        assert_eq!(content(&seeing).await, "learned");
        assert_eq!(super::get(&client, "c", &powerless, "callid=call&caller=u").await.status, 403, "to see it, one has to read");
        served.stop();
    });
}

#[test]
fn tenants_are_listed_as_text_and_as_one_object() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        assert_eq!(place.run(&["tenant", "list", "--json"]).json(), json!({ "tenants": [] }));
        let (two, one) = (create_tenant(&place, "two"), create_tenant(&place, "one"));
        let suspended = place.run(&["tenant", "suspend", "two", "--json"]).json();
        assert_eq!((&suspended["suspended"], &suspended["clientId"]), (&json!(true), &two["clientId"]));
        assert_eq!(place.run(&["tenant", "list", "--json"]).json(), json!({ "tenants": [one, suspended] }));
        let text = place.run(&["tenant", "list"]).fine();
        let state = |client_id: &str| text.lines().find(|line| line.starts_with(client_id)).map(|line| line.contains("suspended"));
        assert_eq!((state("one"), state("two")), (Some(false), Some(true)), "{text}");
        assert_eq!(place.run(&["tenant", "resume", "two", "--json"]).json(), two);
    });
}

#[test]
fn names_belong_to_one_tenant_each_and_must_be_usable() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "one");
        create_tenant(&place, "two");
        let again =
            |client_id, tenant_id| place.run(&["tenant", "create", "--name", "N", "--client-id", client_id, "--tenant-id", tenant_id]);
        assert!(again("one", "t-new").failure().contains("belongs to another already"));
        assert!(again("new", "t-one").failure().contains("belongs to another already"));
        assert!(place.run(&["tenant", "update", "two", "--tenant-id", "t-one"]).failure().contains("belongs to another already"));
        for unusable in ["", " ", "a\nb"] {
            assert_eq!(again(unusable, "t-new").status, Some(2), "{unusable:?}");
            assert_eq!(place.run(&["tenant", "update", "two", "--tenant-id", unusable]).status, Some(2), "{unusable:?}");
            assert_eq!(place.run(&["tenant", "update", "two", "--name", unusable]).status, Some(2), "{unusable:?}");
        }
        for command in [["tenant", "show"], ["tenant", "suspend"], ["tenant", "resume"], ["tenant", "delete"], ["tenant", "update"]] {
            assert!(place.run(&[&command[..], &["nobody"]].concat()).failure().contains("nobody"), "{command:?}");
        }
    });
}

#[test]
fn deleting_a_tenant_asks_for_its_name_and_takes_its_data_along() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        for client_id in ["gone", "kept"] {
            create_tenant(&place, client_id);
            place.write("sessions", r#"{"id":"one","callId":"call","caller":"u"}"#);
            place.run(&["import", "--client-id", client_id, "--format", "sessions", "sessions"]).fine();
        }
        create_key(&place, "gone", &[]);
        for refused in [
            place.run(&["tenant", "delete", "gone", "--yes", "gone"]),
            place.run(&["tenant", "delete", "gone", "--yes", "Tenant kept"]),
            place.run_with_input(&["tenant", "delete", "gone"], "gone\n"),
            place.run_with_input(&["tenant", "delete", "gone"], "\n"),
            place.run_with_input(&["tenant", "delete", "gone"], ""),
        ] {
            assert!(refused.failure().contains("nothing was deleted"));
        }
        assert_eq!(place.run(&["tenant", "list", "--json"]).json()["tenants"].as_array().unwrap().len(), 2);
        let deleted = place.run_with_input(&["tenant", "delete", "gone", "--json"], "Tenant gone\n");
        assert_eq!(deleted.json(), json!({ "deleted": "gone", "sessions": 1 }));
        place.run(&["key", "list", "--client-id", "gone"]).failure();

        // Somebody else of that name finds nothing of what was there.
        create_tenant(&place, "gone");
        assert_eq!(place.run(&["key", "list", "--client-id", "gone", "--json"]).json(), json!({ "keys": [] }));
        assert_eq!(place.run(&["tenant", "delete", "gone", "--yes", "Tenant gone", "--json"]).json()["sessions"], 0);
        assert!(place.run(&["tenant", "delete", "kept", "--yes", "Tenant kept"]).fine().contains("1 sessions"));
    });
}

#[test]
fn another_default_country_finds_local_numbers_that_are_stored_already() {
    on_every_engine(async |database| {
        let place = Place::with_database(database);
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &[]);
        let served = place.serve(&[]);
        let client = served.client();
        assert_eq!(post(&client, "c", &key, r#"{"callid":"call","callerid":"044 123 45 67"}"#).await.status, 200);
        served.stop();
        place.run(&["tenant", "update", "c", "--default-country", "CH"]).fine();
        let served = place.serve(&[]);
        let found = super::get(&served.client(), "c", &key, "callid=call&caller=%2B41441234567").await;
        assert_eq!(found.json()["callid"], "call");
        served.stop();
    });
}
