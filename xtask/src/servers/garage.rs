//! S3: garage, a distributed object store, with one node; built once into the lab. It keeps objects in blocks of its own: what it was
//! sent is fetched from it.

use super::process::{Process, answers, free_port};
use super::tool::{Crate, installed};
use super::{private_dir, s3};
use crate::lab::Lab;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

const GARAGE: Crate = Crate {
    name: "garage",
    version: "2.5.0",
    options: &["--no-default-features", "--features", "bundled-libs,sqlite"],
};
/// The access key, in its form.
const ACCESS: &str = "GK31c2f218a2e44f485b94239e";
/// The secret key, in its form.
const SECRET: &str = "7d37d093435a41f2aab8f13c19ba067d9776c90215f56614adad6ece597dbb34";
const BUCKET: &str = "dumps";
/// A region that is nobody's default.
const REGION: &str = "garage";

/// A running server.
#[derive(Debug)]
pub(crate) struct Garage {
    port: u16,
    _server: Process,
}

impl Garage {
    /// Starts a server whose objects are in `s3` below `dir`; those of an earlier one are still there.
    ///
    /// # Errors
    /// When it cannot be built or is not ready in time.
    pub(crate) fn start(lab: &Lab, dir: &Path) -> Result<Self> {
        let program = installed(lab, &GARAGE)?;
        let own = private_dir(dir, "s3")?;
        let (port, rpc) = (free_port()?, free_port()?);
        let file = own.join("garage.toml");
        let text = format!(
            "metadata_dir = {:?}\ndata_dir = {:?}\ndb_engine = \"sqlite\"\nreplication_factor = 1\n\
             rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{SECRET}\"\n\
             [s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"127.0.0.1:{port}\"\n",
            private_dir(&own, "meta")?,
            private_dir(&own, "data")?,
        );
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new(&program);
        command.arg("-c").arg(&file);
        command.args(["server", "--single-node", "--default-bucket"]);
        command.env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS);
        command.env("GARAGE_DEFAULT_SECRET_KEY", SECRET);
        command.env("GARAGE_DEFAULT_BUCKET", BUCKET);
        let mut server = Process::start("garage", &command, &own.join("garage.log"))?;
        let listens = || answers(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        server.wait_until(listens)?;
        let garage = Self {
            port,
            _server: server,
        };
        garage.list().context("the bucket is not there")?;
        Ok(garage)
    }

    /// The target as a guest names it, and its keys as a file below `dir`.
    pub(crate) fn target(&self, host: &str, dir: &Path) -> Result<(String, PathBuf)> {
        let file = s3::credentials(dir, ACCESS, SECRET)?;
        let port = self.port;
        let target = format!("s3://{BUCKET}/crash?endpoint=http://{host}:{port}&region={REGION}");
        Ok((target, file))
    }

    /// Fetches all objects to `dir`.
    ///
    /// # Errors
    /// When there are none, or one is not to be had.
    pub(crate) fn fetch(&self, dir: &Path) -> Result<()> {
        let keys = self.list()?;
        ensure!(!keys.is_empty(), "the bucket is empty");
        for key in keys {
            let file = dir.join(key.trim_start_matches("crash/"));
            fs::create_dir_all(file.parent().context("an object without a name")?)?;
            fs::write(&file, self.get(&key)?)?;
        }
        Ok(())
    }

    /// The keys of the bucket.
    fn list(&self) -> Result<Vec<String>> {
        let reply = self.get("?list-type=2")?;
        let reply = String::from_utf8(reply).context("the list is no text")?;
        let keys = reply.split("<Key>").skip(1);
        let keys = keys.filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()));
        Ok(keys.collect())
    }

    fn get(&self, what: &str) -> Result<Vec<u8>> {
        let url = format!("http://127.0.0.1:{}/{BUCKET}/{what}", self.port);
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail"]);
        command.args(["--aws-sigv4", &format!("aws:amz:{REGION}:s3")]);
        command.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        command.args(["--user", &format!("{ACCESS}:{SECRET}"), &url]);
        Ok(qemu::run_tool(&mut command, &[0])?.stdout)
    }
}
