//! What is wrong with a text that a person wrote, where, and what to write instead.
//!
//! A [`Diagnostic`] carries everything a terminal, an editor or a script needs; drawing it with a caret is the shell's
//! business. Codes are stable: once published, a code keeps its meaning (docs/diagnostics.md, checked by a test).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration is not usable.
    Error,
    /// The configuration is usable, but probably does not do what its author expects.
    Warning,
    /// Something worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// The name of the file a problem is in, as the reader should see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(pub String);

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A piece of one line of a file; never crosses a line end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Span {
    /// The line, counted from 1.
    pub line: u32,
    /// The column of the first character, counted in characters from 1.
    pub column: u32,
    /// The offset of the first byte in the file.
    pub start: usize,
    /// The offset after the last byte in the file.
    pub end: usize,
}

impl Span {
    /// The very beginning of a file: for problems of the file as a whole.
    pub const FILE: Span = Span { line: 1, column: 1, start: 0, end: 0 };

    /// From the start of this span to the end of `last`, a later one on the same line.
    #[must_use]
    pub(crate) fn to(self, last: Span) -> Span {
        Span { end: last.end, ..self }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $meaning:literal;)*) => {
        /// A stable name for one kind of problem; its first letter is the severity.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code as printed, such as `E0101`.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Code::$name => $code,)*
                }
            }

            /// What the code stands for, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Code::$name => $meaning,)*
                }
            }
        }
    };
}

