//! What nodes of the native dialect tell each other (OWNERSHIP 1): whom they hear, and what they do with each group.
//!
//! All of it travels as text: words with one blank between, each a letter, a colon, a value. Words that are not known
//! are passed over, so that a later version may add some.
//!
//! | field | message | words |
//! |---|---|---|
//! | `hears` | `status` | for other nodes `hGENERATION.NUMBER:NAME`, `g:NAME`, `d:NAME` or `u:NAME`, which is as good as none |
//! | `pings` | `status` | no words: how many ping nodes and ping groups the sender reaches |
//! | `groups` | `ownership` | for every group `g:KEY`, then what is said of it, see [`GroupWords`] |
//!
//! Numbers are hexadecimal.

use crate::ids::{Generation, Seq};
use crate::wire::WireError;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::time::Duration;

/// Entries of one message, far beyond what a datagram holds.
const ENTRIES_MAX: usize = 4096;

/// What a node holds of another one (OWNERSHIP 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Verdict {
    /// It lives: its newest heartbeat that was heard.
    Heard {
        /// The life it is in.
        generation: Generation,
        /// The number of the heartbeat.
        seq: Seq,
    },
    /// It said goodbye in its newest life.
    Gone,
    /// Silent on every link for its dead time.
    Dead,
    /// Anything else.
    #[default]
    Unsure,
}

/// The part of `status` that the native dialect adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hears<'a> {
    /// Other nodes, and what the sender holds of them (`hears`).
    pub nodes: Vec<(Cow<'a, str>, Verdict)>,
    /// The version of the sender's claims (`claims`): what it said last in `ownership`. None before the first.
    pub claims: Option<u64>,
    /// How many ping nodes and groups answer the sender (`pings`). None without ipfail or ping nodes, and until each of
    /// them has answered or is dead.
    pub pings: Option<u32>,
    /// A digest of its node lines in their order (`order`).
    pub order: u64,
}

/// The body of `ownership`: what the sender does with every group it knows of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ownership<'a> {
    /// Grows with every change in a life of the sender (`version`).
    pub version: u64,
    /// The groups.
    pub groups: Vec<GroupWords<'a>>,
}

/// A start of a group: the counter grows with every start, the generation is that of the starter's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Attempt {
    /// One more than any the starter knew of.
    pub counter: u64,
    /// The starter's life.
    pub generation: Generation,
}

/// What the sender does with a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Claimed {
    /// Nothing of it runs there.
    #[default]
    Stopped,
    /// It wants to start it and collects consent.
    Asking,
    /// It has begun to start it.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped, or could not be.
    Stopping,
    /// It could not be started; nothing of it runs.
    Failed,
}

/// Why a node may not start a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Unable {
    /// Its haresources does not list the group.
    Unlisted,
    /// Its definition of the group is not the one that counts.
    Differs,
    /// A start failed there.
    Failed,
    /// It gives way after an attempt without success (OWNERSHIP 3).
    Yields,
    /// It reaches fewer ping nodes than another that may. Said to operators only: nodes compare the counts themselves.
    Isolated,
    /// It is about to leave.
    Leaving,
}

