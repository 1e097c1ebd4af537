//! Keys and certificates that the targets need, checked before they go into the image: at the crash it is too late.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use baredump::config::Config;
use baredump::target::ssh::Keys;
use baredump::target::{Kind, TargetSpec, web};

use super::say;

/// A file of the image below `/etc/baredump`, and its bytes.
pub(super) type Private = (&'static str, Vec<u8>);

/// Pre-signed URLs.
pub(super) const PRESIGNED: &str = "presigned";
/// Larger files are no keys.
const LARGEST: u64 = 1 << 20;

/// What the targets need, and whom everything is sealed to.
pub(super) fn files(config: &Config) -> Result<Vec<Private>> {
    let mut files = Vec::new();
    check_names(config)?;
    for target in &config.targets {
        match &target.kind {
            Kind::Sftp { .. } => ssh(config, target, &mut files)?,
            Kind::S3 { .. } => s3(config, target, &mut files)?,
            _ => {}
        }
        let tls = match &target.kind {
            Kind::Http { tls, .. } => *tls,
            Kind::S3 { endpoint, .. } => {
                endpoint.as_deref().is_none_or(|e| e.starts_with("https:"))
            }
            _ => false,
        };
        if tls {
            let path = needed(target, "ca", config.ca.as_deref())?;
            one(&mut files, "ca.pem", path)?;
            checked(&files, "ca.pem", path, web::check_certificates)?;
        }
    }
    if !config.recipients.is_empty() {
        baredump::seal::Recipients::parse(&config.recipients).map_err(anyhow::Error::from)?;
        files.push(("sealed", config.recipients.join("\n").into()));
    }
    if files
        .iter()
        .any(|(name, _)| matches!(*name, "ca.pem" | "known_hosts" | PRESIGNED))
    {
        files.push(("built", built().into()));
    }
    Ok(files)
}

fn s3(config: &Config, target: &TargetSpec, files: &mut Vec<Private>) -> Result<()> {
    match (&config.s3_credentials, &config.presigned) {
        (Some(path), None) => {
            one(files, "s3_credentials", path)?;
            checked(files, "s3_credentials", path, |text| {
                web::check_credentials(&String::from_utf8_lossy(text)).map_err(str::to_owned)
            })
        }
        (None, Some(path)) => presigned(config, target, path, files),
        (None, None) => bail!(
            "target {target} needs a file that the configuration does not name: set `s3_credentials`, or `presigned` for URLs in the place of keys"
        ),
        (Some(_), Some(_)) => bail!(
            "`s3_credentials` and `presigned` are both set, and target {target} needs one: take the other out"
        ),
    }
}

/// URLs are shown with their end, and refused when they are over.
fn presigned(
    config: &Config,
    target: &TargetSpec,
    path: &Path,
    files: &mut Vec<Private>,
) -> Result<()> {
    one(files, PRESIGNED, path)?;
    let sealed = !config.recipients.is_empty();
    let sealed_log = sealed && !config.plaintext_log;
    checked(files, PRESIGNED, path, |text| {
        let text = String::from_utf8_lossy(text);
        let found = web::check_presigned(&text, target, sealed, sealed_log)?;
        let ends = found.ends;
        if ends.is_over() {
            return Err(format!(
                "the pre-signed URLs {}: make new ones with baredumpctl presign",
                ends.sentence()
            ));
        }
        say(&format!(
            "pre-signed URLs: {} for vmcore ({} MiB), {}",
            found.pieces,
            found.room >> 20,
            ends.sentence()
        ));
        if ends.is_near() {
            eprintln!("baredumpctl: {}", expiring(ends));
        }
        Ok(())
    })
}

/// What to do about URLs of which less than a day is left, or nothing.
pub(super) fn expiring(ends: web::Ends) -> String {
    format!(
        "the pre-signed URLs {}: make new ones with baredumpctl presign, then build the image anew and arm it",
        ends.sentence()
    )
}

/// Looks at a file that was taken. What is wrong with it is said, not what is in it.
fn checked(
    files: &[Private],
    name: &str,
    path: &Path,
    check: impl Fn(&[u8]) -> std::result::Result<(), String>,
) -> Result<()> {
    let file = files.iter().find(|(other, _)| *other == name);
    let done = file.map_or(Ok(()), |(_, bytes)| check(bytes));
    done.map_err(anyhow::Error::msg)
        .with_context(|| path.display().to_string())
}

/// Now, in seconds since 1970: a certificate or URL that is good now is not refused at the crash because the clock was reset.
fn built() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs()).to_string()
}

