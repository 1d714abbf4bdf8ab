//! The commands that send one message through the FIFO. Read CLIENT 12 and CLUSTER g.8 first.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// Where the FIFO is if the environment does not say.
const FIFO: &str = "/var/lib/heartbeat/fifo";
const SETS: [&str; 4] = ["all", "foreign", "local", "failback"];

/// What to do.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// Send these lines; first say that, if anything.
    Send(Vec<String>, Option<String>),
    /// Explain: standard output, then error output.
    Usage(String, String),
}

/// Runs a command; gives its exit code.
pub(super) fn run(name: &str, program: &str, arguments: &[String]) -> u8 {
    match order(name, program, arguments) {
        Order::Usage(out, error) => {
            // Whoever does not listen is not told.
            let _unheard =
                io::stdout().write_all(out.as_bytes()).and_then(|()| io::stderr().write_all(error.as_bytes()));
            1
        }
        Order::Send(lines, notice) => {
            if let Some(notice) = notice {
                eprintln!("{} {notice}", crate::log::stamp(crate::clock::wall()));
            }
            let path =
                std::env::var_os("HA_FIFO").filter(|path| !path.is_empty()).unwrap_or_else(|| OsString::from(FIFO));
            let path = PathBuf::from(path);
            let text = format!(">>>\n{}\n<<<\n", lines.join("\n"));
            match send(&path, text.as_bytes()) {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("{name}: no heartbeat takes this: {}: {error}", path.display());
                    1
                }
            }
        }
    }
}

fn send(path: &PathBuf, text: &[u8]) -> io::Result<()> {
    // Without a reader the FIFO cannot be opened for writing alone and without waiting.
    let mut fifo = OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    if !fifo.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("not a FIFO"));
    }
    // In one write, so that no other message comes between.
    let length = fifo.write(text)?;
    if length == text.len() { Ok(()) } else { Err(io::Error::other("the message does not fit")) }
}

fn order(name: &str, program: &str, arguments: &[String]) -> Order {
    let first = arguments.first().map_or("", String::as_str);
    let second = arguments.get(1).map_or("", String::as_str);
    let line = |name: &str, value: &str| format!("{name}={value}");
    let usage = |text: &str| Order::Usage(format!("usage: {name} {text}\n"), String::new());
    match name {
        "hb_standby" | "hb_takeover" => {
            let set = if arguments.is_empty() { "all" } else { first };
            if !SETS.contains(&set) {
                let is_help = name == "hb_standby" && set == "--help";
                let wrong = if is_help { String::new() } else { format!("{program}: wrong resources({set}).\n") };
                return Order::Usage(format!("{wrong}usage:\n"), format!("{program} [all|foreign|local|failback]\n"));
            }
            if name == "hb_takeover" {
                return Order::Send(vec![line("t", name), line("rsc_hold", set)], None);
            }
            let set = if set == "failback" { "foreign" } else { set };
            let lines = vec![line("t", "ask_resources"), line("rsc_hold", set), line("info", "me")];
            Order::Send(lines, Some(format!("Going standby [{set}].")))
        }
        "hb_addnode" | "hb_delnode" => {
            if arguments.is_empty() {
                return usage("<node> <node> ...");
            }
            let kind = name.trim_start_matches("hb_");
            Order::Send(vec![line("t", kind), line("nodelist", &arguments.join(" "))], None)
        }
        "hb_setweight" if arguments.is_empty() => usage("<node> <weight>"),
        "hb_setsite" if arguments.is_empty() => usage("<node> <site>"),
        "hb_setweight" => Order::Send(vec![line("t", "setweight"), line("node", first), line("weight", second)], None),
        _ => Order::Send(vec![line("t", "setsite"), line("node", first), line("site", second)], None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(line: &str) -> Order {
        let mut words = line.split(' ').map(str::to_owned);
        let name = words.next().unwrap_or_default();
        let arguments: Vec<String> = words.collect();
        order(&name, &format!("/usr/share/heartbeat/{name}"), &arguments)
    }

    #[test]
    fn messages_are_those_of_the_originals() {
        for (line, message) in [
            ("hb_standby", "t=ask_resources|rsc_hold=all|info=me"),
            ("hb_standby local", "t=ask_resources|rsc_hold=local|info=me"),
            ("hb_standby failback", "t=ask_resources|rsc_hold=foreign|info=me"),
            ("hb_takeover", "t=hb_takeover|rsc_hold=all"),
            ("hb_takeover failback", "t=hb_takeover|rsc_hold=failback"),
            ("hb_addnode a b", "t=addnode|nodelist=a b"),
            ("hb_delnode a", "t=delnode|nodelist=a"),
            ("hb_setweight a 5", "t=setweight|node=a|weight=5"),
            ("hb_setsite a paris", "t=setsite|node=a|site=paris"),
            ("hb_setsite a", "t=setsite|node=a|site="),
        ] {
            let Order::Send(lines, _) = ordered(line) else { panic!("{line}") };
            assert_eq!(lines.join("|"), message, "{line}");
        }
    }

    #[test]
    fn usage_is_that_of_the_originals() {
        let wrong = "/usr/share/heartbeat/hb_takeover: wrong resources(foo).\nusage:\n".to_owned();
        let sets = "/usr/share/heartbeat/hb_takeover [all|foreign|local|failback]\n".to_owned();
        assert_eq!(ordered("hb_takeover foo"), Order::Usage(wrong, sets));
        assert_eq!(ordered("hb_addnode"), Order::Usage("usage: hb_addnode <node> <node> ...\n".into(), String::new()));
    }
}
