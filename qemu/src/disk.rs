//! ext4 disk images made and read back with e2fsprogs, without mounting anything and without root rights.

use crate::{Bus, Drive, tool};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An image file with an ext4 file system on the whole of it.
#[derive(Clone, Debug)]
pub struct Disk {
    file: PathBuf,
}

/// A name in a directory of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// `st_mode`: type and permissions.
    pub mode: u32,
    /// Size in bytes; 0 for a directory.
    pub size: u64,
}

impl Entry {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
}

/// How a file system is made.
#[derive(Clone, Copy, Debug)]
pub struct Ext4<'a> {
    /// Size of the image in bytes; it is sparse.
    pub size: u64,
    /// The file system's UUID.
    pub uuid: &'a str,
    /// The file system's label.
    pub label: &'a str,
    /// A directory whose content the file system gets.
    pub content: Option<&'a Path>,
}

impl Disk {
    /// Makes an image; an existing file is replaced. Features that Linux 5.10 does not know are left out.
    ///
    /// # Errors
    /// When the file cannot be written or mkfs.ext4 is missing or fails.
    pub fn create(file: &Path, how: &Ext4<'_>) -> Result<Self> {
        let image =
            File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
        image
            .set_len(how.size)
            .with_context(|| format!("cannot set the size of {}", file.display()))?;
        let mut mkfs = Command::new(tool::find("mkfs.ext4")?);
        mkfs.args([
            "-q",
            "-F",
            "-m",
            "0",
            "-O",
            "^orphan_file,^metadata_csum_seed",
            "-U",
            how.uuid,
            "-L",
            how.label,
        ]);
        if let Some(content) = how.content {
            mkfs.arg("-d").arg(content);
        }
        tool::run(mkfs.arg(file), &[0])?;
        Ok(Self {
            file: file.to_path_buf(),
        })
    }

