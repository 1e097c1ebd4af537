//! `--split`: parts that readers of the format take, and that are together what one file is.

use super::scene;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tests::programs::baredump;

fn run(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(baredump());
    let args = args.split(' ');
    let command = command.args(args).current_dir(dir).stdin(Stdio::null());
    command.output().unwrap()
}

fn good(dir: &Path, args: &str) {
    let out = run(dir, args);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{args}: {said}");
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn the_parts_are_the_dump() {
    let scene = scene();
    let dir = scene.path();
    // One window of the bitmaps, and many.
    for (level, more) in [(31, ""), (1, " --cyclic-buffer 1"), (0, " --num-threads 3")] {
        let options = format!("-c -d {level}{more}");
        good(dir, &format!("-f {options} vmcore.elf one"));
        good(
            dir,
            &format!("-f --split --splitblock-size 64 {options} vmcore.elf a b c"),
        );
        good(dir, "-f --reassemble c a b together");
        let [one, together] = ["one", "together"].map(|name| fs::read(dir.join(name)).unwrap());
        assert!(one == together, "level {level}: the pages are others");
        let mut end = 0;
        for name in ["a", "b", "c"] {
            let part = fs::read(dir.join(name)).unwrap();
            let split = u32::from_le_bytes(part[4096 + 12..4096 + 16].try_into().unwrap());
            let (start, next) = (word(&part, 4096 + 80), word(&part, 4096 + 88));
            assert_eq!((split, start), (1, end), "{name}");
            assert!(next > start, "{name}: no part is empty");
            end = next;
        }
    }
    // A dump that is read: what was dropped stays out, what is in it stays in it.
    good(dir, "-f -d 31 vmcore.elf one");
    good(dir, "-f --split --splitblock-size 64 -d 0 one a b");
    good(dir, "-f --reassemble a b together");
    let [one, together] = ["one", "together"].map(|name| fs::read(dir.join(name)).unwrap());
    assert!(one == together);
}

#[test]
fn nothing_is_left_of_parts_that_cannot_be() {
    let scene = scene();
    let dir = scene.path();
    fs::write(dir.join("there"), "precious").unwrap();
    for args in ["vmcore.elf a there", "vmcore.elf a vmcore.elf"] {
        let out = run(dir, &format!("--split -d 31 {args}"));
        assert_eq!(out.status.code(), Some(1), "{args}");
        assert!(!dir.join("a").exists(), "{args}");
    }
    let out = run(dir, "-f --split -d 31 vmcore.elf a a");
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(fs::read(dir.join("there")).unwrap(), b"precious");
    // One part that does not fit says so of itself; with another level all of them are written again.
    let out = run(
        dir,
        "--split --splitblock-size 64 -L 400K -d 0 vmcore.elf a b c",
    );
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("incomplete"));
    let out = run(
        dir,
        "-f --split --splitblock-size 64 -L 9M -d 0,31 vmcore.elf a b c",
    );
    assert!(out.status.success());
}