fn ssh(config: &Config, target: &TargetSpec, files: &mut Vec<Private>) -> Result<()> {
    let key = needed(target, "ssh_key", config.ssh_key.as_deref())?;
    let known_hosts = needed(target, "ssh_known_hosts", config.ssh_known_hosts.as_deref())?;
    one(files, "ssh_key", key)?;
    one(files, "known_hosts", known_hosts)?;
    let certificate = config.ssh_certificate.as_deref();
    Keys::read(key, certificate, known_hosts)?.check(target)?;
    match &config.ssh_certificate {
        Some(certificate) => one(files, "ssh_cert", certificate),
        None => Ok(()),
    }
}

/// Brings what the image was made of to the disk: after a panic within the time that file systems hold new files back, a
/// configuration that was just written would be empty. Nothing depends on it but the next image.
pub(super) fn sync(file: &Path, config: &Config) {
    for path in keys(config).map(|(_, path)| path).chain([file]) {
        for path in [Some(path), path.parent()].into_iter().flatten() {
            let _ = File::open(path).and_then(|file| file.sync_all());
        }
    }
}

/// The files that a configuration names, with their keys in it.
fn keys(config: &Config) -> impl Iterator<Item = (&'static str, &Path)> {
    named(config).map(|(key, _, path)| (key, path))
}

/// Key, name in the image, and file.
fn named(config: &Config) -> impl Iterator<Item = (&'static str, &'static str, &Path)> {
    let all = [
        ("ssh_key", "ssh_key", &config.ssh_key),
        ("ssh_certificate", "ssh_cert", &config.ssh_certificate),
        ("ssh_known_hosts", "known_hosts", &config.ssh_known_hosts),
        ("s3_credentials", "s3_credentials", &config.s3_credentials),
        ("presigned", PRESIGNED, &config.presigned),
        ("ca", "ca.pem", &config.ca),
    ];
    let all = all.into_iter();
    all.filter_map(|(key, name, path)| Some((key, name, path.as_deref()?)))
}

/// The files as they are now, by their names in the image.
pub(super) fn read_all(config: &Config) -> Result<Vec<Private>> {
    check_names(config)?;
    let files = named(config).map(|(_, name, path)| Ok((name, read(path)?)));
    files.collect()
}

/// A file that is named and not there is a typing error, also where no target needs it yet.
fn check_names(config: &Config) -> Result<()> {
    for (key, path) in keys(config) {
        let found = std::fs::metadata(path);
        let found = found.with_context(|| format!("`{key}` names {}", path.display()))?;
        if !found.is_file() {
            bail!("`{key}` names {}, which is no file", path.display());
        }
    }
    Ok(())
}

fn needed<'a>(target: &TargetSpec, key: &str, path: Option<&'a Path>) -> Result<&'a Path> {
    path.with_context(|| {
        format!("target {target} needs a file that the configuration does not name: set `{key}`")
    })
}

