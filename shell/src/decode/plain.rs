//! The same for people: what it is, whether it is authentic, and one field a line.

use super::json::{format_name, hex};
use super::{Expansion, Finding};
use hb_core::auth::Keyring;
use hb_core::ids::NodeUuid;
use hb_core::wire::{Fields, Header, Message, Value};
use std::io::{self, Write};

/// Fields whose numbers are hexadecimal in every message that has them (WIRE 7).
const HEXADECIMAL: [&[u8]; 5] = [b"seq", b"hg", b"ts", b"dt", b"ackseq"];

/// Writes what is known about packet `number`.
pub(super) fn write(out: &mut impl Write, number: usize, finding: &Finding<'_>, keyring: &Keyring) -> io::Result<()> {
    let Some(message) = &finding.message else {
        let bytes = finding.bytes.len();
        return writeln!(
            out,
            "{number}: {bytes} bytes, NOT A PACKET\n   {}",
            finding.error.as_deref().unwrap_or_default()
        );
    };
    let whole = finding.expansions.iter().find(|expansion| expansion.field.is_empty());
    let fields = whole.map_or(&message.fields, |whole| &whole.fields);
    write!(out, "{number}: {}", title(fields))?;
    write!(out, ", {} of {} bytes, ", format_name(message.format), finding.bytes.len())?;
    match finding.auth {
        Some(Ok(key)) => {
            let method = keyring.methods().find(|(index, _)| *index == key);
            let method = method.map(|(_, method)| method.to_string()).unwrap_or_default();
            writeln!(out, "authentic (key {key}, {method})")?;
            if let Ok(checked) = keyring.verify(finding.bytes) {
                if !checked.is_heard_by_the_original() {
                    let current = keyring.current();
                    writeln!(
                        out,
                        "   a 3.0.6 whose auth line says {current} ignores it: over UDP it hears its own key only"
                    )?;
                }
                // A receiver would still drop it.
                if let Err(error) = Message::parse(checked) {
                    writeln!(out, "   a receiver ignores it: {error}")?;
                }
            }
        }
        _ => writeln!(out, "NOT AUTHENTIC")?,
    }
    if let Some(error) = &finding.error {
        writeln!(out, "   {error}")?;
    }
    write_fields(out, &message.fields, 3)?;
    for Expansion { field, format, fields, .. } in &finding.expansions {
        let what = if field.is_empty() { "the whole message".to_owned() } else { printable(field) };
        writeln!(out, "   {what} expands to {}:", format_name(*format))?;
        write_fields(out, fields, 6)?;
    }
    Ok(())
}

/// What the message is, as far as its fields say.
fn title(fields: &Fields<'_>) -> String {
    let text = |name| fields.text(name).map(|text| printable(text));
    let kind = text("t").unwrap_or_else(|| "message without type".to_owned());
    let src = text("src").map(|src| format!(" from {src}")).unwrap_or_default();
    let dest = text("dest").map(|dest| format!(" to {dest}")).unwrap_or_default();
    let seq = Header::read(fields).ok().and_then(|header| header.seq);
    let seq = seq.map(|seq| format!(", number {seq}")).unwrap_or_default();
    format!("{kind}{src}{dest}{seq}")
}

fn write_fields(out: &mut impl Write, fields: &Fields<'_>, indent: usize) -> io::Result<()> {
    for field in fields {
        write!(out, "{:indent$}{} = ", "", printable(&field.name))?;
        match &field.value {
            Value::Text(text) => match decimal(&field.name, text) {
                Some(number) => writeln!(out, "{} (decimal {number})", printable(text))?,
                None => writeln!(out, "{}", printable(text))?,
            },
            Value::Binary(bytes) => match <[u8; 16]>::try_from(&**bytes) {
                Ok(uuid) if field.name.ends_with(b"uuid") => writeln!(out, "{}", NodeUuid(uuid))?,
                _ => writeln!(out, "{} bytes {}", bytes.len(), hex(bytes))?,
            },
            Value::Compressed(bytes) => writeln!(out, "{} compressed bytes", bytes.len())?,
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| printable(item)).collect();
                writeln!(out, "[{}]", items.join(", "))?;
            }
            Value::Struct(nested) | Value::Uncompressed(nested) => {
                writeln!(out, "message:")?;
                write_fields(out, nested, indent + 3)?;
            }
        }
    }
    Ok(())
}

fn decimal(name: &[u8], text: &[u8]) -> Option<u64> {
    let number = u64::from_str_radix(str::from_utf8(text).ok()?, 16).ok()?;
    (HEXADECIMAL.contains(&name) && number > 9).then_some(number)
}

/// Text that cannot write to the terminal by itself.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}
