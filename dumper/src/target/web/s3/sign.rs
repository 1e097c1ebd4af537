//! AWS Signature Version 4, as S3 wants it: in the `Authorization` header, every header is signed; in the query of a URL. The path is
//! encoded once.

use super::credentials::Credentials;
use crate::target::web::names::encode;
use ring::{digest, hmac};
use std::fmt::Write;

/// The payload is not signed: TLS keeps it whole.
pub(in crate::target::web) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed.
pub(in crate::target::web) struct Signed<'a> {
    pub(in crate::target::web) method: &'a str,
    /// Encoded.
    pub(in crate::target::web) path: &'a str,
    pub(in crate::target::web) query: &'a [(&'a str, &'a str)],
    /// Names in lower case, `host` and `x-amz-date` among them.
    pub(in crate::target::web) headers: &'a [(&'static str, String)],
    /// Hash of the payload, or [`UNSIGNED`].
    pub(in crate::target::web) payload: &'a str,
}

impl Signed<'_> {
    /// The value of the `Authorization` header at `stamp`, `yyyymmddThhmmssZ`.
    pub(super) fn authorization(&self, keys: &Credentials, region: &str, stamp: &str) -> String {
        let (id, scope) = (&keys.id, scope(region, stamp));
        let (names, canonical) = self.canonical(&query(self.query));
        let signature = signature(&canonical, keys, region, stamp);
        format!("{ALGORITHM} Credential={id}/{scope},SignedHeaders={names},Signature={signature}")
    }

    /// The query of a URL that lets anybody do this from `stamp` on for `seconds`.
    pub(in crate::target::web) fn presigned(
        &self,
        keys: &Credentials,
        region: &str,
        stamp: &str,
        seconds: u32,
    ) -> String {
        let credential = format!("{}/{}", keys.id, scope(region, stamp));
        let seconds = seconds.to_string();
        let (names, _) = self.canonical("");
        let mut pairs = vec![
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", &seconds),
            ("X-Amz-SignedHeaders", &names),
        ];
        let token = keys.token.as_deref();
        pairs.extend(token.map(|token| ("X-Amz-Security-Token", token)));
        pairs.extend(self.query);
        let query = query(&pairs);
        let (_, canonical) = self.canonical(&query);
        let signature = signature(&canonical, keys, region, stamp);
        format!("{query}&X-Amz-Signature={signature}")
    }

    /// The names of the headers that are signed, and the request as it is signed.
    fn canonical(&self, query: &str) -> (String, String) {
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort();
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut canonical = format!("{}\n{}\n{query}\n", self.method, self.path);
        for (name, value) in headers {
            let _ = writeln!(canonical, "{name}:{}", value.trim());
        }
        let _ = write!(canonical, "\n{names}\n{}", self.payload);
        (names, canonical)
    }
}

/// For what a key is derived.
fn scope(region: &str, stamp: &str) -> String {
    format!("{}/{region}/s3/aws4_request", day(stamp))
}

fn day(stamp: &str) -> &str {
    stamp.get(..8).unwrap_or(stamp)
}

fn signature(canonical: &str, keys: &Credentials, region: &str, stamp: &str) -> String {
    let to_sign = format!(
        "{ALGORITHM}\n{stamp}\n{}\n{}",
        scope(region, stamp),
        hash(canonical.as_bytes())
    );
    let mut key = mac(format!("AWS4{}", keys.secret).as_bytes(), day(stamp));
    for part in [region, "s3", "aws4_request"] {
        key = mac(key.as_ref(), part);
    }
    hex(mac(key.as_ref(), &to_sign).as_ref())
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

    fn keys() -> Credentials {
        Credentials {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: None,
        }
    }

    /// The example of Amazon's "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
    #[test]
    fn amazons_presigned_url() {
        let signed = Signed {
            method: "GET",
            path: "/test.txt",
            query: &[],
            headers: &[("host", "examplebucket.s3.amazonaws.com".into())],
            payload: UNSIGNED,
        };
        let query = signed.presigned(&keys(), "us-east-1", STAMP, 86400);
        assert_eq!(
            query,
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
        let token = Some("t/k".into());
        let ends = signed.presigned(&Credentials { token, ..keys() }, "us-east-1", STAMP, 60);
        assert!(
            ends.contains("&X-Amz-Security-Token=t%2Fk&X-Amz-SignedHeaders=host&"),
            "{ends}"
        );
    }

    /// The examples of Amazon's "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
    fn signature(
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        more: &[(&'static str, &str)],
        payload: &str,
    ) -> String {
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
        let whole = signed.authorization(&keys(), "us-east-1", STAMP);
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
