//! What is written is read as what it was, in every format.

mod csv;
mod generated;
mod native;
