//! Every target, by its name.

use super::interface::Target;
use super::{classic, framed, memcached, resp};

/// Every target.
pub(crate) const ALL: [&dyn Target; 7] = [
    &framed::TCP,
    &framed::UDP,
    &classic::UDP,
    &classic::TCP,
    &resp::RESP,
    &memcached::TCP,
    &memcached::UDP,
];

/// Returns the target of that name.
pub(crate) fn named(name: &str) -> Option<&'static dyn Target> {
    ALL.into_iter().find(|target| target.name() == name)
}

#[cfg(test)]
mod tests {
    use globalcounter::protocol::Op;

    use super::*;

    #[test]
    fn target_names_are_unique() {
        for target in ALL {
            let found = named(target.name()).map(Target::name);
            assert_eq!(found, Some(target.name()));
            assert!(target.supports(Op::Count), "{target:?}");
        }
        assert!(named("http").is_none());
    }

    /// No bytes of a server may cause a panic, or be taken for a reply longer than they are.
    #[test]
    fn any_bytes_are_decoded_or_refused() {
        let samples: [&[u8]; 8] = [
            b"",
            b"\x90\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07",
            b"\x80\x01",
            b":12\r\n",
            b"$2\r\n12\r\n",
            b"VALUE a 0 2\r\n12\r\nEND\r\n",
            b"\x00\x01\x00\x00\x00\x01\x00\x0012\r\n",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ];
        for target in ALL {
            for sample in samples {
                for cut in 0..=sample.len() {
                    for byte in 0..=255 {
                        let mut input = sample[..cut].to_vec();
                        input.push(byte);
                        if let Ok(Some(decoded)) = target.decode(&input) {
                            assert!(decoded.len <= input.len() && decoded.len > 0);
                        }
                    }
                }
            }
        }
    }
}