codes! {
    FileTooLarge = "E0001", "The file is larger than a configuration file can be.";
    NotText = "E0002", "The file is not plain text: it has NUL bytes or is UTF-16.";
    NotUtf8 = "E0003", "A word that matters is not valid UTF-8; in comments any bytes are fine.";
    LineTooLong = "E0004", "A line is longer than 5120 bytes.";
    ByteOrderMark = "W0005", "The file begins with a byte order mark, which is skipped.";
    TooManyProblems = "E0006", "The file has so many problems that the rest is not listed.";

    IllegalDirective = "E0101", "The word at the start of a line of ha.cf is no directive.";
    IllegalValue = "E0102", "The value of a directive is not one of those it takes.";
    MissingArgument = "W0103", "A directive without argument is ignored, as in 3.0.6.";
    ArgumentMissing = "E0104", "A directive needs more arguments.";
    TooManyArguments = "E0105", "A directive has more arguments than it takes.";
    SeveralValues = "W0106", "A directive that has one value is given several; the last one counts.";
    GivenAgain = "W0107", "A directive that has one value is given again; the last one counts.";
    GivenTwice = "E0108", "A directive that may be given once is given twice.";
    NoNodes = "E0110", "No `node` directive names the members of the cluster.";
    LocalNodeMissing = "E0111", "This machine's node name is not among the configured nodes.";
    DuplicateNode = "W0112", "A node is named twice; the second mention is dropped.";
    NodeName = "E0113", "A node name is not usable.";
    TooManyNodes = "E0114", "More than 100 nodes are configured.";
    DeadtimeTooShort = "E0120", "The dead time is not longer than two heartbeats.";
    DeadpingTooShort = "E0121", "The dead time of ping nodes is not longer than two heartbeats.";
    InitdeadBelowDeadtime = "E0122", "The initial dead time is shorter than the dead time.";
    InitdeadSmall = "W0123", "The initial dead time is under ten seconds.";
    WarntimeNeverFires = "W0124", "The warn time is longer than the dead time, so that no warning can come.";
    WatchdogTooSlow = "W0125", "The dead time is too short for a watchdog to reset the machine before it is over.";
    QuorumOfTwo = "E0126", "A majority is demanded of fewer than three nodes: any crash would stop everything.";
    ReleaseTooSlow = "E0127", "A node that lost its majority could not release its groups before the others take them.";
    NoMedium = "E0130", "No medium that reaches other nodes is configured.";
    TooManyMedia = "E0131", "More than 64 media are configured.";
    InterfaceName = "E0132", "An interface name is not one that Linux can have.";
    MulticastGroup = "E0133", "The group of a `mcast` or `mcast6` line is no multicast address of its kind.";
    AfterMedia = "W0134", "A `udpport` or `baud` comes after media, which keep the value that stood before them.";
    UdpAlias = "W0135", "`udp` is an old name of `bcast`.";
    DuplicateMedium = "W0136", "A medium or ping node is configured twice; the second mention is dropped.";
    PingIsNode = "E0137", "A ping node has the name of a cluster node.";
    SerialDevice = "E0138", "The device of a `serial` line is not named by a path from the root.";
    IpfailIdle = "W0139", "An ipfail line has no effect: nothing is pinged, or ipfail may move nothing here.";
    NotActedOn = "W0201", "A directive is understood, but this version does not act on it.";
    Refused = "E0203", "A directive protects data or chooses another manager, and this version cannot honour it.";
    AutoFailbackMissing = "W0204", "auto_failback is not given; it acts as `on`.";
    AutoFailbackLegacy = "W0205", "auto_failback is `legacy`; it acts as `on`.";
    NiceFailback = "W0206", "nice_failback is an obsolete form of auto_failback.";
    NoLogTarget = "W0207", "No log target is configured; the system log is used.";
    LogsNowhere = "E0208", "use_logd is off and no other log target is configured.";
    EnvironmentName = "W0209", "The name in an `env` directive cannot be read by a shell script.";
    HashInWord = "W0210", "A `#` inside a word begins a comment.";
    ProgramPath = "E0211", "The program of a `respawn`, `failfast` or `takeover_alarm` line is no absolute path.";
    ApiAuthList = "E0212", "An `apiauth` line does not say who may sign on, or its client cannot be one.";
    ApiAuthAgain = "W0213", "A client has two `apiauth` lines; the last one counts.";
    TooManyPrograms = "E0214", "More than 64 programs or 256 `apiauth` lines are configured.";
    CareOfNothing = "W0215", "A `script_limit` or `monitor` line names what haresources does not have.";
    NoDeviceHere = "W0216", "Other nodes have a fencing device and this one has none.";
    NoSuchNode = "E0217", "A `stonith_host` line names a node that the `node` lines do not.";

    GroupHome = "E0301", "The first word of a line of haresources is no configured node.";
    GroupEmpty = "W0302", "A line of haresources has no resources.";
    AddressSyntax = "E0303", "A word of haresources looks like an IP address and is none.";
    DuplicateKey = "E0304", "Two groups begin with the same resource.";
    KeyInOtherGroup = "E0305", "The first resource of one group occurs again in a group.";
    DuplicateAddress = "E0306", "The same IP address is configured twice.";
    CommentInContinuation = "E0307", "A comment stands on a continuation line, where 3.0.6 reads it as resources.";
    ContinuationLost = "W0308", "A backslash stands in a comment, so that the next line is not joined.";
    StrayBackslash = "E0309", "A backslash that is not at the very end of a line does not join the next one.";
    TooManyOwners = "E0310", "Resource groups are configured for more than 16 nodes.";
    ScriptName = "E0311", "The name of a resource script is not usable.";
    TooManyGroups = "E0312", "More than 1000 resource groups are configured.";
    OcfWord = "E0313", "A word of haresources is not `ocf:PROVIDER:TYPE::name=value`, as the word of an OCF agent is.";

    AuthMissing = "E0401", "authkeys has no `auth` line.";
    AuthLine = "E0402", "The `auth` line of authkeys does not name an entry.";
    AuthKeyNotFound = "E0403", "authkeys has no entry of the number that `auth` names.";
    AuthMethod = "E0404", "The method of an entry of authkeys is unknown.";
    AuthKeyForCrc = "E0405", "An entry of authkeys with method crc has a key.";
    AuthKeyMissing = "E0406", "An entry of authkeys has no key and needs one.";
    AuthNumber = "E0407", "The number of an entry of authkeys is not between 0 and 15.";
    AuthSyntax = "E0408", "A line of authkeys is neither `auth N` nor an entry.";
    AuthOrder = "E0409", "The `auth` line of authkeys comes after the entry it names.";
    AuthRepeated = "W0410", "A number is used twice in authkeys; the last one counts.";
    AuthTrailing = "W0411", "Words after a key of authkeys are ignored.";
    AuthCrc = "W0412", "Messages are signed with crc, which keeps out damage but no attacker.";

    CannotOpen = "E0501", "A file cannot be read.";
    KeyfileMode = "E0502", "The key file can be read by others.";
    NoInterface = "E0503", "This machine has no such interface.";
    NoScript = "E0504", "A resource script does not exist or cannot be executed.";
    PeerUnresolved = "E0505", "The peer of a `ucast` or `ucast6` line, or a host to ping, has no address of its kind.";
    NoDevice = "W0506", "The device of a `serial` line does not exist or is no terminal; the daemon tries again.";
    NoAccount = "E0507", "This machine has no such user or group.";
    NoProgram = "W0508", "The program of a `respawn` or `failfast` line does not exist or cannot be executed.";
    OcfParameter = "E0509", "An OCF agent has no such parameter, or requires one that is not given.";
    OcfMetadata = "W0510", "The meta-data of an OCF agent cannot be read: its parameters are not checked.";
    FenceDevice = "E0511", "The program of a fencing device does not exist, or does not know the device's type.";
    FenceFile = "E0512", "The file of a `stonith` line cannot be read.";

    ScenarioWord = "E0601", "The first word of a line of a scenario is unknown.";
    ScenarioValue = "E0602", "A word of a scenario is none of those that may stand there.";
    ScenarioIncomplete = "E0603", "A scenario lacks a line, or a line lacks a word.";

    SweepSyntax = "E0621", "The plan of a sweep is not TOML.";
    SweepKey = "E0622", "A key in the plan of a sweep is unknown.";
    SweepValue = "E0623", "A value in the plan of a sweep is none of those that may stand there.";
    SweepIncomplete = "E0624", "The plan of a sweep lacks a key.";
    SweepImpossible = "E0625", "The plan of a sweep combines values that no cluster can have.";
}

