//! The Redis protocol: commands, their replies byte for byte, INFO.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use globalcounter::protocol::resp::encode_command;

use super::exchange_to_end;

/// Encodes a command as an array, the form that programs send.
pub(crate) fn command(words: &[&str]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut out = Vec::new();
    encode_command(&words, &mut out);
    out
}

/// Sends `request`, reads as many bytes as `reply` has, and checks that they are equal.
pub(crate) fn assert_answered(stream: &mut TcpStream, request: &[u8], reply: &str) {
    stream.write_all(request).unwrap();
    let mut got = vec![0; reply.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), reply);
}

/// Asks for a section of INFO on a new connection and returns the text.
pub(crate) fn info(tcp: SocketAddr, section: &str) -> String {
    let request = format!("INFO {section}\r\nQUIT\r\n");
    String::from_utf8(exchange_to_end(tcp, request.as_bytes())).unwrap()
}

/// Returns the value of one field in a reply to INFO.
pub(crate) fn info_field<'a>(info: &'a str, name: &str) -> &'a str {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    let field = fields.find(|(field, _)| *field == name);
    field.unwrap_or_else(|| panic!("no {name} in {info}")).1
}
