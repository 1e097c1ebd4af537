//! Why an exchange with a server failed, and what to do about it.

use std::io;

/// Why there is no good reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No address took a connection.
    #[error(
        "cannot connect: {0}: see whether the server runs, and whether a firewall is in between"
    )]
    Connect(io::Error),
    /// TLS does not come about: trying again would end the same.
    #[error("{0}")]
    Tls(String),
    /// The connection broke.
    #[error("the connection broke: {0}: see whether the server or the network has failed")]
    Io(io::Error),
    /// What came is no reply.
    #[error("the server's reply {0}: see whether there is another service at this port")]
    Reply(&'static str),
    /// The server says no.
    #[error("the server says {}: {}", said(*status, code), advice(*status, code))]
    Status {
        /// The status of HTTP.
        status: u16,
        /// The word for it of S3, or none.
        code: String,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failure {
    /// Whether the same request may do better a little later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Io(_) | Self::Reply(_) => true,
            Self::Tls(_) => false,
            Self::Status { status, code } => {
                matches!(status, 408 | 425 | 429 | 500 | 502..=504) || code == "RequestTimeout"
            }
        }
    }

    /// Whether the server had closed a connection that was kept.
    pub(super) fn was_closed(&self) -> bool {
        use io::ErrorKind as Kind;
        matches!(self, Self::Io(e) if matches!(
            e.kind(),
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof
        ))
    }

    /// The status, when there was a reply.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn said(status: u16, code: &str) -> String {
    if code.is_empty() {
        status.to_string()
    } else {
        format!("{status} {code}")
    }
}

fn advice(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "NoSuchBucket") => "make the bucket, or name another one",
        (_, "InvalidAccessKeyId") => "the server does not know the key in s3_credentials",
        (_, "SignatureDoesNotMatch") => {
            "the secret key in s3_credentials is not that of the access key, or a proxy changed the request"
        }
        (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
            "the session token in s3_credentials is over: take a key that does not end"
        }
        (_, "AccessDenied" | "AllAccessDisabled" | "AccountProblem") => {
            "allow the key in s3_credentials to s3:PutObject, s3:AbortMultipartUpload and s3:GetObject below the prefix"
        }
        (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect") => {
            "the bucket is in another region, name it with region="
        }
        (_, "RequestTimeTooSkewed") => "set the server's clock",
        (_, "EntityTooSmall") => "the server wants larger parts, name their size with part=",
        (_, "EntityTooLarge") | (413, _) => {
            "the server takes no file of this size, raise its limit (client_max_body_size of nginx)"
        }
        (_, "QuotaExceeded" | "XMinioStorageFull") | (507, _) => {
            "the server has no room, make some or name another target"
        }
        (301 | 302 | 307 | 308, _) => "name the address that it redirects to",
        (401 | 403, _) => "allow this machine to write there",
        (404 | 409, _) => "make the directory on the server, or allow MKCOL",
        (405 | 501, _) => "allow PUT there, or name another address",
        (411, _) => "the server must take chunked bodies, whose length is not known before",
        _ => "see the server's log",
    }
}
