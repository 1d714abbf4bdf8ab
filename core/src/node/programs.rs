//! Starts and stops the programs that run beside the daemon. Read CLUSTER g.5 first.

use super::Node;
use crate::action::Action;
use crate::client::programs::{Next, STOP_LIMIT};
use crate::deadlines::Timer;
use crate::event::Event;
use crate::ids::ProgramId;
use crate::input::ProgramEnd;
use crate::membership::Lifecycle;

impl Node {
    /// Starts all programs, in the order of ha.cf; clients are let in before that.
    pub(super) fn start_programs(&mut self) {
        for program in (0..).map(ProgramId).take(self.config.programs().len()) {
            self.start_program(program);
        }
    }

    fn start_program(&mut self, program: ProgramId) {
        let Some(configured) = self.config.programs().get(program.index()) else { return };
        let (user, command) = (configured.user.clone(), configured.command.clone());
        if configured.is_ipfail() {
            // It never runs, so it need not be there, and nothing of it is waited for at the end.
            return self.report(Event::ProgramBuiltIn { command });
        }
        if self.programs.start(program, *self.now) {
            self.report(Event::ProgramStarts { command: command.clone(), user: user.clone() });
            self.actions.0.push(Action::StartProgram { program, user, command });
        }
    }

    pub(super) fn on_program_ended(&mut self, program: ProgramId, end: &ProgramEnd) {
        let Some(configured) = self.config.programs().get(program.index()) else { return };
        let (command, failfast) = (configured.command.clone(), configured.failfast);
        let is_leaving = self.life != Lifecycle::Active;
        let next = self.programs.end(program, end, failfast && !is_leaving, *self.now);
        if next == Next::Nothing {
            return;
        }
        let expected = next == Next::Stopped;
        self.report(Event::ProgramEnded { command: command.clone(), end: end.clone(), expected });
        match next {
            Next::Again(at) if !is_leaving => {
                self.report(Event::ProgramRespawns { command });
                if at > *self.now {
                    self.deadlines.set(Timer::Program(program), at);
                } else {
                    self.start_program(program);
                }
            }
            Next::TooFast => self.report(Event::ProgramTooFast { command }),
            Next::Fatal => {
                // *Ours*: the original reboots the machine, which releases resources by force. Here they are released, the
                // other node takes them at once, and whoever started the daemon may start it again.
                self.report(Event::ProgramFatal { command });
                self.begin_stop();
            }
            Next::Stopped => self.deadlines.clear(Timer::Program(program)),
            Next::Again(_) | Next::Unwanted | Next::Nothing => {}
        }
        self.go_on_stopping();
    }

    /// The pause before a program's next start is over, or the time it had to end.
    pub(super) fn on_program_timer(&mut self, program: ProgramId) {
        if self.programs.is_waiting(program) {
            if self.life == Lifecycle::Active {
                self.start_program(program);
            }
        } else if self.programs.give_up(program) {
            self.go_on_stopping();
        }
    }

    /// Ends all programs, the last started first, each after the other.
    pub(super) fn stop_programs(&mut self) {
        self.leave_partner();
        self.programs.close();
        for program in (0..).map(ProgramId).take(self.config.programs().len()) {
            self.deadlines.clear(Timer::Program(program));
        }
        self.go_on_stopping();
    }

    fn go_on_stopping(&mut self) {
        if self.life != Lifecycle::Lingering {
            return;
        }
        if let Some(program) = self.programs.stop_next() {
            self.deadlines.set(Timer::Program(program), self.now.plus(STOP_LIMIT));
            self.actions.0.push(Action::StopProgram { program });
        } else if self.programs.are_over() && self.programs.is_last {
            self.end();
        }
    }

    /// Others have heard our farewell; what is left is to see our programs out.
    pub(super) fn on_linger_over(&mut self) {
        self.programs.is_last = true;
        if self.programs.are_over() {
            self.end();
        }
    }
}
