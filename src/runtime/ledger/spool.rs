//! The spool: a file in which events are durable while the database is away.
//!
//! ```text
//! magic · the file's own random name · seal │ length · frame · seal │ length · frame · seal │ zeros …
//! ```
//!
//! Each seal is a MAC over the seal before and what stands between the two, under a key that only whoever has the
//! master key can make: nothing that somebody else has put into the file is taken for an event. The room is taken when
//! the file is made, so that a full disk leaves it. A process has a file of its own and holds a lock on it; what a
//! killed one has left, the next start takes over ([`super::adoption`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hmac;
use rustix::fs::FallocateFlags;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::OVERTAKEN;
use super::frame::{AROUND, Frame, SEAL, Seal, Spooled, seal};
use crate::domain::error::Fault;
use crate::domain::time::Timestamp;

const MAGIC: &[u8; 16] = b"jeton spool 1\n\0\0";
const NAME: usize = 16;
const HEADER: usize = MAGIC.len() + NAME + SEAL;

/// What the files are called.
pub(super) const EXTENSION: &str = "spool";

/// What they are called until they are whole.
pub(super) const UNFINISHED: &str = "unfinished";

/// How many bytes are written at a time where the room is taken by writing.
const STEP: usize = 1_024 * 1_024;

/// A place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    offset: u64,
    /// How many frames are before it.
    frames: u64,
    /// The seal before it.
    seal: Seal,
}

/// A file with events.
pub(super) struct Spool {
    file: Arc<File>,
    path: PathBuf,
    key: hmac::Key,
    size: u64,
    /// What the marks of its frames begin with.
    name: Uuid,
    /// What is to be replayed next, and behind the last frame.
    next: Place,
    end: Place,
}

/// A frame, and what marks it as replayed.
pub(super) type Marked = (String, Frame);

// === impl Spool ===

impl Spool {
    /// A new file in a directory.
    ///
    /// # Errors
    /// It cannot be made, or there is no room.
    pub(super) fn create(directory: &Path, size: u64, key: hmac::Key, name: Uuid) -> io::Result<Self> {
        let path = directory.join(format!("{name}.{EXTENSION}"));
        // Under another name until it is locked and whole, or somebody could take it for one that was left.
        let unfinished = path.with_extension(UNFINISHED);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unfinished);
        let file = file?;
        let made = file.try_lock().map_err(io::Error::from).and_then(|()| {
            take_room(&file, size)?;
            let start = write_header(&file, &key, name)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            // The file's name is durable with its directory.
            File::open(directory)?.sync_all()?;
            Ok(start)
        });
        match made {
            Ok(start) => Ok(Self { file: Arc::new(file), path, key, size, name, next: start, end: start }),
            Err(error) => {
                let _ = fs::remove_file(&unfinished);
                Err(error)
            }
        }
    }

    /// A file that another process has left; nothing, if that process lives, or has left another file.
    ///
    /// # Errors
    /// It cannot be read, or is none that was written with this key.
    pub(super) fn adopt(path: &Path, key: hmac::Key) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if let Err(error) = file.try_lock() {
            return match error {
                fs::TryLockError::WouldBlock => Ok(None),
                fs::TryLockError::Error(error) => Err(error),
            };
        }
        let metadata = file.metadata()?;
        if metadata.nlink() == 0 {
            // Somebody else was faster, and has removed it.
            return Ok(None);
        }
        let size = metadata.len();
        let foreign = || io::Error::new(ErrorKind::InvalidData, "it was not written with this audit key");
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).map_err(|_| foreign())?;
        let (told, sealed) = header.split_at(HEADER - SEAL);
        if !told.starts_with(MAGIC) || hmac::verify(&key, told, sealed).is_err() {
            return Err(foreign());
        }
        let name = Uuid::from_slice(&told[MAGIC.len()..]).map_err(|_| foreign())?;
        let seal = sealed.try_into().map_err(|_| foreign())?;
        let start = Place { offset: HEADER as u64, frames: 0, seal };
        Ok(Some(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            key,
            size,
            name,
            next: start,
            end: start,
        }))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes wait to be replayed.
    pub(super) const fn bytes(&self) -> u64 {
        self.end.offset - self.next.offset
    }

    /// Whether nothing does.
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Whether a place is behind the last frame.
    pub(super) fn is_end(&self, place: Place) -> bool {
        place == self.end
    }

    /// Makes a frame durable.
    ///
    /// # Errors
    /// The file is full, or the disk does not take it: then it is not there.
    pub(super) async fn append(&mut self, frame: &Frame) -> Result<(), Fault> {
        let (bytes, seal) = frame.write(&self.key, &self.end.seal).map_err(Fault::internal)?;
        let (offset, after) = (self.end.offset, self.end.offset + bytes.len() as u64);
        // Behind the last frame there is room for a length, which says that there is none.
        if after + AROUND as u64 > self.size {
            return Err(Fault::unavailable(format!(
                "the spool is full (outage.max_size): {} of its {} bytes are used, and these events take {}",
                self.end.offset,
                self.size,
                bytes.len()
            )));
        }
        let file = Arc::clone(&self.file);
        let written = spawn_blocking(move || {
            file.write_all_at(&bytes, offset)?;
            file.sync_data()
        });
        written
            .await
            .map_err(Fault::internal)?
            .map_err(|error| Fault::unavailable(format!("the spool {}: {error}", self.path.display())))?;
        self.end = Place { offset: after, frames: self.end.frames + 1, seal };
        Ok(())
    }

    /// The next frames, with about so many events, and the place behind them. Of a file of this process all of them can
    /// be read.
    ///
    /// # Errors
    /// They cannot.
    pub(super) async fn peek(&self, events: usize) -> Result<(Vec<Marked>, Place), Fault> {
        let (file, key, next, end) = (Arc::clone(&self.file), self.key.clone(), self.next, self.end);
        let read = spawn_blocking(move || read_frames(&file, &key, next, events, |at| at == end));
        let (frames, place, unreadable) = read.await.map_err(Fault::internal)?;
        if let Some(problem) = unreadable {
            let path = self.path.display();
            return Err(Fault::internal(format!("the spool {path} cannot be read back: {problem}")));
        }
        Ok((self.marked(frames), place))
    }

    /// The next frames of a file that another process has left, and the place behind them. There are none where none
    /// can be read any more.
    ///
    /// # Errors
    /// Reading was given up.
    pub(super) async fn salvage(&mut self, events: usize) -> Result<(Vec<Marked>, Place), Fault> {
        let (file, key, next) = (Arc::clone(&self.file), self.key.clone(), self.next);
        let read = spawn_blocking(move || read_frames(&file, &key, next, events, |_| false));
        let (frames, place, _) = read.await.map_err(Fault::internal)?;
        self.end = place;
        Ok((self.marked(frames), place))
    }

    fn marked(&self, frames: Vec<Frame>) -> Vec<Marked> {
        let mark = |(number, frame)| (format!("{}.{number}", self.name), frame);
        (self.next.frames..).zip(frames).map(mark).collect()
    }

    /// Takes note that everything before this place is replayed.
    pub(super) fn replayed(&mut self, place: Place) {
        self.next = place;
    }

    /// How many bytes are behind the last frame that could be read: a batch that was being written when the process
    /// died, or damage.
    ///
    /// # Errors
    /// The disk does not answer.
    pub(super) fn unread(&self) -> io::Result<u64> {
        let (mut last, mut offset, mut bytes) = (self.end.offset, self.end.offset, vec![0; STEP]);
        loop {
            let read = self.file.read_at(&mut bytes, offset)?;
            if read == 0 {
                return Ok(last - self.end.offset);
            }
            if let Some(place) = bytes[..read].iter().rposition(|byte| *byte != 0) {
                last = offset + place as u64 + 1;
            }
            offset += read as u64;
        }
    }

    /// Makes it empty, under another name: nothing of it is replayed any more.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(super) async fn clear(&mut self, name: Uuid) -> Result<(), Fault> {
        let (file, key, used) = (Arc::clone(&self.file), self.key.clone(), self.end.offset);
        let cleared = spawn_blocking(move || {
            write_zeros(&file, HEADER as u64, used)?;
            let start = write_header(&file, &key, name)?;
            file.sync_data()?;
            Ok::<_, io::Error>(start)
        });
        let start = cleared.await.map_err(Fault::internal)?.map_err(Fault::unavailable)?;
        (self.name, self.next, self.end) = (name, start, start);
        Ok(())
    }

    /// Removes the file.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Reads frames until there are so many events, the end, one of before the clock was set back, or one that cannot be read;
