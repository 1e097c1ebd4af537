//! The keys of an `s3:` target, in the form of Amazon's `credentials` file: one profile, `[default]`.

use std::fmt;

/// An access key and its secret.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(super) id: String,
    pub(super) secret: String,
    /// Of a key that ends.
    pub(super) token: Option<String>,
}

/// Nothing of it is ever shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Reads the file; other keys and profiles in it are passed over. No error says what is in it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut found = Self::default();
        let mut ours = true;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                ours = line == "[default]";
            }
            let Some((key, value)) = line.split_once('=').filter(|_| ours) else {
                continue;
            };
            let value = value.trim();
            if !value.bytes().all(|b| b.is_ascii_graphic()) {
                return Err("a key has characters that no key has");
            }
            match key.trim() {
                "aws_access_key_id" => found.id = value.into(),
                "aws_secret_access_key" => found.secret = value.into(),
                "aws_session_token" => found.token = Some(value.into()),
                _ => {}
            }
        }
        if found.id.is_empty() || found.secret.is_empty() {
            return Err(
                "aws_access_key_id = … and aws_secret_access_key = … are needed, above any profile or in [default]",
            );
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_is_read() {
        let text = "# x\n[other]\naws_access_key_id = no\n[default]\naws_access_key_id=AKIA\r\naws_secret_access_key = a/b+c=\nregion = x\naws_session_token = t\n[more]\naws_secret_access_key = no\n";
        let found = Credentials::parse(text).unwrap();
        assert_eq!(
            (&*found.id, &*found.secret, found.token.as_deref()),
            ("AKIA", "a/b+c=", Some("t"))
        );
        assert!(!format!("{found:?}").contains("AKIA"));
        for bad in [
            "",
            "aws_access_key_id = a",
            "aws_access_key_id = a b\naws_secret_access_key = c",
        ] {
            assert!(Credentials::parse(bad).is_err(), "{bad}");
        }
    }
}
