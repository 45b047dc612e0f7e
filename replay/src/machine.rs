//! What a world has to offer: the contract between the event loop and a machine.

use scheduler::{Arrival, Direction, Foresight, Scheduler, TurnRequest};
use traces::model::{Session, ToolCall};
use units::{Blocks, Nanos, SessionId, Time};

use crate::call::CallId;
use crate::error::ReplayError;

/// A tool call that is to start.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its name while it is in flight.
    pub id: CallId,
    /// The recorded session.
    pub session: &'a Session,
    /// The turn that it follows, from 0.
    pub turn: usize,
    /// What it does.
    pub tool: &'a ToolCall,
}

impl Call<'_> {
    /// Its recorded wall time and CPU time.
    ///
    /// # Errors
    /// [`ReplayError::UnknownTool`] if the recording does not say.
    pub fn times(&self) -> Result<(Nanos, Nanos), ReplayError> {
        let unknown = |what| ReplayError::UnknownTool {
            session: self.session.id.to_string(),
            turn: self.turn,
            tool: self.tool.name.to_string(),
            what,
        };
        let wall = self.tool.wall.ok_or_else(|| unknown("wall time"))?.value;
        let cpu = self.tool.cpu.ok_or_else(|| unknown("CPU time"))?.value;
        Ok((wall, cpu))
    }
}

/// How a tool call ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallEnd {
    /// How long it was ready to run but not on a core.
    pub queue_delay: Nanos,
    /// Its whole time.
    pub elapsed: Nanos,
    /// Its whole time, had it run alone: as recorded, or of a command its time less its wait for a worker.
    pub alone: Nanos,
    /// Why it failed, if it did: its session is given up.
    pub failed: Option<String>,
    /// What came of its command, if it ran one.
    pub command: Option<CommandEnd>,
}

/// How a command ended that a tool call ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandEnd {
    /// The status it ended with; `None` if it was killed or never began.
    pub exit: Option<i32>,
    /// CPU time of it and of the children that it waited for; `None` if there was no process.
    pub cpu: Option<Nanos>,
    /// Bytes that it wrote to its output and error streams.
    pub output_bytes: u64,
    /// Of these, bytes that were thrown away because there were too many.
    pub output_dropped: u64,
}

/// A copy between GPU and host memory that is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyOrder {
    /// Whose KV.
    pub session: SessionId,
    /// Its number.
    pub copy: u64,
    /// Which way.
    pub direction: Direction,
    /// How many blocks of the session's block table: to the host the leading ones, to the GPU the last.
    pub blocks: Blocks,
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The instant has come and nothing came before it; or nothing at all is under way.
    Due,
    /// Something may have happened since, or enough time has passed to look up. This is the time.
    LookAgain(Time),
}

/// GPU, link, tools and clock of a world.
///
/// All ends are told by looking: the loop asks for the next end of each kind, lets time pass until the
/// earliest of all, and takes that one in. A machine in virtual time knows every end when the thing
/// starts. A real one tells of an end once it was seen, never with a time before one that the loop has
/// been at.
pub trait Machine {
    /// Why it cannot go on.
    type Error: From<ReplayError>;

    /// Events between two looks at whether to go on.
    const LOOK_UP_EVERY: u32 = 4096;

    /// Whether [`Machine::step_again`] may ever answer.
    const FORETELLS_STEPS: bool = false;

    /// Refuses a session that it cannot run at all.
    ///
    /// # Errors
    /// Why not.
    fn accept(&self, session: &Session) -> Result<(), Self::Error> {
        let _ = session;
        Ok(())
    }

    /// The session's future, for an oracle: one a turn. Asked only if the policy needs it.
    fn foresee(&self, session: &Session) -> Vec<Foresight> {
        let _ = session;
        Vec::new()
    }

    /// A session arrives with its first turn; the scheduler is told of it now or after the next plan.
    fn arrived(&mut self, arrival: &Arrival) {
        let _ = arrival;
    }

    /// A session's next turn is there; the scheduler is told of it now or after the next plan.
    fn turn_ready(&mut self, session: SessionId, turn: &TurnRequest) {
        let _ = (session, turn);
    }

    /// The session is over: completed, rejected or failed.
    fn session_ended(&mut self, session: SessionId) {
        let _ = session;
    }

    /// Lets time pass from `now`, the last instant that was taken in, until `until`, or until something that
    /// was not known happens. `None`: nothing known is to come. In virtual time there is nothing to do.
    ///
    /// # Errors
    /// The machine's own.
    fn wait(&mut self, now: Time, until: Option<Time>) -> Result<Waited, Self::Error> {
        let _ = (now, until);
        Ok(Waited::Due)
    }

    /// The time, once everything at `now` was taken in. Never before `now`; in virtual time `now`.
    ///
    /// # Errors
    /// The machine's own.
    fn catch_up(&mut self, now: Time) -> Result<Time, Self::Error> {
        Ok(now)
    }

    /// Takes the step that was planned at `now` ([`Scheduler::planned`]); how long it takes from then.
    ///
    /// # Errors
    /// A step that it cannot take.
    fn step(&mut self, now: Time, scheduler: &Scheduler) -> Result<Nanos, Self::Error>;

    /// How long the last step takes with one token more for each of its turns, if that can be told
    /// without taking it. The next call is about one token more again.
    fn step_again(&mut self) -> Option<Nanos> {
        None
    }

    /// The step is over.
    fn step_ended(&mut self, now: Time) {
        let _ = now;
    }

    /// Nothing could be planned: no step runs from `now` until the next begins. Told again whenever a plan
    /// came to nothing.
    fn idle(&mut self, now: Time) {
        let _ = now;
    }

    /// Starts a tool call.
    ///
    /// # Errors
    /// A call that cannot be run at all. One that can and fails says so at its end.
    fn start_call(&mut self, now: Time, call: Call<'_>) -> Result<(), Self::Error>;

    /// When something changes on the tool CPUs that only the machine needs to know.
    fn next_cpu(&self) -> Option<Time> {
        None
    }

    /// That instant has come.
    fn advance_cpu(&mut self, now: Time) {
        let _ = now;
    }

    /// The call that ends next, and when: the lowest id of an instant first.
    fn next_call(&self) -> Option<(Time, CallId)>;

    /// Takes the end of that call.
    fn end_call(&mut self) -> CallEnd;

    /// Starts a copy. The scheduler tells the session's blocks.
    ///
    /// # Errors
    /// The machine's own.
    fn start_copy(
        &mut self,
        at: Time,
        order: CopyOrder,
        scheduler: &Scheduler,
    ) -> Result<(), Self::Error>;

    /// The copy that ends next: when, whose, its number. The lowest session of an instant first.
    fn next_copy(&self) -> Option<(Time, SessionId, u64)>;

    /// Takes the end of that copy.
    fn end_copy(&mut self);
}
