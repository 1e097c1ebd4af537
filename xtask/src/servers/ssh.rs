//! SSH: OpenSSH's sshd with host keys, client keys and a configuration of its own. root logs in, by key only: the machine's users stay
//! as they are.

use super::private_dir;
use super::process::{Process, answers, free_port};
use anyhow::{Context, Result};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user that logs in.
pub(crate) const USER: &str = "root";
/// The directory of dumps in the jail.
pub(crate) const DUMPS: &str = "/dumps";
/// Where sshd wants an empty directory when it runs as root.
const SEPARATION: &str = "/run/sshd";

/// What the server lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// SFTP in a jail, nothing else.
    Sftp,
    /// Commands, no SFTP.
    Exec,
}

/// The kind of the client's key, and of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Ed25519,
    Ecdsa,
    Rsa,
    /// An ed25519 key that the server knows by a certificate only.
    Certificate,
}

impl Key {
    const fn kind(self) -> &'static str {
        match self {
            Self::Ed25519 | Self::Certificate => "ed25519",
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Ssh {
    /// Its port.
    pub(crate) port: u16,
    /// The directory of dumps, as clients name it.
    pub(crate) path: String,
    /// Where keys and dumps are.
    dir: PathBuf,
    jail: Option<Jail>,
    server: Option<Process>,
}

impl Ssh {
    /// Starts a server on one address of loopback. Its directory of dumps is `ssh/dumps` below `dir`, with [`Service::Sftp`]
    /// only after its end.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn start(dir: &Path, address: IpAddr, service: Service, key: Key) -> Result<Self> {
        let own = private_dir(dir, "ssh")?;
        make_key(key.kind(), &own.join("host"))?;
        make_key("ed25519", &own.join("other"))?;
        make_key(key.kind(), &own.join("client"))?;
        let jail = match service {
            Service::Sftp => Some(Jail::make(&own.join("dumps"))?),
            Service::Exec => {
                private_dir(&own, "dumps")?;
                None
            }
        };
        let port = free_port()?;
        let mut text = configuration(&own, address, port);
        text.push_str(&trust(&own, key)?);
        let path = match &jail {
            Some(jail) => {
                text.push_str(&jail.configuration());
                DUMPS.to_owned()
            }
            None => own.join("dumps").display().to_string(),
        };
        let config = own.join("sshd.conf");
        fs::write(&config, text).context("cannot write the configuration of sshd")?;
        fs::create_dir_all(SEPARATION).with_context(|| format!("sshd needs {SEPARATION}"))?;
        let mut command = Command::new("sshd");
        command.args(["-D", "-e", "-f"]).arg(&config);
        let mut server = Process::start("sshd", &command, &own.join("sshd.log"))?;
        server.wait_until(|| answers(SocketAddr::new(address, port)))?;
        Ok(Self {
            port,
            path,
            dir: own,
            jail,
            server: Some(server),
        })
    }

    /// The client's private key.
    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("client")
    }

    /// A private key that the server does not know.
    pub(crate) fn wrong_key(&self) -> PathBuf {
        self.dir.join("other")
    }

    /// The client's certificate, where it has one.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("client-cert.pub")
    }

    /// A `known_hosts` with the server's key, by the name that a guest has for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn known_hosts(&self, host: &str) -> Result<PathBuf> {
        self.pin((host, self.port), "known_hosts", "host")
    }

    /// The same for who gets there by another port.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn known_behind(&self, host: &str, port: u16) -> Result<PathBuf> {
        self.pin((host, port), "known_hosts", "host")
    }

    /// A `known_hosts` with another key.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn wrong_hosts(&self, host: &str) -> Result<PathBuf> {
        self.pin((host, self.port), "wrong_hosts", "other")
    }

    fn pin(&self, (host, port): (&str, u16), name: &str, key: &str) -> Result<PathBuf> {
        let key = read(&self.dir.join(key).with_extension("pub"))?;
        let text = format!("[{host}]:{port} {key}");
        let file = self.dir.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // Nobody may write while the jail is emptied.
        self.server = None;
        self.jail = None;
    }
}

/// A directory that sshd takes as the root of its sessions: only root may write it and all above it, which the lab need not give.
#[derive(Debug)]
struct Jail {
    root: PathBuf,
    /// Where what it holds is moved to in the end.
    dumps: PathBuf,
}

impl Jail {
    fn make(dumps: &Path) -> Result<Self> {
        let out = qemu::run_tool(
            Command::new("mktemp").args(["-d", "/run/baredump-lab.XXXXXX"]),
            &[0],
        )
        .context("sshd needs a directory below /run, for which xtask must be root")?;
        let jail = Self {
            root: PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()),
            dumps: dumps.to_path_buf(),
        };
        fs::set_permissions(&jail.root, fs::Permissions::from_mode(0o755))?;
        private_dir(&jail.root, DUMPS.trim_start_matches('/'))?;
        Ok(jail)
    }

    fn configuration(&self) -> String {
        format!(
            "Subsystem sftp internal-sftp\nChrootDirectory {}\nForceCommand internal-sftp\n",
            self.root.display()
        )
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        let from = self.root.join(DUMPS.trim_start_matches('/'));
        // A failure is seen by who looks for the dumps.
        let _ = qemu::run_tool(Command::new("mv").arg(from).arg(&self.dumps), &[0]);
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn configuration(own: &Path, address: IpAddr, port: u16) -> String {
    format!(
        "Port {port}
ListenAddress {address}
HostKey {}
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding no
X11Forwarding no
PrintMotd no
LogLevel VERBOSE
",
        own.join("host").display()
    )
}

/// The lines by which the server knows the client; a certificate is made for it.
fn trust(own: &Path, key: Key) -> Result<String> {
    let client = own.join("client.pub");
    if key != Key::Certificate {
        return Ok(format!("AuthorizedKeysFile {}\n", client.display()));
    }
    let authority = own.join("authority");
    make_key("ed25519", &authority)?;
    let mut command = Command::new("ssh-keygen");
    command.args([
        "-q",
        "-I",
        "guest",
        "-n",
        USER,
        "-V",
        "always:forever",
        "-s",
    ]);
    qemu::run_tool(command.arg(&authority).arg(&client), &[0])?;
    Ok(format!(
        "AuthorizedKeysFile none\nTrustedUserCAKeys {}\n",
        authority.with_extension("pub").display()
    ))
}

/// A key pair without a passphrase.
fn make_key(kind: &str, file: &Path) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", "", "-C", "lab", "-f"]);
    qemu::run_tool(command.arg(file), &[0])?;
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
