//! What is raced.

use std::fmt;

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Engine {
    /// A file, flushed to the disk at every commit.
    Sqlite,
    /// A server, its durability as shipped.
    Postgres,
}

/// What is raced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Contender {
    /// Bare axum, constant answers.
    Bare,
    /// The gateway.
    Gateway(Engine),
    /// Python: `FastAPI` with `SQLAlchemy`, two workers.
    FastApi(Engine),
    /// Node: Fastify with better-sqlite3 or pg, two processes.
    Fastify(Engine),
}

impl Contender {
    /// Where its data is; `None` where it has none.
    pub fn engine(self) -> Option<Engine> {
        match self {
            Self::Bare => None,
            Self::Gateway(engine) | Self::FastApi(engine) | Self::Fastify(engine) => Some(engine),
        }
    }

    /// Whether its tables are those of the peers.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::FastApi(_) | Self::Fastify(_))
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare => f.write_str("bare"),
            Self::Gateway(engine) => write!(f, "gateway-{engine}"),
            Self::FastApi(engine) => write!(f, "fastapi-{engine}"),
            Self::Fastify(engine) => write!(f, "fastify-{engine}"),
        }
    }
}
