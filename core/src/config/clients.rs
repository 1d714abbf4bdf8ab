//! Local clients in ha.cf: who may sign on (`apiauth`), which programs run beside the daemon (`respawn`, `failfast`).
//! Read CLIENT 5 and CLUSTER g.5.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Config;
use super::diagnostic::{Code, Report, Span};
use super::text::{Line, Word, is_blank};

/// Programs that may be configured; nobody has so many.
const PROGRAMS_MAX: usize = 64;
/// `apiauth` lines that may be given.
const API_AUTH_MAX: usize = 256;
/// Bytes of a client's name (CLIENT 6).
pub(crate) const CLIENT_NAME_MAX: usize = 31;

/// A program that runs as long as the daemon does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// The user it runs as.
    pub user: String,
    /// The command line, as a shell reads it; begins with an absolute path.
    pub command: String,
    /// Whether this node cannot do without it (`failfast`).
    pub failfast: bool,
    /// Where ha.cf configures it.
    pub span: Span,
}

impl Program {
    /// The path of the program itself.
    pub fn path(&self) -> &str {
        self.command.split_ascii_whitespace().next().unwrap_or_default()
    }

    /// Whether it is the original's ipfail, wherever it lies: what it does is built in.
    pub fn is_ipfail(&self) -> bool {
        self.path().rsplit('/').next() == Some("ipfail")
    }
}

/// Who may sign on under a name: one of the users *or* one of the groups. Names or numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ApiAuth {
    /// The client's name; `anon` for those without one, `default` for those without a line.
    pub client: String,
    /// Users.
    pub users: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Where ha.cf says so; [`Span::FILE`] if it is so by default.
    pub span: Span,
}

/// What stands if ha.cf does not say otherwise: client, users, groups (CLIENT 5).
const DEFAULTS: [(&str, &[&str], &[&str]); 5] = [
    ("anon", &["root"], &["haclient"]),
    ("ipfail", &["hacluster"], &[]),
    ("ccm", &["hacluster"], &[]),
    ("ping", &[], &["haclient"]),
    ("lha-snmpagent", &["root"], &[]),
];

/// The user whose clients may do what root's may (CLIENT 9).
pub const CLUSTER_USER: &str = "hacluster";
/// The group that may ask and listen.
pub const CLIENT_GROUP: &str = "haclient";

/// Everything about local clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clients {
    /// In the order of ha.cf, in which they are started.
    pub programs: Vec<Program>,
    /// The `apiauth` lines.
    pub api_auth: Vec<ApiAuth>,
}

impl Clients {
    /// The list that applies to a client, by its name or `anon`; `None` if there is none (CLIENT 5).
    pub(crate) fn list_for(&self, client: &str) -> Option<ApiAuth> {
        let given = |name: &str| self.api_auth.iter().find(|list| list.client == name).cloned();
        let built_in = || {
            let (_, users, groups) = DEFAULTS.into_iter().find(|(name, ..)| *name == client)?;
            let own = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            Some(ApiAuth { client: client.into(), users: own(users), groups: own(groups), span: Span::FILE })
        };
        // The names of these two lists are no names of clients.
        let plain = if client == "default" { None } else { given(client) };
        plain.or_else(built_in).or_else(|| given("default"))
    }

    /// All users and groups that a list may name.
    pub(crate) fn accounts(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let mut users: BTreeSet<&str> = [CLUSTER_USER].into();
        let mut groups: BTreeSet<&str> = [CLIENT_GROUP].into();
        for (_, default_users, default_groups) in DEFAULTS {
            users.extend(default_users);
            groups.extend(default_groups);
        }
        for list in &self.api_auth {
            users.extend(list.users.iter().map(String::as_str));
            groups.extend(list.groups.iter().map(String::as_str));
        }
        (users, groups)
    }

