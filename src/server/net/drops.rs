//! How many datagrams the kernel dropped before this server could receive them.

use std::fs;

/// Returns how many datagrams the UDP sockets of a port have dropped since they were opened, because
/// their receive buffers were full or the datagrams were broken: the column `drops` of
/// `/proc/net/udp` and `udp6`. Returns `None` if neither can be read.
pub(crate) fn dropped_datagrams(port: u16) -> Option<u64> {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let tables = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    let drops = tables.map(|table| drops_of(&table, port));
    drops.reduce(|sum, drops| sum + drops)
}

fn drops_of(table: &str, port: u16) -> u64 {
    let of_port = |line: &str| {
        // Number, local address with the port in hexadecimal digits, …, drops.
        let local = line.split_whitespace().nth(1)?;
        let (_, local_port) = local.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local_port, 16).ok()? == port;
        let drops = line.split_whitespace().last()?;
        is_it.then(|| drops.parse::<u64>().ok())?
    };
    table.lines().skip(1).filter_map(of_port).sum()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    const TABLE: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  122: 0100007F:270F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 5
  123: 0100007F:270F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 2 2 0 70
  124: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 3 2 0 900
";

    #[test]
    fn the_drops_of_all_sockets_of_the_port_are_summed() {
        assert_eq!(drops_of(TABLE, 9999), 75);
        assert_eq!(drops_of(TABLE, 53), 900);
        assert_eq!(drops_of(TABLE, 1), 0);
    }

    #[test]
    fn a_full_receive_buffer_is_seen() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(dropped_datagrams(address.port()), Some(0));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..10_000 {
            sender.send_to(&[0; 1_000], address).unwrap();
        }
        let dropped = dropped_datagrams(address.port()).unwrap();
        assert!((1..10_000).contains(&dropped), "{dropped}");
    }
}
