//! Bounds on what a template may cost. Templates come with models from strangers.

use std::cell::Cell;

use super::error::{fail, Kind, Res};

/// Steps of evaluation; a chat of a hundred messages takes some ten thousand.
const MAX_STEPS: u64 = 20_000_000;
/// Bytes of one text or one sequence.
const MAX_SINGLE: usize = 256 << 20;
/// Bytes of everything alive at once.
const MAX_LIVE: usize = 1 << 30;
/// Calls of macros and recursive loops inside each other, as many as Python's own limit allows.
pub const MAX_CALLS: u32 = 200;
/// Containers inside each other.
pub const MAX_DEPTH: u32 = 500;
/// What a value costs beside its content.
const OVERHEAD: usize = 64;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// Notes that a value of this many bytes was made.
pub fn made(bytes: usize) {
    let _ = LIVE.try_with(|live| live.set(live.get().saturating_add(bytes + OVERHEAD)));
}

/// Notes that it is gone.
pub fn dropped(bytes: usize) {
    let _ = LIVE.try_with(|live| live.set(live.get().saturating_sub(bytes + OVERHEAD)));
}

#[derive(Default)]
pub struct Budget {
    steps: u64,
}

impl Budget {
    pub fn step(&mut self) -> Res<()> {
        self.steps += 1;
        if self.steps & 0xff == 0 {
            return self.check();
        }
        Ok(())
    }

    /// Work on this many bytes.
    pub fn work(&mut self, bytes: usize) -> Res<()> {
        self.steps += 1 + (bytes >> 8) as u64;
        self.check()
    }

    /// Asks for room before a value of this many bytes is made.
    pub fn room(&mut self, bytes: usize) -> Res<()> {
        let live = LIVE.with(Cell::get);
        if bytes > MAX_SINGLE || live.saturating_add(bytes) > MAX_LIVE {
            return fail(Kind::Limit, "the template needs too much memory");
        }
        self.work(bytes)
    }

    fn check(&self) -> Res<()> {
        if self.steps > MAX_STEPS {
            return fail(Kind::Limit, "the template takes too many steps");
        }
        if LIVE.with(Cell::get) > MAX_LIVE {
            return fail(Kind::Limit, "the template needs too much memory");
        }
        Ok(())
    }
}
