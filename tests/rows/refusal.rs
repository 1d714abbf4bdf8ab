//! Files that must be refused: the daemon is started with them, and says why it does not run.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use hb_core::config::{Config, Resource, SourceText, Sources};
use hb_shell::net::namespace::Machine;
use hb_shell::testbed::Directory;
use hb_sim::plan::Refusal;
use hb_sim::run::Verdict;

use crate::files::Home;

/// What the original returns for a configuration error, too.
const MISCONFIGURED: i32 = 6;

/// Starts each node with its files.
pub(crate) fn play(refusal: &Refusal) -> Result<Vec<Verdict>> {
    let base = Directory::new()?;
    let mut verdicts = Vec::new();
    for (name, texts) in &refusal.texts {
        let home = Home::new(base.path(), name)?;
        home.write(texts)?;
        home.install_scripts(scripts(name, texts).into_iter(), &refusal.no_scripts)?;
        let machine = Machine::new(name, &[])?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_heartbeat-under-test"));
        command.args(["run", "--trace-size", "0", "--config-dir"]).arg(&home.path).arg("--state-dir");
        command.arg(home.path.join("state")).arg("--run-dir").arg(home.path.join("run")).args(["--node", name]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = machine.spawn(command)?.wait_with_output().context("the daemon cannot be run")?;
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let is_refused = output.status.code() == Some(MISCONFIGURED) && said.contains(refusal.code.text());
        let missed = (!is_refused).then(|| format!("{}: {said}", output.status));
        verdicts.push(Verdict { what: format!("{name} is refused: {}", refusal.code), missed });
    }
    Ok(verdicts)
}

/// The scripts that the files name.
fn scripts(name: &str, texts: &[String; 3]) -> Vec<String> {
    let [ha_cf, haresources, authkeys] = texts.each_ref().map(String::as_bytes);
    let reading = Config::read(&Sources {
        local_name: name,
        ha_cf: SourceText { name: "ha.cf", bytes: ha_cf },
        haresources: Some(SourceText { name: "haresources", bytes: haresources }),
        authkeys: SourceText { name: "authkeys", bytes: authkeys },
    });
    let resources = reading.groups.into_iter().flat_map(|group| group.resources);
    let names = resources.filter_map(|one| if let Resource::Script(call) = one { Some(call.name) } else { None });
    names.collect()
}
