//! A file system of its own on a loop device: it can lose its power, fill up, become read-only and be away.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::support::{scratch, shown};

/// What lies on the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Ordered,
    Writeback,
    Xfs,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ordered => "ext4, data=ordered",
            Self::Writeback => "ext4, data=writeback",
            Self::Xfs => "xfs",
        }
    }

    /// The smallest that mkfs makes, roughly; the files have holes.
    fn size(self) -> u64 {
        match self {
            Self::Ordered | Self::Writeback => 24 << 20,
            Self::Xfs => 320 << 20,
        }
    }

    fn mkfs(self) -> &'static [&'static str] {
        match self {
            Self::Ordered | Self::Writeback => &["mkfs.ext4", "-q", "-F", "-m", "0"],
            Self::Xfs => &["mkfs.xfs", "-q", "-f"],
        }
    }

    fn options(self) -> &'static str {
        match self {
            Self::Ordered => "loop,data=ordered",
            Self::Writeback => "loop,data=writeback",
            Self::Xfs => "loop",
        }
    }
}

/// A mounted file system; unmounted and removed when dropped.
pub struct Disk {
    kind: Kind,
    image: PathBuf,
    /// Where it is mounted.
    pub at: PathBuf,
    mounted: bool,
    _removed_at_the_end: TempDir,
}

impl Disk {
    pub fn new(kind: Kind) -> Self {
        let scratch = scratch();
        let (image, at) = (scratch.path().join("image"), scratch.path().join("at"));
        File::create(&image).unwrap().set_len(kind.size()).unwrap();
        fs::create_dir(&at).unwrap();
        run(kind.mkfs(), &[&image]);
        let mut disk = Self {
            kind,
            image,
            at,
            mounted: false,
            _removed_at_the_end: scratch,
        };
        disk.mount();
        disk
    }

    pub fn mount(&mut self) {
        run(&["mount", "-o", self.kind.options()], &[&self.image, &self.at]);
        self.mounted = true;
    }

    pub fn unmount(&mut self) {
        run(&["umount"], &[&self.at]);
        self.mounted = false;
    }

    /// The same while somebody may look into it.
    pub fn unmount_busy(&mut self) {
        run(&["umount", "-l"], &[&self.at]);
        self.mounted = false;
    }

    pub fn remount(&self, option: &str) {
        run(&["mount", "-o", &format!("remount,{option}")], &[&self.at]);
    }

    /// Fills it to its last byte; dropping what is returned frees it again.
    pub fn fill(&self) -> Filler {
        let filler = Filler(self.at.join("filler"));
        let mut file = File::create(&filler.0).unwrap();
        let mut block = vec![7; 1 << 20];
        while !block.is_empty() {
            match file.write_all(&block).and_then(|()| file.sync_data()) {
                Ok(()) => {}
                Err(why) if why.kind() == ErrorKind::StorageFull => block.truncate(block.len() / 2),
                Err(why) => panic!("{why}"),
            }
        }
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        }
    }
}

pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn run(command: &[&str], paths: &[&Path]) {
    let output = Command::new(command[0])
        .args(&command[1..])
        .args(paths)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command:?} {paths:?}: {}",
        shown(&output)
    );
}

/// Cuts the power of a file system: from now on nothing reaches its device, and its log is not flushed before.
pub struct Power {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// `FS_IOC_SHUTDOWN` with `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`. It runs before it is needed: the moment is ours.
const CUTTER: &str = "import fcntl, os, struct, sys
for line in sys.stdin:
    descriptor = os.open(line.rstrip('\\n'), os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, 0x8004587d, struct.pack('I', 2))
    finally:
        os.close(descriptor)
    print('cut', flush=True)
";

impl Power {
    pub fn new() -> Self {
        let mut child = Command::new("python3")
            .args(["-c", CUTTER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            orders,
            answers,
        }
    }

    pub fn cut(&mut self, disk: &Disk) {
        writeln!(self.orders, "{}", disk.at.display()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "cut\n", "the power of {} stays", disk.kind.name());
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
