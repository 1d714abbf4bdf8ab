//! What kind of [`Action`] a step made, in words for recordings.

use crate::action::Action;
use serde::{Deserialize, Serialize};

/// What kind of [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// [`Action::Send`].
    Send,
    /// [`Action::ArmTimer`].
    ArmTimer,
    /// [`Action::RunResource`].
    RunResource,
    /// [`Action::FireArp`].
    FireArp,
    /// [`Action::Reply`].
    Reply,
    /// [`Action::Report`].
    Report,
    /// [`Action::Exit`].
    Exit,
    /// [`Action::Door`].
    Door,
    /// [`Action::Tell`].
    Tell,
    /// [`Action::Allow`].
    Allow,
    /// [`Action::Dismiss`].
    Dismiss,
    /// [`Action::StartProgram`].
    StartProgram,
    /// [`Action::StopProgram`].
    StopProgram,
    /// [`Action::Persist`].
    Persist,
    /// [`Action::Entrust`].
    Entrust,
    /// [`Action::Reboot`].
    Reboot,
    /// [`Action::Fence`].
    Fence,
    /// [`Action::CeaseFire`].
    CeaseFire,
    /// [`Action::Alarm`].
    Alarm,
    /// [`Action::Inspect`].
    Inspect,
}

impl Kind {
    /// The kind of an action.
    pub fn of(action: &Action) -> Kind {
        match action {
            Action::Send { .. } => Kind::Send,
            Action::ArmTimer { .. } => Kind::ArmTimer,
            Action::RunResource { .. } => Kind::RunResource,
            Action::FireArp { .. } => Kind::FireArp,
            Action::Reply { .. } => Kind::Reply,
            Action::Report(_) => Kind::Report,
            Action::Exit(_) => Kind::Exit,
            Action::Door(_) => Kind::Door,
            Action::Tell { .. } => Kind::Tell,
            Action::Allow { .. } => Kind::Allow,
            Action::Dismiss { .. } => Kind::Dismiss,
            Action::StartProgram { .. } => Kind::StartProgram,
            Action::StopProgram { .. } => Kind::StopProgram,
            Action::Persist { .. } => Kind::Persist,
            Action::Entrust { .. } => Kind::Entrust,
            Action::Reboot => Kind::Reboot,
            Action::Fence { .. } => Kind::Fence,
            Action::CeaseFire { .. } => Kind::CeaseFire,
            Action::Alarm { .. } => Kind::Alarm,
            Action::Inspect { .. } => Kind::Inspect,
        }
    }

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Send => "Send",
            Kind::ArmTimer => "ArmTimer",
            Kind::RunResource => "RunResource",
            Kind::FireArp => "FireArp",
            Kind::Reply => "Reply",
            Kind::Report => "Report",
            Kind::Exit => "Exit",
            Kind::Door => "Door",
            Kind::Tell => "Tell",
            Kind::Allow => "Allow",
            Kind::Dismiss => "Dismiss",
            Kind::StartProgram => "StartProgram",
            Kind::StopProgram => "StopProgram",
            Kind::Persist => "Persist",
            Kind::Entrust => "Entrust",
            Kind::Reboot => "Reboot",
            Kind::Fence => "Fence",
            Kind::CeaseFire => "CeaseFire",
            Kind::Alarm => "Alarm",
            Kind::Inspect => "Inspect",
        }
    }
}
