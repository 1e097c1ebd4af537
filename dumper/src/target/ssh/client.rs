//! A connection to a server that knows us: TCP, host key, our key. The only file beside `pipe` that knows of asynchronous calls.

use super::algorithms::offered;
use super::fault::{Fault, clean};
use super::guard::{Ending, Guard};
use super::keys::Keys;
use super::session::{Login, Timeouts};
use super::signer::CertificateKey;
use crate::entropy;
use crate::sys::socket::keep_alive;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg};
use russh::{Channel, SshId};
use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// What a server may send to us before we read it: answers are short, and little is read back.
const WINDOW: u32 = 256 << 10;
/// Messages of the server that wait to be looked at.
const MESSAGES: usize = 32;

/// A connection. It moves only while [`Client::run`] runs something.
pub(super) struct Client {
    handle: Handle<Guard>,
    runtime: Runtime,
    ending: Ending,
    timeouts: Timeouts,
    /// Nothing moved for too long once: nobody waits for this server again.
    stalled: AtomicBool,
    /// What is asked now may take as long as the server wants.
    patient: AtomicBool,
}

impl Client {
    /// Connects to the first of `addresses` that answers, and logs in.
    pub(super) fn connect(
        login: &Login,
        addresses: &[SocketAddr],
        keys: &Keys,
        timeouts: Timeouts,
    ) -> Result<Self, Fault> {
        let (key, cert) = (keys.private()?, keys.certificate()?);
        let pinned = keys.pinned(&login.host, login.port)?;
        // A capture kernel has little that is random, and russh waits for it without a deadline.
        entropy::fill(&mut [0; 32])?;
        let stream = dial(addresses, timeouts.connect)?;
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let ending = Ending::default();
        let config = Arc::new(client::Config {
            client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-baredump")),
            window_size: WINDOW,
            channel_buffer_size: MESSAGES,
            preferred: offered(&pinned.kinds(), pinned.has_authorities()),
            ..client::Config::default()
        });
        let guard = Guard {
            pinned,
            built: keys.built,
            ending: ending.clone(),
        };
        let logging_in = async {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let mut handle = client::connect_stream(config, stream, guard).await?;
            let key = Arc::new(key);
            let hash = match key.algorithm().is_rsa() {
                true => Some(rsa_hash(&handle).await?),
                false => None,
            };
            let result = match cert {
                Some(cert) => {
                    let signer = &mut CertificateKey(key);
                    let result =
                        handle.authenticate_certificate_with(&login.user, cert, hash, signer);
                    result.await
                }
                None => {
                    let key = PrivateKeyWithHashAlg::new(key, hash);
                    let result = handle.authenticate_publickey(&login.user, key).await;
                    result.map_err(Fault::from)
                }
            };
            let result = result.map_err(|fault| ended(&ending, fault))?;
            accepted(&result, &login.user).map(|()| handle)
        };
        let in_time = async { tokio::time::timeout(timeouts.connect, logging_in).await };
        let handle = runtime.block_on(in_time).unwrap_or_else(|_| {
            let seconds = timeouts.connect.as_secs();
            Err(Fault::new(
                io::ErrorKind::TimedOut,
                format!("the server accepts connections, but logging in took more than {seconds} s: is it an SSH server, and does it run well?"),
            ))
        })?;
        Ok(Self {
            handle,
            runtime,
            ending,
            timeouts,
            stalled: AtomicBool::new(false),
            patient: AtomicBool::new(false),
        })
    }

    /// A new channel.
    pub(super) fn channel(&self) -> Result<Channel<Msg>, Fault> {
        self.run(async {
            match tokio::time::timeout(self.stall(), self.handle.channel_open_session()).await {
                Ok(channel) => Ok(channel?),
                Err(_) => Err(self.stalled()),
            }
        })
    }

    /// Runs `future` to its end, and the connection beside it.
    pub(super) fn run<T>(
        &self,
        future: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        if self.stalled.load(Ordering::Relaxed) {
            return Err(self.stalled());
        }
        let result = self.runtime.block_on(future);
        result.map_err(|fault| {
            if fault.kind == io::ErrorKind::TimedOut {
                self.stalled.store(true, Ordering::Relaxed);
            }
            ended(&self.ending, fault)
        })
    }

    /// How long the server may be silent.
    pub(super) fn stall(&self) -> Duration {
        match self.patient.load(Ordering::Relaxed) {
            true => self.timeouts.last,
            false => self.timeouts.stall,
        }
    }

    /// Whether the server now writes to its disk: that it is silent meanwhile does not mean that it hangs.
    pub(super) fn patient(&self, patient: bool) {
        self.patient.store(patient, Ordering::Relaxed);
    }

    /// That nothing has moved for too long.
    pub(super) fn stalled(&self) -> Fault {
        let seconds = self.stall().as_secs();
        Fault::new(
            io::ErrorKind::TimedOut,
            format!(
                "the server took and sent nothing for {seconds} s: it hangs, or the network is gone"
            ),
        )
    }
}

/// What ended the connection says more than that it ended.
fn ended(ending: &Ending, fault: Fault) -> Fault {
    match ending.why() {
        Some(why) if fault.kind != io::ErrorKind::TimedOut => Fault { why, ..fault },
        _ => fault,
    }
}

/// Connects to the first address that answers.
fn dial(addresses: &[SocketAddr], within: Duration) -> Result<TcpStream, Fault> {
    let start = Instant::now();
    let mut failed = Fault::new(io::ErrorKind::NotFound, "the server has no address");
    for address in addresses {
        let left = within.saturating_sub(start.elapsed());
        if left.is_zero() {
            break;
        }
        let connected = TcpStream::connect_timeout(address, left).and_then(|stream| {
            stream.set_nodelay(true)?;
            // A machine that is gone is noticed although nothing is sent to it.
            keep_alive(stream.as_fd())?;
            stream.set_nonblocking(true).map(|()| stream)
        });
        match connected {
            Ok(stream) => return Ok(stream),
            Err(e) => failed = Fault::new(e.kind(), format!("cannot connect to {address}: {e}")),
        }
    }
    Err(failed)
}

/// The better one of those that the server knows. SHA-1 is none.
async fn rsa_hash(handle: &Handle<Guard>) -> Result<HashAlg, Fault> {
    match handle.best_supported_rsa_hash().await? {
        Some(Some(hash)) => Ok(hash),
        None => Ok(HashAlg::Sha256),
        Some(None) => Err(Fault::new(
            io::ErrorKind::PermissionDenied,
            "the server takes RSA keys with SHA-1 only: use an ed25519 or ECDSA key, or update the server",
        )),
    }
}

fn accepted(result: &AuthResult, user: &str) -> Result<(), Fault> {
    let AuthResult::Failure {
        remaining_methods,
        partial_success,
    } = result
    else {
        return Ok(());
    };
    let methods: Vec<&str> = remaining_methods.iter().map(Into::into).collect();
    let methods = clean(methods.join(", ").as_bytes());
    let why = if *partial_success {
        format!(
            "the server wants more than a key of user {user} ({methods}), which nobody can give at a crash"
        )
    } else {
        format!(
            "the server does not accept the SSH key for user {user} (it takes: {methods}): is it in that user's authorized_keys?"
        )
    };
    Err(Fault::new(io::ErrorKind::PermissionDenied, why))
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}
