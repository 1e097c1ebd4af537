//! SFTP version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions (PROTOCOL of OpenSSH 9.2, section 4).

mod dir;
mod file;
pub mod packet;
mod requests;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use dir::SftpDir;
pub(super) use requests::Sftp;
