//! The files hostcache and delhostcache: who belongs to the cluster beside what ha.cf says, and who no more (WIRE 8).
//!
//! One line a node: name, uuid, weight and site with a tabulator between them; the site may be empty.

use super::roster::is_name;
use crate::ids::NodeUuid;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

/// The weight of a node of which nothing else was said.
pub const WEIGHT: u32 = 100;
/// Lines that are read; more nodes no cluster ever had.
const LINES_MAX: usize = 1000;

/// What is remembered of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct KnownNode {
    /// Its name.
    pub name: String,
    /// Its uuid, once it was heard.
    pub uuid: Option<NodeUuid>,
    /// Its weight, for those who count votes.
    pub weight: u32,
    /// Its site.
    pub site: String,
}

impl fmt::Display for KnownNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KnownNode { name, uuid, weight, site } = self;
        write!(f, "{name}\t{}\t{weight}\t{site}", uuid.unwrap_or(NodeUuid::ZERO))
    }
}

/// Both files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Hostcache {
    /// The nodes of the cluster.
    pub nodes: Vec<KnownNode>,
    /// Those that were removed, and are not to come back by themselves.
    pub deleted: Vec<KnownNode>,
}

/// The nodes that a file names, and the numbers of the lines that name none.
pub fn parse(bytes: &[u8]) -> (Vec<KnownNode>, Vec<usize>) {
    let (mut nodes, mut bad) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')).take(LINES_MAX) {
        if line.is_empty() {
            continue;
        }
        match node(line) {
            Some(node) => nodes.push(node),
            None => bad.push(number),
        }
    }
    (nodes, bad)
}

/// The file that names these nodes.
pub fn text(nodes: &[KnownNode]) -> String {
    nodes.iter().fold(String::new(), |mut text, node| {
        let _infallible = writeln!(text, "{node}");
        text
    })
}

fn node(line: &[u8]) -> Option<KnownNode> {
    let mut words = core::str::from_utf8(line).ok()?.split('\t');
    let (name, uuid, weight) = (words.next()?, words.next()?, words.next()?);
    let site = words.next().unwrap_or_default();
    let uuid: NodeUuid = uuid.trim().parse().ok()?;
    (is_name(name) && words.next().is_none()).then_some(KnownNode {
        name: name.to_ascii_lowercase(),
        uuid: Some(uuid).filter(|uuid| *uuid != NodeUuid::ZERO),
        weight: weight.trim().parse().ok()?,
        site: site.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_of_3_0_6_wrote_is_read_and_written_alike() {
        let file = "h1\tb45476d2-89f8-4cb5-a675-f245d0d97689\t100\t\n\
                    h2\t00000000-0000-0000-0000-000000000000\t50\tparis\n";
        let (nodes, bad) = parse(file.as_bytes());
        assert_eq!((nodes.len(), bad.len()), (2, 0));
        assert_eq!((nodes[0].uuid.is_some(), nodes[1].uuid), (true, None));
        assert_eq!((nodes[1].weight, nodes[1].site.as_str()), (50, "paris"));
        assert_eq!(text(&nodes), file);
    }

    #[test]
    fn lines_that_name_no_node_are_counted_and_the_others_read() {
        let file = b"\nh1\nh2\tx\t100\t\n h3\t00000000-0000-0000-0000-000000000000\t100\t\n\
                     h4\t00000000-0000-0000-0000-000000000000\t-1\t\n\xff\n\
                     H5\t00000000-0000-0000-0000-000000000000\t100";
        let (nodes, bad) = parse(file);
        assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["h5"]);
        assert_eq!(bad, [2, 3, 4, 5, 6]);
    }
}
