//! Which cables are broken, and in which ways they break.

use super::setting::NODES_MAX;

/// Broken ways: from each node to each other one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Broken(u16);

/// A way in which cables break at once.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub(super) ways: Broken,
    /// What is done, in words.
    pub(super) words: String,
}

/// A set of nodes that may send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Senders(u16);

impl Senders {
    pub(super) fn add(&mut self, host: usize) {
        self.0 |= 1 << host;
    }

    fn has(self, host: usize) -> bool {
        self.0 & 1 << host != 0
    }
}

impl Broken {
    fn ways(ways: impl IntoIterator<Item = (usize, usize)>) -> Broken {
        Broken(ways.into_iter().fold(0, |bits, (from, to)| bits | Broken::bit(from, to)))
    }

    pub(super) fn has(self, from: usize, to: usize) -> bool {
        self.0 & Broken::bit(from, to) != 0
    }

    #[must_use]
    pub(super) fn and(self, other: Broken) -> Broken {
        Broken(self.0 | other.0)
    }

    #[must_use]
    pub(super) fn but(self, other: Broken) -> Broken {
        Broken(self.0 & !other.0)
    }

    /// Whether one of them is a way of what one of these sends.
    pub(super) fn concern(self, senders: Senders) -> bool {
        (0..NODES_MAX).any(|from| senders.has(from) && (0..NODES_MAX).any(|to| self.has(from, to)))
    }

    fn bit(from: usize, to: usize) -> u16 {
        1 << (from * NODES_MAX + to)
    }
}

/// The ways in which the cables between these nodes break. Of a pair all of them break at once. Of three nodes one hears
/// nobody or is heard by nobody or both, or two do not hear each other while the third hears both, or only one of the two
/// does not hear the other.
pub(super) fn cuts(names: &[&str]) -> Vec<Cut> {
    let all = 0..names.len();
    let others = |host: usize| all.clone().filter(move |other| *other != host);
    let from = |host: usize| Broken::ways(others(host).map(|other| (host, other)));
    let to = |host: usize| Broken::ways(others(host).map(|other| (other, host)));
    if names.len() < 3 {
        return vec![Cut { ways: from(0).and(to(0)), words: "cut all cables".to_owned() }];
    }
    let mut cuts = Vec::new();
    for (host, name) in names.iter().enumerate() {
        let mut add = |ways, words: String| cuts.push(Cut { ways, words });
        add(from(host).and(to(host)), format!("cut {name} off"));
        add(to(host), format!("{name} hears nobody any more"));
        add(from(host), format!("nobody hears {name} any more"));
        for other in others(host) {
            let second = names[other];
            add(Broken::ways([(host, other)]), format!("{second} does not hear {name} any more"));
            if other > host {
                add(Broken::ways([(host, other), (other, host)]), format!("cut {name} and {second} apart"));
            }
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_concerns_those_who_send_by_it() {
        let cuts = cuts(&["h1", "h2", "h3"]);
        assert_eq!(cuts.len(), 3 * 3 + 6 + 3, "off, deaf and unheard; one way; two apart");
        let named = |words: &str| cuts.iter().find(|cut| cut.words == words).unwrap().ways;
        let concern = |words: &str| {
            [0, 1, 2].map(|host| {
                let mut senders = Senders::default();
                senders.add(host);
                named(words).concern(senders)
            })
        };
        assert_eq!(concern("cut h2 off"), [true, true, true]);
        assert_eq!(concern("h2 hears nobody any more"), [true, false, true]);
        assert_eq!(concern("nobody hears h2 any more"), [false, true, false]);
        assert_eq!(concern("cut h2 and h3 apart"), [false, true, true]);
        assert_eq!(concern("h3 does not hear h1 any more"), [true, false, false]);
        assert!(!named("cut h1 off").concern(Senders::default()), "nobody sends");
        assert_eq!(named("cut h1 off").but(named("h1 hears nobody any more")), named("nobody hears h1 any more"));
    }
}
