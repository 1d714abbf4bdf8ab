//! The only unsafe code: system calls that neither std nor nix offers as safe functions.
#![expect(unsafe_code, reason = "foreign functions; each call says why it is sound")]

// ---- processes, scheduling, memory, local time ----

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

use hb_core::ids::OpId;
use nix::libc;
use nix::sys::uio::pwrite;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, Gid, Uid};

use crate::unfinished::Note;

/// Splits the process in two (fork(2)).
///
/// # Panics
/// When the process has more than one thread: in the child a lock that another thread held would stay locked.
pub(crate) fn fork() -> io::Result<ForkResult> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert!(threads == 1, "a daemon forks before it starts threads");
    // SAFETY: there is no other thread whose locks or half-done work the child could inherit.
    unsafe { nix::unistd::fork() }.map_err(io::Error::from)
}

/// Marks every descriptor from `first` up close-on-exec, so that no program we start inherits what our parent left open.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC the call only changes descriptor flags; it closes nothing that somebody owns.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes what our parent left open, except the three standard descriptors and `keep`.
///
/// To be called before the process has opened anything it wants to use again.
pub(crate) fn close_inherited(keep: BorrowedFd<'_>) {
    let keep = keep.as_raw_fd().cast_unsigned();
    for (first, last) in [(3, keep.saturating_sub(1)), (keep.saturating_add(1), libc::c_uint::MAX)] {
        if first <= last {
            // SAFETY: by the condition above nobody here owns the descriptors. An old kernel refuses, and they stay.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

/// Puts the calling thread into the round-robin real-time class; what it forks or starts begins in the normal class.
pub(crate) fn use_round_robin(priority: c_int) -> io::Result<()> {
    // SAFETY: all fields are integers, for which zero is a value (some C libraries have more than the priority).
    let mut parameters: libc::sched_param = unsafe { MaybeUninit::zeroed().assume_init() };
    parameters.sched_priority = priority;
    // SAFETY: the pointer is to a local value that outlives the call, which only reads it.
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The lowest and highest priority of the round-robin class.
pub(crate) fn round_robin_priorities() -> (c_int, c_int) {
    // SAFETY: both calls take and return integers.
    unsafe { (libc::sched_get_priority_min(libc::SCHED_RR), libc::sched_get_priority_max(libc::SCHED_RR)) }
}

/// Tells the allocator to keep freed memory instead of handing it back to the system.
pub(crate) fn keep_freed_memory() {
    // SAFETY: mallopt takes integers; negative means "never" for the trim threshold. It fails harmlessly.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, -1) };
}

/// The parts of a local time that a log line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalTime {
    /// 0 is January.
    pub(crate) month: usize,
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

/// Converts seconds since 1970 into the local time zone; reads the zone's file the first time.
pub(crate) fn local_time(seconds: i64) -> LocalTime {
    // SAFETY: all fields are integers or a pointer that localtime_r sets and nobody reads.
    let mut parts: libc::tm = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: both pointers are to local values that outlive the call. It leaves `parts` zero if it fails.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut parts) };
    let small = |value: c_int| u8::try_from(value).unwrap_or(0);
    LocalTime {
        month: usize::from(small(parts.tm_mon)) % 12,
        day: small(parts.tm_mday),
        hour: small(parts.tm_hour),
        minute: small(parts.tm_min),
        second: small(parts.tm_sec),
    }
}

/// Chooses the interface, by its index, and the source address of outgoing multicasts (IP_MULTICAST_IF).
pub(crate) fn set_multicast_interface(socket: impl AsFd, index: u32, address: Ipv4Addr) -> io::Result<()> {
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: u32::from(address).to_be() },
        imr_ifindex: c_int::try_from(index).unwrap_or(0),
    };
    let length = libc::socklen_t::try_from(size_of_val(&request)).unwrap_or(0);
    // SAFETY: pointer and length describe the local `request`, which the call only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            (&raw const request).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// ---- terminals ----

/// The descriptor of a serial port, which stays open as long as this.
pub(crate) fn own_descriptor(port: serialport::TTYPort) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives up the descriptor, so that nobody else closes it.
    unsafe { OwnedFd::from_raw_fd(port.into_raw_fd()) }
}

/// Chooses the interface, by its index, of outgoing IPv6 multicasts (IPV6_MULTICAST_IF), and whether they come back
/// (IPV6_MULTICAST_LOOP).
pub(crate) fn set_multicast6(socket: impl AsFd, index: u32, loopback: bool) -> io::Result<()> {
    set_ipv6_option(&socket, libc::IPV6_MULTICAST_IF, &c_int::try_from(index).unwrap_or(0))?;
    set_ipv6_option(&socket, libc::IPV6_MULTICAST_LOOP, &c_int::from(loopback))
}

