//! What systemd is told (`sd_notify(3)`): that the server serves, reloads, stops, and still runs.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::runtime::clock::Ambient;

/// Whoever has started the server, if they want to be told.
pub(super) struct ServiceManager {
    place: Option<SocketAddr>,
    /// How often they want to hear that it runs.
    watchdog: Option<Duration>,
}

// === impl ServiceManager ===

impl ServiceManager {
    /// As the environment says, for the process with this id.
    pub(super) fn of(environment: impl Fn(&str) -> Option<String>, process: u32) -> Self {
        let place = environment("NOTIFY_SOCKET").filter(|place| !place.is_empty()).and_then(|place| {
            let address = address(&place);
            if let Err(error) = &address {
                tracing::warn!(%error, "NOTIFY_SOCKET is not usable, so the service manager is told nothing");
            }
            address.ok()
        });
        // A process that this one has started must not speak for it.
        let meant = environment("WATCHDOG_PID").is_none_or(|id| id == process.to_string());
        let watchdog = environment("WATCHDOG_USEC").filter(|_| meant && place.is_some());
        let watchdog = watchdog.and_then(|micros| micros.parse().ok()).map(Duration::from_micros);
        Self { place, watchdog: watchdog.filter(|watchdog| !watchdog.is_zero()) }
    }

    /// How often to say that the server runs: twice as often as they want to hear it.
    pub(super) fn beat(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// It serves; `status` is for people.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration again; [`Self::ready`] comes after that.
    pub(super) fn reloading(&self, ambient: &Ambient) {
        let micros = ambient.since_boot().as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the configuration again"));
    }

    /// It stops.
    pub(super) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// It runs.
    pub(super) fn runs(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, message: &str) {
        let Some(place) = &self.place else { return };
        let told = UnixDatagram::unbound().and_then(|socket| {
            // Nobody waits for a service manager that does not listen.
            socket.set_nonblocking(true)?;
            socket.send_to_addr(message.as_bytes(), place)
        });
        if let Err(error) = told {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

/// A path, or after an `@` a name that is in no file system.
fn address(place: &str) -> io::Result<SocketAddr> {
    match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> ServiceManager {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        ServiceManager::of(find, 7)
    }

    #[test]
    fn the_watchdog_is_for_this_process_and_needs_a_place() {
        let beat = |variables: &[(&str, &str)]| manager(variables).beat();
        let (place, every) = (("NOTIFY_SOCKET", "@jeton-test"), ("WATCHDOG_USEC", "3000000"));
        assert_eq!(beat(&[place, every]), Some(Duration::from_millis(1_500)));
        assert_eq!(beat(&[place, every, ("WATCHDOG_PID", "7")]), Some(Duration::from_millis(1_500)));
        assert_eq!(beat(&[place, every, ("WATCHDOG_PID", "8")]), None);
        assert_eq!(beat(&[every]), None);
        assert_eq!(beat(&[place, ("WATCHDOG_USEC", "0")]), None);
    }

    #[test]
    fn it_is_told_at_an_abstract_name_too() {
        let name = format!("jeton-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        manager(&[("NOTIFY_SOCKET", &format!("@{name}"))]).ready("serving");
        let mut message = [0; 64];
        let length = socket.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\nSTATUS=serving");
        // Nobody there is no reason to end.
        drop(socket);
        manager(&[("NOTIFY_SOCKET", &format!("@{name}"))]).runs();
    }
}
