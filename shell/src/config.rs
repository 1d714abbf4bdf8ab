//! The configuration of this machine: reads the files, and checks what only the machine knows.
//!
//! [`load`] is what the daemon starts from and what `heartbeat check` shows; both see the same problems.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use hb_core::config::{
    Code, Config, Diagnostic, FileName, Medium, MediumKind, Program, Reading, Resource, ScriptClass, Sources, Span,
};

use hb_core::trace::Text;

use crate::ocf::{self, is_executable};
use crate::render::{Paint, render};
use crate::source::{self, displayable, masked, read_file};
use crate::{accounts, fencing};

/// Where 3.0.6 keeps its files.
pub const CONFIG_DIR: &str = "/etc/ha.d";

/// Where scripts are looked for after resource.d of the configuration directory.
pub(crate) const INIT_DIR: &str = "/etc/init.d";

/// What the files of a directory say.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; present exactly if no diagnostic is an error.
    pub config: Option<Config>,
    /// Every problem, by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// The name of this node that was looked for.
    pub local_name: String,
    /// ha.cf as it was read, for recordings.
    pub ha_cf: Text,
    /// haresources as it was read, if it could be.
    pub haresources: Option<Text>,
    /// What a terminal may see of each file.
    texts: BTreeMap<FileName, String>,
}

impl Loaded {
    /// The number of errors.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count()
    }

    /// The text of a file as a terminal may see it: secrets are stars, each byte that is not UTF-8 is a question mark.
    pub fn text(&self, file: &FileName) -> &str {
        self.texts.get(file).map_or("", String::as_str)
    }

    /// One of the problems with its line and a caret.
    pub fn render(&self, diagnostic: &Diagnostic, paint: Paint) -> String {
        render(diagnostic, self.text(&diagnostic.file), paint)
    }
}

/// The name of this node: the one given, else the first line of nodeinfo in `dir`, else `uname -n` (WIRE 8).
pub fn local_name(dir: &Path, node: Option<&str>) -> String {
    node.map(str::to_owned).or_else(|| nodeinfo(dir)).unwrap_or_else(uname)
}

/// Reads ha.cf, haresources, authkeys and nodeinfo in `dir`; `node` overrides the name of this node. A daemon that does
/// not manage resources has no haresources.
pub fn load(dir: &Path, node: Option<&str>, manages: bool) -> Loaded {
    let local_name = local_name(dir, node);
    let [ha_cf, haresources, authkeys] = source::read(dir);

    let Reading { config, mut diagnostics, nodes: _, media, groups, clients } = Config::read(&Sources {
        local_name: &local_name,
        ha_cf: ha_cf.text(),
        haresources: (manages && haresources.problem.is_none()).then(|| haresources.text()),
        authkeys: authkeys.text(),
    });
    // A file that could not be read says so once, and not that everything is missing in it.
    for source in
        [&ha_cf, &haresources, &authkeys].into_iter().filter(|source| manages || source.name != haresources.name)
    {
        if let Some(problem) = &source.problem {
            diagnostics.retain(|diagnostic| diagnostic.file != source.name);
            diagnostics.push(problem.clone());
        }
    }
    diagnostics.extend(authkeys.is_open_to_others());
    for medium in &media {
        diagnostics.extend(check_medium(medium, &ha_cf.name));
    }
    for program in &clients.programs {
        diagnostics.extend(check_program(program, &ha_cf.name));
    }
    for list in &clients.api_auth {
        let users = list.users.iter().filter(|name| accounts::user(name).is_none()).map(|name| ("user", name));
        let groups = list.groups.iter().filter(|name| accounts::group(name).is_none()).map(|name| ("group", name));
        diagnostics.extend(users.chain(groups).map(|(kind, name)| no_account(kind, name, list.span, &ha_cf.name)));
    }
    diagnostics.extend(config.as_ref().and_then(Config::fence_device).and_then(|it| fencing::check(it, &ha_cf.name)));
    let resources = || groups.iter().flat_map(|group| &group.resources);
    let ocf_root = ocf::root();
    for resource in resources() {
        diagnostics.extend(check_resource(resource, dir, &ocf_root, &haresources.name));
    }
    let agents = resources().filter_map(|resource| match resource {
        Resource::Script(call) => match &call.class {
            ScriptClass::Ocf { provider } => Some((provider.as_str(), call)),
            ScriptClass::Heartbeat | ScriptClass::Lsb => None,
        },
        Resource::Address(_) => None,
    });
    let agents = agents.filter(|(provider, call)| is_executable(&ocf::path(&ocf_root, provider, &call.name)));
    diagnostics.extend(ocf::check(&ocf_root, agents, &haresources.name));
    let place = |file: &FileName| [&ha_cf, &haresources, &authkeys].iter().position(|source| source.name == *file);
    diagnostics.sort_by_key(|diagnostic| (place(&diagnostic.file), diagnostic.span.start));
    Loaded {
        config: config.filter(|_| !diagnostics.iter().any(Diagnostic::is_error)),
        diagnostics,
        local_name,
        ha_cf: Text { name: ha_cf.name.0.clone(), bytes: ha_cf.bytes.clone() },
        haresources: (manages && haresources.problem.is_none())
            .then(|| Text { name: haresources.name.0.clone(), bytes: haresources.bytes.clone() }),
        texts: BTreeMap::from([
            (ha_cf.name, displayable(&ha_cf.bytes)),
            (haresources.name, displayable(&haresources.bytes)),
            (authkeys.name, masked(&displayable(&authkeys.bytes))),
        ]),
    }
}

