use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Content, ContentDigest, ErrorKind, Expect, FileStat, HostFiles, ObserveHostFiles, PutFile, StepError,
    SwitchLink, TreeDigest,
};
use ha_core::state::LeaseEpoch;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tracing::Instrument;

use crate::exec::Answer;
use crate::frame::Keep;
use crate::host::{Inner, LATE, SshHost};
use crate::master::random;
use crate::script::{GUARD, Head, Input, PUT, SWEEP, Script, TREE, refusal, seconds};

const STAT: &str = r#"
if [ -L "$p" ]; then
    echo link
    readlink -n -- "$p"
elif [ -f "$p" ]; then
    got=$(sha256sum <"$p") || exit 66
    stat -c 'file %s %a' -- "$p" && printf '%s\n' "${got%% *}"
elif [ -d "$p" ]; then
    echo directory
elif [ -e "$p" ]; then
    echo other
elif [ -d "${p%/*}/" ] && [ ! -x "${p%/*}/" ]; then
    exit 66
else
    echo absent
fi
"#;

const READ: &str = r#"
[ -f "$p" ] || exit 64
[ -r "$p" ] || exit 66
[ "$(stat -Lc %s -- "$p")" -le "$limit" ] || exit 65
head -c "$limit" -- "$p"
"#;

const REMOVE: &str = r#"
ha_guard "$epoch" "$wait" || exit $?
if [ -L "$p" ]; then
    now=link
elif [ -d "$p" ]; then
    exit 65
elif [ -f "$p" ]; then
    now=$(sha256sum <"$p") && now=${now%% *} || exit 66
elif [ -e "$p" ]; then
    now=other
else
    echo same
    exit 0
fi
case $expect in any | "$now") ;; *) exit 65 ;; esac
rm -f -- "$p" || exit 66
sync "${p%/*}/" || exit 1
echo removed
"#;

