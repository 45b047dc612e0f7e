//! Which run is done next: those of the slowest policy first, as far as it is known.
//!
//! Why: if a long run is the last to begin, all other cores wait for it at the end.
//! How: one run of every policy goes first, in the file's order; then the mean of what a policy's runs
//! took tells whose turn it is, and within a policy the file's order again.
//! Limits: a policy's runs differ by load, which is not looked at. Only the order of runs depends on the
//! clock; what they come to does not.

use std::collections::VecDeque;

use super::grid::{Grid, Job};

/// Runs still to do.
#[derive(Debug, Default)]
pub(super) struct Queue<'a> {
    groups: Vec<Group<'a>>,
}

/// The runs of one policy.
#[derive(Debug)]
struct Group<'a> {
    policy: &'a str,
    jobs: VecDeque<&'a Job>,
    began: bool,
    done: u32,
    seconds: f64,
}

impl Group<'_> {
    /// Larger goes first: a policy that nothing is known of, then by what its runs took. One whose
    /// first run is still under way is taken for quick.
    fn urgency(&self) -> f64 {
        match (self.began, self.done) {
            (false, _) => f64::INFINITY,
            (true, 0) => 0.0,
            (true, done) => self.seconds / f64::from(done),
        }
    }
}

impl<'a> Queue<'a> {
    /// These runs, in the file's order.
    pub(super) fn of(grid: &'a Grid, jobs: &[&'a Job]) -> Self {
        let mut queue = Self::default();
        for job in jobs {
            let policy = policy(grid, job);
            match queue.groups.iter_mut().find(|g| g.policy == policy) {
                Some(group) => group.jobs.push_back(job),
                None => queue.groups.push(Group {
                    policy,
                    jobs: VecDeque::from([*job]),
                    began: false,
                    done: 0,
                    seconds: 0.0,
                }),
            }
        }
        queue
    }

    /// The next run; `None` when all have begun.
    pub(super) fn next(&mut self) -> Option<&'a Job> {
        let waiting = self.groups.iter_mut().filter(|g| !g.jobs.is_empty());
        // The first of equals.
        let group = waiting.reduce(|a, b| if b.urgency() > a.urgency() { b } else { a })?;
        group.began = true;
        group.jobs.pop_front()
    }

    /// A run of this policy took so many seconds.
    pub(super) fn took(&mut self, policy: &str, seconds: f64) {
        if let Some(group) = self.groups.iter_mut().find(|g| g.policy == policy) {
            group.done += 1;
            group.seconds += seconds;
        }
    }
}

/// Name of the run's policy.
pub(super) fn policy<'a>(grid: &'a Grid, job: &Job) -> &'a str {
    &grid.plans[job.plan].policies[job.case.policy].name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Case;

    #[test]
    fn every_policy_is_tried_and_then_the_slowest_goes_first() {
        let job = |name: &str, policy| Job {
            plan: 0,
            case: Case {
                policy,
                rate_per_s: 0.1,
                seed: 1,
            },
            name: name.to_owned(),
            digest: blake3::hash(name.as_bytes()),
        };
        let names = ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3"];
        let jobs: Vec<Job> = names
            .iter()
            .map(|name| job(name, usize::from(name.as_bytes()[0] - b'a')))
            .collect();
        let group = |policy, letter: &str| Group {
            policy,
            jobs: jobs.iter().filter(|j| j.name.starts_with(letter)).collect(),
            began: false,
            done: 0,
            seconds: 0.0,
        };
        let mut queue = Queue {
            groups: vec![group("fcfs", "a"), group("slow", "b"), group("mars", "c")],
        };
        let mut order = Vec::new();
        let mut take = |queue: &mut Queue<'_>| {
            let name = queue.next().map_or("none", |j| &j.name).to_owned();
            order.push(name);
        };
        // Two threads: fcfs and slow begin; fcfs is done, and mars is tried before anything is repeated.
        take(&mut queue);
        take(&mut queue);
        queue.took("fcfs", 1.0);
        take(&mut queue);
        // Of slow nothing is known yet.
        take(&mut queue);
        queue.took("slow", 8.0);
        queue.took("mars", 0.5);
        for _ in 0..5 {
            take(&mut queue);
        }
        assert_eq!(
            order,
            ["a1", "b1", "c1", "a2", "b2", "b3", "a3", "c2", "none"]
        );
    }
}
