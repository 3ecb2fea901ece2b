//! How many descriptors a server has open.
//!
//! It cannot be dumped, so that only root may list them. Everybody may ask how large the list is: `needs(descriptor_counts)`.

use std::fs;

use rustix::process::Pid;

pub(crate) fn open_files(pid: Pid) -> u64 {
    let list = format!("/proc/{}/fd", pid.as_raw_nonzero());
    match fs::read_dir(&list) {
        Ok(entries) => u64::try_from(entries.count()).unwrap(),
        Err(_) => fs::metadata(&list).unwrap().len(),
    }
}
