//! Threads of an executor, and memory that they write in parts.
//!
//! What: [`Threads`] runs the items of a loop, on its own pool or, where a loop is too small to be
//! worth a wake-up, on the caller. [`Parts`] hands out disjoint parts of one slice.
//! Why: an engine shares its machine with tool processes, so it keeps to the threads it was given; and
//! a step has some two hundred loops, most of them tiny at batch 1.
//! Limits: an item never waits for another.

use rayon::prelude::*;

use crate::executor::ExecutorError;

/// Work below this many elementary operations (a multiply-add, a byte loaded) runs on the caller:
/// about the time in which a sleeping thread wakes up.
const WORTH_A_THREAD: usize = 200_000;

/// A pool of its own, or none.
#[derive(Debug)]
pub(crate) struct Threads {
    pool: Option<rayon::ThreadPool>,
    count: usize,
}

impl Threads {
    /// `count` threads, at least 1. With 1, everything runs on the caller.
    ///
    /// # Errors
    /// [`ExecutorError::Device`] if the system grants no more threads.
    pub(crate) fn new(count: usize) -> Result<Self, ExecutorError> {
        let count = count.max(1);
        let pool = if count > 1 {
            let built = rayon::ThreadPoolBuilder::new()
                .num_threads(count)
                .thread_name(|i| format!("orrery-cpu-{i}"))
                .build();
            Some(built.map_err(|e| ExecutorError::Device {
                device: "cpu".to_owned(),
                doing: format!("starting {count} threads"),
                what: e.to_string(),
            })?)
        } else {
            None
        };
        Ok(Self { pool, count })
    }

    /// One less than the processor has cores, at least 1: the last is for the scheduler and the tools.
    pub(crate) fn default_count() -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        cores.saturating_sub(1).max(1)
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Runs `work` on a thread of the pool, so that the loops within it need not move there.
    pub(crate) fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Calls `item` with 0 to `items - 1`, in any order; `cost` is the operations of them all.
    pub(crate) fn run(&self, items: usize, cost: usize, item: impl Fn(usize) + Sync + Send) {
        if self.count == 1 || items < 2 || cost < WORTH_A_THREAD {
            (0..items).for_each(item);
        } else {
            (0..items).into_par_iter().for_each(item);
        }
    }

    /// Ranges that cover `0..n`, for [`Self::run`]: at most four a thread, so that a late thread finds
    /// its share taken, and each at least `least` long.
    pub(crate) fn split(&self, n: usize, least: usize) -> Split {
        let wanted = if self.count == 1 { 1 } else { 4 * self.count };
        let each = n.div_ceil(wanted).max(least).max(1);
        Split { n, each }
    }
}

/// `0..n` in ranges of one length; the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    n: usize,
    each: usize,
}

impl Split {
    pub(crate) fn len(self) -> usize {
        self.n.div_ceil(self.each)
    }

    pub(crate) fn range(self, i: usize) -> std::ops::Range<usize> {
        let from = (i * self.each).min(self.n);
        from..(from + self.each).min(self.n)
    }
}

/// A slice of which several threads write parts that do not overlap.
#[derive(Debug)]
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    of: std::marker::PhantomData<&'a mut [T]>,
}

#[allow(
    unsafe_code,
    reason = "columns of a matrix are disjoint, but no slice splits there"
)]
mod parts {
    use super::Parts;

    // SAFETY: it is an exclusive borrow of a slice; a part is handed out to one thread only (the
    // contract of `part`), which is as sending that part there.
    unsafe impl<T: Send> Send for Parts<'_, T> {}
    // SAFETY: as above; no method reads or writes elements itself.
    unsafe impl<T: Send> Sync for Parts<'_, T> {}

    impl<'a, T> Parts<'a, T> {
        pub(crate) fn new(of: &'a mut [T]) -> Self {
            Self {
                start: of.as_mut_ptr(),
                len: of.len(),
                of: std::marker::PhantomData,
            }
        }

        /// `len` elements from `at`.
        ///
        /// # Safety
        /// No two parts that overlap may live at the same time.
        ///
        /// # Panics
        /// If it reaches beyond the slice.
        #[inline(always)]
        pub(crate) unsafe fn part(&self, at: usize, len: usize) -> &'a mut [T] {
            assert!(
                at <= self.len && len <= self.len - at,
                "part {at}..+{len} of {}",
                self.len
            );
            // SAFETY: within the slice, which is borrowed for `'a`; nobody else has these elements,
            // by the caller's contract.
            unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
        }
    }
}
