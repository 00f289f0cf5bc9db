//! Settings: a flag wins over the environment, the environment over the file.

use calldata_testkit::program::Place;

use super::{create_tenant, gettoken, history};

/// The databases that a command makes.
fn databases(place: &Place) -> Vec<String> {
    let paths = std::fs::read_dir(place.path(".")).unwrap().map(|entry| entry.unwrap().path());
    let made = paths.filter(|path| path.extension().is_some_and(|extension| extension == "db"));
    let mut names: Vec<_> = made.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn without_settings_the_database_is_a_file_where_one_stands() {
    let place = Place::new();
    place.run(&["tenant", "list"]).fine();
    assert_eq!(databases(&place), ["calldata.db"]);
}

#[test]
fn a_flag_wins_over_the_environment_and_the_environment_over_the_file() {
    let place = Place::new();
    place.write("calldata.toml", "database-url = \"sqlite://of-file.db\"\n");
    place.run(&["tenant", "list"]).fine();
    assert_eq!(databases(&place), ["of-file.db"]);
    let place = place.with("CALLDATA_DATABASE_URL", "sqlite://of-environment.db");
    place.run(&["tenant", "list"]).fine();
    assert_eq!(databases(&place), ["of-environment.db", "of-file.db"]);
    place.run(&["tenant", "list", "--database-url", "sqlite://of-flag.db"]).fine();
    assert_eq!(databases(&place), ["of-environment.db", "of-file.db", "of-flag.db"]);
}

#[test]
fn the_address_follows_the_same_order() {
    let taken = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [of_file, of_environment, of_flag] = taken.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let place = Place::new();
    place.write("calldata.toml", format!("listen = \"{of_file}\"\n"));
    assert!(place.run(&["serve"]).failure().contains(&of_file));
    let place = place.with("CALLDATA_LISTEN", &of_environment);
    assert!(place.run(&["serve"]).failure().contains(&of_environment));
    assert!(place.run(&["serve", "--listen", &of_flag]).failure().contains(&of_flag));
}

#[test]
fn a_settings_file_may_have_another_name_and_must_say_what_is_known() {
    let place = Place::new();
    place.write("other.toml", "database-url = \"sqlite://of-other.db\"\n");
    place.run(&["tenant", "list", "--config", "other.toml"]).fine();
    let place = place.with("CALLDATA_CONFIG", "other.toml");
    place.run(&["tenant", "list"]).fine();
    assert_eq!(databases(&place), ["of-other.db"]);
    for wrong in ["token-secrets = \"hush\"", "listen = \"hush\"", "token-secret = [\"hush\"]", "hush"] {
        place.write("other.toml", format!("log = \"info\"\n{wrong}\n"));
        let failure = place.run(&["tenant", "list"]).failure();
        assert!(failure.contains("other.toml, line 2") && !failure.contains("hush\""), "{wrong}: {failure}");
    }
}

#[test]
fn secrets_may_be_in_files_whose_names_follow_the_same_order() {
    let place = Place::new();
    place.write("url", "sqlite://of-secret-file.db\n");
    place.run(&["tenant", "list", "--database-url-file", "url"]).fine();
    assert_eq!(databases(&place), ["of-secret-file.db"]);

    place.write("calldata.toml", "database-url = \"sqlite://of-file.db\"\n");
    place.write("url", "sqlite://of-environment.db\r\n");
    let place = place.with("CALLDATA_DATABASE_URL_FILE", "url");
    place.run(&["tenant", "list"]).fine();
    assert_eq!(databases(&place), ["of-environment.db", "of-secret-file.db"], "the environment hides the file's");
    place.run(&["tenant", "list", "--database-url", "sqlite://of-flag.db"]).fine();
    assert_eq!(databases(&place), ["of-environment.db", "of-flag.db", "of-secret-file.db"], "a flag hides the environment's");

    place.write("url", "sqlite://of-flag-file.db\n");
    let place = place.without("CALLDATA_DATABASE_URL_FILE").with("CALLDATA_DATABASE_URL", "sqlite://hidden.db");
    place.run(&["tenant", "list", "--database-url-file", "url"]).fine();
    assert_eq!(databases(&place), ["of-environment.db", "of-flag-file.db", "of-flag.db", "of-secret-file.db"]);
    let both = place.with("CALLDATA_DATABASE_URL_FILE", "url").run(&["tenant", "list"]).failure();
    assert!(both.contains("keep one"), "both at one place contradict each other: {both}");
}

#[tokio::test]
async fn oif_a2_the_token_secret_can_be_rotated() {
    let place = Place::new();
    create_tenant(&place, "c");
    let (_, key) = super::create_key(&place, "c", &[]);
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    place.write("old", format!("{old}\n"));
    let served = place.serve(&["--token-secret-file", "old"]);
    let token = gettoken(&served.client(), "c", &key).await["authToken"].as_str().unwrap().to_owned();
    served.stop();
    let place = place.with("CALLDATA_TOKEN_SECRET", &new);
    for (previous, code) in
        [(&["--previous-token-secret", old.as_str()][..], 0), (&["--previous-token-secret-file", "old"], 0), (&[], 900_002)]
    {
        let served = place.serve(previous);
        assert_eq!(history(&served.client(), "c", &token, r#""callId":"x""#).await["errorCode"], code, "{previous:?}");
        served.stop();
    }
}

#[tokio::test]
async fn limits_are_settings_too() {
    let place = Place::new();
    create_tenant(&place, "c");
    let (_, key) = super::create_key(&place, "c", &[]);
    let input = format!(r#"{{"callid":"call","callerid":"u","content":"{}"}}"#, "x".repeat(500));
    for (limit, status) in [("400", 413), ("4000", 200)] {
        let served = place.serve(&["--max-body-bytes", limit]);
        assert_eq!(super::post(&served.client(), "c", &key, &input).await.status, status, "{limit}");
        served.stop();
    }
}

#[tokio::test]
async fn proxies_and_origins_may_be_repeated_or_listed() {
    let place = Place::new();
    for (place, arguments) in [
        (&place, &["--cors-origin", "https://a.example", "--cors-origin", "https://b.example", "--trusted-proxy", "10.0.0.0/8,::1"][..]),
        (&Place::new().with("CALLDATA_CORS_ORIGIN", "https://a.example,https://b.example"), &[]),
    ] {
        let served = place.serve(arguments);
        for (origin, allowed) in [("https://a.example", true), ("https://b.example", true), ("https://c.example", false)] {
            let answer = served.client().request("GET", "/livez", &[("origin", origin)], Vec::new()).await;
            assert_eq!(answer.header("access-control-allow-origin").is_some(), allowed, "{origin}");
        }
        served.stop();
    }
    for wrong in [["--trusted-proxy", "proxy"], ["--cors-origin", "*"], ["--max-connections", "0"]] {
        let ended = place.run(&[&["serve"], &wrong[..]].concat());
        assert_eq!(ended.status, Some(2), "{wrong:?}: {}", ended.err);
    }
}

#[test]
fn nonsense_is_refused_at_the_start_and_told_by_config_check() {
    let place = Place::new();
    place.write("certificate", "");
    for (wrong, told) in [
        (&["--deadline-ms", "0"][..], "--deadline-ms is 0"),
        (&["--deadline-ms", "18446744073709551615"], "--deadline-ms is 18446744073709551615"),
        (&["--max-body-bytes", "0"], "--max-body-bytes is 0"),
        (&["--max-body-bytes", "18446744073709551615"], "--max-body-bytes is 18446744073709551615"),
        (&["--max-requests", "1"], "--max-requests is 1"),
        (&["--max-requests", "18446744073709551615"], "--max-requests is 18446744073709551615"),
        (&["--max-connections", "18446744073709551615"], "--max-connections is 18446744073709551615"),
        (&["--tenant-rate", "4294967295"], "--tenant-rate is 4294967295"),
        (&["--drain-s", "18446744073709551615"], "--drain-s is 18446744073709551615"),
        (&["--admin-listen", "0.0.0.0:8080"], "both listen on 0.0.0.0:8080"),
        (&["--docs", "admin"], "--admin-listen"),
        (&["--tls-key", "certificate"], "--tls-certificate"),
        (&["--tls-certificate", "certificate"], "--tls-key"),
    ] {
        for command in ["serve", "demo"] {
            let failure = place.run(&[&[command], wrong].concat()).failure();
            assert!(failure.contains(told), "{command} {wrong:?}: {failure}");
        }
        let checked = place.run(&[&["config", "check"], wrong].concat());
        assert!(checked.status == Some(1) && checked.out.contains(told) && checked.out.lines().count() == 1, "{wrong:?}: {}", checked.out);
        let doctor = place.run(&[&["doctor"], wrong].concat());
        assert!(doctor.status == Some(1) && doctor.out.contains(told), "{wrong:?}: {}", doctor.out);
    }
    assert!(!place.path("calldata.db").exists(), "they are refused before anything is made");
}

#[test]
fn a_secret_on_the_command_line_is_warned_about_and_not_shown() {
    let place = Place::new();
    let secret = "hush-".repeat(8);
    place.write("secret", &secret);
    let flag = ["--token-secret", secret.as_str()];
    let checked = place.run(&[&["config", "check"], &flag[..]].concat()).fine();
    assert!(
        checked.contains("warning: --token-secret can be read by every user") && checked.ends_with("the settings are fine\n"),
        "{checked}"
    );
    let doctor = place.run(&[&["doctor", "--listen", "127.0.0.1:0"], &flag[..]].concat()).fine();
    assert!(doctor.contains("note   settings     --token-secret can be read") && doctor.contains("--token-secret-file"), "{doctor}");
    let served = place.serve(&flag);
    let log = served.stop();
    assert!(log.contains("--token-secret can be read") && log.contains("--token-secret-file"), "{log}");
    for told in [checked, doctor, log] {
        assert!(!told.contains("hush"), "{told}");
    }
    let password = ["config", "check", "--database-url", "postgres://user:hush@db/x", "--token-secret-file", "secret"];
    let checked = place.run(&password).fine();
    assert!(checked.contains("the password in --database-url") && !checked.contains("hush"), "{checked}");

    let served = place.serve(&["--token-secret-file", "secret"]);
    assert!(!served.stop().contains("can be read by every user"));
    let place = place.with("CALLDATA_TOKEN_SECRET", &secret);
    assert!(!place.run(&["config", "check"]).fine().contains("warning"));
}
