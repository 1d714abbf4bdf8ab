//! More of the resource scripts that users ran, as Debian installs them: start, status and stop through the daemon, in their
//! order, and their exit codes believed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;

use crate::Test;
use crate::agents::{self, Needed, PATIENCE};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("resource_types::apache_serves_on_the_address_and_is_started_again", apache),
    ("resource_types::mail_is_sent_at_every_takeover_and_release", mail_to),
    ("resource_types::a_volume_group_is_active_on_one_node_and_its_errors_count", volume_group),
    ("resource_types::a_port_is_blocked_until_everything_behind_it_runs", port_block),
];

const APACHE: &[Needed] = &[
    ("/etc/ha.d/resource.d/apache", "resource-agents"),
    ("/usr/sbin/apache2", "apache2-bin"),
    ("/usr/lib/apache2/modules/mod_status.so", "apache2-bin"),
    ("/usr/bin/curl", "curl"),
];

/// A server that needs nothing but its package and this file.
fn httpd_conf(home: &Path) -> String {
    format!(
        "ServerRoot {home}\nServerName service\nPidFile {home}/httpd.pid\nListen 8080\nErrorLog {home}/error.log\n\
         LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
         LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
         LoadModule status_module /usr/lib/apache2/modules/mod_status.so\n\
         User daemon\nGroup daemon\nDocumentRoot {home}\n\
         <Location /server-status>\nSetHandler server-status\n</Location>\n",
        home = home.display()
    )
}

/// Whether the service answers the client.
fn answers(testbed: &Testbed) -> bool {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "2", "http://10.77.0.100:8080/server-status"]).stdout(Stdio::piped());
    let output = testbed.client().spawn(curl).and_then(std::process::Child::wait_with_output);
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Apache Server Status"))
}

fn apache() -> Outcome {
    if let Some(reason) = agents::hindrance(APACHE) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = agents::pair("monitor 500ms\n")?;
    // The same place on both nodes, and what is in it private to each.
    let place = Path::new("/run/service");
    let conf = place.join("httpd.conf");
    let line = format!("h1 10.77.0.100/24/eth0 apache::{}\n", conf.display());
    agents::prepare(&mut testbed, &line, &[])?;
    for which in 0..2 {
        let (conf, text) = (conf.clone(), httpd_conf(place));
        testbed.machine(which)?.run(move || fs::create_dir("/run/service").and_then(|()| fs::write(conf, text)))?;
    }
    agents::start(&mut testbed)?;
    testbed.wait_until("h1 serves", PATIENCE, answers)?;

    // It dies, and nobody tells the daemon.
    let pid = testbed.machine(0)?.run(|| fs::read_to_string("/run/service/httpd.pid"))?;
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse()?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
    agents::logged_in_order(
        &testbed,
        0,
        &["resource.d/apache /run/service/httpd.conf start", "is not running", "start"],
    )?;
    testbed.wait_until("it serves again", PATIENCE, |testbed| agents::runs(testbed, 0) && answers(testbed))?;

    agents::stand_by(&testbed, 0)?;
    ensure!(testbed.is_owned_by(&[1]));
    testbed.wait_until("h2 serves", PATIENCE, answers)?;
    testbed.kill(1)?;
    testbed.wait_until("h1 serves", PATIENCE, |testbed| testbed.is_owned_by(&[0]) && answers(testbed))?;
    let servers = || -> Result<usize> {
        let all = testbed.machine(1)?.processes()?;
        let is_server = |pid: &nix::unistd::Pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("apache2"))
        };
        Ok(all.iter().filter(|pid| is_server(pid)).count())
    };
    ensure!(servers()? == 0, "the guard stopped it on h2");
    Ok(Completion::Completed)
}

fn mail_to() -> Outcome {
    if let Some(reason) = agents::hindrance(&[("/etc/ha.d/resource.d/MailTo", "resource-agents")]) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = agents::pair("")?;
    agents::stand_in(&testbed, "mail", "cat > letter")?;
    agents::prepare(&mut testbed, "h1 10.77.0.100/24/eth0 MailTo::ops@example.com::Web\n", &[])?;
    agents::start(&mut testbed)?;
    agents::stand_by(&testbed, 0)?;
    testbed.wait_until("both have written", PATIENCE, |testbed| {
        agents::calls(testbed, 0).len() >= 2 && !agents::calls(testbed, 1).is_empty()
    })?;
    let (of_h1, of_h2) = (agents::calls(&testbed, 0), agents::calls(&testbed, 1));
    let is_about = |call: &String, what: &str| {
        call.starts_with("mail -s Web ") && call.contains(what) && call.ends_with(" ops@example.com")
    };
    ensure!(of_h1.len() == 2 && is_about(&of_h1[0], "Takeover") && is_about(&of_h1[1], "Migrating"), "{of_h1:?}");
    ensure!(of_h2.len() == 1 && is_about(&of_h2[0], "Takeover"), "{of_h2:?}");
    Ok(Completion::Completed)
}

/// The programs of LVM, of a volume group whose directory in /dev is `shm/data`; `broken` beside them makes it unreadable.
fn volumes(testbed: &Testbed) -> Result<()> {
    agents::stand_in(
        testbed,
        "vgchange",
        "case \"$*\" in\n\
         --version) echo '  LVM version:     2.03.16(2) (2022-05-18)';;\n\
         *-a*n*) rm -rf /dev/shm/data;;\n\
         *-a*y*) [ -e broken ] && exit 5; mkdir -p /dev/shm/data; touch /dev/shm/data/web;;\n\
         esac",
    )?;
    for name in ["lvm", "lvs", "vgck", "vgdisplay", "vgs", "vgscan"] {
        agents::stand_in(testbed, name, "exit 0")?;
    }
    Ok(())
}

