//! The header: a stanza for each recipient, and a MAC over them.

use super::x25519::{self, Unwrap, WRAPPED};
use super::{FileKey, Identities, Recipients, derive};
use crate::entropy;
use base64ct::{Base64Unpadded, Encoding};
use ring::hmac;
use std::io::{self, BufRead, Read};

const VERSION: &[u8] = b"age-encryption.org/v1\n";
const END: &[u8] = b"---";
/// Characters in a line of base64.
const COLUMNS: usize = 64;
/// Characters of 32 bytes in base64.
const KEY_COLUMNS: usize = 43;
/// No header is larger.
const MAX: usize = 64 << 10;

/// Why a file is not decrypted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// Something else.
    #[error("not encrypted with age: it does not begin with age-encryption.org/v1")]
    NotAge,
    /// A text form.
    #[error("encrypted as text (PEM): decrypt it with 'age -d', then use 'baredump rearrange'")]
    Armor,
    /// A header that makes no sense.
    #[error("the age header is damaged: {0}")]
    Header(&'static str),
    /// A passphrase.
    #[error("encrypted with a passphrase: decrypt it with 'age -d', then use 'baredump rearrange'")]
    Passphrase,
    /// For others.
    #[error(
        "encrypted for {0} recipient(s), and the identity file has the private key of none of them: name another with -i"
    )]
    NoMatch(usize),
    /// Somebody changed the header.
    #[error("the age header was changed: its MAC is wrong")]
    Mac,
    /// The end is missing.
    #[error(
        "the encrypted file is cut off, or its end was changed, after {chunk} chunks of 64 KiB"
    )]
    Cut {
        /// Chunks before.
        chunk: u64,
    },
    /// Bytes are not what was encrypted.
    #[error("the encrypted file was changed: chunk {chunk} of 64 KiB is not authentic")]
    Damaged {
        /// Its number, from 0.
        chunk: u64,
    },
}

/// The header of a file with this key.
pub(super) fn write(file_key: &FileKey, recipients: &Recipients) -> io::Result<Vec<u8>> {
    let mut text = VERSION.to_vec();
    for recipient in recipients.keys() {
        let mut ephemeral = [0; 32];
        entropy::fill(&mut ephemeral)?;
        let (share, body) = x25519::wrap(file_key, recipient, &ephemeral)
            .ok_or_else(|| io::Error::other("the file key cannot be encrypted to a recipient"))?;
        text.extend_from_slice(b"-> X25519 ");
        push_base64(&mut text, &share);
        text.push(b'\n');
        push_base64(&mut text, &body);
        text.push(b'\n');
    }
    text.extend_from_slice(END);
    let key = mac_key(file_key).ok_or_else(|| io::Error::other("no key for the header"))?;
    let mac = hmac::sign(&key, &text);
    text.push(b' ');
    push_base64(&mut text, mac.as_ref());
    text.push(b'\n');
    Ok(text)
}

fn push_base64(text: &mut Vec<u8>, bytes: &[u8]) {
    let mut buf = [0; KEY_COLUMNS];
    let coded = Base64Unpadded::encode(bytes, &mut buf).unwrap_or_default();
    text.extend_from_slice(coded.as_bytes());
}

