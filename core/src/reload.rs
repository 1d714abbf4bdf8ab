//! New files for a running node.
//!
//! Whoever drives the node reads and checks them; what has errors never gets here, and the node goes on with what it has.
//! In a recording the texts stand without authkeys, of which the entries are kept and not the secrets.

use crate::auth::Entries;
use crate::config::{Config, Text};
use alloc::string::String;

/// New files for a running node: what they say, and their texts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Reload {
    local_name: String,
    ha_cf: Text,
    haresources: Option<Text>,
    entries: Entries,
    /// Absent in what was read from a recording, until the keys are given again.
    #[cfg_attr(feature = "trace", serde(skip))]
    config: Option<Config>,
}

impl Reload {
    /// `config` is what these texts say, and some authkeys.
    pub fn new(config: Config, ha_cf: Text, haresources: Option<Text>) -> Reload {
        let local_name = config.local_name().into();
        Reload { local_name, ha_cf, haresources, entries: Entries::of(config.keyring()), config: Some(config) }
    }

    /// What the files say; `None` if it was recorded and its keys were not given again.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// The numbers and methods of the new keys.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The name of the node in the new files.
    pub fn local_name(&self) -> &str {
        &self.local_name
    }

    /// ha.cf.
    pub fn ha_cf(&self) -> &Text {
        &self.ha_cf
    }

    /// haresources, if there was one.
    pub fn haresources(&self) -> Option<&Text> {
        self.haresources.as_ref()
    }

    /// The same with what its files say.
    #[cfg(feature = "trace")]
    pub(crate) fn with_config(mut self, config: Config) -> Reload {
        self.config = Some(config);
        self
    }
}
