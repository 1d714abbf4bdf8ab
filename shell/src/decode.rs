//! `heartbeat decode`: packets as hex or out of a capture, taken apart and checked; the first tool against "failed
//! authentication".
//!
//! Exit status 0: every packet was reported on, whatever was found; a packet's own state stands in its line. Anything
//! else: authkeys or the capture could not be read.

mod capture;
mod explain;
mod json;
mod plain;

use anyhow::Context as _;
use hb_core::auth::{AuthError, Keyring};
use hb_core::config::{SourceText, authkeys};
use hb_core::wire::{self, Decoded, Fields, Format, PACKET_MAX, Value, WireError, compress};
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufRead, Read as _, Write};
use std::path::{Path, PathBuf};

/// The options of `heartbeat decode`.
#[derive(Clone, Debug, clap::Args)]
pub struct DecodeArgs {
    /// The keys to check signatures with, as the receiving node has them
    #[arg(long, value_name = "FILE")]
    pub authkeys: PathBuf,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Read a capture (pcap or pcapng) instead of hex lines from standard input
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

/// Decodes the packets that `args` name, else those on `stdin`, one a line in hex.
///
/// Blank lines are skipped. A line that is not hex is reported like a packet, and the next one follows. Fails if
/// authkeys or the capture cannot be read, or `out` not be written; a reader that went away is no failure.
pub fn run(args: &DecodeArgs, stdin: impl BufRead, out: impl Write) -> anyhow::Result<()> {
    let keyring = read_keyring(&args.authkeys)?;
    let mut report = Report { keyring: &keyring, json: args.json, out, packets: 0, authentic: 0 };
    let done = match &args.pcap {
        Some(path) => read_capture(path, &mut report),
        None => read_lines(stdin, &mut report).map_err(Into::into),
    };
    match done {
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(())
        }
        done => done,
    }
}

fn read_keyring(path: &Path) -> anyhow::Result<Keyring> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (keyring, problems) = authkeys::parse(SourceText { name: &path.display().to_string(), bytes: &bytes });
    keyring.ok_or_else(|| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", problems.join("\n"))
    })
}

fn read_capture(path: &Path, report: &mut Report<'_, impl Write>) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let skipped = capture::for_each_payload(file, |payload| report.packet(payload))
        .with_context(|| format!("reading {}", path.display()))?;
    report.finish(skipped)?;
    Ok(())
}

/// The longest line that can be a packet, with room for blanks between bytes.
const LINE_MAX: u64 = 4 * PACKET_MAX as u64;

fn read_lines(mut stdin: impl BufRead, report: &mut Report<'_, impl Write>) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if stdin.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            return report.finish(0);
        }
        let too_long = line.len() as u64 == LINE_MAX && line.last() != Some(&b'\n');
        if too_long {
            stdin.skip_until(b'\n')?;
            report.unreadable("the line is longer than any packet")?;
        } else if !line.trim_ascii().is_empty() {
            match unhex(&line) {
                Ok(packet) => report.packet(&packet)?,
                Err(why) => report.unreadable(why)?,
            }
        }
        // What comes from a running capture is to be seen at once.
        report.out.flush()?;
    }
}

/// The bytes of a line in hex, blanks between digits allowed.
fn unhex(line: &[u8]) -> Result<Vec<u8>, &'static str> {
    let digits = line.iter().filter(|byte| !byte.is_ascii_whitespace());
    let digits: Option<Vec<u8>> =
        digits.map(|digit| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.ok_or("the line is not hex: a character is no hex digit")?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return Err("the line is not hex: its number of digits is odd");
    };
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Where findings go.
struct Report<'k, W> {
    keyring: &'k Keyring,
    json: bool,
    out: W,
    packets: usize,
    authentic: usize,
}

