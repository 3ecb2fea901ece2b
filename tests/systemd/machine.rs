//! A container with systemd as process 1: booted, told what to do from a root shell, rebooted, killed when dropped.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::cgroup::Groups;
use crate::rootfs;
use crate::support::{Killed, scratch, shown, wait_until};

/// How long a boot, a command or a restart may take that takes seconds on an idle machine.
pub const LONG: Duration = Duration::from_secs(120);

/// In a mount namespace of its own, so that nothing is left behind however this process ends; its files lie in memory.
/// The first of its processes goes with us, and takes all others with it.
/// `$1` is a directory of ours, `$2` the files of the system, `$3` the name; the control groups follow.
const BOOT: &str = r#"
dir=$1 system=$2 name=$3
shift 3
for group; do echo 0 > "$group/cgroup.procs"; done
mount -t tmpfs -o mode=0755 none "$dir"
mkdir "$dir/changed" "$dir/work" "$dir/root"
mount -t overlay -o "lowerdir=$system,upperdir=$dir/changed,workdir=$dir/work" none "$dir/root"
# A machine has these system calls; a container only where it is told to.
# It ends with 133 where the system wants to be booted again.
ended=133
while test "$ended" = 133; do
    ended=0
    systemd-nspawn --quiet --register=no --keep-unit --private-network --boot \
        --system-call-filter="@memlock memfd_secret landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
        --console=pipe --machine="$name" --directory="$dir/root" || ended=$?
done
exit "$ended"
"#;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Machine {
    name: String,
    container: Child,
    /// Its process 1, as seen from here.
    leader: u32,
    scratch: TempDir,
    _groups: Groups,
}

impl Machine {
    /// A fresh system with a machine id of its own.
    pub fn boot() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kekring-{}-{number}", std::process::id());
        let (scratch, groups) = (scratch(), Groups::new(&name));
        let disk = scratch.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let console = File::create(scratch.path().join("console")).unwrap();
        let container = Command::new("setpriv")
            .args(["--pdeathsig=KILL", "unshare", "--mount", "--propagation=private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-euc", BOOT, "boot"])
            .arg(&disk)
            .arg(rootfs::path().unwrap())
            .arg(&name)
            .args(&groups.0)
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn();
        let mut machine = Self {
            name,
            container: container.unwrap(),
            leader: 0,
            scratch,
            _groups: groups,
        };
        machine.wait_for_boot(0);
        machine
    }

    /// Reboots, and returns when that is done.
    pub fn reboot(&mut self) {
        let before = self.leader;
        // It may be gone before it can say that this went well.
        let _ = self.sh("systemctl reboot");
        self.wait_for_boot(before);
    }

    /// Runs commands in a root shell, whatever becomes of them.
    pub fn sh(&self, commands: &str) -> Output {
        self.command(commands).output().unwrap()
    }

    /// Runs commands that must end well, and returns what they print.
    #[track_caller]
    pub fn must(&self, commands: &str) -> String {
        let output = self.sh(commands);
        assert!(output.status.success(), "{commands}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Polls until the commands end well.
    #[track_caller]
    pub fn wait_for(&self, commands: &str) {
        wait_until(commands, LONG, || self.sh(commands).status.success());
    }

    /// A property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.must(&format!("systemctl show --value --property={name} {unit}"))
    }

    /// The same, a number: microseconds, a process.
    #[track_caller]
    pub fn number(&self, unit: &str, name: &str) -> u64 {
        let value = self.property(unit, name);
        value
            .parse()
            .unwrap_or_else(|_| panic!("{unit}: {name} is {value:?}"))
    }

    /// Where a file of the machine's is, as seen from here.
    pub fn path(&self, path: &str) -> PathBuf {
        inside(self.leader, path)
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// A process that has a directory of the machine mounted at `/mnt` in a mount namespace of its own, as a container
    /// of a Pod has; the place of the mount as seen from here.
    pub fn pod(&self, directory: &str) -> (Killed, PathBuf) {
        let child = Command::new("nsenter")
            .arg(format!("--target={}", self.leader))
            .args([
                "--mount",
                "unshare",
                "--mount",
                "--propagation=private",
                "sh",
                "-euc",
            ])
            .arg(format!("mount --bind {directory} /mnt\nexec sleep infinity"))
            .stdin(Stdio::null())
            .spawn();
        let child = child.unwrap();
        let mount = inside(child.id(), "/mnt");
        let pod = Killed(child);
        wait_until("the Pod to have its mount", LONG, || {
            fs::read_dir(&mount).is_ok_and(|entries| entries.count() > 0)
                && fs::read_link(format!("/proc/{}/exe", pod.0.id()))
                    .is_ok_and(|program| program.ends_with("sleep"))
        });
        (pod, mount)
    }

    /// What a unit logged.
    pub fn journal(&self, unit: &str) -> String {
        let output = self.sh(&format!("journalctl --no-pager --output=cat --unit={unit}"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, commands: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", &LONG.as_secs().to_string(), "nsenter", "--all"])
            .arg(format!("--target={}", self.leader))
            .args(["env", "--ignore-environment", PATH, "HOME=/root", "TERM=dumb"])
            .args(["sh", "-euc", &format!("cd /src 2>/dev/null || cd /\n{commands}")])
            .stdin(Stdio::null());
        command
    }

    fn wait_for_boot(&mut self, before: u32) {
        wait_until("the machine to boot", LONG, || {
            let ended = self.container.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the container ended with {ended:?}:\n{}",
                self.console()
            );
            let Some(leader) = leader_of(self.container.id()).filter(|it| *it != before) else {
                return false;
            };
            self.leader = leader;
            let output = self.sh("systemctl is-system-running");
            let state = String::from_utf8_lossy(&output.stdout).into_owned();
            ["running", "degraded"].contains(&state.trim())
        });
    }

    fn console(&self) -> String {
        let text = fs::read(self.scratch.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said =
                self.sh("systemctl --no-pager status 'kekring*' kubelet; journalctl --no-pager | tail -n 60");
            eprintln!(
                "--- {}: console\n{}--- journal\n{}",
                self.name,
                self.console(),
                String::from_utf8_lossy(&said.stdout)
            );
        }
        // All that it has started ends with it.
        let _ = self.container.kill();
        let _ = self.container.wait();
    }
}

/// Below the shell that boots it, and systemd-nspawn: process 1 in a namespace of its own.
fn leader_of(container: u32) -> Option<u32> {
    let shell = child_of(container, |_| true)?;
    let nspawn = child_of(shell, |_| true)?;
    child_of(nspawn, |inner| inner.len() > 2 && inner.last() == Some(&"1"))
}

/// The first child whose numbers, one for each namespace, are like that.
fn child_of(parent: u32, wanted: impl Fn(&[&str]) -> bool) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.find(|number| {
        let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or("")
        };
        let inner: Vec<&str> = field("NSpid:").split_whitespace().collect();
        field("PPid:").trim() == parent.to_string() && wanted(&inner)
    })
}

fn inside(process: u32, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/root{path}"))
}
