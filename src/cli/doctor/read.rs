//! Reading what an operator wrote: whole, bounded, and never from what could hold us up.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::finding::Findings;

/// Longest file that is read, in bytes: kube-apiserver's own are far below.
const MAX_FILE: u32 = 1 << 20;

/// Why it is not read.
pub(super) struct Unread {
    pub(super) why: String,
    /// It may be well: this user may not look.
    pub(super) denied: bool,
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self { why, denied: false }
    }
}

impl From<io::Error> for Unread {
    fn from(why: io::Error) -> Self {
        Self {
            denied: why.kind() == ErrorKind::PermissionDenied,
            why: why.to_string(),
        }
    }
}

impl Unread {
    /// A failure; skipped where another user may look.
    pub(super) fn report(
        &self,
        id: &'static str,
        path: &Path,
        what: &str,
        remedy: &str,
        findings: &mut Findings,
    ) {
        let message = format!("cannot read {what}: {}", self.why);
        match self.denied {
            true => findings.skipped(id, path.display(), message, "run it as root"),
            false => findings.failure(id, path.display(), message, remedy),
        }
    }
}

/// The text of a regular file and what is known of the file; else why not.
pub(super) fn text(path: &Path) -> Result<(Zeroizing<String>, Metadata), Unread> {
    let file = File::options()
        .read(true)
        // A FIFO must not hold us up.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err("it is not a regular file".to_owned().into());
    }
    // It may hold keys. The room is there from the start, so that the buffer does not move and leave a copy behind.
    let length = usize::try_from(about.len().min(MAX_FILE.into())).unwrap_or_default();
    let mut bytes = Zeroizing::new(String::with_capacity(length + 1));
    file.take(u64::from(MAX_FILE) + 1).read_to_string(&mut bytes)?;
    if bytes.len() > usize::try_from(MAX_FILE).unwrap_or(usize::MAX) {
        return Err(format!("it is longer than {MAX_FILE} bytes").into());
    }
    Ok((bytes, about))
}
