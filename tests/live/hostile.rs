//! Floods and halves, at every door of a daemon that serves: the other node hears each heartbeat in time, memory stays what
//! it was, and the log says who and why, not often.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::UdpSocket;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hb_shell::control::CLIENTS_MAX;
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;

use crate::Test;
use crate::daemons::{PATIENCE, settled, setup};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("hostile::a_flood_of_datagrams_of_every_size_harms_nobody", datagrams),
    ("hostile::a_control_client_that_asks_without_end_waits_its_turn", asks_without_end),
    ("hostile::more_control_clients_than_places_and_half_requests", crowd),
    ("hostile::a_fifo_that_is_written_without_end_holds_nobody_up", endless_fifo),
];

/// What is said of bytes in the FIFO.
const SKIPPED: &str = "bytes skipped that are no message";
/// How long each flood lasts: longer than the dead time of 2 s.
const FLOOD: Duration = Duration::from_secs(3);
/// What a flood may cost in memory: some full queues, and what the allocator keeps of them.
const MEMORY_MAX: u64 = 16 * 1024;

/// The largest resident size so far of the first daemon, in kB.
fn memory(testbed: &Testbed) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", testbed.daemon_pid(0)?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim_end_matches("kB").trim().parse()?)
}

/// The log of the first daemon once it has these phrases; it is written beside the loop.
fn logged(testbed: &Testbed, phrases: &[&str]) -> Result<String> {
    let has_all = |testbed: &Testbed| phrases.iter().all(|phrase| testbed.log(0).contains(phrase));
    testbed.wait_until(&format!("the log has {phrases:?}"), PATIENCE, has_all)?;
    Ok(testbed.log(0))
}

/// Does `attack` again and again for a while; nobody misses a heartbeat, nothing moves, memory is bounded.
fn withstands(testbed: &Testbed, mut attack: impl FnMut() -> Result<()>) -> Result<()> {
    let before = memory(testbed)?;
    let end = Instant::now() + FLOOD;
    while Instant::now() < end {
        attack()?;
        // Other tests need a processor too; what waits in full queues floods on meanwhile.
        std::thread::sleep(Duration::from_micros(200));
    }
    unharmed(testbed)?;
    let after = memory(testbed)?;
    ensure!(after - before <= MEMORY_MAX, "{before} kB became {after} kB");
    Ok(())
}

fn unharmed(testbed: &Testbed) -> Result<()> {
    for which in 0..2 {
        let log = testbed.log(which);
        for phrase in ["is dead (", "Late heartbeat"] {
            ensure!(!log.contains(phrase), "`{phrase}`:\n{log}");
        }
    }
    ensure!(testbed.rests(0), "{}", testbed.log(0));
    Ok(())
}

