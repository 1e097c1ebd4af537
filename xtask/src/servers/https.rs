//! HTTPS: nginx, which takes PUT into a directory, with a certificate of an authority of its own.

use super::authority::Identity;
use super::private_dir;
use super::process::{Process, answers, free_port};
use anyhow::{Context, Result};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running server.
#[derive(Debug)]
pub(crate) struct Https {
    /// Its port.
    pub(crate) port: u16,
    /// What is uploaded.
    pub(crate) dir: PathBuf,
    /// Its certificate and its authority's.
    pub(crate) identity: Identity,
    _server: Process,
}

impl Https {
    /// Starts a server; what is uploaded is in `https/files` below `dir`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        Self::with(dir, "dav_access user:rw;")
    }

    /// The same for a server that lets nobody look at what is there.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn put_only(dir: &Path) -> Result<Self> {
        let rule = "dav_access user:rw;\n      limit_except PUT MOVE DELETE { deny all; }";
        Self::with(dir, rule)
    }

    fn with(dir: &Path, rule: &str) -> Result<Self> {
        let (own, files) = (private_dir(dir, "https")?, private_dir(dir, "https/files")?);
        let identity = Identity::make(&own)?;
        let port = free_port()?;
        let config = own.join("nginx.conf");
        fs::write(&config, configuration(&own, port, &files, &identity, rule))
            .context("cannot write the configuration of nginx")?;
        let mut command = Command::new("nginx");
        command.arg("-e").arg("stderr").arg("-c").arg(&config);
        let mut server = Process::start("nginx", &command, &own.join("nginx.log"))?;
        server.wait_until(|| answers(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))?;
        Ok(Self {
            port,
            dir: files,
            identity,
            _server: server,
        })
    }
}

fn configuration(own: &Path, port: u16, files: &Path, identity: &Identity, rule: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path {}/{name};\n", own.display()))
        .collect();
    // Its worker must be who owns the files.
    let user = if crate::setup::is_root() {
        "user root;\n"
    } else {
        ""
    };
    format!(
        "daemon off;
{user}worker_processes 1;
pid {own}/pid;
error_log stderr;
events {{}}
http {{
{temporary}  access_log {own}/access.log;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    root {files};
    location / {{
      dav_methods PUT DELETE MOVE;
      {rule}
      create_full_put_path on;
    }}
  }}
}}
",
        own = own.display(),
        certificate = identity.certificate.display(),
        key = identity.key.display(),
        files = files.display(),
    )
}
