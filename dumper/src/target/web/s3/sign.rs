//! AWS Signature Version 4 in the `Authorization` header, as S3 wants it: every header is signed, the path is encoded once.

use super::credentials::Credentials;
use crate::target::web::names::encode;
use ring::{digest, hmac};
use std::fmt::Write;

/// The payload is not signed: TLS keeps it whole.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// Encoded.
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Names in lower case, `host` and `x-amz-date` among them.
    pub(super) headers: &'a [(&'static str, String)],
    /// Hash of the payload, or [`UNSIGNED`].
    pub(super) payload: &'a str,
}

impl Signed<'_> {
    /// The value of the `Authorization` header at `stamp`, `yyyymmddThhmmssZ`.
    pub(super) fn authorization(&self, keys: &Credentials, region: &str, stamp: &str) -> String {
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort();
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut canonical = format!("{}\n{}\n{}\n", self.method, self.path, query(self.query));
        for (name, value) in headers {
            let _ = writeln!(canonical, "{name}:{}", value.trim());
        }
        let _ = write!(canonical, "\n{names}\n{}", self.payload);

        let day = stamp.get(..8).unwrap_or(stamp);
        let scope = format!("{day}/{region}/s3/aws4_request");
        let to_sign = format!(
            "{ALGORITHM}\n{stamp}\n{scope}\n{}",
            hash(canonical.as_bytes())
        );
        let mut key = mac(format!("AWS4{}", keys.secret).as_bytes(), day);
        for part in [region, "s3", "aws4_request"] {
            key = mac(key.as_ref(), part);
        }
        let signature = hex(mac(key.as_ref(), &to_sign).as_ref());
        format!(
            "{ALGORITHM} Credential={}/{scope},SignedHeaders={names},Signature={signature}",
            keys.id
        )
    }
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// SHA-256 in hex digits.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A query in the order in which it is signed; sent so, it is the same for both sides.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let mut encoded: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key, false), encode(value, false)))
        .collect();
    encoded.sort();
    encoded.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const STAMP: &str = "20130524T000000Z";

    /// The examples of Amazon's "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
    fn signature(
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        more: &[(&'static str, &str)],
        payload: &str,
    ) -> String {
        let keys = Credentials {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: None,
        };
        let mut headers = vec![
            ("host", "examplebucket.s3.amazonaws.com".to_owned()),
            ("x-amz-date", STAMP.to_owned()),
            ("x-amz-content-sha256", payload.to_owned()),
        ];
        headers.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let signed = Signed {
            method,
            path,
            query,
            headers: &headers,
            payload,
        };
        let whole = signed.authorization(&keys, "us-east-1", STAMP);
        assert!(!whole.contains("wJalr"));
        whole.rsplit_once('=').unwrap().1.to_owned()
    }

    #[test]
    fn amazons_examples() {
        assert_eq!(hash(b""), EMPTY);
        assert_eq!(
            signature("GET", "/test.txt", &[], &[("range", "bytes=0-9")], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let more = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        let path = format!("/{}", encode("test$file.text", true));
        assert_eq!(
            signature("PUT", &path, &[], &more, &hash(b"Welcome to Amazon S3.")),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signature("GET", "/", &[("lifecycle", "")], &[], EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature(
                "GET",
                "/",
                &[("prefix", "J"), ("max-keys", "2")],
                &[],
                EMPTY
            ),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }
}
