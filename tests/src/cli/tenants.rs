//! `tenant`.

use calldata_testkit::engine::on_every_engine;
use calldata_testkit::program::Place;
use serde_json::json;

use super::{create_key, create_tenant, post};

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
            "oifdeTimeZone": "UTC", "retentionDays": 30, "missStatus": 200, "missReason": true, "keyInUrl": true, "suspended": false,
        });
        assert_eq!(created, expected);
        let text = place.run(&["tenant", "show", "acme"]).fine();
        for (name, value) in [("clientId", "acme"), ("tenantId", "t-acme"), ("retentionDays", "30"), ("suspended", "false")] {
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
        ];
        let create = ["tenant", "create", "--name", "N", "--client-id", "c", "--tenant-id", "t", "--json"];
        let created = place.run(&[&create[..], &properties].concat()).json();
        let shown = |names: [&str; 7]| names.map(|name| created[name].clone());
        let names = ["defaultCountry", "timeZone", "oifdeTimeZone", "retentionDays", "missStatus", "missReason", "keyInUrl"];
        let expected = [json!("CH"), json!("Europe/Zurich"), json!("Asia/Shanghai"), json!(7), json!(404), json!(false), json!(false)];
        assert_eq!(shown(names), expected);

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