impl Code {
    /// The severity of every problem with this code.
    pub fn severity(self) -> Severity {
        match self.text().as_bytes().first() {
            Some(b'E') => Severity::Error,
            Some(b'W') => Severity::Warning,
            _ => Severity::Note,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// One problem of one file; prints as `file:line:column: error[E0101]: message`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// How much it matters; always [`Code::severity`].
    pub severity: Severity,
    /// Which kind of problem.
    pub code: Code,
    /// The file.
    pub file: FileName,
    /// Where in the file.
    pub span: Span,
    /// What is wrong, one line without control characters; the original's phrase where it had one.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A problem at `span` of `file`.
    pub fn new(code: Code, file: FileName, span: Span, message: impl fmt::Display) -> Diagnostic {
        Diagnostic { severity: code.severity(), code, file, span, message: printable(&message.to_string()), help: None }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn help(mut self, help: impl fmt::Display) -> Diagnostic {
        self.help = Some(printable(&help.to_string()));
        self
    }

    /// Whether the problem makes the configuration unusable.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { severity, code, file, span, message, .. } = self;
        write!(f, "{file}:{}:{}: {severity}[{code}]: {message}", span.line, span.column)
    }
}

/// Replaces control characters by their escapes: a file must not be able to write to a terminal through its messages.
fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Collects the problems of one file.
#[derive(Debug)]
pub(crate) struct Report {
    file: FileName,
    found: Vec<Diagnostic>,
    errors: bool,
}

impl Report {
    /// More problems than this in one file are one problem more: nobody reads them, and hostile files must stay cheap.
    const MAX: usize = 200;

    pub(crate) fn new(file: &str) -> Report {
        Report { file: FileName(file.to_string()), found: Vec::new(), errors: false }
    }

    /// Records a problem.
    pub(crate) fn add(&mut self, code: Code, span: Span, message: impl fmt::Display) {
        self.push(code, span, message, None);
    }

    /// Records a problem with advice.
    pub(crate) fn advise(&mut self, code: Code, span: Span, message: impl fmt::Display, help: impl fmt::Display) {
        self.push(code, span, message, Some(&help));
    }

    fn push(&mut self, code: Code, span: Span, message: impl fmt::Display, help: Option<&dyn fmt::Display>) {
        self.errors |= code.severity() == Severity::Error;
        if self.is_full() {
            return;
        }
        let diagnostic = if self.found.len() == Report::MAX {
            self.errors = true;
            Diagnostic::new(Code::TooManyProblems, self.file.clone(), span, "too many problems; the rest is not listed")
        } else {
            Diagnostic::new(code, self.file.clone(), span, message)
        };
        self.found.push(match help {
            Some(help) if diagnostic.code == code => diagnostic.help(help),
            _ => diagnostic,
        });
    }

    /// Whether further problems are not listed: an error, and reason to stop reading.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() > Report::MAX
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors
    }

    /// The problems, in the order of their places.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|diagnostic| diagnostic.span.start);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_diagnostic_is_one_line_that_cannot_steer_a_terminal() {
        let span = Span { line: 3, column: 5, start: 20, end: 24 };
        let text =
            Diagnostic::new(Code::IllegalDirective, FileName("ha.cf".into()), span, "Illegal directive [\u{1b}[2J\n]");
        assert_eq!(text.to_string(), "ha.cf:3:5: error[E0101]: Illegal directive [\\u{1b}[2J\\n]");
    }

    #[test]
    fn codes_are_unique_and_in_order() {
        let numbers: Vec<&str> = Code::ALL.iter().filter_map(|code| code.text().get(1..)).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert!(Code::ALL.iter().all(|code| code.text().len() == 5));
    }

    #[test]
    fn every_code_is_documented() {
        let head = "# Diagnostics\n\n\
            Every message of `heartbeat check` carries one of these codes; a code never changes its meaning.\n\
            E: the daemon does not start. W: it starts, and the message says what it will do.\n\n\
            | code | meaning |\n|---|---|\n";
        let rows: Vec<String> = Code::ALL.iter().map(|code| format!("| {code} | {} |\n", code.meaning())).collect();
        let table = format!("{head}{}", rows.concat());
        assert!(table == include_str!("../../../docs/diagnostics.md"), "docs/diagnostics.md must read:\n{table}");
    }

    #[test]
    fn a_flood_of_problems_is_cut_but_still_an_error() {
        let mut report = Report::new("ha.cf");
        for _ in 0..1000 {
            report.add(Code::MissingArgument, Span::FILE, "x");
        }
        assert!(report.has_errors());
        let found = report.finish();
        assert_eq!(found.len(), Report::MAX + 1);
        assert_eq!(found.iter().filter(|diagnostic| diagnostic.code == Code::TooManyProblems).count(), 1);
    }
}