impl<W: Write> Report<'_, W> {
    fn packet(&mut self, bytes: &[u8]) -> io::Result<()> {
        let finding = Finding::of(bytes, self.keyring);
        self.packets += 1;
        self.authentic += usize::from(finding.is_authentic());
        if self.json {
            json::write(&mut self.out, &finding)
        } else {
            plain::write(&mut self.out, self.packets, &finding, self.keyring)
        }
    }

    fn unreadable(&mut self, why: &'static str) -> io::Result<()> {
        self.packets += 1;
        let finding = Finding::unreadable(why);
        if self.json {
            json::write(&mut self.out, &finding)
        } else {
            plain::write(&mut self.out, self.packets, &finding, self.keyring)
        }
    }

    fn finish(&mut self, skipped: usize) -> io::Result<()> {
        if !self.json {
            let Report { packets, authentic, .. } = *self;
            write!(self.out, "{packets} packets, {authentic} authentic, {} not", packets - authentic)?;
            match skipped {
                0 => writeln!(self.out)?,
                _ => writeln!(self.out, "; {skipped} frames without a Heartbeat packet skipped")?,
            }
        }
        self.out.flush()
    }
}

/// All that is known about one packet.
struct Finding<'p> {
    bytes: &'p [u8],
    /// Known by the first bytes, also when the rest is not a message.
    format: Option<Format>,
    message: Option<Decoded<'p>>,
    auth: Option<Result<u8, AuthError>>,
    /// What is wrong, in full sentences; of an authentic packet, why its payload does not expand.
    error: Option<Cow<'static, str>>,
    expansions: Vec<Expansion>,
}

/// The message in a compressed payload.
struct Expansion {
    /// The field that held it; empty for a whole message.
    field: Vec<u8>,
    format: Format,
    fields: Fields<'static>,
    tail: Vec<u8>,
}

impl<'p> Finding<'p> {
    fn of(bytes: &'p [u8], keyring: &Keyring) -> Finding<'p> {
        let format = match bytes.first_chunk() {
            Some(b"###\n") => Some(Format::Netstring),
            Some(b">>>\n") => Some(Format::Classic),
            _ => None,
        };
        let mut finding = Finding { bytes, format, message: None, auth: None, error: None, expansions: Vec::new() };
        match wire::decode(bytes) {
            Err(error) => finding.error = Some(error.to_string().into()),
            Ok(message) => {
                let auth = keyring.authenticate(&message);
                match auth {
                    Err(error) => finding.error = Some(explain::auth_error(error, &message, keyring).into()),
                    Ok(_) => match expansions(&message) {
                        Ok(expansions) => finding.expansions = expansions,
                        Err(error) => finding.error = Some(error.to_string().into()),
                    },
                }
                finding.auth = Some(auth);
                finding.message = Some(message);
            }
        }
        finding
    }

    fn unreadable(why: &'static str) -> Finding<'static> {
        let error = Some(Cow::Borrowed(why));
        Finding { bytes: &[], format: None, message: None, auth: None, error, expansions: Vec::new() }
    }

    fn is_authentic(&self) -> bool {
        matches!(self.auth, Some(Ok(_)))
    }
}

/// Expands what is compressed in a message: the whole, or single fields.
fn expansions(message: &Decoded<'_>) -> Result<Vec<Expansion>, WireError> {
    let expand = |field: &[u8], payload: &[u8]| {
        let plain = compress::expand(compress::algorithm_of(&message.fields)?, payload)?;
        let (format, fields, tail) = compress::read_expansion(&plain)?;
        Ok(Expansion { field: field.to_vec(), format, fields, tail })
    };
    if let Some(whole) = compress::whole(message.format, &message.fields) {
        return Ok(vec![expand(b"", whole?.1)?]);
    }
    let compressed = message.fields.iter().filter_map(|field| match &field.value {
        Value::Compressed(payload) => Some((&field.name, payload)),
        _ => None,
    });
    compressed.map(|(name, payload)| expand(name, payload)).collect()
}

#[cfg(test)]
mod tests;
