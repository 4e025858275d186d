use crate::support::*;

#[test]
fn two_sessions_talk_to_each_other() {
    for version in VERSIONS {
        let (mut client, mut server) = connected(version);
        client.write(b"ping");
        server.write(b"pong");
        settle(&mut client, &mut server);
        assert_eq!(server.take_read(), b"ping");
        assert_eq!(client.take_read(), b"pong");
        assert_eq!((client.handshakes, server.handshakes), (1, 1));
        assert_eq!((client.error, server.error), (None, None));
    }
}