/// and says which, in that case.
fn read_frames(
    file: &File,
    key: &hmac::Key,
    from: Place,
    events: usize,
    is_end: impl Fn(Place) -> bool,
) -> (Vec<Frame>, Place, Option<String>) {
    let (mut frames, mut place, mut found) = (Vec::new(), from, 0);
    let mut newest: Option<Timestamp> = None;
    while found < events && !is_end(place) {
        match read_frame(file, key, place) {
            Ok((frame, behind)) => {
                let times = || frame.events.iter().map(Spooled::at);
                if newest > times().min().map(|earliest| earliest.plus(OVERTAKEN)) {
                    // It begins the next part, which has a chain of its own: in this one it would be recorded later than
                    // its identifiers say.
                    break;
                }
                newest = newest.max(times().max());
                found += frame.events.len().max(1);
                frames.push(frame);
                place = behind;
            }
            Err(problem) => return (frames, place, Some(problem.to_string())),
        }
    }
    (frames, place, None)
}

fn read_frame(file: &File, key: &hmac::Key, place: Place) -> io::Result<(Frame, Place)> {
    let mut length = [0; AROUND - SEAL];
    file.read_exact_at(&mut length, place.offset)?;
    let length = Frame::length(length) + AROUND;
    if place.offset + length as u64 > file.metadata()?.len() {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "a frame goes beyond its end"));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, place.offset)?;
    let (frame, seal) = Frame::read(&bytes, key, &place.seal)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a frame is not as it was written"))?;
    Ok((frame, Place { offset: place.offset + length as u64, frames: place.frames + 1, seal }))
}

fn write_header(file: &File, key: &hmac::Key, name: Uuid) -> io::Result<Place> {
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(name.as_bytes());
    let seal = seal(key, &[], &header);
    header.extend_from_slice(&seal);
    file.write_all_at(&header, 0)?;
    Ok(Place { offset: HEADER as u64, frames: 0, seal })
}

/// Takes the room on the disk, so that what is written later finds it whatever else fills the disk.
fn take_room(file: &File, size: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeros(file, 0, size),
        Err(error) => Err(error.into()),
    }
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let (zeros, mut at) = (vec![0; STEP], from);
    while at < to {
        let step = usize::try_from(to - at).map_or(STEP, |left| left.min(STEP));
        file.write_all_at(&zeros[..step], at)?;
        at += step as u64;
    }
    Ok(())
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
