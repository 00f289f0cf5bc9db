//! A clock that a test sets, for programs that run as processes of their own.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::program::Place;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/shifted_clock.c");

/// The clock of the programs in a place, which is wrong by what a test says; how fast time passes stays as it is.
#[derive(Debug)]
pub struct ShiftedClock {
    folder: TempDir,
    shift: File,
}

impl ShiftedClock {
    /// A clock that is right, so far.
    ///
    /// # Panics
    /// When there is no C compiler: the linker of Rust programs is one.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let library = folder.path().join("shifted_clock.so");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(SOURCE).arg("-ldl").status();
        assert!(compiled.expect("there is a C compiler").success(), "the library that shifts the clock cannot be compiled");
        let shift = OpenOptions::new().create(true).truncate(true).write(true).open(of(folder.path())).expect("files can be written");
        let clock = Self { folder, shift };
        clock.shift(0);
        clock
    }

    /// The same place, whose programs go by this clock.
    ///
    /// # Panics
    /// When the name of a temporary folder is no text.
    pub fn in_place(&self, place: Place) -> Place {
        let text = |path: PathBuf| path.to_str().expect("temporary folders have names that are text").to_owned();
        place.with("LD_PRELOAD", text(self.folder.path().join("shifted_clock.so"))).with("SHIFTED_CLOCK", text(of(self.folder.path())))
    }

    /// Sets the clock ahead by this, compared with the right time.
    pub fn ahead(&self, by: Duration) {
        self.shift(i64::try_from(by.as_secs()).unwrap_or(i64::MAX));
    }

    /// Sets the clock back by this, compared with the right time.
    pub fn behind(&self, by: Duration) {
        self.shift(-i64::try_from(by.as_secs()).unwrap_or(i64::MAX));
    }

    /// Sets the clock right.
    pub fn right(&self) {
        self.shift(0);
    }

    fn shift(&self, seconds: i64) {
        self.shift.write_all_at(&seconds.to_ne_bytes(), 0).expect("the file can be written");
    }
}

impl Default for ShiftedClock {
    fn default() -> Self {
        Self::new()
    }
}

fn of(folder: &Path) -> PathBuf {
    folder.join("shift")
}
