//! Spans as scenarios write them: seconds (`3`, `0.25`), or with `ms`, `us`, `ns`.
//!
//! Finer than the times of ha.cf, which end at the millisecond: delays of a network are shorter.

use std::fmt;
use std::time::Duration;

/// Three decades: nothing that a scenario means, and no sum of two overflows.
const LONGEST_NS: u64 = 1_000_000_000_000_000_000;

/// Reads a span; `None` if it is none, or longer than three decades.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit {
        "" | "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.contains('.') || part.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let mut nanos = whole.checked_mul(scale)?;
    if !part.is_empty() {
        let digits = u32::try_from(part.len()).ok()?;
        let part: u64 = part.parse().ok()?;
        nanos = nanos.checked_add(u64::try_from(u128::from(part) * u128::from(scale) / 10_u128.pow(digits)).ok()?)?;
    }
    (nanos <= LONGEST_NS).then(|| Duration::from_nanos(nanos))
}

/// A span as [`parse`] reads it, in the unit that makes it short.
#[derive(Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (scale, unit) = match nanos {
            n if n >= 1_000_000_000 && n.is_multiple_of(1_000_000) || n == 0 => (1_000_000_000, ""),
            n if n.is_multiple_of(1_000_000) => (1_000_000, "ms"),
            n if n.is_multiple_of(1000) => (1000, "us"),
            _ => (1, "ns"),
        };
        let (whole, part) = (nanos / scale, nanos % scale);
        if part == 0 {
            return write!(f, "{whole}{unit}");
        }
        let part = format!("{part:09}");
        write!(f, "{whole}.{}{unit}", part.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_all_units_and_printed_short() {
        for (text, nanos, printed) in [
            ("3", 3_000_000_000, "3"),
            ("3.05", 3_050_000_000, "3.05"),
            ("0.25", 250_000_000, "250ms"),
            ("250ms", 250_000_000, "250ms"),
            ("1500us", 1_500_000, "1500us"),
            ("17ns", 17, "17ns"),
            ("0", 0, "0"),
        ] {
            let span = parse(text).unwrap();
            assert_eq!(span, Duration::from_nanos(nanos), "{text}");
            assert_eq!(Span(span).to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", ".", "1.2.3", "3m", "-1", "soon", "1.0000000001", "99999999999999999999", "9999999999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_is_read_again(nanos in 0_u64..4_000_000_000_000_000) {
            let span = Duration::from_nanos(nanos);
            proptest::prop_assert_eq!(parse(&Span(span).to_string()), Some(span));
        }
    }
}
