//! What the operating system says of this process.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

/// How many ticks of `/proc/self/stat` are a second. Linux tells programs so on every architecture that we build for,
/// whatever the kernel itself counts in.
const TICKS: u64 = 100;

/// What the operating system says of this process. Where there is no `/proc`, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Memory that is in use, in bytes.
    pub resident: Option<u64>,
    /// File descriptors that are open: files, connections and a few more.
    pub open_files: Option<u64>,
    /// How many may be.
    pub most_files: Option<u64>,
    /// How long it has computed, on all cores together.
    pub computed: Option<Duration>,
}

// === impl Process ===

impl Process {
    /// This process, now.
    #[must_use]
    pub fn read() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").ok().map(|all| all.count() as u64);
        Self {
            resident: resident(&text("status")),
            // Without the one that the count itself was made with.
            open_files: open.map(|open| open.saturating_sub(1)),
            most_files: most_files(),
            computed: computed(&text("stat")),
        }
    }
}

fn resident(status: &str) -> Option<u64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kilobytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// How many file descriptors this process may have, if there is a limit.
#[must_use]
pub fn most_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The bytes that are free for a user where a directory is.
///
/// # Errors
/// It is not there, or may not be looked at.
pub fn free_at(directory: &Path) -> io::Result<u64> {
    let there = statvfs(directory)?;
    Ok(there.f_bavail.saturating_mul(there.f_frsize))
}

/// The 14th and the 15th field. The second is the name, in which anything may be, parentheses too.
fn computed(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some(Duration::from_millis((user + system) * (1_000 / TICKS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        assert_eq!(resident("VmHWM:\t   9000 kB\nVmRSS:\t   5120 kB\n"), Some(5 * 1_024 * 1_024));
        let stat = "42 (an odd) name) S 1 42 42 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 9 0 1 2 3";
        assert_eq!(computed(stat), Some(Duration::from_millis(1_750)));
        for text in ["", "VmRSS:", "42 (short) S 1"] {
            assert_eq!((resident(text), computed(text)), (None, None));
        }
    }

    #[test]
    fn this_process_uses_something() {
        let process = Process::read();
        assert!(process.resident.is_some_and(|bytes| bytes > 1_000_000), "{process:?}");
        assert!(process.open_files.is_some_and(|files| files > 2), "{process:?}");
        assert!(free_at(Path::new("/")).is_ok() && free_at(Path::new("/nowhere")).is_err());
    }
}
