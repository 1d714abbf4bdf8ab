//! `cl_status`: what the daemon of this machine knows. Read CLIENT 13.1 and CLUSTER g.4 first.
//!
//! The words of options and mistakes, too, are the original's, the odd ones included.

use super::library::{Client, Reply, Trouble, text};
use super::log_line;
use std::time::Duration;

/// Everything takes at most this long.
const LIMIT: Duration = Duration::from_secs(5);
/// How long the status of a client is waited for, unless told.
const CLIENT_LIMIT: Duration = Duration::from_millis(500);

/// Exit codes.
mod code {
    pub(super) const FAILURE: u8 = 1;
    pub(super) const PARAMETER: u8 = 11;
    pub(super) const TIMEOUT: u8 = 12;
    pub(super) const OTHER: u8 = 13;
}

const USAGE: &str = "\
Usage: cl_status <sub-command> [<options>] [<parameters>]

Sub-commands:
clientstatus <node-name> <client-id> [<timeout>]
\tShow the status of heartbeat clients.
hblinkstatus <node-name> <link-name>
\tShow the status of a heartbeat link
hbstatus
\tIndicate if heartbeat is running on the local system.
\tOptions:
\t\t-v\tverbose: also add \"listnodes -v\" output
listnodes [<option>]
\tList the nodes in the cluster.
\tOptions:
\t\t-p\tlist only 'ping' type nodes
\t\t-n\tlist only 'normal' type nodes
\t\t-v\tverbose: also list type and status,
\t\t\tthen add \"listhblinks -v\" output
listhblinks <node-name>
\tList the network interfaces used as hearbeat links.
\tOptions:
\t\t-v\tverbose: list link status as well
nodestatus <node-name>
\tList the node status.
nodeweight <node-name>
\tList the node weight.
nodesite <node-name>
\tList the node site.
nodetype <node-name>
\tList the nodes of a given type.
rscstatus
\tShow the status of cluster resources.
hbparameter -p <parameter-name>
\tRetrieve the value of a cluster parameter.
\tAs for the valid parameter names, please refer to the man page.
";

/// Letters and words of a command line.
#[expect(clippy::struct_excessive_bools, reason = "the letters of a command line")]
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    /// `-m`: sentences.
    speaks: bool,
    verbose: bool,
    pings: bool,
    normals: bool,
    parameter: Option<String>,
    words: Vec<String>,
    /// An option that there is not, or one without its argument.
    mistake: Option<String>,
}

/// Reads options as getopt does, wherever they stand; `known` are the letters, `p:` one with an argument.
fn read(arguments: &[String], known: &str) -> Line {
    let mut line = Line::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            line.words.push(argument.clone());
            continue;
        };
        for (at, letter) in letters.char_indices() {
            match letter {
                'p' if known.contains("p:") => {
                    let attached = letters.get(at + 1..).filter(|value| !value.is_empty()).map(str::to_owned);
                    line.parameter = attached.or_else(|| rest.next().cloned());
                    if line.parameter.is_none() {
                        line.mistake = Some("option requires an argument -- 'p'".into());
                    }
                    break;
                }
                'm' => line.speaks = true,
                'v' if known.contains('v') => line.verbose = true,
                'p' if known.contains('p') => line.pings = true,
                'n' if known.contains('n') => line.normals = true,
                _ => line.mistake = Some(format!("invalid option -- '{letter}'")),
            }
        }
    }
    line
}

/// Runs `cl_status` with these arguments; gives its exit code.
pub(super) fn run(arguments: &[String]) -> u8 {
    let Some((name, rest)) = arguments.split_first().filter(|(name, _)| *name != "-h") else {
        print!("{USAGE}");
        return 0;
    };
    let known = match name.as_str() {
        "hbstatus" | "listhblinks" => "mv",
        "listnodes" => "mvpn",
        "hbparameter" => "mp:",
        "clientstatus" | "hblinkstatus" | "nodestatus" | "nodeweight" | "nodesite" | "nodetype" | "rscstatus"
        | "test" => "m",
        _ => {
            log_line("cl_status", &format!("{name}: invalid sub-command."));
            return code::PARAMETER;
        }
    };
    let line = read(rest, known);
    let result = if name == "hbstatus" { Ok(hbstatus(&line)) } else { ask(name, &line) };
    result.unwrap_or_else(|trouble| match trouble {
        Trouble::TooLate => code::TIMEOUT,
        Trouble::NotRunning | Trouble::Refused(_) | Trouble::Lost(_) => {
            log_line("cl_status", "Cannot signon with heartbeat");
            log_line("cl_status", &format!("REASON: {trouble}"));
            code::FAILURE
        }
    })
}

fn complain(name: &str, line: &Line) {
    if let Some(mistake) = &line.mistake {
        eprintln!("{name}: {mistake}");
    }
}

