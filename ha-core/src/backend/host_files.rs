use std::fmt::Debug;
use std::path::PathBuf;

use async_trait::async_trait;

use super::{Applied, ContentDigest, StepError};
use crate::state::LeaseEpoch;

/// What is at a path of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FileStat {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// Its length in bytes.
        length: u64,
        /// Its permission bits.
        mode: u32,
        /// The digest of its content.
        digest: ContentDigest,
    },
    /// A directory.
    Directory,
    /// A symbolic link, not followed.
    Link {
        /// Where it points, as it says.
        target: String,
    },
    /// A socket, a device or a pipe.
    Other,
}

/// What a directory tree holds, in one value: equal trees, and only they, have equal digests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TreeDigest {
    /// Over the sorted list of every file's path, permission bits and content, and every link's path and target.
    pub digest: ContentDigest,
    /// Files and links.
    pub entries: u64,
}

impl TreeDigest {
    /// Describes a tree.
    pub fn new(digest: ContentDigest, entries: u64) -> Self {
        Self { digest, entries }
    }
}

/// What must be at a path for a write to happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Expect {
    /// Whatever is there.
    Anything,
    /// Nothing.
    Absent,
    /// A file with this content.
    Content(ContentDigest),
}

/// Where the content of a file comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of the controller's machine, read while it is sent.
    Local(PathBuf),
}

/// Asks for a file with a content: an absolute value.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Content, ContentDigest, Expect, PutFile};
///
/// let old = ContentDigest::of(b"port = 8280\n");
/// let request = PutFile::new("/srv/esb1/conf/server.conf", Content::Bytes(b"port = 8290\n".to_vec()))
///     .with_mode(0o600)
///     .with_expect(Expect::Content(old));
/// # drop(request);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PutFile {
    /// Where, as an absolute path. The directory must exist.
    pub path: String,
    /// What.
    pub content: Content,
    /// Permission bits. Default `0o644`.
    pub mode: u32,
    /// What must be there now. Default anything.
    pub expect: Expect,
}

impl PutFile {
    /// Asks for `content` at `path`.
    pub fn new(path: impl Into<String>, content: Content) -> Self {
        Self { path: path.into(), content, mode: 0o644, expect: Expect::Anything }
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets what must be there now: compare and set.
    #[must_use]
    pub fn with_expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }
}

/// Asks for a symbolic link that points to a target: an absolute value.
///
/// # Examples
///
/// ```
/// use ha_core::backend::SwitchLink;
///
/// let request = SwitchLink::new("/srv/esb1/current", "/srv/esb1/releases/4.2.1");
/// # drop(request);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SwitchLink {
    /// The link, as an absolute path.
    pub link: String,
    /// Where it is to point.
    pub target: String,
}

impl SwitchLink {
    /// Asks for `link` to point to `target`.
    pub fn new(link: impl Into<String>, target: impl Into<String>) -> Self {
        Self { link: link.into(), target: target.into() }
    }
}

/// Reads the files of one host.
#[async_trait]
pub trait ObserveHostFiles: Debug + Send + Sync + 'static {
    /// Reads what is at a path. A link is not followed.
    ///
    /// # Errors
    /// `Denied`, `Unreachable`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn stat(&self, path: &str) -> Result<FileStat, StepError>;

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` when it is longer; `Denied`, `Unreachable`, `Timeout`, `Protocol`; all without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, StepError>;

    /// Reads what a directory tree holds. Links are not followed; directories count only by what is in them.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it changed while it was read; `Denied`, `Unreachable`, `Timeout`, `Protocol`; all
    /// without effect.
    /// # Cancel safety
    /// Cancel safe: it only reads.
    async fn tree(&self, path: &str) -> Result<TreeDigest, StepError>;
}

/// Changes the files of one host. A reader sees the old content or the new one, never a part, whenever the write is cut.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Content, FileStat, HostFiles, LeaseEpoch, PutFile, StepError};
///
/// async fn put(files: &dyn HostFiles, epoch: LeaseEpoch, text: &str) -> Result<bool, StepError> {
///     let path = "/srv/esb1/conf/server.conf";
///     files.put(epoch, PutFile::new(path, Content::Bytes(text.into()))).await?;
///     Ok(matches!(files.stat(path).await?, FileStat::File { .. }))
/// }
/// ```
#[async_trait]
pub trait HostFiles: ObserveHostFiles {
    /// Puts a file in place: written beside it, length and digest checked, made durable, then renamed.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; a file that has the content and the mode answers `AlreadySo`, whatever was expected.
    /// # Errors
    /// `Fenced`, `Conflict` (something else is there than was expected), `NotFound` (no directory), `Denied`: no
    /// effect. `Timeout`, `Unreachable` after the content was sent: unknown; read `stat`.
    /// # Cancel safety
    /// Not cancel safe: the old or the new is there; read `stat`.
    async fn put(&self, epoch: LeaseEpoch, request: PutFile) -> Result<Applied, StepError>;

    /// Removes a file or a link, if what is there is as expected.
    ///
    /// # Idempotency
    /// A path with nothing at it answers `AlreadySo`.
    /// # Errors
    /// As [`put`](Self::put); `Conflict` for a directory.
    /// # Cancel safety
    /// Not cancel safe: read `stat`.
    async fn remove(&self, epoch: LeaseEpoch, path: &str, expect: Expect) -> Result<Applied, StepError>;

    /// Points a link somewhere else in one step: whoever follows it arrives at the old target or at the new one.
    ///
    /// # Idempotency
    /// Absolute: twice equals once; the second answers `AlreadySo`.
    /// # Errors
    /// As [`put`](Self::put); `Conflict` when something other than a link is there.
    /// # Cancel safety
    /// Not cancel safe: read `stat`.
    async fn switch(&self, epoch: LeaseEpoch, request: SwitchLink) -> Result<Applied, StepError>;
}
