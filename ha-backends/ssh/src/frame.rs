//! What comes back over a stream: noise of a login shell, a mark, the script's own output, a mark with its exit code.
//!
//! The marks hold a random nonce, so that nothing the script prints can be taken for one. A stream without its second
//! mark tells nothing of how the script ended, whatever the transport's own exit code is.

/// The random word of one execution.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Nonce(String);

impl Nonce {
    /// Makes a word from random bytes.
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which end of a stream's content is kept when there is too much of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keep {
    /// The first bytes.
    Begin(usize),
    /// The last bytes.
    End(usize),
}

/// Reads one stream, in bounded memory.
#[derive(Debug)]
pub(crate) struct Frame {
    mark: Vec<u8>,
    keep: Keep,
    stage: Stage,
    pending: Vec<u8>,
    content: Vec<u8>,
    total: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Noise,
    Content,
    Ended(i32),
}

/// Longer lines behind a mark are none of ours.
const MARK_LINE: usize = 16;
/// What is kept of the noise, for error messages.
const NOISE: usize = 4096;

impl Frame {
    pub(crate) fn new(nonce: &Nonce, keep: Keep) -> Self {
        let mark = format!("\n{} ", nonce.as_str()).into_bytes();
        Self { mark, keep, stage: Stage::Noise, pending: Vec::new(), content: Vec::new(), total: 0 }
    }

    /// Reads a stream on which nothing but the script's own output comes before its end.
    pub(crate) fn begun(nonce: &Nonce, keep: Keep) -> Self {
        Self { stage: Stage::Content, ..Self::new(nonce, keep) }
    }

    /// Takes in what was read.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.pending.extend_from_slice(chunk);
        while let Some(at) = find(&self.pending, &self.mark) {
            let line = &self.pending[at + self.mark.len()..];
            let Some(length) = line.iter().take(MARK_LINE).position(|byte| *byte == b'\n') else {
                if line.len() < MARK_LINE {
                    // The rest of the line is still to come.
                    self.release(at);
                    return;
                }
                self.release(at + 1);
                continue;
            };
            let code = parse_mark(&line[..length]);
            let next = at + self.mark.len() + length + 1;
            match (self.stage, code) {
                (Stage::Noise, Some(Mark::Begin)) => {
                    self.stage = Stage::Content;
                    self.content.clear();
                    self.pending.drain(..next);
                }
                (Stage::Content, Some(Mark::End(code))) => {
                    self.release(at);
                    self.stage = Stage::Ended(code);
                    self.pending.clear();
                    return;
                }
                (Stage::Noise | Stage::Content | Stage::Ended(_), _) => self.release(at + 1),
            }
        }
        let surplus = self.pending.len().saturating_sub(self.mark.len() - 1);
        self.release(surplus);
    }

    /// Moves the first bytes of what is pending to the content.
    fn release(&mut self, count: usize) {
        let limit = match (self.stage, self.keep) {
            (Stage::Noise, _) => Keep::End(NOISE),
            (Stage::Content, keep) => keep,
            (Stage::Ended(_), _) => Keep::Begin(0),
        };
        if self.stage == Stage::Content {
            self.total = self.total.saturating_add(count as u64);
        }
        match limit {
            Keep::Begin(limit) => {
                let room = limit.saturating_sub(self.content.len()).min(count);
                self.content.extend_from_slice(&self.pending[..room]);
            }
            Keep::End(limit) => {
                self.content.extend_from_slice(&self.pending[..count]);
                let surplus = self.content.len().saturating_sub(limit);
                self.content.drain(..surplus);
            }
        }
        self.pending.drain(..count);
    }

    /// Tells whether the script has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.stage != Stage::Noise
    }

    /// Returns the exit code that the script has reported, once it has.
    pub(crate) fn code(&self) -> Option<i32> {
        match self.stage {
            Stage::Ended(code) => Some(code),
            Stage::Noise | Stage::Content => None,
        }
    }

    /// Tells whether a part of the content was dropped.
    pub(crate) fn is_cut(&self) -> bool {
        self.total > self.content.len() as u64
    }

    /// Returns what is kept: of the script's output once it has begun, of the noise before.
    pub(crate) fn into_content(mut self) -> Vec<u8> {
        if self.code().is_none() {
            let rest = self.pending.len();
            self.release(rest);
        }
        self.content
    }
}