/// What is said of one group; the words are in parentheses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupWords<'a> {
    /// The group (`g`).
    pub key: Cow<'a, str>,
    /// What is done with it (`s`).
    pub state: Claimed,
    /// Why the sender may not start it (`n`); without it it may.
    pub unable: Option<Unable>,
    /// The attempt by which the sender runs it or wants to (`e`).
    pub attempt: Option<Attempt>,
    /// How long the sender has held it (`h`), when this was said.
    pub held: Option<Duration>,
    /// A digest of the sender's definition (`d`).
    pub definition: Option<u64>,
    /// Whose attempt the sender consents to (`c`).
    pub consent: Option<(Cow<'a, str>, Attempt)>,
    /// To whom the sender hands it over (`t`).
    pub successor: Option<Cow<'a, str>>,
    /// The sender asks its owner to hand it over (`w`).
    pub wanted: bool,
    /// It is where an operator put it (`k`): it does not fail back by itself.
    pub kept: bool,
    /// The attempts that the sender has won over (`b`).
    pub beats: Vec<(Cow<'a, str>, Attempt)>,
}

impl Claimed {
    /// Whether the group runs there, or may: more than nothing has been begun (OWNERSHIP 7, O1).
    pub fn is_held(self) -> bool {
        matches!(self, Claimed::Starting | Claimed::Running | Claimed::Stopping)
    }

    const LETTERS: [(Claimed, &'static str); 6] = [
        (Claimed::Stopped, "o"),
        (Claimed::Asking, "a"),
        (Claimed::Starting, "s"),
        (Claimed::Running, "r"),
        (Claimed::Stopping, "p"),
        (Claimed::Failed, "f"),
    ];
}

impl Unable {
    const WORDS: [(Unable, &'static str); 6] = [
        (Unable::Unlisted, "unlisted"),
        (Unable::Differs, "differs"),
        (Unable::Failed, "failed"),
        (Unable::Yields, "yields"),
        (Unable::Isolated, "isolated"),
        (Unable::Leaving, "leaving"),
    ];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        Unable::WORDS.iter().find(|(unable, _)| *unable == self).map_or("", |(_, word)| word)
    }
}

impl<'a> Hears<'a> {
    /// Reads the fields; `None` if one that must be there is missing or cannot be read, since a heartbeat must not be lost
    /// for it.
    pub(super) fn read(hears: Cow<'a, str>, claims: Option<u64>, pings: Option<u32>, order: u64) -> Option<Hears<'a>> {
        let mut nodes = Vec::new();
        for word in words(hears) {
            let (verdict, name) = split(word)?;
            let (letter, rest) = (verdict.get(..1)?, verdict.get(1..)?);
            let verdict = match letter {
                "h" => {
                    let (generation, seq) = rest.split_once('.')?;
                    Verdict::Heard { generation: Generation(hex(generation)?), seq: Seq(hex(seq)?) }
                }
                "g" => Verdict::Gone,
                "d" => Verdict::Dead,
                "u" => Verdict::Unsure,
                _ => continue,
            };
            if nodes.len() >= ENTRIES_MAX {
                return None;
            }
            nodes.push((name, verdict));
        }
        Some(Hears { nodes, claims, pings, order })
    }

    /// The text of the field `hears`.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, verdict) in &self.nodes {
            separate(&mut text);
            // Writing to a string cannot fail.
            let _ = match verdict {
                Verdict::Heard { generation, seq } => write!(text, "h{:x}.{:x}:{name}", generation.0, seq.0),
                Verdict::Gone => write!(text, "g:{name}"),
                Verdict::Dead => write!(text, "d:{name}"),
                Verdict::Unsure => write!(text, "u:{name}"),
            };
        }
        text
    }
}

impl<'a> Ownership<'a> {
    /// Reads the field `groups`.
    pub(super) fn read(version: u64, groups: Cow<'a, str>) -> Result<Ownership<'a>, WireError> {
        const BAD: WireError = WireError::BadValue { field: "groups" };
        let mut read: Vec<GroupWords<'a>> = Vec::new();
        for word in words(groups) {
            let (letter, value) = split(word).ok_or(BAD)?;
            if letter == "g" {
                if read.len() >= ENTRIES_MAX {
                    return Err(BAD);
                }
                read.push(GroupWords { key: value, ..GroupWords::default() });
                continue;
            }
            let group = read.last_mut().ok_or(BAD)?;
            group.take(&letter, value).ok_or(BAD)?;
        }
        Ok(Ownership { version, groups: read })
    }

    /// The text of the field `groups`.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for group in &self.groups {
            separate(&mut text);
            // Writing to a string cannot fail.
            let _ = group.put(&mut text);
        }
        text
    }
}

impl<'a> GroupWords<'a> {
    fn take(&mut self, letter: &str, value: Cow<'a, str>) -> Option<()> {
        match letter {
            "s" => self.state = Claimed::LETTERS.iter().find(|(_, word)| **word == *value)?.0,
            // A reason of a later version is a reason.
            "n" => {
                let known = Unable::WORDS.iter().find(|(_, word)| **word == *value);
                self.unable = Some(known.map_or(Unable::Yields, |(unable, _)| *unable));
            }
            "e" => self.attempt = Some(attempt(&value)?),
            "h" => self.held = Some(Duration::from_millis(hex(&value)?)),
            "d" => self.definition = Some(hex(&value)?),
            "c" => self.consent = Some(whose(value)?),
            "t" => self.successor = Some(value),
            "w" => self.wanted = true,
            "k" => self.kept = true,
            "b" if self.beats.len() < ENTRIES_MAX => self.beats.push(whose(value)?),
            "b" => return None,
            _ => {}
        }
        Some(())
    }

    fn put(&self, text: &mut String) -> core::fmt::Result {
        write!(text, "g:{}", self.key)?;
        let (_, letter) =
            Claimed::LETTERS.iter().find(|(state, _)| *state == self.state).unwrap_or(&(Claimed::Stopped, "o"));
        write!(text, " s:{letter}")?;
        if let Some(unable) = self.unable {
            write!(text, " n:{}", unable.word())?;
        }
        if let Some(Attempt { counter, generation }) = self.attempt {
            write!(text, " e:{counter:x}.{:x}", generation.0)?;
        }
        if let Some(held) = self.held {
            write!(text, " h:{:x}", held.as_millis())?;
        }
        if let Some(definition) = self.definition {
            write!(text, " d:{definition:x}")?;
        }
        if let Some((node, Attempt { counter, generation })) = &self.consent {
            write!(text, " c:{counter:x}.{:x}:{node}", generation.0)?;
        }
        if let Some(successor) = &self.successor {
            write!(text, " t:{successor}")?;
        }
        if self.wanted {
            write!(text, " w:1")?;
        }
        if self.kept {
            write!(text, " k:1")?;
        }
        for (node, Attempt { counter, generation }) in &self.beats {
            write!(text, " b:{counter:x}.{:x}:{node}", generation.0)?;
        }
        Ok(())
    }
}

