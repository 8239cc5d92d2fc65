//! Tells a TLS client that connects to a port without TLS from a framed client. Both begin with byte
//! 0x16: it is a TLS handshake record, and the op HELLO of the framed dialect.

/// The bytes of a ClientHello up to its version: the header of the record (type, version, length), that
/// of the handshake message (type, length), and the version (RFC 8446, sections 4.1.2 and 5.1).
const LEN: usize = 11;

/// Returns whether a connection that begins with `input` is that of a TLS client. A framed HELLO is
/// never taken for it: its body would have to be 769 bytes or more, and its id and shard would have to
/// be the lengths of a ClientHello, with a shard number above any server's.
pub(crate) fn is_client_hello(input: &[u8]) -> bool {
    const HANDSHAKE: u8 = 0x16;
    const CLIENT_HELLO: u8 = 1;
    const MAJOR_VERSION: u8 = 3;
    let Some(
        &[
            HANDSHAKE,
            MAJOR_VERSION,
            _,
            high,
            low,
            CLIENT_HELLO,
            0,
            a,
            b,
            MAJOR_VERSION,
            _,
        ],
    ) = input.first_chunk::<LEN>()
    else {
        return false;
    };
    let (record, message) = (u16::from_be_bytes([high, low]), u16::from_be_bytes([a, b]));
    record.checked_sub(4) == Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::framed::{self, Call, Hello, RequestId};

    #[test]
    fn a_client_hello_is_told_from_a_framed_hello() {
        let hello = [
            0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, // then random bytes
        ];
        assert!(is_client_hello(&hello));
        assert!(!is_client_hello(&hello[..10]));
        for len in [0, 767, 768, 769] {
            let mut frame = Vec::new();
            let token = &vec![0; len];
            let call = Call::Hello(Hello {
                shard: None,
                node: false,
                token,
            });
            // The id that resembles a ClientHello most.
            framed::encode_request(RequestId(0x0200_0100), &call, &mut frame);
            assert!(!is_client_hello(&frame), "{len}");
        }
    }
}
