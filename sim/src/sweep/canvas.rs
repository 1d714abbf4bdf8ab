//! Draws figures: as SVG, and as PNG with the glyphs of the font in `assets/`, so that neither needs fonts of a system.
//!
//! Everything is laid out in units of a page of 960 columns and drawn several times larger: SVG coordinates of the
//! library are whole numbers, and a PNG that is shrunk again has smooth lines.

use super::figures::{Figure, Key, Panel, Shape};
use anyhow::{Context as _, Result, anyhow};
use plotters::chart::ChartBuilder;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::fmt::Display;
use std::sync::LazyLock;

/// The size of a figure in its own units: columns, and rows of one panel.
const WIDTH: u32 = 960;
const PANEL: u32 = 420;
const TITLE: u32 = 46;
const LEGEND: u32 = 290;
/// How much finer the coordinates of an SVG are.
const SVG_SCALE: u32 = 4;
/// How much larger a PNG is, and how much larger than that it is drawn.
const PNG_SCALE: u32 = 2;
const SMOOTH: u32 = 2;
/// A label longer than this would leave the legend.
const LABEL_MAX: usize = 34;

/// Text, lines of the grid, paper: the report gives them the colours of its scheme.
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xd8, 0xdd, 0xe3);
const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Colours that can be told apart, on paper and on a dark screen, by most eyes.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x2f, 0x7d, 0xc8),
    RGBColor(0xd9, 0x7b, 0x1f),
    RGBColor(0x2e, 0x9c, 0x6b),
    RGBColor(0xc8, 0x4b, 0x4b),
    RGBColor(0x8b, 0x6b, 0xcb),
    RGBColor(0x8c, 0x6d, 0x4f),
    RGBColor(0xcf, 0x5f, 0xa5),
    RGBColor(0x6f, 0x7f, 0x8f),
];

/// The font of PNG files, and of the widths by which text is placed. Registered once for the process.
static FONT: LazyLock<bool> = LazyLock::new(|| {
    let bytes = include_bytes!("../../assets/DejaVuSans-latin.ttf");
    register_font("sans-serif", FontStyle::Normal, bytes).is_ok()
});

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

fn height(figure: &Figure) -> u32 {
    TITLE + PANEL * u32::try_from(figure.panels.len()).unwrap_or(1)
}

/// The figure as SVG.
pub(crate) fn svg(figure: &Figure) -> Result<String> {
    let (width, height) = (WIDTH, height(figure));
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (width * SVG_SCALE, height * SVG_SCALE)).into_drawing_area();
        draw(figure, &root, SVG_SCALE)?;
    }
    let fine = format!("width=\"{}\" height=\"{}\"", width * SVG_SCALE, height * SVG_SCALE);
    Ok(text.replacen(&fine, &format!("width=\"{width}\" height=\"{height}\""), 1))
}

/// The figure as it stands in the report: no size of its own, in the colours of the page.
pub(crate) fn svg_for_page(figure: &Figure) -> Result<String> {
    let text = svg(figure)?;
    let own = format!("width=\"{WIDTH}\" height=\"{}\"", height(figure));
    let hex = |colour: RGBColor| format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
    let text = text.replacen(&own, "role=\"img\"", 1);
    Ok(text.replace(&hex(INK), "currentColor").replace(&hex(GRID), "var(--grid)").replace(&hex(PAPER), "var(--paper)"))
}

/// The figure as PNG.
pub(crate) fn png(figure: &Figure) -> Result<Vec<u8>> {
    let scale = PNG_SCALE * SMOOTH;
    let (width, height) = (WIDTH * scale, height(figure) * scale);
    let size = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
    let mut pixels = vec![0_u8; size(width) * size(height) * 3];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        draw(figure, &root, scale)?;
    }
    let small = shrink(&pixels, size(width), size(SMOOTH));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width / SMOOTH, height / SMOOTH);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().context("cannot make a PNG")?;
    writer.write_image_data(&small).context("cannot make a PNG")?;
    writer.finish().context("cannot make a PNG")?;
    Ok(bytes)
}

