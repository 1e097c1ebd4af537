//! syslog: rsyslogd, over UDP, and over TCP with octet counting.

use super::private_dir;
use super::process::{Process, answers, free_port};
use anyhow::{Context, Result};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running server.
#[derive(Debug)]
pub(crate) struct Syslog {
    /// Its port, the same for both.
    pub(crate) port: u16,
    /// What it got, one line each: `imudp` or `imtcp`, severity, host, program, and the message as it came.
    pub(crate) messages: PathBuf,
    _server: Process,
}

impl Syslog {
    /// Starts a server; what it gets is in `syslog/messages` below `dir`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let own = private_dir(dir, "syslog")?;
        let (port, messages) = (free_port()?, own.join("messages"));
        let config = own.join("rsyslog.conf");
        fs::write(&config, configuration(&own, port, &messages))
            .context("cannot write the configuration of rsyslogd")?;
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(&config);
        command.arg("-i").arg(own.join("pid"));
        let mut server = Process::start("rsyslogd", &command, &own.join("rsyslogd.log"))?;
        server.wait_until(|| answers(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))?;
        Ok(Self {
            port,
            messages,
            _server: server,
        })
    }
}

fn configuration(own: &Path, port: u16, messages: &Path) -> String {
    format!(
        "global(workDirectory=\"{}\")
module(load=\"imudp\")
module(load=\"imtcp\")
input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")
input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")
template(name=\"seen\" type=\"string\" string=\"%inputname% %syslogseverity-text% %hostname% %app-name% %rawmsg%\\n\")
action(type=\"omfile\" file=\"{}\" template=\"seen\")
",
        own.display(),
        messages.display()
    )
}
