//! OCF agents called directly: where they are, what they find in their environment, and which parameters they take.
//!
//! *Ours*: 3.0.6 reaches an agent only through a wrapper of its own for each. Defaults of parameters are the agent's
//! business; whether one exists is checked against the agent's `meta-data` before anything runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use hb_core::config::{Code, Diagnostic, FileName, ScriptCall};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Where agents are unless the daemon's own environment says otherwise.
const ROOT: &str = "/usr/lib/ocf";
/// How long an agent may take for its meta-data; usual are some hundredths of a second.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest meta-data that are read; real ones have up to 40 kB.
const BYTES_MAX: usize = 1 << 20;
/// So many elements are more than any agent has.
const ELEMENTS_MAX: u32 = 100_000;
/// So many names of parameters are shown.
const NAMES_SHOWN: usize = 12;

/// The root of OCF's directories: `OCF_ROOT` of our own environment, or `/usr/lib/ocf`.
pub fn root() -> PathBuf {
    std::env::var_os("OCF_ROOT").filter(|root| !root.is_empty()).map_or_else(|| ROOT.into(), PathBuf::from)
}

/// The file of an agent.
pub fn path(root: &Path, provider: &str, name: &str) -> PathBuf {
    root.join("resource.d").join(provider).join(name)
}

/// What an agent finds in its environment beside that of all scripts.
///
/// The instance is what agents make names of files from. It has no characters that a file name cannot have, it stays the
/// same from start to start, and two words of haresources have two.
pub fn variables(root: &Path, provider: &str, call: &ScriptCall) -> Vec<(String, String)> {
    let mut all = vec![
        ("OCF_ROOT".into(), root.display().to_string()),
        ("OCF_RA_VERSION_MAJOR".into(), "1".into()),
        ("OCF_RA_VERSION_MINOR".into(), "0".into()),
        ("OCF_RESOURCE_INSTANCE".into(), format!("{}-{:08x}", call.name, fingerprint(call.word.as_bytes()))),
        ("OCF_RESOURCE_PROVIDER".into(), provider.into()),
        ("OCF_RESOURCE_TYPE".into(), call.name.clone()),
    ];
    all.extend(call.parameters().map(|(name, value)| (format!("OCF_RESKEY_{name}"), value.to_owned())));
    all
}

/// FNV-1a, which will be the same in every later version.
fn fingerprint(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The parameters an agent takes, and whether one must be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, bool>);

