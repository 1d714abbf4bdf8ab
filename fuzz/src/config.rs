//! Targets of the configuration: whatever a file holds, reading ends with a usable configuration or with errors that have a
//! place.

use hb_core::config::{self, Config, Diagnostic, Reading, SourceText, Sources};

const HA_CF: &[u8] = b"node alpha beta\nbcast eth0\nauto_failback on\nlogfacility daemon\n";
const AUTHKEYS: &[u8] = b"auth 1\n1 sha1 key\n";

/// Any bytes as ha.cf.
///
/// # Panics
/// If a law of [`Config`] or [`Diagnostic`] is broken.
pub fn ha_cf(bytes: &[u8]) {
    read(bytes, b"alpha 10.0.0.1 Web\n", AUTHKEYS);
    read_files(bytes, None, AUTHKEYS);
}

/// Any bytes as haresources.
///
/// # Panics
/// If a law of [`Config`] or [`Diagnostic`] is broken.
pub fn haresources(bytes: &[u8]) {
    read(HA_CF, bytes, AUTHKEYS);
}

/// Any bytes as authkeys.
///
/// # Panics
/// If a law of [`Config`] or [`Diagnostic`] is broken.
pub fn authkeys(bytes: &[u8]) {
    let (keyring, diagnostics) = config::authkeys::parse(SourceText { name: "authkeys", bytes });
    assert_eq!(keyring.is_some(), !diagnostics.iter().any(Diagnostic::is_error), "a keyring is there without errors");
    read(HA_CF, b"", bytes);
}

/// Any bytes as hostcache.
///
/// # Panics
/// If what was read is not what would be written.
pub fn hostcache(bytes: &[u8]) {
    let (nodes, bad) = config::hostcache::parse(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    assert!(nodes.len() + bad.len() <= lines, "each line names a node or is named");
    let text = config::hostcache::text(&nodes);
    assert_eq!(config::hostcache::parse(text.as_bytes()), (nodes, Vec::new()));
}

fn read(ha_cf: &[u8], haresources: &[u8], authkeys: &[u8]) {
    read_files(ha_cf, Some(haresources), authkeys);
}

fn read_files(ha_cf: &[u8], haresources: Option<&[u8]>, authkeys: &[u8]) {
    let Reading { config, diagnostics, .. } = Config::read(&Sources {
        local_name: "alpha",
        ha_cf: SourceText { name: "ha.cf", bytes: ha_cf },
        haresources: haresources.map(|bytes| SourceText { name: "haresources", bytes }),
        authkeys: SourceText { name: "authkeys", bytes: authkeys },
    });
    let has_errors = diagnostics.iter().any(Diagnostic::is_error);
    assert_eq!(config.is_some(), !has_errors, "a configuration is there without errors: {diagnostics:?}");
    for diagnostic in &diagnostics {
        let text = match diagnostic.file.0.as_str() {
            "ha.cf" => ha_cf,
            "haresources" => haresources.unwrap_or_default(),
            _ => authkeys,
        };
        check_diagnostic(diagnostic, text);
    }
    if let Some(config) = config {
        check_config(&config);
    }
}

fn check_diagnostic(diagnostic: &Diagnostic, text: &[u8]) {
    let span = diagnostic.span;
    assert!(span.start <= span.end && span.end <= text.len(), "the place lies in the text: {diagnostic:?}");
    assert!(!text[span.start..span.end].contains(&b'\n'), "the place lies in one line: {diagnostic:?}");
    let line = text[..span.start].split(|byte| *byte == b'\n').count();
    assert_eq!(usize::try_from(span.line).ok(), Some(line), "the line is that of the place: {diagnostic:?}");
    assert!(span.column >= 1);
    assert!(!diagnostic.to_string().chars().any(char::is_control), "a message is one harmless line: {diagnostic:?}");
}

fn check_config(config: &Config) {
    let timing = config.timing();
    assert!(!timing.keepalive().is_zero() && !timing.warntime().is_zero());
    assert!(timing.deadtime() > timing.keepalive() * 2);
    assert!(timing.deadping() > timing.keepalive() * 2);
    assert!(timing.initdead() >= timing.deadtime());

    assert!((1..=100).contains(&config.nodes().len()));
    for node in config.nodes() {
        let position = config.node_named(&node.name).map(hb_core::ids::NodeId::index);
        assert_eq!(position.map(|at| &config.nodes()[at].name), Some(&node.name), "names are unique");
    }
    assert_eq!(config.local_name(), "alpha");
    assert!((1..=64).contains(&config.media().len()));
    assert!(
        config
            .media()
            .iter()
            .all(|medium| (medium.port > 0 || medium.kind.is_ping() || medium.kind.is_serial())
                && !medium.name.is_empty())
    );
    for group in config.groups() {
        assert!(config.node(group.home).is_some(), "a home is a node");
        assert_eq!(group.resources.first().map(ToString::to_string).as_ref(), Some(&group.key));
    }
    let mut keys: Vec<_> = config.groups().iter().map(|group| &group.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), config.groups().len(), "keys are unique");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Runs `body` on the corpus of that name: every file, its prefixes, and the file with each byte replaced.
    fn run_corpus(name: &str, body: fn(&[u8])) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            files += 1;
            for length in 0..=bytes.len() {
                body(&bytes[..length]);
            }
            for at in 0..bytes.len() {
                for byte in [0, b'\n', b'\\', b'#', b' ', b':', b'/', b'9', 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] = byte;
                    body(&changed);
                }
            }
        }
        assert!(files >= 2, "a corpus has good and bad examples");
    }

    #[test]
    fn ha_cf_survives_its_corpus() {
        run_corpus("ha_cf", super::ha_cf);
    }

    #[test]
    fn haresources_survives_its_corpus() {
        run_corpus("haresources", super::haresources);
    }

    #[test]
    fn hostcache_survives_its_corpus() {
        run_corpus("hostcache", super::hostcache);
    }

    #[test]
    fn authkeys_survives_its_corpus() {
        run_corpus("authkeys", super::authkeys);
    }
}
