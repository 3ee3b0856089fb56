//! File descriptors over a Unix socket (`SCM_RIGHTS`): how a listening socket, its backlog with it, gets from one
//! process to another.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most descriptors in one message: more than a node has listeners.
pub(in crate::node) const DESCRIPTORS_MAX: usize = 16;

/// The most bytes of the line that goes with them.
pub(in crate::node) const LINE_BYTES_MAX: usize = 4096;

/// Sends a line, with descriptors attached to it, as one message.
pub(in crate::node) fn send(
    socket: impl AsFd,
    line: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = descriptors.len() <= DESCRIPTORS_MAX && line.len() <= LINE_BYTES_MAX;
    if !fits || !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much for one message"));
    }
    let sent = sendmsg(socket, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)?;
    // An empty socket buffer takes so little whole.
    if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives what [`send`] sent: the line and the descriptors. An empty line is the end of the connection.
pub(in crate::node) fn receive(socket: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut line = vec![0; LINE_BYTES_MAX];
    // They must not leak into a child that is started at this moment.
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut line)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more descriptors than a node has listeners"));
    }
    line.truncate(received.bytes);
    Ok((line, descriptors))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_listening_socket_arrives_with_its_backlog() {
        let (here, there) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = std::net::TcpStream::connect(address).unwrap();
        send(&here, b"line\n", &[listener.as_fd()]).unwrap();
        drop((listener, here));
        let (line, mut descriptors) = receive(&there).unwrap();
        assert_eq!((line.as_slice(), descriptors.len()), (b"line\n".as_slice(), 1));
        let listener = TcpListener::from(descriptors.remove(0));
        assert_eq!(listener.accept().unwrap().1, waiting.local_addr().unwrap());
        assert!(receive(&there).unwrap().0.is_empty(), "the end");
    }

    #[test]
    fn a_message_has_its_bounds() {
        let (here, there) = UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let many = |count| vec![file.as_fd(); count];
        send(&here, &[b'x'; LINE_BYTES_MAX], &many(DESCRIPTORS_MAX)).unwrap();
        let (line, descriptors) = receive(&there).unwrap();
        assert_eq!((line.len(), descriptors.len()), (LINE_BYTES_MAX, DESCRIPTORS_MAX));
        assert!(send(&here, b"x", &many(DESCRIPTORS_MAX + 1)).is_err());
        assert!(send(&here, &[b'x'; LINE_BYTES_MAX + 1], &many(1)).is_err());
    }
}
