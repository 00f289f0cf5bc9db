//! What the whole has to do, seen from outside. To add a subject: a module here and a file beside this one.

#![cfg(test)]

mod architecture;
mod attack;
mod cli;
mod contract;
mod cross_dialect;
mod documents;
mod examples;
mod faults;
mod front;
mod instances;
mod native;
mod observability;
mod overload;
mod push;
mod security;
mod store;
