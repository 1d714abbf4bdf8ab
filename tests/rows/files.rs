//! The files of a node: those of the scenario with places of this computer in them, and scripts that behave as it says.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use hb_core::config::{Config, Resource};
use hb_sim::plan::{Device, DeviceDoes, How, Quirk};

const STUB: &str = include_str!("stub.sh");
const FENCE: &str = include_str!("fence.sh");
/// The name of the fencing device's program.
const AGENT: &str = "fence_lab";
/// The devices of scenarios that it stands for.
const PLUGINS: [&str; 2] = ["external/lab", "meatware"];

/// Where everything of one node is.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    /// Where the fencing devices of all machines are.
    devices: PathBuf,
}

impl Home {
    /// Makes the directory of a node below `base`.
    pub(crate) fn new(base: &Path, name: &str) -> Result<Home> {
        let home = Home { path: base.join(name), devices: devices(base)? };
        for directory in ["resource.d", "running", "quirks"] {
            fs::create_dir_all(home.path.join(directory))?;
        }
        Ok(home)
    }

    /// Writes ha.cf, haresources and authkeys.
    pub(crate) fn write(&self, texts: &[String; 3]) -> Result<()> {
        let log = self.path.join("log");
        let ha_cf = format!("{}\nlogfile {}\nrealtime off\n", self.with_agent(&texts[0]), log.display());
        fs::write(self.path.join("ha.cf"), ha_cf)?;
        fs::write(self.path.join("haresources"), &texts[1])?;
        let file = self.path.join("authkeys");
        let mut keys = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
        Ok(keys.write_all(texts[2].as_bytes())?)
    }

    /// The same ha.cf with the player's fencing device in the place of those that a scenario names.
    fn with_agent(&self, ha_cf: &str) -> String {
        let agent = self.devices.join(AGENT);
        let lines = ha_cf.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["stonith_host", node, plugin, ..] if PLUGINS.contains(plugin) => {
                    format!("stonith_host {node} {}", agent.display())
                }
                _ => line.to_owned(),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What the node said in all its lives, with the scenario's name of the device: its terminal has everything.
    pub(crate) fn log(&self) -> String {
        let agent = self.devices.join(AGENT).display().to_string();
        fs::read_to_string(self.path.join("output")).unwrap_or_default().replace(&agent, PLUGINS[0])
    }

    /// Installs the scripts that its groups name, except `missing` ones.
    pub(crate) fn install_scripts(&self, names: impl Iterator<Item = String>, missing: &[String]) -> Result<()> {
        for name in names.filter(|name| !missing.contains(name)) {
            executable(
                &self.path.join("resource.d").join(name),
                &STUB.replace("HOME", &self.path.display().to_string()),
            )?;
        }
        Ok(())
    }

    /// How a resource behaves that does not behave as usual.
    pub(crate) fn set_quirk(&self, quirk: &Quirk) -> Result<()> {
        let how = match quirk.how {
            How::Takes(time) => format!("takes {}\n", time.as_secs_f64()),
            How::Fails => "fails\n".to_owned(),
            How::Misreports => "misreports\n".to_owned(),
        };
        Ok(fs::write(self.path.join("quirks").join(format!("{}.{}", quirk.resource, quirk.verb.word())), how)?)
    }

    /// The file that says that a script runs.
    pub(crate) fn running(&self, word: &str) -> PathBuf {
        self.path.join("running").join(word)
    }

    /// What runs ends with the machine.
    pub(crate) fn forget_running(&self) -> Result<()> {
        fs::remove_dir_all(self.path.join("running"))?;
        Ok(fs::create_dir_all(self.path.join("running"))?)
    }

    /// How often scripts were told to start or stop so far.
    pub(crate) fn script_calls(&self) -> usize {
        fs::read_to_string(self.path.join("calls")).unwrap_or_default().lines().count()
    }
}

/// The names of the scripts in a configuration.
pub(crate) fn script_names(config: &Config) -> impl Iterator<Item = String> {
    config.groups().iter().flat_map(|group| &group.resources).filter_map(|resource| match resource {
        Resource::Script(call) => Some(call.name.clone()),
        Resource::Address(_) => None,
    })
}

/// The directory of the fencing devices, with their program.
fn devices(base: &Path) -> Result<PathBuf> {
    let devices = base.join("devices");
    fs::create_dir_all(&devices)?;
    executable(&devices.join(AGENT), &FENCE.replace("HOME", &devices.display().to_string()))?;
    Ok(devices)
}

/// What the device of a machine does from now on.
pub(crate) fn set_device(base: &Path, node: &str, device: Device) -> Result<()> {
    let does = match device.does {
        DeviceDoes::Works => "works",
        DeviceDoes::Lies => "lies",
        DeviceDoes::Fails => "fails",
        DeviceDoes::Hangs => "hangs",
    };
    Ok(fs::write(base.join("devices").join(node), format!("{does} {}\n", device.takes.as_secs_f64()))?)
}

/// The file by which the device of a machine asks for its power failure.
pub(crate) fn crash_request(base: &Path, node: &str) -> PathBuf {
    base.join("devices").join(format!("crash.{node}"))
}

fn executable(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
}
