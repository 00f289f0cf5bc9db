//! JSON objects and arrays on their way out.

use calldata_core::Timestamp;
use calldata_core::json_text::push_string;

/// An object that is being written at the end of a text.
pub(crate) struct Object<'o> {
    out: &'o mut String,
    empty: bool,
    without: &'o [&'o str],
}

impl<'o> Object<'o> {
    pub(crate) fn open(out: &'o mut String) -> Self {
        Self::open_without(out, &[])
    }

    /// The same; members of these names are passed over.
    pub(crate) fn open_without(out: &'o mut String, without: &'o [&'o str]) -> Self {
        out.push('{');
        Self { out, empty: true, without }
    }

    /// A member whose value `write` appends.
    pub(crate) fn value(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        if self.without.contains(&name) {
            return;
        }
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(',');
        }
        push_string(self.out, name);
        self.out.push(':');
        write(self.out);
    }

    /// A member whose value is JSON already.
    pub(crate) fn json(&mut self, name: &str, value: &str) {
        self.value(name, |out| out.push_str(value));
    }

    pub(crate) fn string(&mut self, name: &str, value: &str) {
        self.value(name, |out| push_string(out, value));
    }

    pub(crate) fn string_if_known(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(name, value);
        }
    }

    pub(crate) fn time(&mut self, name: &str, value: Timestamp) {
        self.value(name, |out| push_time(out, value));
    }

    pub(crate) fn time_if_known(&mut self, name: &str, value: Option<Timestamp>) {
        if let Some(value) = value {
            self.time(name, value);
        }
    }

    pub(crate) fn close(self) {
        self.out.push('}');
    }
}

/// Appends a time as a JSON string, in UTC to the millisecond.
pub(crate) fn push_time(out: &mut String, time: Timestamp) {
    out.push('"');
    out.push_str(&time.to_string());
    out.push('"');
}

/// Appends an array whose items `write` appends.
pub(crate) fn push_array<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut write: impl FnMut(T, &mut String)) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}