impl Parameters {
    /// Reads an agent's meta-data.
    pub fn parse(xml: &str) -> Result<Parameters, String> {
        // Every agent names a DTD; nothing is fetched for it.
        let options = roxmltree::ParsingOptions { allow_dtd: true, nodes_limit: ELEMENTS_MAX, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(xml, options).map_err(|error| error.to_string())?;
        if !document.root_element().has_tag_name("resource-agent") {
            return Err("its root element is not `resource-agent`".into());
        }
        let is_yes = |text: Option<&str>| matches!(text, Some("1" | "true" | "yes"));
        let all = document.descendants().filter(|node| node.has_tag_name("parameter")).filter_map(|node| {
            let content = node.children().find(|child| child.has_tag_name("content"));
            let has_default = content.is_some_and(|content| content.has_attribute("default"));
            Some((node.attribute("name")?.to_owned(), is_yes(node.attribute("required")) && !has_default))
        });
        Ok(Parameters(all.collect()))
    }

    /// Asks the agent.
    pub fn of(root: &Path, agent: &Path) -> Result<Parameters, String> {
        Parameters::parse(&meta_data(root, agent)?)
    }

    /// What is wrong with the parameters of a call.
    fn check(&self, call: &ScriptCall, file: &FileName) -> Vec<Diagnostic> {
        let problem = |span, message: String| Diagnostic::new(Code::OcfParameter, file.clone(), span, message);
        let mut found = Vec::new();
        for (name, _) in call.parameters().filter(|(name, _)| !self.0.contains_key(*name)) {
            let text = format!("the agent {} has no parameter {name}", call.name);
            let names: Vec<&str> = self.0.keys().map(String::as_str).take(NAMES_SHOWN).collect();
            let more = if self.0.len() > names.len() { " ..." } else { "" };
            found.push(problem(call.parameter_span(name), text).help(format!("it has {}{more}", names.join(", "))));
        }
        let missing =
            self.0.iter().filter(|(name, required)| **required && call.parameters().all(|(given, _)| given != *name));
        for (name, _) in missing {
            let text = format!("the agent {} needs the parameter {name}", call.name);
            found.push(problem(call.span, text).help(format!("add `::{name}=VALUE` to the word")));
        }
        found
    }
}

/// What is wrong with calls of agents; each agent is asked once.
pub fn check<'c>(
    root: &Path,
    calls: impl Iterator<Item = (&'c str, &'c ScriptCall)>,
    file: &FileName,
) -> Vec<Diagnostic> {
    let mut known: BTreeMap<PathBuf, Result<Parameters, String>> = BTreeMap::new();
    let mut found = Vec::new();
    for (provider, call) in calls {
        let agent = path(root, provider, &call.name);
        let parameters = known.entry(agent).or_insert_with_key(|agent| Parameters::of(root, agent));
        match parameters {
            Ok(parameters) => found.extend(parameters.check(call, file)),
            Err(why) => {
                let text = format!("the meta-data of ocf:{provider}:{} cannot be read: {why}", call.name);
                let problem = Diagnostic::new(Code::OcfMetadata, file.clone(), call.span, text);
                found.push(problem.help("its parameters are not checked; the agent may refuse them when it starts"));
            }
        }
    }
    found
}

/// Runs an agent with `meta-data`, whatever it does not for longer than [`LIMIT`].
fn meta_data(root: &Path, agent: &Path) -> Result<String, String> {
    let mut command = Command::new(agent);
    command.arg("meta-data").env("OCF_ROOT", root).env("OCF_RA_VERSION_MAJOR", "1").env("OCF_RA_VERSION_MINOR", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let Some(stdout) = child.stdout.take() else { return Err("it has no output".into()) };
    let text = read_until(stdout, Instant::now() + LIMIT);
    // Whatever it does now is of no interest; without a group the process is gone already.
    let _gone = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    let _reaped = child.wait();
    text
}

/// All that is written until `end`; whoever the agent leaves behind may hold the pipe for ever.
///
/// Not in a thread, which could not be ended: a daemon forks its guard after this, and forks no threads.
fn read_until(mut pipe: ChildStdout, end: Instant) -> Result<String, String> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    while bytes.len() < BYTES_MAX {
        let left = end.saturating_duration_since(Instant::now());
        let mut readable = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut readable, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return Err(format!("it takes longer than {} s", LIMIT.as_secs())),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.to_string()),
        }
        match pipe.read(&mut chunk).map_err(|error| error.to_string())? {
            0 => break,
            length => bytes.extend_from_slice(chunk.get(..length).unwrap_or_default()),
        }
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Whether somebody may execute the file.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hb_core::config::{Config, Resource, SourceText, Sources};
    use std::os::unix::fs::PermissionsExt as _;

    const META_DATA: &str = r#"<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="Web" version="1.0">
