//! Tests of the closure on made-up module trees.

use super::*;
use crate::modules::index::tests::tree;

type Tree<'a> = &'a [(&'a str, &'a [&'a str])];

fn closure(
    modules: Tree<'_>,
    builtin: &[&str],
    names: &[&str],
    filesystems: &[&str],
) -> Result<Closure, ModuleError> {
    let (_dir, index) = tree(modules, builtin);
    let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (modules, filesystems) = (strings(names), strings(filesystems));
    close(
        &index,
        &Wishes {
            modules: &modules,
            filesystems: &filesystems,
            ..Wishes::default()
        },
    )
}

fn names(closure: &Closure) -> Vec<&str> {
    closure
        .load
        .iter()
        .map(|module| module.name.as_str())
        .collect()
}

#[test]
fn dependencies_first_and_once() {
    let tree: Tree<'_> = &[
        ("kernel/virtio_blk.ko", &["depends=virtio,virtio-ring"]),
        (
            "kernel/virtio_pci.ko",
            &["depends=virtio_ring,virtio,legacy"],
        ),
        ("kernel/virtio_ring.ko", &["depends=virtio"]),
        ("kernel/virtio.ko", &["depends="]),
        ("kernel/other.ko", &["depends="]),
    ];
    let closure = closure(
        tree,
        &["kernel/legacy.ko"],
        &["virtio_blk", "virtio-pci"],
        &[],
    )
    .unwrap();
    assert_eq!(
        names(&closure),
        ["virtio", "virtio_ring", "virtio_pci", "virtio_blk"]
    );
    assert!(closure.builtin.contains("legacy"));
}

#[test]
fn soft_dependencies_before_and_after() {
    let tree: Tree<'_> = &[
        (
            "kernel/m.ko",
            &["softdep=pre: crypto-x nothing post: after", "depends=hard"],
        ),
        ("kernel/hard.ko", &[]),
        ("kernel/x_generic.ko", &["alias=crypto-x"]),
        ("kernel/after.ko", &["depends=m"]),
    ];
    let closure = closure(tree, &[], &["m"], &[]).unwrap();
    assert_eq!(names(&closure), ["x_generic", "hard", "m", "after"]);
    assert!(closure.absent.contains("nothing"));
}

#[test]
fn soft_dependency_that_needs_its_asker_comes_after_it() {
    let tree: Tree<'_> = &[
        ("kernel/top.ko", &["depends=m"]),
        ("kernel/m.ko", &["softdep=pre: helper"]),
        ("kernel/helper.ko", &["depends=m", "softdep=pre: m"]),
    ];
    assert_eq!(
        names(&closure(tree, &[], &["top"], &[]).unwrap()),
        ["m", "top", "helper"]
    );
}

#[test]
fn soft_dependency_without_its_own_dependencies_is_left_out() {
    let tree: Tree<'_> = &[
        ("kernel/m.ko", &["softdep=pre: s"]),
        ("kernel/s.ko", &["depends=gone"]),
    ];
    let closure = closure(tree, &[], &["m"], &[]).unwrap();
    assert_eq!(names(&closure), ["m"]);
    assert!(closure.absent.contains("s"));
}

#[test]
fn cycles_end() {
    let soft: Tree<'_> = &[
        ("kernel/a.ko", &["softdep=pre: b"]),
        ("kernel/b.ko", &["softdep=pre: a"]),
    ];
    assert_eq!(names(&closure(soft, &[], &["a"], &[]).unwrap()), ["b", "a"]);
    let hard: Tree<'_> = &[
        ("kernel/a.ko", &["depends=b"]),
        ("kernel/b.ko", &["depends=a"]),
    ];
    assert!(matches!(
        closure(hard, &[], &["a"], &[]),
        Err(ModuleError::Cycle(_))
    ));
}

#[test]
fn missing_names_the_module_and_the_directory() {
    let tree: Tree<'_> = &[("kernel/m.ko", &["depends=gone"])];
    let message = closure(tree, &[], &["m"], &[]).unwrap_err().to_string();
    assert!(
        message.starts_with("module gone (needed by m) is neither built in nor found in /"),
        "{message}"
    );
    let message = closure(tree, &[], &[], &["ext4"]).unwrap_err().to_string();
    assert!(
        message.starts_with("module ext4 (file system) is neither"),
        "{message}"
    );
}

#[test]
fn filesystems_by_name_and_alias() {
    let tree: Tree<'_> = &[
        (
            "kernel/fs/ext4/ext4.ko",
            &[
                "alias=fs-ext3",
                "depends=jbd2",
                "softdep=pre: crypto-crc32c",
            ],
        ),
        ("kernel/fs/jbd2/jbd2.ko", &[]),
        ("kernel/fs/fat/vfat.ko", &["depends=fat"]),
        ("kernel/fs/fat/fat.ko", &[]),
        ("kernel/fs/nls/nls_iso8859-1.ko", &[]),
        ("kernel/crypto/crc32c_generic.ko", &["alias=crypto-crc32c"]),
    ];
    let builtin = ["kernel/fs/nls/nls_cp437.ko"];
    let ext3 = closure(tree, &builtin, &[], &["ext3"]).unwrap();
    assert_eq!(names(&ext3), ["crc32c_generic", "jbd2", "ext4"]);
    let vfat = closure(tree, &builtin, &[], &["vfat"]).unwrap();
    assert_eq!(names(&vfat), ["nls_iso8859_1", "fat", "vfat"]);
    assert!(vfat.builtin.contains("nls_cp437") && vfat.absent.contains("nls_ascii"));
}
