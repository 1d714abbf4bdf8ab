//! Clients of the control socket that take part: what they say and hear is that of clients of the API of 3.0.6, in JSON.
//!
//! The core knows one kind of client. Here its messages become JSON objects and the other way round; who may join, and what a
//! client may say, the core decides (docs/client-api.md).

use super::{VERSION, failure};
use hb_core::Credentials;
use hb_core::wire::{self, Fields, Format, Value as Word};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Fields of a message that a client cannot set: the daemon does.
const HEADER: [&str; 11] =
    ["t", "dest", "src", "from_id", "to_id", "client_gen", "seq", "hg", "ts", "auth", "destuuid"];

/// The message by which somebody called `name` signs on.
pub(super) fn sign_on(name: &str, peer: Credentials) -> Result<Vec<u8>, Value> {
    let mut fields = Fields::new();
    fields.push_text("t", "hbapi-req");
    fields.push_text("reqtype", "signon");
    fields.push_text("pid", peer.pid.to_string());
    fields.push_text("from_id", name.to_owned());
    fields.push_text("uid", peer.uid.to_string());
    fields.push_text("gid", peer.gid.to_string());
    write(&fields)
}

/// A message for all nodes, or for `to`.
pub(super) fn message(kind: &str, to: Option<&str>, words: &Map<String, Value>) -> Result<Vec<u8>, Value> {
    let bad = |text: String| failure("bad-request", &text);
    let mut fields = Fields::new();
    fields.push_text("t", kind.to_owned());
    if let Some(to) = to {
        fields.push_text("dest", to.to_owned());
    }
    for (name, value) in words {
        let Value::String(text) = value else { return Err(bad(format!("`{name}` must be a string"))) };
        if HEADER.contains(&name.as_str()) {
            return Err(bad(format!("`{name}` belongs to the header, which the daemon writes")));
        }
        if name.is_empty() || name.contains('=') || name.starts_with('(') {
            return Err(bad(format!("`{name}` cannot be the name of a field")));
        }
        fields.push_text(name, text.as_str());
    }
    write(&fields)
}

fn write(fields: &Fields<'_>) -> Result<Vec<u8>, Value> {
    wire::encode(fields, Format::Classic).map_err(|error| failure("bad-request", &error.to_string()))
}

/// What the core tells a client, as a line for it.
pub(super) fn line(body: &[u8]) -> Value {
    let Ok(decoded) = wire::decode(body) else { return failure("internal", "a message that cannot be read") };
    let text = |name: &str| decoded.fields.text(name).map(|text| String::from_utf8_lossy(text).into_owned());
    if text("t").as_deref() == Some("hbapi-resp") && text("reqtype").as_deref() == Some("signon") {
        return match text("result").as_deref() {
            Some("OK") => json!({"v": VERSION, "ok": true, "text": "signed on"}),
            _ => failure("refused", &text("info").unwrap_or_default()),
        };
    }
    json!({"v": VERSION, "event": "message", "message": object(&decoded.fields)})
}

fn object(fields: &Fields<'_>) -> Value {
    let entries = fields.iter().map(|field| (String::from_utf8_lossy(&field.name).into_owned(), value(&field.value)));
    Value::Object(entries.collect())
}

fn value(word: &Word<'_>) -> Value {
    match word {
        Word::Text(text) => json!(String::from_utf8_lossy(text)),
        Word::Binary(bytes) | Word::Compressed(bytes) => {
            let hex = bytes.iter().fold(String::new(), |mut text, byte| {
                let _infallible = write!(text, "{byte:02x}");
                text
            });
            json!({"hex": hex})
        }
        Word::Struct(nested) | Word::Uncompressed(nested) => object(nested),
        Word::List(items) => items.iter().map(|item| json!(String::from_utf8_lossy(item))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Credentials = Credentials { pid: 7, uid: 1, gid: 2 };

    #[test]
    fn words_become_messages_and_messages_lines() {
        let words = json!({"a": "b\nc", "n": ""});
        let body = message("hello", Some("h2"), words.as_object().unwrap()).unwrap();
        let said = line(&body);
        assert_eq!(said["message"], json!({"t": "hello", "dest": "h2", "a": "b\nc", "n": ""}));
        assert_eq!((&said["v"], &said["event"]), (&json!(1), &json!("message")));
    }

    #[test]
    fn what_no_client_may_write_is_named() {
        for (words, phrase) in [
            (json!({"src": "h2"}), "`src` belongs to the header"),
            (json!({"a": 1}), "`a` must be a string"),
            (json!({"a=b": ""}), "cannot be the name of a field"),
        ] {
            let answer = message("hello", None, words.as_object().unwrap()).unwrap_err();
            assert!(answer["text"].as_str().unwrap().contains(phrase), "{answer}");
        }
    }

    #[test]
    fn a_sign_on_is_answered_as_a_request_is() {
        let asked = String::from_utf8(sign_on("watcher", PEER).unwrap()).unwrap();
        assert!(asked.contains("\npid=7\nfrom_id=watcher\nuid=1\ngid=2\n"), "{asked}");
        let answer = |text: &str| line(format!(">>>\nt=hbapi-resp\nreqtype=signon\n{text}\n<<<\n").as_bytes());
        assert_eq!(answer("result=OK")["ok"], true);
        let refused = answer("info=client failed authorization\nresult=badreq");
        assert_eq!((&refused["error"], &refused["text"]), (&json!("refused"), &json!("client failed authorization")));
    }
}