fn hbstatus(line: &Line) -> u8 {
    let signed_on = Client::sign_on(LIMIT);
    complain("hbstatus", line);
    match signed_on {
        Ok(mut client) => {
            if !line.verbose {
                println!("Heartbeat is running on this machine.");
                client.sign_off();
                return 0;
            }
            let version = text(&client.welcome, "hbversion").unwrap_or_default();
            if line.speaks {
                println!("Heartbeat version {version}\nResources controlled by \"haresources\"");
            } else {
                println!("version:\t{version}\nmanaged by:\t\"haresources\"");
            }
            let code = list_nodes(&mut client, line).unwrap_or(code::FAILURE);
            client.sign_off();
            code
        }
        Err(Trouble::TooLate) => code::TIMEOUT,
        Err(Trouble::Refused(_)) => {
            println!("Heartbeat is apparently running on this machine, but refuses my connection");
            0
        }
        Err(trouble) => {
            println!("Heartbeat is stopped on this machine.");
            if line.verbose {
                println!("({trouble})");
            }
            code::FAILURE
        }
    }
}

/// All other subcommands: they sign on first, and look at their parameters then.
fn ask(name: &str, line: &Line) -> Result<u8, Trouble> {
    let mut client = Client::sign_on(LIMIT)?;
    let code = answer(&mut client, name, line);
    if !matches!(code, Err(Trouble::Lost(_))) {
        client.sign_off();
    }
    Ok(code.unwrap_or_else(|trouble| match trouble {
        Trouble::TooLate => code::TIMEOUT,
        _ => code::OTHER,
    }))
}

fn answer(client: &mut Client, name: &str, line: &Line) -> Result<u8, Trouble> {
    if line.mistake.is_some() && name != "listnodes" && name != "rscstatus" && name != "test" {
        complain(name, line);
        let form = if name == "hbparameter" { "character code ?" } else { "character ?" };
        log_line("cl_status", &format!("Error: getopt returned{form}."));
        return Ok(code::PARAMETER);
    }
    complain(name, line);
    let word = |at: usize| line.words.get(at).map_or("", String::as_str);
    let wanted = match name {
        "clientstatus" | "hblinkstatus" => 2,
        "listnodes" | "rscstatus" | "hbparameter" | "test" => 0,
        _ => 1,
    };
    if line.words.len() < wanted {
        let plural = matches!(name, "nodestatus" | "nodeweight" | "nodesite");
        eprintln!("{}", if plural { "Not enough parameters." } else { "No enough parameter." });
        return Ok(code::PARAMETER);
    }
    match name {
        "listnodes" => list_nodes(client, line),
        "nodestatus" | "nodeweight" | "nodesite" | "nodetype" => about_node(client, name, word(0), line.speaks),
        "listhblinks" => list_links(client, word(0), line),
        "hblinkstatus" => link_status(client, word(0), word(1), line.speaks),
        "clientstatus" => client_status(client, line),
        "hbparameter" => parameter(client, line),
        "test" => {
            let millis = |field: &str| {
                let number = text(&client.welcome, field).and_then(|hex| u64::from_str_radix(&hex, 16).ok());
                number.unwrap_or(0)
            };
            let (deadtime, keepalive) = (millis("deadtime"), millis("keepalive"));
            let node = text(&client.welcome, "node").unwrap_or_default();
            let held = client.ask_one("getrsc", &[], "rsc_hold")?.unwrap_or_default();
            println!("Dead time: {deadtime}\n keeplive time: {keepalive}\n mynodeid: {node}\n rsc: {held}");
            Ok(0)
        }
        _ => {
            let held = client.ask_one("getrsc", &[], "rsc_hold")?.unwrap_or_default();
            if line.speaks {
                println!("This node is holding {held} resources.");
            } else {
                println!("{held}");
            }
            Ok(0)
        }
    }
}

fn about_node(client: &mut Client, name: &str, node: &str, speaks: bool) -> Result<u8, Trouble> {
    let field = match name {
        "nodestatus" => "st",
        "nodeweight" => "weight",
        "nodesite" => "site",
        _ => "nodetype",
    };
    let value = match client.ask_one(name, &[("node", node)], field) {
        Err(Trouble::Refused(_)) => {
            let weight = name == "nodeweight";
            eprintln!(
                "{}",
                if weight {
                    "Error. Maybe due to incorrect node name."
                } else {
                    "Error. May be due to incorrect node name"
                }
            );
            return Ok(code::PARAMETER);
        }
        value => value?.unwrap_or_default(),
    };
    match (speaks, name) {
        (false, _) => println!("{value}"),
        (true, "nodestatus") => println!("The cluster node {node} is {value}"),
        (true, "nodeweight") => println!("The weight of the cluster node {node} is {value}"),
        (true, "nodesite") => println!("The site of the cluster node {node} is {value}"),
        (true, _) => println!("The node {node}'s type: {value}"),
    }
    let is_well = name != "nodestatus" || matches!(&*value, "active" | "up" | "ping");
    Ok(if is_well { 0 } else { code::FAILURE })
}