    /// `respawn USER COMMAND` or `failfast USER COMMAND`; the command goes on to the end of the line.
    pub(crate) fn program(&mut self, name: Word<'_>, line: &Line<'_>, report: &mut Report) {
        let words = line.words(is_blank, report);
        let (Some(user), Some(first)) = (words.get(1), words.get(2)) else {
            let usage = format_args!("write `{} USER COMMAND`", name.text);
            report.advise(Code::ArgumentMissing, line.end(), format_args!("{} needs a command", name.text), usage);
            return;
        };
        let Some(command) = line.rest(first.span) else {
            report.advise(Code::NotUtf8, first.span, "this command is not valid UTF-8", "write it in ASCII");
            return;
        };
        if !command.text.starts_with('/') {
            let message = format_args!("{} needs an absolute path, and [{}] is none", name.text, first.text);
            report.advise(Code::ProgramPath, first.span, message, "write where the program is, from `/` on");
        } else if self.programs.len() == PROGRAMS_MAX {
            report.add(Code::TooManyPrograms, name.span, format_args!("more than {PROGRAMS_MAX} programs"));
        } else {
            let (user, command) = (user.text.to_string(), command.text.to_string());
            self.programs.push(Program { user, command, failfast: name.text == "failfast", span: name.span });
        }
    }

    /// `apiauth CLIENT [uid=A,B] [gid=C,D]`; here commas belong to the words.
    pub(crate) fn authorise(&mut self, line: &Line<'_>, report: &mut Report) {
        const USAGE: &str = "write `apiauth CLIENT uid=USER,USER gid=GROUP`, either list or both";
        let words = line.words(is_blank, report);
        let Some(client) = words.get(1) else { return };
        let mut list = ApiAuth { client: client.text.to_string(), span: client.span, ..ApiAuth::default() };
        if client.text.len() > CLIENT_NAME_MAX {
            let message = format_args!("the name of a client has at most {CLIENT_NAME_MAX} bytes");
            report.add(Code::ApiAuthList, client.span, message);
            return;
        }
        for word in words.iter().skip(2) {
            let (names, into) = match word.text.split_once('=') {
                Some(("uid", names)) => (names, &mut list.users),
                Some(("gid", names)) => (names, &mut list.groups),
                _ => {
                    let message = format_args!("[{}] is neither uid= nor gid= with names", word.text);
                    report.advise(Code::ApiAuthList, word.span, message, USAGE);
                    continue;
                }
            };
            into.extend(names.split(',').filter(|name| !name.is_empty()).map(ToString::to_string));
        }
        if list.users.is_empty() && list.groups.is_empty() {
            let message = format_args!("nobody may sign on as {}", client.text);
            report.advise(Code::ApiAuthList, client.span, message, USAGE);
            return;
        }
        if let Some(before) = self.api_auth.iter_mut().find(|before| before.client == list.client) {
            let message =
                format_args!("{} has a line already, line {}; this one counts", list.client, before.span.line);
            report.advise(Code::ApiAuthAgain, client.span, message, "remove one of the lines");
            *before = list;
        } else if self.api_auth.len() == API_AUTH_MAX {
            report.add(Code::TooManyPrograms, client.span, format_args!("more than {API_AUTH_MAX} apiauth lines"));
        } else {
            self.api_auth.push(list);
        }
    }
}

/// Whether an ipfail line is worth anything (CLUSTER e.2).
pub(super) fn check_ipfail(config: &Config, report: &mut Report) {
    let Some(line) = config.programs().iter().find(|program| program.is_ipfail()) else { return };
    let (why, help) = if !config.manages_resources() {
        ("there are no groups that it could move", "remove the line, or start the daemon with its haresources")
    } else if !config.runs_ipfail() {
        ("auto_failback is legacy", "write `auto_failback on` or `auto_failback off`")
    } else if config.ping_names().is_empty() {
        ("no ping node is configured", "name hosts that answer pings: `ping HOST` or `ping_group NAME HOST HOST`")
    } else {
        return;
    };
    report.advise(Code::IpfailIdle, line.span, format_args!("ipfail has no effect: {why}"), help);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_before_the_built_in_list_and_that_before_default() {
        let list = |client: &str, user: &str| ApiAuth {
            client: client.into(),
            users: [user.to_string()].into(),
            groups: Vec::new(),
            span: Span::FILE,
        };
        let bare = Clients::default();
        assert_eq!(bare.list_for("anon").unwrap().groups, ["haclient"]);
        assert_eq!(bare.list_for("ipfail").unwrap().users, ["hacluster"]);
        assert_eq!(bare.list_for("dopd"), None);
        assert_eq!(bare.list_for("default"), None);
        let full = Clients { programs: Vec::new(), api_auth: [list("default", "nobody"), list("ipfail", "me")].into() };
        let user = |client: &str| full.list_for(client).unwrap().users;
        assert_eq!([user("ipfail"), user("ccm"), user("dopd")].concat(), ["me", "hacluster", "nobody"]);
    }
}
