//! The file of pre-signed URLs: one a line, `#` comments and empty lines between them. What a URL is for is the last segment of its
//! path: `vmcore.flat`, `vmcore.flat.2`, … (with recipients `vmcore.flat.age`, …), `vmcore-dmesg.txt`, `report.json`. All of them are
//! of one directory. A URL's query is a secret: no error has it.

use super::ends::{self, Ends};
use super::site::Site;
use crate::report::cut;
use crate::target::spec::{TargetSpec, url};
use crate::target::web::names::numbered;
use std::collections::BTreeMap;

/// Longer files are none.
const LARGEST: usize = 1 << 20;
/// Longer URLs are none.
const LONGEST: usize = 4096;
/// A report lists no more files.
const MOST: usize = 9_000;
/// Bytes of a name that are shown.
const SHOWN: usize = 64;

/// The URLs of a set.
pub(super) struct Urls {
    /// Path and query by what they are for.
    files: BTreeMap<String, String>,
    /// The server as the URLs name it, perhaps with a port.
    pub(super) authority: String,
    /// Its name alone.
    pub(super) host: String,
    /// The directory in the bucket.
    pub(super) dir: String,
    /// When the first of them ends.
    pub(super) ends: Ends,
}

/// One of them.
struct Url<'a> {
    authority: &'a str,
    host: String,
    dir: String,
    name: String,
    target: &'a str,
    ends: Ends,
}

impl Urls {
    /// Reads a file for a target. Errors name a line, and the file that its URL is for.
    pub(super) fn parse(text: &str, spec: &TargetSpec) -> Result<Self, String> {
        let site = Site::of(spec).ok_or("pre-signed URLs are for s3: targets")?;
        if text.len() > LARGEST {
            return Err("it is larger than 1 MiB".into());
        }
        let mut all: Option<Self> = None;
        for (number, line) in lines(text) {
            let at = |why: String| format!("line {number}{why}");
            let one = Url::parse(line, &site).map_err(at)?;
            let shown = shown(&one.name);
            let all = all.get_or_insert_with(|| Self {
                files: BTreeMap::new(),
                authority: one.authority.into(),
                host: one.host.clone(),
                dir: one.dir.clone(),
                ends: one.ends,
            });
            if (&*all.authority, &*all.dir) != (one.authority, &*one.dir) {
                let why = format!(
                    " ({shown}) is in {} at {}, the first URL in {} at {}: all must be in one directory",
                    one.dir, one.authority, all.dir, all.authority
                );
                return Err(at(why));
            }
            all.ends = all.ends.min(one.ends);
            if all.files.insert(one.name, one.target.into()).is_some() {
                return Err(at(format!(" ({shown}) is for the same file as one before")));
            }
            if all.files.len() > MOST {
                return Err(format!("it has more than {MOST} URLs"));
            }
        }
        let all = all.ok_or("it has no URL: make some with baredumpctl presign")?;
        all.gapless().map(|()| all)
    }

