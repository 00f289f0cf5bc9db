//! Requests that must not be done twice: their clients give them a name, and repeat them under it.

use calldata_core::port::Once;
use sha2::{Digest, Sha256};

use crate::problem::Problem;
use crate::visit::Visit;

/// The header that names a request.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
const MAX_NAME_BYTES: usize = 255;

/// The name of a request for `what`, if it has one, and what is asked for in it.
pub(crate) fn once(visit: &Visit, what: &str, body: &[u8]) -> Result<Option<Once>, Problem> {
    let Some(name) = visit.header(IDEMPOTENCY_KEY)? else { return Ok(None) };
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(Problem::invalid("Idempotency-Key", &format!("must have 1 to {MAX_NAME_BYTES} characters")));
    }
    let hash = |parts: [&[u8]; 2]| {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    };
    Ok(Some(Once { name: hash([b"name", name.as_bytes()]), request: hash([what.as_bytes(), body]) }))
}
