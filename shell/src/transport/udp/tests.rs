use super::*;
use hb_core::config::Span;
use std::net::UdpSocket;

fn free_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

fn medium(kind: MediumKind, port: u16) -> Medium {
    Medium { name: interface_of(&kind).into(), kind, port, span: Span::FILE }
}

fn bcast(interface: &str, port: u16) -> Medium {
    medium(MediumKind::Bcast { interface: interface.into() }, port)
}

fn ucast(peer: &str, port: u16) -> Medium {
    medium(MediumKind::Ucast { interface: "lo".into(), peer: peer.into() }, port)
}

fn mcast(port: u16) -> Medium {
    let group = Ipv4Addr::new(225, 0, 0, 7);
    medium(MediumKind::Mcast { interface: "lo".into(), group, port, ttl: 1, loopback: true }, port)
}

fn ucast6(port: u16) -> Medium {
    medium(MediumKind::Ucast6 { interface: "lo".into(), peer: "::1".into() }, port)
}

/// The next packet; loopback delivers before `sendto` returns.
fn received(udp: &mut Udp) -> Option<(u16, Vec<u8>)> {
    (0..udp.tokens()).for_each(|position| udp.on_readable(position));
    udp.receive().map(|datagram| (datagram.medium.0, datagram.bytes.to_vec()))
}

#[test]
fn every_kind_of_medium_carries_on_the_loopback_interface() {
    let port = free_port();
    let mut media = vec![bcast("lo", port), mcast(port), ucast("127.0.0.1", port)];
    if UdpSocket::bind("[::1]:0").is_ok() {
        // Multicast has no route there; the live tests have it.
        media.push(ucast6(port));
    }
    let mut udp = Udp::open(&media).unwrap();
    for medium in 0..u16::try_from(media.len()).unwrap() {
        assert_eq!(udp.send(MediumId(medium), &[b'0' + u8::try_from(medium).unwrap()]), None);
        assert_eq!(received(&mut udp), Some((medium, vec![b'0' + u8::try_from(medium).unwrap()])));
        assert_eq!(udp.sent(MediumId(medium)), Sent { packets: 1, ..Sent::default() });
    }
    assert_eq!(received(&mut udp), None, "one packet sent is one packet received");
    assert!(!udp.is_ready());
    assert_eq!(udp.strays(), 0);
}

#[test]
fn a_full_datagram_arrives_whole() {
    let port = free_port();
    let mut udp = Udp::open(&[ucast("127.0.0.1", port)]).unwrap();
    let packet: Vec<u8> = (0..65_507).map(|at: u32| at.to_le_bytes()[0]).collect();
    assert_eq!(udp.send(MediumId(0), &packet), None);
    assert_eq!(received(&mut udp), Some((0, packet)));
}

#[test]
fn a_port_that_somebody_has_is_reported() {
    let other = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let error = Udp::open(&[bcast("lo", port)]).unwrap_err();
    assert_eq!(error.to_string(), format!("bcast lo: UDP port {port} is in use by another program"));
}

#[test]
fn what_cannot_work_is_said_in_one_line() {
    assert_eq!(
        Udp::open(&[bcast("no-such-if0", 694)]).unwrap_err().to_string(),
        "bcast no-such-if0: no such network interface"
    );
    assert_eq!(
        Udp::open(&[ucast("no such host", 694)]).unwrap_err().to_string(),
        "ucast lo: no such host has no IPv4 address"
    );
}

#[test]
fn a_medium_that_stops_carrying_says_so_once() {
    let mut udp = Udp::open(&[ucast("127.0.0.1", free_port())]).unwrap();
    let sender = udp.senders.get_mut(&MediumId(0)).unwrap();
    assert_eq!(sender.account(Err(Errno::ENOBUFS)), None);
    assert_eq!(sender.account(Err(Errno::ENETDOWN)), Some(Change::Fails(Errno::ENETDOWN)));
    assert_eq!(sender.account(Err(Errno::ENETUNREACH)), None);
    assert_eq!(sender.account(Ok(())), Some(Change::Works));
    assert_eq!(sender.account(Ok(())), None);
    assert_eq!(sender.sent, Sent { packets: 2, queue_full: 1, refused: 2 });
}

