//! Messages from and to clients: fields read, replies written. Read CLIENT 4 and 7 first.

use crate::wire::{Fields, MsgFormat, PACKET_MAX, Value, internal_form};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::str::FromStr;

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Nothing is said, by rule.
    Silence,
    /// These fields, and that all is well.
    Fine(Vec<(&'static str, String)>),
    /// One binary field, and that all is well.
    Binary(&'static str, [u8; 16]),
    /// Several entries; none is a refusal, since an empty list cannot be said.
    List(Vec<Vec<(&'static str, String)>>),
    /// No, for this reason, which may be missing.
    Bad(Option<&'static str>),
}

/// What the original says to most that it cannot do.
pub(crate) const INVALID: Answer = Answer::Bad(Some("EINVAL"));

/// A text field as UTF-8; what is none counts as absent.
pub(crate) fn text<'f>(fields: &'f Fields<'_>, name: &str) -> Option<&'f str> {
    core::str::from_utf8(fields.text(name)?).ok()
}

/// A number in decimal, digits only.
pub(crate) fn decimal<T: FromStr>(fields: &Fields<'_>, name: &str) -> Option<T> {
    text(fields, name)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
}

/// A number in hexadecimal.
pub(crate) fn hex(fields: &Fields<'_>, name: &str) -> Option<u64> {
    let digits = text(fields, name).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok()
}

/// The beginning of every reply.
pub(crate) fn reply(request: &str) -> Fields<'static> {
    let mut fields = Fields::with_capacity(10);
    fields.push_text("t", "hbapi-resp");
    fields.push_text("reqtype", String::from(request));
    fields
}

/// The replies that say an answer, in order.
pub(crate) fn replies(request: &str, answer: Answer) -> Vec<Fields<'static>> {
    let fill = |entry: Vec<(&'static str, String)>, result: &'static str| {
        let mut fields = reply(request);
        for (name, value) in entry {
            fields.push_text(name, value);
        }
        fields.push_text("result", result);
        fields
    };
    match answer {
        Answer::Silence => Vec::new(),
        Answer::Fine(entry) => alloc::vec![fill(entry, "OK")],
        Answer::Binary(name, bytes) => {
            let mut fields = reply(request);
            fields.push(name, Value::Binary(bytes.to_vec().into()));
            fields.push_text("result", "OK");
            alloc::vec![fields]
        }
        Answer::List(entries) => {
            let end = entries.len().saturating_sub(1);
            let result = |at: usize| if at == end { "OK" } else { "ok/more" };
            let list: Vec<_> = entries.into_iter().enumerate().map(|(at, entry)| fill(entry, result(at))).collect();
            if list.is_empty() { replies(request, INVALID) } else { list }
        }
        Answer::Bad(info) => {
            let mut fields = fill(Vec::new(), "badreq");
            if let Some(info) = info {
                fields.push_text("info", info);
            }
            alloc::vec![fields]
        }
    }
}

/// The body of a frame; `None` if a client could not read it: too long, or with what no format carries.
pub(crate) fn body(fields: &Fields<'_>, format: MsgFormat) -> Option<Arc<[u8]>> {
    let bytes = internal_form(fields, format).ok().filter(|bytes| bytes.len() <= PACKET_MAX)?;
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: Answer) -> Vec<String> {
        let replies = replies("nodelist", answer);
        let bodies = replies.iter().map(|fields| body(fields, MsgFormat::Classic).unwrap());
        bodies.map(|body| String::from_utf8_lossy(&body).replace('\n', " ")).collect()
    }

    #[test]
    fn a_list_says_when_it_is_over_and_is_never_empty() {
        let entry = |name: &str| alloc::vec![("node", name.into())];
        assert_eq!(
            said(Answer::List(alloc::vec![entry("a"), entry("b")])),
            [
                ">>> t=hbapi-resp reqtype=nodelist node=a result=ok/more <<< \0",
                ">>> t=hbapi-resp reqtype=nodelist node=b result=OK <<< \0"
            ]
        );
        assert_eq!(
            said(Answer::List(Vec::new())),
            [">>> t=hbapi-resp reqtype=nodelist result=badreq info=EINVAL <<< \0"]
        );
    }
}
