//! What is drawn on: rectangles, lines and texts in tenths of a pixel, styled by classes alone.

use super::axis::Tenths;
use svg::Document;
use svg::node::element::{Definitions, Line, Pattern, Rectangle, Style, Text, Title};

/// Width of a character of 11 pixels, of 10 and of 12, in tenths of a pixel: these faces are monospaced.
pub(super) const CHAR: Tenths = 67;
pub(super) const SMALL_CHAR: Tenths = 61;
pub(super) const HOST_CHAR: Tenths = 73;

/// The picture so far.
pub(super) struct Canvas {
    document: Document,
}

/// Where a text is anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
}

fn px(tenths: Tenths) -> f64 {
    f64::from(tenths) / 10.0
}

impl Canvas {
    /// An empty picture.
    pub(super) fn new(title: &str, width: Tenths, height: Tenths) -> Canvas {
        let document = Document::new()
            .set("viewBox", (0, 0, width / 10, height / 10))
            .set("width", width / 10)
            .set("height", height / 10)
            .set("role", "img")
            .add(Title::new(clean(title)))
            .add(Style::new(include_str!("style.css")))
            .add(
                Definitions::new()
                    .add(hatching("still", "still-line", 9))
                    .add(hatching("wait", "wait-line", 7))
                    .add(hatching("both", "both-line", 7)),
            );
        let mut canvas = Canvas { document };
        canvas.rect("paper", [0, 0, width, height], None);
        canvas
    }

    fn add(&mut self, node: impl Into<Box<dyn svg::Node>>) {
        svg::Node::append(&mut self.document, node);
    }

    /// A rectangle (left, top, width, height) of a class, or filled with the hatching `#NAME`; a pointer over it shows
    /// `tip`.
    pub(super) fn rect(&mut self, class: &str, [x, y, width, height]: [Tenths; 4], tip: Option<String>) {
        let mut rect =
            Rectangle::new().set("x", px(x)).set("y", px(y)).set("width", px(width)).set("height", px(height));
        rect = match class.strip_prefix('#') {
            Some(pattern) => rect.set("fill", format!("url(#{pattern})")),
            None => rect.set("class", class),
        };
        if let Some(tip) = tip {
            rect = rect.add(Title::new(clean(&tip)));
        }
        self.add(rect);
    }

    /// A vertical line.
    pub(super) fn vertical(&mut self, class: &str, x: Tenths, from: Tenths, to: Tenths, tip: Option<&str>) {
        self.line(class, [x, from, x, to], tip);
    }

    /// A line from a point to a point.
    pub(super) fn line(&mut self, class: &str, [x1, y1, x2, y2]: [Tenths; 4], tip: Option<&str>) {
        let mut line =
            Line::new().set("class", class).set("x1", px(x1)).set("y1", px(y1)).set("x2", px(x2)).set("y2", px(y2));
        if let Some(tip) = tip {
            line = line.add(Title::new(clean(tip)));
        }
        self.add(line);
    }

    /// A text on its base line.
    pub(super) fn text(&mut self, class: &str, (x, y): (Tenths, Tenths), anchor: Anchor, text: &str) {
        let mut node = Text::new(clean(text)).set("x", px(x)).set("y", px(y)).set("class", class);
        match anchor {
            Anchor::Start => {}
            Anchor::Middle => node = node.set("text-anchor", "middle"),
        }
        self.add(node);
    }

    /// The picture as text.
    pub(super) fn finish(self) -> String {
        let mut text = self.document.to_string();
        text.push('\n');
        text
    }
}

/// Oblique lines, `distance` pixels apart.
fn hatching(name: &str, class: &str, distance: i32) -> Pattern {
    let line = Line::new().set("class", class).set("x1", 0).set("y1", 0).set("x2", 0).set("y2", distance);
    let ground = format!("{name}-ground");
    let ground = Rectangle::new().set("class", ground).set("width", distance).set("height", distance);
    Pattern::new()
        .set("id", name)
        .set("width", distance)
        .set("height", distance)
        .set("patternUnits", "userSpaceOnUse")
        .set("patternTransform", "rotate(45)")
        .add(ground)
        .add(line)
}

/// A text without characters that XML cannot have.
fn clean(text: &str) -> String {
    let is_allowed = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if is_allowed(c) { c } else { '\u{fffd}' }).collect()
}

/// How wide a text is, in characters.
pub(super) fn columns(text: &str) -> Tenths {
    text.chars().map(columns_of).sum()
}

/// Ideographs, kana and Hangul are as wide as two characters.
fn columns_of(c: char) -> Tenths {
    if matches!(u32::from(c), 0..0x1100 | 0x1200..0x2e80) { 1 } else { 2 }
}

/// A text of at most so many characters; the middle is left out where it would be longer, since names differ at ends.
pub(super) fn shortened(text: &str, most: Tenths) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let (mut head, mut tail) = (String::new(), Vec::new());
    for c in text.chars() {
        head.push(c);
        if columns(&head) > most / 2 {
            head.pop();
            break;
        }
    }
    let mut room = most - columns(&head) - 1;
    for c in text.chars().rev() {
        room -= columns_of(c);
        if room < 0 {
            break;
        }
        tail.push(c);
    }
    head.push('\u{2026}');
    head.extend(tail.into_iter().rev());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lose_their_middle() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("database-primary-rack-17", 11), "datab\u{2026}ck-17");
        assert_eq!(columns(&shortened("\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}", 7)), 7);
    }
}
