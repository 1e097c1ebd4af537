//! Encrypted dumps: the vectors that age programs are held to, the command `decrypt`, and the stock program `age`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use baredump::format::Out as _;
use baredump::format::flat::FlatOut;
use baredump::seal::{Identities, OpenError, Opener, Recipients, Sealer};
use ring::digest::{SHA256, digest};
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::fake_kernel::{FakeKernel, Generation};
use tests::programs::baredump;

const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
const RECIPIENT: &str = "age1xmwwc06ly3ee5rytxm9mflaz2u56jjj36s0mypdrwsvlul66mv4q47ryef";
const OTHER: &str = "age19f0zswfsfnlah3dg9pkc9wuphg3lc2r6fersmyrh9az4rj93gapqel9u9l";

/// A vector of the age test kit: what should come of a file.
struct Vector {
    expect: String,
    payload: Option<String>,
    identities: String,
    file: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let end = bytes.windows(2).position(|w| w == b"\n\n").unwrap();
        let head = str::from_utf8(&bytes[..end]).unwrap();
        let values = |key: &str| -> Vec<String> {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let lines = lines.filter(|(name, _)| *name == key);
            lines.map(|(_, value)| value.to_owned()).collect()
        };
        let mut file = bytes[end + 2..].to_vec();
        if values("compressed") == ["zlib"] {
            let mut plain = vec![0; 32 << 20];
            let config = zlib_rs::InflateConfig::default();
            let (text, code) = zlib_rs::decompress_slice(&mut plain, &file, config);
            assert_eq!(code, zlib_rs::ReturnCode::Ok);
            file = text.to_vec();
        }
        Self {
            expect: values("expect")[0].clone(),
            payload: values("payload").first().cloned(),
            identities: values("identity").join("\n"),
            file,
        }
    }

    /// What our reader makes of it, in the words of the test kit, and what it decrypted.
    fn opened(&self) -> (&'static str, Vec<u8>) {
        let identities = match self.identities.as_str() {
            "" => IDENTITY,
            some => some,
        };
        let identities = Identities::parse(identities.as_bytes()).unwrap();
        let mut text = Vec::new();
        let word = match Opener::new(&*self.file, &identities) {
            Ok(mut opener) => match opener.read_to_end(&mut text) {
                Ok(_) => "success",
                Err(_) => "payload failure",
            },
            Err(OpenError::NoMatch(_)) => "no match",
            Err(OpenError::Mac) => "HMAC failure",
            Err(OpenError::Passphrase) => "passphrase",
            Err(OpenError::Armor) => "armor",
            Err(_) => "header failure",
        };
        (word, text)
    }
}

#[test]
fn files_of_the_age_test_kit_are_judged_as_they_should() {
    let mut count = 0;
    for entry in fs::read_dir("fixtures/age").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let vector = Vector::read(&path);
        let (word, text) = vector.opened();
        match name.as_str() {
            // What is recognized and refused.
            "scrypt" => assert_eq!(word, "passphrase"),
            "armor_x25519" => assert_eq!(word, "armor"),
            _ => assert_eq!(word, vector.expect, "{name}"),
        }
        if let Some(payload) = vector.payload.filter(|_| word == vector.expect) {
            let hash = digest(&SHA256, &text);
            let hash: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hash, payload, "{name}: {} bytes", text.len());
        }
        count += 1;
    }
    assert!(count > 60, "{count}");
}

/// A directory with identity files `key` and `other`.
struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), format!("# a key\n{IDENTITY}\n")).unwrap();
        let other = "AGE-SECRET-KEY-19H3FDCY74DDCQZD7CYAE5MJUYAGHYLSMPCNY4HJV7QEHRDUXALLS85LJUY";
        fs::write(dir.path().join("other"), other).unwrap();
        Self(dir)
    }
    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }
    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
    fn has(&self, name: &str) -> bool {
        self.0.path().join(name).exists()
    }
    /// Runs `baredump`, wants this exit code and these words on standard error.
    fn run(&self, args: &[&str], code: i32, words: &[&str]) -> Vec<u8> {
        let out = Command::new(baredump())
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{args:?}: no `{word}` in: {stderr}");
        }
        assert!(
            !stderr.contains("SECRET") && !stderr.contains("panicked"),
            "{stderr}"
        );
        out.stdout
    }
    /// A dump, and what a flattened stream of it is encrypted.
    fn dump(&self) -> (Vec<u8>, Vec<u8>) {
        let kernel = FakeKernel::zoo(Generation::V6_12).build();
        kernel.write(self.0.path()).unwrap();
        self.run(
            &["dump", "vmcore.elf", "plain", "--message-level", "0"],
            0,
            &[],
        );
        let plain = self.read("plain");
        fs::remove_file(self.0.path().join("plain")).unwrap();
        let sealed = sealed(&flat(&plain));
        (plain, sealed)
    }
}

