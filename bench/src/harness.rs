//! Runs contenders in turn, round by round, and remembers what each of them gave.

use std::collections::HashMap;
use std::time::Duration;

use crate::contender::{Contender, Engine};
use crate::load::{self, Plan, Run};
use crate::names;
use crate::options::{Options, Peer};
use crate::postgres::Postgres;
use crate::processes::Memory;
use crate::report::{Record, Results};
use crate::rows::Filling;
use crate::server::{Folder, Server};
use crate::stores::{self, FRESH, Store};
use crate::work::{Posts, Work};
use crate::{Error, Result};

/// How many posts one run can make; the numbers of the next run begin after them.
const POSTS_A_RUN: u64 = 20_000_000;

/// Makes what each connection of a load does.
pub type Works<'a> = &'a dyn Fn(usize) -> Box<dyn Work>;

/// Everything that runs need.
pub struct Harness {
    /// What was asked for.
    pub options: Options,
    /// Where everything is.
    pub folder: Folder,
    /// The throwaway server, where there is one.
    pub postgres: Option<Postgres>,
    /// What was measured so far.
    pub results: Results,
    stores: HashMap<(bool, Engine, Filling), Store>,
    next_post: u64,
}

impl Harness {
    /// Nothing is measured yet.
    pub fn new(options: Options, folder: Folder, postgres: Option<Postgres>) -> Self {
        Self { options, folder, postgres, results: Results::default(), stores: HashMap::new(), next_post: names::POSTED }
    }

    /// The gateway on every engine asked for.
    pub fn gateways(&self) -> Vec<Contender> {
        self.options.engines.iter().copied().map(Contender::Gateway).collect()
    }

    /// The gateway where it takes long to measure: on the first engine only, in the short form.
    pub fn few_gateways(&self) -> Vec<Contender> {
        let count = if self.options.short { 1 } else { usize::MAX };
        self.gateways().into_iter().take(count).collect()
    }

    /// Bare axum, the gateway, and the peers; these in the first round only, in the short form.
    pub fn everybody(&self, round: u32) -> Vec<Contender> {
        let mut everybody = vec![Contender::Bare];
        everybody.extend(self.gateways());
        let with_peers = round == 0 || !self.options.short;
        for engine in self.options.engines.iter().filter(|_| with_peers) {
            for peer in &self.options.peers {
                match peer {
                    Peer::Fastapi => everybody.push(Contender::FastApi(*engine)),
                    Peer::Fastify => everybody.push(Contender::Fastify(*engine)),
                    Peer::None => {}
                }
            }
        }
        everybody
    }