    /// Path and query of the URL for a file.
    pub(super) fn target(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// For how many pieces of a file there are URLs.
    pub(super) fn pieces(&self, name: &str) -> u32 {
        let there = |number: &u32| self.files.contains_key(&numbered(name, *number));
        let count = (1..).take_while(there).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether each number of a file follows the one before.
    fn gapless(&self) -> Result<(), String> {
        let mut known = 0;
        for name in BASES {
            for sealed in ["", ".age"] {
                known += self.pieces(&format!("{name}{sealed}")) as usize;
            }
        }
        if known == self.files.len() {
            return Ok(());
        }
        let odd = self.files.keys().find(|name| {
            let number = number(name).unwrap_or(1);
            let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let base = base.trim_end_matches('.');
            number > self.pieces(base)
        });
        Err(format!(
            "it has a URL for {}, and none for the piece before",
            odd.map_or_else(String::new, |name| shown(name))
        ))
    }
}

/// What there can be URLs for, besides what is behind these names.
const BASES: [&str; 3] = ["vmcore.flat", "vmcore-dmesg.txt", "report.json"];

/// The number of a piece, when the name is one of a dump's files.
fn number(name: &str) -> Option<u32> {
    let rest = BASES.iter().find_map(|base| name.strip_prefix(base))?;
    let rest = rest.strip_prefix(".age").unwrap_or(rest);
    if rest.is_empty() {
        return Some(1);
    }
    let digits = rest.strip_prefix('.')?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let number = digits.parse().ok().filter(|_| plain)?;
    (number >= 2).then_some(number)
}

impl<'a> Url<'a> {
    /// Judges a line; what is wrong is said after its number.
    fn parse(line: &'a str, site: &Site<'_>) -> Result<Self, String> {
        if line.len() > LONGEST {
            return Err(format!(" is longer than {LONGEST} bytes"));
        }
        if !line.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(" has characters that no URL has".into());
        }
        let (front, query) = line.split_once('?').unwrap_or((line, ""));
        let (scheme, rest) = front.split_once(':').ok_or(" is no URL")?;
        let whole = url::authority(rest).map_err(|_| " is no URL of a server".to_owned())?;
        let server = rest.trim_start_matches('/');
        let (authority, _) = server.split_once('/').unwrap_or((server, ""));
        let name = whole.path.rsplit('/').next().unwrap_or_default().to_owned();
        let at = |why: &str| format!(" ({}) {why}", shown(&name));
        let dir = site.dir(scheme, &whole).map_err(|why| at(&why))?;
        if number(&name).is_none() {
            return Err(at(
                "is for no file of a dump: those are vmcore.flat, vmcore.flat.2, …, vmcore-dmesg.txt and report.json, the first two with .age \
                 where recipients are set",
            ));
        }
        signs_host_alone(query).map_err(at)?;
        let ends =
            Ends::of(query).ok_or_else(|| at("does not say when it ends: it is not pre-signed"))?;
        let path = scheme.len() + "://".len() + authority.len();
        Ok(Self {
            authority,
            host: whole.host,
            dir,
            name,
            target: line.get(path..).unwrap_or_default(),
            ends,
        })
    }
}

/// The capture sends no header that the one who signs could know.
fn signs_host_alone(query: &str) -> Result<(), &'static str> {
    let signed = ["X-Amz-SignedHeaders", "X-Goog-SignedHeaders"];
    let mut signed = signed.iter().filter_map(|name| ends::value(query, name));
    match signed.all(|headers| headers.eq_ignore_ascii_case("host")) {
        true => Ok(()),
        false => Err("has other headers signed than `host`: sign that alone"),
    }
}

