//! A TPM of its own for each trial.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::port::free_port;
use crate::support::{Killed, PATIENCE, from_nowhere, wait_until};

/// The measurement that a credential is bound to here.
const PCR: u8 = 7;
/// How programs reach the resource manager.
const DEVICE: &str = "tabrmd:bus_type=session";

pub struct Tpm {
    bus: PathBuf,
    // In the order in which they end.
    _manager: Killed,
    _bus: Killed,
    _chip: Killed,
}

impl Tpm {
    /// Everything of it lies in `dir`. Its firmware has measured something.
    pub fn start(dir: &Path) -> Self {
        let state = dir.join("tpm");
        fs::create_dir(&state).unwrap();
        let (server, control) = two_ports();
        let at = |port: u16| format!("type=tcp,bindaddr=127.0.0.1,port={port}");
        let chip = started(Command::new("swtpm").args([
            "socket",
            "--tpm2",
            "--flags=not-need-init",
            &format!("--tpmstate=dir={}", state.display()),
            &format!("--server={}", at(server)),
            &format!("--ctrl={}", at(control)),
        ]));
        // The server's port takes one connection; the other tells that both are there.
        wait_until("swtpm to listen", PATIENCE, || {
            TcpStream::connect(("127.0.0.1", control)).is_ok()
        });
        let bus = dir.join("bus");
        let configuration = dir.join("bus.conf");
        fs::write(&configuration, bus_configuration(&bus)).unwrap();
        let mut daemon = Command::new("dbus-daemon");
        daemon
            .arg("--nofork")
            .arg(format!("--config-file={}", configuration.display()));
        let daemon = started(&mut daemon);
        wait_until("the bus", PATIENCE, || bus.exists());
        let mut manager = Command::new("tpm2-abrmd");
        manager.args(["--session", "--allow-root"]);
        manager.arg(format!("--tcti=swtpm:host=127.0.0.1,port={server}"));
        let manager = started(reach(&mut manager, &bus));
        let tpm = Self {
            bus,
            _manager: manager,
            _bus: daemon,
            _chip: chip,
        };
        wait_until("the resource manager", PATIENCE, || tpm.extended());
        tpm
    }

    /// For a program that asks the TPM.
    pub fn reached_by<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        reach(command, &self.bus)
    }

    /// The machine started with something else than before.
    pub fn measure_something_else(&self) {
        assert!(self.extended(), "tpm2_pcrextend fails");
    }

    fn extended(&self) -> bool {
        let mut extend = Command::new("tpm2_pcrextend");
        extend.arg(format!("{PCR}:sha256={}", "11".repeat(32)));
        let extend = self.reached_by(&mut extend).env("TPM2TOOLS_TCTI", DEVICE);
        extend.output().unwrap().status.success()
    }

    /// A credential of 32 random bytes that opens while nothing else is measured.
    pub fn seal(&self, name: &str, to: &Path) {
        let plain = kekring::crypto::random::<32>().unwrap();
        let file = to.with_extension("plain");
        fs::write(&file, plain).unwrap();
        let mut encrypt = Command::new("systemd-creds");
        encrypt.args(["encrypt", "--with-key=tpm2", &format!("--tpm2-pcrs={PCR}")]);
        encrypt.arg(format!("--name={name}")).arg(&file).arg(to);
        let output = self.reached_by(&mut encrypt).output().unwrap();
        fs::remove_file(&file).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !said.contains("PCR policy effectively unenforced"),
            "{said}"
        );
    }
}

/// The control's port follows that of the commands: who connects to the one takes that for granted.
fn two_ports() -> (u16, u16) {
    loop {
        let (first, second) = (free_port(), free_port());
        if second == first + 1 {
            return (first, second);
        }
    }
}

fn reach<'a>(command: &'a mut Command, bus: &Path) -> &'a mut Command {
    command
        .env("SYSTEMD_TPM2_DEVICE", DEVICE)
        .env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", bus.display()))
}

fn started(command: &mut Command) -> Killed {
    from_nowhere(command);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Killed(child.unwrap())
}

fn bus_configuration(socket: &Path) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
"#,
        socket.display()
    )
}
