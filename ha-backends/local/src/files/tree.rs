//! One folder of shared files as a set: what is in it, and how it is copied and swapped in.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use ha_core::backend::ContentDigest;
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};

/// In the root of each set: its number. A folder without it is no set, and is copied nowhere: an unmounted or an empty one.
pub(crate) const SENTINEL: &str = ".ha-generation";

/// What a folder holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Manifest {
    /// Over modes, paths and contents of its files, and its links: equal trees and only they have one, as over ssh.
    pub(crate) digest: ContentDigest,
    /// The number in its sentinel; `None` where there is none, or no number.
    pub(crate) sequence: Option<u64>,
}

/// Digests of files that have not changed since they were read, by path: of which size, change and inode.
pub(crate) type Cache = HashMap<PathBuf, (Stamp, ContentDigest)>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp(u64, i64, i64, u64);

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.len(), metadata.ctime(), metadata.ctime_nsec(), metadata.ino())
    }
}

/// One entry below a root.
enum Entry {
    File { mode: u32 },
    Link { to: PathBuf },
    Folder,
}

/// Lists what is below a root, by paths relative to it, sorted. Refuses what is no file, folder or link, and links that lead out.
fn list(root: &Path) -> io::Result<Vec<(PathBuf, Entry)>> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let metadata = entry.metadata()?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                open.push(path.clone());
                found.push((path, Entry::Folder));
            } else if kind.is_file() {
                found.push((path, Entry::File { mode: metadata.mode() & 0o7777 }));
            } else if kind.is_symlink() {
                let to = fs::read_link(entry.path())?;
                if leads_out(&path, &to) {
                    return Err(refused(root, &path, "is a link that leads out of the tree"));
                }
                found.push((path, Entry::Link { to }));
            } else {
                return Err(refused(root, &path, "is no file, folder or link"));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    Ok(found)
}

fn refused(root: &Path, path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} {what}", root.join(path).display()))
}

fn leads_out(link: &Path, to: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for part in to.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

/// Reads what a folder holds.
pub(crate) fn read(root: &Path, cache: &mut Cache) -> io::Result<Manifest> {
    let entries = list(root)?;
    let (mut modes, mut contents, mut links) = (Vec::new(), Vec::new(), Vec::new());
    let shown = |path: &Path| [b"./", path.as_os_str().as_bytes()].concat();
    let mut sequence = None;
    for (path, entry) in &entries {
        match entry {
            Entry::File { mode } => {
                modes.push([format!("{mode:o} ").as_bytes(), &shown(path), b"\0"].concat());
                let digest = digest_of(&root.join(path), cache)?;
                contents.extend_from_slice(&[format!("{digest}  ").as_bytes(), &shown(path), b"\0"].concat());
                if path.as_os_str() == SENTINEL {
                    sequence = sequence_of(root);
                }
            }
            Entry::Link { to } => {
                links.extend_from_slice(&[&shown(path), &b" -> "[..], to.as_os_str().as_bytes(), b"\0"].concat());
            }
            Entry::Folder => {}
        }
    }
    // By the whole text, the mode first.
    modes.sort();
    let digest = ContentDigest::of(&[modes.concat(), contents, links].concat());
    Ok(Manifest { digest, sequence })
}

/// Reads the number of the set in a folder; `None` where it has none.
pub(crate) fn sequence_of(root: &Path) -> Option<u64> {
    fs::read_to_string(root.join(SENTINEL)).ok()?.trim().parse().ok()
}

fn digest_of(path: &Path, cache: &mut Cache) -> io::Result<ContentDigest> {
    let stamp = Stamp::of(&fs::metadata(path)?);
    if let Some((known, digest)) = cache.get(path)
        && *known == stamp
    {
        return Ok(*digest);
    }
    let digest = ContentDigest::of(&fs::read(path)?);
    // What changed while it was read is read again the next time.
    if Stamp::of(&fs::metadata(path)?) == stamp {
        cache.insert(path.into(), (stamp, digest));
    }
    Ok(digest)
}

/// Copies a folder to where nothing is yet, durably.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for (path, entry) in list(from)? {
        let (source, target) = (from.join(&path), to.join(&path));
        match entry {
            Entry::Folder => {
                fs::create_dir(&target)?;
                fs::set_permissions(&target, fs::metadata(&source)?.permissions())?;
            }
            Entry::Link { to } => std::os::unix::fs::symlink(to, &target)?,
            Entry::File { .. } => {
                fs::copy(&source, &target)?;
                let metadata = fs::metadata(&source)?;
                let times = FileTimes::new().set_modified(metadata.modified()?);
                File::options().write(true).open(&target).and_then(|file| file.set_times(times)).or_else(|error| {
                    // A file that its owner may not write keeps the time of its copy.
                    if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
                })?;
            }
        }
    }
    syncfs(File::open(to)?)?;
    Ok(())
}

/// Lets a staged folder take the place of the live one in one step, and returns where the old one is then: where the staged one
/// was. A reader sees the old set or the new one.
pub(crate) fn swap(staged: &Path, live: &Path) -> io::Result<()> {
    if live.symlink_metadata().is_ok() {
        renameat_with(CWD, staged, CWD, live, RenameFlags::EXCHANGE)?;
    } else {
        fs::rename(staged, live)?;
    }
    for folder in [staged, live].iter().filter_map(|path| path.parent()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
