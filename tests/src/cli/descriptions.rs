//! The API description and its page: where they are served, and by which policy.

use base64::Engine as _;
use calldata_testkit::client::{Answer, Client};
use calldata_testkit::program::Place;
use sha2::{Digest, Sha256};

const PATHS: [&str; 8] = [
    "/docs",
    "/docs/",
    "/docs/swagger-ui-bundle.js",
    "/openapi.json",
    "/openapi/gateway.json",
    "/openapi/parloa.json",
    "/openapi/oifde.json",
    "/openapi/sessions.json",
];

async fn fetch(client: &Client, path: &str) -> Answer {
    client.request("GET", path, &[], Vec::new()).await
}

async fn statuses(client: &Client) -> Vec<u16> {
    let mut statuses = Vec::new();
    for path in PATHS {
        statuses.push(fetch(client, path).await.status);
    }
    statuses
}

#[tokio::test]
async fn the_description_is_served_with_the_api_with_the_metrics_or_nowhere() {
    let place = Place::new();
    let there = [303, 200, 200, 200, 200, 200, 200, 200];
    for (docs, on_api, on_admin) in [
        (&[][..], there, [404; 8]),
        (&["--docs", "on"], there, [404; 8]),
        (&["--docs", "admin"], [404; 8], there),
        (&["--docs", "off"], [404; 8], [404; 8]),
    ] {
        let served = place.serve(&[docs, &["--admin-listen", "127.0.0.1:0"]].concat());
        assert_eq!(statuses(&served.client()).await, on_api, "{docs:?}");
        assert_eq!(statuses(&Client::new(served.admin_address())).await, on_admin, "{docs:?}");
        served.stop();
    }
    assert!(place.run(&["serve", "--docs", "admin"]).failure().contains("--admin-listen"));
    assert_eq!(place.run(&["serve", "--docs", "secret"]).status, Some(2));
}

#[tokio::test]
async fn the_page_of_the_description_has_a_policy_and_is_shown_in_no_frame() {
    let place = Place::new();
    let served = place.serve(&["--admin-listen", "127.0.0.1:0"]);
    let beside = place.path("beside.db").display().to_string();
    let other = place.serve(&["--docs", "admin", "--admin-listen", "127.0.0.1:0", "--database-url", &format!("sqlite://{beside}")]);
    for client in [served.client(), Client::new(other.admin_address())] {
        for path in ["/docs", "/docs/", "/docs/index.html", "/docs/swagger-ui-bundle.js", "/docs/oauth2-redirect.html", "/docs/nothing"] {
            let answer = fetch(&client, path).await;
            let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{path} has no policy"));
            for part in ["default-src 'none'", "frame-ancestors 'none'", "script-src 'self';", "base-uri 'none'", "form-action 'none'"] {
                assert!(policy.contains(part), "{path}: {part}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        }
    }
    other.stop();
    served.stop();
}

/// The policy allows one style by its hash: that of the logo, which the page's script puts into the page.
#[tokio::test]
async fn the_policy_allows_the_style_that_the_page_brings_along() {
    const STYLE: &str = ".logo_small_svg__cls-2{fill:#fff}.logo_small_svg__cls-3{fill:#85ea2d}";
    let place = Place::new();
    let served = place.serve(&[]);
    let client = served.client();
    let page = fetch(&client, "/docs/").await;
    let hash = base64::prelude::BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains(&format!("style-src 'self' 'sha256-{hash}'")), "{hash}: {policy}");
    assert!(!page.text().contains("<style") && !page.text().contains(" style="), "{}", page.text());
    let scripts = ["swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"];
    let mut brought_along = false;
    for script in scripts {
        brought_along |= fetch(&client, &format!("/docs/{script}")).await.text().contains(STYLE);
    }
    assert!(brought_along, "Swagger UI has another style now: compute its hash, and look at the page in a browser");
    served.stop();
}
