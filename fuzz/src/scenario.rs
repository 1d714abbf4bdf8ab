//! Any text as a scenario: it is a plan, or has problems that can be shown; what a plan prints is that plan again.

use hb_sim::Plan;

/// Any bytes as a scenario file.
///
/// # Panics
/// If reading panics, problems cannot be drawn, or a plan does not survive being printed.
pub fn scenario_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Plan::parse("fuzz.hbs", &text) {
        Ok(plan) => {
            let printed = plan.to_string();
            let again = Plan::parse("printed.hbs", &printed).unwrap_or_else(|problems| {
                panic!("what a plan prints is refused:\n{printed}\n{}", hb_sim::render_all(&problems, &printed))
            });
            assert_eq!(again.to_string(), printed, "a plan prints as what it was read from");
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "a refused scenario has a problem");
            for problem in &problems {
                assert!(
                    !problem.to_string().chars().any(char::is_control),
                    "a message is one harmless line: {problem:?}"
                );
            }
            assert!(!hb_sim::render_all(&problems, &text).is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::samples::{corpus, random};
    use hb_sim::library;

    /// A text with the bytes of `noise` at some places.
    fn garbled(text: &[u8], noise: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for change in noise.chunks_exact(4) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % text.len();
            match change[2] % 4 {
                0 => text[at] = change[3],
                1 => text[at] = b" \n#>:@+-0"[usize::from(change[3]) % 9],
                2 => text.truncate(at.max(1)),
                _ => {
                    let line = text.split(|byte| *byte == b'\n').nth(usize::from(change[3]) % 40);
                    let line = [b"\n", line.unwrap_or_default(), b"\n"].concat();
                    text.splice(at..at, line);
                }
            }
        }
        text
    }

    #[test]
    fn scenario_file_survives_its_corpus() {
        for (_, bytes) in corpus("scenario_file") {
            for length in 0..=bytes.len() {
                super::scenario_file(&bytes[..length]);
            }
        }
    }

    #[test]
    fn scenario_file_survives_the_library_whole_and_garbled() {
        for (seed, (_, text)) in (0..).zip(library::ALL) {
            super::scenario_file(text.as_bytes());
            for variant in 0..20 {
                super::scenario_file(&garbled(text.as_bytes(), &random(seed * 20 + variant, 12)));
            }
        }
    }
}