/// Each pixel is the mean of the square of pixels it replaces.
fn shrink(pixels: &[u8], width: usize, by: usize) -> Vec<u8> {
    let mut small = Vec::with_capacity(pixels.len() / (by * by));
    for rows in pixels.chunks_exact(width * 3 * by) {
        for x in 0..width / by {
            for channel in 0..3 {
                let of = |row: usize, column: usize| u32::from(rows[(row * width + x * by + column) * 3 + channel]);
                let sum: u32 =
                    (0..by).flat_map(|row| (0..by).map(move |column| (row, column))).map(|(r, c)| of(r, c)).sum();
                let mean = usize::try_from(sum).unwrap_or_default() / (by * by);
                small.push(u8::try_from(mean).unwrap_or(u8::MAX));
            }
        }
    }
    small
}

/// The library's errors borrow what they were drawn on.
fn broken(error: impl Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

fn whole(units: u32) -> i32 {
    i32::try_from(units).unwrap_or(i32::MAX)
}

fn text_style(size: u32, scale: u32) -> TextStyle<'static> {
    ("sans-serif", size * scale).into_font().color(&INK)
}

type Area<'a, DB> = DrawingArea<DB, plotters::coord::Shift>;

fn draw<DB: DrawingBackend>(figure: &Figure, root: &Area<'_, DB>, scale: u32) -> Result<()> {
    anyhow::ensure!(*FONT, "the font of the figures cannot be read");
    root.fill(&PAPER).map_err(broken)?;
    let (title, rest) = root.split_vertically(TITLE * scale);
    let at = (whole(14 * scale), whole(16 * scale));
    title.draw(&Text::new(figure.title.clone(), at, text_style(18, scale))).map_err(broken)?;
    let (panels, legend) = rest.split_horizontally((WIDTH - LEGEND) * scale);
    for (area, panel) in panels.split_evenly((figure.panels.len(), 1)).iter().zip(&figure.panels) {
        let (x, y) = extents(panel);
        if panel.log {
            axes(area, panel, x, (y.0..y.1).log_scale(), scale, power_of_ten)?;
        } else {
            axes(area, panel, x, y.0..y.1, scale, decimal)?;
        }
    }
    draw_legend(figure, &legend, scale)?;
    root.present().map_err(broken)
}

/// The ranges of the axes: from zero, unless logarithmic.
fn extents(panel: &Panel) -> ((f64, f64), (f64, f64)) {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for mark in &panel.marks {
        match &mark.shape {
            Shape::Line(line) | Shape::Dashed(line) => points.extend(line),
            Shape::Point { at, bar } => points.extend([*at, (at.0, bar.0), (at.0, bar.1)]),
            Shape::Below(at) => points.push(*at),
        }
    }
    let (mut right, mut top, mut bottom) = (0.0_f64, 0.0_f64, f64::INFINITY);
    for (x, y) in points {
        right = right.max(x);
        top = top.max(y);
        if y > 0.0 {
            bottom = bottom.min(y);
        }
    }
    let right = if right > 0.0 { right * 1.04 } else { 1.0 };
    let top = if top > 0.0 { top } else { 1.0 };
    if panel.log {
        // Whole decades.
        return ((0.0, right), (decade(bottom.min(top), f64::floor), decade(top, f64::ceil)));
    }
    ((0.0, right), (0.0, panel.top.unwrap_or(top * 1.06)))
}

fn decade(value: f64, round: fn(f64) -> f64) -> f64 {
    libm::pow(10.0, round(libm::log10(value)))
}

fn power_of_ten(value: f64) -> String {
    if (0.0099..10_000.0).contains(&value) { decimal(value) } else { format!("{value:.0e}") }
}