    /// An image that was made before.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(file: &Path) -> Result<Self> {
        fs::metadata(file).with_context(|| format!("cannot open {}", file.display()))?;
        Ok(Self {
            file: file.to_path_buf(),
        })
    }

    /// A copy in another file; what is a hole stays one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn copy(&self, file: &Path) -> Result<Self> {
        let mut copy = Command::new(tool::find("cp")?);
        copy.args(["--sparse=always", "--reflink=auto", "--"]);
        tool::run(copy.arg(&self.file).arg(file), &[0])?;
        Self::open(file)
    }

    /// Puts a file in, with its mode, in the place of one that is there. The journal must be empty.
    ///
    /// # Errors
    /// When there is no such directory or no room.
    pub fn write(&self, from: &Path, path: &str) -> Result<()> {
        let (dir, name) = path.rsplit_once('/').context("the path is not absolute")?;
        let (from, script) = (from.display(), self.file.with_extension("debugfs"));
        // `write` takes a name in the working directory only.
        let requests = format!("cd \"{dir}/\"\nrm \"{name}\"\nwrite \"{from}\" \"{name}\"\n");
        fs::write(&script, requests)
            .with_context(|| format!("cannot write {}", script.display()))?;
        let mut debugfs = Command::new(tool::find("debugfs")?);
        debugfs.args(["-w", "-f"]).arg(&script).arg(&self.file);
        tool::run(&mut debugfs, &[0])?;
        let _ = fs::remove_file(&script);
        // Whatever debugfs complained of: the file must be there.
        let there = self.list(&format!("{dir}/"))?;
        if !there.iter().any(|entry| entry.name == name) {
            bail!("{from} could not be written to {}", self.file.display());
        }
        Ok(())
    }

    /// The drive of a machine, on virtio.
    pub fn drive(&self, serial: &str) -> Drive {
        Drive {
            file: self.file.clone(),
            serial: serial.to_owned(),
            bus: Bus::Virtio,
        }
    }

    /// Replays the journal and repairs what a reset left behind, so that [`Disk::list`] and [`Disk::read`] see what a mount would.
    ///
    /// # Errors
    /// When e2fsck finds more than it can repair.
    pub fn recover(&self) -> Result<()> {
        let e2fsck = tool::find("e2fsck")?;
        // -p replays and repairs what is safe; it gives up with code 4 on the rest, which -fy then decides.
        if tool::run(Command::new(&e2fsck).arg("-p").arg(&self.file), &[0, 1]).is_err() {
            tool::run(Command::new(&e2fsck).arg("-fy").arg(&self.file), &[0, 1])?;
        }
        Ok(())
    }

    /// The entries of a directory, without `.` and `..`, by name.
    ///
    /// # Errors
    /// When the directory is not there.
    pub fn list(&self, dir: &str) -> Result<Vec<Entry>> {
        let text = self.debugfs(&format!("ls -p \"{dir}\""))?;
        let mut entries: Vec<_> = text
            .lines()
            .filter_map(entry)
            .filter(|e| e.name != "." && e.name != "..")
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Copies a file out to `to`; long runs of zeros become holes.
    ///
    /// # Errors
    /// When the file is not there or cannot be written.
    pub fn read(&self, path: &str, to: &Path) -> Result<()> {
        let _ = fs::remove_file(to);
        self.debugfs(&format!("dump \"{path}\" \"{}\"", to.display()))?;
        if !to.exists() {
            bail!("`{path}` could not be read from {}", self.file.display());
        }
        tool::run(
            Command::new(tool::find("fallocate")?)
                .arg("--dig-holes")
                .arg(to),
            &[0],
        )?;
        Ok(())
    }

    /// Copies the regular files of a directory into `to`.
    ///
    /// # Errors
    /// As [`Disk::list`] and [`Disk::read`].
    pub fn read_dir(&self, dir: &str, to: &Path) -> Result<Vec<Entry>> {
        fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
        let entries = self.list(dir)?;
        for entry in entries.iter().filter(|entry| !entry.is_dir()) {
            self.read(&format!("{dir}/{}", entry.name), &to.join(&entry.name))?;
        }
        Ok(entries)
    }

    /// Runs one request. debugfs ends with 0 even when a request fails, and says why on its error output.
    fn debugfs(&self, request: &str) -> Result<String> {
        let out = tool::run(
            Command::new(tool::find("debugfs")?)
                .args(["-R", request])
                .arg(&self.file),
            &[0],
        )?;
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        // The first line is the version; anything more is a complaint.
        let complaints: Vec<_> = errors
            .lines()
            .filter(|line| !line.starts_with("debugfs "))
            .collect();
        if !complaints.is_empty() {
            bail!(
                "debugfs `{request}` on {}: {}",
                self.file.display(),
                complaints.join(" ")
            );
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

/// A line of `ls -p`: `/inode/mode/uid/gid/name/size/`. A deleted entry has inode 0.
fn entry(line: &str) -> Option<Entry> {
    let fields: Vec<_> = line.split('/').collect();
    let &["", inode, mode, _, _, name, size, ..] = &fields[..] else {
        return None;
    };
    if inode == "0" || name.is_empty() {
        return None;
    }
    Some(Entry {
        name: name.to_owned(),
        mode: u32::from_str_radix(mode, 8).ok()?,
        size: size.parse().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6f0b7c7e-51b3-4a55-9a50-0f4cfd6c2f10";

    fn ext4(size: u64) -> Ext4<'static> {
        Ext4 {
            size,
            uuid: UUID,
            label: "dump",
            content: None,
        }
    }

    #[test]
    fn lines_of_ls() {
        assert_eq!(
            entry("/12/100600/0/0/vmcore/4096/"),
            Some(Entry {
                name: "vmcore".into(),
                mode: 0o100_600,
                size: 4096
            })
        );
        assert!(entry("/2/040755/0/0/..//").unwrap().is_dir());
        assert_eq!(entry("/0/000000/0/0//0/"), None);
        assert_eq!(entry("debugfs: x"), None);
    }

    #[test]
    fn content_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let content = dir.path().join("content");
        fs::create_dir_all(content.join("var/crash")).unwrap();
        let mut bytes = vec![0; 1 << 20];
        bytes.extend(b"end");
        fs::write(content.join("var/crash/a b"), &bytes).unwrap();
        let disk = Disk::create(
            &dir.path().join("d.raw"),
            &Ext4 {
                content: Some(&content),
                ..ext4(16 << 20)
            },
        )
        .unwrap();
        disk.recover().unwrap();
        let entries = disk
            .read_dir("/var/crash", &dir.path().join("out"))
            .unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(
            (entries[0].name.as_str(), entries[0].size),
            ("a b", bytes.len() as u64)
        );
        assert_eq!(fs::read(dir.path().join("out/a b")).unwrap(), bytes);
    }

    #[test]
    fn a_copy_takes_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let first = Disk::create(&at("d.raw"), &ext4(8 << 20)).unwrap();
        fs::write(at("one"), "first").unwrap();
        fs::write(at("two"), "second").unwrap();
        let disk = first.copy(&at("copy.raw")).unwrap();
        disk.write(&at("one"), "/file").unwrap();
        disk.write(&at("two"), "/file").unwrap();
        disk.read("/file", &at("back")).unwrap();
        assert_eq!(fs::read_to_string(at("back")).unwrap(), "second");
        assert!(first.read("/file", &at("back")).is_err());
        assert!(disk.write(&at("none"), "/other").is_err());
    }

    #[test]
    fn missing_things_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::create(&dir.path().join("d.raw"), &ext4(4 << 20)).unwrap();
        assert!(
            disk.list("/none")
                .unwrap_err()
                .to_string()
                .contains("/none")
        );
        assert!(disk.read("/none", &dir.path().join("x")).is_err());
        assert_eq!(disk.list("/").unwrap()[0].name, "lost+found");
    }
}
