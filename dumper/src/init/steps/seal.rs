//! Encryption of a capture's files, as the configuration says.

use crate::config::Config;
use crate::seal::{Recipients, Sealer};
use std::io::{self, Write};

/// To whom the files are sealed.
pub(super) struct Seal(Recipients);

impl Seal {
    /// None without recipients. With recipients that cannot be used nothing is written in clear: it is an error.
    pub(super) fn of(config: &Config) -> Result<Option<Self>, String> {
        match &config.clear_forbidden {
            _ if !config.recipients.is_empty() => {}
            Some(why) => return Err(why.clone()),
            None => return Ok(None),
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
    let wanted = !config.recipients.is_empty() || config.clear_forbidden.is_some();
    wanted && !config.plaintext_log
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "age1xmwwc06ly3ee5rytxm9mflaz2u56jjj36s0mypdrwsvlul66mv4q47ryef";

    fn sealed(toml: Option<&str>, words: &str, image: Option<&str>) -> Result<bool, String> {
        let mut config = Config::load(toml, words).0;
        let missing = || std::io::ErrorKind::NotFound.into();
        config.seal_to(image.map(str::to_owned).ok_or_else(missing));
        let seal = Seal::of(&config)?;
        assert_eq!(seal.is_some(), log_is_sealed(&config));
        Ok(seal.is_some())
    }

    #[test]
    fn the_image_alone_seals() {
        assert_eq!(sealed(None, "", None), Ok(false));
        assert_eq!(sealed(Some("recipients = []"), "", None), Ok(false));
        let image = Some(KEY);
        for words in [
            "",
            "baredump.recipients=AGE1X",
            "baredump.recipients=",
            "baredump.recipient=x",
        ] {
            assert_eq!(sealed(None, words, image), Ok(true), "{words}");
            assert_eq!(sealed(Some("broken = "), words, image), Ok(true));
        }
        for damaged in ["", "\n", "age1damaged"] {
            assert!(sealed(None, "", Some(damaged)).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn a_log_that_cannot_be_sealed_is_not_shown() {
        let config = Config::load(None, "baredump.recipient=age1x").0;
        assert!(log_is_sealed(&config));
        let config = Config::load(None, "baredump.recipients=x baredump.plaintext_log=true").0;
        assert!(!log_is_sealed(&config) && Seal::of(&config).is_err());
    }
}
