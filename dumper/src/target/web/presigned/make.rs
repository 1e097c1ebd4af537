//! Making a set of pre-signed URLs with the keys of a bucket, on a machine that has them. Nothing is sent.

use super::ends::Ends;
use super::{REPORT, names, part};
use crate::target::spec::{Kind, TargetSpec};
use crate::target::utc;
use crate::target::web::clock;
use crate::target::web::names::{encode, join, numbered};
use crate::target::web::s3::Where;
use crate::target::web::s3::credentials::Credentials;
use crate::target::web::s3::sign::{Signed, UNSIGNED};
use std::fmt::Write;

/// For how many seconds URLs can be good, which Signature Version 4 says: 7 days.
pub const LONGEST: u32 = 7 * 24 * 3600;
/// For logs of so many bytes there are URLs.
const LOG: u64 = 16 << 20;
/// A report lists no more files, and a file of URLs is no larger than 1 MiB.
const MOST: u64 = 9_000;

/// What a set should be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The directory below the target's prefix; its own for each set, when it is not said.
    pub dir: Option<String>,
    /// For how long it is good.
    pub seconds: u32,
    /// Bytes of the vmcore that there is room for.
    pub room: u64,
    /// Whether dumps are encrypted.
    pub sealed: bool,
    /// Whether logs are.
    pub sealed_log: bool,
}

/// The text of a file of URLs for a target.
///
/// # Errors
/// When the target is no bucket, the keys are none, or more is wished than there can be.
pub fn make(spec: &TargetSpec, credentials: &str, wish: &Wish) -> Result<String, String> {
    made_at(clock::own(), spec, credentials, wish)
}

fn made_at(now: i64, spec: &TargetSpec, credentials: &str, wish: &Wish) -> Result<String, String> {
    let keys = Credentials::parse(credentials)?;
    if !(1..=LONGEST).contains(&wish.seconds) {
        return Err("a pre-signed URL is good for at most 7 days".into());
    }
    let stamp = utc(now);
    let dir = wish.dir.clone();
    let dir = dir.unwrap_or_else(|| format!("presigned-{stamp}"));
    let signer = Signer::of(spec, &keys, &dir, &stamp, wish.seconds)?;
    let size = part(spec) as u64;
    let count = |room: u64| room.max(1).div_ceil(size.max(1));
    if count(wish.room) > MOST {
        return Err(format!(
            "more than {MOST} pieces: name larger ones with part= in the target"
        ));
    }
    let [vmcore, dmesg] = names(wish.sealed, wish.sealed_log);
    let ends = Ends::after(now, wish.seconds.into());
    let mut text = format!(
        "# Pre-signed URLs for one dump at {spec} in {dir}:\n# {} MiB of {vmcore}, until {ends}\n",
        count(wish.room) * (size >> 20)
    );
    let files = [
        (REPORT, 1),
        (&dmesg, count(LOG)),
        (&vmcore, count(wish.room)),
    ];
    for (name, count) in files {
        for number in 1..=u32::try_from(count).unwrap_or(u32::MAX) {
            let _ = writeln!(text, "{}", signer.url(&numbered(name, number)));
        }
    }
    // What is wrong with the directory is seen by who reads it.
    super::check(&text, spec, wish.sealed, wish.sealed_log).map(|_| text)
}

/// What all URLs of a set have in common.
struct Signer<'a> {
    keys: &'a Credentials,
    region: &'a str,
    scheme: &'static str,
    authority: String,
    /// The path of the directory, encoded, with a slash at its end.
    base: String,
    stamp: &'a str,
    seconds: u32,
}

impl<'a> Signer<'a> {
    fn of(
        spec: &'a TargetSpec,
        keys: &'a Credentials,
        dir: &str,
        stamp: &'a str,
        seconds: u32,
    ) -> Result<Self, String> {
        let (Some(at), Kind::S3 { prefix, .. }) = (Where::of(spec), &spec.kind) else {
            return Err("pre-signed URLs are for s3: targets".into());
        };
        Ok(Self {
            keys,
            region: at.region,
            scheme: if at.tls { "https" } else { "http" },
            base: format!("{}{}/", at.base, encode(&join(prefix, dir), true)),
            authority: at.authority,
            stamp,
            seconds,
        })
    }

