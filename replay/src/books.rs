//! The books: what the information stream means for the records.

use scheduler::{Info, Then, TurnUsage};
use units::{SessionId, Time, Tokens};

use crate::agents::Agent;
use crate::drive::{Offered, World};
use crate::machine::{Call, CopyOrder, Machine};
use crate::record::{Observer, Status};

impl<M: Machine, I: Iterator<Item = Offered>, O: Observer> World<'_, M, I, O> {
    /// Reads what the scheduler says happened, keeps the books and starts tools and copies.
    pub(crate) fn drain(&mut self, now: Time) -> Result<(), M::Error> {
        let mut facts = std::mem::take(&mut self.facts);
        facts.extend(self.scheduler.drain());
        let read = facts.drain(..).try_for_each(|(at, info)| {
            self.observer.info(at, &info);
            self.note(now, at, &info)
        });
        self.facts = facts;
        read
    }

    fn note(&mut self, now: Time, at: Time, info: &Info) -> Result<(), M::Error> {
        match *info {
            Info::Admitted { session } => {
                let agent = self.agent(session);
                agent.record.admitted = Some(at);
                agent.record.phases.admission = at.since(agent.record.arrival);
            }
            Info::Rejected { session, .. } => {
                let mut agent = self.agents.remove(&session).expect("it arrived");
                agent.record.status = Status::Rejected;
                self.machine.session_ended(session);
                self.summary.rejected += 1;
                self.observer.session(agent.record);
            }
            Info::TurnStarted {
                session,
                hit,
                first_start: true,
                ..
            } => self.turn_started(at, session, hit),
            Info::FirstToken { session, .. } => {
                let agent = self.agent(session);
                agent.turn_record.first_token = at;
                agent.record.phases.prefill += at.since(agent.turn_record.started);
            }
            Info::TurnEnded {
                session,
                then,
                usage,
                ..
            } => {
                self.turn_ended(at, session, usage);
                if let Then::Yield { .. } = then {
                    self.start_tools(now, session)?;
                }
            }
            Info::SessionEnded { session } => self.session_ended(at, session),
            Info::Window(window) => self.window = Some(window),
            Info::CopyStarted {
                session,
                copy,
                direction,
                blocks,
            } => {
                let order = CopyOrder {
                    session,
                    copy,
                    direction,
                    blocks,
                };
                self.machine.start_copy(at, order, &self.scheduler)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn agent(&mut self, session: SessionId) -> &mut Agent {
        self.agents.get_mut(&session).expect("it is in flight")
    }

    fn turn_started(&mut self, at: Time, session: SessionId, hit: Tokens) {
        let agent = self.agent(session);
        let turn = &mut agent.turn_record;
        turn.started = at;
        turn.hit = hit;
        turn.prompt = agent.record.trace.turns[agent.turn].prompt;
        agent.record.prompt += turn.prompt;
        agent.record.hit += hit;
        let in_engine = agent
            .record
            .admitted
            .map_or(turn.ready, |a| a.max(turn.ready));
        agent.record.phases.queue += at.since(in_engine);
    }

    fn turn_ended(&mut self, at: Time, session: SessionId, usage: TurnUsage) {
        let agent = self.agents.get_mut(&session).expect("it runs");
        let turn = &mut agent.turn_record;
        turn.ended = at;
        turn.output = usage.generated;
        turn.scheduled = usage.scheduled;
        turn.recomputed = usage.recomputed;
        turn.preemptions = usage.preemptions;
        self.observer.turn(turn);
        let record = &mut agent.record;
        record.turns += 1;
        record.output += usage.generated;
        record.recomputed += usage.recomputed;
        record.preemptions += usage.preemptions;
        record.phases.decode += at.since(turn.first_token);
    }

    /// Starts the tools of the turn that just ended, side by side; without tools, the pause.
    fn start_tools(&mut self, now: Time, session: SessionId) -> Result<(), M::Error> {
        let agent = self.agents.get_mut(&session).expect("it runs");
        let trace = std::sync::Arc::clone(&agent.record.trace);
        let tools = &trace.turns[agent.turn].tools;
        agent.begin_tools(now, tools.len());
        for (index, tool) in tools.iter().enumerate() {
            let call = Call {
                id: crate::CallId::new(session, index as u64),
                session: &trace,
                turn: agent.turn,
                tool,
            };
            self.machine.start_call(now, call)?;
        }
        if tools.is_empty() {
            self.pauses.begin(now, agent);
        }
        Ok(())
    }

    fn session_ended(&mut self, at: Time, session: SessionId) {
        let mut agent = self.agents.remove(&session).expect("it was in flight");
        if agent.failed {
            agent.record.status = Status::Failed;
            self.summary.failed += 1;
        } else {
            agent.record.finished = Some(at);
            agent.record.status = Status::Completed;
            self.summary.completed += 1;
        }
        self.last_completion = at;
        self.machine.session_ended(session);
        self.observer.session(agent.record);
    }
}
