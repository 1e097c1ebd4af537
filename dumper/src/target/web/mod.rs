//! Targets that are reached with HTTP: objects in an S3 bucket ([`s3`], or [`presigned`] without keys), files put on a server ([`put`]).
//!
//! HTTP/1.1 (RFC 9112) over TCP or TLS is spoken here, as much of it as an upload needs: one request at a time, replies of at most
//! 64 KiB, a deadline for every wait, and the addresses that the network step has found. Host names are sent to the server and
//! looked for in its certificate, never resolved.

mod client;
mod clock;
mod connection;
mod failure;
#[cfg(test)]
mod fake;
mod names;
mod piece;
mod presigned;
mod put;
mod remarks;
mod reply;
mod retry;
mod s3;
mod stream;
mod tls;

use super::file::TargetError;
use super::place::Place;
use super::reached::Access;
use super::spec::{Kind, TargetSpec};
use client::Client;
use connection::Server;
use presigned::PresignedPlace;
use put::PutPlace;
use s3::{S3Place, Where};
use std::net::SocketAddr;
use std::time::Duration;

pub use presigned::{
    Ends, LONGEST, Presigned, Wish, check as check_presigned, ends as presigned_end,
    make as presign,
};

/// The shortest wait for a server, and the longest for its next bytes.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

/// Makes the directory of a dump on a server of this kind: `name`, or `name-2`, … when that exists.
///
/// # Errors
/// When the server or its certificate is not as it should be, or it lets nothing be put there.
pub fn create(
    spec: &TargetSpec,
    addresses: &[SocketAddr],
    access: &Access,
    name: &str,
) -> Result<Box<dyn Place>, TargetError> {
    match &spec.kind {
        Kind::S3 { .. } if is_presigned(access) => {
            Ok(Box::new(presigned(spec, addresses, access)?))
        }
        Kind::S3 { prefix, .. } => {
            let place = bucket(spec, addresses, access, prefix)?;
            Ok(Box::new(place.create(prefix, name)?))
        }
        _ => Ok(Box::new(files(spec, addresses, access)?.create(name)?)),
    }
}

/// Opens the directory that had this path.
///
/// # Errors
/// As [`create`].
pub fn open(
    spec: &TargetSpec,
    addresses: &[SocketAddr],
    access: &Access,
    path: &str,
) -> Result<Box<dyn Place>, TargetError> {
    match &spec.kind {
        Kind::S3 { .. } if is_presigned(access) => {
            Ok(Box::new(presigned(spec, addresses, access)?))
        }
        Kind::S3 { .. } => Ok(Box::new(bucket(spec, addresses, access, path)?)),
        _ => Ok(Box::new(files(spec, addresses, access)?.open(path))),
    }
}

/// Checks a file of keys for a bucket.
///
/// # Errors
/// Says what it lacks, and nothing of what is in it.
pub fn check_credentials(text: &str) -> Result<(), &'static str> {
    s3::check(text)
}

/// Checks a PEM file of certificates.
///
/// # Errors
/// When there is none in it, or something else.
pub fn check_certificates(pem: &[u8]) -> Result<(), String> {
    tls::roots(pem).map(|_| ()).map_err(|e| e.to_string())
}

/// Reads any bytes as the reply of a server, and what is taken out of it: its status and the length of its body. For tests with
/// hostile input.
pub fn judge_reply(bytes: &[u8], to_head: bool) -> Option<(u16, usize)> {
    let reply = reply::Reply::read(&mut &*bytes, to_head).ok()?;
    clock::Clock::default().heed(reply.header("date").unwrap_or_default());
    s3::judge(&reply.body);
    Some((reply.status, reply.body.len()))
}

/// Whether the image has URLs in the place of keys.
fn is_presigned(access: &Access) -> bool {
    access.secrets.join(presigned::FILE).exists()
}

fn presigned(
    spec: &TargetSpec,
    addresses: &[SocketAddr],
    access: &Access,
) -> Result<PresignedPlace, TargetError> {
    let Kind::S3 { endpoint, .. } = &spec.kind else {
        return Err(failed(spec, "is no bucket"));
    };
    let tls = endpoint
        .as_deref()
        .is_none_or(|url| url.starts_with("https:"));
    PresignedPlace::open(spec, access, |host| {
        client(spec, host, tls, addresses, access)
    })
}

fn bucket(
    spec: &TargetSpec,
    addresses: &[SocketAddr],
    access: &Access,
    path: &str,
) -> Result<S3Place, TargetError> {
    let at = Where::of(spec).ok_or_else(|| failed(spec, "is no bucket"))?;
    let client = client(spec, &at.host, at.tls, addresses, access)?;
    S3Place::open(&at, client, &access.secrets, path)
}

fn files(
    spec: &TargetSpec,
    addresses: &[SocketAddr],
    access: &Access,
) -> Result<PutPlace, TargetError> {
    let (Kind::Http { tls, path, .. }, Some((host, port))) = (&spec.kind, spec.server()) else {
        return Err(failed(spec, "is no web server"));
    };
    let client = client(spec, &host, *tls, addresses, access)?;
    let authority = names::authority(&host, port, *tls);
    Ok(PutPlace::of(client, *tls, authority, path))
}

fn client(
    spec: &TargetSpec,
    host: &str,
    tls: bool,
    addresses: &[SocketAddr],
    access: &Access,
) -> Result<Client, TargetError> {
    let config = tls.then(|| tls::config(&access.secrets)).transpose();
    let config = config.map_err(|e| failed(spec, &e.to_string()))?;
    Ok(Client::new(Server {
        addresses: addresses.to_vec(),
        name: host.to_owned(),
        tls: config,
        timeout: access.timeout.max(LEAST),
        // A part can be sent again before PID 1 ends a capture that does not go on.
        quiet: (access.patience / 4).clamp(LEAST, MOST),
        whole: (access.patience / 2).max(LEAST),
        last: access.last.max(LEAST),
    }))
}

fn failed(spec: &TargetSpec, why: &str) -> TargetError {
    TargetError::Remote {
        place: spec.to_string(),
        why: why.into(),
    }
}