/// At most three decimals, without idle zeros.
fn decimal(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn axes<DB: DrawingBackend, Y>(
    area: &Area<'_, DB>,
    panel: &Panel,
    x: (f64, f64),
    y: Y,
    scale: u32,
    label: fn(f64) -> String,
) -> Result<()>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut builder = ChartBuilder::on(area);
    builder.margin(10 * scale).x_label_area_size(46 * scale).y_label_area_size(74 * scale);
    let mut chart = builder.build_cartesian_2d(x.0..x.1, y).map_err(broken)?;
    chart
        .configure_mesh()
        .x_desc(panel.x.clone())
        .y_desc(panel.y.clone())
        .axis_desc_style(text_style(15, scale))
        .label_style(text_style(13, scale))
        .axis_style(INK.stroke_width(scale))
        .bold_line_style(GRID.stroke_width(scale))
        .light_line_style(TRANSPARENT)
        .x_labels(9)
        .y_labels(9)
        .x_label_formatter(&|value| decimal(*value))
        .y_label_formatter(&|value| label(*value))
        .set_all_tick_mark_size(4 * scale)
        .draw()
        .map_err(broken)?;
    for mark in &panel.marks {
        let line = colour(mark.colour).stroke_width(2 * scale);
        let fill = colour(mark.colour).filled();
        match &mark.shape {
            Shape::Line(points) => {
                chart.draw_series(LineSeries::new(points.iter().copied(), line)).map_err(broken)?;
            }
            Shape::Dashed(points) => {
                let dashes = DashedLineSeries::new(points.iter().copied(), 7 * scale, 5 * scale, line);
                chart.draw_series(dashes).map_err(broken)?;
            }
            Shape::Point { at, bar } => {
                let thin = colour(mark.colour).stroke_width(scale);
                let ends = [(at.0, bar.0), (at.0, bar.1)];
                chart.draw_series([PathElement::new(ends, thin)]).map_err(broken)?;
                chart.draw_series([Circle::new(*at, 4 * scale, fill)]).map_err(broken)?;
            }
            Shape::Below(at) => {
                let size = whole(5 * scale);
                let corners = [(-size, -size), (size, -size), (0, size), (-size, -size)];
                let triangle = EmptyElement::at(*at) + PathElement::new(corners, line);
                chart.draw_series([triangle]).map_err(broken)?;
            }
        }
    }
    Ok(())
}

fn draw_legend<DB: DrawingBackend>(figure: &Figure, area: &Area<'_, DB>, scale: u32) -> Result<()> {
    let (left, text_left) = (whole(8 * scale), whole(44 * scale));
    let mut row = whole(24 * scale);
    let step = whole(22 * scale);
    let middle = |row: i32| row + whole(4 * scale);
    for key in &figure.legend {
        match key {
            Key::Heading(text) => {
                area.draw(&Text::new(text.clone(), (left, row), text_style(13, scale))).map_err(broken)?;
            }
            Key::Series(number, text) => {
                let line = [(left, middle(row)), (left + whole(28 * scale), middle(row))];
                area.draw(&PathElement::new(line, colour(*number).stroke_width(3 * scale))).map_err(broken)?;
                for (at, part) in wrap(text).into_iter().enumerate() {
                    row += if at == 0 { 0 } else { whole(17 * scale) };
                    area.draw(&Text::new(part, (text_left, row), text_style(13, scale))).map_err(broken)?;
                }
            }
            Key::Dashed(text) => {
                for dash in 0..3 {
                    let begin = left + whole(11 * scale * dash);
                    let line = [(begin, middle(row)), (begin + whole(6 * scale), middle(row))];
                    area.draw(&PathElement::new(line, INK.stroke_width(2 * scale))).map_err(broken)?;
                }
                area.draw(&Text::new(text.clone(), (text_left, row), text_style(13, scale))).map_err(broken)?;
            }
        }
        row += step;
    }
    Ok(())
}

/// A label in lines that fit the legend, broken at its commas.
fn wrap(label: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in label.split(", ") {
        match lines.last_mut() {
            Some(line) if line.len() + 2 + part.len() <= LABEL_MAX => {
                line.push_str(", ");
                line.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_broken_at_commas() {
        let label = "crash, keepalive 250 ms, deadtime 1 s, loss 5 %, delay uniform 1ms 5ms";
        assert_eq!(wrap(label), ["crash, keepalive 250 ms", "deadtime 1 s, loss 5 %", "delay uniform 1ms 5ms"]);
    }

    #[test]
    fn shrinking_takes_the_mean_of_squares() {
        let pixels = [[0_u8; 3], [4; 3], [10; 3], [10; 3], [8; 3], [0; 3], [10; 3], [10; 3]].concat();
        assert_eq!(shrink(&pixels, 4, 2), [[3; 3], [10; 3]].concat());
    }
}
