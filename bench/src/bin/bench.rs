//! Races the gateway; see `just bench`.

use calldata_bench::harness::Harness;
use calldata_bench::options::{Cli, Options};
use calldata_bench::postgres::Postgres;
use calldata_bench::report::{self, Machine};
use calldata_bench::server::Folder;
use calldata_bench::{Result, sets};
use clap::Parser;

fn main() -> Result {
    let options = Options::from(Cli::parse());
    let began = std::time::Instant::now();
    let mut harness = Harness::new(options.clone(), Folder::make()?, Postgres::find()?);
    let machine = Machine::here(harness.postgres.as_ref())?;
    println!("{}; the load generator runs on the same cores", machine.words());
    // What was measured before and after is worth keeping.
    let mut broken = Vec::new();
    for set in &options.sets {
        println!("\n{set:?}, after {} s", began.elapsed().as_secs());
        if let Err(error) = sets::run(&mut harness, *set) {
            eprintln!("  {set:?} ends early: {error}");
            broken.push(format!("{set:?} ended early: {error}"));
        }
    }
    let mut complaints = report::finish(harness.finish()?, &options, &machine)?;
    complaints.extend(broken);
    println!("took {} s", began.elapsed().as_secs());
    if complaints.is_empty() {
        return Ok(());
    }
    for complaint in &complaints {
        eprintln!("WRONG: {complaint}");
    }
    Err(format!("{} measurements are worth nothing: wrong answers, or none", complaints.len()).into())
}