    /// A database that was filled once, and is only read until the end, or written to by the last who need it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn shared_store(&mut self, contender: Contender, filling: Filling) -> Result<Option<Store>> {
        let Some(engine) = contender.engine() else { return Ok(None) };
        let key = (contender.is_peer(), engine, filling);
        if let Some(store) = self.stores.get(&key) {
            return Ok(Some(store.clone()));
        }
        let began = std::time::Instant::now();
        let store = stores::make(&self.folder, self.postgres.as_ref(), contender, &format!("shared-{}", self.stores.len()), filling)?;
        eprintln!("  {} rows for {contender} made in {:.1} s", filling.count(), began.elapsed().as_secs_f64());
        self.stores.insert(key, store.clone());
        Ok(Some(store))
    }

    /// Deletes a database that nobody needs any more.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn drop_store(&mut self, contender: Contender, filling: Filling) -> Result {
        let store = contender.engine().and_then(|engine| self.stores.remove(&(contender.is_peer(), engine, filling)));
        store.map_or(Ok(()), |store| stores::delete(self.postgres.as_ref(), &store))
    }

    /// Deletes all databases, and hands over what was measured.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub fn finish(mut self) -> Result<Results> {
        for (_, store) in self.stores.drain() {
            stores::delete(self.postgres.as_ref(), &store)?;
        }
        stores::delete_fresh(&self.folder)?;
        Ok(self.results)
    }

    /// A database for one run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn fresh_store(&self, contender: Contender, filling: Filling) -> Result<Option<Store>> {
        if contender == Contender::Bare {
            return Ok(None);
        }
        stores::make(&self.folder, self.postgres.as_ref(), contender, FRESH, filling).map(Some)
    }

    /// Starts a contender.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, contender: Contender, store: Option<&Store>) -> Result<Server> {
        Server::start(&self.folder, self.postgres.as_ref(), contender, store, false)
    }

    /// Starts a gateway that tells its metrics.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with_metrics(&self, contender: Contender, store: Option<&Store>) -> Result<Server> {
        Server::start(&self.folder, self.postgres.as_ref(), contender, store, true)
    }

    /// What connections post next: nothing that was posted before.
    pub fn post_numbers(&mut self) -> PostNumbers {
        let first = self.next_post;
        self.next_post += POSTS_A_RUN;
        PostNumbers { first, step: u64::try_from(self.options.connections).unwrap_or(1) }
    }

    /// The same, for a load of nothing else.
    pub fn posts(&mut self) -> impl Fn(usize) -> Box<dyn Work> + use<> {
        let numbers = self.post_numbers();
        move |number| Box::new(numbers.of(number))
    }

    /// Posts the sessions of the last minute through the server itself.
    ///
    /// # Errors
    /// When one of them is not taken.
    pub fn post_recent(&self, server: &Server) -> Result {
        let (count, connections) = (self.options.recent, self.options.connections);
        let step = u64::try_from(connections)?;
        let work = |number| -> Box<dyn Work> {
            let first = names::RECENT + u64::try_from(number).unwrap_or(0);
            Box::new(Posts::new(first, step, names::RECENT + count))
        };
        let plan = Plan { connections, threads: self.options.threads, warm_up: Duration::ZERO, measure: Duration::from_secs(600) };
        let run = load::closed(server.address, plan, &work, &|| Ok(Duration::ZERO))?;
        let done = run.tally.right;
        if done == count { Ok(()) } else { Err(format!("{done} of {count} sessions were taken: {:?}", run.tally.wrong_example).into()) }
    }

    /// One measurement in the closed loop; it is printed and remembered.
    ///
    /// # Errors
    /// When the load breaks.
    pub fn measure(&mut self, set: &str, contender: Contender, round: u32, server: &Server, work: Works<'_>) -> Result<f64> {
        let Options { connections, threads, warm_up, measure, .. } = self.options;
        let plan = Plan { connections, threads, warm_up, measure };
        let run = load::closed(server.address, plan, work, &|| server.cpu()).map_err(|error| context(set, contender, error))?;
        let record = record(set, contender, round, server, &run)?;
        let rate = record.rate;
        self.results.add(record);
        Ok(rate)
    }
}

/// Numbers that were not posted yet, shared out to connections.
#[derive(Clone, Copy, Debug)]
pub struct PostNumbers {
    first: u64,
    step: u64,
}

impl PostNumbers {
    /// The posts of a connection.
    pub fn of(self, number: usize) -> Posts {
        let first = self.first + u64::try_from(number).unwrap_or(0);
        Posts::new(first, self.step, self.first + POSTS_A_RUN)
    }
}

/// Says where it happened.
pub fn context(set: &str, contender: Contender, error: Error) -> Error {
    format!("{set}, {contender}: {error}").into()
}

fn record(set: &str, contender: Contender, round: u32, server: &Server, run: &Run) -> Result<Record> {
    let Run { tally, elapsed, client_cpu, server_cpu } = run;
    let answers = tally.right + tally.misses;
    let each_us = |cpu: &Duration| cpu.as_secs_f64() * 1e6 / answers.max(1) as f64;
    let memory: Memory = server.memory()?;
    Ok(Record {
        set: set.into(),
        contender: contender.to_string(),
        round,
        rate: answers as f64 / elapsed.as_secs_f64(),
        hits: tally.right,
        misses: tally.misses,
        wrong: tally.wrong,
        wrong_example: tally.wrong_example.clone(),
        p50_us: tally.quantile_us(0.5),
        p99_us: tally.quantile_us(0.99),
        p999_us: tally.quantile_us(0.999),
        server_cpu_us: each_us(server_cpu),
        client_cpu_us: each_us(client_cpu),
        memory,
    })
}
