//! The three files, read as the daemon of every node would read them.

use crate::render::{Paint, render};
use crate::source::{self, Source, displayable, masked};
use hb_core::config::{Code, Config, Diagnostic, FileName, NodeConfig, SourceText, Sources};
use std::path::Path;

/// The files of a directory: ha.cf, haresources, authkeys.
#[derive(Debug)]
pub struct Files {
    sources: [Source; 3],
}

/// What the files say.
#[derive(Debug)]
pub(super) struct Understood {
    /// For each node, in the order of the `node` lines; none if a problem is an error.
    pub(super) configs: Vec<Config>,
    /// Every problem, once.
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Files {
    /// Reads the files of a directory; what cannot be read is a diagnostic later.
    pub fn read(dir: &Path) -> Files {
        Files { sources: source::read(dir) }
    }

    /// The texts as simulated machines keep them.
    pub(super) fn texts(&self) -> [String; 3] {
        self.sources.each_ref().map(|source| String::from_utf8_lossy(&source.bytes).into_owned())
    }

    /// What they say for every node, with one line more in ha.cf if it is given.
    pub(super) fn understand(&self, line: Option<&str>) -> Understood {
        let mut ha_cf = self.sources[0].bytes.clone();
        if let Some(line) = line {
            ha_cf.extend_from_slice(format!("\n{line}\n").as_bytes());
        }
        let names = self.names(&ha_cf);
        let mut understood = Understood { configs: Vec::new(), diagnostics: Vec::new() };
        // Without a node there is no machine whose files these are, and that is a problem by itself.
        for name in names.iter().map(String::as_str).chain(names.is_empty().then_some("")) {
            let reading = Config::read(&self.for_node(name, &ha_cf));
            understood.configs.extend(reading.config);
            for problem in reading.diagnostics {
                let is_about_the_machine = names.is_empty() && problem.code == Code::LocalNodeMissing;
                if !is_about_the_machine && !understood.diagnostics.contains(&problem) {
                    understood.diagnostics.push(problem);
                }
            }
        }
        for source in &self.sources {
            if let Some(problem) = &source.problem {
                // A file that could not be read says so once, and not that everything is missing in it.
                understood.diagnostics.retain(|diagnostic| diagnostic.file != source.name);
                understood.diagnostics.push(problem.clone());
            }
        }
        understood.diagnostics.extend(self.sources[2].is_open_to_others());
        if understood.diagnostics.iter().any(Diagnostic::is_error) {
            understood.configs.clear();
        }
        understood
    }

    fn names(&self, ha_cf: &[u8]) -> Vec<String> {
        let nodes: Vec<NodeConfig> = Config::read(&self.for_node("", ha_cf)).nodes;
        nodes.into_iter().map(|node| node.name).collect()
    }

    fn for_node<'a>(&'a self, name: &'a str, ha_cf: &'a [u8]) -> Sources<'a> {
        let [first, haresources, authkeys] = &self.sources;
        Sources {
            local_name: name,
            ha_cf: SourceText { name: &first.name.0, bytes: ha_cf },
            haresources: Some(haresources.text()),
            authkeys: authkeys.text(),
        }
    }

    /// A problem as `heartbeat check` shows it; of keys nothing is shown.
    pub fn render(&self, diagnostic: &Diagnostic, paint: Paint) -> String {
        render(diagnostic, &self.text(&diagnostic.file), paint)
    }

    fn text(&self, file: &FileName) -> String {
        let [ha_cf, haresources, authkeys] = self.sources.each_ref().map(|source| displayable(&source.bytes));
        match self.sources.iter().position(|source| source.name == *file) {
            Some(0) => ha_cf,
            Some(1) => haresources,
            Some(_) => masked(&authkeys),
            None => String::new(),
        }
    }
}