/// The lines that are neither empty nor comments, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// A name that anybody can have written.
fn shown(name: &str) -> String {
    cut(name, SHOWN).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "s3://b/p?endpoint=https://h:9000";
    const GOOD: &str = "X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=SECRET";

    fn parse(target: &str, text: &str) -> Result<Urls, String> {
        Urls::parse(text, &target.parse().unwrap())
    }

    fn set(front: &str, names: &[&str]) -> String {
        let line = |name: &&str| format!("{front}/{name}?{GOOD}\n");
        names.iter().map(line).collect()
    }

    #[test]
    fn a_set_of_urls() {
        let names = [
            "vmcore.flat",
            "vmcore.flat.2",
            "vmcore.flat.3",
            "vmcore-dmesg.txt",
            "report.json",
        ];
        let text = format!(
            "# made today\n\n{}",
            set("https://h:9000/b/p/a%20dir", &names)
        );
        let urls = parse(TARGET, &text).unwrap();
        assert_eq!(
            (&*urls.authority, &*urls.host, &*urls.dir),
            ("h:9000", "h", "p/a dir")
        );
        assert_eq!(
            (urls.pieces("vmcore.flat"), urls.pieces("vmcore.flat.age")),
            (3, 0)
        );
        let target = urls.target("vmcore.flat.2").unwrap();
        assert_eq!(target, format!("/b/p/a%20dir/vmcore.flat.2?{GOOD}"));
        assert_eq!(urls.ends.to_string(), "2013-05-25 00:00:00 UTC");
        // The earliest end counts.
        let sooner = text.replacen("86400", "60", 1);
        assert_eq!(
            parse(TARGET, &sooner).unwrap().ends.to_string(),
            "2013-05-24 00:01:00 UTC"
        );
        // The bucket in the server's name.
        let text = set("https://b.h:9000/p", &["report.json"]);
        assert_eq!(parse(TARGET, &text).unwrap().authority, "b.h:9000");
        let amazon = set("https://b.s3.eu-west-1.amazonaws.com", &["report.json"]);
        let urls = parse("s3://b?region=eu-west-1", &amazon).unwrap();
        assert_eq!(
            (&*urls.host, &*urls.dir),
            ("b.s3.eu-west-1.amazonaws.com", "")
        );
    }

    #[test]
    fn what_does_not_belong_is_named_without_its_query() {
        let front = "https://h:9000/b/p/d";
        let url = |front: &str, name: &str| set(front, &[name]);
        for (text, words) in [
            (String::new(), "no URL"),
            ("# nothing\n".into(), "no URL"),
            ("vmcore.flat?SECRET".into(), "line 1 is no URL"),
            (
                format!("{}\u{7}", url(front, "report.json").trim()),
                "line 1 has characters",
            ),
            (
                url("http://h:9000/b/p", "report.json"),
                "line 1 (report.json) ",
            ),
            (
                url("https://u@h:9000/b/p", "report.json"),
                "line 1 (report.json) ",
            ),
            (url("https://h/b/p", "report.json"), "h:9000"),
            (
                url("https://other:9000/b/p", "report.json"),
                "line 1 (report.json) ",
            ),
            (url("https://h:9000/other/p", "report.json"), "bucket b"),
            (url("https://b.h:9000/other", "report.json"), "below /p"),
            (url("https://h:9000/b/pp", "report.json"), "below /p"),
            (
                url("https://h:9000/b/p/../x", "report.json"),
                "line 1 (report.json) ",
            ),
            (url(front, "vmcore"), "line 1 (vmcore) is for no file"),
            (url(front, "vmcore.flat.02"), "is for no file"),
            (url(front, "vmcore.flat.1"), "is for no file"),
            (url(front, "%1b[2J"), "line 1 (\\u{1b}[2J) is for no file"),
            (
                url(front, "vmcore.flat.2"),
                "a URL for vmcore.flat.2, and none",
            ),
            (
                set(
                    front,
                    &["report.json", "vmcore.flat.age", "vmcore.flat.age.3"],
                ),
                "vmcore.flat.age.3, and none",
            ),
            (
                set(front, &["report.json", "report.json"]),
                "line 2 (report.json) is for the same",
            ),
            (
                url(front, "report.json") + &url("https://h:9000/b/p/e", "vmcore.flat"),
                "line 2 (vmcore.flat) is in p/e",
            ),
            (format!("{front}/report.json?SECRET"), "not pre-signed"),
            (
                url(front, "report.json").replace("=host", "=content-length%3Bhost"),
                "other headers",
            ),
            (
                format!("{front}/report.json?{}", "SECRET".repeat(800)),
                "longer than 4096",
            ),
            ("#".repeat((1 << 20) + 1), "larger than 1 MiB"),
        ] {
            let error = parse(TARGET, &text).err().unwrap();
            assert!(
                error.contains(words) && !error.contains("SECRET"),
                "{words}: {error}"
            );
            assert!(!error.contains('\u{1b}') && error.len() < 400, "{error}");
        }
        assert!(parse("https://h/", "").is_err());
    }
}
