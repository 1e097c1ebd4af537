//! The note that stands under a file's incomplete name while its parts are at the server.

/// An upload that is not completed, as its note names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) key: String,
    pub(super) upload: String,
}

/// Larger objects are no notes.
pub(super) const LARGEST: u64 = 8192;
const FIRST: &str = "baredump: this is not the file, but how to get what of it was sent.";

impl Note {
    /// The text for a person who finds it.
    pub(super) fn text(&self, bucket: &str) -> String {
        let Self { key, upload } = self;
        format!(
            "{FIRST}\nIts parts are at the server as an upload that was not completed, until something aborts that.\n\
             key: {key}\nupload: {upload}\n\
             These commands make a file of them, under the final name although it is not whole:\n\
             aws s3api list-parts --bucket '{bucket}' --key '{key}' --upload-id '{upload}' --query '{{Parts: Parts[].{{PartNumber: PartNumber, ETag: ETag}}}}' > parts.json\n\
             aws s3api complete-multipart-upload --bucket '{bucket}' --key '{key}' --upload-id '{upload}' --multipart-upload file://parts.json\n"
        )
    }

    /// Reads a note back.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        text.starts_with(FIRST).then_some(())?;
        Some(Self {
            key: value("key: ")?.to_owned(),
            upload: value("upload: ")?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_back() {
        let note = Note {
            key: "a/vmcore.flat".into(),
            upload: "x~1/".into(),
        };
        let text = note.text("b");
        assert_eq!(Note::parse(text.as_bytes()), Some(note));
        assert!(text.len() < 8192 && Note::parse(b"makedumpfile").is_none());
    }
}