fn volume_group() -> Outcome {
    if let Some(reason) = agents::hindrance(&[("/etc/ha.d/resource.d/LVM", "resource-agents")]) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = agents::pair("")?;
    volumes(&testbed)?;
    agents::prepare(&mut testbed, "h1 LVM::shm/data 10.77.0.100/24/eth0\n", &[])?;
    let changed = |testbed: &Testbed, which: usize| -> Vec<String> {
        let calls = agents::calls(testbed, which).into_iter();
        calls.filter(|call| call.starts_with("vgchange -a") && call.ends_with(" shm/data")).collect()
    };
    let active = |testbed: &Testbed, which: usize| -> Result<bool> {
        Ok(testbed.machine(which)?.run(|| Path::new("/dev/shm/data/web").exists()))
    };
    agents::start(&mut testbed)?;
    ensure!(active(&testbed, 0)? && !active(&testbed, 1)?);
    agents::stand_by(&testbed, 0)?;
    ensure!(active(&testbed, 1)? && !active(&testbed, 0)?);
    let of_h1 = changed(&testbed, 0);
    ensure!(of_h1.len() == 2 && of_h1[0].contains('y') && of_h1[1].contains('n'), "{of_h1:?}");

    // On h1 it cannot be activated now; the exit code is believed, and h2 gets it back.
    fs::write(testbed.directory(0).join("broken"), "")?;
    ensure!(testbed.stop(1)? == Some(0));
    testbed.wait_until("h1 has failed", PATIENCE, |testbed| agents::here(testbed, 0) == "failed")?;
    ensure!(!testbed.has_address(0), "what comes after it was started");
    let code = "Giving up resources due to failure of LVM::shm/data";
    agents::logged_in_order(&testbed, 0, &["Return code 1 from LVM::shm/data start", code])?;
    testbed.start(1)?;
    testbed.wait_until("h2 runs it", PATIENCE, |testbed| agents::here(testbed, 1) == "running")?;
    Ok(Completion::Completed)
}

/// A packet filter that remembers its rules and lists them as the agent reads them.
const IPTABLES: &str = "touch rules\n\
     while [ \"$1\" = -w ] || [ \"$1\" = --wait ]; do shift; done\n\
     rule=$(echo \"$*\" | sed -n 's/^-[IAD] INPUT -p \\([a-z]*\\) -d .* --dports \\([0-9,]*\\) -j DROP$/\\1 \\2/p')\n\
     case \"$1 $2\" in\n\
     '-n -L') while read -r protocol ports; do\n\
       echo \"DROP       $protocol  --  0.0.0.0/0            0.0.0.0/0            multiport dports $ports\"\n\
     done < rules;;\n\
     '-I INPUT'|'-A INPUT') [ -n \"$rule\" ] && echo \"$rule\" >> rules;;\n\
     '-D INPUT') grep -vx \"$rule\" rules > rest; mv rest rules;;\n\
     esac\n\
     exit 0";

fn port_block() -> Outcome {
    if let Some(reason) = agents::hindrance(&[("/etc/ha.d/resource.d/portblock", "resource-agents")]) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = agents::pair("")?;
    agents::stand_in(&testbed, "iptables", IPTABLES)?;
    // What clients see: no answer at all while the service between the two is not there.
    let look = "last=$1\necho \"Look $1 $(wc -l < rules)\" >> calls\n\
                case $1 in start) touch up;; stop) rm -f up;; status) [ -e up ] && echo running || echo stopped;; esac";
    for which in 0..2 {
        let home = testbed.directory(which);
        fs::create_dir_all(home.join("resource.d"))?;
        fs::write(home.join("rules"), "")?;
        let text = format!("#!/bin/sh\ncd {}\n{look}\n", home.display());
        agents::executable(&home.join("resource.d/Look"), &text)?;
    }
    let line = "h1 portblock::tcp::80::block 10.77.0.100/24/eth0 Look portblock::tcp::80::unblock\n";
    agents::prepare(&mut testbed, line, &[])?;
    agents::start(&mut testbed)?;
    let looks = |testbed: &Testbed, which: usize| -> Vec<String> {
        let calls = agents::calls(testbed, which).into_iter();
        calls.filter(|call| call.starts_with("Look st") && !call.contains("status")).collect()
    };
    let blocked = |testbed: &Testbed, which: usize| -> Result<bool> {
        Ok(!fs::read_to_string(testbed.directory(which).join("rules"))?.is_empty())
    };
    ensure!(looks(&testbed, 0) == ["Look start 1"], "{:#?}", agents::calls(&testbed, 0));
    ensure!(!blocked(&testbed, 0)?, "{:#?}", agents::calls(&testbed, 0));
    agents::stand_by(&testbed, 0)?;
    ensure!(looks(&testbed, 0) == ["Look start 1", "Look stop 1"], "{:#?}", agents::calls(&testbed, 0));
    ensure!(looks(&testbed, 1) == ["Look start 1"], "{:#?}", agents::calls(&testbed, 1));
    ensure!(!blocked(&testbed, 1)?, "{:#?}", agents::calls(&testbed, 1));
    Ok(Completion::Completed)
}
