//! One multipart upload: parts, and in the end an object.

use super::bucket::{Bucket, Call, crc32};
use super::note::Note;
use super::{S3Place, xml};
use crate::target::place::Part;
use crate::target::web::client::Sending;
use crate::target::web::failure::Failure;
use crate::target::web::reply::Reply;
use crate::target::web::retry::persist;
use std::fmt::Write;

/// Longer names of uploads and parts are not believed.
const LONGEST: usize = 1024;

/// An upload that is not completed.
pub(super) struct Object {
    /// Its name in the directory.
    name: String,
    upload: String,
    /// What the server called the parts, and their checksums where it wants them.
    parts: Vec<(Box<str>, Option<Box<str>>)>,
    bytes: u64,
    crc: crc32fast::Hasher,
}

impl Object {
    /// Begins an upload.
    pub(super) fn create(place: &S3Place, name: &str) -> Result<Self, Failure> {
        let key = place.key(name);
        let wants = place.bucket().checksums;
        let call = Call {
            method: "POST",
            key: &key,
            query: &[("uploads", "")],
            header: wants.then_some(("x-amz-checksum-algorithm", "CRC32")),
            ..Call::default()
        };
        let reply = place.bucket().call(&call)?;
        let plain = |id: &String| {
            !id.is_empty()
                && id.len() <= LONGEST
                && id
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !b"'\"\\<>&".contains(&b))
        };
        let upload = xml::text(&reply.body, "UploadId").filter(plain);
        Ok(Self {
            name: name.into(),
            upload: upload.ok_or(Failure::Reply("names no upload"))?,
            parts: Vec::new(),
            bytes: 0,
            crc: crc32fast::Hasher::new(),
        })
    }

    /// Parts so far.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// What the report says of it.
    pub(super) fn listed(&self) -> Part {
        Part {
            crc32: Some(self.crc.clone().finalize()),
            ..Part::new(&self.name, self.bytes)
        }
    }

    /// What says where its parts are.
    pub(super) fn note(&self, place: &S3Place) -> Note {
        Note {
            key: place.key(&self.name),
            upload: self.upload.clone(),
        }
    }

    /// Sends a part.
    pub(super) fn part(&mut self, place: &S3Place, bytes: &[u8]) -> Result<(), Failure> {
        let reply = self.next(place, |call| {
            place.bucket().call(&Call {
                body: bytes,
                ..*call
            })
        })?;
        self.add(place, &reply, bytes)
    }

    /// Begins to send a part that is still being made.
    pub(super) fn begin_part(&self, place: &S3Place, length: usize) -> Option<Sending> {
        self.next(place, |call| place.bucket().begin(call, length))
    }

    /// Ends a part that was sent while it was made.
    pub(super) fn end_part(
        &mut self,
        place: &S3Place,
        sending: Sending,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let reply = place.bucket().client.end(sending)?;
        match reply.status {
            200..=299 => self.add(place, &reply, bytes),
            _ => Err(Failure::Reply("refuses a part")),
        }
    }

    /// Does something with the request for the next part, which has no body yet.
    fn next<T>(&self, place: &S3Place, then: impl FnOnce(&Call<'_>) -> T) -> T {
        let key = place.key(&self.name);
        let number = (self.parts.len() + 1).to_string();
        then(&Call {
            method: "PUT",
            key: &key,
            query: &[("partNumber", &number), ("uploadId", &self.upload)],
            ..Call::default()
        })
    }

    fn add(&mut self, place: &S3Place, reply: &Reply, bytes: &[u8]) -> Result<(), Failure> {
        let tag = reply.header("etag").filter(|tag| tag.len() <= LONGEST);
        let tag = tag.ok_or(Failure::Reply("names no part"))?;
        let sum = place.bucket().checksums.then(|| crc32(bytes).into());
        self.parts.push((tag.into(), sum));
        self.bytes += bytes.len() as u64;
        self.crc.update(bytes);
        Ok(())
    }

    /// Makes the object of the parts.
    pub(super) fn complete(&self, place: &S3Place) -> Result<(), Failure> {
        place.bucket().client.patient(true);
        let completed = self.put_together(place);
        place.bucket().client.patient(false);
        completed
    }

    fn put_together(&self, place: &S3Place) -> Result<(), Failure> {
        let key = place.key(&self.name);
        let body = self.list();
        let call = Call {
            method: "POST",
            key: &key,
            query: &[("uploadId", &self.upload)],
            body: body.as_bytes(),
            ..Call::default()
        };
        let limit = place.bucket().client.whole();
        let mut lost = false;
        let once = |bucket: &mut Bucket| completed(&bucket.once(&call)?);
        let again = |bucket: &mut Bucket, failure: &Failure| {
            lost = true;
            bucket.remarks.again(&format!("POST {key}"), failure);
        };
        let done = persist(&mut *place.bucket(), limit, once, again);
        match done {
            // The answer to a try before this one can be lost.
            Err(Failure::Status { code, .. }) if code == "NoSuchUpload" => {
                self.is_there(place, code, lost)
            }
            done => done,
        }
    }

    fn is_there(&self, place: &S3Place, code: String, lost: bool) -> Result<(), Failure> {
        match place.head(&self.name) {
            Ok(Some(bytes)) if bytes == self.bytes => Ok(()),
            // Nobody else ends this upload.
            Err(Failure::Status { .. }) if lost => {
                let text = format!(
                    "the upload of {} is over, and this key may not see that it was completed",
                    self.name
                );
                place.bucket().remarks.add(&text);
                Ok(())
            }
            Err(e) => Err(e),
            Ok(_) => Err(Failure::Status { status: 404, code }),
        }
    }

    fn list(&self) -> String {
        let mut text = String::from(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
        );
        for ((tag, sum), number) in self.parts.iter().zip(1..) {
            let number: u32 = number;
            let sum = sum.as_deref().map_or_else(String::new, |sum| {
                format!("<ChecksumCRC32>{sum}</ChecksumCRC32>")
            });
            let tag = xml::escape(tag);
            let _ = write!(
                text,
                "<Part>{sum}<ETag>{tag}</ETag><PartNumber>{number}</PartNumber></Part>"
            );
        }
        text.push_str("</CompleteMultipartUpload>");
        text
    }

    /// Gives the parts up.
    pub(super) fn abort(&self, place: &S3Place) {
        abort(place, &place.key(&self.name), &self.upload);
    }
}

/// Gives the parts of an upload up. When that fails the server's rule for old uploads does it some day.
pub(super) fn abort(place: &S3Place, key: &str, upload: &str) {
    let call = Call {
        method: "DELETE",
        key,
        query: &[("uploadId", upload)],
        ..Call::default()
    };
    let _ = place.bucket().once(&call);
}

/// The status of a completion is sent before the server knows how it ends.
fn completed(reply: &Reply) -> Result<(), Failure> {
    if xml::has(&reply.body, "<Error") {
        let code = xml::code(&reply.body);
        let status = match code.as_str() {
            "InternalError" | "SlowDown" | "ServiceUnavailable" => 503,
            _ => 400,
        };
        return Err(Failure::Status { status, code });
    }
    if !xml::has(&reply.body, "CompleteMultipartUploadResult") {
        return Err(Failure::Reply("does not say that the upload is complete"));
    }
    Ok(())
}
