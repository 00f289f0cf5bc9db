//! The newest session of each recent call and caller.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::packed::{Packed, pack, packed_len_bound, receive_again};
use crate::entity::session::Model;

/// What is kept at most, in bytes of rows, which is some 100 000 of the usual size; 20 to 40 bytes a row are spent on finding them.
const MAX_BYTES: usize = 34 << 20;
/// For how long. What was learned during a call is asked for during the call; a copy of it should not lie about.
const MAX_AGE: Duration = Duration::from_mins(15);
/// What a piece holds, and for how long it is filled: pieces are dropped as a whole.
const PIECE_BYTES: usize = 256 << 10;
const PIECE_AGE: Duration = Duration::from_secs(30);

/// Sessions by hashes of tenant, call and caller. Where two have one hash, one of them is not known.
///
/// Rows lie one after another in pieces, oldest first, so that they need no more memory than they have bytes. One that was replaced stays
/// in its piece and is not found any more.
pub(super) struct Sessions {
    /// Of every tenant, call and caller with a row that was received later than this, the newest is here.
    floor: i64,
    places: HashMap<u64, Place>,
    pieces: VecDeque<Piece>,
    /// The number of the first piece.
    first: u32,
    bytes: usize,
}

/// Where a row begins.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    piece: u32,
    at: u32,
}

struct Piece {
    since: Instant,
    /// None was first received earlier than this.
    oldest: i64,
    /// Rows: their hash, their length, and what was packed.
    rows: Vec<u8>,
}

impl Drop for Piece {
    /// Freed memory keeps its content until it is used again, which may be never.
    fn drop(&mut self) {
        overwrite(&mut self.rows);
    }
}

/// Below this a row leaves a piece as large as it was made.
const USUAL_BYTES: usize = 2 << 10;
/// What stands before a packed row.
const HEAD_BYTES: usize = 12;

impl Default for Sessions {
    /// Nothing is known, and nothing can be.
    fn default() -> Self {
        Self::after(i64::MAX)
    }
}

impl Sessions {
    /// Nothing is known, and nothing was received later than `floor`.
    pub(super) fn after(floor: i64) -> Self {
        Self { floor, places: HashMap::new(), pieces: VecDeque::new(), first: 0, bytes: 0 }
    }

