//! Resource scripts as haresources names them. Read CLUSTER d.1 first.
//!
//! | word | script | arguments |
//! |---|---|---|
//! | `NAME::argument` | resource.d/NAME, else init.d/NAME, as 3.0.6 looks | before the verb |
//! | `lsb:NAME::argument` *ours* | init.d/NAME | before the verb |
//! | `ocf:PROVIDER:TYPE::name=value` *ours* | the OCF agent itself | as `OCF_RESKEY_name` |
//!
//! To a 3.0.6 the last two are names of scripts that nobody has.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::diagnostic::{Code, Report, Span};
use super::text::Word;

/// A resource script and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptCall {
    /// Where the script is, how it is called and how it answers.
    pub class: ScriptClass,
    /// The name of the script, of an OCF agent its type; never a path.
    pub name: String,
    /// The arguments before the verb, never empty words; of an OCF agent its parameters, each `name=value`, no name twice.
    pub args: Vec<String>,
    /// The word as written.
    pub word: String,
    /// Where it stands.
    pub span: Span,
}

/// The conventions a script follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ScriptClass {
    /// Those of 3.0.6: looked for in resource.d and then in init.d; of `status` only the words on its standard output count
    /// (CLUSTER d.3).
    Heartbeat,
    /// Those of LSB: in init.d; of `status` the exit code counts.
    Lsb,
    /// Those of OCF: parameters in the environment, `monitor` in the place of `status`, of which the exit code counts.
    Ocf {
        /// Whose agent it is: the directory below `resource.d` of the OCF root.
        provider: String,
    },
}

impl ScriptCall {
    /// The parameters of an OCF agent; of other scripts none.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_ocf = matches!(self.class, ScriptClass::Ocf { .. });
        self.args.iter().filter(move |_| is_ocf).filter_map(|arg| arg.split_once('='))
    }

    /// Where the parameter of that name stands; of what is not given, the whole word.
    pub fn parameter_span(&self, name: &str) -> Span {
        let found = parameters(&self.word).into_iter().find(|(_, text)| text.split('=').next() == Some(name));
        found.map_or(self.span, |(at, text)| piece(self.span, &self.word, at, text.len()))
    }
}

impl fmt::Display for ScriptCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)
    }
}

/// Reads a word that is no address.
pub(crate) fn read(word: Word<'_>, report: &mut Report) -> Option<ScriptCall> {
    if let Some(agent) = word.text.strip_prefix("ocf:") {
        return ocf(word, agent, report);
    }
    let (class, text) = match word.text.strip_prefix("lsb:") {
        Some(text) => (ScriptClass::Lsb, text),
        None => (ScriptClass::Heartbeat, word.text),
    };
    // Empty arguments vanish in 3.0.6, whose shell splits at blanks.
    let mut pieces = text.split("::");
    let name = pieces.next().unwrap_or_default();
    let args = pieces.filter(|piece| !piece.is_empty()).map(ToString::to_string).collect();
    if !is_file_name(name) {
        let message = format_args!("[{name}] cannot be the name of a resource script");
        let help = "write the name of a file in resource.d or init.d, then `::` before each argument";
        report.advise(Code::ScriptName, word.span, message, help);
        return None;
    }
    Some(ScriptCall { class, name: name.to_string(), args, word: word.text.to_string(), span: word.span })
}

fn ocf(word: Word<'_>, agent: &str, report: &mut Report) -> Option<ScriptCall> {
    let help = "write `ocf:PROVIDER:TYPE`, then `::name=value` for each parameter";
    let agent = agent.split("::").next().unwrap_or_default();
    let Some((provider, name)) = agent.split_once(':').filter(|(one, other)| is_file_name(one) && is_file_name(other))
    else {
        report.advise(Code::OcfWord, word.span, format_args!("[ocf:{agent}] names no OCF agent"), help);
        return None;
    };
    let mut names = BTreeSet::new();
    let mut args = Vec::new();
    let mut is_good = true;
    for (at, text) in parameters(word.text) {
        let span = piece(word.span, word.text, at, text.len());
        let name = text.split_once('=').map(|(name, _)| name);
        match name.filter(|name| is_parameter_name(name)) {
            None => {
                is_good = false;
                report.advise(Code::OcfWord, span, format_args!("[{text}] is no parameter"), help);
            }
            Some(name) if !names.insert(name) => {
                is_good = false;
                report.advise(Code::OcfWord, span, format_args!("{name} is given twice"), "remove one of them");
            }
            Some(_) => args.push(text.to_string()),
        }
    }
    let class = ScriptClass::Ocf { provider: provider.to_string() };
    is_good.then(|| ScriptCall { class, name: name.to_string(), args, word: word.text.to_string(), span: word.span })
}