/// Enters an IPv6 multicast group on the interface of that index (IPV6_ADD_MEMBERSHIP).
pub(crate) fn join_group6(socket: impl AsFd, group: Ipv6Addr, index: u32) -> io::Result<()> {
    let request =
        libc::ipv6_mreq { ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() }, ipv6mr_interface: index };
    set_ipv6_option(&socket, libc::IPV6_ADD_MEMBERSHIP, &request)
}

/// `value` is a plain C value of the type that the option takes.
fn set_ipv6_option<T: Copy>(socket: &impl AsFd, option: c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: pointer and length describe `value`, which the call only reads.
    let result =
        unsafe { libc::setsockopt(socket, libc::IPPROTO_IPV6, option, std::ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// ---- network ----

/// Sends one complete Ethernet frame through the interface with this number; never waits.
///
/// `socket` is an AF_PACKET socket of type SOCK_RAW.
pub(crate) fn send_frame(socket: impl AsFd, interface: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: all fields are integers or arrays of them, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = libc::c_ushort::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_ifindex = c_int::try_from(interface).map_err(io::Error::other)?;
    let address_length = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0);
    // SAFETY: both pointers are to memory that outlives the call, which only reads it, with the lengths as given.
    let sent = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            address_length,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A descriptor that stands for a process, whatever becomes of its number (pidfd_open(2)).
pub(crate) fn open_process(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes integers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = c_int::try_from(result).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made the descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process behind the descriptor; 0 only asks whether it lives.
pub(crate) fn signal_process(process: impl AsFd, signal: c_int) -> io::Result<()> {
    let process = process.as_fd().as_raw_fd();
    // SAFETY: the call takes integers and a pointer that may be null.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process, signal, std::ptr::null::<libc::siginfo_t>(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the program that `command` starts run as this user, in these groups, and end by SIGTERM with the thread that
/// starts it.
pub(crate) fn run_as(command: &mut Command, user: Uid, group: Gid, groups: Vec<Gid>) {
    let is_root = nix::unistd::geteuid().is_root();
    // SAFETY: between fork and exec the closure makes system calls only and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            // Without root there is only one user to be.
            if is_root {
                nix::unistd::setgroups(&groups)?;
                nix::unistd::setgid(group)?;
                nix::unistd::setuid(user)?;
            }
            // After the change of the user, which would clear it.
            match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// Makes the process that `command` starts tell the guard its number, before it becomes the program.
///
/// That the guard does not take it is no reason not to run it: a stop must never be refused.
pub(crate) fn report_start(command: &mut Command, guard: Arc<OwnedFd>, op: OpId) {
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing; the descriptor is open as
    // long as the closure owns it.
    unsafe {
        command.pre_exec(move || {
            let packet = crate::guard::started(op, libc::getpid().cast_unsigned());
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::send(guard.as_raw_fd(), packet.as_ptr().cast(), packet.len(), flags);
            Ok(())
        });
    }
}

/// Makes the process that `command` starts write its number into a note, before it becomes the program.
///
/// That it cannot is no reason not to run it: a stop must never be refused.
pub(crate) fn note_start(command: &mut Command, note: Arc<Note>) {
    // SAFETY: between fork and exec the closure makes three system calls, formats two integers into an array and allocates
    // nothing; the descriptor is open as long as the closure owns it.
    unsafe {
        command.pre_exec(move || {
            if let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) {
                let mut buffer = [0; 48];
                let line = crate::unfinished::line(&mut buffer, libc::getpid().cast_unsigned(), now.into());
                let _unnoted: nix::Result<usize> = pwrite(&note.file, line, note.at);
            }
            Ok(())
        });
    }
}

/// Gives a watchdog another time-out in seconds (WDIOC_SETTIMEOUT); the one that it takes.
pub(crate) fn set_watchdog_timeout(device: impl AsFd, seconds: c_int) -> io::Result<c_int> {
    const SET_TIMEOUT: libc::c_ulong = nix::request_code_readwrite!(b'W', 6, size_of::<c_int>());
    let mut seconds = seconds;
    // SAFETY: the request reads and writes one C int, which outlives the call.
    let result = unsafe { libc::ioctl(device.as_fd().as_raw_fd(), SET_TIMEOUT as _, &raw mut seconds) };
    if result == 0 { Ok(seconds) } else { Err(io::Error::last_os_error()) }
}

/// Makes the program that `command` starts die by SIGKILL as soon as the thread that starts it ends.
pub(crate) fn die_with_thread(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}