<parameters>
<parameter name="config" required="1"><content type="string"/></parameter>
<parameter name="port" required="1"><content type="integer" default="80"/></parameter>
<parameter name="user"><content type="string"/></parameter>
</parameters>
<actions><action name="start" timeout="20s"/></actions>
</resource-agent>"#;

    fn calls(words: &str) -> Vec<ScriptCall> {
        let text = |name, bytes| SourceText { name, bytes };
        let haresources = format!("alpha {words}");
        let reading = Config::read(&Sources {
            local_name: "alpha",
            ha_cf: text("ha.cf", b"node alpha beta\nbcast lo\nauto_failback on\nlogfacility none\n"),
            haresources: Some(text("haresources", haresources.as_bytes())),
            authkeys: text("authkeys", b"auth 1\n1 sha1 k\n"),
        });
        assert_eq!(reading.diagnostics, []);
        let resources = reading.groups.into_iter().flat_map(|group| group.resources);
        resources.filter_map(|one| if let Resource::Script(call) = one { Some(call) } else { None }).collect()
    }

    fn problems(parameters: &Parameters, word: &str) -> Vec<String> {
        let found = parameters.check(&calls(word)[0], &FileName("haresources".into()));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn parameters_are_checked_against_what_the_agent_says() {
        let web = Parameters::parse(META_DATA).unwrap();
        assert_eq!(problems(&web, "ocf:me:Web::config=/x"), [""; 0]);
        assert_eq!(problems(&web, "ocf:me:Web::config=/x::user=a::port=8080"), [""; 0]);
        assert_eq!(
            problems(&web, "ocf:me:Web::usr=a"),
            [
                "haresources:1:19: error[E0509]: the agent Web has no parameter usr",
                "haresources:1:7: error[E0509]: the agent Web needs the parameter config",
            ]
        );
    }

    #[test]
    fn what_is_no_meta_data_says_so() {
        for text in ["", "usage: Web start", "<a/>", "<resource-agent>"] {
            assert!(Parameters::parse(text).is_err(), "{text}");
        }
        let many = format!(
            "<!DOCTYPE a [<!ENTITY a \"{0}\">]><resource-agent>{1}</resource-agent>",
            "x".repeat(9),
            "<a/>".repeat(200_000)
        );
        assert!(Parameters::parse(&many).is_err(), "more elements than are allowed");
    }

    #[test]
    fn an_instance_is_a_file_name_of_its_own_for_each_word() {
        let variables = |word: &str| -> BTreeMap<String, String> {
            variables(Path::new("/ocf"), "me", &calls(word)[0]).into_iter().collect()
        };
        let (one, other) = (variables("ocf:me:Web::config=/a/b"), variables("ocf:me:Web::config=/a/c"));
        assert_eq!(one["OCF_RESKEY_config"], "/a/b");
        assert_eq!((one["OCF_ROOT"].as_str(), one["OCF_RESOURCE_TYPE"].as_str()), ("/ocf", "Web"));
        assert_eq!(one["OCF_RESOURCE_INSTANCE"], "Web-a64f706f");
        assert_ne!(one["OCF_RESOURCE_INSTANCE"], other["OCF_RESOURCE_INSTANCE"]);
    }

    #[test]
    fn agents_are_asked_once_and_whatever_they_do_is_survived() {
        let root = std::env::temp_dir().join(format!("hb-ocf-{}", std::process::id()));
        let directory = root.join("resource.d/me");
        fs::create_dir_all(&directory).unwrap();
        let agent = |name: &str, body: &str| {
            let file = directory.join(name);
            fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        };
        agent("Web", &format!("echo x >> {}\ncat <<'END'\n{META_DATA}\nEND", root.join("asked").display()));
        agent("Chatty", "exec yes '<a>'");
        agent("Crash", "kill -9 $$");
        agent("Binary", "head -c 100 /dev/urandom; printf '\\377'");
        let words = "ocf:me:Web::config=1 ocf:me:Web::cnfig=2 ocf:me:Chatty ocf:me:Crash ocf:me:Binary ocf:me:Missing";
        let calls = calls(words);
        let found = check(&root, calls.iter().map(|call| ("me", call)), &FileName("haresources".into()));
        let found: Vec<&str> = found.iter().map(|one| one.code.text()).collect();
        assert_eq!(found, ["E0509", "E0509", "W0510", "W0510", "W0510", "W0510"]);
        assert_eq!(fs::read_to_string(root.join("asked")).unwrap(), "x\n");
        fs::remove_dir_all(root).unwrap();
    }
}
