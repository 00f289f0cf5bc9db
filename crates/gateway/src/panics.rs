//! What is written down of a panic.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

use crate::log;

/// From now on a panic is logged by its place alone. Its words may repeat what a client sent: slicing a text between two bytes of a
/// character, for one, says the text.
pub(crate) fn say_where_only() {
    panic::set_hook(Box::new(|info| {
        // What led to it comes first.
        log::flush();
        let thread = std::thread::current();
        // Not by way of the log: that may be what panicked.
        let mut told = format!("panicked at {} in the thread {}", place(info), thread.name().unwrap_or("without a name"));
        // Places as well, and asked for by RUST_BACKTRACE.
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            told = format!("{told}\n{backtrace}");
        }
        eprintln!("{}", log::bare_line("ERROR", &told));
    }));
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or("an unknown place".into(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set for the child of the test.
    const PANIC: &str = "CALLDATA_TEST_PANIC";

    #[test]
    fn a_panic_says_where_and_not_about_what() {
        if std::env::var_os(PANIC).is_some() {
            say_where_only();
            // A text that is not known when this is built.
            let text = std::env::args().next().map(|_| "canary ü").unwrap_or_default();
            let panicked = std::thread::spawn(move || text.split_at(8).0.len()).join();
            assert!(panicked.is_err(), "it was to panic");
            return;
        }
        // A process of its own, for what is said of panics is said for all of it.
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "panics::tests::a_panic_says_where_and_not_about_what", "--nocapture"]);
        let said = again.env(PANIC, "1").env("RUST_BACKTRACE", "1").output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        assert!(said.contains("1 passed") && said.contains("panicked at ") && said.contains(".rs:"), "it says where: {said}");
        assert!(!said.contains("canary ü"), "{said}");
    }
}
