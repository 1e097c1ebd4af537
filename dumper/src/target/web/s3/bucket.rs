//! A bucket: requests that are signed, and sent again when they may do better.

use super::credentials::Credentials;
use super::sign::{self, Signed, UNSIGNED};
use super::xml;
use crate::target::utc;
use crate::target::web::client::{Client, Head, Sending};
use crate::target::web::clock::Clock;
use crate::target::web::failure::Failure;
use crate::target::web::names::encode;
use crate::target::web::remarks::Remarks;
use crate::target::web::reply::Reply;
use crate::target::web::retry::persist;

/// Where and as whom requests are sent.
pub(super) struct Bucket {
    pub(super) client: Client,
    pub(super) keys: Credentials,
    pub(super) region: String,
    /// The server as requests name it.
    pub(super) host: String,
    /// In front of every key: `/` or `/BUCKET/`.
    pub(super) base: String,
    /// Whether payloads must be signed: without TLS nothing else protects them.
    pub(super) signs_payload: bool,
    /// Whether the server wants checksums of its own: it says so.
    pub(super) checksums: bool,
    pub(super) clock: Clock,
    /// What the report should say.
    pub(super) remarks: Remarks,
}

/// A request to an object.
#[derive(Clone, Copy, Default)]
pub(super) struct Call<'a> {
    pub(super) method: &'static str,
    pub(super) key: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// What is to be signed besides the usual.
    pub(super) header: Option<(&'static str, &'a str)>,
    pub(super) body: &'a [u8],
}

impl Bucket {
    /// Sends a request until it succeeds, or cannot, or has been tried often enough.
    pub(super) fn call(&mut self, call: &Call<'_>) -> Result<Reply, Failure> {
        let limit = self.client.whole();
        let again = |bucket: &mut Self, failure: &Failure| {
            let what = format!("{} {}", call.method, call.key);
            bucket.remarks.again(&what, failure);
        };
        persist(self, limit, |bucket| bucket.once(call), again)
    }

    /// Sends a request, and once more when the server's clock or its wish for checksums was not known.
    pub(super) fn once(&mut self, call: &Call<'_>) -> Result<Reply, Failure> {
        let mut learned = false;
        loop {
            let reply = self.client.exchange(&self.head(call), call.body)?;
            if (200..300).contains(&reply.status) {
                return Ok(reply);
            }
            if learned || !self.learns(&reply) {
                return Err(Failure::Status {
                    status: reply.status,
                    code: xml::code(&reply.body),
                });
            }
            learned = true;
        }
    }

    /// Begins a request whose body of `length` bytes is written while it is made; none where what it begins with depends on the
    /// body, or the server is away.
    pub(super) fn begin(&mut self, call: &Call<'_>, length: usize) -> Option<Sending> {
        let early = !self.signs_payload && !self.checksums;
        let head = early.then(|| self.head(call))?;
        self.client.begin(&head, Some(length)).ok()
    }

    /// Whether a refusal says what to do better.
    fn learns(&mut self, reply: &Reply) -> bool {
        let code = xml::code(&reply.body);
        let wants_checksum = (code == "InvalidRequest" || code.starts_with("Missing"))
            && (xml::has(&reply.body, "Content-MD5") || xml::has(&reply.body, "checksum"));
        if wants_checksum && !self.checksums {
            self.checksums = true;
            return true;
        }
        let refused = matches!(reply.status, 400 | 401 | 403);
        let date = reply.header("date").filter(|_| refused);
        if !date.is_some_and(|date| self.clock.heed(date)) {
            return false;
        }
        let ahead = self.clock.ahead();
        self.remarks.add(&format!(
            "the server's clock is {} s {} this machine's: requests are signed with its time",
            ahead.abs(),
            if ahead > 0 { "ahead of" } else { "behind" },
        ));
        true
    }

    fn head(&self, call: &Call<'_>) -> Head {
        let payload = match self.signs_payload {
            true => sign::hash(call.body),
            false => UNSIGNED.to_owned(),
        };
        let stamp = utc(self.clock.now());
        let mut headers = vec![
            ("host", self.host.clone()),
            ("x-amz-content-sha256", payload.clone()),
            ("x-amz-date", stamp.clone()),
        ];
        if let Some(token) = &self.keys.token {
            headers.push(("x-amz-security-token", token.clone()));
        }
        headers.extend(call.header.map(|(name, value)| (name, value.to_owned())));
        if self.checksums && call.method == "PUT" && !call.body.is_empty() {
            headers.push(("x-amz-checksum-crc32", crc32(call.body)));
        }
        let path = format!("{}{}", self.base, encode(call.key, true));
        let signed = Signed {
            method: call.method,
            path: &path,
            query: call.query,
            headers: &headers,
            payload: &payload,
        };
        let authorization = signed.authorization(&self.keys, &self.region, &stamp);
        headers.push(("authorization", authorization));
        let query = sign::query(call.query);
        let mark = if query.is_empty() { "" } else { "?" };
        Head {
            method: call.method,
            target: format!("{path}{mark}{query}"),
            headers,
        }
    }
}

/// A CRC-32 as S3 writes it: big-endian, base64.
pub(super) fn crc32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u64::from(crc32fast::hash(bytes)) << 4;
    let digit = |n: u32| char::from(DIGITS[usize::try_from(bits >> (6 * n) & 63).unwrap_or(0)]);
    (0..6).rev().map(digit).chain("==".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_written_as_amazon_does() {
        // CRC-32 of the check string is cbf43926.
        assert_eq!(crc32(b"123456789"), "y/Q5Jg==");
        assert_eq!(crc32(b""), "AAAAAA==");
    }
}
