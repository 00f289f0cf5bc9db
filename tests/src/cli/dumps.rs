//! The memory of a server, which holds what callers said: who may read it, and what an erasure leaves there.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use calldata_testkit::client::Client;
use calldata_testkit::engine::{Engine, TestDatabase, on};
use calldata_testkit::program::{Place, Served};

use super::{create_key, create_tenant, post};

/// Runs the program as a user without rights, from a copy that this user may read.
const AS_NOBODY: [&str; 3] =
    ["sh", "-c", "cp \"$0\" gateway && chown -R 65534:65534 . && exec setpriv --reuid 65534 --regid 65534 --clear-groups ./gateway \"$@\""];

fn serve_without_rights(place: &Place) -> Served {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    place.try_serve(if is_root { &AS_NOBODY } else { &[] }).unwrap_or_else(|ended| panic!("{ended:?}"))
}

/// The kernel gives the files of a process that cannot be dumped to root, and so no debugger of the same user may read its memory.
fn is_dumpable(served: &Served) -> bool {
    std::fs::metadata(format!("/proc/{}/environ", served.id())).unwrap().uid() != 0
}

fn limit_of_core_dumps(served: &Served) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", served.id())).unwrap();
    limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_memory_of_a_server_is_dumped_nowhere_unless_that_is_asked_for() {
    let place = Place::new().with("CALLDATA_ADMIN_LISTEN", "127.0.0.1:0");
    let served = serve_without_rights(&place);
    assert!(!is_dumpable(&served));
    assert!(limit_of_core_dumps(&served).starts_with("0 "), "{}", limit_of_core_dumps(&served));
    // Metrics of the process come from files that now belong to root.
    let metrics = Client::new(served.admin_address()).request("GET", "/metrics", &[], Vec::new()).await;
    for name in ["process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_threads", "process_start_time_seconds"] {
        let value = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{name}: {}", metrics.text());
    }
    served.stop();

    let place = Place::new().with("CALLDATA_CORE_DUMPS", "true");
    let served = serve_without_rights(&place);
    assert!(is_dumpable(&served));
    assert!(served.stop().contains("--core-dumps"), "it is warned about");
}

/// The recent sessions in the form in which only the cache of SQLite databases has them: a call and a caller, each after its length.
fn in_cache(calls: &[String], caller: &str) -> Vec<Vec<u8>> {
    let prefixed = |text: &str| [&[u8::try_from(text.len() + 1).unwrap()], text.as_bytes()].concat();
    calls.iter().map(|call| [prefixed(call), prefixed(caller)].concat()).collect()
}

/// What a process has in memory, in pieces, without pages of zeros.
fn memory_of(process: u32) -> Vec<Vec<u8>> {
    const PAGE: usize = 4_096;
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut pieces = vec![Vec::new()];
    for map in maps.lines() {
        let mut words = map.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let ends: Vec<_> = range.split('-').map(|end| u64::from_str_radix(end, 16).unwrap()).collect();
        if !rights.starts_with("rw") {
            continue;
        }
        let mut page = [0; PAGE];
        for at in (ends[0]..ends[1]).step_by(PAGE) {
            // Guards of stacks cannot be read.
            let is_read = memory.read_exact_at(&mut page, at).is_ok() && page != [0; PAGE];
            match pieces.last_mut() {
                Some(piece) if is_read => piece.extend_from_slice(&page),
                Some(piece) if piece.is_empty() => {}
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.push(Vec::new());
    }
    pieces
}

fn count(memory: &[Vec<u8>], wanted: &[Vec<u8>]) -> usize {
    let first = wanted[0][0];
    let starts = memory.iter().flat_map(|piece| (0..piece.len()).filter(|at| piece[*at] == first).map(|at| &piece[at..]));
    starts.filter(|start| wanted.iter().any(|wanted| start.starts_with(wanted))).count()
}

#[test]
fn the_cache_of_recent_sessions_is_overwritten_before_an_erasure_is_answered() {
    on(&[Engine::Sqlite], TestDatabase::new, async |database| {
        // Memory is read as a debugger reads it.
        let place = Place::with_database(database).with("CALLDATA_CORE_DUMPS", "true");
        create_tenant(&place, "c");
        let (_, key) = create_key(&place, "c", &["--scope", "write", "--scope", "read", "--scope", "admin"]);
        let served = place.serve(&[]);
        let client = served.client();
        let calls: Vec<_> = (100..140).map(|number| format!("remembered-{number}")).collect();
        for call in &calls {
            // One that is larger than the pieces of the cache.
            let content = "x".repeat(if call.ends_with("20") { 300_000 } else { 100 });
            let input = format!(r#"{{"callid":"{call}","callerid":"+4915167389245","content":"{content}"}}"#);
            assert_eq!(post(&client, "c", &key, &input).await.status, 200);
        }
        let wanted = in_cache(&calls, "+4915167389245");
        assert_eq!(count(&memory_of(served.id()), &wanted), calls.len(), "each is in memory once");
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let erased = client.request("POST", "/v1/callers:erase", &headers, br#"{"caller":"+4915167389245"}"#.to_vec()).await;
        assert_eq!(erased.json()["sessions"], calls.len());
        assert_eq!(count(&memory_of(served.id()), &wanted), 0);
        served.stop();
    });
}