fn one(files: &mut Vec<Private>, name: &'static str, path: &Path) -> Result<()> {
    if files.iter().any(|(other, _)| *other == name) {
        return Ok(());
    }
    files.push((name, read(path)?));
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let shown = || path.display().to_string();
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(shown)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .with_context(shown)?;
    if bytes.len() as u64 > LARGEST {
        bail!(
            "{} is larger than 1 MiB: no key, certificate or set of URLs is",
            shown()
        );
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Of a pair that was made for this test only.
    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACDBErJeT46sVtTxHzeTO8bVhb7QRvt1ZG8sIPbnt+FPRQAAAIhVvHuBVbx7\ngQAAAAtzc2gtZWQyNTUxOQAAACDBErJeT46sVtTxHzeTO8bVhb7QRvt1ZG8sIPbnt+FPRQ\nAAAEDhEZM7t2IzuSAAgC9KIGiQVUA6h7YYIhz79HavKhy8q8ESsl5PjqxW1PEfN5M7xtWF\nvtBG+3Vkbywg9ue34U9FAAAABHRlc3QB\n-----END OPENSSH PRIVATE KEY-----";
    const HOSTS: &str =
        "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn what_a_target_needs_must_be_named_and_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("key"), KEY).unwrap();
        fs::write(path("hosts"), HOSTS).unwrap();
        fs::write(path("none of h"), "other ssh-ed25519 AAAA").unwrap();
        let config = |more: &str| {
            let text = format!("targets = [\"sftp://u@h/d\"]\n{more}");
            Config::from_toml_strict(&text).unwrap()
        };
        let error = |more: &str| format!("{:#}", files(&config(more)).unwrap_err());
        assert!(error("").contains("`ssh_key`"), "{}", error(""));
        let key = format!("ssh_key = {:?}\n", path("key"));
        assert!(error(&key).contains("`ssh_known_hosts`"));
        let missing = format!("{key}ssh_known_hosts = {:?}\n", path("none"));
        assert!(error(&missing).starts_with("`ssh_known_hosts` names /"));
        let idle = format!("targets = [\"nfs://h/d\"]\nssh_key = {:?}", path("none"));
        let idle = files(&Config::from_toml_strict(&idle).unwrap()).unwrap_err();
        assert!(
            format!("{idle:#}").starts_with("`ssh_key` names /"),
            "{idle:#}"
        );
        let unknown = format!("{key}ssh_known_hosts = {:?}\n", path("none of h"));
        assert!(error(&unknown).contains("no key for h"));
        let whole = format!("{key}ssh_known_hosts = {:?}\n", path("hosts"));
        let found = files(&config(&whole)).unwrap();
        assert_eq!(
            found[..2],
            [
                ("ssh_key", KEY.as_bytes().to_vec()),
                ("known_hosts", HOSTS.as_bytes().to_vec())
            ]
        );
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["ssh_key", "known_hosts", "built"]);
        let bad = format!("targets = [\"https://h/d\"]\nca = {:?}\n", path("key"));
        let bad = files(&Config::from_toml_strict(&bad).unwrap()).unwrap_err();
        assert!(format!("{bad:#}").contains("no certificate"), "{bad:#}");
        let bad = format!(
            "targets = [\"s3://b?endpoint=http://h\"]\ns3_credentials = {:?}\n",
            path("key")
        );
        let bad = files(&Config::from_toml_strict(&bad).unwrap()).unwrap_err();
        assert!(
            format!("{bad:#}").contains("aws_secret_access_key"),
            "{bad:#}"
        );
        let bad = Config::from_toml_strict("targets = [\"s3://b?endpoint=http://h\"]").unwrap();
        let bad = format!("{:#}", files(&bad).unwrap_err());
        assert!(
            bad.contains("`s3_credentials`") && bad.contains("`presigned`"),
            "{bad}"
        );
        let plain = Config::from_toml_strict("targets = [\"file:/dev/vda:/\"]").unwrap();
        assert!(files(&plain).unwrap().is_empty());
        let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        let sealed = format!("targets = [\"file:/dev/vda:/\"]\nrecipients = [{key:?}]");
        let sealed = files(&Config::from_toml_strict(&sealed).unwrap()).unwrap();
        assert_eq!(sealed, [("sealed", key.as_bytes().to_vec())]);
    }

    #[test]
    fn urls_take_the_place_of_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("urls");
        let target = "s3://b/p?endpoint=http://h";
        let spec: TargetSpec = target.parse().unwrap();
        let keys = "aws_access_key_id = a\naws_secret_access_key = c\n";
        let wish = |seconds| web::Wish {
            dir: None,
            seconds,
            room: 1,
            sealed: false,
            sealed_log: false,
        };
        let good = web::presign(&spec, keys, &wish(3600)).unwrap();
        let config = |more: &str| {
            let text = format!("targets = [{target:?}]\npresigned = {path:?}\n{more}");
            Config::from_toml_strict(&text).unwrap()
        };
        let error = |more: &str| format!("{:#}", files(&config(more)).unwrap_err());
        fs::write(&path, &good).unwrap();
        let found = files(&config("")).unwrap();
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["presigned", "built"]);
        assert_eq!(found[0].1, good.as_bytes());
        let both = error(&format!("s3_credentials = {path:?}"));
        assert!(both.contains("both set"), "{both}");
        let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        let sealed = error(&format!("recipients = [{key:?}]"));
        assert!(sealed.contains("vmcore.flat.age"), "{sealed}");
        fs::write(&path, good.replace("/b/p/", "/b/other/")).unwrap();
        let other = error("");
        assert!(
            other.contains("line 3 (report.json)") && !other.contains("Signature"),
            "{other}"
        );
        // Of the year 2020.
        let over = good.split("X-Amz-Date=").enumerate();
        let over = over.map(|(n, part)| match n {
            0 => part.to_owned(),
            _ => format!("X-Amz-Date=2020{}", &part[4..]),
        });
        fs::write(&path, over.collect::<String>()).unwrap();
        let over = error("");
        assert!(
            over.contains("ended 2020-") && !over.contains("Signature"),
            "{over}"
        );
    }
}
