//! The project's goals, each a number of the results.

use serde::Serialize;

use super::Results;
use crate::contender::Engine;

/// A goal, and what was measured.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Goal {
    pub what: String,
    pub figure: String,
    pub at_least: f64,
    pub aim: f64,
    /// Whether more is better; a goal that is a bound otherwise.
    pub more_is_better: bool,
    pub unit: &'static str,
    pub measured: Option<f64>,
    pub grade: Grade,
}

/// How well a goal is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As aimed at.
    Aim,
    /// As needed.
    Met,
    /// Not as needed.
    Missed,
    /// Not in this run.
    NotMeasured,
}

/// All goals, for these engines.
pub fn all(results: &Results, engines: &[Engine]) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut goal = |what: String, figure: String, at_least: f64, aim: f64, more_is_better: bool, unit: &'static str| {
        let measured = results.spread(&figure).map(|spread| spread.median);
        let reaches = |measured: f64, bound: f64| if more_is_better { measured >= bound } else { measured <= bound };
        let grade = match measured {
            None => Grade::NotMeasured,
            Some(measured) if reaches(measured, aim) => Grade::Aim,
            Some(measured) if reaches(measured, at_least) => Grade::Met,
            Some(_) => Grade::Missed,
        };
        goals.push(Goal { what, figure, at_least, aim, more_is_better, unit, measured, grade });
    };
    for engine in engines {
        let (name, gateway) = (named(*engine), format!("gateway-{engine}"));
        let sqlite = *engine == Engine::Sqlite;
        for (what, set, of_sqlite, of_postgres) in [
            ("W", "w", (0.18, 0.35), (0.24, 0.38)),
            ("R recent", "r-recent", (0.65, 0.85), (0.18, 0.38)),
            ("R cold", "r-cold", (0.38, 0.60), (0.16, 0.35)),
        ] {
            let (least, aim) = if sqlite { of_sqlite } else { of_postgres };
            goal(format!("{what}, {name}, share of bare"), format!("ratio/{set}/{gateway}"), least, aim, true, "");
        }
        let fastapi = format!("{gateway}/fastapi-{engine}");
        goal(format!("W, {name}, against FastAPI"), format!("against/w/{fastapi}"), 18.0, 40.0, true, "×");
        goal(format!("R recent, {name}, against FastAPI"), format!("against/r-recent/{fastapi}"), 12.0, 40.0, true, "×");
        let fastify = format!("{gateway}/fastify-{engine}");
        if sqlite {
            goal(format!("R cold, {name}, against Fastify + better-sqlite3"), format!("against/r-cold/{fastify}"), 1.0, 1.0, true, "×");
        } else {
            goal(format!("W, {name}, against Fastify + pg"), format!("against/w/{fastify}"), 3.0, 4.5, true, "×");
            goal(format!("R recent, {name}, against Fastify + pg"), format!("against/r-recent/{fastify}"), 1.4, 3.0, true, "×");
        }
        let over = "p99 at 1 000/s";
        let figure = format!("latency-w-over-bare-and-flush/{gateway}");
        goal(format!("{over}, W, {name}, over bare's and one fdatasync's"), figure, 4.0, 2.0, false, "×");
        goal(format!("{over}, R, {name}, over bare's"), format!("latency-r-over-bare/{gateway}"), 2.5, 1.3, false, "×");
        goal(format!("growth, R cold, {name}"), format!("growth-r/{gateway}"), 0.75, 0.9, true, "");
        goal(format!("growth, Q of 20 records, {name}"), format!("growth-q/{gateway}"), 0.75, 0.9, true, "");
        let least = if sqlite { 12.0 } else { 30.0 };
        goal(format!("Q of many records over Q of 20, {name}"), format!("q-heavy-over-few/{gateway}"), least, 4.0, false, "×");
        goal(format!("Q of many records, page 1 000 over page 1, {name}"), format!("q-late-over-first/{gateway}"), 3.0, 1.2, false, "×");
        goal(format!("W p99 during a purge over before, {name}"), format!("purge-p99-ratio/{gateway}"), 5.0, 1.5, false, "×");
        goal(format!("export, first byte, {name}"), format!("export-first-byte-ms/{gateway}"), 1_000.0, 100.0, false, " ms");
        goal(format!("export, memory besides, {name}"), format!("export-memory-mb/{gateway}"), 50.0, 20.0, false, " MB");
        goal(format!("memory with recent sessions, {name}, at most"), format!("memory-mb/{gateway}"), 80.0, 40.0, false, " MB");
    }
    goals
}

fn named(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    }
}