#[test]
fn packets_find_their_medium_by_interface_then_target_then_peer() {
    let route = |medium, index, by| Route { medium: MediumId(medium), interface: String::new(), index, by };
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    let routes = [
        route(0, 1, By::Target(ip("10.0.0.255"))),
        route(1, 2, By::Target(ip("10.0.0.255"))),
        route(2, 2, By::Target(ip("225.0.0.7"))),
        route(3, 2, By::Peer(ip("10.0.0.3"))),
        route(4, 2, By::Peer(ip("10.0.0.4"))),
        route(5, 3, By::Target(ip("225.0.0.7"))),
    ];
    for (index, target, from, medium) in [
        (1, "10.0.0.255", "10.0.0.4", Some(0)),
        (2, "10.0.0.255", "10.0.0.4", Some(1)),
        (2, "225.0.0.7", "10.0.0.4", Some(2)),
        (2, "10.0.0.1", "10.0.0.3", Some(3)),
        (2, "10.0.0.1", "10.0.0.4", Some(4)),
        (2, "10.0.0.1", "10.9.9.9", Some(3)),
        (1, "10.0.0.1", "10.0.0.4", Some(0)),
        (3, "10.0.0.1", "10.0.0.4", None),
        (3, "225.0.0.7", "10.0.0.4", Some(5)),
        (4, "10.0.0.255", "10.0.0.4", None),
    ] {
        let found = attribute(&routes, index, ip(target), ip(from)).map(|medium| medium.0);
        assert_eq!(found, medium, "{index} {target} {from}");
    }
}

#[test]
fn a_broken_medium_is_opened_again_ever_more_rarely() {
    let mut udp = Udp::open(&[ucast("127.0.0.1", free_port())]).unwrap();
    let sender = udp.senders.get_mut(&MediumId(0)).unwrap();
    let (mut now, mut waits) = (Instant::ORIGIN, Vec::new());
    for _ in 0..7 {
        assert!(sender.may_reopen(now));
        sender.note_attempt(now, Err(Errno::ENODEV));
        let (at, _) = sender.retry.unwrap();
        waits.push(at.since(now).as_millis());
        now = at;
    }
    assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
    sender.note_attempt(now, Ok(()));
    assert!(sender.may_reopen(now));
}

#[test]
fn a_queue_that_stays_full_is_a_broken_medium() {
    let mut udp = Udp::open(&[ucast("127.0.0.1", free_port())]).unwrap();
    let sender = udp.senders.get_mut(&MediumId(0)).unwrap();
    for _ in 1..FULL_MAX {
        assert_eq!(sender.account(Err(Errno::ENOBUFS)), None);
        assert!(!sender.is_broken(Err(Errno::ENOBUFS)));
    }
    assert_eq!(sender.account(Err(Errno::ENOBUFS)), Some(Change::Fails(Errno::ENOBUFS)));
    assert!(sender.is_broken(Err(Errno::ENOBUFS)));
    assert_eq!(sender.account(Ok(())), Some(Change::Works));
    assert!(!sender.is_broken(Err(Errno::ENOBUFS)) && !sender.is_broken(Err(Errno::EMSGSIZE)));
}

#[test]
fn packets_that_wait_come_in_order_and_the_last_of_them_empties_the_queue() {
    let port = free_port();
    let mut media = vec![ucast("127.0.0.1", port)];
    if UdpSocket::bind("[::1]:0").is_ok() {
        media.push(ucast6(port));
    }
    let mut udp = Udp::open(&media).unwrap();
    // Less than one call reads, as much, and more; the same headers are used again and again.
    for count in [BATCH - 1, BATCH, 2 * BATCH + 1] {
        for medium in (0..).map(MediumId).take(media.len()) {
            let packets: Vec<Vec<u8>> = (0..count).map(|number| vec![b'x'; number * 1000 + 1]).collect();
            for packet in &packets {
                assert_eq!(udp.send(medium, packet), None);
            }
            (0..udp.tokens()).for_each(|position| udp.on_readable(position));
            for packet in &packets {
                assert!(udp.is_ready());
                let datagram = udp.receive().unwrap();
                assert_eq!((datagram.medium, datagram.bytes), (medium, &packet[..]));
                assert!(datagram.from.ip().is_loopback());
            }
            assert_eq!(udp.receive(), None);
            assert!(!udp.is_ready());
        }
    }
    assert_eq!(udp.strays(), 0);
}
