//! The cluster changes its dialect while it runs: a node that speaks classic comes or goes (OWNERSHIP 6).

use super::{C2, GROUPS, Pair, config, secs};
use alloc::format;

impl Pair {
    /// The first node chooses its dialect, the second one speaks classic as a 3.0.6 does.
    fn mixed() -> Pair {
        let mut pair = Pair::new("off");
        let chosen = format!("{}auto_failback off\n", C2.replace("dialect classic\n", ""));
        pair.configs[0] = config("h1", &chosen, GROUPS);
        pair.boot(0);
        pair.boot(1);
        pair.run(secs(6));
        pair
    }

    fn has_said(&self, which: usize, what: &str) -> bool {
        let word = format!(")t={what},");
        self.sent.iter().any(|(by, frame)| *by == which && frame.windows(word.len()).any(|at| at == word.as_bytes()))
    }
}

/// Found beside a 3.0.6: it begins a standby at its return, and answered `starting` in between as if it had ended it.
#[test]
fn to_a_node_that_returns_nobody_says_that_it_starts() {
    let mut pair = Pair::mixed();
    assert_eq!(pair.holds(), ["local", "local"]);
    pair.cut = true;
    pair.run(secs(10));
    assert!(pair.has_logged(0, "the cluster speaks the native dialect"));
    pair.sent.clear();
    pair.cut = false;
    pair.run(secs(1));
    assert!(pair.has_said(0, "resource") && !pair.has_said(0, "starting"));
    pair.run(secs(10));
    assert_eq!(pair.holds(), ["local", "local"]);
}
