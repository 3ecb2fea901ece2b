//! Faults by number: which file-related calls a verb makes, and one run of it with a fault in one of them.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use crate::support::{KEKRING, Plugin, from_nowhere, shown};

/// Every call on files that a verb makes; what only a debug build of the standard library asks is not among them.
const CALLS: &str = "openat,read,write,fsync,fdatasync,link,linkat,unlink,unlinkat,rename,renameat,renameat2,mkdir,\
    mkdirat,rmdir,chmod,fchmod,fchmodat,chown,fchown,fchownat,flock,statx,newfstatat,fstat,getdents64,close,lseek,\
    ftruncate,fallocate,statfs,fstatfs,readlink,readlinkat,utimensat";
/// Calls that need space.
const GROWING: [&str; 9] = [
    "openat", "write", "fsync", "link", "linkat", "rename", "renameat", "mkdir", "mkdirat",
];

/// What happens to one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The process is gone before the call is made.
    Killed,
    /// The device fails.
    Io,
    /// The device is full.
    Full,
    /// One byte is said to be written, and none is.
    Short,
}

pub const FAULTS: [Fault; 4] = [Fault::Killed, Fault::Io, Fault::Full, Fault::Short];

impl Fault {
    fn expression(self) -> &'static str {
        match self {
            Self::Killed => "signal=SIGKILL",
            Self::Io => "error=EIO",
            Self::Full => "error=ENOSPC",
            Self::Short => "retval=1",
        }
    }

    /// Whether a call can meet it.
    fn meets(self, call: &str) -> bool {
        match self {
            Self::Killed | Self::Io => true,
            Self::Full => GROWING.contains(&call),
            Self::Short => call == "write",
        }
    }
}

/// The `number`-th call of one name.
#[derive(Clone, Debug)]
pub struct Point {
    pub call: String,
    pub number: u32,
}

/// Every point of a verb at which a fault is possible. The loader's own calls, before the configuration is opened, are none.
pub fn points(plugin: &Plugin, args: &[String]) -> Vec<Point> {
    let output = run(plugin, args, &format!("trace={CALLS}"), None);
    assert!(output.status.success(), "{args:?}: {}", shown(&output));
    let log = fs::read_to_string(plugin.dir.join("strace.log")).unwrap();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut points, mut begun, mut first) = (Vec::new(), false, None);
    for line in log.lines() {
        let Some((process, rest)) = line.split_once(' ') else {
            continue;
        };
        let Some((call, arguments)) = rest.trim_start().split_once('(') else {
            continue;
        };
        // strace counts for each thread; the verb's own is the one that does everything.
        // Where another thread came between, a call's end has a line of its own.
        if *first.get_or_insert(process) != process || call.starts_with('<') {
            continue;
        }
        let number = counts.entry(call).or_default();
        *number += 1;
        begun = begun || arguments.contains(&*plugin.dir.to_string_lossy());
        if begun {
            points.push(Point {
                call: call.to_owned(),
                number: *number,
            });
        }
    }
    points
}

/// Those of them that one fault can meet.
pub fn meeting(points: &[Point], fault: Fault) -> Vec<Point> {
    points
        .iter()
        .filter(|it| fault.meets(&it.call))
        .cloned()
        .collect()
}

/// Runs a verb with one fault; `None` where it was not reached.
pub fn with_fault(plugin: &Plugin, args: &[String], point: &Point, fault: Fault) -> Option<Output> {
    let trace = format!("trace={}", point.call);
    let inject = format!(
        "inject={}:{}:when={}",
        point.call,
        fault.expression(),
        point.number
    );
    let output = run(plugin, args, &trace, Some(&inject));
    let log = fs::read_to_string(plugin.dir.join("strace.log")).unwrap();
    let killed = log.contains("killed by SIGKILL");
    assert_eq!(killed, fault == Fault::Killed && killed, "{}", shown(&output));
    (killed || log.contains("(INJECTED)")).then_some(output)
}

fn run(plugin: &Plugin, args: &[String], trace: &str, inject: Option<&str>) -> Output {
    let mut command = Command::new("strace");
    from_nowhere(&mut command);
    let log = plugin.dir.join("strace.log");
    command.args(["-f", "-o"]).arg(log).args(["-e", trace]);
    if let Some(inject) = inject {
        command.args(["-e", inject]);
    }
    command.arg(KEKRING).args(args).output().unwrap()
}