/// The parameters in the word of an OCF agent, each with its offset. A `::` that no name follows belongs to the value, as
/// those of IPv6 addresses do.
fn parameters(word: &str) -> Vec<(usize, &str)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut at = 0_usize;
    for (number, text) in word.split("::").enumerate() {
        let end = at.saturating_add(text.len());
        let begins = text.split_once('=').is_some_and(|(name, _)| is_parameter_name(name));
        match (number, found.last_mut()) {
            (0, _) => {}
            (_, Some((_, last))) if !begins => *last = end,
            _ => found.push((at, end)),
        }
        at = end.saturating_add(2);
    }
    found
        .into_iter()
        .filter_map(|(from, to)| Some((from, word.get(from..to)?)))
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

/// The place of `length` bytes from `at` on in a word.
fn piece(word: Span, text: &str, at: usize, length: usize) -> Span {
    let before = text.get(..at).map_or(0, |before| before.chars().count());
    let start = word.start.saturating_add(at);
    Span {
        line: word.line,
        column: word.column.saturating_add(u32::try_from(before).unwrap_or(u32::MAX)),
        start,
        end: start.saturating_add(length),
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']) && !name.chars().any(char::is_control)
}

/// Of such names a shell and `env` can make variables.
fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_word(text: &str) -> (Option<ScriptCall>, Vec<String>) {
        let mut report = Report::new("haresources");
        let span = Span { line: 2, column: 10, start: 40, end: text.len().saturating_add(40) };
        let call = read(Word { text, span }, &mut report);
        let lines = report.finish().iter().map(|one| alloc::format!("{} {}", one.span.column, one.code)).collect();
        (call, lines)
    }

    #[test]
    fn the_class_is_in_the_word() {
        let ocf = |provider: &str| ScriptClass::Ocf { provider: provider.into() };
        for (word, class, name, args) in [
            ("Filesystem::/dev/sda1::/mnt", ScriptClass::Heartbeat, "Filesystem", &["/dev/sda1", "/mnt"][..]),
            ("lsb:apache2", ScriptClass::Lsb, "apache2", &[]),
            ("lsb:drbd::r0", ScriptClass::Lsb, "drbd", &["r0"]),
            ("ocf:heartbeat:Dummy", ocf("heartbeat"), "Dummy", &[]),
            ("ocf:linbit:drbd::drbd_resource=r0::x=", ocf("linbit"), "drbd", &["drbd_resource=r0", "x="]),
            ("ocf:me:Web::opts=a=b,c::n=1", ocf("me"), "Web", &["opts=a=b,c", "n=1"]),
            ("ocf:h:IP::ip=fe80::1::nic=eth0", ocf("h"), "IP", &["ip=fe80::1", "nic=eth0"]),
            ("ocf:h:IP::ip=::1", ocf("h"), "IP", &["ip=::1"]),
            ("ocf:h:IP::ip=2001:db8::", ocf("h"), "IP", &["ip=2001:db8::"]),
        ] {
            let (call, problems) = read_word(word);
            let call = call.unwrap_or_else(|| panic!("{word}: {problems:?}"));
            assert_eq!((call.class, call.name.as_str(), call.word.as_str()), (class, name, word));
            assert_eq!(call.args, args, "{word}");
        }
    }

    #[test]
    fn a_word_of_ours_that_is_wrong_is_refused_where_it_is_wrong() {
        for (word, problem) in [
            ("ocf:Dummy", "10 E0313"),
            ("ocf::Dummy", "10 E0313"),
            ("ocf:a:b/../c", "10 E0313"),
            ("ocf:heartbeat:Dummy::state", "31 E0313"),
            ("ocf:heartbeat:Dummy::a b=1", "31 E0313"),
            ("ocf:heartbeat:Dummy::größe=1", "31 E0313"),
            ("ocf:heartbeat:Dummy::a=ß::a=2", "36 E0313"),
            ("lsb:", "10 E0311"),
            ("lsb:../x", "10 E0311"),
        ] {
            assert_eq!(read_word(word), (None, alloc::vec![problem.to_string()]), "{word}");
        }
    }

    #[test]
    fn a_parameter_has_a_place_and_one_that_is_missing_that_of_the_word() {
        let call = read_word("ocf:h:IP::ip=fe80::1::nic=eth0").0.unwrap();
        assert_eq!(call.parameters().collect::<Vec<_>>(), [("ip", "fe80::1"), ("nic", "eth0")]);
        assert_eq!(call.parameter_span("nic"), Span { line: 2, column: 32, start: 62, end: 70 });
        assert_eq!(call.parameter_span("cidr"), call.span);
        assert_eq!(read_word("Tst::a=b").0.unwrap().parameters().count(), 0);
    }
}