fn mac_key(file_key: &FileKey) -> Option<hmac::Key> {
    let key = derive(file_key, &[], b"header")?;
    Some(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

/// A header that was read.
pub(super) struct Header {
    /// What the MAC is of.
    text: Vec<u8>,
    mac: [u8; 32],
    /// Shares and bodies of the X25519 stanzas.
    wrapped: Vec<([u8; 32], [u8; WRAPPED])>,
    stanzas: usize,
    passphrase: bool,
}

/// Reads the header, and nothing behind it.
pub(super) fn read(from: &mut impl BufRead) -> Result<Header, OpenError> {
    let mut header = Header {
        text: Vec::new(),
        mac: [0; 32],
        wrapped: Vec::new(),
        stanzas: 0,
        passphrase: false,
    };
    version(header.line(from, VERSION.len())?)?;
    loop {
        let start = header.text.len();
        let line = header.line(from, MAX)?;
        if let Some(rest) = line.strip_prefix(END) {
            let mac = rest
                .strip_prefix(b" ")
                .and_then(|rest| rest.strip_suffix(b"\n"));
            let mac = mac.and_then(key);
            header.mac = mac.ok_or(OpenError::Header("its last line holds no MAC"))?;
            header.text.truncate(start + END.len());
            break;
        }
        header.stanza(start, from)?;
    }
    if header.passphrase && header.stanzas != 1 {
        return Err(OpenError::Header(
            "a passphrase stands beside other recipients",
        ));
    }
    Ok(header)
}

fn version(line: &[u8]) -> Result<(), OpenError> {
    match line {
        VERSION => Ok(()),
        line if line.starts_with(b"-----BEGIN AGE") => Err(OpenError::Armor),
        line if line.starts_with(b"age-encryption.org/") => {
            Err(OpenError::Header("it is of another version than v1"))
        }
        _ => Err(OpenError::NotAge),
    }
}

impl Header {
    /// Reads one more line of at most `max` bytes into the text.
    fn line(&mut self, from: &mut impl BufRead, max: usize) -> Result<&[u8], OpenError> {
        let start = self.text.len();
        let max = max.min(MAX - start);
        from.take(max as u64).read_until(b'\n', &mut self.text)?;
        Ok(self.text.get(start..).unwrap_or_default())
    }

    /// Reads the body of the stanza whose first line begins at `start`, and keeps what is X25519.
    fn stanza(&mut self, start: usize, from: &mut impl BufRead) -> Result<(), OpenError> {
        let (kind, share) = arguments(self.text.get(start..).unwrap_or_default())?;
        let is_x25519 = kind == b"X25519";
        self.passphrase |= kind == b"scrypt";
        self.stanzas += 1;
        let body = self.body(from)?;
        if !is_x25519 {
            return Ok(());
        }
        let share = share.ok_or(OpenError::Header("an X25519 stanza has no valid share"))?;
        let body = body.ok_or(OpenError::Header("an X25519 stanza has no valid body"))?;
        self.wrapped.push((share, body));
        Ok(())
    }

    /// Reads a body, up to its last line, which is shorter than the others. The bytes are given when they are 32.
    fn body(&mut self, from: &mut impl BufRead) -> Result<Option<[u8; WRAPPED]>, OpenError> {
        const BAD: OpenError =
            OpenError::Header("the body of a stanza is no base64 in lines of 64");
        let mut lines = 0;
        loop {
            let line = self.line(from, COLUMNS + 1)?;
            let line = line.strip_suffix(b"\n").ok_or(BAD)?;
            let mut bytes = [0; COLUMNS];
            let decoded = Base64Unpadded::decode(line, &mut bytes).map_err(|_| BAD)?;
            if line.len() < COLUMNS {
                let key = decoded.try_into().ok();
                return Ok(key.filter(|_| lines == 0));
            }
            lines += 1;
        }
    }

    /// The file key, when one of the `identities` unwraps it and the header is as it was written.
    pub(super) fn unlock(&self, identities: &Identities) -> Result<FileKey, OpenError> {
        for (share, body) in &self.wrapped {
            for secret in identities.keys() {
                match x25519::unwrap(share, body, secret) {
                    Ok(file_key) => return self.checked(file_key),
                    Err(Unwrap::NoMatch) => {}
                    Err(Unwrap::LowOrder) => {
                        return Err(OpenError::Header("an X25519 share has a small order"));
                    }
                }
            }
        }
        match self.passphrase {
            true => Err(OpenError::Passphrase),
            false => Err(OpenError::NoMatch(self.stanzas)),
        }
    }

    fn checked(&self, file_key: FileKey) -> Result<FileKey, OpenError> {
        let key = mac_key(&file_key).ok_or(OpenError::Mac)?;
        let verified = hmac::verify(&key, &self.text, &self.mac);
        verified.map(|()| file_key).map_err(|_| OpenError::Mac)
    }
}

/// What a stanza is and, when there is one argument of 32 bytes, the share.
fn arguments(line: &[u8]) -> Result<(&[u8], Option<[u8; 32]>), OpenError> {
    const BAD: OpenError = OpenError::Header("neither a stanza nor the end stands where one must");
    let line = line
        .strip_prefix(b"-> ")
        .and_then(|l| l.strip_suffix(b"\n"));
    let mut words = line.ok_or(BAD)?.split(|byte| *byte == b' ');
    let visible = |word: &&[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
    if !words.clone().all(|word| visible(&word)) {
        return Err(BAD);
    }
    let (kind, share, more) = (words.next(), words.next(), words.next());
    let share = share.filter(|_| more.is_none()).and_then(key);
    Ok((kind.ok_or(BAD)?, share))
}

/// 32 bytes in base64.
fn key(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != KEY_COLUMNS {
        return None;
    }
    let mut key = [0; 32];
    Base64Unpadded::decode(text, &mut key).ok()?;
    Some(key)
}