    fn url(&self, name: &str) -> String {
        let path = format!("{}{}", self.base, encode(name, false));
        let headers = [("host", self.authority.clone())];
        let signed = Signed {
            method: "PUT",
            path: &path,
            query: &[],
            headers: &headers,
            payload: UNSIGNED,
        };
        let query = signed.presigned(self.keys, self.region, self.stamp, self.seconds);
        format!("{}://{}{path}?{query}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::web::presigned::{check, ends};

    const KEYS: &str = "aws_access_key_id = AKIA\naws_secret_access_key = wJalr\n";

    fn wish() -> Wish {
        Wish {
            dir: None,
            seconds: 3600,
            room: 11 << 20,
            sealed: false,
            sealed_log: false,
        }
    }

    fn made(target: &str, wish: &Wish) -> Result<String, String> {
        made_at(1_000_000_000, &target.parse().unwrap(), KEYS, wish)
    }

    #[test]
    fn a_set_is_what_the_check_wants() {
        for (target, front) in [
            (
                "s3://b/p?endpoint=http://h:9000",
                "http://h:9000/b/p/presigned-20010909T014640Z/",
            ),
            (
                "s3://b/a%20b?region=eu-west-1",
                "https://b.s3.eu-west-1.amazonaws.com/a%20b/presigned-",
            ),
            (
                "s3://b.c?region=eu-west-1",
                "https://s3.eu-west-1.amazonaws.com/b.c/presigned-",
            ),
            (
                "s3://b?endpoint=https://[fd00::5]",
                "https://[fd00::5]/b/presigned-",
            ),
        ] {
            let text = made(target, &wish()).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            assert!(lines.clone().all(|line| line.starts_with(front)), "{text}");
            assert_eq!(lines.count(), 1 + 4 + 3);
            assert!(!text.contains("wJalr"));
            let found = check(&text, &target.parse().unwrap(), false, false).unwrap();
            assert_eq!((found.pieces, found.room), (3, 15 << 20));
            assert_eq!(ends(&text), Some(found.ends));
            assert_eq!(found.ends, Ends::after(1_000_000_000, 3600));
        }
        let sealed = Wish {
            sealed: true,
            sealed_log: true,
            dir: Some("web1".into()),
            ..wish()
        };
        let target = "s3://b?endpoint=http://h&part=64";
        let text = made(target, &sealed).unwrap();
        assert!(
            text.contains("/b/web1/vmcore.flat.age?") && !text.contains("age.2"),
            "{text}"
        );
        let spec = target.parse().unwrap();
        assert!(check(&text, &spec, true, true).is_ok());
        let error = check(&text, &spec, true, false).unwrap_err();
        assert!(error.contains("no URL for vmcore-dmesg.txt:"), "{error}");
        let error = check(&text, &spec, false, false).unwrap_err();
        assert!(error.contains("no URL for vmcore.flat:"), "{error}");
    }

    #[test]
    fn more_than_there_can_be_is_refused() {
        let error = |target: &str, wish: &Wish| made(target, wish).unwrap_err();
        let target = "s3://b?endpoint=http://h";
        assert!(
            error(
                target,
                &Wish {
                    seconds: LONGEST + 1,
                    ..wish()
                }
            )
            .contains("7 days")
        );
        assert!(
            error(
                target,
                &Wish {
                    seconds: 0,
                    ..wish()
                }
            )
            .contains("7 days")
        );
        assert!(
            error(
                target,
                &Wish {
                    room: u64::MAX,
                    ..wish()
                }
            )
            .contains("part=")
        );
        assert!(
            error(
                target,
                &Wish {
                    room: 40 << 30,
                    ..wish()
                }
            )
            .contains("1 MiB")
        );
        assert!(
            error(
                target,
                &Wish {
                    dir: Some("../x".into()),
                    ..wish()
                }
            )
            .contains("below")
        );
        assert!(error("https://h/", &wish()).contains("s3:"));
        let spec = target.parse().unwrap();
        assert!(
            make(&spec, "", &wish())
                .unwrap_err()
                .contains("aws_access_key_id")
        );
    }
}
