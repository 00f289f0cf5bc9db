//! What is written down of a panic.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

/// From now on a panic is logged by its place alone. Its words may repeat what a client sent: slicing a text between two bytes of a
/// character, for one, says the text.
pub fn say_where_only() {
    panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        // Not by way of the log: that may be what panicked.
        eprintln!("panicked at {} in the thread {}", place(info), thread.name().unwrap_or("without a name"));
        // Places as well, and asked for by RUST_BACKTRACE.
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            eprintln!("{backtrace}");
        }
    }));
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or("an unknown place".into(), ToString::to_string)
}