/// The interfaces of this machine, by name.
pub fn interfaces() -> Vec<String> {
    let Ok(found) = nix::net::if_::if_nameindex() else { return Vec::new() };
    found.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect()
}

/// The name in the file nodeinfo, which overrides that of the machine (CLUSTER i.2).
fn nodeinfo(dir: &Path) -> Option<String> {
    let (bytes, _) = read_file(&dir.join("nodeinfo")).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines().next().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned)
}

fn uname() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn check_medium(medium: &Medium, file: &FileName) -> Vec<Diagnostic> {
    if let MediumKind::Serial { device, .. } = &medium.kind {
        return check_device(device, medium.span, file).into_iter().collect();
    }
    let interface = medium.kind.interface();
    let mut found: Vec<_> =
        interface.and_then(|interface| check_interface(interface, medium.span, file)).into_iter().collect();
    let unresolved = match &medium.kind {
        MediumKind::Ucast { peer, .. } => resolve(peer).err().map(|why| (peer, "IPv4", why)),
        MediumKind::Ucast6 { peer, .. } => resolve6(peer).err().map(|why| (peer, "IPv6", why)),
        MediumKind::Ping6 { host } => resolve6(host).err().map(|why| (host, "IPv6", why)),
        MediumKind::Ping { .. } | MediumKind::PingGroup { .. } => {
            let mut failures = medium.kind.hosts().iter().filter_map(|host| Some((host, "IPv4", resolve(host).err()?)));
            failures.next()
        }
        MediumKind::Bcast { .. } | MediumKind::Mcast { .. } | MediumKind::Mcast6 { .. } | MediumKind::Serial { .. } => {
            None
        }
    };
    if let Some((peer, version, why)) = unresolved {
        let what = if medium.kind.is_ping() { "ping node" } else { "peer" };
        let message = format!("the {what} [{peer}] has no {version} address: {why}");
        let problem = Diagnostic::new(Code::PeerUnresolved, file.clone(), medium.span, message);
        found.push(problem.help(format!("write an {version} address: names may not resolve while a machine boots")));
    }
    found
}

