//! Core dumps and debuggers: the memory of the process holds what callers said.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// From now on the system writes no core dump of this process, and no process of the same user may read its memory; root still may.
pub(crate) fn disable() {
    // The limit counts for programs that this one might start, which are dumpable again.
    let limit = Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
    let disabled = set_dumpable_behavior(DumpableBehavior::NotDumpable).and_then(|()| setrlimit(Resource::Core, limit));
    if let Err(error) = disabled {
        tracing::warn!(error = &error as &dyn std::error::Error, "core dumps cannot be switched off");
    }
}
