//! The lines of `packets.jsonl` and `rejected.jsonl`, as `README.md` beside them describes.

use hb_core::auth::{Key, Keyring, Method};
use hb_core::wire::{Field, Fields, Format, Value};
use serde_json::Value as Json;
use std::borrow::Cow;

pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) format: Format,
    pub(crate) transport: String,
    pub(crate) msgfmt: String,
    pub(crate) packet: Vec<u8>,
    /// The whole ICMP packet around it; empty for other transports.
    pub(crate) icmp: Vec<u8>,
    pub(crate) tail: Vec<u8>,
    pub(crate) fields: Fields<'static>,
    pub(crate) inner: Vec<Inner>,
    pub(crate) inner_auth_wrong: bool,
    /// The receiver's own outbound index.
    pub(crate) current: u8,
    /// Of `rejected.jsonl`: where a receiver refuses it, and why.
    pub(crate) stage: String,
    pub(crate) why: String,
    keys: Vec<(u8, Key)>,
}

/// The expansion of a compressed payload.
pub(crate) struct Inner {
    /// The field that held it; empty for a whole message.
    pub(crate) field: String,
    pub(crate) format: Format,
    pub(crate) tail: Vec<u8>,
    pub(crate) fields: Fields<'static>,
}

impl Record {
    /// The receiver's keys, with `current` as its outbound index.
    pub(crate) fn keyring(&self, current: u8) -> Keyring {
        Keyring::new(current, self.keys.iter().cloned()).expect("a keyring")
    }

    /// The index that the packet names.
    pub(crate) fn signer(&self) -> u8 {
        self.keyring(self.current).verify(&self.packet).expect("verifies").key()
    }

    /// A keyring that signs as the vector's sender did.
    pub(crate) fn signing(&self, signer: u8) -> Keyring {
        let mut keys = self.keys.clone();
        if self.format == Format::Netstring {
            let secret = self.secret_of(self.current).to_vec();
            for (_, key) in keys.iter_mut().filter(|(index, key)| *index == signer && key.method != Method::Crc) {
                key.secret.clone_from(&secret);
            }
        }
        Keyring::new(signer, keys).expect("a keyring")
    }

    fn secret_of(&self, index: u8) -> &[u8] {
        &self.keys.iter().find(|(known, _)| *known == index).expect("the key").1.secret
    }
}

/// All lines of a file beside this one.
pub(crate) fn read(file: &str) -> Vec<Record> {
    let path = format!("{}/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    text.lines().map(|line| record(&serde_json::from_str(line).expect("JSON"))).collect()
}

fn record(json: &Json) -> Record {
    let config = &json["config"];
    let keys: Vec<(u8, Key)> = match &config["keys"] {
        Json::Object(keys) => {
            keys.iter().map(|(index, key)| (index.parse().expect("an index"), key_of(&key[0], &key[1]))).collect()
        }
        _ => vec![(index(&config["authnum"]), key_of(&config["auth"], &config["key"]))],
    };
    Record {
        name: text(&json["name"]),
        format: format_of(&json["format"]),
        transport: text(&config["transport"]),
        msgfmt: text(&config["msgfmt"]),
        packet: hex(&json["hex"]),
        icmp: if json["icmp"].is_null() { Vec::new() } else { hex(&json["icmp"]) },
        tail: hex(&json["tail"]),
        fields: fields(&json["fields"]),
        inner: json["inner"].as_object().into_iter().flatten().map(|(field, inner)| inner_of(field, inner)).collect(),
        inner_auth_wrong: json["inner_auth_wrong"].as_bool().unwrap_or(false),
        current: if config["current"].is_null() { keys[0].0 } else { index(&config["current"]) },
        stage: text(&json["stage"]),
        why: text(&json["why"]),
        keys,
    }
}

fn inner_of(field: &str, json: &Json) -> Inner {
    Inner {
        field: field.to_owned(),
        format: format_of(&json["format"]),
        tail: hex(&json["tail"]),
        fields: fields(&json["fields"]),
    }
}

fn key_of(method: &Json, secret: &Json) -> Key {
    let method = match method.as_str().expect("a method") {
        "crc" => Method::Crc,
        "md5" => Method::Md5,
        "sha1" => Method::Sha1,
        other => panic!("method {other}"),
    };
    Key { method, secret: text(secret).into_bytes() }
}

fn format_of(json: &Json) -> Format {
    match json.as_str().expect("a format") {
        "netstring" => Format::Netstring,
        "classic" => Format::Classic,
        other => panic!("format {other}"),
    }
}

fn index(json: &Json) -> u8 {
    u8::try_from(json.as_u64().expect("an index")).expect("an index")
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn hex(json: &Json) -> Vec<u8> {
    let digits = json.as_str().unwrap_or_default();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect()
}

/// Text as the vectors write it: one character for each byte.
fn latin1(json: &Json) -> Cow<'static, [u8]> {
    json.as_str().expect("text").chars().map(|byte| u8::try_from(u32::from(byte)).expect("latin-1")).collect()
}

fn fields(json: &Json) -> Fields<'static> {
    json.as_array().into_iter().flatten().map(field).collect()
}

fn field(json: &Json) -> Field<'static> {
    let value = &json[2];
    let value = match json[1].as_u64().expect("a type") {
        0 => Value::Text(latin1(value)),
        1 => Value::Binary(Cow::Owned(hex(value))),
        2 => Value::Struct(fields(value)),
        3 => Value::List(value.as_array().expect("a list").iter().map(latin1).collect()),
        4 => Value::Compressed(Cow::Owned(hex(value))),
        5 => Value::Uncompressed(fields(value)),
        other => panic!("type {other}"),
    };
    Field { name: latin1(&json[0]), value }
}
