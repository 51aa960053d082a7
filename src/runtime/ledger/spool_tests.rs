use super::*;
use crate::domain::audit::{AuditEvent, Event, Origin};
use std::os::unix::fs::PermissionsExt;

const SIZE: u64 = 64 * 1_024;

fn key(byte: u8) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
}

fn frame(number: i64) -> Frame {
    let at = Timestamp::from_seconds(number);
    let event = AuditEvent { at, origin: Origin::default(), event: Event::EventsDropped { before: at } };
    Frame { tried: None, events: vec![Spooled::new(&event.write().unwrap(), &[])] }
}

fn create(directory: &Path, name: u128) -> Spool {
    Spool::create(directory, SIZE, key(1), Uuid::from_u128(name)).unwrap()
}

async fn all(spool: &mut Spool) -> Vec<Frame> {
    let mut found = Vec::new();
    loop {
        let (frames, place) = spool.salvage(2).await.unwrap();
        if frames.is_empty() {
            return found;
        }
        found.extend(frames.into_iter().map(|(_, frame)| frame));
        spool.replayed(place);
    }
}

#[tokio::test]
async fn what_a_process_has_left_is_read_by_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = create(directory.path(), 1);
    let path = spool.path().to_owned();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&path).unwrap().len(), SIZE, "the room is taken");
    for number in 0..5 {
        spool.append(&frame(number)).await.unwrap();
    }
    assert!(Spool::adopt(&path, key(1)).unwrap().is_none(), "its process lives");
    drop(spool);
    assert!(Spool::adopt(&path, key(2)).is_err(), "another installation's");
    let mut left = Spool::adopt(&path, key(1)).unwrap().unwrap();
    assert_eq!(all(&mut left).await, (0..5).map(frame).collect::<Vec<_>>());
    assert_eq!(left.unread().unwrap(), 0);
    left.remove().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_batch_that_was_torn_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = create(directory.path(), 1);
    for number in 0..3 {
        spool.append(&frame(number)).await.unwrap();
    }
    let (path, torn) = (spool.path().to_owned(), spool.end.offset);
    spool.append(&frame(3)).await.unwrap();
    spool.append(&frame(4)).await.unwrap();
    // The last bytes of the fourth have not reached the disk.
    spool.file.write_all_at(&[0; 9], torn + 40).unwrap();
    let end = spool.end.offset;
    drop(spool);
    let mut left = Spool::adopt(&path, key(1)).unwrap().unwrap();
    assert_eq!(all(&mut left).await, (0..3).map(frame).collect::<Vec<_>>());
    assert_eq!(left.unread().unwrap(), end - torn, "what is behind it is told");
}

#[tokio::test]
async fn what_is_replayed_is_gone_and_what_stood_there_before_is_no_event() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = create(directory.path(), 1);
    // Frames of one length, so that one fits where another was.
    spool.append(&frame(5)).await.unwrap();
    spool.append(&frame(6)).await.unwrap();
    let (frames, place) = spool.peek(100).await.unwrap();
    assert_eq!(frames.iter().map(|(mark, _)| &mark[36..]).collect::<Vec<_>>(), [".0", ".1"]);
    spool.replayed(place);
    assert!(spool.is_empty());
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let mut old = vec![0; at(SIZE)];
    spool.file.read_exact_at(&mut old, 0).unwrap();
    spool.clear(Uuid::from_u128(2)).await.unwrap();
    spool.append(&frame(7)).await.unwrap();
    // Somebody puts the old second frame behind the new first one.
    let end = at(spool.end.offset);
    let (first, second) = (HEADER..end, end..at(place.offset));
    assert_eq!(first.len(), second.len());
    spool.file.write_all_at(&old[second], spool.end.offset).unwrap();
    let path = spool.path().to_owned();
    drop(spool);
    let mut left = Spool::adopt(&path, key(1)).unwrap().unwrap();
    assert_eq!(all(&mut left).await, [frame(7)]);
}

#[tokio::test]
async fn it_has_an_end_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = create(directory.path(), 1);
    let mut kept = 0;
    let fault = loop {
        match spool.append(&frame(kept)).await {
            Ok(()) => kept += 1,
            Err(fault) => break fault,
        }
    };
    assert!(kept > 100 && fault.to_string().contains("outage.max_size"), "{kept}: {fault}");
    assert!(spool.end.offset <= SIZE);
    let (frames, place) = spool.peek(usize::MAX).await.unwrap();
    assert_eq!((frames.len(), place), (usize::try_from(kept).unwrap(), spool.end));
}

/// What was issued then is found by the time in its identifier, so it is not recorded behind what is of later.
#[tokio::test]
async fn where_the_clock_was_set_back_another_part_begins() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = create(directory.path(), 1);
    for second in [5, 100, 99, 50, 51, 49] {
        spool.append(&frame(second)).await.unwrap();
    }
    for part in [&[5, 100, 99][..], &[50, 51], &[49]] {
        let (frames, place) = spool.peek(100).await.unwrap();
        let frames: Vec<_> = frames.into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(frames, part.iter().copied().map(frame).collect::<Vec<_>>());
        spool.replayed(place);
    }
    assert!(spool.is_empty());
}
