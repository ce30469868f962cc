//! One message at a time over a `SOCK_SEQPACKET` socket, with descriptors.
//!
//! A message is a flag byte and a body. Bodies too large for a packet travel in a memory file, which only the host
//! may send: a descriptor from the inner half could block whoever reads it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

const INLINE: u8 = 0;
const IN_FILE: u8 = 1;
const MAX_INLINE: usize = 32 << 10;
const MAX_BODY: u64 = 8 << 20;
const MAX_FDS: usize = 8;

/// A connected pair, closed on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    Ok(rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)?)
}

/// Sends one message; `WouldBlock` if the socket is non-blocking and full.
pub fn send(socket: impl AsFd, body: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if body.len() <= MAX_INLINE {
        return send_packet(socket.as_fd(), &[&[INLINE], body], fds);
    }
    let file = rustix::fs::memfd_create("request", MemfdFlags::CLOEXEC)?;
    let mut rest = body;
    let mut offset = 0;
    while !rest.is_empty() {
        let written = rustix::io::pwrite(&file, rest, offset)?;
        rest = &rest[written..];
        offset += written as u64;
    }
    let mut all = vec![file.as_fd()];
    all.extend(fds);
    send_packet(socket.as_fd(), &[&[IN_FILE]], &all)
}

fn send_packet(socket: BorrowedFd<'_>, parts: &[&[u8]], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        match rustix::net::sendmsg(socket, &slices, &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A received message.
pub struct Message {
    pub body: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// Whether bodies in files are accepted from the other side.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    Host,
    Inner,
}

/// Receives one message; `None` when the other side has closed.
pub fn receive(socket: impl AsFd, from: Trust) -> io::Result<Option<Message>> {
    let mut buffer = vec![0; MAX_INLINE + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(socket.as_fd(), &mut slices, &mut control, flags) {
            Ok(received) => break received,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    };
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(malformed("is too long"));
    }
    buffer.truncate(received.bytes);
    let kind = buffer.remove(0);
    match kind {
        INLINE => Ok(Some(Message { body: buffer, fds })),
        IN_FILE if from == Trust::Host && !fds.is_empty() => {
            let file = fds.remove(0);
            Ok(Some(Message { body: read_file(file.as_fd())?, fds }))
        }
        _ => Err(malformed("has an unknown kind")),
    }
}

fn read_file(file: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let length = rustix::fs::fstat(file)?.st_size as u64;
    if length > MAX_BODY {
        return Err(malformed("is too long"));
    }
    let mut body = vec![0; length as usize];
    let mut filled = 0;
    while filled < body.len() {
        match rustix::io::pread(file, &mut body[filled..], filled as u64)? {
            0 => return Err(malformed("is shorter than it says")),
            count => filled += count,
        }
    }
    Ok(body)
}

pub fn malformed(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a control message {how}"))
}