enum Mark {
    Begin,
    End(i32),
}

fn parse_mark(line: &[u8]) -> Option<Mark> {
    let line = std::str::from_utf8(line).ok()?;
    if line == "b" {
        return Some(Mark::Begin);
    }
    let code: i32 = line.strip_prefix("e ")?.parse().ok()?;
    (0..256).contains(&code).then_some(Mark::End(code))
}

/// Finds a mark, which begins with a line feed.
fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == b'\n').map(|at| from + at) {
        if text[at..].starts_with(mark) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nonce() -> Nonce {
        Nonce::new([0xab; 16])
    }

    fn framed(noise: &[u8], content: &[u8], code: i32) -> Vec<u8> {
        let mut bytes = noise.to_vec();
        bytes.extend_from_slice(format!("\n{} b\n", nonce().as_str()).as_bytes());
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(format!("\n{} e {code}\n", nonce().as_str()).as_bytes());
        bytes
    }

    fn read(bytes: &[u8], chunk: usize, keep: Keep) -> Frame {
        let mut frame = Frame::new(&nonce(), keep);
        bytes.chunks(chunk.max(1)).for_each(|chunk| frame.push(chunk));
        frame
    }

    #[test]
    fn without_the_last_mark_nothing_is_known_of_the_end() {
        let whole = framed(b"welcome\n", b"out", 7);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length], 5, Keep::Begin(99)).code(), None, "{length} bytes");
        }
        let frame = read(&whole, 5, Keep::Begin(99));
        assert_eq!((frame.code(), frame.into_content().as_slice()), (Some(7), b"out".as_slice()));
    }

    #[test]
    fn another_nonce_and_an_end_before_the_begin_are_content() {
        let mut frame = Frame::new(&nonce(), Keep::Begin(999));
        frame.push(format!("\n{} e 0\n", nonce().as_str()).as_bytes());
        assert_eq!((frame.has_begun(), frame.code()), (false, None));
        let foreign = Nonce::new([1; 16]);
        let inner = format!("x\n{} e 0\n\n{} e 999\n\n{} e\n", foreign.as_str(), nonce().as_str(), nonce().as_str());
        let frame = read(&framed(b"", inner.as_bytes(), 3), 7, Keep::Begin(999));
        assert_eq!((frame.code(), frame.into_content()), (Some(3), inner.into_bytes()));
    }

    #[test]
    fn endless_output_is_cut_at_the_asked_end() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let bytes = framed(b"", &content, 0);
        let frame = read(&bytes, 8192, Keep::End(10));
        assert!(frame.is_cut() && frame.code() == Some(0));
        assert_eq!(frame.into_content(), content[content.len() - 10..]);
        let frame = read(&bytes, 8192, Keep::Begin(10));
        assert_eq!(frame.into_content(), content[..10]);
    }

    proptest! {
        #[test]
        fn content_comes_back_as_it_was_in_any_chunks(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            content in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300),
            code in 0..256_i32,
            chunk in 1..64_usize,
        ) {
            let frame = read(&framed(&noise, &content, code), chunk, Keep::Begin(1000));
            prop_assert_eq!(frame.code(), Some(code));
            prop_assert!(!frame.is_cut());
            prop_assert_eq!(frame.into_content(), content);
        }

        #[test]
        fn arbitrary_bytes_are_never_taken_for_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert_eq!(read(&bytes, 13, Keep::End(50)).code(), None);
        }
    }
}