fn list_nodes(client: &mut Client, line: &Line) -> Result<u8, Trouble> {
    let nodes = client.ask("nodelist", &[])?;
    if line.speaks {
        println!("The nodes are as follow:");
    }
    // The original's library turns lists round.
    for node in nodes.iter().rev() {
        let get = |name: &str| text(node, name).unwrap_or_default();
        let (name, kind) = (get("node"), get("nodetype"));
        if (line.pings && kind != "ping") || (line.normals && kind != "normal") {
            continue;
        }
        if line.verbose {
            println!("\n{name}\t{}\t(nodetype: {kind})", get("st"));
            let links = client.ask("iflist", &[("node", &name)])?;
            print_links(&links, line);
        } else {
            println!("{name}");
        }
    }
    Ok(0)
}

fn print_links(links: &[Reply], line: &Line) {
    if line.speaks {
        println!("\tthis node has the following heartbeat links:");
    }
    for link in links.iter().rev() {
        let name = text(link, "ifname").unwrap_or_default();
        if line.verbose {
            println!("\t{name}\t{}", text(link, "st").unwrap_or_default());
        } else {
            println!("\t{name}");
        }
    }
}

fn list_links(client: &mut Client, node: &str, line: &Line) -> Result<u8, Trouble> {
    match client.ask("iflist", &[("node", node)]) {
        Err(Trouble::Refused(why)) => {
            log_line("cl_status", "Cannot start heartbeat link interface walk.");
            log_line("cl_status", &format!("REASON: {why}"));
            Ok(code::OTHER)
        }
        links => {
            print_links(&links?, line);
            Ok(0)
        }
    }
}

fn link_status(client: &mut Client, node: &str, link: &str, speaks: bool) -> Result<u8, Trouble> {
    match client.ask_one("ifstatus", &[("node", node), ("ifname", link)], "st") {
        Err(Trouble::Refused(_)) => {
            log_line("cl_status", "Cannot get heartbeat link status");
            log_line("cl_status", "REASON: ");
            Ok(code::OTHER)
        }
        status => {
            let status = status?.unwrap_or_default();
            if speaks {
                println!("The node {node}'s heartbeat link {link} is {status}");
            } else {
                println!("{status}");
            }
            Ok(if status == "up" { 0 } else { code::FAILURE })
        }
    }
}

fn client_status(client: &mut Client, line: &Line) -> Result<u8, Trouble> {
    let word = |at: usize| line.words.get(at).map_or("", String::as_str);
    // What is no number counts as none.
    let limit = match line.words.get(2) {
        None => CLIENT_LIMIT,
        Some(millis) => Duration::from_millis(millis.parse().unwrap_or(0)),
    };
    match client.client_status(word(0), word(1), limit.max(Duration::from_millis(1))) {
        Err(Trouble::TooLate) => {
            log_line("cl_status", &format!("Cannot get heartbeat client {}'s status", word(1)));
            log_line("cl_status", "REASON: No timely response.");
            Ok(code::OTHER)
        }
        status => {
            let status = status?;
            println!("{status}");
            Ok(match &*status {
                "online" => 0,
                "offline" => 1,
                "join" => 2,
                "leave" => 3,
                _ => code::OTHER,
            })
        }
    }
}

fn parameter(client: &mut Client, line: &Line) -> Result<u8, Trouble> {
    let Some(name) = &line.parameter else {
        log_line("cl_status", "parameter name required");
        return Ok(code::PARAMETER);
    };
    // What the sign-on told is not asked for again.
    let told = ["hbversion", "pacemaker"].contains(&name.as_str()).then(|| text(&client.welcome, name)).flatten();
    let value = if told.is_some() { told } else { client.ask_one("getparm", &[("pname", name)], "pvalue")? };
    match value {
        Some(value) if line.speaks => println!("Heartbeat parameter {name}'s value: {value}"),
        Some(value) => println!("{value}"),
        None => {
            log_line("cl_status", &format!("Cannot get parameter {name}'s value"));
            log_line("cl_status", "REASON: ");
            return Ok(code::FAILURE);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, known: &str) -> Line {
        read(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), known)
    }

    #[test]
    fn options_may_stand_anywhere_and_mistakes_are_named() {
        let found = line("h1 -m h2", "m");
        assert!(found.speaks && found.words == ["h1", "h2"] && found.mistake.is_none());
        assert_eq!(line("-z h1", "m").mistake.as_deref(), Some("invalid option -- 'z'"));
        assert_eq!(line("-p keepalive -m", "mp:").parameter.as_deref(), Some("keepalive"));
        assert_eq!(line("-pkeepalive", "mp:").parameter.as_deref(), Some("keepalive"));
        assert_eq!(line("-p", "mp:").mistake.as_deref(), Some("option requires an argument -- 'p'"));
        assert!(line("-pv", "mvpn").pings);
    }
}
