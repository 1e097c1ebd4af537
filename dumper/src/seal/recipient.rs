//! Recipients: the public keys that a file is encrypted to.

use super::x25519;
use bech32::Bech32;
use bech32::primitives::decode::CheckedHrpstring;
use std::fmt;
use std::str::FromStr;

/// As many as anybody needs; each is a stanza in every file.
const MAX: usize = 32;
/// Of a word that is no key so much is quoted.
const QUOTED: usize = 80;

/// Why a word is no recipient.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// None at all.
    #[error("no recipient: name at least one public key, age1…, as age-keygen prints it")]
    None,
    /// More than 32.
    #[error("{0} recipients: at most {MAX} are possible")]
    TooMany(usize),
    /// The private key, which is not repeated here.
    #[error(
        "recipient {0} is a private key (AGE-SECRET-KEY-…), which must never be on this machine: make a new pair and name its public key, age1…"
    )]
    Secret(usize),
    /// An SSH key.
    #[error(
        "recipient '{0}' is an SSH key: only age's own keys are possible, make one with age-keygen and name its public key, age1…"
    )]
    Ssh(String),
    /// A key that needs a program, or is not X25519.
    #[error(
        "recipient '{0}' belongs to an age plugin or is of another kind than X25519: make a key with age-keygen and name its public key, age1…"
    )]
    Other(String),
    /// Not a key, or one with a typing error.
    #[error(
        "recipient '{0}' is no age public key: it must be age1 and 58 letters and digits, as age-keygen prints it"
    )]
    Bad(String),
}

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recipient([u8; 32]);

/// At least one public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// Parses words `age1…`.
    ///
    /// # Errors
    /// Names the word that is no X25519 recipient.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self, RecipientError> {
        if words.is_empty() {
            return Err(RecipientError::None);
        }
        if words.len() > MAX {
            return Err(RecipientError::TooMany(words.len()));
        }
        let mut recipients = Vec::with_capacity(words.len());
        for (index, word) in words.iter().enumerate() {
            let recipient = Recipient(key(word.as_ref().trim(), index + 1)?);
            if !recipients.contains(&recipient) {
                recipients.push(recipient);
            }
        }
        Ok(Self(recipients))
    }

    /// The public keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter().map(|recipient| &recipient.0)
    }
}

impl FromStr for Recipients {
    type Err = RecipientError;

    /// Words with commas or white space between them.
    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let words = text.split(|c: char| c == ',' || c.is_whitespace());
        Self::parse(&words.filter(|word| !word.is_empty()).collect::<Vec<_>>())
    }
}

/// The public keys with commas between them.
impl fmt::Display for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.keys().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let hrp = bech32::Hrp::parse_unchecked("age");
            f.write_str(comma)?;
            bech32::encode_lower_to_fmt::<Bech32, _>(f, hrp, key).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

fn key(word: &str, number: usize) -> Result<[u8; 32], RecipientError> {
    let quoted = || crate::report::cut(word, QUOTED).to_owned();
    let upper = word.to_ascii_uppercase();
    if upper.starts_with("AGE-SECRET-KEY") || upper.starts_with("AGE-PLUGIN") {
        return Err(RecipientError::Secret(number));
    }
    if upper.starts_with("-----BEGIN") {
        return Err(RecipientError::Secret(number));
    }
    if ["ssh-", "ecdsa-sha2-", "sk-"]
        .iter()
        .any(|p| word.starts_with(p))
    {
        return Err(RecipientError::Ssh(quoted()));
    }
    let human = word.rsplit_once('1').map_or("", |(human, _)| human);
    if human.starts_with("age1") {
        return Err(RecipientError::Other(quoted()));
    }
    let key = decode("age", word).ok_or_else(|| RecipientError::Bad(quoted()))?;
    // A key of small order hides nothing.
    match x25519::wrap(&[0; 16], &key, &[1; 32]) {
        Some(_) => Ok(key),
        None => Err(RecipientError::Bad(quoted())),
    }
}

/// The 32 bytes of a Bech32 word whose human-readable part is `human`.
pub(super) fn decode(human: &str, word: &str) -> Option<[u8; 32]> {
    let checked = CheckedHrpstring::new::<Bech32>(word).ok()?;
    if checked.hrp().as_str() != human {
        return None;
    }
    let mut key = [0; 32];
    let mut bytes = checked.byte_iter();
    for byte in &mut key {
        *byte = bytes.next()?;
    }
    bytes.next().is_none().then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in super::super) const KEY: &str =
        "age1xmwwc06ly3ee5rytxm9mflaz2u56jjj36s0mypdrwsvlul66mv4q47ryef";

    #[test]
    fn keys_are_parsed_and_printed() {
        let one = Recipients::parse(&[KEY]).unwrap();
        assert_eq!(one.to_string(), KEY);
        let other = "age19f0zswfsfnlah3dg9pkc9wuphg3lc2r6fersmyrh9az4rj93gapqel9u9l";
        let two: Recipients = format!(" {KEY},{other}\n{KEY}").parse().unwrap();
        assert_eq!(two.to_string(), format!("{KEY},{other}"));
        assert_eq!(two.to_string().parse(), Ok(two));
    }

    #[test]
    fn what_is_no_key_is_named() {
        let error = |word: &str| Recipients::parse(&[KEY, word]).unwrap_err();
        let wrong = KEY.replace("xmww", "xmwx");
        for word in ["", "age1", "bob", &wrong, &KEY[..60], &format!("{KEY}q")] {
            assert_eq!(error(word), RecipientError::Bad(word.into()));
        }
        let word = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW";
        assert_eq!(error(word), RecipientError::Ssh(word.into()));
        let word = "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t";
        assert_eq!(error(word), RecipientError::Other(word.into()));
        assert_eq!(Recipients::parse::<&str>(&[]), Err(RecipientError::None));
        assert_eq!(
            Recipients::parse(&[KEY; 33]),
            Err(RecipientError::TooMany(33))
        );
        let zero = bech32_of(&[0; 32]);
        assert_eq!(error(&zero), RecipientError::Bad(zero.clone()));
    }

    fn bech32_of(key: &[u8; 32]) -> String {
        Recipients(vec![Recipient(*key)]).to_string()
    }

    #[test]
    fn a_private_key_is_not_repeated() {
        let secret = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
        let lower = secret.to_lowercase();
        for word in [
            secret,
            &lower,
            &secret[..40],
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            let error = Recipients::parse(&[word]).unwrap_err();
            assert_eq!(error, RecipientError::Secret(1));
            assert!(!error.to_string().contains(&word[16..]), "{error}");
        }
    }
}
