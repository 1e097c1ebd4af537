//! What is read and written below `/`, with files in a directory in its place; a kernel is never loaded here.

use super::*;
use crate::bzimage::tests::image;

fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn unsigned_kernel_is_refused_under_lockdown_before_anything_is_given_up() {
    let host = host(&[
        ("sys/kernel/kexec_crash_size", "134217728\n"),
        ("sys/kernel/kexec_crash_loaded", "1\n"),
        (
            "sys/kernel/security/lockdown",
            "none [integrity] confidentiality\n",
        ),
        ("vmlinuz", ""),
        ("run/baredump/armed.json", "{}"),
    ]);
    let path = host.path().join("vmlinuz");
    fs::write(&path, image("6.12.107-baredump")).unwrap();
    let kernel = Kernel::open(&path).unwrap();
    assert!(!kernel.header.signed);
    let refused = arm(host.path(), &kernel, &path, "", None)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("mode integrity") && refused.contains("sign yours"),
        "{refused}"
    );
    assert!(host.path().join(RECORD).exists());
}

#[test]
fn status_from_old_and_new_places() {
    let old = host(&[
        ("sys/kernel/kexec_crash_size", "134217728\n"),
        ("sys/kernel/kexec_crash_loaded", "0\n"),
    ]);
    assert_eq!(
        status(old.path()).unwrap(),
        Status {
            armed: false,
            reserved: 128 << 20,
            loaded: None
        }
    );
    let new = host(&[
        ("sys/kernel/kexec/crash_size", "1048576\n"),
        ("sys/kernel/kexec/crash_loaded", "1\n"),
    ]);
    assert_eq!(
        status(new.path()).unwrap(),
        Status {
            armed: true,
            reserved: 1 << 20,
            loaded: None
        }
    );
    assert!(matches!(
        status(host(&[]).path()),
        Err(LoadError::NoKexec(_))
    ));
}

#[test]
fn record_comes_back_while_armed() {
    let dir = host(&[
        ("sys/kernel/kexec_crash_size", "1"),
        ("sys/kernel/kexec_crash_loaded", "1"),
    ]);
    let record = Record {
        kernel: "/k".into(),
        kernel_release: "6.1".into(),
        image: "/i".into(),
        image_bytes: 3,
        command_line: "a b".into(),
        image_crc32: 0,
        memory: Some(1 << 30),
        presigned: None,
    };
    keep_record(dir.path(), &record);
    assert_eq!(status(dir.path()).unwrap().loaded, Some(record));
    fs::write(dir.path().join("sys/kernel/kexec_crash_loaded"), "0").unwrap();
    assert_eq!(status(dir.path()).unwrap().loaded, None);
}

#[test]
fn a_failure_that_disarms_says_so() {
    let dir = host(&[(RECORD, "{}")]);
    assert_eq!(forget(dir.path(), true, true), "");
    assert_eq!(forget(dir.path(), false, false), "");
    assert!(dir.path().join(RECORD).exists());
    assert!(forget(dir.path(), true, false).contains("nothing is armed"));
    assert!(!dir.path().join(RECORD).exists());
}

#[test]
fn nothing_is_loaded_without_a_reservation() {
    let dir = host(&[("sys/kernel/kexec_crash_size", "0")]);
    let path = dir.path().join("vmlinuz");
    fs::write(&path, image("6.1")).unwrap();
    let kernel = Kernel::open(&path).unwrap();
    assert!(matches!(
        arm(dir.path(), &kernel, &path, "", None),
        Err(LoadError::NoReservation)
    ));
}

#[test]
fn kernel_that_is_cut_off() {
    let dir = host(&[]);
    let path = dir.path().join("vmlinuz");
    let mut bytes = image("6.1");
    bytes[0x1f4] = 2;
    fs::write(&path, &bytes).unwrap();
    assert!(
        Kernel::open(&path)
            .unwrap_err()
            .to_string()
            .contains("2048 bytes where its header says 2080")
    );
    bytes.extend([0; 32]);
    fs::write(&path, &bytes).unwrap();
    assert!(Kernel::open(&path).is_ok());
}

#[test]
fn kernel_that_is_none() {
    let dir = host(&[("text", "no kernel")]);
    let message = Kernel::open(&dir.path().join("text"))
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with(
            "can't be the capture kernel: it is neither an x86 bzImage (no boot header at 0x202) nor an arm64 Image"
        ),
        "{message}"
    );
}
