//! The machines of a scenario, each configured through the very parser of the daemon.
//!
//! A configuration that the daemon refuses makes no plan. The rest of the scenario is still read, as far as the
//! configuration can be understood without what was refused, so that its own problems are found, too.

use super::Parser;
use crate::plan::{HostPlan, Plan, Refusal, Rewritten};
use hb_core::config::{Code, Config, Diagnostic, FileName, Resource, SourceText, Sources, Span};

impl Parser<'_> {
    /// One machine a node; none if a configuration cannot be understood at all.
    pub(super) fn hosts(&mut self) -> Vec<HostPlan> {
        self.nodes = self.names();
        if self.nodes.is_empty() {
            let (message, help) =
                ("the scenario has no nodes", "write `base C2`, or a section `ha.cf:` with a `node` line");
            self.problem(Code::ScenarioIncomplete, Span::FILE, message, help);
        }
        let mut hosts = Vec::new();
        for name in self.nodes.clone() {
            let texts = self.files.each_ref().map(|file| file.of(&name).to_owned());
            let (config, problems) = self.read(&name, &texts);
            if self.refusals.is_empty() {
                // The same texts have the same problems for every node. Their places are those of another file.
                let here = |problem: Diagnostic| {
                    let (file, line) = (&problem.file, problem.span.line);
                    // Whatever a name is made of, a message is one harmless line.
                    let message = format!("{file} of {}, line {line}: {}", name.escape_debug(), problem.message);
                    Diagnostic { file: self.file.clone(), span: Span::FILE, message, ..problem }
                };
                self.refusals = problems.into_iter().map(here).collect();
            }
            let Some(config) = config else { continue };
            let mut host = HostPlan::new(texts, config);
            host.rewritten = self.rewritten(&name, &host);
            hosts.push(host);
        }
        hosts
    }

    /// The nodes of all files.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let texts = std::iter::once(&self.files[0].all).chain(self.files[0].own.iter().map(|(_, text)| text));
        for line in texts.flat_map(|text| text.lines()) {
            let mut words = line.split([' ', ',', '\t']).filter(|word| !word.is_empty());
            if words.next() == Some("node") {
                for name in words.map(str::to_ascii_lowercase) {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
        names
    }

    /// What the files say for a node, without what is refused in them; and what is.
    fn read(&mut self, name: &str, texts: &[String; 3]) -> (Option<Config>, Vec<Diagnostic>) {
        let reading = Config::read(&sources(name, texts));
        let resources = || reading.groups.iter().flat_map(|group| &group.resources);
        self.resources.extend(resources().map(|resource| resource.word().to_owned()));
        let mut problems: Vec<Diagnostic> = reading.diagnostics.iter().filter(|one| one.is_error()).cloned().collect();
        if problems.is_empty() {
            // What the daemon looks for before it starts.
            problems.extend(resources().filter_map(|resource| match resource {
                Resource::Script(call) if self.no_scripts.contains(&call.name) => {
                    let message = format!("Cannot locate resource script {}", call.name);
                    Some(Diagnostic::new(Code::NoScript, FileName("haresources".into()), call.span, message))
                }
                _ => None,
            }));
            return (reading.config, problems);
        }
        let mut rest = texts.clone();
        for problem in &problems {
            match problem.code {
                Code::Refused => blank(&mut rest[0], problem.span.line),
                Code::TooManyOwners | Code::DuplicateKey | Code::DuplicateAddress => rest[1].clear(),
                _ => return (None, problems),
            }
        }
        (configure(name, &rest).ok(), problems)
    }

    /// The files of a node as they are when its daemon looks again, for the first time and so on.
    fn rewritten(&mut self, name: &str, host: &HostPlan) -> Vec<Rewritten> {
        let later = |at: usize| self.later[at].iter().find(|(node, _)| node == name).map(|(_, texts)| texts.clone());
        let new: [Vec<String>; 3] = std::array::from_fn(|at| later(at).unwrap_or_default());
        let times = new.iter().map(Vec::len).max().unwrap_or_default();
        let at_time = |time: usize| -> [String; 3] {
            std::array::from_fn(|at| new[at].get(time).or(new[at].last()).unwrap_or(&host.texts[at]).clone())
        };
        (0..times).map(|time| self.written(name, host, at_time(time))).collect()
    }

    fn written(&mut self, name: &str, host: &HostPlan, texts: [String; 3]) -> Rewritten {
        let config = configure(name, &texts).ok();
        let is_same = config.as_ref().is_none_or(|config| {
            config.nodes().len() == host.config.nodes().len()
                && config.media().len() == host.config.media().len()
                && config.groups().len() == host.config.groups().len()
        });
        if !is_same {
            let message = format!("the rewritten files of {} change nodes, media or groups", name.escape_debug());
            let help = "cables and ground stay as they are: change times or keys";
            self.problem(Code::ScenarioValue, Span::FILE, message, help);
        }
        Rewritten { texts, config }
    }

    /// Compares what is refused with what must be.
    pub(super) fn refusal(&mut self, plan: &mut Plan) {
        let refusals = std::mem::take(&mut self.refusals);
        let Some(expected) = self.refused else {
            self.problems.splice(0..0, refusals);
            return;
        };
        if refusals.is_empty() {
            let message = format!("the files are not refused for `{}`", expected.text);
            self.problem(Code::ScenarioValue, expected.span, message, "remove the line");
            return;
        }
        let code = refusals[0].code;
        if refusals.iter().any(|refusal| refusal.code.text() != expected.text) {
            let message = format!("the files are refused, but not for `{}`", expected.text);
            self.problem(Code::ScenarioValue, expected.span, message, format!("write `{}`", code.text()));
            self.problems.splice(0..0, refusals);
            return;
        }
        let names = self.nodes.iter();
        let texts = names.map(|name| (name.clone(), self.files.each_ref().map(|file| file.of(name).to_owned())));
        let refusal = Refusal { texts: texts.collect(), no_scripts: self.no_scripts.clone(), code };
        // Nothing runs, so that nothing happens.
        *plan = Plan {
            title: std::mem::take(&mut plan.title),
            groups: std::mem::take(&mut plan.groups),
            end: plan.end,
            refusal: Some(refusal),
            ..Plan::default()
        };
    }
}

/// Reads a node's files as its daemon would.
pub(crate) fn configure(name: &str, texts: &[String; 3]) -> Result<Config, Vec<Diagnostic>> {
    let reading = Config::read(&sources(name, texts));
    reading.config.ok_or_else(|| reading.diagnostics.into_iter().filter(Diagnostic::is_error).collect())
}

fn sources<'t>(name: &'t str, texts: &'t [String; 3]) -> Sources<'t> {
    let [ha_cf, haresources, authkeys] = texts.each_ref().map(String::as_bytes);
    Sources {
        local_name: name,
        ha_cf: SourceText { name: "ha.cf", bytes: ha_cf },
        haresources: Some(SourceText { name: "haresources", bytes: haresources }),
        authkeys: SourceText { name: "authkeys", bytes: authkeys },
    }
}

/// Empties a line.
fn blank(text: &mut String, number: u32) {
    let at = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    let lines: Vec<&str> = text.lines().enumerate().map(|(line, words)| if line == at { "" } else { words }).collect();
    *text = lines.join("\n") + "\n";
}
