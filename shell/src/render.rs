//! Diagnostics as a terminal shows them: the line of the file with a caret, and what to write instead.

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use hb_core::config::{Diagnostic, Severity, Span};

/// Whether the text is for a terminal that understands colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Only characters.
    Plain,
    /// With escape sequences.
    Colour,
}

/// Draws one problem of a file with the text `source`; the text ends without a line end.
///
/// A problem of the whole file shows no line.
pub fn render(diagnostic: &Diagnostic, source: &str, paint: Paint) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let file = diagnostic.file.0.as_str();
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.text());
    let mut group = if let Some((line, at)) = line_of(source, diagnostic.span) {
        let snippet = Snippet::source(line)
            .path(file)
            .line_start(usize::try_from(diagnostic.span.line).unwrap_or(1))
            .annotation(AnnotationKind::Primary.span(at));
        title.element(snippet)
    } else {
        title.element(Origin::path(file))
    };
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if paint == Paint::Colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

/// The line that holds `span`, and where in it; nothing for a problem of the whole file or a span of another text.
fn line_of(source: &str, span: Span) -> Option<(&str, core::ops::Range<usize>)> {
    if span == Span::FILE {
        return None;
    }
    let start = source.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let length = source.get(span.start..)?.find('\n').unwrap_or(source.len() - span.start);
    let line = source.get(start..span.start + length)?.trim_end_matches('\r');
    (span.end - start <= line.len()).then(|| (line, span.start - start..span.end - start))
}
