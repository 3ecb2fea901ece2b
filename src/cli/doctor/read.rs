//! Reading what an operator wrote: whole, bounded, and never from what could hold us up.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

/// Longest file that is read, in bytes: kube-apiserver's own are far below.
const MAX_FILE: u32 = 1 << 20;

/// The text of a regular file and what is known of the file; else why not.
pub(super) fn text(path: &Path) -> Result<(Zeroizing<String>, Metadata), String> {
    let file = File::options()
        .read(true)
        // A FIFO must not hold us up.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|why| why.to_string())?;
    let about = file.metadata().map_err(|why| why.to_string())?;
    if !about.is_file() {
        return Err("it is not a regular file".into());
    }
    // It may hold keys. The room is there from the start, so that the buffer does not move and leave a copy behind.
    let length = usize::try_from(about.len().min(MAX_FILE.into())).unwrap_or_default();
    let mut bytes = Zeroizing::new(String::with_capacity(length + 1));
    file.take(u64::from(MAX_FILE) + 1)
        .read_to_string(&mut bytes)
        .map_err(|why| why.to_string())?;
    if bytes.len() > usize::try_from(MAX_FILE).unwrap_or(usize::MAX) {
        return Err(format!("it is longer than {MAX_FILE} bytes"));
    }
    Ok((bytes, about))
}