fn datagrams() -> Outcome {
    let testbed = settled(setup(false))?;
    let socket = testbed.machine(1)?.run(|| -> Result<UdpSocket> {
        let socket = UdpSocket::bind("10.78.0.2:0")?;
        socket.set_broadcast(true)?;
        Ok(socket)
    })?;
    // The largest datagram there is, with a length field that promises more; and nothing at all.
    let mut largest = vec![b'x'; 65_507];
    largest[..16].copy_from_slice(b"###\n99999999:(0)");
    let unsigned = b"###\n11:(0)t=status,%%%\n";
    let long_name = [&b"###\n60000:(0)t="[..], &vec![b'a'; 59_996], b",%%%\n5:1 abc,"].concat();
    let kinds: [&[u8]; 5] = [&largest, unsigned, b"", &[0xff; 1500], &long_name];
    let mut sent = 0_u64;
    withstands(&testbed, || {
        for bytes in kinds {
            // A full queue is a reason to wait, as for everybody.
            match socket.send_to(bytes, "10.78.0.255:694") {
                Ok(_) => sent += 1,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(())
    })?;
    let dropped = testbed.status(0)?["dropped"].clone();
    for kind in ["wire", "auth"] {
        ensure!(dropped[kind].as_u64() > Some(100), "{dropped} of {sent}");
    }
    let log = logged(&testbed, &["[from 10.78.0.2:", "bad packet", "failed authentication"])?;
    ensure!(log.matches("bad packet").count() <= 2 && log.matches("failed authentication").count() <= 2, "{log}");
    Ok(Completion::Completed)
}

fn connect(testbed: &Testbed) -> Result<UnixStream> {
    let stream = UnixStream::connect(testbed.directory(0).join("run/control"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Writes what can be written, and reads what can be read or leaves it.
fn push(stream: &mut UnixStream, bytes: &[u8], reads: bool) -> Result<bool> {
    let mut answers = [0; 16_384];
    let mut open = true;
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_micros(200)),
        Err(_) => open = false,
        // What was cut in two is a bad request, and those are asked as well.
        Ok(_) => {}
    }
    if reads {
        match stream.read(&mut answers) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => open &= read? > 0,
        }
    }
    Ok(open)
}

fn asks_without_end() -> Outcome {
    let testbed = settled(setup(false))?;
    let request = b"{\"v\":1,\"do\":\"status\"}\nnonsense\n{\"v\":1,\"do\":\"send\",\"type\":\"x\"}\n".repeat(500);
    let mut greedy = [connect(&testbed)?, connect(&testbed)?, connect(&testbed)?];
    for stream in &greedy {
        stream.set_nonblocking(true)?;
    }
    let mut thrown_out = 0;
    withstands(&testbed, || {
        // The last of them never reads.
        for (number, stream) in greedy.iter_mut().enumerate() {
            if !push(stream, &request, number < 2)? {
                thrown_out += 1;
                *stream = connect(&testbed)?;
                stream.set_nonblocking(true)?;
            }
        }
        Ok(())
    })?;
    ensure!(thrown_out > 0, "who never reads is thrown out");
    drop(greedy);
    let log = logged(&testbed, &["control client [pid "])?;
    ensure!(log.matches("control client [pid ").count() <= 2, "{log}");
    ensure!(testbed.status(0)?["refused"]["control"].as_u64() > Some(100), "{}", testbed.status(0)?);
    Ok(Completion::Completed)
}

fn crowd() -> Outcome {
    let testbed = settled(setup(false))?;
    let mut crowd = Vec::new();
    for number in 0..CLIENTS_MAX * 3 {
        let mut stream = connect(&testbed)?;
        if number % 2 == 0 {
            // Those that were turned away cannot be written to.
            let _closed = stream.write_all(b"{\"v\":1,\"do\":");
        }
        crowd.push(stream);
    }
    testbed.wait_until("the log says so", PATIENCE, |testbed| {
        testbed.log(0).contains("turned away: all 64 places are taken")
    })?;
    let mut answer = String::new();
    crowd.last().context("somebody")?.read_to_string(&mut answer)?;
    ensure!(answer.contains("\"error\":\"busy\""), "{answer}");
    drop(crowd);
    testbed.wait_until("there is room again", PATIENCE, |testbed| {
        testbed.status(0).is_ok_and(|status| status["ok"] == true)
    })?;
    let refused = testbed.status(0)?["refused"]["control"].as_u64();
    ensure!(refused >= Some(u64::try_from(CLIENTS_MAX)? * 2), "{refused:?}");
    // A request that never ends is refused, and its client too.
    let mut stream = connect(&testbed)?;
    stream.write_all(&[b'x'; 5000])?;
    let mut answer = String::new();
    // The rest of what was written is never read: the end may be a reset.
    let _reset = stream.read_to_string(&mut answer);
    ensure!(answer.contains("at most 4096 bytes"), "{answer}");
    unharmed(&testbed)?;
    Ok(Completion::Completed)
}

fn endless_fifo() -> Outcome {
    let testbed = settled(setup(false))?;
    let path = testbed.directory(0).join("state/fifo");
    let mut fifo = OpenOptions::new().append(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    let kinds: [&[u8]; 4] = [&[0; 4096], &[b'\n'; 4096], &b"x=y\n".repeat(1024), b">>>\nt=nonsense\nx=y\n<<<\n>>>\n"];
    let mut written = 0_usize;
    withstands(&testbed, || {
        match fifo.write(kinds[written % kinds.len()]) {
            Ok(_) => written += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    })?;
    // The control socket is served meanwhile, and afterwards the next message is understood.
    ensure!(testbed.status(0)?["refused"]["fifo"].as_u64() > Some(10), "{written}: {}", testbed.status(0)?);
    testbed.wait_until("the FIFO takes messages", PATIENCE, |_| {
        fifo.write(b"\n>>>\nnonsense\n<<<\n>>>\nt=ask_resources\nrsc_hold=all\ninfo=me\n<<<\n").is_ok()
    })?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.is_owned_by(&[1]) && testbed.is_stable(0))?;
    let log = logged(&testbed, &["message [] of the command FIFO ignored: it is no message", SKIPPED])?;
    ensure!(log.matches(SKIPPED).count() <= 2, "{log}");
    Ok(Completion::Completed)
}
