//! The environment of resource scripts and clients. Read CLUSTER d.8 first.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Where heartbeat's own helper programs are looked for, before the PATH we were started with.
const OWN_DIRECTORIES: &str = "/usr/lib/heartbeat:/usr/share/heartbeat:/usr/sbin:/sbin:/usr/bin:/bin";

/// What the environment is made of; everything in it is known at start.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The name of this node.
    pub node: &'a str,
    /// The directory of ha.cf.
    pub config_dir: &'a Path,
    /// The pipe through which scripts send cluster messages, if there is one. A shell would create a plain file under a
    /// name where there is none, so the variable is then absent.
    pub fifo: Option<&'a Path>,
    /// `logfile` of ha.cf.
    pub logfile: Option<&'a str>,
    /// `debugfile` of ha.cf.
    pub debugfile: Option<&'a str>,
    /// `logfacility` of ha.cf.
    pub logfacility: Option<&'a str>,
    /// The debug level, 0 to 255.
    pub debug: u8,
    /// What ha.cf contributes, by full names: [`Config::environment`](hb_core::config::Config::environment).
    pub configured: &'a [(String, String)],
}

/// The variables that every script gets in addition to our own.
pub fn environment(from: &Surroundings<'_>) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: &str, value: &OsStr| all.push((name.into(), value.into()));
    set("HA_CURHOST", from.node.as_ref());
    set("HA_DIR", from.config_dir.as_ref());
    set("HA_FUNCS", from.config_dir.join("shellfuncs").as_ref());
    set("HA_RCDIR", from.config_dir.join("rc.d").as_ref());
    set("HA_RESOURCEDIR", from.config_dir.join("resource.d").as_ref());
    set("HA_BIN", "/usr/lib/heartbeat".as_ref());
    set("HA_DOCDIR", "/usr/share/doc/heartbeat".as_ref());
    set("HA_LOGD", "no".as_ref());
    set("HA_DATEFMT", "%Y/%m/%d_%T\t".as_ref());
    set("HA_NICEFAILBACK", "yes".as_ref());
    set("OCF_ROOT", crate::ocf::root().as_ref());
    if let Some(fifo) = from.fifo {
        set("HA_FIFO", fifo.as_ref());
    }
    let logs = [("HA_LOGFILE", from.logfile), ("HA_DEBUGLOG", from.debugfile), ("HA_LOGFACILITY", from.logfacility)];
    for (name, value) in logs {
        if let Some(value) = value {
            set(name, value.as_ref());
        }
    }
    if from.debug > 0 {
        set("HA_debug", from.debug.to_string().as_ref());
    }
    // Last: an `env` line wins over what we think, as it would in a shell.
    for (name, value) in from.configured {
        set(name, value.as_ref());
    }
    let mut path = OsString::from(OWN_DIRECTORIES);
    if let Some(own) = std::env::var_os("PATH").filter(|own| !own.is_empty()) {
        path.push(":");
        path.push(own);
    }
    set("PATH", &path);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn scripts_see_the_node_the_directives_and_the_variables_of_ha_cf() {
        let found = environment(&Surroundings {
            node: "alpha",
            config_dir: Path::new("/etc/ha.d"),
            fifo: None,
            logfile: Some("/var/log/ha-log"),
            debugfile: None,
            logfacility: Some("local0"),
            debug: 0,
            configured: &[pair("HA_keepalive", "250ms"), pair("HA_COLOUR", "red"), pair("HA_DOCDIR", "/my/doc")],
        });
        let last = |name: &str| {
            let (_, value) = found.iter().rev().find(|(found, _)| found == name)?;
            value.to_str()
        };
        for (name, value) in [
            ("HA_CURHOST", Some("alpha")),
            ("HA_keepalive", Some("250ms")),
            ("HA_COLOUR", Some("red")),
            ("HA_LOGFILE", Some("/var/log/ha-log")),
            ("HA_DOCDIR", Some("/my/doc")),
            ("HA_RESOURCEDIR", Some("/etc/ha.d/resource.d")),
            ("HA_DEBUGLOG", None),
            ("HA_FIFO", None),
            ("HA_debug", None),
        ] {
            assert_eq!(last(name), value, "{name}");
        }
        assert!(last("PATH").unwrap().starts_with("/usr/lib/heartbeat:"));
    }
}
