//! Encryption of a capture's files, as the configuration says.

use crate::config::Config;
use crate::seal::{Recipients, Sealer};
use std::io::{self, Write};

/// To whom the files are sealed.
pub(super) struct Seal(Recipients);

impl Seal {
    /// None without recipients. With recipients that cannot be used nothing is written in clear: it is an error.
    pub(super) fn of(config: &Config) -> Result<Option<Self>, String> {
        if config.recipients.is_empty() {
            return Ok(None);
        }
        let recipients = Recipients::parse(&config.recipients).map_err(|e| e.to_string())?;
        Ok(Some(Self(recipients)))
    }

    /// Seals what is written from now on.
    pub(super) fn over<W: Write>(&self, to: W) -> io::Result<Sealer<W>> {
        Sealer::new(to, &self.0)
    }
}

/// Whether the log is sealed like the memory.
pub(super) fn log_is_sealed(config: &Config) -> bool {
    !config.recipients.is_empty() && !config.plaintext_log
}
