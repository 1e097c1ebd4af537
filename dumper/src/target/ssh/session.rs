//! What the rest of the program sees: a login at a server, and directories of dumps there.

use super::client::Client;
use super::exec::ExecDir;
use super::fault::Fault;
use super::keys::Keys;
use super::path;
use super::sftp::{Sftp, SftpDir};
use crate::target::{Access, Kind, Place, SshWay, TargetError, TargetSpec};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Who logs in where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// User.
    pub user: String,
    /// Name or address of the server, as the target's URL has it: so it is looked for in `known_hosts`.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sftp://{}@", self.user)?;
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        match self.port {
            22 => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

/// How long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection and the login together.
    pub connect: Duration,
    /// For the server to take or send anything at all.
    pub stall: Duration,
    /// For the server to write to its disk what it took.
    pub last: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            last: Duration::from_secs(600),
        }
    }
}

/// A login at a server.
pub struct Session {
    client: Arc<Client>,
    login: Login,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.login)
    }
}

/// Connects to the first of `addresses` that answers, checks its host key and logs in.
///
/// # Errors
/// A sentence for each of: a key of ours that cannot be used, no connection, a host key that is not pinned, a key that is not
/// accepted, and a server that does not answer in time.
pub fn connect(
    login: &Login,
    addresses: &[SocketAddr],
    keys: &Keys,
    timeouts: Timeouts,
) -> Result<Session, TargetError> {
    let client = Client::connect(login, addresses, keys, timeouts);
    Ok(Session {
        client: Arc::new(client.map_err(|fault| fault.at(&login.to_string()))?),
        login: login.clone(),
    })
}

/// Connects to a target, with what the image holds for it. Gives its path and way too.
///
/// # Errors
/// See [`connect`]; also when the target is no SSH server.
pub fn reach<'a>(
    spec: &'a TargetSpec,
    addresses: &[SocketAddr],
    access: &Access,
) -> Result<(Session, &'a str, SshWay), TargetError> {
    let (
        Kind::Sftp {
            user, path, way, ..
        },
        Some((host, port)),
    ) = (&spec.kind, spec.server())
    else {
        let why = Fault::new(std::io::ErrorKind::InvalidInput, "is no SSH server");
        return Err(why.at(&spec.to_string()));
    };
    let cert = access.secrets.join("ssh_cert");
    let mut keys = Keys::read(
        &access.secrets.join("ssh_key"),
        cert.exists().then_some(cert.as_path()),
        &access.secrets.join("known_hosts"),
    )?;
    keys.built = crate::target::reached::built(&access.secrets);
    let login = Login {
        user: user.clone(),
        host,
        port,
    };
    let timeouts = Timeouts {
        connect: access.timeout,
        // Shorter than what PID 1 waits for, so that the error is ours and names the server.
        stall: access.patience / 4 * 3,
        last: access.last,
    };
    let session = connect(&login, addresses, &keys, timeouts)?;
    Ok((session, path, *way))
}

impl Session {
    /// Makes the directory of a dump below `dir`, as a target's URL has it: `name`, or `name-2`, … when that exists. Missing
    /// parts of `dir` are made too.
    ///
    /// # Errors
    /// When it cannot be made, or the server offers neither SFTP nor commands where `way` allows them.
    pub fn place(&self, dir: &str, name: &str, way: SshWay) -> Result<Box<dyn Place>, TargetError> {
        let dir = path::on_server(dir);
        self.any(way, |sftp, place| match sftp {
            Some(sftp) => Ok(Box::new(SftpDir::create(sftp, place, &dir, name)?)),
            None => Ok(Box::new(ExecDir::create(&self.client, place, &dir, name)?)),
        })
    }

    /// Opens the directory whose [`Place::path`] was `path`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(&self, path: &str, way: SshWay) -> Result<Box<dyn Place>, TargetError> {
        let path = path::on_server(path);
        self.any(way, |sftp, place| match sftp {
            Some(sftp) => Ok(Box::new(SftpDir::open(sftp, place, &path)?)),
            None => Ok(Box::new(ExecDir::open(&self.client, place, &path)?)),
        })
    }

    fn any(
        &self,
        way: SshWay,
        then: impl FnOnce(Option<Sftp>, String) -> Result<Box<dyn Place>, Fault>,
    ) -> Result<Box<dyn Place>, TargetError> {
        let place = self.login.to_string();
        let result = self.sftp(way).and_then(|sftp| then(sftp, place.clone()));
        result.map_err(|fault| fault.at(&place))
    }

    fn sftp(&self, way: SshWay) -> Result<Option<Sftp>, Fault> {
        if way == SshWay::Exec {
            return Ok(None);
        }
        match Sftp::open(&self.client)? {
            None if way == SshWay::Sftp => Err(Fault::new(
                std::io::ErrorKind::Unsupported,
                "the server has no SFTP: enable it there, or give the target way=exec",
            )),
            sftp => Ok(sftp),
        }
    }
}