fn words(text: Cow<'_, str>) -> impl Iterator<Item = Cow<'_, str>> {
    let words: Vec<Cow<'_, str>> = match text {
        Cow::Borrowed(text) => text.split_ascii_whitespace().map(Cow::Borrowed).collect(),
        Cow::Owned(text) => text.split_ascii_whitespace().map(|word| Cow::Owned(word.into())).collect(),
    };
    words.into_iter()
}

/// What stands before the first colon and what after it.
fn split(word: Cow<'_, str>) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    match word {
        Cow::Borrowed(word) => word.split_once(':').map(|(a, b)| (Cow::Borrowed(a), Cow::Borrowed(b))),
        Cow::Owned(word) => word.split_once(':').map(|(a, b)| (Cow::Owned(a.into()), Cow::Owned(b.into()))),
    }
}

fn whose(value: Cow<'_, str>) -> Option<(Cow<'_, str>, Attempt)> {
    let (which, node) = split(value)?;
    Some((node, attempt(&which)?))
}

fn attempt(text: &str) -> Option<Attempt> {
    let (counter, generation) = text.split_once('.')?;
    Some(Attempt { counter: hex(counter)?, generation: Generation(hex(generation)?) })
}

fn hex(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if plain { u64::from_str_radix(digits, 16).ok() } else { None }
}

fn separate(text: &mut String) {
    if !text.is_empty() {
        text.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(counter: u64) -> Attempt {
        Attempt { counter, generation: Generation(0x69) }
    }

    #[test]
    fn what_is_said_of_groups_survives_the_wire() {
        let full = GroupWords {
            key: "10.0.0.1/24/eth0:web".into(),
            state: Claimed::Running,
            unable: Some(Unable::Isolated),
            attempt: Some(attempt(12)),
            held: Some(Duration::from_millis(1234)),
            definition: Some(0xdead),
            consent: Some(("h:2".into(), attempt(11))),
            successor: Some("h3".into()),
            wanted: true,
            kept: true,
            beats: alloc::vec![("h3".into(), attempt(1)), ("h4".into(), attempt(2))],
        };
        let bare = GroupWords { key: "Tst::A".into(), ..GroupWords::default() };
        let said = Ownership { version: 7, groups: alloc::vec![full, bare] };
        let text = said.text();
        assert_eq!(Ownership::read(7, Cow::Borrowed(&text)), Ok(said), "{text}");
        for state in Claimed::LETTERS.map(|(state, _)| state) {
            let group = GroupWords { key: "A".into(), state, ..GroupWords::default() };
            let said = Ownership { version: 1, groups: alloc::vec![group] };
            assert_eq!(Ownership::read(1, Cow::Owned(said.text())), Ok(said));
        }
    }

    #[test]
    fn whom_a_node_hears_survives_the_wire() {
        let nodes = alloc::vec![
            ("h1".into(), Verdict::Heard { generation: Generation(5), seq: Seq(0x1f) }),
            ("h:2".into(), Verdict::Gone),
            ("h3".into(), Verdict::Dead),
            ("h4".into(), Verdict::Unsure),
        ];
        let said = Hears { nodes, claims: Some(3), pings: Some(2), order: 9 };
        let text = said.text();
        assert_eq!(text, "h5.1f:h1 g:h:2 d:h3 u:h4");
        assert_eq!(Hears::read(Cow::Borrowed(&text), Some(3), Some(2), 9), Some(said));
    }

    #[test]
    fn words_of_a_later_version_are_passed_over_and_nonsense_is_refused() {
        let later = Ownership::read(1, "g:A s:r z:1 n:vacation".into()).unwrap();
        assert_eq!((later.groups[0].state, later.groups[0].unable), (Claimed::Running, Some(Unable::Yields)));
        for bad in ["s:r", "g:A s", "g:A s:q", "g:A e:1", "g:A e:1.+2", "g:A c:1.2", "g:A h:", "A"] {
            assert!(Ownership::read(1, bad.into()).is_err(), "{bad}");
        }
        for bad in ["h1:a", "h1.x:a", "a", ":a", "h.:a"] {
            assert_eq!(Hears::read(bad.into(), None, None, 0), None, "{bad}");
        }
    }
}
