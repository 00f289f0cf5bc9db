//! Races the gateway; see `just bench`.

use calldata_bench::harness::Harness;
use calldata_bench::options::{Cli, Options};
use calldata_bench::postgres::Postgres;
use calldata_bench::server::Folder;
use calldata_bench::{Result, sets};
use clap::Parser;

fn main() -> Result {
    let options = Options::from(Cli::parse());
    let mut harness = Harness::new(options.clone(), Folder::make()?, Postgres::find()?);
    for set in options.sets {
        println!("{set:?}");
        sets::run(&mut harness, set)?;
    }
    Ok(())
}
