use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that Linux takes for outgoing connections and for a listener that asks for any: 32,768 and up.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// How many were handed out.
static HANDED_OUT: AtomicU16 = AtomicU16::new(0);

/// A port for a server that is told where to listen. None is handed out twice, so that nobody takes it before the
/// server does, and who still asks a server that has ended never comes to another test's.
pub(crate) fn free_port() -> u16 {
    // Test programs that run at the same time begin in different places.
    let begin = process::id() % 10 * 1_000;
    loop {
        let next = HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        assert!(next < COUNT, "no port is left");
        let offset = (begin + u32::from(next)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