/// A serial adapter may be plugged in later, so that its absence is no reason not to start.
fn check_device(device: &str, span: Span, file: &FileName) -> Option<Diagnostic> {
    let why = match fs::metadata(device) {
        Ok(meta) if meta.file_type().is_char_device() => return None,
        Ok(_) => "it is no terminal".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("{device} cannot be used as a serial line: {why}");
    let problem = Diagnostic::new(Code::NoDevice, file.clone(), span, message);
    Some(problem.help("until it is there no heartbeats travel this way; the daemon tries again every ten seconds"))
}

/// The IPv4 address of a peer as ha.cf names it; waits for the resolver if it is a name.
pub fn resolve(peer: &str) -> io::Result<std::net::Ipv4Addr> {
    let mut addresses = (peer, 0).to_socket_addrs()?.map(|address| address.ip());
    let v4 = addresses.find_map(|address| if let IpAddr::V4(v4) = address { Some(v4) } else { None });
    v4.ok_or_else(|| io::Error::other("only IPv6 addresses"))
}

/// The IPv6 address of a peer as ha.cf names it; waits for the resolver if it is a name.
pub fn resolve6(peer: &str) -> io::Result<std::net::Ipv6Addr> {
    let mut addresses = (peer, 0).to_socket_addrs()?.map(|address| address.ip());
    let v6 = addresses.find_map(|address| if let IpAddr::V6(v6) = address { Some(v6) } else { None });
    v6.ok_or_else(|| io::Error::other("only IPv4 addresses"))
}

/// *Ours*: 3.0.6 starts with an unknown interface on a ucast line, and then is deaf on that link.
fn check_interface(interface: &str, span: Span, file: &FileName) -> Option<Diagnostic> {
    nix::net::if_::if_nametoindex(interface).err()?;
    let message = format!("this machine has no interface {interface}");
    let problem = Diagnostic::new(Code::NoInterface, file.clone(), span, message);
    Some(problem.help(format!("it has {}", interfaces().join(", "))))
}

fn check_resource(resource: &Resource, dir: &Path, ocf_root: &Path, file: &FileName) -> Option<Diagnostic> {
    let call = match resource {
        Resource::Address(ip) => return check_interface(ip.interface.as_ref()?, ip.span, file),
        Resource::Script(call) => call,
    };
    let places = match &call.class {
        ScriptClass::Heartbeat => vec![dir.join("resource.d"), PathBuf::from(INIT_DIR)],
        ScriptClass::Lsb => vec![PathBuf::from(INIT_DIR)],
        ScriptClass::Ocf { provider } => vec![ocf_root.join("resource.d").join(provider)],
    };
    if places.iter().any(|place| is_executable(&place.join(&call.name))) {
        return None;
    }
    let message = format!("Cannot locate resource script {}", call.name);
    let problem = Diagnostic::new(Code::NoScript, file.clone(), call.span, message);
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    Some(problem.help(format!("put an executable of that name into {}", places.join(" or "))))
}

/// *Ours*: 3.0.6 finds out when it starts the program.
fn check_program(program: &Program, file: &FileName) -> Option<Diagnostic> {
    if program.is_ipfail() {
        // It is built in: nobody runs the program.
        return None;
    }
    if accounts::user(&program.user).is_none() {
        return Some(no_account("user", &program.user, program.span, file));
    }
    if is_executable(Path::new(program.path())) {
        return None;
    }
    let message = format!("{} does not exist or cannot be executed: it will not run", program.path());
    let problem = Diagnostic::new(Code::NoProgram, file.clone(), program.span, message);
    let name = program.path().rsplit('/').next().unwrap_or_default();
    let places = ["/usr/libexec/heartbeat", "/usr/lib/heartbeat", "/usr/lib64/heartbeat"];
    let near = places.iter().map(|place| Path::new(place).join(name)).find(|path| is_executable(path));
    Some(match near {
        Some(near) => problem.help(format!("it is at {}", near.display())),
        None => problem,
    })
}

fn no_account(kind: &str, name: &str, span: Span, file: &FileName) -> Diagnostic {
    let message = format!("this machine has no {kind} {name}");
    Diagnostic::new(Code::NoAccount, file.clone(), span, message).help("create it, or write another name or a number")
}

/// `1 error`, `2 errors`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> impl Display {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_own_peer() {
        assert_eq!(resolve("10.0.0.2").ok(), Some([10, 0, 0, 2].into()));
        assert!(resolve("fe80::1").is_err());
    }
}