    pub(super) fn newest(&self, key: u64, tenant: i64, call: &str, caller: &str) -> Option<Packed<'_>> {
        self.at(*self.places.get(&key)?).filter(|row| row.is_of(tenant, call, caller))
    }

    /// Whether all of them were first received later than this.
    pub(super) fn are_younger_than(&self, moment: i64) -> bool {
        self.pieces.iter().all(|piece| moment < piece.oldest)
    }

    /// Keeps a row that is new in the file, if it is certain to be the newest of its call and caller.
    pub(super) fn keep(&mut self, key: u64, row: &Model, now: Instant) {
        match self.newest(key, row.tenant_id, &row.call_id, &row.caller_key) {
            Some(known) if (known.received_last(), known.id().as_str()) > (row.received_last, row.id.as_str()) => return,
            Some(_) => {}
            None => {
                self.lose(key);
                if row.received_last <= self.floor {
                    return;
                }
            }
        }
        match self.append(key, row, now) {
            Some(place) => {
                self.places.insert(key, place);
            }
            None => {
                self.lose(key);
                self.floor = self.floor.max(row.received_last);
            }
        }
    }

    /// `None` where a row is too long for places and lengths.
    fn append(&mut self, key: u64, row: &Model, now: Instant) -> Option<Place> {
        let has_room = |piece: &Piece| piece.rows.len() + USUAL_BYTES <= PIECE_BYTES && now.duration_since(piece.since) < PIECE_AGE;
        if !self.pieces.back().is_some_and(has_room) {
            self.pieces.push_back(Piece { since: now, oldest: i64::MAX, rows: Vec::with_capacity(PIECE_BYTES) });
        }
        let number = self.first.checked_add(u32::try_from(self.pieces.len() - 1).ok()?)?;
        let Piece { oldest, rows, .. } = self.pieces.back_mut()?;
        let at = rows.len();
        let needed = HEAD_BYTES + packed_len_bound(row);
        if rows.capacity() - at < needed {
            // Not by itself: that would leave a copy behind.
            let mut larger = Vec::with_capacity(at + needed);
            larger.extend_from_slice(rows);
            overwrite(rows);
            *rows = larger;
        }
        rows.extend_from_slice(&key.to_le_bytes());
        rows.extend_from_slice(&[0; 4]);
        pack(row, rows);
        let length = u32::try_from(rows.len() - at - HEAD_BYTES);
        if let (Ok(length), Some(to)) = (length, rows.get_mut(at + 8..at + HEAD_BYTES)) {
            to.copy_from_slice(&length.to_le_bytes());
            self.bytes += rows.len() - at;
            *oldest = row.received_first.min(*oldest);
            return Some(Place { piece: number, at: u32::try_from(at).ok()? });
        }
        rows.truncate(at);
        None
    }

    /// The row of that id was received again when `row` was.
    pub(super) fn refresh(&mut self, key: u64, row: &Model, id: &str) {
        let place = self.places.get(&key).copied();
        let is_it = |known: Packed<'_>| known.id() == id && known.is_of(row.tenant_id, &row.call_id, &row.caller_key);
        if place.and_then(|place| self.at(place)).is_some_and(is_it) {
            if let Some(known) = place.and_then(|place| self.bytes_at(place)) {
                receive_again(known, row.received_last);
            }
        } else {
            // Another one of the same call and caller may be the newest now, and is not here.
            self.lose(key);
            self.floor = self.floor.max(row.received_last);
        }
    }

    /// Its newest is not here from now on.
    fn lose(&mut self, key: u64) {
        if let Some(lost) = self.places.remove(&key).and_then(|place| self.at(place)).map(Packed::received_last) {
            self.floor = self.floor.max(lost);
        }
    }

    /// Drops what is too old or too much.
    pub(super) fn drop_oldest(&mut self, now: Instant) {
        let is_over = |sessions: &Self| {
            sessions.pieces.front().is_some_and(|first| sessions.bytes > MAX_BYTES || now.duration_since(first.since) > MAX_AGE)
        };
        while is_over(self) {
            let Some(piece) = self.pieces.pop_front() else { return };
            let rows = &piece.rows;
            let mut at = 0;
            while let Some((key, row)) = row_at(rows, at) {
                let place = u32::try_from(at).ok().map(|at| Place { piece: self.first, at });
                if self.places.get(&key).copied() == place {
                    self.places.remove(&key);
                    self.floor = self.floor.max(Packed::of(row).received_last());
                }
                at += HEAD_BYTES + row.len();
            }
            self.first += 1;
            self.bytes -= rows.len();
        }
    }

    fn at(&self, place: Place) -> Option<Packed<'_>> {
        let piece = self.pieces.get(usize::try_from(place.piece.checked_sub(self.first)?).ok()?)?;
        row_at(&piece.rows, usize::try_from(place.at).ok()?).map(|(_, row)| Packed::of(row))
    }

    fn bytes_at(&mut self, place: Place) -> Option<&mut [u8]> {
        let piece = self.pieces.get_mut(usize::try_from(place.piece.checked_sub(self.first)?).ok()?)?;
        piece.rows.get_mut(usize::try_from(place.at).ok()? + HEAD_BYTES..)
    }
}

fn overwrite(bytes: &mut [u8]) {
    bytes.fill(0);
    // The compiler may leave out what is written into memory that is freed next, unless it could still be read.
    std::hint::black_box(bytes);
}

/// The hash and the bytes of the row that begins there.
fn row_at(rows: &[u8], at: usize) -> Option<(u64, &[u8])> {
    let (key, rest) = rows.get(at..)?.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let row = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    Some((u64::from_le_bytes(*key), row))
}
