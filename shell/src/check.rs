//! `heartbeat check`: every problem of the configuration before it bites, and what a good one will do.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;

use clap::Args;
use hb_core::config::{Config, Diagnostic, Severity};
use hb_core::ids::GroupId;
use serde::Serialize;

use crate::config::{CONFIG_DIR, Loaded, count, load};
use crate::render::Paint;

/// The exit status for "not configured", as 3.0.6 has it (CLUSTER g.6).
pub const NOT_CONFIGURED: u8 = 6;

/// Options of `heartbeat check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
    /// Directory of ha.cf, haresources, authkeys and resource.d.
    #[arg(long, value_name = "DIR", default_value = CONFIG_DIR)]
    pub config_dir: PathBuf,
    /// Name of this node, instead of the file nodeinfo or `uname -n`.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Without resource management: haresources is not read.
    #[arg(short = 'M', long = "no-resources")]
    pub no_resources: bool,
}

/// Checks the configuration and prints the result; gives the exit status, 0 or [`NOT_CONFIGURED`].
pub fn run(args: &CheckArgs) -> u8 {
    let loaded = load(&args.config_dir, args.node.as_deref(), !args.no_resources);
    let mut out = io::stdout().lock();
    let text = if args.json {
        json(&loaded)
    } else {
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        text(&loaded, if colour { Paint::Colour } else { Paint::Plain })
    };
    // Whoever closed the pipe still gets the exit status.
    let _closed = out.write_all(text.as_bytes());
    exit_status(&loaded)
}

fn exit_status(loaded: &Loaded) -> u8 {
    if loaded.config.is_some() { 0 } else { NOT_CONFIGURED }
}

/// The problems and a summary, for people.
pub fn text(loaded: &Loaded, paint: Paint) -> String {
    let mut out = String::new();
    for diagnostic in &loaded.diagnostics {
        out += &loaded.render(diagnostic, paint);
        out += "\n\n";
    }
    let errors = loaded.errors();
    let warnings = loaded.diagnostics.len() - errors;
    let warned = count(warnings, "warning", "warnings");
    let Some(config) = &loaded.config else {
        let _infallible = writeln!(out, "{}, {warned}", count(errors, "error", "errors"));
        return out;
    };
    let _infallible = writeln!(
        out,
        "configuration is valid: {}, {}, {}; {warned}",
        count(config.nodes().len(), "node", "nodes"),
        count(config.media().len(), "medium", "media"),
        count(config.groups().len(), "group", "groups"),
    );
    match policy(config) {
        Some(AT_LEAST_ONE) => {
            let _infallible = writeln!(
                out,
                "policy is {AT_LEAST_ONE}: neither fencing nor quorum is configured, so that during a partition\n\
                 of the cluster a group can have two owners, one on each side"
            );
        }
        Some(other) => {
            let _infallible = writeln!(out, "policy is {other}");
        }
        None => {}
    }
    out
}

/// The policy of 3.0.6.
pub(crate) const AT_LEAST_ONE: &str = "at-least-one";

/// What is promised about the number of owners of a group; nothing where no peer could own it as well.
pub(crate) fn policy(config: &Config) -> Option<&'static str> {
    let groups = (0..).map(GroupId).take(config.groups().len());
    let lax = groups.filter(|group| config.exclusion(Some(*group)).silence).count();
    let policy = match lax {
        0 => "at-most-one",
        lax if lax == config.groups().len() => AT_LEAST_ONE,
        _ => "at-least-one for some groups, at-most-one for the others",
    };
    (config.nodes().len() > 1 && !config.groups().is_empty()).then_some(policy)
}

/// The same as one JSON document and a line end, for programs.
pub fn json(loaded: &Loaded) -> String {
    let config = loaded.config.as_ref();
    let errors = loaded.errors();
    let document = Document {
        diagnostics: loaded.diagnostics.iter().map(|diagnostic| Row::new(diagnostic, loaded)).collect(),
        summary: Summary {
            valid: config.is_some(),
            errors,
            warnings: loaded.diagnostics.iter().filter(|one| one.severity == Severity::Warning).count(),
            node: &loaded.local_name,
            nodes: config.map(|config| config.nodes().len()),
            media: config.map(|config| config.media().len()),
            groups: config.map(|config| config.groups().len()),
            policy: config.and_then(policy),
        },
    };
    let mut text = serde_json::to_string(&document).unwrap_or_default();
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Document<'a> {
    diagnostics: Vec<Row<'a>>,
    summary: Summary<'a>,
}

/// Columns count characters from 1; `end_column` is the first one after the piece.
#[derive(Serialize)]
struct Row<'a> {
    severity: String,
    code: &'static str,
    file: &'a str,
    line: u32,
    column: u32,
    end_column: u32,
    message: &'a str,
    help: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn new(diagnostic: &'a Diagnostic, loaded: &Loaded) -> Row<'a> {
        let span = diagnostic.span;
        let piece = loaded.text(&diagnostic.file).get(span.start..span.end).unwrap_or_default();
        let width = u32::try_from(piece.chars().count()).unwrap_or(u32::MAX);
        Row {
            severity: diagnostic.severity.to_string(),
            code: diagnostic.code.text(),
            file: &diagnostic.file.0,
            line: span.line,
            column: span.column,
            end_column: span.column.saturating_add(width),
            message: &diagnostic.message,
            help: diagnostic.help.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    valid: bool,
    errors: usize,
    warnings: usize,
    node: &'a str,
    nodes: Option<usize>,
    media: Option<usize>,
    groups: Option<usize>,
    policy: Option<&'static str>,
}

#[cfg(test)]
mod tests;
