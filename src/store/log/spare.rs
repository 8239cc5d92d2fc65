//! Creates segments ahead of need, on a thread of its own: filling one with zeros takes longer than
//! a commit may.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::segments::SegmentSize;
use crate::store::disk::Disk;
use crate::store::error::StoreError;

/// How much is written at once when a segment is filled with zeros.
const ZEROS: usize = 1024 * 1024;

/// Creates the segment `number` in `directory`, durably. It gets its name only when it is filled, so
/// a segment that has its name has its whole length.
pub(super) fn create_segment(
    disk: &dyn Disk,
    directory: &Path,
    number: u32,
    size: SegmentSize,
) -> Result<(), StoreError> {
    let path = directory.join(number.to_string());
    let new = directory.join(format!("{number}.new"));
    let zeros = vec![0; ZEROS.min(size.bytes())];
    let created = disk.create(&new).and_then(|file| {
        let mut offset = 0;
        while offset < size.bytes() {
            let len = zeros.len().min(size.bytes() - offset);
            file.write_at(&zeros[..len], offset as u64)?;
            offset += len;
        }
        file.sync()?;
        disk.rename(&new, &path)?;
        disk.sync_directory(directory)
    });
    created.map_err(|error| {
        // Give the room back; the error that counts is the first one.
        let _ = disk.remove(&new);
        StoreError::io(&path, "create")(error)
    })
}

/// Creates segments for a log.
#[derive(Debug)]
pub(super) struct SpareSegments {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    size: SegmentSize,
    /// The number of the next new segment.
    next: u32,
    /// The thread that creates segments ahead of need; `None` if they are created when needed.
    background: Option<Background>,
}

impl SpareSegments {
    /// Starts with the segment `next`. Creates segments ahead of need if `ahead`.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        size: SegmentSize,
        next: u32,
        ahead: bool,
    ) -> Result<Self, StoreError> {
        let background = match ahead {
            true => Some(Background::start(Arc::clone(&disk), &directory, size)?),
            false => None,
        };
        Ok(Self {
            disk,
            directory,
            size,
            next,
            background,
        })
    }

    /// Has the next segment created ahead of need, if there is not one already.
    pub(super) fn prepare(&mut self) {
        if let Some(background) = &mut self.background {
            background.request(self.next);
        }
    }

    /// Returns the number of a new segment, once it is created.
    ///
    /// # Errors
    ///
    /// It cannot be created: the disk is full, for example.
    pub(super) fn take(&mut self) -> Result<u32, StoreError> {
        let number = self.next;
        self.next += 1;
        match &mut self.background {
            Some(background) => {
                background.request(number);
                background.wait()?;
            }
            None => create_segment(&*self.disk, &self.directory, number, self.size)?,
        }
        Ok(number)
    }
}

/// A thread that creates segments. Dropping it waits until the thread has ended.
#[derive(Debug)]
struct Background {
    /// Whether a segment was requested that was not waited for yet.
    requested: bool,
    requests: Option<Sender<u32>>,
    created: Receiver<Result<(), StoreError>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn start(disk: Arc<dyn Disk>, directory: &Path, size: SegmentSize) -> Result<Self, StoreError> {
        let (requests, requested) = unbounded();
        let (sender, created) = unbounded();
        let path = directory.to_owned();
        let create = move || {
            for number in requested {
                let result = create_segment(&*disk, &path, number, size);
                if sender.send(result).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("log segments".to_owned());
        let thread = thread.spawn(create).map_err(StoreError::io(
            directory,
            "start a thread that creates segments in",
        ))?;
        Ok(Self {
            requested: false,
            requests: Some(requests),
            created,
            thread: Some(thread),
        })
    }

    fn request(&mut self, number: u32) {
        if !self.requested
            && let Some(requests) = &self.requests
        {
            self.requested = requests.send(number).is_ok();
        }
    }

    fn wait(&mut self) -> Result<(), StoreError> {
        self.requested = false;
        // The thread only ends early if it panicked.
        self.created.recv().unwrap_or(Err(StoreError::Failed))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported as a segment that could not be created.
            let _ = thread.join();
        }
    }
}
