//! The lines of the control socket as what they ask for. docs/control.md describes them.

use super::{VERSION, failure, member};
use hb_core::config::Config;
use hb_core::ids::{GroupId, NodeId};
use hb_core::{Request, Which};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a client wants of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The status.
    Status,
    /// Something the node answers when it is done.
    Node(Request),
    /// A graceful stop.
    Stop,
    /// The files are to be read again.
    Reload,
    /// A line for everything that the node reports.
    Watch,
    /// Something for the node about groups and nodes by name.
    Named(Named),
    /// To be a client of the cluster of that name.
    Join(String),
    /// To say this to the clients of that name.
    Say(Vec<u8>),
    /// Nothing that can be done; this answer says why.
    Nothing(Value),
}

/// A request as a client writes it: whether there is such a group or node only the configuration knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Forget that this group failed.
    Cleanup(String),
    /// Take the operator's word that this node runs nothing.
    Confirm(String),
    /// Give a group, or all, to a node, or to the next that can.
    Give {
        /// The group's key.
        group: Option<String>,
        /// The node's name.
        to: Option<String>,
    },
    /// Take a group, or all that a node runs.
    Take {
        /// The group's key.
        group: Option<String>,
        /// The node's name.
        from: Option<String>,
    },
}

impl Named {
    /// The request, or the answer that says what there is not.
    pub(crate) fn resolve(&self, config: &Config) -> Result<Request, Value> {
        let group_of = |key: &Option<String>| key.as_deref().map(|key| group(config, key)).transpose();
        let node_of = |name: &Option<String>| name.as_deref().map(|name| node(config, name)).transpose();
        Ok(match self {
            Named::Cleanup(key) => Request::Cleanup(group(config, key)?),
            Named::Confirm(name) => Request::Confirm(node(config, name)?),
            Named::Give { group, to } => Request::Give { group: group_of(group)?, to: node_of(to)? },
            Named::Take { group, from } => Request::Take { group: group_of(group)?, from: node_of(from)? },
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u32,
    #[serde(rename = "do")]
    verb: String,
    set: Option<String>,
    name: Option<String>,
    group: Option<String>,
    node: Option<String>,
    r#type: Option<String>,
    to: Option<String>,
    from: Option<String>,
    fields: Option<Map<String, Value>>,
}

/// What a line asks for, or the answer that says what is wrong with it.
pub(super) fn parse(line: &[u8], may_change: bool) -> Result<Asked, Value> {
    let bad = |text: &str| failure("bad-request", text);
    let line: Line = serde_json::from_slice(line).map_err(|error| bad(&format!("not a request: {error}")))?;
    if line.v != VERSION {
        return Err(bad(&format!("version {} is not spoken here, only {VERSION}", line.v)));
    }
    let set = match line.set.as_deref() {
        None => Which::All,
        Some(word) => Which::from_word(word)
            .ok_or_else(|| bad(&format!("set `{word}` is none of all, local, foreign, failback")))?,
    };
    let word = |word: Option<String>, name: &str| word.ok_or_else(|| bad(&format!("`{name}` is missing")));
    let other = line.to.as_ref().or(line.from.as_ref());
    let asked = match line.verb.as_str() {
        "status" => return Ok(Asked::Status),
        "watch" => return Ok(Asked::Watch),
        "join" => return Ok(Asked::Join(word(line.name, "name")?)),
        "send" => {
            let kind = word(line.r#type, "type")?;
            return Ok(Asked::Say(member::message(&kind, line.to.as_deref(), &line.fields.unwrap_or_default())?));
        }
        "standby" | "takeover" if line.set.is_some() && (line.group.is_some() || other.is_some()) => {
            return Err(bad("a set is moved as a whole: leave out `set`, or `group`, `to` and `from`"));
        }
        "standby" if line.group.is_some() || line.to.is_some() => {
            Asked::Named(Named::Give { group: line.group, to: line.to })
        }
        "takeover" if line.group.is_some() || line.from.is_some() => {
            Asked::Named(Named::Take { group: line.group, from: line.from })
        }
        "standby" => Asked::Node(Request::Standby(set)),
        "takeover" => Asked::Node(Request::Takeover(set)),
        "cleanup" => Asked::Named(Named::Cleanup(word(line.group, "group")?)),
        "confirm" => Asked::Named(Named::Confirm(word(line.node, "node")?)),
        "stop" => Asked::Stop,
        "reload" => Asked::Reload,
        verb => {
            return Err(bad(&format!(
                "`{verb}` is none of status, watch, standby, takeover, cleanup, confirm, reload, stop, join, send"
            )));
        }
    };
    if may_change {
        Ok(asked)
    } else {
        Err(failure("not-permitted", "only root and the daemon's user may change anything"))
    }
}

/// The group of that key; of an address the part before `/` will do.
fn group(config: &Config, key: &str) -> Result<GroupId, Value> {
    let keys = || config.groups().iter().map(|group| group.key.as_str());
    let found = keys().position(|known| known == key);
    let found = found.or_else(|| keys().position(|known| known.split('/').next() == Some(key)));
    found.and_then(|at| u16::try_from(at).ok()).map(GroupId).ok_or_else(|| {
        let known: Vec<&str> = keys().take(8).collect();
        let text =
            format!("there is no group [{key}]; a group has the name of its first resource: {}", known.join(", "));
        failure("no-such-group", &text)
    })
}

/// The node that a request is about.
fn node(config: &Config, name: &str) -> Result<NodeId, Value> {
    config
        .node_named(&name.to_ascii_lowercase())
        .ok_or_else(|| failure("no-such-node", &format!("there is no node [{name}]")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_are_read_and_mistakes_named() {
        let ask = |line: &str| parse(line.as_bytes(), true);
        assert_eq!(ask(r#"{"v":1,"do":"status"}"#), Ok(Asked::Status));
        assert_eq!(ask(r#"{"v":1,"do":"standby","set":"local"}"#), Ok(Asked::Node(Request::Standby(Which::Local))));
        assert_eq!(ask(r#"{"v":1,"do":"reload"}"#), Ok(Asked::Reload));
        assert_eq!(ask(r#"{"v":1,"do":"cleanup","group":"Web"}"#), Ok(Asked::Named(Named::Cleanup("Web".into()))));
        assert_eq!(ask(r#"{"v":1,"do":"confirm","node":"H2"}"#), Ok(Asked::Named(Named::Confirm("H2".into()))));
        let give = Named::Give { group: Some("Web".into()), to: Some("h3".into()) };
        assert_eq!(ask(r#"{"v":1,"do":"standby","group":"Web","to":"h3"}"#), Ok(Asked::Named(give)));
        let take = Named::Take { group: None, from: Some("h3".into()) };
        assert_eq!(ask(r#"{"v":1,"do":"takeover","from":"h3"}"#), Ok(Asked::Named(take)));
        assert_eq!(ask(r#"{"v":1,"do":"takeover"}"#), Ok(Asked::Node(Request::Takeover(Which::All))));
        for (line, phrase) in [
            (r#"{"v":2,"do":"status"}"#, "version 2"),
            (r#"{"v":1,"do":"dance"}"#, "`dance` is none of"),
            (r#"{"v":1,"do":"join"}"#, "`name` is missing"),
            (r#"{"v":1,"do":"cleanup"}"#, "`group` is missing"),
            (r#"{"v":1,"do":"confirm"}"#, "`node` is missing"),
            (r#"{"v":1,"do":"standby","set":"all","to":"h3"}"#, "a set is moved as a whole"),
            (r#"{"v":1,"do":"send","type":"hello","fields":{"ts":"1"}}"#, "`ts` belongs to the header"),
            (r#"{"v":1,"do":"standby","set":"some"}"#, "`some` is none of"),
            (r#"{"v":1,"do":"status","now":true}"#, "unknown field `now`"),
            ("status", "not a request"),
        ] {
            let answer = ask(line).unwrap_err();
            assert!(answer["text"].as_str().unwrap().contains(phrase), "{answer}");
            assert_eq!((&answer["ok"], &answer["error"]), (&json!(false), &json!("bad-request")));
        }
    }

    #[test]
    fn a_stranger_may_look_and_not_touch() {
        assert_eq!(parse(br#"{"v":1,"do":"status"}"#, false), Ok(Asked::Status));
        assert_eq!(parse(br#"{"v":1,"do":"watch"}"#, false), Ok(Asked::Watch));
        for verb in
            [&br#"{"v":1,"do":"stop"}"#[..], br#"{"v":1,"do":"reload"}"#, br#"{"v":1,"do":"cleanup","group":"x"}"#]
        {
            assert_eq!(parse(verb, false).unwrap_err()["error"], "not-permitted");
        }
    }
}