fn flat(plain: &[u8]) -> Vec<u8> {
    let out = FlatOut::new(Vec::new()).unwrap();
    for (index, part) in plain.chunks(100_000).enumerate() {
        out.write_at(index as u64 * 100_000, part).unwrap();
    }
    out.finish().unwrap()
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    sealed_to(&[OTHER, RECIPIENT], bytes)
}

fn sealed_to(recipients: &[&str], bytes: &[u8]) -> Vec<u8> {
    let recipients = Recipients::parse(recipients).unwrap();
    let mut sealer = Sealer::new(Vec::new(), &recipients).unwrap();
    bytes
        .chunks(1000)
        .for_each(|part| sealer.write_all(part).unwrap());
    sealer.finish().unwrap()
}

#[test]
fn a_dump_is_decrypted_and_restored_in_one_step() {
    let scene = Scene::new();
    let (plain, file) = scene.dump();
    scene.write("vmcore.flat.age", &file);
    scene.run(&["decrypt", "vmcore.flat.age", "-i", "key"], 0, &[]);
    assert_eq!(scene.read("vmcore"), plain);
    let mode = fs::metadata(scene.0.path().join("vmcore")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    assert!(!scene.has("vmcore-incomplete"));
    scene.run(&["verify", "vmcore"], 0, &[]);
    scene.run(
        &["decrypt", "vmcore.flat.age", "-i", "key"],
        2,
        &["vmcore exists", "-f"],
    );
    scene.run(&["decrypt", "vmcore.flat.age", "-i", "key", "-f"], 0, &[]);
    scene.run(
        &["decrypt", "vmcore.flat.age", "-i", "key", "-o", "x"],
        0,
        &[],
    );
    assert_eq!(scene.read("x"), plain);
    let stream = scene.run(
        &["decrypt", "vmcore.flat.age", "-i", "key", "-o", "-"],
        0,
        &[],
    );
    assert_eq!(stream, flat(&plain));
}

#[test]
fn every_file_of_a_directory_is_decrypted() {
    let scene = Scene::new();
    let (plain, file) = scene.dump();
    fs::create_dir(scene.0.path().join("dir")).unwrap();
    scene.run(
        &["decrypt", "dir", "-i", "key"],
        2,
        &["no file in it is called *.age"],
    );
    scene.write("dir/vmcore.flat.age", &file);
    scene.write("dir/vmcore-dmesg.txt.age", &sealed(b"[ 1.0] text\n"));
    scene.write("dir/report.json", b"{}");
    scene.run(&["decrypt", "dir", "-i", "key"], 0, &[]);
    assert_eq!(scene.read("dir/vmcore"), plain);
    assert_eq!(scene.read("dir/vmcore-dmesg.txt"), b"[ 1.0] text\n");
    fs::create_dir(scene.0.path().join("out")).unwrap();
    scene.write("dir/broken.age", b"age-encryption.org/v1\n");
    let words = ["dir/broken.age: the age header is damaged", "1 of 3 files"];
    scene.run(&["decrypt", "dir", "-i", "key", "-o", "out"], 2, &words);
    assert_eq!(scene.read("out/vmcore"), plain);
    assert_eq!(scene.read("out/vmcore-dmesg.txt"), b"[ 1.0] text\n");
    scene.run(
        &["decrypt", "dir", "-i", "key", "-o", "nowhere"],
        2,
        &["-o OUT"],
    );
}

#[test]
fn what_is_missing_or_changed_leaves_a_partial_dump() {
    let scene = Scene::new();
    let (plain, file) = scene.dump();
    let cut = file.len() / 2;
    let mut changed = file.clone();
    changed[cut] ^= 1;
    for (bytes, word) in [(&file[..cut], "cut off"), (&changed, "not authentic")] {
        scene.write("vmcore.flat.age", bytes);
        let words = [word, "is kept as vmcore-incomplete"];
        scene.run(
            &["decrypt", "vmcore.flat.age", "-i", "key", "-f"],
            3,
            &words,
        );
        let kept = scene.read("vmcore-incomplete");
        assert!(kept.len() > 65536 && kept.len() < plain.len());
        assert!(!scene.has("vmcore"));
        scene.run(&["info", "vmcore-incomplete"], 0, &[]);
    }
    scene.write("log.age", &sealed(&[7; 100_000])[..70_000]);
    scene.run(&["decrypt", "log.age", "-i", "key"], 3, &["log-incomplete"]);
    assert_eq!(scene.read("log-incomplete"), [7; 65536]);
    scene.write("log.age", &sealed(&[7; 100_000])[..60_000]);
    scene.run(&["decrypt", "log.age", "-i", "key", "-f"], 1, &["cut off"]);
    assert!(!scene.has("log-incomplete") && !scene.has("log"));
}

#[test]
fn what_cannot_be_decrypted_is_said() {
    let scene = Scene::new();
    scene.write("log.age", &sealed_to(&[RECIPIENT], b"text"));
    let run = |args: &[&str], words: &[&str]| drop(scene.run(args, 2, words));
    run(&["decrypt", "log.age"], &["-i IDENTITY is missing"]);
    run(
        &["decrypt", "log.age", "-i", "other"],
        &["for 1 recipient(s)", "-i"],
    );
    run(
        &["decrypt", "log.age", "-i", "nowhere"],
        &["nowhere: No such file"],
    );
    run(
        &["decrypt", "log.age", "-i", "log.age"],
        &["encrypted itself"],
    );
    run(
        &["decrypt", "key", "-i", "key"],
        &["key: not encrypted with age"],
    );
    run(&["decrypt", "-i", "key"], &["expected one FILE or DIR"]);
    run(
        &["decrypt", "log.age", "-i", "key", "-o", "log.age", "-f"],
        &["itself"],
    );
    scene.write("log", &sealed(b"text"));
    run(
        &["decrypt", "log", "-i", "key"],
        &["log is not called *.age", "-o"],
    );
    scene.run(&["decrypt", "log", "-i", "key", "-o", "text"], 0, &[]);
    assert_eq!(scene.read("text"), b"text");
}

/// Run by `./x test`, which installs the program.
#[test]
#[ignore = "needs the program age"]
fn the_stock_program_reads_what_we_write_and_we_read_what_it_writes() {
    let scene = Scene::new();
    let age = |args: &[&str]| {
        let ran = Command::new("age")
            .args(args)
            .current_dir(scene.0.path())
            .output();
        let ran = ran.expect("the program age is needed");
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        (ran.status.success(), ran.stdout, stderr)
    };
    for len in [0, 1, 65535, 65536, 65537, 300_000] {
        let text: Vec<_> = (0..len).map(|i: u32| i.to_le_bytes()[1] ^ 0x5a).collect();
        scene.write("ours.age", &sealed(&text));
        for key in ["key", "other"] {
            let (ok, plain, stderr) = age(&["-d", "-i", key, "ours.age"]);
            assert!(ok && plain == text, "{len}, {key}: {stderr}");
        }
        scene.write("text", &text);
        let (ok, _, stderr) = age(&["-r", OTHER, "-r", RECIPIENT, "-o", "theirs.age", "text"]);
        assert!(ok, "{stderr}");
        scene.run(&["decrypt", "theirs.age", "-i", "key", "-f"], 0, &[]);
        assert_eq!(scene.read("theirs"), text);
        let mut cut = sealed(&text);
        cut.pop();
        scene.write("cut.age", &cut);
        assert!(!age(&["-d", "-i", "key", "cut.age"]).0, "{len}");
    }
}
