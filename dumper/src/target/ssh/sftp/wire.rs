//! What SFTP packets travel over.

use crate::target::ssh::fault::Fault;
use crate::target::ssh::pipe::Pipe;

/// Bytes to a server and from it.
pub(super) trait Wire: Send {
    /// Sends all of `bytes`, as soon as the other side takes them.
    fn send(&mut self, bytes: Vec<u8>) -> Result<(), Fault>;

    /// Appends what has come; when `wait`, not before something has.
    fn receive(&mut self, into: &mut Vec<u8>, wait: bool) -> Result<(), Fault>;

    /// Whether what is waited for may take as long as the server wants.
    fn patient(&mut self, _patient: bool) {}
}

impl Wire for Pipe {
    fn send(&mut self, bytes: Vec<u8>) -> Result<(), Fault> {
        Pipe::send(self, bytes)
    }

    fn receive(&mut self, into: &mut Vec<u8>, wait: bool) -> Result<(), Fault> {
        if wait && self.inbox().output.is_empty() {
            self.wait()?;
        }
        into.append(&mut self.inbox().output);
        Ok(())
    }

    fn patient(&mut self, patient: bool) {
        self.client().patient(patient);
    }
}
