//! Figures of benchmarks: one JSON line each.

use crate::is_root;
use serde_json::json;
use std::time::Duration;

/// The distribution of what was measured in several runs; nothing where nothing was measured.
pub fn print(what: &str, values: &[f64], unit: &str) {
    if values.is_empty() {
        return;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: usize| rounded(sorted[(sorted.len() - 1) * share / 100]);
    let line = json!({
        "benchmark": what, "unit": unit, "runs": sorted.len(),
        "min": at(0), "median": at(50), "max": at(100), "realtime": is_root(),
    });
    println!("{line}");
}

/// To three places.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// A span in milliseconds.
pub fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
