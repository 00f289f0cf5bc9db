//! The three ways in which many sessions are written down: one JSON object a line, a table, one vCon a line.

use calldata_core::{Session, Tenant, Zone};

use crate::{csv, vcon, write_session};

/// How sessions are written down.
#[derive(Clone, Debug)]
pub enum Format {
    /// One JSON object a line, the published shape of a session.
    Sessions,
    /// A table, its times in this zone.
    Csv(Zone),
    /// One vCon a line.
    Vcon,
}

impl Format {
    /// Writes what comes before the first session.
    pub fn begin(&self, out: &mut Vec<u8>) {
        match self {
            Self::Csv(_) => csv::write_header(out),
            Self::Sessions | Self::Vcon => {}
        }
    }

    /// Writes sessions of this tenant.
    pub fn write(&self, sessions: &[Session], tenant: &Tenant, out: &mut Vec<u8>) {
        for session in sessions {
            self.write_one(session, tenant, out);
        }
    }

    fn write_one(&self, session: &Session, tenant: &Tenant, out: &mut Vec<u8>) {
        let mut line = String::new();
        match self {
            Self::Csv(zone) => return csv::write_row(session, zone, out),
            Self::Sessions => write_session(session, &mut line),
            Self::Vcon => vcon::write(session, &tenant.name, &mut line),
        }
        line.push('\n');
        out.extend_from_slice(line.as_bytes());
    }
}
