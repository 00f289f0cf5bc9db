//! Written through one dialect, read through the other: nothing is lost and nothing invented (docs/crossing.md).

mod expressible;
mod generators;
mod properties;