const SWITCH: &str = r#"
dir=${p%/*}
[ -d "$dir/" ] || exit 64
ha_guard "$epoch" "$wait" || exit $?
if [ -L "$p" ]; then
    now=$(readlink -n -- "$p" && echo x) || exit 66
    if [ "${now%x}" = "$to" ]; then
        echo same
        exit 0
    fi
elif [ -e "$p" ]; then
    exit 65
fi
t=$dir/.ha-put.$nonce
ha_last() { rm -f -- "$t"; }
ln -s -- "$to" "$t" && mv -fT -- "$t" "$p" || exit 66
sync "$dir/" || exit 1
echo switched
"#;

/// What may be longer is read over a session of its own.
const MUCH: usize = 64 * 1024;

impl Inner {
    /// Begins a script about one path.
    fn path_head(&self, operation: &'static str, head: Head, path: &str) -> Result<Head, StepError> {
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(self.refuse(
                ErrorKind::Unsupported,
                operation,
                format!("{path:?} is no absolute path of a file"),
            ));
        }
        head.text("p", path).map_err(self.nul(operation))
    }

    fn fenced_head(&self, operation: &'static str, epoch: LeaseEpoch, path: &str) -> Result<Head, StepError> {
        let head = self.head().and_then(|head| head.text("wait", &seconds(self.config.lock_wait())));
        let head = head.map_err(self.nul(operation))?.number("epoch", epoch.number());
        self.path_head(operation, head, path)
    }

    async fn ask_of_path(
        &self,
        operation: &'static str,
        head: Head,
        body: &str,
        keep: Keep,
    ) -> Result<Answer, StepError> {
        let answer = self.ask(operation, &head.then([body]), keep, self.config.command_deadline).await?;
        match self.refusal(operation, &answer) {
            Some(refused) => Err(refused.without_effect()),
            None => Ok(answer),
        }
    }

    fn strange(&self, operation: &'static str, answer: &Answer) -> StepError {
        let text: String = answer.out().chars().take(200).collect();
        self.refuse(ErrorKind::Protocol, operation, format!("it answered {text:?}"))
    }

    fn transfer_limit(&self) -> Duration {
        self.config.command_deadline + self.config.lock_wait() + LATE
    }
}

fn applied(answer: &Answer) -> Applied {
    if answer.out().trim() == "same" { Applied::AlreadySo } else { Applied::Applied }
}

fn expected(expect: Expect) -> String {
    match expect {
        Expect::Absent => "absent".into(),
        Expect::Content(digest) => digest.to_string(),
        _ => "any".into(),
    }
}

/// Reads a file of this machine once, to know what must arrive.
async fn measure(path: &Path) -> std::io::Result<(u64, ContentDigest)> {
    let mut file = tokio::fs::File::open(path).await?;
    let (mut hash, mut length, mut chunk) = (Sha256::new(), 0_u64, vec![0_u8; 64 * 1024]);
    loop {
        let count = file.read(&mut chunk).await?;
        if count == 0 {
            return Ok((length, ContentDigest::new(hash.finalize().into())));
        }
        hash.update(&chunk[..count]);
        length += count as u64;
    }
}

fn parse_stat(text: &str) -> Option<FileStat> {
    let (first, rest) = text.split_once('\n')?;
    Some(match first.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["absent"] => FileStat::Absent,
        ["directory"] => FileStat::Directory,
        ["other"] => FileStat::Other,
        ["link"] => FileStat::Link { target: rest.into() },
        ["file", length, mode] => FileStat::File {
            length: length.parse().ok()?,
            mode: u32::from_str_radix(mode, 8).ok()?,
            digest: ContentDigest::from_hex(rest.trim())?,
        },
        _ => return None,
    })
}

#[async_trait]
impl ObserveHostFiles for SshHost {
    async fn stat(&self, path: &str) -> Result<FileStat, StepError> {
        async {
            let head = self.inner.path_head("stat", Head::new(), path)?;
            let answer = self.inner.ask_of_path("stat", head, STAT, Keep::Begin(16 * 1024)).await?;
            parse_stat(&answer.out()).ok_or_else(|| self.inner.strange("stat", &answer))
        }
        .instrument(self.call("stat"))
        .await
    }

    async fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, StepError> {
        async {
            let inner = &self.inner;
            let head = inner.path_head("read", Head::new(), path)?.number("limit", limit);
            let body = head.then([READ]);
            let (keep, deadline) = (Keep::Begin(limit), inner.config.command_deadline);
            let answer = match limit {
                ..=MUCH => inner.ask("read", &body, keep, deadline).await?,
                _ => inner.ask_apart("read", &body, keep, deadline).await?,
            };
            match inner.refusal("read", &answer) {
                Some(_) if answer.code == refusal::CONFLICT => {
                    Err(inner.refuse(ErrorKind::Unsupported, "read", format!("it is longer than {limit} bytes")))
                }
                Some(refused) => Err(refused.without_effect()),
                None if answer.is_cut => Err(inner.strange("read", &answer)),
                None => Ok(answer.stdout),
            }
        }
        .instrument(self.call("read"))
        .await
    }

    async fn tree(&self, path: &str) -> Result<TreeDigest, StepError> {
        async {
            let inner = &self.inner;
            let head =
                Head::new().text("deadline", &seconds(inner.config.command_deadline)).map_err(inner.nul("tree"))?;
            let head = inner.path_head("tree", head, path)?;
            let deadline = inner.config.command_deadline;
            let answer = inner.ask_apart("tree", &head.then([TREE]), Keep::Begin(4096), deadline).await?;
            if let Some(refused) = inner.refusal("tree", &answer) {
                return Err(refused.without_effect());
            }
            let message = answer.message();
            if !message.is_empty() {
                let denied = message.contains("Permission denied");
                let kind = if denied { ErrorKind::Denied } else { ErrorKind::Conflict };
                return Err(inner.refuse(kind, "tree", format!("it could not be read whole: {message}")));
            }
            let text = answer.out();
            let mut lines = text.lines();
            let entries = lines.next().and_then(|entries| entries.trim().parse().ok());
            let digest = lines.next().and_then(|line| ContentDigest::from_hex(line.split_whitespace().next()?));
            match (entries, digest) {
                (Some(entries), Some(digest)) => Ok(TreeDigest::new(digest, entries)),
                _ => Err(inner.strange("tree", &answer)),
            }
        }
        .instrument(self.call("tree"))
        .await
    }
}

#[async_trait]
impl HostFiles for SshHost {
    async fn put(&self, epoch: LeaseEpoch, request: PutFile) -> Result<Applied, StepError> {
        async {
            let inner = self.inner.clone();
            let local =
                |error: std::io::Error| inner.refuse(ErrorKind::NotFound, "put", format!("what to send: {error}"));
            let (length, digest, input) = match request.content {
                Content::Bytes(bytes) => (bytes.len() as u64, ContentDigest::of(&bytes), Input::Bytes(bytes)),
                Content::Local(path) => {
                    let (length, digest) = measure(&path).await.map_err(local)?;
                    (length, digest, Input::Local(path))
                }
                _ => return Err(inner.refuse(ErrorKind::Unsupported, "put", "this kind of content is not known")),
            };
            let nonce = random().map_err(local)?;
            let head = inner.fenced_head("put", epoch, &request.path)?;
            let head = head.text("want", &digest.to_string()).and_then(|head| {
                let head = head.text("expect", &expected(request.expect))?.text("nonce", nonce.as_str())?;
                head.text("mode", &format!("{:o}", request.mode & 0o7777))?
                    .text("deadline", &seconds(inner.config.command_deadline))
            });
            let body = head.map_err(inner.nul("put"))?.number("length", length).then([GUARD, SWEEP, PUT]);
            let limit = inner.transfer_limit();
            let script = Script::new(body).with_input(input);
            let answer = self.apart("put", async move { inner.change("put", script, limit).await }).await?;
            Ok(applied(&answer))
        }
        .instrument(self.call("put"))
        .await
    }

    async fn remove(&self, epoch: LeaseEpoch, path: &str, expect: Expect) -> Result<Applied, StepError> {
        async {
            let inner = self.inner.clone();
            let head = inner.fenced_head("remove", epoch, path)?;
            let head = head.text("expect", &expected(expect)).map_err(inner.nul("remove"))?;
            let (body, limit) = (head.then([GUARD, REMOVE]), inner.transfer_limit());
            let act = async move { inner.change("remove", Script::new(body), limit).await };
            Ok(applied(&self.apart("remove", act).await?))
        }
        .instrument(self.call("remove"))
        .await
    }

    async fn switch(&self, epoch: LeaseEpoch, request: SwitchLink) -> Result<Applied, StepError> {
        async {
            let inner = self.inner.clone();
            let broken = |error: std::io::Error| inner.refuse(ErrorKind::Unsupported, "switch", error.to_string());
            let nonce = random().map_err(broken)?;
            let head = inner.fenced_head("switch", epoch, &request.link)?;
            let head = head.text("to", &request.target).and_then(|head| head.text("nonce", nonce.as_str()));
            let (body, limit) = (head.map_err(inner.nul("switch"))?.then([GUARD, SWITCH]), inner.transfer_limit());
            let act = async move { inner.change("switch", Script::new(body), limit).await };
            Ok(applied(&self.apart("switch", act).await?))
        }
        .instrument(self.call("switch"))
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_stat_answer_has_one_meaning() {
        let digest = ContentDigest::of(b"x");
        assert_eq!(
            parse_stat(&format!("file 1 644\n{digest}\n")),
            Some(FileStat::File { length: 1, mode: 0o644, digest })
        );
        assert_eq!(parse_stat("link\na\nb"), Some(FileStat::Link { target: "a\nb".into() }));
        assert_eq!(parse_stat("absent\n"), Some(FileStat::Absent));
        for strange in ["", "file 1\n", "file 1 644\nxyz\n", "fifo\n", "absent"] {
            assert_eq!(parse_stat(strange), None, "{strange:?}");
        }
    }

    #[test]
    fn a_put_whose_list_another_one_sweeps_before_it_is_held_makes_it_again() {
        let dir = tempfile::tempdir().unwrap();
        for kept in ["put", "epochs"] {
            std::fs::create_dir(dir.path().join(kept)).unwrap();
        }
        let head = Head::new().text("G", &dir.path().display().to_string()).unwrap();
        let head = head.text("p", &dir.path().join("file").display().to_string()).unwrap();
        let head = head.text("want", &ContentDigest::of(b"new").to_string()).unwrap().text("mode", "644").unwrap();
        let head = head
            .text("expect", "any")
            .unwrap()
            .number("length", 3)
            .number("deadline", 5)
            .number("epoch", 1)
            .number("wait", 5);
        // Another sweep comes between the making of the list and its lock.
        let between = "ha_last() { :; }\nflock() {\n[ \"$1\" != 8 ] || [ -e \"$G/once\" ] || \
                       { : >\"$G/once\"; rm -f -- \"$G\"/put/*; }\ncommand flock \"$@\"\n}\n";
        let script = head.text("nonce", "n1").unwrap().then([between, GUARD, SWEEP, PUT]);
        let mut sh = Command::new("/bin/sh").arg("-c").arg(script).stdin(Stdio::piped()).spawn().unwrap();
        sh.stdin.take().unwrap().write_all(b"new").unwrap();
        assert!(sh.wait().unwrap().success());
        assert!(dir.path().join("once").exists());
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"new");
    }
}
