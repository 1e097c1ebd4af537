//! The few words that are taken out of S3's replies. They are XML, which is not parsed: each word is between two tags that occur
//! once.

/// Longer words are none.
const LONGEST: usize = 1024;

/// The text of the first element `name`, entities resolved.
pub(super) fn text(body: &[u8], name: &str) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    (text.len() <= LONGEST).then(|| unescape(text.trim()))
}

/// The word for an error.
pub(in crate::target::web) fn code(body: &[u8]) -> String {
    let known = |code: &String| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    has(body, "<Error")
        .then(|| text(body, "Code"))
        .flatten()
        .filter(known)
        .unwrap_or_default()
}

/// Whether the body has this.
pub(super) fn has(body: &[u8], what: &str) -> bool {
    std::str::from_utf8(body).is_ok_and(|body| body.contains(what))
}

const ENTITIES: [(&str, &str); 6] = [
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("&apos;", "'"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
];

fn unescape(text: &str) -> String {
    let replace = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    ENTITIES.iter().fold(text.to_owned(), replace)
}

/// What a text is written as.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_reply() {
        let reply = b"<?xml version=\"1.0\"?>\n<A xmlns=\"x\"><ETag>&quot;ab&amp;&quot;</ETag><UploadId> u/1 </UploadId></A>";
        assert_eq!(text(reply, "ETag").unwrap(), "\"ab&\"");
        assert_eq!(text(reply, "UploadId").unwrap(), "u/1");
        assert_eq!(escape("\"ab&\""), "&quot;ab&amp;&quot;");
        assert_eq!(
            code(b"<Error><Code>NoSuchBucket</Code><Message>x</Message></Error>"),
            "NoSuchBucket"
        );
        assert_eq!(code(b"<Error><Code>no\x1b[2J</Code></Error>"), "");
        assert_eq!(code(b"<Code>a</Code>"), "");
        for bad in [&b"<ETag>"[..], b"</ETag><ETag>", b"\xff<ETag>a</ETag>", b""] {
            assert_eq!(text(bad, "ETag"), None);
        }
    }
}
