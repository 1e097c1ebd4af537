//! Where a target's bucket is, and whether a URL leads into it.

use crate::target::spec::url::Authority;
use crate::target::spec::{Kind, TargetSpec};
use crate::target::web::names::{authority, join};
use crate::target::web::s3::is_tls;

/// The bucket of a target.
pub(super) struct Site<'a> {
    tls: bool,
    host: String,
    port: u16,
    bucket: &'a str,
    prefix: &'a str,
}

impl<'a> Site<'a> {
    /// None when the target is no bucket.
    pub(super) fn of(spec: &'a TargetSpec) -> Option<Self> {
        let Kind::S3 {
            bucket,
            prefix,
            endpoint,
            ..
        } = &spec.kind
        else {
            return None;
        };
        let (host, port) = spec.server()?;
        Some(Self {
            tls: is_tls(endpoint.as_deref()),
            host,
            port,
            bucket,
            prefix,
        })
    }

    /// The directory that a URL leads to, below the target's prefix.
    pub(super) fn dir(&self, scheme: &str, url: &Authority) -> Result<String, String> {
        let default = if self.tls { 443 } else { 80 };
        let ours = scheme == self.scheme()
            && url.user.is_none()
            && url.port.unwrap_or(default) == self.port;
        let path = url.path.trim_start_matches('/');
        let key = if ours && url.host == self.host {
            path.strip_prefix(&format!("{}/", self.bucket))
        } else if ours && url.host == format!("{}.{}", self.bucket, self.host) {
            Some(path)
        } else {
            return Err(format!(
                "is not at {}: name its server with endpoint=",
                self.shown()
            ));
        };
        let key = key.ok_or_else(|| format!("is not in the bucket {}", self.bucket))?;
        let (dir, _) = key.rsplit_once('/').unwrap_or(("", key));
        let odd = |part: &str| matches!(part, "" | "." | "..");
        let plain = dir.is_empty() || !dir.split('/').any(odd);
        let below = join(dir, "").starts_with(&join(self.prefix, ""));
        if !plain || dir.chars().any(char::is_control) || !below {
            return Err(format!("is not below /{} in the bucket", self.prefix));
        }
        Ok(dir.to_owned())
    }

    fn scheme(&self) -> &'static str {
        match self.tls {
            true => "https",
            false => "http",
        }
    }

    fn shown(&self) -> String {
        let server = authority(&self.host, self.port, self.tls);
        format!("{}://{server}", self.scheme())
    }
}
